//! Tapped bytes → records, by the same sessions that read live connections and captures.
//!
//! ```text
//!   TapRing ─▶ Segment ─▶ connection (direction, reassembly) ─▶ Session ─▶ records
//!                              │
//!                              └─▶ what was left out: of a body, or a gap that is counted
//! ```
//!
//! Time is the kernel's. [`Tap`] reads no socket and no clock; `reader` is the thread around it.

mod connection;
mod measures;
mod reader;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use l7d_ebpf::records::{SEGMENT_REPLY, SEGMENT_WHOLE, Segment};
use parsers::Limits;
use parsers::http1::Reading;
use parsers::packet::{Tcp, TcpFlags};
use parsers::reassembly::ReassemblyLimits;

pub use measures::Measures;
pub use reader::{Handle, start};

use crate::clock::{Monotonic, WallOffset};
use crate::identity::{Identities, Names};
use crate::nat::Translations;
use crate::record::Outcome;
use crate::replay::{ended_by, ends_of, orientation};
use crate::session::{Recorder, Redaction, Session};
use connection::Connection;

/// Bounds of the tap.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Of parsers.
    pub limits: Limits,
    /// Of each connection's segments that came out of order.
    pub reassembly: ReassemblyLimits,
    /// Most connections followed; the one that was quiet longest goes first.
    pub connections: usize,
    /// What is hidden before anything is recorded.
    pub redaction: Redaction,
    /// What DNS tells.
    pub names: Arc<Names>,
    /// What netfilter makes of connections' addresses.
    pub translations: Arc<Translations>,
    /// What the kernel measures of connections.
    pub measures: Arc<Measures>,
}

/// What waits for earlier bytes of a connection, which the kernel hands over in order nearly always.
pub const REASSEMBLY: ReassemblyLimits = ReassemblyLimits {
    bytes: 256 << 10,
    segments: 256,
};

/// A connection without a byte for so long is forgotten, and joined again if it goes on.
const IDLE_NS: u64 = 600_000_000_000;

/// Counters of the tap.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections followed now.
    pub active: AtomicU64,
    /// Connections followed so far.
    pub followed: AtomicU64,
    /// Connections that ended, or of which nothing was heard for long.
    pub ended: AtomicU64,
    /// Connections given up since there were too many.
    pub evicted: AtomicU64,
    /// Bytes that parsers were to read, those that are missing among them.
    pub bytes: AtomicU64,
    /// Bytes that they have read.
    pub read_bytes: AtomicU64,
    /// Gaps: bytes that were to be read and are missing.
    pub gaps: AtomicU64,
    /// Bytes in those gaps.
    pub gap_bytes: AtomicU64,
    /// Bytes of bodies that were left out on purpose.
    pub skipped_bytes: AtomicU64,
}

/// What the kernel is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Nothing more of this connection is of use.
    StopCopying(u64),
    /// It has ended.
    Forget(u64),
}

/// Connections being tapped.
pub struct Tap {
    settings: Settings,
    recorder: Rc<Recorder>,
    identities: Identities,
    open: HashMap<u64, Connection, ahash::RandomState>,
    wall: WallOffset,
    stats: Arc<Stats>,
}

impl Tap {
    /// Nothing seen yet.
    pub fn new(
        settings: Settings,
        recorder: Rc<Recorder>,
        identities: Identities,
        stats: Arc<Stats>,
    ) -> Self {
        Self {
            settings,
            recorder,
            identities,
            open: HashMap::default(),
            wall: WallOffset::measure(),
            stats,
        }
    }

    /// Takes a record and its bytes; gives back what the kernel is to know.
    pub fn handle(&mut self, segment: &Segment, payload: &[u8]) -> Option<Order> {
        let now = Monotonic(segment.time_ns);
        self.recorder.clock().set(self.wall.to_wall(now));
        let from = address(segment.source, segment.source_port);
        let to = address(segment.destination, segment.destination_port);
        let tcp = Tcp {
            source_port: segment.source_port,
            destination_port: segment.destination_port,
            sequence: segment.sequence,
            acknowledged: segment.acknowledged,
            flags: TcpFlags(segment.tcp_flags),
            window: 0,
            payload,
            missing: usize::try_from(segment.missing).unwrap_or(usize::MAX),
        };
        let id = segment.connection;
        // The same ends again, before the former connection was seen to end.
        let is_first = segment.flags & SEGMENT_WHOLE != 0;
        if is_first
            && let Entry::Occupied(mut former) = self.open.entry(id)
            && former.get().is_another(from, segment, &tcp)
        {
            former.get_mut().end(Outcome::Passed);
            former.remove();
            self.count_ended(1);
        }
        if !self.open.contains_key(&id) {
            let connection = self.begin(segment, from, to, &tcp)?;
            self.make_room();
            self.open.insert(id, connection);
            self.stats.followed.fetch_add(1, Ordering::Relaxed);
            self.count_open();
        }
        let connection = self.open.get_mut(&id)?;
        let was_opaque = connection.is_opaque();
        connection.learn(|| self.settings.measures.of(id));
        connection.take(now, from, segment, &tcp, &self.stats);
        if connection.is_over() {
            self.open.remove(&id);
            self.count_ended(1);
            self.count_open();
            return was_opaque.then_some(Order::Forget(id));
        }
        (connection.is_opaque() && !was_opaque).then_some(Order::StopCopying(id))
    }

    /// Nothing can be told of the end of a connection of which no byte was seen.
    fn begin(
        &self,
        segment: &Segment,
        from: SocketAddr,
        to: SocketAddr,
        tcp: &Tcp<'_>,
    ) -> Option<Connection> {
        if tcp.payload.is_empty() {
            return None;
        }
        let is_whole = segment.flags & SEGMENT_WHOLE != 0;
        let is_from_client = if is_whole {
            segment.flags & SEGMENT_REPLY == 0
        } else {
            orientation::is_from_client(tcp)
        };
        let (client, server) = if is_from_client {
            (from, to)
        } else {
            (to, from)
        };
        let recorder = Rc::clone(&self.recorder);
        let ends = ends_of(&self.identities, client, server).with_connection(segment.connection);
        let limits = self.settings.limits;
        let session = if is_whole {
            Session::new(recorder, ends, limits, Reading::Lenient)
        } else {
            Session::mid_stream(recorder, ends, limits)
        };
        Some(Connection::new(client, self.settings.reassembly, session))
    }

    /// Looks at the time once more, and forgets connections that were quiet for long.
    pub fn sweep(&mut self, now: Monotonic) {
        self.wall = WallOffset::measure();
        self.recorder.clock().set(self.wall.to_wall(now));
        let before = self.open.len();
        self.open
            .retain(|_, connection| now.nanos_since(connection.last()) < IDLE_NS);
        self.count_ended(before - self.open.len());
        self.count_open();
    }

    /// Where there are too many, the eighth that was quiet longest goes.
    fn make_room(&mut self) {
        if self.open.len() < self.settings.connections {
            return;
        }
        let mut times: Vec<Monotonic> = self.open.values().map(Connection::last).collect();
        let eighth = times.len() / 8;
        let (_, limit, _) = times.select_nth_unstable(eighth);
        let limit = *limit;
        let before = self.open.len();
        self.open.retain(|_, connection| connection.last() > limit);
        let evicted = u64::try_from(before - self.open.len()).unwrap_or_default();
        self.stats.evicted.fetch_add(evicted, Ordering::Relaxed);
    }

    fn count_ended(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.stats.ended.fetch_add(count, Ordering::Relaxed);
    }

    fn count_open(&self) {
        let open = u64::try_from(self.open.len()).unwrap_or(u64::MAX);
        self.stats.active.store(open, Ordering::Relaxed);
    }

    /// Ends all connections, in an order that does not depend on chance.
    pub fn finish(&mut self) {
        let mut open: Vec<(u64, Connection)> = self.open.drain().collect();
        self.count_ended(open.len());
        open.sort_by_key(|(id, connection)| (connection.last(), *id));
        for (_, mut connection) in open {
            connection.end(Outcome::Passed);
        }
        self.count_open();
    }
}

fn address(bytes: [u8; 16], port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical(), port)
}

#[cfg(test)]
mod tests;
