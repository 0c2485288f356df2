//! Other nodes.

use std::net::IpAddr;
use std::sync::Arc;

use policy_l7::Labels;

use super::{Error, labels, of_identity};
use crate::config;
use crate::record::{Endpoint, Workload};

/// Another node.
#[derive(Debug, Clone)]
pub(super) struct KnownNode {
    pub(super) name: String,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) labels: Labels,
    pub(super) addresses: Vec<IpAddr>,
}

impl KnownNode {
    pub(super) fn from_config(
        node: &config::Node,
        numbering: &mut policy_l7::identity::Numbering,
    ) -> Result<Self, Error> {
        let labels = labels::of_node("remote-node", Some(node))?;
        let identity = policy_l7::Identity {
            number: numbering.node_number(&labels),
            labels: labels.clone(),
        };
        let workload = Workload {
            kind: "Node".to_owned(),
            name: node.name.clone(),
        };
        Ok(Self {
            name: node.name.clone(),
            endpoint: Arc::new(Endpoint {
                workload: Some(workload),
                ..of_identity(&identity)
            }),
            labels,
            addresses: node.ips.clone(),
        })
    }
}
