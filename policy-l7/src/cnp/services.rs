//! Services as peers.

use super::selectors::selector;
use crate::selector::{Peers, ServicePeer, WhichServices};
use crate::yaml::{Cursor, Reader};

/// `toServices`.
pub(super) fn services(reader: &mut Reader, at: &Cursor<'_>) -> Peers {
    let items = reader.list(at);
    let services = items.iter().filter_map(|item| service(reader, item));
    Peers::Services(services.collect())
}

/// Without a namespace, services of every namespace are meant.
fn service(reader: &mut Reader, at: &Cursor<'_>) -> Option<ServicePeer> {
    let mut map = reader.map(at)?;
    let named = map.get("k8sService");
    let selected = map.get("k8sServiceSelector");
    map.end(reader);
    let (at, is_named) = match (named, selected) {
        (Some(at), None) => (at, true),
        (None, Some(at)) => (at, false),
        (Some(_), Some(_)) | (None, None) => {
            let message = "either `k8sService` or `k8sServiceSelector` stands here";
            reader.fault(at, message);
            return None;
        }
    };
    let mut map = reader.map(&at)?;
    let which = if is_named {
        let name = map.need(reader, "serviceName");
        let name = name.and_then(|at| reader.text(&at));
        name.map(|name| WhichServices::Named(name.to_owned()))
    } else {
        let labels = map.need(reader, "selector");
        labels.map(|at| WhichServices::Labelled(selector(reader, &at)))
    };
    let namespace = map.get("namespace").and_then(|at| reader.text(&at));
    let namespace = namespace.filter(|namespace| !namespace.is_empty());
    map.end(reader);
    Some(ServicePeer {
        namespace: namespace.map(str::to_owned),
        which: which?,
    })
}
