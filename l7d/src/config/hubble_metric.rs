//! Hubble's metrics: which there are, and the labels that each is to have.
//!
//! What is written is Hubble's own: `dns:query;ignoreAAAA`, options behind a colon, each a name or
//! `name=value`.

/// A metric that is wanted, with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubbleMetric {
    /// What is counted.
    pub plugin: HubblePlugin,
    /// Whose labels it has.
    pub contexts: Contexts,
    /// Options without values.
    pub switches: Vec<Switch>,
    /// When not empty, only flows that pass one of these filters count: Hubble's `FlowFilter`, as JSON.
    pub include: Vec<String>,
    /// Flows that pass one of these do not count.
    pub exclude: Vec<String>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HubblePlugin {
    /// DNS queries and answers.
    Dns,
    /// Drops.
    Drop,
    /// Flows.
    Flow,
    /// Flows that leave the cluster.
    FlowsToWorld,
    /// Requests and responses of HTTP, apart.
    Http,
    /// Responses of HTTP, from the client's view.
    HttpV2,
    /// Messages of ICMP.
    Icmp,
    /// Verdicts of policies.
    Policy,
    /// Ports of servers.
    PortDistribution,
    /// Flags of TCP.
    Tcp,
}

/// What stands in the labels `source` and `destination`, and which further labels of ends there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contexts {
    /// Of the sender.
    pub source: Option<Vec<Identifier>>,
    /// The same where the flow was seen leaving an endpoint.
    pub source_egress: Option<Vec<Identifier>>,
    /// The same where it was seen arriving at one.
    pub source_ingress: Option<Vec<Identifier>>,
    /// Of the receiver.
    pub destination: Option<Vec<Identifier>>,
    /// The same where the flow was seen leaving an endpoint.
    pub destination_egress: Option<Vec<Identifier>>,
    /// The same where it was seen arriving at one.
    pub destination_ingress: Option<Vec<Identifier>>,
    /// Further labels, in their order.
    pub labels: Vec<ContextLabel>,
}

/// What an end is called by; the first that is not empty counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identifier {
    /// The value of the first label that tells an application's name.
    App,
    /// Names that DNS has told.
    Dns,
    /// All labels.
    Identity,
    /// The address.
    Ip,
    /// The namespace.
    Namespace,
    /// Namespace and name of the pod.
    Pod,
    /// Name of the pod.
    PodName,
    /// The first reserved label; `reserved:kube-apiserver` before others.
    ReservedIdentity,
    /// Namespace and name of the owner.
    Workload,
    /// Name of the owner.
    WorkloadName,
}

/// A label of its own, in the order that they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is called what its label is called")]
pub enum ContextLabel {
    SourceIp,
    SourcePod,
    SourceNamespace,
    SourceWorkload,
    SourceWorkloadKind,
    SourceApp,
    DestinationIp,
    DestinationPod,
    DestinationNamespace,
    DestinationWorkload,
    DestinationWorkloadKind,
    DestinationApp,
    TrafficDirection,
}

/// An option without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Switch {
    /// `flows-to-world`: drops for other reasons than a policy count, too.
    AnyDrop,
    /// `http`, `httpV2`: traces as exemplars.
    Exemplars,
    /// `httpV2`: a label `grpc_status`. Hubble has none.
    GrpcStatus,
    /// `dns`: questions for addresses of IPv6 alone do not count.
    IgnoreAaaa,
    /// `flows-to-world`: a label `port`.
    Port,
    /// `dns`: a label `query`.
    Query,
    /// `flows-to-world`: of TCP only what begins a connection.
    SynOnly,
}

impl HubblePlugin {
    /// Names, as Hubble spells them.
    pub const NAMES: [(&'static str, Self); 10] = [
        ("dns", Self::Dns),
        ("drop", Self::Drop),
        ("flow", Self::Flow),
        ("flows-to-world", Self::FlowsToWorld),
        ("http", Self::Http),
        ("httpV2", Self::HttpV2),
        ("icmp", Self::Icmp),
        ("policy", Self::Policy),
        ("port-distribution", Self::PortDistribution),
        ("tcp", Self::Tcp),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, plugin)| *plugin == self);
        named.map_or("", |(name, _)| *name)
    }

    /// Options without values that it knows.
    pub fn switches(self) -> &'static [(&'static str, Switch)] {
        match self {
            Self::Dns => &[("query", Switch::Query), ("ignoreAAAA", Switch::IgnoreAaaa)],
            Self::FlowsToWorld => &[
                ("any-drop", Switch::AnyDrop),
                ("port", Switch::Port),
                ("syn-only", Switch::SynOnly),
            ],
            Self::Http => &[("exemplars", Switch::Exemplars)],
            Self::HttpV2 => &[
                ("exemplars", Switch::Exemplars),
                ("grpcStatus", Switch::GrpcStatus),
            ],
            Self::Drop
            | Self::Flow
            | Self::Icmp
            | Self::Policy
            | Self::PortDistribution
            | Self::Tcp => &[],
        }
    }
}

impl Identifier {
    /// Names, as Hubble spells them.
    pub const NAMES: [(&'static str, Self); 10] = [
        ("app", Self::App),
        ("dns", Self::Dns),
        ("identity", Self::Identity),
        ("ip", Self::Ip),
        ("namespace", Self::Namespace),
        ("pod", Self::Pod),
        ("pod-name", Self::PodName),
        ("reserved-identity", Self::ReservedIdentity),
        ("workload", Self::Workload),
        ("workload-name", Self::WorkloadName),
    ];
}

impl ContextLabel {
    /// Names, which are those of the labels.
    pub const NAMES: [(&'static str, Self); 13] = [
        ("source_ip", Self::SourceIp),
        ("source_pod", Self::SourcePod),
        ("source_namespace", Self::SourceNamespace),
        ("source_workload", Self::SourceWorkload),
        ("source_workload_kind", Self::SourceWorkloadKind),
        ("source_app", Self::SourceApp),
        ("destination_ip", Self::DestinationIp),
        ("destination_pod", Self::DestinationPod),
        ("destination_namespace", Self::DestinationNamespace),
        ("destination_workload", Self::DestinationWorkload),
        ("destination_workload_kind", Self::DestinationWorkloadKind),
        ("destination_app", Self::DestinationApp),
        ("traffic_direction", Self::TrafficDirection),
    ];

    /// The label's name.
    pub fn name(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, label)| *label == self);
        named.map_or("", |(name, _)| *name)
    }
}

/// Why a metric cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubbleMetricError {
    /// No such metric.
    #[error("no metric is called `{name}`; there are {known}")]
    Unknown {
        /// As it was written.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// No such option.
    #[error("`{plugin}` has no option `{option}`; it has {known}")]
    Option {
        /// The metric.
        plugin: &'static str,
        /// As it was written.
        option: String,
        /// Those that it has.
        known: String,
    },
    /// No such value.
    #[error("`{option}`: `{value}` is not one of {known}")]
    Value {
        /// The option.
        option: String,
        /// As it was written.
        value: String,
        /// Those that there are.
        known: String,
    },
    /// Both count under the same name.
    #[error("`http` and `httpV2` count under the same names: one of them")]
    BothHttp,
    /// Twice the same.
    #[error("`{0}` is there twice")]
    Twice(&'static str),
}

impl HubbleMetric {
    /// The metric of that name, without options.
    ///
    /// # Errors
    /// When there is none.
    pub fn named(name: &str) -> Result<Self, HubbleMetricError> {
        let known = HubblePlugin::NAMES;
        let named = known
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, plugin) = named.ok_or_else(|| HubbleMetricError::Unknown {
            name: name.to_owned(),
            known: names(&known),
        })?;
        Ok(Self {
            plugin: *plugin,
            contexts: Contexts::default(),
            switches: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
        })
    }

    /// Reads `name:option;option=value`: values of contexts split by `|`, of `labelsContext` by `,`.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn parse(text: &str) -> Result<Self, HubbleMetricError> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let mut metric = Self::named(name)?;
        for option in options.split(';').filter(|option| !option.is_empty()) {
            let (option, value) = option.split_once('=').unwrap_or((option, ""));
            let separator = if option.eq_ignore_ascii_case("labelsContext") {
                ','
            } else {
                '|'
            };
            let values: Vec<&str> = value.split(separator).filter(|v| !v.is_empty()).collect();
            metric.add_option(option, &values)?;
        }
        Ok(metric)
    }

    /// Adds an option. Names are read in any case.
    ///
    /// # Errors
    /// When it has none of that name, or not that value.
    pub fn add_option(&mut self, option: &str, values: &[&str]) -> Result<(), HubbleMetricError> {
        let contexts = &mut self.contexts;
        let into = match option.to_ascii_lowercase().as_str() {
            "sourcecontext" => &mut contexts.source,
            "sourceegresscontext" => &mut contexts.source_egress,
            "sourceingresscontext" => &mut contexts.source_ingress,
            "destinationcontext" => &mut contexts.destination,
            "destinationegresscontext" => &mut contexts.destination_egress,
            "destinationingresscontext" => &mut contexts.destination_ingress,
            "labelscontext" => {
                contexts.labels = read(option, values, &ContextLabel::NAMES)?;
                contexts.labels.sort_unstable();
                contexts.labels.dedup();
                return Ok(());
            }
            _ => return self.switch_on(option, values),
        };
        *into = Some(read(option, values, &Identifier::NAMES)?);
        Ok(())
    }

    fn switch_on(&mut self, option: &str, values: &[&str]) -> Result<(), HubbleMetricError> {
        let known = self.plugin.switches();
        let named = known
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(option));
        let (_, switch) = named.ok_or_else(|| HubbleMetricError::Option {
            plugin: self.plugin.name(),
            option: option.to_owned(),
            known: format!(
                "sourceContext, destinationContext, labelsContext{}{}",
                if known.is_empty() { "" } else { ", " },
                names(known)
            ),
        })?;
        match values {
            [] | ["true"] => self.switches.push(*switch),
            ["false"] => self.switches.retain(|on| on != switch),
            [value, ..] => {
                return Err(HubbleMetricError::Value {
                    option: option.to_owned(),
                    value: (*value).to_owned(),
                    known: "true, false".to_owned(),
                });
            }
        }
        self.switches.sort_unstable();
        self.switches.dedup();
        Ok(())
    }

    /// Whether an option without a value is on.
    pub fn has(&self, switch: Switch) -> bool {
        self.switches.contains(&switch)
    }

    /// Finds what cannot stand beside each other.
    ///
    /// # Errors
    /// What that is.
    pub fn check_all(metrics: &[Self]) -> Result<(), HubbleMetricError> {
        for (at, metric) in metrics.iter().enumerate() {
            let mut before = metrics.iter().take(at);
            if before.any(|other| other.plugin == metric.plugin) {
                return Err(HubbleMetricError::Twice(metric.plugin.name()));
            }
        }
        let has = |plugin| metrics.iter().any(|metric| metric.plugin == plugin);
        if has(HubblePlugin::Http) && has(HubblePlugin::HttpV2) {
            return Err(HubbleMetricError::BothHttp);
        }
        Ok(())
    }
}

/// What is counted where nothing is said: everything, by what has few values.
pub(super) fn usual() -> Vec<HubbleMetric> {
    let names = "dns drop flow httpV2 icmp policy port-distribution tcp";
    let read = names.split(' ').map(HubbleMetric::parse);
    // A test reads them.
    read.filter_map(Result::ok).collect()
}

fn names<T>(known: &[(&'static str, T)]) -> String {
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

fn read<T: Copy>(
    option: &str,
    values: &[&str],
    known: &[(&'static str, T)],
) -> Result<Vec<T>, HubbleMetricError> {
    let value = |value: &&str| {
        let named = known.iter().find(|(name, _)| name == value);
        named
            .map(|(_, value)| *value)
            .ok_or_else(|| HubbleMetricError::Value {
                option: option.to_owned(),
                value: (*value).to_owned(),
                known: names(known),
            })
    };
    values.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hubbles_own_spelling_is_read() {
        let drop = HubbleMetric::parse("drop:sourceContext=pod|reserved-identity").expect("drop");
        assert_eq!(drop.plugin, HubblePlugin::Drop);
        let expected = [Identifier::Pod, Identifier::ReservedIdentity];
        assert_eq!(drop.contexts.source.as_deref(), Some(&expected[..]));
        let text =
            "httpV2:exemplars=true;labelsContext=traffic_direction,source_ip,source_namespace";
        let http = HubbleMetric::parse(text).expect("httpV2");
        assert!(http.has(Switch::Exemplars) && !http.has(Switch::GrpcStatus));
        let names: Vec<&str> = http
            .contexts
            .labels
            .iter()
            .map(|label| label.name())
            .collect();
        assert_eq!(
            names,
            ["source_ip", "source_namespace", "traffic_direction"]
        );
        let dns = HubbleMetric::parse("dns:QUERY;ignoreAAAA").expect("dns");
        assert!(dns.has(Switch::Query) && dns.has(Switch::IgnoreAaaa));
        assert_eq!(usual().len(), 8);
        assert_eq!(HubbleMetric::check_all(&usual()), Ok(()));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_there_is() {
        let fault = |text: &str| HubbleMetric::parse(text).expect_err(text).to_string();
        assert!(fault("dnss").contains("no metric is called `dnss`; there are dns, drop"));
        assert!(fault("drop:query").contains("`drop` has no option `query`"));
        assert!(fault("drop:sourceContext=pods").contains("`pods` is not one of app, dns"));
        assert!(fault("http:exemplars=yes").contains("`yes` is not one of true, false"));
        let parsed = |names: &[&str]| {
            let metrics = names
                .iter()
                .map(|name| HubbleMetric::parse(name).expect(name));
            HubbleMetric::check_all(&metrics.collect::<Vec<_>>())
        };
        assert_eq!(
            parsed(&["http", "httpV2"]),
            Err(HubbleMetricError::BothHttp)
        );
        assert_eq!(
            parsed(&["dns", "dns"]),
            Err(HubbleMetricError::Twice("dns"))
        );
    }

    #[test]
    fn labels_stand_in_hubbles_order() {
        let sorted = ContextLabel::NAMES.is_sorted_by_key(|(_, label)| *label);
        assert!(sorted);
    }
}
