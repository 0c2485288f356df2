//! One block of right-aligned keys per flow, blocks separated by a line of dashes. Source and
//! destination stay as they were seen: there is no swap on a reply, and no identity.

use std::fmt::Display;
use std::io::{self, Write};

use proto::flow::{Flow, LostEvent};
use proto::observer::GetFlowsResponse;
use proto::relay::NodeStatusEvent;

use super::style::{Safe, Style};
use super::text;

/// Writes `key: value` with the key right-aligned to the longest, `DESTINATION`.
pub(super) fn pair(out: &mut impl Write, key: &str, value: impl Display) -> io::Result<()> {
    writeln!(out, "{key:>11}: {value}")
}

/// Prints a flow.
pub fn flow(out: &mut impl Write, style: Style, flow: &Flow) -> io::Result<()> {
    let (source, destination) = text::hosts(style, flow);
    pair(out, "TIMESTAMP", style.timestamp(flow.time.as_ref()))?;
    if style.node_name {
        pair(out, "NODE", Safe(&flow.node_name))?;
    }
    pair(out, "SOURCE", source)?;
    pair(out, "DESTINATION", destination)?;
    pair(out, "TYPE", text::flow_type(flow))?;
    pair(out, "VERDICT", text::verdict(style, flow))?;
    pair(out, "SUMMARY", text::summary(style, flow))
}

/// Prints how many events were lost.
pub(super) fn lost(
    out: &mut impl Write,
    style: Style,
    response: &GetFlowsResponse,
    lost: &LostEvent,
) -> io::Result<()> {
    pair(out, "TIMESTAMP", style.timestamp(response.time.as_ref()))?;
    if style.node_name {
        pair(out, "NODE", Safe(&response.node_name))?;
    }
    pair(out, "SOURCE", text::lost_source(lost))?;
    pair(out, "TYPE", "EVENTS LOST")?;
    pair(out, "VERDICT", "-")?;
    pair(out, "SUMMARY", text::lost_summary(style, lost))
}

/// Prints what became of nodes.
pub(super) fn node_status(
    out: &mut impl Write,
    style: Style,
    response: &GetFlowsResponse,
    status: &NodeStatusEvent,
) -> io::Result<()> {
    pair(out, "TIMESTAMP", style.timestamp(response.time.as_ref()))?;
    pair(out, "STATE", text::node_state(status))?;
    pair(out, "NODES", text::node_names(status))?;
    pair(out, "MESSAGE", text::node_message(status))
}
