//! One line per flow:
//! `TIME [NODE]: SOURCE (IDENTITY) -> DESTINATION (IDENTITY) TYPE VERDICT (SUMMARY)`.
//!
//! The client of a connection is always on the left: a reply swaps both sides and turns the arrow.

use std::io::{self, Write};

use proto::flow::{Flow, LostEvent};
use proto::observer::GetFlowsResponse;
use proto::relay::NodeStatusEvent;

use super::style::{Safe, Style};
use super::text;

/// Prints a flow.
pub fn flow(out: &mut impl Write, style: Style, flow: &Flow) -> io::Result<()> {
    let (mut left, mut right) = text::hosts(style, flow);
    let (mut left_identity, mut right_identity) = text::identities(style, flow);
    let arrow = match flow.is_reply.as_ref().map(|reply| reply.value) {
        None => "<>",
        Some(false) => "->",
        Some(true) => {
            std::mem::swap(&mut left, &mut right);
            std::mem::swap(&mut left_identity, &mut right_identity);
            "<-"
        }
    };
    write!(out, "{}", style.timestamp(flow.time.as_ref()))?;
    if style.node_name {
        write!(out, " [{}]", Safe(&flow.node_name))?;
    }
    writeln!(
        out,
        ": {left} {left_identity} {arrow} {right} {right_identity} {} {} ({})",
        text::flow_type(flow),
        text::verdict(style, flow),
        text::summary(style, flow),
    )
}

/// Prints how many events were lost.
pub(super) fn lost(
    out: &mut impl Write,
    style: Style,
    response: &GetFlowsResponse,
    lost: &LostEvent,
) -> io::Result<()> {
    writeln!(
        out,
        "{} EVENTS LOST: {} CPU({}) {}{}",
        style.timestamp(response.time.as_ref()),
        text::lost_source(lost),
        text::lost_cpu(lost),
        lost.num_events_lost,
        text::lost_span(style, lost),
    )
}

/// Prints what became of nodes.
pub(super) fn node_status(
    out: &mut impl Write,
    style: Style,
    response: &GetFlowsResponse,
    status: &NodeStatusEvent,
) -> io::Result<()> {
    write!(out, "{}", style.timestamp(response.time.as_ref()))?;
    if !response.node_name.is_empty() {
        write!(out, " [{}]", Safe(&response.node_name))?;
    }
    writeln!(out, ": {}", text::node_status(status))
}
