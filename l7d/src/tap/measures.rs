//! What the kernel programs measure of connections that are tapped: it comes by the other ring, and goes
//! with the messages that are read here.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::record::{Event, Network, Record, TcpHealth};

/// Connections of which measures are remembered twice over: those since the table was last full, and
/// those before.
const YOUNG_MAX: usize = 16_384;

/// Measures by the connection's number; the newest are kept.
#[derive(Debug, Default)]
pub struct Measures(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u64, Measured, ahash::RandomState>,
    old: HashMap<u64, Measured, ahash::RandomState>,
}

/// Of the direction that began, and of the other.
#[derive(Debug, Clone, Copy, Default)]
struct Measured([TcpHealth; 2]);

impl Measures {
    /// Takes what a record of the kernel's measures, if it does.
    pub fn note(&self, record: &Record) {
        let Event::Trace(trace) = &record.event else {
            return;
        };
        let health = trace.health;
        let is_measured = health.min_rtt_us != 0 || health.retransmits != 0;
        let (true, Some(is_reply)) = (is_measured && record.connection != 0, record.reply) else {
            return;
        };
        let known = &mut *self.0.lock();
        let number = record.connection;
        let mut measured = known.of(number).unwrap_or_default();
        let Measured([forward, reply]) = &mut measured;
        *(if is_reply { reply } else { forward }) = health;
        if known.young.len() >= YOUNG_MAX && !known.young.contains_key(&number) {
            known.old = std::mem::take(&mut known.young);
        }
        known.young.insert(number, measured);
    }

    /// What is known of a connection. What who began sends is acknowledged by the server.
    pub(super) fn of(&self, number: u64) -> Option<Network> {
        let Measured([forward, reply]) = self.0.lock().of(number)?;
        Some(Network {
            client_rtt_us: reply.min_rtt_us,
            server_rtt_us: forward.min_rtt_us,
            retransmits: forward.retransmits.saturating_add(reply.retransmits),
            event: None,
        })
    }
}

impl Generations {
    fn of(&self, number: u64) -> Option<Measured> {
        let known = self.young.get(&number).or_else(|| self.old.get(&number));
        known.copied()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::record::{ConnState, IdentityNumber, Party, Trace, TracePoint, Why};

    /// A record of connection `number` that measures so many microseconds one way.
    pub(in crate::tap) fn measured(number: u64, is_reply: bool, min_rtt_us: u32) -> Record {
        let party = || Party::unnamed(([10, 0, 0, 1], 1).into(), IdentityNumber(300));
        let event = Event::Trace(Trace {
            point: TracePoint::ToEndpoint,
            state: ConnState::Established,
            why: Why::Flags,
            packets: 1,
            bytes: 60,
            health: TcpHealth {
                min_rtt_us,
                ..TcpHealth::default()
            },
        });
        Record {
            connection: number,
            reply: Some(is_reply),
            ..Record::new(Timestamp(1), party(), party(), event)
        }
    }

    #[test]
    fn each_direction_measures_the_way_to_its_receiver() {
        let measures = Measures::default();
        measures.note(&measured(7, false, 300));
        measures.note(&measured(7, true, 40));
        let seen = measures
            .of(7)
            .map(|seen| (seen.server_rtt_us, seen.client_rtt_us));
        assert_eq!(seen, Some((300, 40)));
        assert_eq!(measures.of(8), None);
    }

    #[test]
    fn the_newest_are_kept() {
        let measures = Measures::default();
        for number in 1..=100_000 {
            measures.note(&measured(number, false, 1));
        }
        assert_eq!(measures.of(1), None);
        assert!(measures.of(100_000).is_some() && measures.of(90_000).is_some());
        let known = measures.0.lock();
        assert!(known.young.len() + known.old.len() <= 2 * YOUNG_MAX);
    }
}
