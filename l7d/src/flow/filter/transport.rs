//! Fields about packets, verdicts, kinds of events and nodes.

use std::sync::Arc;

use proto::flow::{EventTypeFilter, FlowFilter, IpVersion, TcpFlags};

use super::{Check, End, FilterError, NodePattern, Selector, any, never};
use crate::flow::view::{self, NodeView};
use crate::record::{Event, L4, Record, Verdict};

pub(super) fn add(
    filter: &FlowFilter,
    node: &Arc<NodeView>,
    checks: &mut Vec<Check>,
) -> Result<(), FilterError> {
    add_ports(checks, End::Source, &filter.source_port)?;
    add_ports(checks, End::Destination, &filter.destination_port)?;
    add_protocols(checks, &filter.protocol)?;
    any(checks, filter.verdict.clone(), |wanted, record| {
        i32::from(view::verdict(record.verdict)) == *wanted
    });
    any(
        checks,
        filter.traffic_direction.clone(),
        |wanted, record| i32::from(view::direction(record.direction)) == *wanted,
    );
    any(checks, filter.drop_reason_desc.clone(), |wanted, record| {
        record.verdict == Verdict::Dropped && drop_reason(record) == *wanted
    });
    any(checks, filter.event_type.clone(), is_of_type);
    any(
        checks,
        filter.reply.clone(),
        |wanted, record| match record.reply {
            Some(reply) => reply == *wanted,
            // A drop does not know, and counts as a request.
            None => record.verdict == Verdict::Dropped && !*wanted,
        },
    );
    any(checks, filter.tcp_flags.clone(), has_flags);
    any(checks, filter.ip_version.clone(), |wanted, record| {
        let version = if record.source.addr.is_ipv4() {
            IpVersion::IPv4
        } else {
            IpVersion::IPv6
        };
        i32::from(version) == *wanted
    });
    let view = Arc::clone(node);
    any(checks, filter.interface.clone(), move |wanted, record| {
        record.interface != 0
            && (wanted.index == 0 || wanted.index == record.interface)
            && (wanted.name.is_empty()
                || view.interfaces.name(record.interface).as_ref() == Some(&wanted.name))
    });
    any(checks, filter.encrypted.clone(), |wanted, _| !*wanted);
    let names = Arc::clone(node);
    any(checks, filter.uuid.clone(), move |wanted, record| {
        names.uuid(record) == *wanted
    });
    add_node(checks, filter, node)?;
    never(checks, &filter.ip_trace_id);
    Ok(())
}

fn add_ports(checks: &mut Vec<Check>, end: End, values: &[String]) -> Result<(), FilterError> {
    let parse = |text: &String| {
        text.parse::<u16>().map_err(|error| FilterError {
            field: "port",
            message: format!("`{text}` is not a port: {error}"),
        })
    };
    let ports = values.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    any(checks, ports, move |port, record| {
        record.l4.has_ports() && end.of(record).addr.port() == *port
    });
    Ok(())
}

const PROTOCOLS: [&str; 11] = [
    "dns", "http", "icmp", "icmpv4", "icmpv6", "igmp", "kafka", "sctp", "tcp", "udp", "vrrp",
];

fn add_protocols(checks: &mut Vec<Check>, values: &[String]) -> Result<(), FilterError> {
    let values: Vec<String> = values.iter().map(|value| value.to_lowercase()).collect();
    if let Some(unknown) = values
        .iter()
        .find(|value| !PROTOCOLS.contains(&value.as_str()))
    {
        let message = format!("`{unknown}` is not one of {}", PROTOCOLS.join(", "));
        return Err(FilterError {
            field: "protocol",
            message,
        });
    }
    any(checks, values, |protocol, record| match protocol.as_str() {
        "dns" => record.dns().is_some(),
        "http" => record.http().is_some(),
        "icmp" => matches!(record.l4, L4::Icmp4 { .. } | L4::Icmp6 { .. }),
        "icmpv4" => matches!(record.l4, L4::Icmp4 { .. }),
        "icmpv6" => matches!(record.l4, L4::Icmp6 { .. }),
        "tcp" => matches!(record.l4, L4::Tcp { .. }),
        "udp" => record.l4 == L4::Udp,
        "sctp" => record.l4 == L4::Sctp,
        "igmp" => record.l4 == L4::Other(2),
        "vrrp" => record.l4 == L4::Other(112),
        _ => false,
    });
    Ok(())
}

fn drop_reason(record: &Record) -> i32 {
    match &record.event {
        Event::Drop { reason, .. }
        | Event::PolicyVerdict {
            reason: Some(reason),
            ..
        } => i32::from(reason.0),
        Event::PolicyVerdict { reason: None, .. }
        | Event::Trace(_)
        | Event::End(_)
        | Event::Dns(_)
        | Event::Http(_)
        | Event::Opaque(_) => 0,
    }
}

fn is_of_type(wanted: &EventTypeFilter, record: &Record) -> bool {
    let have = view::event_type(record);
    (wanted.r#type == 0 || wanted.r#type == have.r#type)
        && (!wanted.match_sub_type || wanted.sub_type == have.sub_type)
}

/// All wanted flags are set; others may be.
fn has_flags(wanted: &TcpFlags, record: &Record) -> bool {
    let L4::Tcp { flags } = record.l4 else {
        return false;
    };
    let pairs = [
        (wanted.fin, 0x01),
        (wanted.syn, 0x02),
        (wanted.rst, 0x04),
        (wanted.psh, 0x08),
        (wanted.ack, 0x10),
        (wanted.urg, 0x20),
        (wanted.ece, 0x40),
        (wanted.cwr, 0x80),
    ];
    flags != 0 && !wanted.ns && pairs.iter().all(|(want, bit)| !want || flags & bit != 0)
}

/// All flows of an agent are of one node.
fn add_node(
    checks: &mut Vec<Check>,
    filter: &FlowFilter,
    node: &Arc<NodeView>,
) -> Result<(), FilterError> {
    let mut is_named = filter.node_name.is_empty();
    for text in &filter.node_name {
        let pattern = NodePattern::parse(text).map_err(|message| FilterError {
            field: "node_name",
            message,
        })?;
        is_named |= pattern.matches(&node.name);
    }
    if !is_named {
        checks.push(Box::new(|_| false));
    }
    let selectors: Vec<Selector> = filter
        .node_labels
        .iter()
        .map(|text| {
            Selector::parse(text).map_err(|message| FilterError {
                field: "node_labels",
                message: format!("`{text}`: {message}"),
            })
        })
        .collect::<Result<_, _>>()?;
    if !selectors.is_empty() {
        // A cluster may tell them while somebody follows.
        let labels = node.labels.clone();
        checks.push(Box::new(move |_| {
            let labels = labels.get();
            selectors.iter().any(|selector| selector.matches(&labels))
        }));
    }
    Ok(())
}
