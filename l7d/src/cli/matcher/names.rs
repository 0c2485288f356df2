//! Tests on who a flow is from and to: addresses, pods, services, names, labels, identities.

use std::net::IpAddr;

use ipnet::IpNet;
use proto::flow::{Endpoint, Flow, FlowFilter, Service, Workload};

use super::{Test, any};
use crate::flow::filter::{NamePattern, Selector};

/// One end of a flow, with everything a filter may ask about it.
struct End<'f> {
    address: &'f str,
    endpoint: Option<&'f Endpoint>,
    service: Option<&'f Service>,
    names: &'f [String],
}

fn source(flow: &Flow) -> End<'_> {
    End {
        address: flow.ip.as_ref().map_or("", |ip| ip.source.as_str()),
        endpoint: flow.source.as_ref(),
        service: flow.source_service.as_ref(),
        names: &flow.source_names,
    }
}

fn destination(flow: &Flow) -> End<'_> {
    End {
        address: flow.ip.as_ref().map_or("", |ip| ip.destination.as_str()),
        endpoint: flow.destination.as_ref(),
        service: flow.destination_service.as_ref(),
        names: &flow.destination_names,
    }
}

pub(super) fn tests(f: &FlowFilter, tests: &mut Vec<Test>) -> Result<(), String> {
    let from = Wanted {
        name: "source",
        end: source,
        ip: &f.source_ip,
        pod: &f.source_pod,
        service: &f.source_service,
        fqdn: &f.source_fqdn,
        label: &f.source_label,
        workload: &f.source_workload,
        identity: &f.source_identity,
        cluster: &f.source_cluster_name,
    };
    from.tests(tests)?;
    let to = Wanted {
        name: "destination",
        end: destination,
        ip: &f.destination_ip,
        pod: &f.destination_pod,
        service: &f.destination_service,
        fqdn: &f.destination_fqdn,
        label: &f.destination_label,
        workload: &f.destination_workload,
        identity: &f.destination_identity,
        cluster: &f.destination_cluster_name,
    };
    to.tests(tests)?;
    any(
        tests,
        &f.source_ip_xlated,
        |text| address(text),
        |wanted, flow| {
            flow.ip
                .as_ref()
                .is_some_and(|ip| wanted.matches(&ip.source_xlated))
        },
    )
}

/// What a filter asks of one end.
struct Wanted<'f> {
    name: &'static str,
    end: fn(&Flow) -> End<'_>,
    ip: &'f [String],
    pod: &'f [String],
    service: &'f [String],
    fqdn: &'f [String],
    label: &'f [String],
    workload: &'f [Workload],
    identity: &'f [u32],
    cluster: &'f [String],
}

impl Wanted<'_> {
    fn tests(&self, tests: &mut Vec<Test>) -> Result<(), String> {
        let (name, end) = (self.name, self.end);
        any(
            tests,
            self.ip,
            |text| address(text),
            move |wanted, flow| wanted.matches(end(flow).address),
        )?;
        any(
            tests,
            self.pod,
            |text| object(text),
            move |wanted, flow| {
                end(flow)
                    .endpoint
                    .is_some_and(|e| wanted.matches(&e.namespace, &e.pod_name))
            },
        )?;
        any(
            tests,
            self.service,
            |text| object(text).map_err(|error| format!("invalid {name} service filter: {error}")),
            move |wanted, flow| {
                end(flow)
                    .service
                    .is_some_and(|s| wanted.matches(&s.namespace, &s.name))
            },
        )?;
        any(
            tests,
            self.fqdn,
            |text| NamePattern::parse(text),
            move |wanted, flow| end(flow).names.iter().any(|name| wanted.matches(name)),
        )?;
        any(
            tests,
            self.label,
            |text| {
                Selector::parse(text)
                    .map_err(|error| format!("invalid {name} label filter: {error}"))
            },
            move |wanted, flow| {
                wanted.matches(end(flow).endpoint.map_or(&[], |e| e.labels.as_slice()))
            },
        )?;
        any(
            tests,
            self.workload,
            |wanted| Ok(wanted.clone()),
            move |wanted, flow| {
                end(flow)
                    .endpoint
                    .is_some_and(|e| e.workloads.iter().any(|w| is_workload(wanted, w)))
            },
        )?;
        any(
            tests,
            self.identity,
            |wanted| Ok(*wanted),
            move |wanted, flow| end(flow).endpoint.is_some_and(|e| e.identity == *wanted),
        )?;
        any(
            tests,
            self.cluster,
            |text| NamePattern::parse(text),
            move |wanted, flow| {
                end(flow)
                    .endpoint
                    .is_some_and(|e| wanted.matches(&e.cluster_name))
            },
        )
    }
}

fn is_workload(wanted: &Workload, workload: &Workload) -> bool {
    (wanted.name.is_empty() || wanted.name == workload.name)
        && (wanted.kind.is_empty() || wanted.kind == workload.kind)
}

/// An address as it stands in flows, or a network.
enum Address {
    Exact(String),
    Network(IpNet),
}

fn address(text: &str) -> Result<Address, String> {
    if text.contains('/') {
        return text
            .parse()
            .map(Address::Network)
            .map_err(|error| format!("invalid IP prefix {text:?} in filter: {error}"));
    }
    let address: IpAddr = text
        .parse()
        .map_err(|error| format!("invalid IP address {text:?} in filter: {error}"))?;
    Ok(Address::Exact(address.to_string()))
}

impl Address {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == text,
            Self::Network(network) => text
                .parse::<IpAddr>()
                .is_ok_and(|address| network.contains(&address)),
        }
    }
}

/// `namespace/prefix`; without a slash the namespace is `default`, an empty one is any.
struct Object {
    namespace: String,
    prefix: String,
}

fn object(text: &str) -> Result<Object, String> {
    if text.is_empty() {
        return Err("invalid filter, name must not be empty".to_owned());
    }
    let (namespace, prefix) = text.split_once('/').unwrap_or(("default", text));
    Ok(Object {
        namespace: namespace.to_owned(),
        prefix: prefix.to_owned(),
    })
}

impl Object {
    fn matches(&self, namespace: &str, name: &str) -> bool {
        if namespace.is_empty() && name.is_empty() {
            return false;
        }
        (self.namespace.is_empty() || self.namespace == namespace) && name.starts_with(&self.prefix)
    }
}
