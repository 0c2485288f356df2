//! A capture → records, by the same sessions that read live connections.
//!
//! ```text
//!   packets ─▶ frames ─▶ connection (key, direction, reassembly) ─▶ Session ─▶ records
//!                 └────▶ what the packets themselves tell (trace)  ───────────▶ records
//! ```
//!
//! Time is the capture's. Nothing is guessed: what was not captured is told as a gap, and a message
//! whose start is missing is not made up.

mod connections;
mod datagrams;
mod encapsulations;
pub mod flowlog;
mod handshake;
mod numbers;
pub(crate) mod orientation;
mod summary;
mod trace;
mod verdicts;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use parsers::packet::{FragmentLimits, Frames, Packet, Tcp, TcpFlags, Transport};
use parsers::reassembly::{Piece, ReassemblyLimits};
use parsers::{Direction as Way, Limits};

pub use summary::Summary;
pub use verdicts::PolicyVerdicts;

use crate::clock::Timestamp;
use crate::identity::Identities;
use crate::policy::Live;
use crate::record::{Direction, Encapsulation, EndpointId, L4, Party, Sink, TcpEvent};
use crate::session::{Ends, Recorder, Session};
use connections::{Connection, Connections, Key};
use datagrams::Datagrams;
use encapsulations::Encapsulations;
use numbers::Numbers;
use trace::Tracer;

const TCP: u8 = L4::Tcp { flags: 0 }.protocol();

/// Bounds of a replay.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// Of parsers.
    pub parsers: Limits,
    /// Of each connection's segments.
    pub reassembly: ReassemblyLimits,
    /// Of fragments.
    pub fragments: FragmentLimits,
}

/// A capture being replayed.
pub struct Replay {
    frames: Frames,
    streams: Streams,
}

/// Everything behind the frames.
struct Streams {
    settings: Settings,
    connections: Connections,
    datagrams: Datagrams,
    encapsulations: Encapsulations,
    numbers: Numbers,
    /// None where nobody wants to know of packets.
    tracer: Option<Tracer>,
    recorder: Rc<Recorder>,
    identities: Identities,
    summary: Summary,
}

/// A packet of a capture.
#[derive(Debug, Clone, Copy)]
pub struct Captured<'b> {
    /// When it was captured.
    pub time: Timestamp,
    /// What its bytes begin with.
    pub link_type: u32,
    /// Its bytes.
    pub data: &'b [u8],
}

impl Replay {
    /// Nothing seen yet. Records of messages go the recorder's way, those of packets to `sink`.
    pub fn new(
        settings: Settings,
        recorder: Rc<Recorder>,
        sink: Arc<dyn Sink>,
        identities: Identities,
        policy: Option<Arc<Live>>,
    ) -> Self {
        let names = recorder.names().cloned();
        Self {
            frames: Frames::new(settings.fragments),
            streams: Streams {
                settings,
                connections: Connections::default(),
                datagrams: Datagrams::new(),
                encapsulations: Encapsulations::default(),
                numbers: Numbers::default(),
                tracer: Some(Tracer::new(sink, policy, names)),
                recorder,
                identities,
                summary: Summary::default(),
            },
        }
    }

    /// The same without records of packets: messages only.
    #[must_use]
    pub fn without_packets(mut self) -> Self {
        self.streams.tracer = None;
        self
    }

    /// Takes the next packet.
    pub fn handle_packet(&mut self, captured: &Captured<'_>) {
        let Self { frames, streams } = self;
        streams.summary.count_packet(captured);
        streams.recorder.clock().set(captured.time);
        match frames.read(captured.link_type, captured.data, captured.time.0) {
            Ok(Some(packet)) => streams.take(&packet, captured),
            Ok(None) => streams.summary.count_without_ip(captured.link_type),
            Err(error) => streams.summary.count_unreadable(error.rule),
        }
    }

    /// No more packets come: what waits is handed out, and every connection ends.
    pub fn finish(&mut self) {
        let Self { frames, streams } = self;
        streams.connections.end_all(&mut streams.summary);
        streams.datagrams.end(&streams.recorder);
        streams.summary.lost_datagrams = frames.lost_datagrams();
        streams.summary.evicted = streams.connections.evicted();
    }

    /// What was seen so far.
    pub fn summary(&self) -> &Summary {
        &self.streams.summary
    }
}

impl Streams {
    fn take(&mut self, packet: &Packet<'_>, captured: &Captured<'_>) {
        let encapsulation = self.encapsulations.share(&packet.encapsulation);
        match &packet.transport {
            Transport::Tcp(tcp) => {
                self.take_segment(packet, tcp, encapsulation.as_ref(), captured.time);
            }
            Transport::Udp(udp) => {
                let identities = &self.identities;
                let numbers = &mut self.numbers;
                self.datagrams
                    .handle(&self.recorder, packet, udp, |way, client, server| {
                        let number = numbers.of(Key::new(client, server), L4::Udp.protocol());
                        let mut ends = ends_of(identities, client, server).with_connection(number);
                        ends.note_encapsulation(way, encapsulation.as_ref());
                        ends
                    });
            }
            Transport::Sctp(_)
            | Transport::Icmp { .. }
            | Transport::IcmpV6 { .. }
            | Transport::Other(_) => {}
        }
        if let Some(tracer) = &mut self.tracer {
            let parties = parties(&self.identities, packet);
            let key = Key::new(parties.0.addr, parties.1.addr);
            let number = self
                .numbers
                .of(key, trace::l4(&packet.transport).protocol());
            tracer.handle(captured, packet, encapsulation, &parties, number);
        }
        self.connections.sweep(captured.time);
    }

    fn take_segment(
        &mut self,
        packet: &Packet<'_>,
        tcp: &Tcp<'_>,
        encapsulation: Option<&Arc<Encapsulation>>,
        time: Timestamp,
    ) {
        let from = SocketAddr::new(packet.source, tcp.source_port);
        let to = SocketAddr::new(packet.destination, tcp.destination_port);
        let key = Key::new(from, to);
        match self.connections.touch(&key, time) {
            Some(connection) if !connection.is_followed_by(from, tcp) => {
                connection.take(from, tcp, encapsulation, &mut self.summary);
            }
            former => {
                let begins_anew = former.is_some() || is_first(tcp);
                if former.is_some() {
                    self.connections.remove(&key, &mut self.summary);
                }
                let number = if begins_anew {
                    self.numbers.begin(key, TCP)
                } else {
                    self.numbers.of(key, TCP)
                };
                if let Some(connection) = self.open((from, to), number, tcp, time) {
                    self.summary.connections += 1;
                    let connection = self.connections.insert(key, connection);
                    connection.take(from, tcp, encapsulation, &mut self.summary);
                }
            }
        }
    }

    /// A connection begins with its first segment, or, where that was not captured, with its first
    /// bytes: nothing can be told of acknowledgements alone.
    fn open(
        &self,
        (from, to): (SocketAddr, SocketAddr),
        number: u64,
        tcp: &Tcp<'_>,
        now: Timestamp,
    ) -> Option<Connection> {
        let is_first = tcp.flags.has(TcpFlags::SYN);
        if !is_first && tcp.payload.is_empty() && tcp.missing == 0 {
            return None;
        }
        let is_from_client = orientation::is_from_client(tcp);
        let (client, server) = if is_from_client {
            (from, to)
        } else {
            (to, from)
        };
        let ends = ends_of(&self.identities, client, server).with_connection(number);
        let recorder = Rc::clone(&self.recorder);
        let limits = self.settings.parsers;
        let session = if is_first {
            let reading = parsers::http1::Reading::Lenient;
            Session::new(recorder, ends, limits, reading)
        } else {
            Session::mid_stream(recorder, ends, limits)
        };
        let reassembly = self.settings.reassembly;
        Some(Connection::new(client, reassembly, session, now))
    }
}

/// Whether a segment is the first of its connection.
fn is_first(tcp: &Tcp<'_>) -> bool {
    tcp.flags.has(TcpFlags::SYN) && !tcp.flags.has(TcpFlags::ACK)
}

/// Both ends as the packet has them: who sent it, and who is to get it.
fn parties(identities: &Identities, packet: &Packet<'_>) -> (Party, Party) {
    let (from, to) = match &packet.transport {
        Transport::Tcp(tcp) => (tcp.source_port, tcp.destination_port),
        Transport::Udp(udp) => (udp.source_port, udp.destination_port),
        Transport::Sctp(sctp) => (sctp.source_port, sctp.destination_port),
        Transport::Icmp { .. } | Transport::IcmpV6 { .. } | Transport::Other(_) => (0, 0),
    };
    let party = |ip, port| identities.party(SocketAddr::new(ip, port));
    (party(packet.source, from), party(packet.destination, to))
}

/// Who is at both ends, and from whose view.
pub(crate) fn ends_of(identities: &Identities, client: SocketAddr, server: SocketAddr) -> Ends {
    let client = identities.party(client);
    let server = identities.party(server);
    let is_local = |party: &Party| {
        let endpoint = party.endpoint.as_ref();
        endpoint.is_some_and(|endpoint| endpoint.id != EndpointId(0))
    };
    let direction = match (is_local(&client), is_local(&server)) {
        (_, true) => Direction::Ingress,
        (true, false) => Direction::Egress,
        (false, false) => Direction::Unknown,
    };
    Ends::new(client, server, direction)
}

/// How a segment with these flags that goes `way` ends its direction, if it does.
pub(crate) fn ended_by(way: Way, flags: TcpFlags) -> Option<TcpEvent> {
    match (way, flags) {
        (Way::ToServer, flags) if flags.has(TcpFlags::RST) => Some(TcpEvent::ResetByClient),
        (Way::ToClient, flags) if flags.has(TcpFlags::RST) => Some(TcpEvent::ResetByServer),
        (Way::ToServer, flags) if flags.has(TcpFlags::FIN) => Some(TcpEvent::ClosedByClient),
        (Way::ToClient, flags) if flags.has(TcpFlags::FIN) => Some(TcpEvent::ClosedByServer),
        _ => None,
    }
}

/// Shows reassembled bytes to their session.
fn pass_on(session: &mut Session, summary: &mut Summary, way: Way, piece: Piece<'_>) {
    match piece {
        Piece::Bytes(bytes) => session.observe(way, bytes),
        Piece::Gap(missing) => {
            summary.count_gap(missing);
            session.observe_gap(way, missing);
        }
        Piece::End => {}
    }
}
