//! Filter flags in the order they were given → the filters of a request.
//!
//! Two filters are kept, *left* and *right*. A flag like `--from-pod` goes into both. A flag like
//! `--pod`, which asks for either end, goes into the left one's source and the right one's
//! destination; a flow passes if one of the two matches. Where both end up the same, one is sent.

use proto::flow::{
    DropReason, FlowFilter, HttpHeader, IpVersion, NetworkInterface, Verdict, flow_filter,
};

use super::flags::{Flag, Kind, Place};
use super::values::{
    connection, direction, drop_reasons, event_type, identity, ip_version, misspelt, tcp_flags,
    verdicts, workload,
};

/// Flags that say the same thing in ways that contradict each other. A message names two of them
/// in the order of their row.
const EXCLUSIVE: &[&[&str]] = &[
    &[
        "from-fqdn",
        "from-ip",
        "ip",
        "fqdn",
        "from-namespace",
        "namespace",
        "from-all-namespaces",
        "all-namespaces",
    ],
    &["from-fqdn", "from-ip", "ip", "fqdn", "from-pod", "pod"],
    &[
        "to-fqdn",
        "to-ip",
        "ip",
        "fqdn",
        "to-namespace",
        "namespace",
        "to-all-namespaces",
        "all-namespaces",
    ],
    &["to-fqdn", "to-ip", "ip", "fqdn", "to-pod", "pod"],
    &["to-pod", "namespace", "all-namespaces"],
    &["from-pod", "namespace", "all-namespaces"],
    &["to-service", "namespace", "all-namespaces"],
    &["from-service", "namespace", "all-namespaces"],
    &["label", "from-label"],
    &["label", "to-label"],
    &["service", "from-service"],
    &["service", "to-service"],
    &["port", "from-port"],
    &["port", "to-port"],
    &["identity", "from-identity"],
    &["identity", "to-identity"],
    &["workload", "from-workload"],
    &["workload", "to-workload"],
    &["encrypted", "unencrypted"],
    &["reply", "not-reply"],
];

/// The filters of a request: alternatives that let a flow pass, and alternatives that stop it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filters {
    /// A flow passes if there is none, or one of them matches.
    pub allow: Vec<FlowFilter>,
    /// A flow is stopped if one of them matches.
    pub deny: Vec<FlowFilter>,
}

/// What is wrong with a filter flag.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The flag's value, or the flag together with the ones before it.
    #[error("invalid argument {value:?} for {flag:?} flag: {message}")]
    Argument {
        /// The value as it was given.
        value: String,
        /// The flag as help texts show it.
        flag: String,
        /// What is wrong.
        message: String,
    },
    /// `--not` without a filter after it.
    #[error("trailing --not found in the arguments")]
    TrailingNot,
}

/// Makes filters of flags and their values, in the order they were given.
pub fn build(
    flags: impl IntoIterator<Item = (&'static Flag, impl AsRef<str>)>,
) -> Result<Filters, Error> {
    let (mut allow, mut deny) = (Pair::default(), Pair::default());
    let mut negated = false;
    for (flag, value) in flags {
        let value = value.as_ref();
        let argument = |message| Error::Argument {
            value: value.to_owned(),
            flag: flag.shown(),
            message,
        };
        if flag.kind == Kind::Not {
            if negated {
                return Err(argument("consecutive --not statements".to_owned()));
            }
            negated = true;
            continue;
        }
        let pair = if negated { &mut deny } else { &mut allow };
        negated = false;
        pair.add(flag, value).map_err(argument)?;
    }
    if negated {
        return Err(Error::TrailingNot);
    }
    Ok(Filters {
        allow: allow.finish(),
        deny: deny.finish(),
    })
}

#[derive(Debug, Default)]
struct Pair {
    left: Draft,
    right: Draft,
    used: Vec<&'static str>,
}

/// A filter and the names that are put into it at the end, when all namespaces are known.
#[derive(Debug, Default)]
struct Draft {
    filter: FlowFilter,
    source: Names,
    destination: Names,
}

#[derive(Debug, Default)]
struct Names {
    namespaces: Vec<String>,
    pods: Vec<String>,
    services: Vec<String>,
}

impl Pair {
    fn add(&mut self, flag: &'static Flag, value: &str) -> Result<(), String> {
        if !self.used.contains(&flag.long) {
            self.used.push(flag.long);
        }
        for group in EXCLUSIVE {
            let mut used = group.iter().filter(|name| self.used.contains(name));
            if let (true, Some(a), Some(b)) = (group.contains(&flag.long), used.next(), used.next())
            {
                return Err(format!("filters --{a} and --{b} cannot be combined"));
            }
        }
        match flag.place {
            Place::Flow => {
                plain(&mut self.left.filter, flag, value)?;
                plain(&mut self.right.filter, flag, value)?;
            }
            Place::Source => {
                self.left.end(End::Source, flag.kind, value)?;
                self.right.end(End::Source, flag.kind, value)?;
            }
            Place::Destination => {
                self.left.end(End::Destination, flag.kind, value)?;
                self.right.end(End::Destination, flag.kind, value)?;
            }
            Place::Either => {
                self.left.end(End::Source, flag.kind, value)?;
                self.right.end(End::Destination, flag.kind, value)?;
            }
        }
        self.left.check()?;
        self.right.check()
    }

    fn finish(self) -> Vec<FlowFilter> {
        if self.used.is_empty() {
            return Vec::new();
        }
        let (left, right) = (self.left.finish(), self.right.finish());
        if left == right {
            vec![left]
        } else {
            vec![left, right]
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Source,
    Destination,
}

impl Draft {
    /// Adds a condition on one end of the flow.
    fn end(&mut self, end: End, kind: Kind, value: &str) -> Result<(), String> {
        let f = &mut self.filter;
        let source = end == End::Source;
        let names = if source {
            &mut self.source
        } else {
            &mut self.destination
        };
        let text = match kind {
            Kind::Pod => &mut names.pods,
            Kind::Service => &mut names.services,
            Kind::Namespace => &mut names.namespaces,
            Kind::AllNamespaces => {
                names.namespaces.push(String::new());
                return Ok(());
            }
            Kind::Ip if source => &mut f.source_ip,
            Kind::Ip => &mut f.destination_ip,
            Kind::Fqdn if source => &mut f.source_fqdn,
            Kind::Fqdn => &mut f.destination_fqdn,
            Kind::Label if source => &mut f.source_label,
            Kind::Label => &mut f.destination_label,
            Kind::Port if source => &mut f.source_port,
            Kind::Port => &mut f.destination_port,
            Kind::Cluster if source => &mut f.source_cluster_name,
            Kind::Cluster => &mut f.destination_cluster_name,
            Kind::Workload => {
                let workload = workload(value);
                if source {
                    f.source_workload.push(workload);
                } else {
                    f.destination_workload.push(workload);
                }
                return Ok(());
            }
            Kind::Identity => {
                let number = identity(value)?;
                if source {
                    f.source_identity.push(number);
                } else {
                    f.destination_identity.push(number);
                }
                return Ok(());
            }
            _ => return Err("not a condition on one end of a flow".to_owned()),
        };
        text.push(value.to_owned());
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        self.source.resolve()?;
        self.destination.resolve().map(drop)
    }

    fn finish(mut self) -> FlowFilter {
        // Both were checked after each flag.
        if let Ok((pods, services)) = self.source.resolve() {
            self.filter.source_pod = pods;
            self.filter.source_service = services;
        }
        if let Ok((pods, services)) = self.destination.resolve() {
            self.filter.destination_pod = pods;
            self.filter.destination_service = services;
        }
        self.filter
    }
}

impl Names {
    /// Pods and services with the namespaces put in front of those that have none; with namespaces
    /// alone, all pods of them. A name in another namespace than those is a contradiction.
    fn resolve(&self) -> Result<(Vec<String>, Vec<String>), String> {
        if self.namespaces.is_empty() {
            return Ok((self.pods.clone(), self.services.clone()));
        }
        if self.pods.is_empty() && self.services.is_empty() {
            let pods = self
                .namespaces
                .iter()
                .map(|namespace| format!("{namespace}/"));
            return Ok((pods.collect(), Vec::new()));
        }
        Ok((self.place(&self.pods)?, self.place(&self.services)?))
    }

    fn place(&self, names: &[String]) -> Result<Vec<String>, String> {
        let mut placed = Vec::new();
        for name in names {
            let Some((namespace, _)) = name.split_once('/') else {
                placed.extend(
                    self.namespaces
                        .iter()
                        .map(|namespace| format!("{namespace}/{name}")),
                );
                continue;
            };
            if let Some(other) = self.namespaces.iter().find(|other| *other != namespace) {
                return Err(format!(
                    "namespace conflict: {other:?} does not contain {name:?}"
                ));
            }
            placed.push(name.clone());
        }
        Ok(placed)
    }
}

/// Adds a condition on the flow as a whole.
fn plain(f: &mut FlowFilter, flag: &Flag, value: &str) -> Result<(), String> {
    let text = match flag.kind {
        Kind::Uuid => &mut f.uuid,
        Kind::SnatIp => &mut f.source_ip_xlated,
        Kind::NodeName => &mut f.node_name,
        Kind::NodeLabel => &mut f.node_labels,
        Kind::Protocol => &mut f.protocol,
        Kind::HttpStatus => &mut f.http_status_code,
        Kind::HttpMethod => &mut f.http_method,
        Kind::HttpPath => &mut f.http_path,
        Kind::HttpUrl => &mut f.http_url,
        Kind::TraceId => &mut f.trace_id,
        Kind::Cel => {
            let experimental = f
                .experimental
                .get_or_insert_with(flow_filter::Experimental::default);
            &mut experimental.cel_expression
        }
        _ => return number(f, flag, value),
    };
    text.push(value.to_owned());
    Ok(())
}

/// The conditions whose values are read here rather than by the server.
fn number(f: &mut FlowFilter, flag: &Flag, value: &str) -> Result<(), String> {
    let invalid = || format!("invalid --{} value: {value}", flag.long);
    match flag.kind {
        Kind::Ipv4 => f.ip_version.push(IpVersion::IPv4.into()),
        Kind::Ipv6 => f.ip_version.push(IpVersion::IPv6.into()),
        Kind::IpVersion => f
            .ip_version
            .push(ip_version(value).ok_or_else(invalid)?.into()),
        Kind::Encrypted(wanted) => f.encrypted.push(wanted),
        Kind::Reply(wanted) => f.reply.push(wanted),
        Kind::TcpFlags => f.tcp_flags.push(tcp_flags(value)?),
        Kind::Type => f.event_type.push(event_type(value)?),
        Kind::Verdict => {
            let verdict = Verdict::from_str_name(value);
            f.verdict.push(
                verdict
                    .ok_or_else(|| misspelt(flag, value, &verdicts()))?
                    .into(),
            );
        }
        Kind::DropReason => {
            let reason = DropReason::from_str_name(value);
            let reason = reason.ok_or_else(|| misspelt(flag, value, &drop_reasons()))?;
            f.drop_reason_desc.push(reason.into());
        }
        Kind::Direction => f.traffic_direction.push(direction(value)?.into()),
        Kind::HttpHeader => {
            let (key, value) = value.split_once(':').ok_or_else(|| {
                format!("invalid http-header value {value:?}, expected name:value")
            })?;
            f.http_header.push(HttpHeader {
                key: key.to_owned(),
                value: value.to_owned(),
            });
        }
        Kind::IpTraceId => match value.parse() {
            Ok(0) => {
                return Err(format!(
                    "invalid --{} value; must be greater than 0",
                    flag.long
                ));
            }
            Ok(number) => f.ip_trace_id.push(number),
            Err(error) => return Err(format!("{}: {error}", invalid())),
        },
        Kind::Connection => f.connection.push(connection(value)?),
        Kind::Interface => {
            f.interface.push(NetworkInterface {
                index: 0,
                name: value.to_owned(),
            });
        }
        _ => return Err("not a condition on a flow".to_owned()),
    }
    Ok(())
}
