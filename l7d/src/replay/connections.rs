//! Open connections of a capture, bounded in number.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parsers::Direction as Way;
use parsers::packet::{Tcp, TcpFlags};
use parsers::reassembly::{Reassembly, ReassemblyLimits};

use super::handshake::Handshake;
use super::summary::Summary;
use crate::clock::Timestamp;
use crate::record::{Encapsulation, Outcome};
use crate::session::Session;

/// Most connections followed at a time; the one that was quiet longest goes first.
const CONNECTIONS_MAX: usize = 1 << 17;
/// A connection that has ended is remembered for its late segments.
const GRACE_NS: u64 = 30_000_000_000;
/// How often the table is looked through, in packets.
const SWEEP_PACKETS: u32 = 1 << 14;

/// Both ends, the same whoever sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key(SocketAddr, SocketAddr);

impl Key {
    pub(super) fn new(from: SocketAddr, to: SocketAddr) -> Self {
        Self(from.min(to), from.max(to))
    }
}

/// One connection.
pub(super) struct Connection {
    client: SocketAddr,
    pub(super) reassembly: Reassembly,
    pub(super) session: Session,
    last: Timestamp,
    handshake: Handshake,
}

impl Connection {
    pub(super) fn new(
        client: SocketAddr,
        limits: ReassemblyLimits,
        session: Session,
        now: Timestamp,
    ) -> Self {
        Self {
            client,
            reassembly: Reassembly::new(limits),
            session,
            last: now,
            handshake: Handshake::default(),
        }
    }

    /// Which way a segment from there goes.
    fn way(&self, from: SocketAddr) -> Way {
        if from == self.client {
            Way::ToServer
        } else {
            Way::ToClient
        }
    }

    /// Whether a segment from there belongs to another connection between the same ends: a new one
    /// ends the former one, and so does one that goes on behind a reset that its other side did not
    /// accept.
    pub(super) fn is_followed_by(&self, from: SocketAddr, tcp: &Tcp<'_>) -> bool {
        let way = self.way(from);
        if tcp.flags.has(TcpFlags::SYN) && !tcp.flags.has(TcpFlags::ACK) {
            way == Way::ToClient || self.reassembly.is_another(way, tcp)
        } else {
            self.reassembly.goes_on(way, tcp)
        }
    }

    /// Takes a segment from there.
    pub(super) fn take(
        &mut self,
        from: SocketAddr,
        tcp: &Tcp<'_>,
        encapsulation: Option<&Arc<Encapsulation>>,
        summary: &mut Summary,
    ) {
        let way = self.way(from);
        let Self {
            reassembly,
            session,
            handshake,
            last,
            ..
        } = self;
        session.note_encapsulation(way, encapsulation);
        if let Some(seen) = handshake.take(way, tcp, *last) {
            session.note_network(seen);
        }
        let conflicts = reassembly.conflicts();
        reassembly.handle_segment(way, tcp, &mut |way, piece| {
            super::pass_on(session, summary, way, piece);
        });
        summary.conflicts += reassembly.conflicts() - conflicts;
        if let Some(event) = super::ended_by(way, tcp.flags) {
            session.note_tcp(event);
        }
        if tcp.flags.has(TcpFlags::RST) {
            let outcome = match way {
                Way::ToClient => Outcome::UpstreamReset,
                Way::ToServer => Outcome::NoResponse,
            };
            session.finish(outcome);
        } else if reassembly.is_over() {
            session.finish(Outcome::Passed);
        }
    }

    fn end(mut self, summary: &mut Summary) {
        let Self {
            reassembly,
            session,
            ..
        } = &mut self;
        reassembly.close(&mut |way, piece| super::pass_on(session, summary, way, piece));
        session.finish(Outcome::Passed);
    }
}

/// Open connections.
#[derive(Default)]
pub(super) struct Connections {
    open: HashMap<Key, Connection, ahash::RandomState>,
    until_sweep: u32,
    evicted: u64,
}

impl Connections {
    pub(super) fn touch(&mut self, key: &Key, time: Timestamp) -> Option<&mut Connection> {
        let connection = self.open.get_mut(key)?;
        connection.last = time;
        Some(connection)
    }

    pub(super) fn insert(&mut self, key: Key, connection: Connection) -> &mut Connection {
        if self.open.len() >= CONNECTIONS_MAX {
            self.until_sweep = 0;
            self.sweep(connection.last);
        }
        self.open.entry(key).insert_entry(connection).into_mut()
    }

    pub(super) fn remove(&mut self, key: &Key, summary: &mut Summary) {
        if let Some(connection) = self.open.remove(key) {
            connection.end(summary);
        }
    }

    /// Connections that were given up since there were too many.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Now and then, forgets connections that are over, and where there are too many, the eighth that
    /// was quiet longest.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        if self.until_sweep > 0 {
            self.until_sweep -= 1;
            return;
        }
        self.until_sweep = SWEEP_PACKETS;
        self.open.retain(|_, connection| {
            let is_quiet = now.0.saturating_sub(connection.last.0) > GRACE_NS;
            !(is_quiet && connection.reassembly.is_over())
        });
        if self.open.len() < CONNECTIONS_MAX {
            return;
        }
        let mut times: Vec<u64> = self.open.values().map(|open| open.last.0).collect();
        let eighth = times.len() / 8;
        let (_, limit, _) = times.select_nth_unstable(eighth);
        let limit = *limit;
        let before = self.open.len();
        self.open.retain(|_, connection| connection.last.0 > limit);
        self.evicted += u64::try_from(before - self.open.len()).unwrap_or_default();
    }

    /// Ends all, in an order that does not depend on chance.
    pub(super) fn end_all(&mut self, summary: &mut Summary) {
        let mut open: Vec<(Key, Connection)> = self.open.drain().collect();
        open.sort_by_key(|(key, connection)| (connection.last, key.0, key.1));
        for (_, connection) in open {
            connection.end(summary);
        }
    }
}
