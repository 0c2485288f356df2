//! Kernel records → records, with both ends named as of this moment.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use l7d_ebpf::records::{self as abi, PacketRecord};

use crate::clock::{Monotonic, WallOffset};
use crate::identity::{Identities, Names};
use crate::policy::{Live, State};
use crate::record::{
    ConnState, Direction, DropReason, EndpointId, Event, IdentityNumber, L4, Party, PolicyRef,
    Record, TracePoint, Verdict, no_policies,
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
        let source = self.party(packet.source, packet.source_port, packet.source_identity);
        let destination = self.party(
            packet.destination,
            packet.destination_port,
            packet.destination_identity,
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
        record.l4 = l4(packet);
        record.interface = packet.interface;
        record.connection = packet.connection;
        record.policies = self.policies(packet);
        self.names.name(&mut record);
        record
    }

    fn party(&self, address: [u8; 16], port: u16, identity: u32) -> Party {
        let ip = IpAddr::V6(Ipv6Addr::from(address)).to_canonical();
        let mut party = self.identities.party(SocketAddr::new(ip, port));
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
        },
        _ => Event::Trace {
            point: match packet.point {
                abi::POINT_TO_PROXY => TracePoint::ToProxy,
                abi::POINT_TO_STACK => TracePoint::ToStack,
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
            packets: packet.packets,
            bytes: packet.bytes,
        },
    }
}

fn l4(packet: &PacketRecord) -> L4 {
    match packet.protocol {
        6 => L4::Tcp {
            flags: packet.tcp_flags,
        },
        17 => L4::Udp,
        132 => L4::Sctp,
        1 => L4::Icmp4 {
            kind: packet.icmp_type,
            code: packet.icmp_code,
        },
        58 => L4::Icmp6 {
            kind: packet.icmp_type,
            code: packet.icmp_code,
        },
        other => L4::Other(other),
    }
}
