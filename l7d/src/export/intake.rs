//! What an export takes from the flow ring. Nothing waits for it there: an export that is held up
//! falls behind alone, and learns how many records were overwritten meanwhile.

use std::sync::Arc;

use super::meter::Meter;
use crate::clock::Timestamp;
use crate::flow::filter::Filters;
use crate::flow::{FlowRing, Read};
use crate::record::Record;

/// Records that do not pass, before the export looks at anything else.
const LOOKS: u64 = 1024;

/// A position in the ring.
pub(super) struct Intake {
    pub(super) ring: Arc<FlowRing>,
    filters: Filters,
    /// Nothing later is taken.
    end: Option<Timestamp>,
    position: u64,
    meter: Arc<Meter>,
}

/// What is next.
#[derive(Debug)]
pub(super) enum Taken {
    /// A record that passes; whoever takes it says what became of it.
    Record(Arc<Record>),
    /// So many records are gone; they are counted.
    Lost(u64),
    /// Many records did not pass.
    Pause,
    /// Nothing yet.
    Nothing,
    /// Nothing will come any more.
    End,
}

impl Intake {
    pub(super) fn new(
        ring: Arc<FlowRing>,
        filters: Filters,
        (position, end): (u64, Option<Timestamp>),
        meter: Arc<Meter>,
    ) -> Self {
        meter.see(position, 0);
        Self {
            ring,
            filters,
            end,
            position,
            meter,
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn next(&mut self) -> Taken {
        for _ in 0..LOOKS {
            match self.ring.read(self.position) {
                Read::Nothing => return Taken::Nothing,
                Read::Overtaken(start) => {
                    let lost = start.saturating_sub(self.position);
                    self.position = start;
                    self.meter.see(self.position, lost);
                    self.meter.lose(lost);
                    return Taken::Lost(lost);
                }
                Read::Record(record) => {
                    if self.end.is_some_and(|end| record.time > end) {
                        return Taken::End;
                    }
                    self.position += 1;
                    if record.is_inherited {
                        self.meter.see(self.position, 0);
                        continue;
                    }
                    self.meter.see(self.position, 1);
                    if self.filters.pass(&record) {
                        return Taken::Record(record);
                    }
                    self.meter.filter(1);
                }
            }
        }
        Taken::Pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::dropped;
    use crate::flow::view::NodeView;
    use crate::record::Sink as _;

    fn intake(ring: &Arc<FlowRing>, filters: Filters, end: Option<u64>) -> (Intake, Arc<Meter>) {
        let meter = Arc::new(Meter::default());
        let from = (0, end.map(Timestamp));
        let intake = Intake::new(Arc::clone(ring), filters, from, Arc::clone(&meter));
        (intake, meter)
    }

    #[test]
    fn each_record_is_taken_filtered_or_lost() {
        let node = Arc::new(NodeView::default());
        let odd = proto::flow::FlowFilter {
            source_port: (1..5000_u16).step_by(2).map(|n| n.to_string()).collect(),
            ..proto::flow::FlowFilter::default()
        };
        let ring = Arc::new(FlowRing::new(1023, Arc::default()));
        let filters = Filters::new(&[odd], &[], &node).expect("filters");
        let (mut intake, meter) = intake(&ring, filters, None);
        let (mut taken, mut lost) = (0, 0);
        for _ in 0..3 {
            (0..2000).for_each(|number| ring.record(&dropped(number)));
            loop {
                match intake.next() {
                    Taken::Record(_) => taken += 1,
                    Taken::Lost(count) => lost += count,
                    Taken::Pause => {}
                    Taken::Nothing => break,
                    Taken::End => panic!("it has no end"),
                }
            }
        }
        let tally = meter.tally();
        assert_eq!((tally.seen, tally.lost), (6000, lost));
        assert_eq!(lost, 3 * (2000 - 1023));
        assert_eq!(tally.waiting(), taken);
        assert_eq!(intake.position(), ring.end());
    }

    #[test]
    fn what_another_agent_has_told_of_is_in_its_exports() {
        let ring = Arc::new(FlowRing::new(7, Arc::default()));
        ring.inherit(dropped(1));
        ring.record(&dropped(2));
        ring.inherit(dropped(3));
        let (mut intake, meter) = intake(&ring, Filters::default(), None);
        assert!(matches!(intake.next(), Taken::Record(record) if record.source.addr.port() == 2));
        assert!(matches!(intake.next(), Taken::Nothing));
        assert_eq!(meter.tally().seen, 1);
    }

    #[test]
    fn nothing_is_taken_after_the_end() {
        let ring = Arc::new(FlowRing::new(7, Arc::default()));
        (1..=5).for_each(|number| ring.record(&dropped(number)));
        let (mut intake, meter) = intake(&ring, Filters::default(), Some(1001));
        let taken = std::iter::from_fn(|| match intake.next() {
            Taken::Record(record) => Some(record.time.0),
            _ => None,
        });
        assert_eq!(taken.collect::<Vec<_>>(), [1000, 1001]);
        assert!(matches!(intake.next(), Taken::End));
        assert_eq!(meter.tally().seen, 2);
    }
}
