//! Records of chosen connections.
//!
//! Most records bear the number of their connection. A verdict on its first packet, a drop before
//! there was an entry, and DNS in datagrams do not: they belong to the connection between the same ends
//! at the time.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::RwLock;
use proto::flow::FlowFilter;

use super::{Check, FilterError, any};
use crate::clock::Timestamp;
use crate::record::Record;

/// How long before its first record with a number, and behind its last one, a connection may have
/// others: a SYN that was dropped comes again within this time.
const AROUND_NS: u64 = 10_000_000_000;

/// What a record, or a flow, says of where its connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Number of the connection, 0 where it has none.
    pub number: u64,
    /// Both ends, the smaller one first.
    pub ends: (SocketAddr, SocketAddr),
    /// IANA number of the protocol.
    pub protocol: u8,
    /// When it was seen.
    pub time: Timestamp,
}

impl Sight {
    fn of(record: &Record) -> Self {
        let (from, to) = (record.source.addr, record.destination.addr);
        Self {
            number: record.connection,
            ends: (from.min(to), from.max(to)),
            protocol: record.l4.protocol(),
            time: record.time,
        }
    }
}

/// Where connections that are asked for were seen.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<RwLock<Vec<Place>>>);

/// One connection: its last sight, and the time of its first one.
#[derive(Debug)]
struct Place {
    number: u64,
    seen: Option<(Timestamp, Sight)>,
}

impl Places {
    /// Whether anybody asks for connections.
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }

    /// Somebody asks for this one.
    pub fn add(&self, number: u64) {
        self.0.write().push(Place { number, seen: None });
    }

    /// Learns from a sight where a connection is.
    pub fn learn(&self, sight: &Sight) {
        let asked = |place: &&mut Place| place.number == sight.number;
        if sight.number != 0
            && let Some(place) = self.0.write().iter_mut().find(asked)
        {
            let first = place.seen.map_or(sight.time, |(first, _)| first);
            let last = place.seen.map_or(sight.time, |(_, last)| last.time);
            let time = sight.time.max(last);
            place.seen = Some((first.min(sight.time), Sight { time, ..*sight }));
        }
    }

    /// Whether a sight is of the connection with this number.
    pub fn has(&self, number: u64, sight: &Sight) -> bool {
        if sight.number != 0 {
            return sight.number == number;
        }
        let places = self.0.read();
        let mut mine = places.iter().filter(|place| place.number == number);
        mine.any(|place| place.covers(sight))
    }
}

impl Place {
    fn covers(&self, sight: &Sight) -> bool {
        self.seen.is_some_and(|(first, last)| {
            (last.ends, last.protocol) == (sight.ends, sight.protocol)
                && sight.time.0.saturating_add(AROUND_NS) >= first.0
                && sight.time.0 <= last.time.0.saturating_add(AROUND_NS)
        })
    }
}

/// Learns from a record where a connection is.
pub(super) fn learn(places: &Places, record: &Record) {
    places.learn(&Sight::of(record));
}

pub(super) fn add(
    filter: &FlowFilter,
    places: &Places,
    checks: &mut Vec<Check>,
) -> Result<(), FilterError> {
    let parse = |text: &String| {
        u64::from_str_radix(text, 16).map_err(|error| FilterError {
            field: "connection",
            message: format!("`{text}` is no hexadecimal number: {error}"),
        })
    };
    let numbers = filter.connection.iter().map(parse);
    let numbers = numbers.collect::<Result<Vec<u64>, _>>()?;
    for number in &numbers {
        places.add(*number);
    }
    let places = places.clone();
    any(checks, numbers, move |number, record| {
        let sight = Sight::of(record);
        places.learn(&sight);
        places.has(*number, &sight)
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::dropped;

    fn filters(number: &str) -> super::super::Filters {
        let filter = FlowFilter {
            connection: vec![number.to_owned()],
            ..FlowFilter::default()
        };
        let node = Arc::new(crate::flow::view::NodeView {
            name: "n1".to_owned(),
            version: String::new(),
            seed: 1,
            ..crate::flow::view::NodeView::default()
        });
        super::super::Filters::new(&[filter], &[], &node).unwrap()
    }

    fn record(port: u16, number: u64, seconds: u64) -> Record {
        Record {
            connection: number,
            time: Timestamp(seconds * 1_000_000_000),
            ..dropped(port)
        }
    }

    #[test]
    fn what_has_no_number_belongs_to_the_connection_between_its_ends_at_the_time() {
        let filters = filters("2a");
        let all = [
            record(1, 0, 100),
            record(1, 0x2a, 101),
            record(2, 0x2a00, 101),
            record(2, 0, 101),
            record(1, 0x2b, 105),
            record(1, 0, 150),
        ];
        for record in &all {
            filters.learn(record);
        }
        let passed: Vec<bool> = all.iter().map(|record| filters.pass(record)).collect();
        assert_eq!(passed, [true, true, false, false, false, false]);
    }
}
