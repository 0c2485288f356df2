//! One tapped connection: what came, in order, to its session.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use l7d_ebpf::records::{SEGMENT_LOSSY, Segment};
use parsers::Direction as Way;
use parsers::packet::{Tcp, TcpFlags};
use parsers::reassembly::{Piece, Reassembly, ReassemblyLimits};

use super::Stats;
use crate::clock::Monotonic;
use crate::record::{Network, Outcome};
use crate::session::Session;

pub(super) struct Connection {
    client: SocketAddr,
    reassembly: Reassembly,
    session: Session,
    /// Bytes on their way through the reassembly that were left out on purpose, to the server and
    /// to the client.
    left_out: [u64; 2],
    last: Monotonic,
    is_over: bool,
}

impl Connection {
    pub(super) fn new(client: SocketAddr, limits: ReassemblyLimits, session: Session) -> Self {
        Self {
            client,
            reassembly: Reassembly::new(limits),
            session,
            left_out: [0, 0],
            last: Monotonic::default(),
            is_over: false,
        }
    }

    /// When it was last heard of.
    pub(super) fn last(&self) -> Monotonic {
        self.last
    }

    pub(super) fn is_opaque(&self) -> bool {
        self.session.is_opaque()
    }

    /// Whether it has ended, and its end was told.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether a record of the first bytes of its direction belongs to another connection.
    pub(super) fn is_another(&self, from: SocketAddr, segment: &Segment, tcp: &Tcp<'_>) -> bool {
        let first = if segment.skipped > 0 {
            segment.skipped_from
        } else {
            segment.sequence
        };
        let syn = Tcp {
            sequence: first.wrapping_sub(1),
            ..*tcp
        };
        self.reassembly.is_another(self.way(from), &syn)
    }

    fn way(&self, from: SocketAddr) -> Way {
        if from == self.client {
            Way::ToServer
        } else {
            Way::ToClient
        }
    }

    /// Asks what the kernel measures: until there is something, and then now and then.
    pub(super) fn learn(&mut self, measured: impl FnOnce() -> Option<Network>) {
        if (!self.session.has_network() || self.session.wants_network())
            && let Some(seen) = measured()
        {
            self.session.note_network(seen);
        }
    }

    /// Takes a record: what it says is in no record, then its bytes.
    pub(super) fn take(
        &mut self,
        now: Monotonic,
        from: SocketAddr,
        segment: &Segment,
        tcp: &Tcp<'_>,
        stats: &Stats,
    ) {
        self.last = now;
        let way = self.way(from);
        if segment.skipped > 0 {
            let skipped = Tcp {
                sequence: segment.skipped_from,
                flags: TcpFlags::default(),
                payload: &[],
                missing: usize::try_from(segment.skipped).unwrap_or(usize::MAX),
                ..*tcp
            };
            let is_lossy = segment.flags & SEGMENT_LOSSY != 0;
            self.pass(way, &skipped, !is_lossy, stats);
        }
        self.pass(way, tcp, true, stats);
        if let Some(event) = super::ended_by(way, tcp.flags) {
            self.session.note_tcp(event);
        }
        if tcp.flags.has(TcpFlags::RST) {
            self.end(match way {
                Way::ToClient => Outcome::UpstreamReset,
                Way::ToServer => Outcome::NoResponse,
            });
        } else if self.reassembly.is_over() {
            self.end(Outcome::Passed);
        }
    }

    /// The connection has ended: its session tells what has no answer.
    pub(super) fn end(&mut self, outcome: Outcome) {
        self.is_over = true;
        self.session.finish(outcome);
    }

    /// Passes a segment through the reassembly; whether its missing bytes were left out on purpose.
    fn pass(&mut self, way: Way, tcp: &Tcp<'_>, is_on_purpose: bool, stats: &Stats) {
        let Self {
            reassembly,
            session,
            left_out,
            ..
        } = self;
        if is_on_purpose && tcp.missing > 0 {
            *side(left_out, way) += tcp.missing as u64;
        }
        reassembly.handle_segment(way, tcp, &mut |way, piece| match piece {
            Piece::Bytes(bytes) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                stats.bytes.fetch_add(length, Ordering::Relaxed);
                stats.read_bytes.fetch_add(length, Ordering::Relaxed);
                session.observe(way, bytes);
            }
            Piece::Gap(missing) => {
                stats.bytes.fetch_add(missing, Ordering::Relaxed);
                let left_out = side(left_out, way);
                let on_purpose = missing.min(*left_out);
                *left_out -= on_purpose;
                skip(session, way, on_purpose, stats);
                lose(session, way, missing - on_purpose, stats);
            }
            Piece::End => {}
        });
    }
}

fn side(both: &mut [u64; 2], way: Way) -> &mut u64 {
    let [to_server, to_client] = both;
    match way {
        Way::ToServer => to_server,
        Way::ToClient => to_client,
    }
}

/// Bytes that were left out on purpose: a gap if no body was there.
fn skip(session: &mut Session, way: Way, bytes: u64, stats: &Stats) {
    if bytes == 0 {
        return;
    }
    if session.observe_skip(way, bytes) {
        stats.skipped_bytes.fetch_add(bytes, Ordering::Relaxed);
    } else {
        count_gap(bytes, stats);
    }
}

fn lose(session: &mut Session, way: Way, bytes: u64, stats: &Stats) {
    if bytes > 0 {
        count_gap(bytes, stats);
        session.observe_gap(way, bytes);
    }
}

fn count_gap(bytes: u64, stats: &Stats) {
    stats.gaps.fetch_add(1, Ordering::Relaxed);
    stats.gap_bytes.fetch_add(bytes, Ordering::Relaxed);
}
