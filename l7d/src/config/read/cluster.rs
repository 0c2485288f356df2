//! The section `kubernetes`.

use std::path::PathBuf;

use policy_l7::yaml::{Map, Reader};

use super::values::seconds;
use crate::config::Kubernetes;

pub(super) fn kubernetes(reader: &mut Reader, map: &mut Map<'_>, into: &mut Kubernetes) {
    let kubeconfig = map.get("kubeconfig").and_then(|at| reader.text(&at));
    into.kubeconfig = kubeconfig.map(PathBuf::from);
    let context = map.get("context").and_then(|at| reader.text(&at));
    into.context = context.map(str::to_owned);
    if let Some(status) = map.get("status").and_then(|at| reader.boolean(&at)) {
        into.status = status;
    }
    let trusted = map.get("networkStatus");
    if let Some(trusted) = trusted.and_then(|at| reader.boolean(&at)) {
        into.network_status = trusted;
    }
    seconds(reader, map, "patience", 0, &mut into.patience);
}
