//! The flow ring, as configured.

use std::sync::Arc;

use super::Error;
use crate::cli::observe::raw;
use crate::config::{Config, Flows, Node};
use crate::flow::FlowRing;
use crate::flow::filter::Filters;
use crate::flow::view::{Interfaces, NodeView};
use crate::record::Ledger;
use crate::server::node_name;

/// What all flows of this node share.
pub(super) fn node_view(config: &Config) -> NodeView {
    NodeView {
        name: node_name(&config.cluster, &config.node),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: crate::clock::Timestamp::now().0,
        labels: labels(config.nodes.iter().find(|node| node.name == config.node)).into(),
        interfaces: Interfaces::default(),
    }
}

/// Labels of a node, where anybody tells of it.
pub(super) fn labels(own: Option<&Node>) -> Vec<String> {
    let labels = own.into_iter().flat_map(|node| &node.labels);
    labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

/// Which flows are kept.
pub(super) fn wanted(flows: &Flows, node: &Arc<NodeView>) -> Result<Filters, Error> {
    let fields = [("allow", flows.allow.as_slice()), ("deny", &flows.deny)];
    filters("flows", fields, node)
}

/// The filters that stand in two fields of a section: of what passes, and of what does not.
pub(super) fn filters(
    section: &str,
    [allow, deny]: [(&str, &[String]); 2],
    node: &Arc<NodeView>,
) -> Result<Filters, Error> {
    let read = |(field, filters): (&str, &[String])| {
        let mut read = Vec::new();
        for (at, filter) in filters.iter().enumerate() {
            let parsed = raw::parse(filter);
            let fault = |error| Error::Flows(format!("{section}.{field}[{at}]: {error}"));
            read.extend(parsed.map_err(fault)?);
        }
        Ok::<_, Error>(read)
    };
    let (allow, deny) = (read(allow)?, read(deny)?);
    let fault = |error| Error::Flows(format!("{section}: {error}"));
    Filters::new(&allow, &deny, node).map_err(fault)
}

/// The ring.
pub(super) fn ring(
    flows: &Flows,
    node: &Arc<NodeView>,
    ledger: Arc<Ledger>,
) -> Result<FlowRing, Error> {
    let ring = FlowRing::new(flows.ring, ledger).bounded(flows.ring_bytes);
    Ok(ring.keeping(wanted(flows, node)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(yaml: &str) -> Result<bool, String> {
        let config = crate::config::read_config("test", yaml).map_err(|error| error.to_string())?;
        let node = Arc::new(node_view(&config));
        let wanted = wanted(&config.flows, &node).map_err(|error| error.to_string())?;
        Ok(wanted.is_empty())
    }

    #[test]
    fn filters_are_hubbles_in_yaml_or_json() {
        assert_eq!(check("flows: {}"), Ok(true));
        let yaml = "flows:\n  allow:\n  - source_pod: [shop/]\n    verdict: [DROPPED]\n  - { reply: [true] }\n  \
                    deny: [ {\"source_identity\": [1]} ]\n";
        assert_eq!(check(yaml), Ok(false));
        let fault = check("flows: { deny: [ { source_pot: [a] } ] }").expect_err("misspelt");
        assert!(fault.contains("flows.deny[0]: "), "{fault}");
        assert!(fault.contains("source_pod"), "{fault}");
        assert!(check("flows: { allow: [ { http_path: [\"(\"] } ] }").is_err());
    }
}
