//! Kernel records → records, with both ends named as of this moment.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use l7d_ebpf::drops::{DROP_FORWARD, DROP_REPLY, DropRecord};
use l7d_ebpf::maps::{CONNECTION_PROXIED, CONNECTION_TRANSLATED};
use l7d_ebpf::records::{self as abi, PacketRecord};

use crate::clock::{Monotonic, WallOffset};
use crate::datapath::Ended;
use crate::identity::{Identities, Names};
use crate::policy::{Live, State};
use crate::record::{
    ConnState, Direction, DropReason, End, EndpointId, Event, IdentityNumber, KernelDrop, L4,
    Party, PolicyRef, Record, TcpHealth, Trace, TracePoint, Verdict, Why, no_policies,
};

/// Names what the kernel counted.
#[derive(Debug)]
pub struct Namer {
    identities: Identities,
    policy: Arc<Live>,
    names: Arc<Names>,
    offset: WallOffset,
}

impl Namer {
    /// Uses these tables.
    pub fn new(identities: Identities, policy: Arc<Live>, names: Arc<Names>) -> Self {
        Self {
            identities,
            policy,
            names,
            offset: WallOffset::measure(),
        }
    }

    /// Measures the wall clock again; it may have been set.
    pub fn refresh_clock(&mut self) {
        self.offset = WallOffset::measure();
    }

    /// The record of a kernel record.
    pub fn name(&self, packet: &PacketRecord) -> Record {
        let source = self.party(
            (packet.source, packet.source_port),
            packet.source_identity,
            packet.protocol,
        );
        let destination = self.party(
            (packet.destination, packet.destination_port),
            packet.destination_identity,
            packet.protocol,
        );
        let time = self.offset.to_wall(Monotonic(packet.time_ns));
        let mut record = Record::new(time, source, destination, event(packet));
        record.direction = match packet.direction {
            abi::DIRECTION_INGRESS => Direction::Ingress,
            abi::DIRECTION_EGRESS => Direction::Egress,
            _ => Direction::Unknown,
        };
        record.verdict = match packet.verdict {
            abi::VERDICT_AUDIT => Verdict::Audit,
            abi::VERDICT_DROPPED => Verdict::Dropped,
            abi::VERDICT_REDIRECTED => Verdict::Redirected,
            _ => Verdict::Forwarded,
        };
        record.reply = match (packet.kind, packet.state) {
            (abi::KIND_TRACE, abi::STATE_REPLY) => Some(true),
            (abi::KIND_TRACE, _) => Some(false),
            (abi::KIND_POLICY, _) if packet.verdict != abi::VERDICT_DROPPED => Some(false),
            _ => None,
        };
        record.l4 = l4(
            packet.protocol,
            packet.tcp_flags,
            (packet.icmp_type, packet.icmp_code),
        );
        record.interface = packet.interface;
        record.connection = packet.connection;
        record.policies = self.policies(packet);
        self.names.name(&mut record);
        record
    }

    /// The record of a packet that the kernel dropped, of which it says this.
    pub fn name_drop(&self, packet: &DropRecord, reason: DropReason, said: KernelDrop) -> Record {
        let source = self.party((packet.source, packet.source_port), 0, packet.protocol);
        let destination = self.party(
            (packet.destination, packet.destination_port),
            0,
            packet.protocol,
        );
        let time = self.offset.to_wall(Monotonic(packet.time_ns));
        let event = Event::Drop {
            reason,
            kernel: Some(Arc::new(said)),
        };
        let is_local = |party: &Party| {
            let endpoint = party.endpoint.as_ref();
            endpoint.is_some_and(|endpoint| endpoint.id != EndpointId(0))
        };
        // From the view of the one who did not get it, where that is an endpoint of this node.
        let direction = match (is_local(&source), is_local(&destination)) {
            (_, true) => Direction::Ingress,
            (true, false) => Direction::Egress,
            (false, false) => Direction::Unknown,
        };
        let mut record = Record::new(time, source, destination, event);
        record.direction = direction;
        record.verdict = Verdict::Dropped;
        record.reply = match packet.flags & (DROP_FORWARD | DROP_REPLY) {
            DROP_FORWARD => Some(false),
            DROP_REPLY => Some(true),
            _ => None,
        };
        record.l4 = l4(
            packet.protocol,
            packet.tcp_flags,
            (packet.icmp_type, packet.icmp_code),
        );
        record.interface = packet.interface;
        record.connection = packet.connection;
        self.names.name(&mut record);
        record
    }

    /// The record of a connection's end.
    pub fn end(&self, ended: &Ended) -> Record {
        let source = self.identities.party_of(ended.client, ended.protocol);
        let destination = self.identities.party_of(ended.server, ended.protocol);
        let is_local = |party: &Party| {
            let known = party.endpoint.as_deref();
            known.is_some_and(|endpoint| endpoint.id != EndpointId::default())
        };
        let (direction, point) = if ended.flags & CONNECTION_TRANSLATED != 0 {
            (Direction::Egress, TracePoint::ToNetwork)
        } else if is_local(&source) {
            (Direction::Egress, TracePoint::ToStack)
        } else {
            (Direction::Ingress, TracePoint::ToEndpoint)
        };
        let event = Event::End(End {
            point: if ended.flags & CONNECTION_PROXIED != 0 {
                TracePoint::ToProxy
            } else {
                point
            },
            how: ended.how,
            duration_ns: ended.duration_ns,
            sent: ended.sent,
            received: ended.received,
        });
        let time = self.offset.to_wall(ended.at);
        let mut record = Record::new(time, source, destination, event);
        record.direction = direction;
        record.reply = Some(false);
        let echo = if ended.protocol == 58 { 128 } else { 8 };
        record.l4 = l4(ended.protocol, 0, (echo, 0));
        record.connection = ended.connection;
        self.names.name(&mut record);
        record
    }

    fn party(&self, (address, port): ([u8; 16], u16), identity: u32, protocol: u8) -> Party {
        let ip = IpAddr::V6(Ipv6Addr::from(address)).to_canonical();
        let mut party = self
            .identities
            .party_of(SocketAddr::new(ip, port), protocol);
        // The kernel's word counts: it is what was judged.
        if identity != 0 {
            party.identity = IdentityNumber(identity);
        }
        party
    }

    /// The rule that decided, or the policies that deny by default.
    fn policies(&self, packet: &PacketRecord) -> Arc<[PolicyRef]> {
        let state = self.policy.load();
        if packet.rule != 0 {
            return state.refs(policy_l7::RuleId(packet.rule));
        }
        if packet.reason == abi::REASON_POLICY_DENIED {
            return default_deny(&state, packet);
        }
        no_policies()
    }
}

fn default_deny(state: &State, packet: &PacketRecord) -> Arc<[PolicyRef]> {
    let EndpointId(endpoint) = EndpointId(u16::try_from(packet.endpoint).unwrap_or(0));
    let direction = if packet.direction == abi::DIRECTION_EGRESS {
        policy_l7::Direction::Egress
    } else {
        policy_l7::Direction::Ingress
    };
    let compiled = &state.compiled;
    state.refs_of(&if packet.verdict == abi::VERDICT_AUDIT {
        compiled.audited_defaults(endpoint, direction)
    } else {
        compiled.defaults(endpoint, direction)
    })
}

fn event(packet: &PacketRecord) -> Event {
    // What is audited has a reason as well, but nothing was dropped.
    let is_dropped = packet.verdict == abi::VERDICT_DROPPED;
    let reason = (is_dropped && packet.reason != 0).then_some(DropReason(packet.reason));
    match packet.kind {
        abi::KIND_POLICY => Event::PolicyVerdict {
            match_type: packet.match_type,
            reason,
        },
        abi::KIND_DROP => Event::Drop {
            reason: DropReason(packet.reason),
            kernel: None,
        },
        _ => Event::Trace(trace(packet)),
    }
}

fn trace(packet: &PacketRecord) -> Trace {
    Trace {
        point: match packet.point {
            abi::POINT_TO_PROXY => TracePoint::ToProxy,
            abi::POINT_TO_HOST => TracePoint::ToHost,
            abi::POINT_TO_STACK => TracePoint::ToStack,
            abi::POINT_FROM_ENDPOINT => TracePoint::FromEndpoint,
            abi::POINT_FROM_PROXY => TracePoint::FromProxy,
            abi::POINT_FROM_NETWORK => TracePoint::FromNetwork,
            abi::POINT_TO_NETWORK => TracePoint::ToNetwork,
            _ => TracePoint::ToEndpoint,
        },
        state: match packet.state {
            abi::STATE_NEW => ConnState::New,
            abi::STATE_REPLY => ConnState::Reply,
            abi::STATE_ESTABLISHED => ConnState::Established,
            _ => ConnState::Unknown,
        },
        why: match packet.why {
            abi::WHY_FLAGS => Why::Flags,
            abi::WHY_INTERVAL => Why::Interval,
            abi::WHY_EACH => Why::Each,
            abi::WHY_SYN_AGAIN => Why::SynAgain,
            abi::WHY_ZERO_WINDOW => Why::ZeroWindow,
            _ => Why::First,
        },
        packets: packet.packets,
        bytes: packet.bytes,
        health: TcpHealth {
            handshake_us: packet.handshake_us,
            srtt_us: packet.srtt_us,
            min_rtt_us: packet.min_rtt_us,
            retransmits: packet.retransmits,
            zero_windows: packet.zero_windows,
        },
    }
}

fn l4(protocol: u8, flags: u8, (kind, code): (u8, u8)) -> L4 {
    match protocol {
        6 => L4::Tcp { flags },
        17 => L4::Udp,
        132 => L4::Sctp,
        1 => L4::Icmp4 { kind, code },
        58 => L4::Icmp6 { kind, code },
        other => L4::Other(other),
    }
}
