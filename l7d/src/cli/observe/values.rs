//! Values of filter flags: words and numbers → what a filter holds.

use proto::flow::{
    DropReason, EventTypeFilter, IpVersion, TcpFlags, TrafficDirection, Verdict, Workload,
};

use super::flags::Flag;
use crate::cli::suggest;
use crate::print::text::{RESERVED, TRACE_POINTS};

/// Types of events, as `--type` takes them.
const EVENT_TYPES: &[(&str, i32)] = &[
    ("agent", 130),
    ("capture", 3),
    ("debug", 2),
    ("drop", 1),
    ("l7", 129),
    ("policy-verdict", 5),
    ("trace", 4),
    ("trace-sock", 7),
];

/// Kinds of agent events, as `--type agent:KIND` takes them.
const AGENT_EVENTS: &[(&str, i32)] = &[
    ("agent-started", 2),
    ("endpoint-created", 7),
    ("endpoint-deleted", 8),
    ("endpoint-regenerate-failure", 4),
    ("endpoint-regenerate-success", 3),
    ("ipcache-deleted", 10),
    ("ipcache-upserted", 9),
    ("message", 1),
    ("policy-deleted", 6),
    ("policy-updated", 5),
    ("unspecified", 0),
];

/// A connection's number, in the form that flows have it.
pub(super) fn connection(text: &str) -> Result<String, String> {
    Ok(format!("{:x}", connection_number(text)?))
}

/// A connection's number.
pub(in crate::cli) fn connection_number(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|error| {
        format!(
            "{text:?} is no connection: {error}; numbers are hexadecimal, as in extensions of flows"
        )
    })
}

pub(super) fn verdicts() -> Vec<&'static str> {
    (1..=7)
        .filter_map(|n| Verdict::try_from(n).ok())
        .map(|v| v.as_str_name())
        .collect()
}

pub(super) fn drop_reasons() -> Vec<&'static str> {
    (1..=255)
        .filter_map(|n| DropReason::try_from(n).ok())
        .map(|r| r.as_str_name())
        .collect()
}

pub(super) fn misspelt(flag: &Flag, value: &str, names: &[&str]) -> String {
    let mut message = format!("invalid --{} value: {value}", flag.long);
    match suggest::closest(&value.to_uppercase(), names.iter().copied()) {
        Some(name) => message.extend([", did you mean ", name, "?"]),
        None if names.len() < 10 => {
            message.extend([", expected one of ", &names.join(", ")]);
        }
        None => {}
    }
    message
}

pub(super) fn workload(value: &str) -> Workload {
    let (kind, name) = value.split_once('/').unwrap_or(("", value));
    Workload {
        name: name.to_owned(),
        kind: kind.to_owned(),
    }
}

pub(super) fn identity(value: &str) -> Result<u32, String> {
    let named = RESERVED.iter().skip(1).position(|name| *name == value);
    if let Some(number) = named.and_then(|at| u32::try_from(at + 1).ok()) {
        return Ok(number);
    }
    let parsed = match value.strip_prefix("0x") {
        Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
        None => value.parse(),
    };
    parsed.map_err(|error| {
        let known = RESERVED.get(1..).unwrap_or_default().join(" ");
        format!("invalid security identity, expected one of [{known}] or a numeric value ({error})")
    })
}

pub(super) fn ip_version(value: &str) -> Option<IpVersion> {
    match value.to_ascii_lowercase().as_str() {
        "none" => Some(IpVersion::IpNotUsed),
        "4" | "v4" | "ipv4" => Some(IpVersion::IPv4),
        "6" | "v6" | "ipv6" => Some(IpVersion::IPv6),
        _ => None,
    }
}

pub(super) fn direction(value: &str) -> Result<TrafficDirection, String> {
    match value.to_ascii_lowercase().as_str() {
        "ingress" => Ok(TrafficDirection::Ingress),
        "egress" => Ok(TrafficDirection::Egress),
        _ => Err(format!(
            "{value}: invalid traffic direction, expected ingress or egress"
        )),
    }
}

pub(super) fn tcp_flags(value: &str) -> Result<TcpFlags, String> {
    let mut flags = TcpFlags::default();
    for name in value.split(',') {
        let flag = match name.to_ascii_uppercase().as_str() {
            "FIN" => &mut flags.fin,
            "SYN" => &mut flags.syn,
            "RST" => &mut flags.rst,
            "PSH" => &mut flags.psh,
            "ACK" => &mut flags.ack,
            "URG" => &mut flags.urg,
            "ECE" => &mut flags.ece,
            "CWR" => &mut flags.cwr,
            "NS" => &mut flags.ns,
            _ => return Err(format!("unknown tcp flag: {name}")),
        };
        *flag = true;
    }
    Ok(flags)
}

pub(super) fn event_type(value: &str) -> Result<EventTypeFilter, String> {
    let (kind, sub) = match value.split_once(':') {
        Some((kind, sub)) => (kind, Some(sub)),
        None => (value, None),
    };
    let number = EVENT_TYPES
        .iter()
        .find_map(|(name, number)| (*name == kind).then_some(*number))
        .or_else(|| kind.parse().ok().filter(|number| *number >= 0))
        .ok_or_else(|| {
            let names: Vec<_> = EVENT_TYPES.iter().map(|(name, _)| *name).collect();
            format!(
                "unable to parse type '{kind}', not a number and not one of {}",
                names.join(", ")
            )
        })?;
    let Some(sub) = sub else {
        return Ok(EventTypeFilter {
            r#type: number,
            ..EventTypeFilter::default()
        });
    };
    let named = match kind {
        "trace" => TRACE_POINTS
            .iter()
            .position(|name| *name == sub)
            .and_then(|number| i32::try_from(number).ok()),
        "agent" => AGENT_EVENTS
            .iter()
            .find_map(|(name, number)| (*name == sub).then_some(*number)),
        _ => None,
    };
    let sub_type = named
        .or_else(|| sub.parse().ok().filter(|number| *number >= 0))
        .ok_or_else(|| {
            format!(
                "unable to parse event sub-type '{sub}', not a known sub-type name of '{kind}' \
                 and not a number"
            )
        })?;
    Ok(EventTypeFilter {
        r#type: number,
        match_sub_type: true,
        sub_type,
    })
}
