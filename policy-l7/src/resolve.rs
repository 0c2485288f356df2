//! What policies say by reference → what it comes to: CIDR groups, and services.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::labels::{Label, Labels};
use crate::rule::{Policy, Rule};
use crate::selector::{
    CidrRule, CidrSet, CidrSource, NAMESPACE_LABEL, Operator, Peers, Requirement, Selector,
    ServicePeer, WhichServices,
};

/// A `CiliumCIDRGroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CidrGroup {
    /// Name.
    pub name: String,
    /// Labels of the object.
    pub labels: Labels,
    /// Prefixes.
    pub prefixes: Vec<IpNet>,
}

/// A service, as policies may name it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Labels of the object.
    pub labels: Labels,
    /// Labels of the pods behind it; empty where its backends are told one by one.
    pub selector: BTreeMap<String, String>,
    /// Addresses behind a service without a selector.
    pub backends: Vec<IpAddr>,
}

/// What policies refer to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// All CIDR groups.
    pub cidr_groups: &'a [CidrGroup],
    /// All services.
    pub services: &'a [Service],
}

/// The policy with every reference replaced by what stands behind it now: its peers are anybody,
/// plain CIDRs, endpoints, entities, names or nodes. A rule whose peers are of two kinds becomes two
/// with the same path; one that refers to nothing there is has peers that nobody is among.
pub fn resolve(policy: &Policy, surroundings: &Surroundings<'_>) -> Policy {
    let mut resolved = policy.clone();
    if !policy.has_references() {
        return resolved;
    }
    for spec in &mut resolved.specs {
        let rules = std::mem::take(&mut spec.rules);
        spec.rules = rules
            .into_iter()
            .flat_map(|rule| surroundings.rules(rule))
            .collect();
    }
    resolved
}

impl Policy {
    /// Whether [`resolve`] would change anything in it.
    pub fn has_references(&self) -> bool {
        let mut rules = self.specs.iter().flat_map(|spec| &spec.rules);
        rules.any(|rule| matches!(rule.peers, Peers::CidrSets(_) | Peers::Services(_)))
    }
}

impl Surroundings<'_> {
    fn rules(&self, rule: Rule) -> Vec<Rule> {
        let peers = match &rule.peers {
            Peers::CidrSets(sets) => {
                vec![Peers::Cidrs(
                    sets.iter().flat_map(|set| self.cidrs(set)).collect(),
                )]
            }
            Peers::Services(services) => self.backends(services),
            Peers::Any
            | Peers::Cidrs(_)
            | Peers::Endpoints(_)
            | Peers::Entities(_)
            | Peers::Fqdns(_)
            | Peers::Nodes(_) => return vec![rule],
        };
        let with = |peers| Rule {
            peers,
            ..rule.clone()
        };
        peers.into_iter().map(with).collect()
    }

    fn cidrs(&self, set: &CidrSet) -> Vec<CidrRule> {
        let groups = || self.cidr_groups.iter();
        let prefixes: Vec<IpNet> = match &set.of {
            CidrSource::Group(name) => groups()
                .filter(|group| group.name == *name)
                .flat_map(|group| group.prefixes.iter().copied())
                .collect(),
            CidrSource::Groups(selector) => groups()
                .filter(|group| selector.matches(&group.labels))
                .flat_map(|group| group.prefixes.iter().copied())
                .collect(),
            CidrSource::Prefix(prefix) => vec![*prefix],
        };
        let rule = |prefix| CidrRule {
            prefix,
            except: set.except.clone(),
        };
        prefixes.into_iter().map(rule).collect()
    }

    /// Pods of a service are meant by what selects them; what stands behind one without a selector,
    /// by its address.
    fn backends(&self, peers: &[ServicePeer]) -> Vec<Peers> {
        let mut selectors = Vec::new();
        let mut cidrs = Vec::new();
        let meant = |service: &&Service| peers.iter().any(|peer| peer.means(service));
        for service in self.services.iter().filter(meant) {
            if service.selector.is_empty() {
                cidrs.extend(service.backends.iter().map(|address| CidrRule {
                    prefix: IpNet::from(*address),
                    except: Vec::new(),
                }));
            } else {
                selectors.push(service.pods());
            }
        }
        let mut peers = Vec::new();
        if !cidrs.is_empty() {
            peers.push(Peers::Cidrs(cidrs));
        }
        if !selectors.is_empty() || peers.is_empty() {
            peers.push(Peers::Endpoints(selectors));
        }
        peers
    }
}

impl ServicePeer {
    pub(crate) fn means(&self, service: &Service) -> bool {
        let is_there = self
            .namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == service.namespace);
        is_there
            && match &self.which {
                WhichServices::Labelled(selector) => selector.matches(&service.labels),
                WhichServices::Named(name) => *name == service.name,
            }
    }
}

impl Service {
    fn pods(&self) -> Selector {
        let of_namespace = (NAMESPACE_LABEL, &self.namespace);
        let of_pods = self
            .selector
            .iter()
            .map(|(key, value)| (key.as_str(), value));
        let requirements = of_pods
            .chain([of_namespace])
            .map(|(key, value)| Requirement {
                source: "k8s".to_owned(),
                key: key.to_owned(),
                operator: Operator::In(vec![value.clone()]),
            });
        Selector(requirements.collect())
    }
}

/// The labels of a Kubernetes object.
pub(crate) fn object_labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Labels {
    let label = |(key, value): (&str, &str)| Label {
        source: "k8s".to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
    };
    labels.map(label).collect()
}
