//! Arguments → request: which flows, and which fields of them.

use jiff::Timestamp;
use pbjson_types::FieldMask;
use proto::Timestamp as WireTime;
use proto::flow::FlowFilter;
use proto::observer::{GetAgentEventsRequest, GetDebugEventsRequest, GetFlowsRequest};

use super::filters::{self, Filters};
use super::flags::Kind;
use super::{FlowsArgs, Selectors, raw, time};
use crate::cli::failure::Failure;
use crate::print::Form;

/// How many flows are asked for when nothing says how many.
const USUAL: u64 = 20;

/// The fields that the text forms show: nothing else needs to cross the network for them.
const SHOWN_FIELDS: &[&str] = &[
    "time",
    "verdict",
    "ethernet",
    "IP",
    "l4",
    "source.identity",
    "source.namespace",
    "source.pod_name",
    "destination.identity",
    "destination.namespace",
    "destination.pod_name",
    "Type",
    "node_name",
    "l7",
    "event_type",
    "source_service",
    "destination_service",
    "is_reply",
    "Summary",
    "ip_trace_id",
    "source_names",
    "destination_names",
    "auth_type",
    "traffic_direction",
    "policy_match_type",
    "debug_capture_point",
    "sock_xlate_point",
    "ingress_allowed_by",
    "ingress_denied_by",
    "egress_allowed_by",
    "egress_denied_by",
    // Who serves behind a service's address, and the kernel's own reasons.
    "extensions",
];

/// Which part of what a server holds is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Window {
    /// How many; 0 for no limit.
    pub number: u64,
    /// Whether they are counted from the oldest.
    pub first: bool,
    /// Whether new ones follow.
    pub follow: bool,
    /// The earliest.
    pub since: Option<WireTime>,
    /// The latest.
    pub until: Option<WireTime>,
}

/// Reads the selectors. `usual` is how many are asked for when nothing says how many.
pub fn window(selectors: &Selectors, now: Timestamp, usual: u64) -> Result<Window, Failure> {
    let s = selectors;
    let clashes = [
        (
            s.first.is_some() && s.last.is_some(),
            "cannot set both --first and --last",
        ),
        (
            s.first.is_some() && s.all,
            "cannot set both --first and --all",
        ),
        (
            s.first.is_some() && s.follow,
            "cannot set both --first and --follow",
        ),
        (
            s.last.is_some() && s.all,
            "cannot set both --last and --all",
        ),
    ];
    if let Some((_, message)) = clashes.iter().find(|(clash, _)| *clash) {
        return Err(Failure::usage(message));
    }
    let read = |name: &str, text: &Option<String>| {
        text.as_deref()
            .map(|text| time::parse(text, now))
            .transpose()
            .map(|time| time.map(wire))
            .map_err(|error| Failure::usage(format!("failed to parse the {name} time: {error}")))
    };
    let since = read("since", &s.since)?;
    // What follows has no end.
    let until = read("until", &s.until)?.filter(|_| !s.follow);
    let bounded = since.is_some() || until.is_some();
    let number = match (s.first.or(s.last), s.all) {
        (Some(number), _) => number,
        (None, true) => u64::MAX,
        (None, false) if s.follow || bounded => 0,
        (None, false) => usual,
    };
    Ok(Window {
        number,
        first: s.first.is_some(),
        follow: s.follow,
        since,
        until,
    })
}

fn wire(time: Timestamp) -> WireTime {
    WireTime {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

/// The filters of a command line: flags first, then those given as JSON.
pub fn filters(args: &FlowsArgs) -> Result<Filters, Failure> {
    let mut filters = filters::build(args.filters.used()).map_err(Failure::usage)?;
    filters.allow.extend(parsed("allowlist", &args.allowlist)?);
    filters.deny.extend(parsed("denylist", &args.denylist)?);
    Ok(filters)
}

fn parsed(flag: &str, texts: &[String]) -> Result<Vec<FlowFilter>, Failure> {
    let mut filters = Vec::new();
    for text in texts {
        filters.extend(raw::parse(text).map_err(|error| {
            Failure::usage(format!(
                "invalid --{flag} flag: failed to decode '{text}': {error}"
            ))
        })?);
    }
    Ok(filters)
}

/// The request of a command line.
pub fn flows(args: &FlowsArgs, now: Timestamp) -> Result<GetFlowsRequest, Failure> {
    let usual = if args.input_file.is_some() { 0 } else { USUAL };
    let window = window(&args.selectors, now, usual)?;
    let filters = filters(args)?;
    Ok(GetFlowsRequest {
        number: window.number,
        first: window.first,
        follow: window.follow,
        since: window.since,
        until: window.until,
        whitelist: filters.allow,
        blacklist: filters.deny,
        field_mask: field_mask(args)?,
        ..GetFlowsRequest::default()
    })
}

fn field_mask(args: &FlowsArgs) -> Result<Option<FieldMask>, Failure> {
    let form = args.formatting.form();
    if !args.field_mask.is_empty() {
        if form != Form::Json {
            return Err(Failure::usage(format!(
                "{} output format is not compatible with custom field mask",
                args.formatting.output.name()
            ))
            .advise("add -o json"));
        }
        return Ok(Some(FieldMask {
            paths: args.field_mask.clone(),
        }));
    }
    if form == Form::Json || !args.use_default_field_masks {
        return Ok(None);
    }
    let mut paths: Vec<String> = SHOWN_FIELDS.iter().map(|path| (*path).to_owned()).collect();
    if args
        .filters
        .used()
        .any(|(flag, _)| flag.kind == Kind::Connection)
    {
        // By this the connection is found where the server does not look for it.
        paths.push("emitter".to_owned());
    }
    Ok(Some(FieldMask { paths }))
}

/// The request for agent events.
pub fn agent_events(s: &Selectors, now: Timestamp) -> Result<GetAgentEventsRequest, Failure> {
    let Window {
        number,
        first,
        follow,
        since,
        until,
    } = window(s, now, USUAL)?;
    Ok(GetAgentEventsRequest {
        number,
        first,
        follow,
        since,
        until,
    })
}

/// The request for debug events.
pub fn debug_events(s: &Selectors, now: Timestamp) -> Result<GetDebugEventsRequest, Failure> {
    let Window {
        number,
        first,
        follow,
        since,
        until,
    } = window(s, now, USUAL)?;
    Ok(GetDebugEventsRequest {
        number,
        first,
        follow,
        since,
        until,
    })
}
