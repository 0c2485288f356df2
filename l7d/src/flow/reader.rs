//! Which part of the ring a request means: since, until, first, last, follow.

use std::sync::Arc;

use super::clients::Client;
use super::filter::Filters;
use super::{FlowRing, Read};
use crate::clock::Timestamp;
use crate::record::{Record, Tally};

/// Records looked at before others get their turn.
const LOOKS: u64 = 1024;

/// The window of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Most records, 0 for no bound. Without `first` and `since` these are the newest.
    pub number: u64,
    /// From the oldest.
    pub first: bool,
    /// Go on with what comes.
    pub follow: bool,
    /// From this time on; decides the start alone.
    pub since: Option<Timestamp>,
    /// Not after this time.
    pub until: Option<Timestamp>,
}

/// A reader's place in the ring.
#[derive(Debug)]
pub struct Reader {
    window: Window,
    filters: Filters,
    client: Client,
    position: u64,
    /// Records that may still be given; `None` is no bound.
    left: Option<u64>,
    /// End of the ring when the request came: where a request that does not follow ends.
    end: u64,
    /// Records that are still to be found behind, while the start of the newest ones is looked for.
    behind: u64,
}

/// What a reader finds next.
#[derive(Debug)]
pub enum Next {
    /// A record that passes the filters.
    Record(Arc<Record>),
    /// That many records were overwritten before they were read.
    Lost(u64),
    /// Many records were looked at, and none is given: others may want their turn.
    Pause,
    /// Nothing yet; more may come.
    Wait,
    /// The request is answered.
    End,
}

impl Reader {
    /// Finds the start of the window.
    pub fn new(ring: &FlowRing, window: Window, filters: Filters, client: Client) -> Self {
        let end = ring.end();
        let is_capped = window.number != 0 && !window.follow;
        if filters.wants_to_learn() {
            (ring.start()..end).for_each(|position| learn(ring, position, &filters));
        }
        let mut reader = Self {
            window,
            filters,
            client,
            position: ring.start(),
            left: is_capped.then_some(window.number),
            end,
            behind: 0,
        };
        match (window.since, window.first) {
            (Some(since), _) => reader.position = ring.position_at(since),
            (None, false) if window.number != 0 => {
                reader.position = end;
                reader.behind = window.number;
                // Mostly that is all there is to do.
                reader.rewind(ring);
            }
            (None, false) if window.follow => reader.position = end,
            (None, _) => {}
        }
        reader
    }

    /// Goes back from the newest until as many records as are wanted pass the filters. Time bounds do
    /// not count here, as in Hubble. False when others should have their turn before it goes on.
    fn rewind(&mut self, ring: &FlowRing) -> bool {
        let start = ring.start();
        for _ in 0..LOOKS {
            if self.behind == 0 || self.position <= start {
                self.behind = 0;
                return true;
            }
            match ring.read(self.position - 1) {
                Read::Record(record) => self.behind -= u64::from(self.filters.pass(&record)),
                Read::Nothing => {}
                Read::Overtaken(_) => {
                    self.behind = 0;
                    return true;
                }
            }
            self.position -= 1;
        }
        false
    }

    /// Position of the next record to look at.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next thing to give. What becomes of each record on the way is counted.
    pub fn next(&mut self, ring: &FlowRing) -> Next {
        if self.behind > 0 && !self.rewind(ring) {
            return Next::Pause;
        }
        let start = self.position;
        let (next, filtered) = self.look(ring);
        let delivered = u64::from(matches!(next, Next::Record(_)));
        let lost = if let Next::Lost(count) = next {
            count
        } else {
            0
        };
        self.client.meter().add(Tally {
            seen: self.position - start,
            delivered,
            filtered,
            lost,
        });
        next
    }

    /// What comes next, and how many records did not pass before it.
    fn look(&mut self, ring: &FlowRing) -> (Next, u64) {
        let mut filtered = 0;
        loop {
            if self.left == Some(0) || (!self.window.follow && self.position >= self.end) {
                return (Next::End, filtered);
            }
            match ring.read(self.position) {
                Read::Nothing if self.window.follow => return (Next::Wait, filtered),
                // Reserved by a writer that has not finished: it will, in a moment.
                Read::Nothing if self.position < ring.end() => return (Next::Pause, filtered),
                Read::Nothing => return (Next::End, filtered),
                // Told alone, so that it stands where the records would.
                Read::Overtaken(_) if filtered > 0 => return (Next::Pause, filtered),
                Read::Overtaken(start) => {
                    let lost = start - self.position;
                    self.position = start;
                    return (Next::Lost(lost), filtered);
                }
                Read::Record(record) => {
                    self.position += 1;
                    if self.window.until.is_some_and(|until| record.time > until) {
                        self.left = Some(0);
                        return (Next::End, filtered + 1);
                    }
                    if self.filters.pass(&record) {
                        self.left = self.left.map(|left| left - 1);
                        return (Next::Record(record), filtered);
                    }
                    filtered += 1;
                    if filtered == LOOKS {
                        return (Next::Pause, filtered);
                    }
                }
            }
        }
    }
}

fn learn(ring: &FlowRing, position: u64, filters: &Filters) {
    if let Read::Record(record) = ring.read(position) {
        filters.learn(&record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::dropped;
    use crate::record::Sink as _;

    fn reader(ring: &FlowRing, window: Window, filters: Filters) -> Reader {
        let client = ring.clients().join("test", window.follow);
        Reader::new(ring, window, filters, client)
    }

    fn ports(window: Window, records: u16, capacity: usize) -> Vec<u16> {
        let ring = FlowRing::new(capacity, Arc::default());
        for number in 1..=records {
            ring.record(&dropped(number));
        }
        let mut reader = reader(&ring, window, Filters::default());
        let mut ports = Vec::new();
        loop {
            match reader.next(&ring) {
                Next::Record(record) => ports.push(record.source.addr.port()),
                Next::Lost(_) | Next::Pause => {}
                Next::Wait | Next::End => return ports,
            }
        }
    }

    #[test]
    fn windows_mean_what_hubble_means() {
        let window = Window::default();
        for (window, expected) in [
            (window, vec![1, 2, 3, 4, 5]),
            (
                Window {
                    number: 2,
                    ..window
                },
                vec![4, 5],
            ),
            (
                Window {
                    number: 2,
                    first: true,
                    ..window
                },
                vec![1, 2],
            ),
            (
                Window {
                    number: u64::MAX,
                    ..window
                },
                vec![1, 2, 3, 4, 5],
            ),
            (
                Window {
                    follow: true,
                    ..window
                },
                vec![],
            ),
            (
                Window {
                    follow: true,
                    number: 2,
                    ..window
                },
                vec![4, 5],
            ),
            (
                Window {
                    since: Some(Timestamp(1002)),
                    ..window
                },
                vec![3, 4, 5],
            ),
            (
                Window {
                    since: Some(Timestamp(1002)),
                    number: 1,
                    ..window
                },
                vec![3],
            ),
            (
                Window {
                    until: Some(Timestamp(1001)),
                    ..window
                },
                vec![1, 2],
            ),
            (
                Window {
                    until: Some(Timestamp(1003)),
                    number: 3,
                    ..window
                },
                vec![3, 4],
            ),
        ] {
            assert_eq!(ports(window, 5, 7), expected, "{window:?}");
        }
        assert_eq!(ports(window, 9, 3), [7, 8, 9]);
    }

    #[test]
    fn a_reader_that_is_overtaken_learns_by_how_much() {
        let ring = FlowRing::new(3, Arc::default());
        ring.record(&dropped(1));
        let window = Window {
            follow: true,
            number: 1,
            ..Window::default()
        };
        let mut reader = reader(&ring, window, Filters::default());
        for number in 2..=6 {
            ring.record(&dropped(number));
        }
        assert!(matches!(reader.next(&ring), Next::Lost(3)));
        assert!(
            matches!(reader.next(&ring), Next::Record(record) if record.source.addr.port() == 4)
        );
    }

    #[test]
    fn what_a_reader_sees_is_delivered_filtered_or_lost() {
        let node = Arc::new(crate::flow::view::NodeView::default());
        let odd = proto::flow::FlowFilter {
            source_port: (0..5000_u16).step_by(2).map(|n| n.to_string()).collect(),
            ..proto::flow::FlowFilter::default()
        };
        let ring = FlowRing::new(1023, Arc::default());
        let window = Window {
            follow: true,
            ..Window::default()
        };
        let filters = Filters::new(&[odd], &[], &node).expect("filters");
        let mut reader = reader(&ring, window, filters);
        let mut delivered = 0;
        for round in 1..=5_u16 {
            (0..600 * round).for_each(|number| ring.record(&dropped(number)));
            loop {
                match reader.next(&ring) {
                    Next::Record(_) => delivered += 1,
                    Next::Wait => break,
                    Next::Lost(_) | Next::Pause => {}
                    Next::End => panic!("it follows"),
                }
            }
        }
        let tally = ring.ledger().tally(crate::record::Place::Clients);
        assert_eq!((tally.seen, tally.delivered), (9000, delivered));
        assert_eq!(tally.lost, 9000 - 600 - 1023 * 4);
        assert_eq!((tally.waiting(), tally.is_overdrawn()), (0, false));
    }
}
