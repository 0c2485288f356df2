//! Records that go to a collector together, by whose they are.

use std::sync::Arc;

use super::wire::{Attributes, Wire};
use super::{View, attributes};
use crate::flow::view::NodeView;
use crate::record::{Direction, Endpoint, Party, Record};

/// What `schema_url` says of the names of attributes.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";
/// In `ExportLogsServiceRequest` and `ExportTraceServiceRequest` alike: what is of one resource.
const RESOURCES: u32 = 1;

/// Encoded records, each with its tag.
#[derive(Debug, Default)]
pub(super) struct Batch {
    parts: Vec<Part>,
    bytes: usize,
    /// Flows that it stands for.
    pub(super) flows: u64,
}

/// Records of one endpoint, or of the node.
#[derive(Debug)]
struct Part {
    owner: Option<Arc<Endpoint>>,
    resource: Wire,
    records: Wire,
}

/// The end of a flow whose telemetry it is: the one that policy was applied for.
pub(super) fn owner(record: &Record) -> Option<&Party> {
    let party = match record.direction {
        Direction::Ingress => &record.destination,
        Direction::Egress => &record.source,
        Direction::Unknown => return None,
    };
    // For a response the source is the server, though policy was applied at its request.
    let turned = match record.direction {
        Direction::Ingress => &record.source,
        Direction::Egress | Direction::Unknown => &record.destination,
    };
    let is_turned = record.reply == Some(true) && record.http().is_some() || is_dns_answer(record);
    Some(if is_turned { turned } else { party })
}

fn is_dns_answer(record: &Record) -> bool {
    record.dns().is_some_and(|dns| dns.is_response)
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes of its records.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Adds a record of this end, or of the node.
    pub(super) fn add(
        &mut self,
        owner: Option<&Party>,
        view: &View,
        write: impl FnOnce(&mut Wire),
    ) {
        let endpoint = owner.and_then(|party| party.endpoint.as_ref());
        let is_same = |part: &Part| match (&part.owner, endpoint) {
            (Some(own), Some(endpoint)) => Arc::ptr_eq(own, endpoint),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let at = self.parts.iter().position(is_same).unwrap_or_else(|| {
            self.parts.push(Part {
                owner: endpoint.cloned(),
                resource: resource(owner, &view.node),
                records: Wire::default(),
            });
            self.parts.len() - 1
        });
        if let Some(part) = self.parts.get_mut(at) {
            let before = part.records.0.len();
            // `log_records` of `ScopeLogs`, `spans` of `ScopeSpans`.
            part.records.message(2, write);
            self.bytes += part.records.0.len() - before;
        }
    }

    /// The request as a whole.
    pub(super) fn request(&self, version: &str) -> Vec<u8> {
        let mut request = Wire(Vec::with_capacity(self.bytes + 1024));
        for part in &self.parts {
            request.message(RESOURCES, |resource| part.write(version, resource));
        }
        request.0
    }
}

impl Part {
    /// `ResourceLogs` and `ResourceSpans`, with the one `ScopeLogs` or `ScopeSpans` in it, are alike.
    fn write(&self, version: &str, resource: &mut Wire) {
        resource.bytes(1, &self.resource.0);
        resource.message(2, |records| {
            records.message(1, |scope| {
                scope.bytes(1, b"l7d");
                scope.bytes(2, version.as_bytes());
            });
            records.0.extend_from_slice(&self.records.0);
            records.bytes(3, SCHEMA.as_bytes());
        });
        resource.bytes(3, SCHEMA.as_bytes());
    }
}

fn resource(owner: Option<&Party>, node: &NodeView) -> Wire {
    let mut wire = Wire::default();
    let mut out = Attributes {
        wire: &mut wire,
        field: 1,
        prefix: "",
    };
    attributes::of_resource(owner, node, &mut out);
    wire
}
