//! Pods.

use std::collections::{BTreeMap, BTreeSet};

use policy_l7::yaml::{Cursor, Map, Reader};

use super::super::items;
use super::{Metadata, addresses, metadata};
use crate::config::Endpoint;

/// A pod with addresses of its own; `None` for one that has ended, or that has the node's.
pub(super) fn pod(reader: &mut Reader, at: &Cursor<'_>, object: &mut Map<'_>) -> Option<Endpoint> {
    let Metadata {
        name,
        namespace,
        labels,
        map: mut metadata,
    } = metadata(reader, object)?;
    let status = object.get("status").and_then(|at| reader.map(&at));
    let mut phase = None;
    let mut ips = Vec::new();
    if let Some(mut status) = status {
        phase = status.get("phase").and_then(|at| reader.text(&at));
        let listed = items(reader, &mut status, "podIPs");
        ips = addresses(reader, &listed, Some("ip"));
        if let Some(at) = status.get("podIP").filter(|_| ips.is_empty()) {
            ips.extend(reader.parse::<std::net::IpAddr>(&at, "an IP address"));
        }
    }
    let mut ports = Ports::default();
    let mut has_own_addresses = true;
    let mut service_account = None;
    if let Some(mut spec) = object.get("spec").and_then(|at| reader.map(&at)) {
        let of_host = spec.get("hostNetwork").and_then(|at| reader.boolean(&at));
        has_own_addresses = of_host != Some(true);
        for list in ["containers", "initContainers"] {
            for container in items(reader, &mut spec, list) {
                ports.of_container(reader, &container);
            }
        }
        if let Some(account) = spec.get("serviceAccountName") {
            service_account = reader.text(&account).map(str::to_owned);
        }
    }
    if !has_own_addresses || matches!(phase, Some("Succeeded" | "Failed")) {
        return None;
    }
    let workload = workload(reader, &mut metadata, &labels);
    Some(Endpoint {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        labels,
        ips,
        interface: None,
        named_ports: ports.named,
        ports: ports.all,
        service_account,
        workload,
        line: at.line(),
    })
}

#[derive(Default)]
struct Ports {
    named: BTreeMap<String, u16>,
    all: BTreeSet<(u8, u16)>,
}

impl Ports {
    fn of_container(&mut self, reader: &mut Reader, at: &Cursor<'_>) {
        const PROTOCOLS: [(&str, u8); 3] = [("TCP", 6), ("UDP", 17), ("SCTP", 132)];
        let Some(mut container) = reader.map(at) else {
            return;
        };
        for item in items(reader, &mut container, "ports") {
            let Some(mut port) = reader.map(&item) else {
                continue;
            };
            let number = port.need(reader, "containerPort");
            let Some(number) = number.and_then(|at| reader.parse::<u16>(&at, "a port")) else {
                continue;
            };
            let protocol = port.get("protocol");
            let protocol = protocol.and_then(|at| reader.choice(&at, &PROTOCOLS));
            self.all.insert((protocol.unwrap_or(6), number));
            if let Some(name) = port.get("name").and_then(|at| reader.text(&at)) {
                self.named.insert(name.to_owned(), number);
            }
        }
    }
}

/// Who made the pod, as people call it: the Deployment instead of its `ReplicaSet`, the `CronJob`
/// instead of its Job.
fn workload(
    reader: &mut Reader,
    metadata: &mut Map<'_>,
    labels: &BTreeMap<String, String>,
) -> Option<(String, String)> {
    for owner in items(reader, metadata, "ownerReferences") {
        let Some(mut owner) = reader.map(&owner) else {
            continue;
        };
        let controls = owner.get("controller").and_then(|at| reader.boolean(&at));
        let kind = owner.get("kind").and_then(|at| reader.text(&at));
        let name = owner.get("name").and_then(|at| reader.text(&at));
        let (Some(true), Some(kind), Some(name)) = (controls, kind, name) else {
            continue;
        };
        return Some(maker(kind, name, labels.get("pod-template-hash")));
    }
    None
}

fn maker(kind: &str, name: &str, hash: Option<&String>) -> (String, String) {
    let of_deployment = hash
        .filter(|_| kind == "ReplicaSet")
        .and_then(|hash| name.strip_suffix(hash.as_str()))
        .and_then(|name| name.strip_suffix('-'));
    if let Some(name) = of_deployment {
        return ("Deployment".to_owned(), name.to_owned());
    }
    // A CronJob names its Jobs after the minute, in digits.
    let of_cron_job = name.rsplit_once('-').filter(|(_, time)| {
        kind == "Job" && time.len() >= 8 && time.bytes().all(|byte| byte.is_ascii_digit())
    });
    match of_cron_job {
        Some((name, _)) => ("CronJob".to_owned(), name.to_owned()),
        None => (kind.to_owned(), name.to_owned()),
    }
}
