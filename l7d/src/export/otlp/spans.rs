//! A request that is part of a trace as a span: from its head to its answer, below the span that it
//! was sent from.

use super::batch::{Batch, owner};
use super::wire::Attributes;
use super::{View, attributes};
use crate::flow::view::NodeView;
use crate::record::{Direction, Http, HttpKind, Record, TraceParent};

/// `SPAN_KIND_SERVER`, `SPAN_KIND_CLIENT`.
const SERVER: u64 = 2;
const CLIENT: u64 = 3;
/// `STATUS_CODE_ERROR`
const ERROR: u64 = 2;

/// The trace of a record that a span is made of: an answer, or that there was none, where the sender
/// keeps the trace.
fn traced(record: &Record) -> Option<(&Http, TraceParent)> {
    let http = record.http()?;
    let trace = http.trace.filter(|trace| trace.flags & 1 != 0)?;
    (http.kind == HttpKind::Response).then_some((http, trace))
}

/// Adds the span of a record; false where there is none.
pub(super) fn add(batch: &mut Batch, record: &Record, view: &View) -> bool {
    let Some((http, trace)) = traced(record) else {
        return false;
    };
    batch.add(owner(record), view, |span| {
        span.bytes(1, &trace.trace);
        span.bytes(2, &number(record, &view.node));
        span.bytes(4, &trace.span);
        span.bytes(5, name(record, http, view).as_bytes());
        let is_client = record.direction == Direction::Egress;
        span.number(6, if is_client { CLIENT } else { SERVER });
        span.fixed64(7, record.time.0.saturating_sub(http.latency_ns));
        span.fixed64(8, record.time.0);
        let mut out = Attributes {
            wire: span,
            field: 9,
            prefix: "",
        };
        attributes::of_http(record, http, view, &mut out);
        out.text("l7d.verdict", attributes::verdict(record).as_bytes());
        let policies = record.policies.iter().map(|policy| policy.name.as_str());
        out.texts("l7d.policies", policies);
        if is_error(http, is_client) {
            span.message(15, |status| {
                status.bytes(2, attributes::error(http).as_bytes());
                status.number(3, ERROR);
            });
        }
        span.fixed32(16, trace.flags.into());
    });
    batch.flows += 1;
    true
}

/// A number that no other span of this node has, and with high probability none of another: times are
/// unique on a node, and each run of an agent has a seed.
fn number(record: &Record, node: &NodeView) -> [u8; 8] {
    let mixed = (record.time.0 ^ node.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_add(node.seed.rotate_left(32));
    mixed.max(1).to_be_bytes()
}

/// `GET /users/{id}`, or the method of an RPC.
fn name(record: &Record, http: &Http, view: &View) -> String {
    let route = attributes::route(record, http, view);
    if http.grpc.is_some() {
        return route.trim_start_matches('/').to_owned();
    }
    let method = String::from_utf8_lossy(record.text(http.method)).into_owned();
    let is_named = !route.is_empty();
    if is_named {
        format!("{method} {route}")
    } else {
        method
    }
}

/// What the client did wrong is an error to the client alone. RPCs have codes of their own.
fn is_error(http: &Http, is_client: bool) -> bool {
    let worst = if is_client { 400 } else { 500 };
    let rpc = http.grpc.and_then(|grpc| grpc.status);
    let is_rpc_error = rpc.is_some_and(|status| match status {
        0 => false,
        // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
        2 | 4 | 12..=15 => true,
        _ => is_client,
    });
    http.code == 0 || http.code >= worst || is_rpc_error
}
