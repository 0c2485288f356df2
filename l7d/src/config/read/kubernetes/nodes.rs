//! Nodes.

use std::net::IpAddr;

use policy_l7::yaml::{Map, Reader};

use super::super::items;
use super::{Metadata, metadata};
use crate::config::Node;

/// A node with its addresses; names among them are left out.
pub(super) fn node(reader: &mut Reader, object: &mut Map<'_>) -> Option<Node> {
    let Metadata { name, labels, .. } = metadata(reader, object)?;
    let mut ips = Vec::new();
    if let Some(mut status) = object.get("status").and_then(|at| reader.map(&at)) {
        for item in items(reader, &mut status, "addresses") {
            let address = reader.map(&item).and_then(|mut map| map.get("address"));
            let text = address.and_then(|at| reader.text(&at));
            ips.extend(text.and_then(|text| text.parse::<IpAddr>().ok()));
        }
    }
    Some(Node {
        name: name.to_owned(),
        labels,
        ips,
    })
}
