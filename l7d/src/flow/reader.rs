//! Which part of the ring a request means: since, until, first, last, follow.

use super::filter::Filters;
use super::{FlowRing, Read};
use crate::clock::Timestamp;
use crate::record::Record;

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
    position: u64,
    /// Records that may still be given; `None` is no bound.
    left: Option<u64>,
    /// End of the ring when the request came: where a request that does not follow ends.
    end: u64,
}

/// What a reader finds next.
#[derive(Debug)]
pub enum Next {
    /// A record that passes the filters.
    Record(Box<Record>),
    /// That many records were overwritten before they were read.
    Lost(u64),
    /// Nothing yet; more may come.
    Wait,
    /// The request is answered.
    End,
}

impl Reader {
    /// Finds the start of the window.
    pub fn new(ring: &FlowRing, window: Window, filters: Filters) -> Self {
        let end = ring.end();
        let is_capped = window.number != 0 && !window.follow;
        let mut reader = Self {
            window,
            filters,
            position: ring.start(),
            left: is_capped.then_some(window.number),
            end,
        };
        match (window.since, window.first) {
            (Some(since), _) => reader.skip_to(ring, since),
            (None, false) if window.number != 0 => reader.rewind(ring, window.number),
            (None, false) if window.follow => reader.position = end,
            (None, _) => {}
        }
        reader
    }

    fn skip_to(&mut self, ring: &FlowRing, since: Timestamp) {
        while self.position < self.end {
            match ring.read(self.position) {
                Read::Record(record) if record.time >= since => return,
                Read::Record(_) | Read::Nothing => self.position += 1,
                Read::Overtaken(start) => self.position = start.max(self.position + 1),
            }
        }
    }

    /// Goes back from the newest until `number` records pass the filters. Time bounds do not count
    /// here, as in Hubble.
    fn rewind(&mut self, ring: &FlowRing, number: u64) {
        let start = ring.start();
        let mut found = 0;
        self.position = self.end;
        while self.position > start && found < number {
            match ring.read(self.position - 1) {
                Read::Record(record) => found += u64::from(self.filters.pass(&record)),
                Read::Nothing => {}
                Read::Overtaken(_) => return,
            }
            self.position -= 1;
        }
    }

    /// The next thing to give.
    pub fn next(&mut self, ring: &FlowRing) -> Next {
        loop {
            if self.left == Some(0) || (!self.window.follow && self.position >= self.end) {
                return Next::End;
            }
            match ring.read(self.position) {
                Read::Nothing if self.window.follow => return Next::Wait,
                // Reserved by a writer that has not finished: it will, in a moment.
                Read::Nothing if self.position < ring.end() => std::hint::spin_loop(),
                Read::Nothing => return Next::End,
                Read::Overtaken(start) => {
                    let lost = start.saturating_sub(self.position);
                    self.position = start;
                    if lost > 0 {
                        return Next::Lost(lost);
                    }
                }
                Read::Record(record) => {
                    self.position += 1;
                    if self.window.until.is_some_and(|until| record.time > until) {
                        return Next::End;
                    }
                    if self.filters.pass(&record) {
                        self.left = self.left.map(|left| left - 1);
                        return Next::Record(record);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::tests::dropped;
    use crate::record::Sink as _;

    fn ports(window: Window, records: u16, capacity: usize) -> Vec<u16> {
        let ring = FlowRing::new(capacity, Arc::default());
        for number in 1..=records {
            ring.record(&dropped(number));
        }
        let mut reader = Reader::new(&ring, window, Filters::default());
        let mut ports = Vec::new();
        loop {
            match reader.next(&ring) {
                Next::Record(record) => ports.push(record.source.addr.port()),
                Next::Lost(_) => {}
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
        let mut reader = Reader::new(&ring, window, Filters::default());
        for number in 2..=6 {
            ring.record(&dropped(number));
        }
        assert!(matches!(reader.next(&ring), Next::Lost(3)));
        assert!(
            matches!(reader.next(&ring), Next::Record(record) if record.source.addr.port() == 4)
        );
    }
}
