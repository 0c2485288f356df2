//! What Hubble calls what a record tells.

use crate::flow::view;
use crate::record::{Direction, DropReason, Event, L4, Record, TracePoint, Verdict};

/// `FORWARDED`, `DROPPED`, …
pub(super) fn verdict(record: &Record) -> &'static str {
    view::verdict(record.verdict).as_str_name()
}

/// The protocol that says most: of a message, else of the packet.
pub(super) fn protocol(record: &Record) -> &'static str {
    match &record.event {
        Event::Dns(_) => return "DNS",
        Event::Http(_) => return "HTTP",
        Event::Drop { .. }
        | Event::End(_)
        | Event::Opaque(_)
        | Event::PolicyVerdict { .. }
        | Event::Trace(_) => {}
    }
    match record.l4 {
        L4::Tcp { .. } => "TCP",
        L4::Udp => "UDP",
        L4::Sctp => "SCTP",
        L4::Icmp4 { .. } => "ICMPv4",
        L4::Icmp6 { .. } => "ICMPv6",
        L4::Other(_) => "Unknown L4",
    }
}

/// Kind of event, and its part.
pub(super) fn kind(record: &Record) -> (&'static str, &'static str) {
    match &record.event {
        Event::Dns(_) => ("L7", "DNS"),
        Event::Drop { .. } => ("Drop", ""),
        Event::End(end) => ("Trace", point(end.point)),
        Event::Http(_) => ("L7", "HTTP"),
        Event::Opaque(opaque) if view::opaque_reason(opaque).is_some() => ("Drop", ""),
        Event::Opaque(_) => ("Trace", point(view::opaque_point(record.observer))),
        Event::PolicyVerdict { .. } => ("PolicyVerdict", ""),
        Event::Trace(trace) => ("Trace", point(trace.point)),
    }
}

fn point(point: TracePoint) -> &'static str {
    match point {
        TracePoint::ToEndpoint => "to-endpoint",
        TracePoint::ToProxy => "to-proxy",
        TracePoint::ToHost => "to-host",
        TracePoint::ToStack => "to-stack",
        TracePoint::FromEndpoint => "from-endpoint",
        TracePoint::FromProxy => "from-proxy",
        TracePoint::FromHost => "from-host",
        TracePoint::FromNetwork => "from-network",
        TracePoint::ToNetwork => "to-network",
    }
}

/// The reason of a drop; that of a message is not known.
pub(super) fn drop_reason(record: &Record) -> DropReason {
    match &record.event {
        Event::Drop { reason, .. } => *reason,
        Event::PolicyVerdict { reason, .. } => reason.unwrap_or(DropReason::UNKNOWN),
        Event::Opaque(opaque) => view::opaque_reason(opaque).unwrap_or(DropReason::UNKNOWN),
        Event::Dns(_) | Event::End(_) | Event::Http(_) | Event::Trace(_) => DropReason::UNKNOWN,
    }
}

/// `IPv4` or `IPv6`.
pub(super) fn family(record: &Record) -> &'static str {
    if record.source.addr.is_ipv4() {
        "IPv4"
    } else {
        "IPv6"
    }
}

/// Who saw a message: who asked, or who was asked.
pub(super) fn reporter(record: &Record) -> &'static str {
    match record.direction {
        Direction::Egress => "client",
        Direction::Ingress => "server",
        Direction::Unknown => "unknown",
    }
}

/// Whether it went on, as far as this node can tell.
pub(super) fn is_passed(record: &Record) -> bool {
    matches!(record.verdict, Verdict::Forwarded | Verdict::Redirected)
}

/// Whether its transport has a place in a flow.
pub(super) fn has_l4(record: &Record) -> bool {
    !matches!(record.l4, L4::Other(_))
}
