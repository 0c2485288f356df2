//! Nodes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::in_use::{InUse, Range};
use super::{Error, labels};
use crate::config;
use crate::identity::reserved;
use crate::record::{Endpoint, Workload};

/// Another node.
#[derive(Debug, Clone)]
pub(super) struct KnownNode {
    /// As it was told.
    pub(super) told: config::Node,
    pub(super) endpoint: Arc<Endpoint>,
}

impl KnownNode {
    /// A node, which may be where the API server is.
    pub(super) fn new(
        told: config::Node,
        api_servers: &BTreeSet<IpAddr>,
        identities: &mut InUse,
    ) -> Result<Self, Error> {
        let has_api_server = told.ips.iter().any(|ip| api_servers.contains(ip));
        let names: &[&str] = if has_api_server {
            &["kube-apiserver", "remote-node"]
        } else {
            &["remote-node"]
        };
        let labels = labels::of_node(names, Some(&told))?;
        let shared = identities.acquire(labels, Range::Node);
        let workload = Workload {
            kind: "Node".to_owned(),
            name: told.name.clone(),
        };
        Ok(Self {
            told,
            endpoint: Arc::new(Endpoint {
                workload: Some(workload),
                labels: shared.texts,
                ..reserved(shared.number, "")
            }),
        })
    }
}
