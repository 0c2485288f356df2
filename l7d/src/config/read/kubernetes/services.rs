//! Services.

use policy_l7::yaml::{Map, Reader};

use super::super::items;
use super::super::surroundings::kubernetes_port;
use super::super::values::free_labels;
use super::{Metadata, addresses, metadata};
use crate::config::Service;

/// A service with its addresses in the cluster; one without is known by name only.
pub(super) fn service(reader: &mut Reader, object: &mut Map<'_>) -> Option<Service> {
    let Metadata {
        name,
        namespace,
        labels,
        ..
    } = metadata(reader, object)?;
    let mut service = Service {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        labels,
        ..Service::default()
    };
    let Some(mut spec) = object.get("spec").and_then(|at| reader.map(&at)) else {
        return Some(service);
    };
    let mut listed = items(reader, &mut spec, "clusterIPs");
    if listed.is_empty() {
        listed.extend(spec.get("clusterIP"));
    }
    // Headless services have `None` there.
    listed.retain(|at| reader.text(at).is_some_and(|text| text != "None"));
    service.ips = addresses(reader, &listed, None);
    service.selector = free_labels(reader, &mut spec, "selector");
    let external = items(reader, &mut spec, "externalIPs");
    service.ips.extend(addresses(reader, &external, None));
    for item in items(reader, &mut spec, "ports") {
        let port = reader.map(&item);
        let port = port.and_then(|mut port| kubernetes_port(reader, &mut port));
        service.ports.extend(port);
    }
    let status = object.get("status").and_then(|at| reader.map(&at));
    let balancer = status
        .and_then(|mut status| status.get("loadBalancer"))
        .and_then(|at| reader.map(&at));
    if let Some(mut balancer) = balancer {
        // Some balancers are known by a name instead.
        let mut ingress = items(reader, &mut balancer, "ingress");
        ingress.retain(|at| {
            reader
                .map(at)
                .is_some_and(|mut map| map.get("ip").is_some())
        });
        service.ips.extend(addresses(reader, &ingress, Some("ip")));
    }
    Some(service)
}
