//! Fields about who is at the ends.

use std::net::IpAddr;

use ipnet::IpNet;
use proto::flow::{FlowFilter, Workload};

use super::{Check, End, FilterError, NamePattern, Selector, any};

pub(super) fn add(filter: &FlowFilter, checks: &mut Vec<Check>) -> Result<(), FilterError> {
    let ends = [
        (
            End::Source,
            &filter.source_ip,
            &filter.source_pod,
            &filter.source_service,
        ),
        (
            End::Destination,
            &filter.destination_ip,
            &filter.destination_pod,
            &filter.destination_service,
        ),
    ];
    for (end, ips, pods, services) in ends {
        add_addresses(checks, end, ips)?;
        add_pods(checks, end, pods)?;
        add_services(checks, end, services)?;
    }
    add_labels(checks, End::Source, &filter.source_label)?;
    add_labels(checks, End::Destination, &filter.destination_label)?;
    add_workloads(checks, End::Source, &filter.source_workload);
    add_workloads(checks, End::Destination, &filter.destination_workload);
    add_identities(checks, End::Source, &filter.source_identity);
    add_identities(checks, End::Destination, &filter.destination_identity);
    add_clusters(checks, End::Source, &filter.source_cluster_name)?;
    add_clusters(checks, End::Destination, &filter.destination_cluster_name)?;
    add_names(checks, End::Source, &filter.source_fqdn)?;
    add_names(checks, End::Destination, &filter.destination_fqdn)?;
    add_translated(checks, &filter.source_ip_xlated)
}

/// Globs on DNS names: one trailing dot and the case of letters mean nothing.
fn add_names(checks: &mut Vec<Check>, end: End, values: &[String]) -> Result<(), FilterError> {
    let parse = |text: &String| {
        NamePattern::parse(text).map_err(|message| FilterError {
            field: "fqdn",
            message,
        })
    };
    let patterns = values.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    any(checks, patterns, move |pattern, record| {
        let names = match end {
            End::Source => &record.source_names,
            End::Destination => &record.destination_names,
        };
        let mut names = names.iter().flat_map(|names| &names.0);
        names.any(|name| pattern.matches(name))
    });
    Ok(())
}

fn parse_networks(values: &[String]) -> Result<Vec<IpNet>, FilterError> {
    let parse = |text: &String| {
        let single = text.parse::<IpAddr>().ok().map(IpNet::from);
        single
            .or_else(|| text.parse().ok())
            .ok_or_else(|| FilterError {
                field: "ip",
                message: format!("`{text}` is neither an IP address nor a CIDR"),
            })
    };
    values.iter().map(parse).collect()
}

fn add_addresses(checks: &mut Vec<Check>, end: End, values: &[String]) -> Result<(), FilterError> {
    any(checks, parse_networks(values)?, move |net, record| {
        net.contains(&end.of(record).addr.ip())
    });
    Ok(())
}

/// By which address the other end knows the sender.
fn add_translated(checks: &mut Vec<Check>, values: &[String]) -> Result<(), FilterError> {
    any(checks, parse_networks(values)?, |net, record| {
        record
            .source_after()
            .is_some_and(|after| net.contains(&after.ip()))
    });
    Ok(())
}

/// `namespace/prefix`; without a slash the namespace is `default`, an empty one is any.
#[derive(Debug)]
struct Named {
    namespace: String,
    prefix: String,
}

impl Named {
    fn parse(field: &'static str, text: &str) -> Result<Self, FilterError> {
        if text.is_empty() {
            return Err(FilterError {
                field,
                message: "a name is missing".to_owned(),
            });
        }
        let (namespace, prefix) = text.split_once('/').unwrap_or(("default", text));
        Ok(Self {
            namespace: namespace.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    fn matches(&self, namespace: &str, name: &str) -> bool {
        (!namespace.is_empty() || !name.is_empty())
            && (self.namespace.is_empty() || self.namespace == namespace)
            && name.starts_with(&self.prefix)
    }
}

fn add_pods(checks: &mut Vec<Check>, end: End, values: &[String]) -> Result<(), FilterError> {
    let names = values
        .iter()
        .map(|text| Named::parse("pod", text))
        .collect::<Result<Vec<_>, _>>()?;
    any(checks, names, move |named, record| {
        let party = end.of(record);
        named.matches(party.namespace(), party.name())
    });
    Ok(())
}

fn add_services(checks: &mut Vec<Check>, end: End, values: &[String]) -> Result<(), FilterError> {
    let names = values
        .iter()
        .map(|text| Named::parse("service", text))
        .collect::<Result<Vec<_>, _>>()?;
    any(checks, names, move |named, record| {
        let service = end.of(record).service.as_deref();
        service.is_some_and(|service| named.matches(&service.namespace, &service.name))
    });
    Ok(())
}

fn add_labels(checks: &mut Vec<Check>, end: End, values: &[String]) -> Result<(), FilterError> {
    let selectors = values
        .iter()
        .map(|text| {
            Selector::parse(text).map_err(|message| FilterError {
                field: "label",
                message: format!("`{text}`: {message}"),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    any(checks, selectors, move |selector, record| {
        selector.matches(end.of(record).labels())
    });
    Ok(())
}

fn add_workloads(checks: &mut Vec<Check>, end: End, values: &[Workload]) {
    any(checks, values.to_vec(), move |wanted, record| {
        let workload = end
            .of(record)
            .endpoint
            .as_deref()
            .and_then(|e| e.workload.as_ref());
        workload.is_some_and(|workload| {
            (wanted.name.is_empty() || wanted.name == workload.name)
                && (wanted.kind.is_empty() || wanted.kind == workload.kind)
        })
    });
}

fn add_identities(checks: &mut Vec<Check>, end: End, values: &[u32]) {
    any(checks, values.to_vec(), move |number, record| {
        end.of(record).identity.0 == *number
    });
}

fn add_clusters(checks: &mut Vec<Check>, end: End, values: &[String]) -> Result<(), FilterError> {
    let parse = |text: &String| {
        NamePattern::parse(text).map_err(|message| FilterError {
            field: "cluster_name",
            message,
        })
    };
    let patterns = values.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    any(checks, patterns, move |pattern, record| {
        let cluster = end
            .of(record)
            .endpoint
            .as_deref()
            .map_or("", |e| e.cluster.as_str());
        pattern.matches(cluster)
    });
    Ok(())
}
