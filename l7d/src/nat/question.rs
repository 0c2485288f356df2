//! Which records netfilter is asked about, and what.

use std::net::IpAddr;

use parsers::netlink::conntrack::{Connection, Tuple};

use super::table::{Key, Side};
use crate::record::{
    ConnState, Direction, Event, L4, Observer, Party, Record, TracePoint, Verdict,
};

/// What a record wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) key: Key,
    /// Number of its connection, 0 where it has none.
    pub(super) connection: u64,
    /// Netfilter may know in a moment what it does not know yet: the packet was on its way to it.
    pub(super) is_early: bool,
}

/// What there is to find out about a record's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// Nothing.
    None,
    /// It goes from pod to pod as it is: whoever sees it arrive need not ask.
    Direct(Question),
    /// Whether it is translated.
    Ask(Question),
}

impl Interest {
    /// Of a record.
    pub(super) fn of(record: &Record) -> Self {
        if !is_tracked(record.l4) || record.observer == Observer::Capture {
            return Self::None;
        }
        let is_reply = record.reply == Some(true);
        let (client, server) = if is_reply {
            (&record.destination, &record.source)
        } else {
            (&record.source, &record.destination)
        };
        if is_for_many(server.addr.ip()) || is_for_many(client.addr.ip()) {
            return Self::None;
        }
        let side = side(record);
        let question = Question {
            key: Key {
                protocol: record.l4.protocol(),
                side,
                client: client.addr,
                server: server.addr,
            },
            connection: record.connection,
            is_early: side == Side::Front && !is_reply && is_on_its_way(record),
        };
        match side {
            // Dropped in front of netfilter, which never saw it.
            Side::Front if record.verdict == Verdict::Dropped => Self::None,
            Side::Front if is_pod(server) && server.service.is_none() => Self::Direct(question),
            Side::Front | Side::Behind => Self::Ask(question),
        }
    }
}

impl Question {
    /// What to ask netfilter for, and what next if it knows no such connection. In front it is known
    /// by what its client sends, behind by what its server sends back; which of them it is can be
    /// doubtful where both are seen at one interface.
    pub(super) fn tuples(&self) -> [Tuple; 2] {
        let Key {
            protocol,
            side,
            client,
            server,
        } = self.key;
        let sent = Tuple::new(protocol, client, server);
        match side {
            Side::Front => [sent, sent.reversed()],
            Side::Behind => [sent.reversed(), sent],
        }
    }
}

/// What records of both sides of a connection are looked up by.
pub(super) fn keys(connection: &Connection) -> [Key; 2] {
    let Connection { original, reply } = connection;
    let key = |side, client, server| Key {
        protocol: original.protocol,
        side,
        client,
        server,
    };
    [
        key(Side::Front, original.source, original.destination),
        key(Side::Behind, reply.destination, reply.source),
    ]
}

/// Whether netfilter knows connections of that protocol by what a record tells.
fn is_tracked(l4: L4) -> bool {
    match l4 {
        L4::Tcp { .. } | L4::Udp | L4::Sctp => true,
        L4::Icmp4 { kind, .. } => kind == 8 || kind == 0,
        L4::Icmp6 { kind, .. } => kind == 128 || kind == 129,
        L4::Other(_) => false,
    }
}

/// Which nobody translates.
fn is_for_many(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    is_link_local || ip.is_multicast() || ip.is_unspecified()
}

fn side(record: &Record) -> Side {
    let is_reply = record.reply == Some(true);
    let is_front = match point(record) {
        Some(TracePoint::ToNetwork) => is_reply,
        Some(TracePoint::FromNetwork | TracePoint::ToHost) => !is_reply,
        _ => record.direction == Direction::Egress,
    };
    if is_front { Side::Front } else { Side::Behind }
}

fn point(record: &Record) -> Option<TracePoint> {
    match &record.event {
        Event::Trace(trace) => Some(trace.point),
        Event::End(end) => Some(end.point),
        Event::Drop { .. }
        | Event::PolicyVerdict { .. }
        | Event::Dns(_)
        | Event::Http(_)
        | Event::Opaque(_) => None,
    }
}

/// Whether the packet was told of before netfilter saw it.
fn is_on_its_way(record: &Record) -> bool {
    match &record.event {
        Event::Trace(trace) => {
            trace.state != ConnState::Reply
                && matches!(
                    trace.point,
                    TracePoint::FromEndpoint
                        | TracePoint::FromNetwork
                        | TracePoint::ToHost
                        | TracePoint::ToStack
                )
        }
        // Where the proxy takes it, netfilter never sees it.
        Event::PolicyVerdict { .. } => record.verdict != Verdict::Redirected,
        Event::End(_) | Event::Drop { .. } | Event::Dns(_) | Event::Http(_) | Event::Opaque(_) => {
            false
        }
    }
}

/// Whether an address is a pod's own: not a service's, the node's, or one of the world.
fn is_pod(party: &Party) -> bool {
    let endpoint = party.endpoint.as_deref();
    endpoint.is_some_and(|endpoint| !endpoint.name.is_empty())
}
