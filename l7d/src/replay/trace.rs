//! What packets tell by themselves: connections that begin, answer and end.
//!
//! One record for the first packet of each direction, and for each TCP flag that is seen for the
//! first time, as Cilium's medium aggregation has it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parsers::packet::{Packet, TcpFlags, Transport};

use super::Captured;
use crate::identity::Names;
use crate::policy::Live;
use crate::record::{
    ConnState, Direction, Encapsulation, Event, L4, Observer, Party, Record, Sink, TcpHealth,
    Trace, TracePoint, Verdict, Why, no_policies,
};

/// Flows remembered; beyond, the table starts anew, and a running connection is told once more.
const FLOWS_MAX: usize = 1 << 18;
/// Flags whose first sight is told.
const TELLING: u8 = TcpFlags::FIN.0 | TcpFlags::SYN.0 | TcpFlags::RST.0;

/// Remembers what was told.
pub(super) struct Tracer {
    sink: Arc<dyn Sink>,
    policy: Option<Arc<Live>>,
    names: Option<Arc<Names>>,
    /// By the connection's number.
    flows: HashMap<u64, Flow, ahash::RandomState>,
    scratch: Option<Record>,
}

struct Flow {
    /// Who sent its first packet.
    first: SocketAddr,
    /// Flags told, of the first sender and of the other.
    told: [Option<u8>; 2],
    packets: [u64; 2],
    bytes: [u64; 2],
}

impl Tracer {
    pub(super) fn new(
        sink: Arc<dyn Sink>,
        policy: Option<Arc<Live>>,
        names: Option<Arc<Names>>,
    ) -> Self {
        Self {
            sink,
            policy,
            names,
            flows: HashMap::default(),
            scratch: None,
        }
    }

    /// Takes a packet between these two, of the connection with this number.
    pub(super) fn handle(
        &mut self,
        captured: &Captured<'_>,
        packet: &Packet<'_>,
        encapsulation: Option<Arc<Encapsulation>>,
        (source, destination): &(Party, Party),
        number: u64,
    ) {
        let l4 = l4(&packet.transport);
        if self.flows.len() >= FLOWS_MAX && !self.flows.contains_key(&number) {
            self.flows.clear();
        }
        let flow = self.flows.entry(number).or_insert_with(|| Flow {
            first: source.addr,
            told: [None, None],
            packets: [0, 0],
            bytes: [0, 0],
        });
        let is_reply = flow.first != source.addr;
        let Some((packets, bytes)) = flow.take(is_reply, captured.data.len(), l4) else {
            return;
        };
        let state = match (is_reply, packets) {
            (true, _) => ConnState::Reply,
            (false, 1) => ConnState::New,
            (false, _) => ConnState::Established,
        };
        let event = Event::Trace(Trace {
            point: TracePoint::FromNetwork,
            state,
            why: Why::First,
            packets,
            bytes,
            health: TcpHealth::default(),
        });
        let record = self.scratch.get_or_insert_with(|| {
            Record::new(
                captured.time,
                source.clone(),
                destination.clone(),
                event.clone(),
            )
        });
        record.time = captured.time;
        record.source.clone_from(source);
        record.destination.clone_from(destination);
        record.event = event;
        record.l4 = l4;
        record.reply = Some(is_reply);
        record.verdict = Verdict::Forwarded;
        record.policies = no_policies();
        record.direction = Direction::Unknown;
        record.observer = Observer::Capture;
        record.connection = number;
        record.encapsulation = encapsulation;
        if let Some(names) = &self.names {
            names.name(record);
        }
        self.sink.record(record);
        let judged = match (&self.policy, state) {
            (Some(policy), ConnState::New) => {
                policy.judge_connection(source, destination, l4.protocol())
            }
            (Some(_) | None, _) => None,
        };
        if let Some(judged) = judged {
            record.direction = judged.direction;
            record.verdict = judged.verdict;
            record.policies = judged.policies;
            // Hubble knows what a reply is only where a connection came to be.
            record.reply = judged.reason.is_none().then_some(false);
            record.event = Event::PolicyVerdict {
                match_type: judged.match_type,
                reason: judged.reason,
            };
            self.sink.record(record);
        }
    }
}

impl Flow {
    /// Counts a packet; gives the counters when it is to be told.
    fn take(&mut self, is_reply: bool, bytes: usize, l4: L4) -> Option<(u64, u64)> {
        let side = usize::from(is_reply);
        let (told, packets, total) = (
            self.told.get_mut(side)?,
            self.packets.get_mut(side)?,
            self.bytes.get_mut(side)?,
        );
        *packets += 1;
        *total += bytes as u64;
        let flags = match l4 {
            L4::Tcp { flags } => flags & TELLING,
            _ => 0,
        };
        let is_news = told.is_none_or(|told| flags & !told != 0);
        *told = Some(told.unwrap_or(0) | flags);
        is_news.then_some((*packets, *total))
    }
}

/// What the transport header of a packet tells.
pub(super) fn l4(transport: &Transport<'_>) -> L4 {
    match transport {
        Transport::Tcp(tcp) => L4::Tcp { flags: tcp.flags.0 },
        Transport::Udp(_) => L4::Udp,
        Transport::Sctp(_) => L4::Sctp,
        Transport::Icmp { kind, code } => L4::Icmp4 {
            kind: *kind,
            code: *code,
        },
        Transport::IcmpV6 { kind, code } => L4::Icmp6 {
            kind: *kind,
            code: *code,
        },
        Transport::Other(protocol) => L4::Other(*protocol),
    }
}
