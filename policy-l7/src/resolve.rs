//! What policies say by reference → what it comes to: CIDR groups, and services.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::labels::{Label, Labels};
use crate::rule::{Policy, Provenance, Rule};
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

/// Everything that policies refer to and that is not there, a sentence for each. It means nobody, as
/// in Cilium.
pub fn dangling(policies: &[Policy], surroundings: &Surroundings<'_>) -> Vec<String> {
    let of = |policy| surroundings.missing(policy);
    policies.iter().flat_map(of).collect()
}

impl Surroundings<'_> {
    fn missing(&self, policy: &Policy) -> Vec<String> {
        let Provenance {
            namespace, name, ..
        } = &policy.provenance;
        let rules = policy.specs.iter().flat_map(|spec| &spec.rules);
        let mut found: Vec<String> = rules
            .flat_map(|rule| {
                let missing = self.missing_of(&rule.peers);
                let place = format!("{namespace}/{name}: {}", rule.path);
                missing
                    .into_iter()
                    .map(move |message| format!("{place}: {message}"))
            })
            .collect();
        found.dedup();
        found
    }

    /// What peers refer to in vain.
    pub(crate) fn missing_of(&self, peers: &Peers) -> Vec<String> {
        match peers {
            Peers::CidrSets(sets) => self.missing_groups(sets),
            Peers::Services(peers) => self.missing_services(peers),
            Peers::Any
            | Peers::Cidrs(_)
            | Peers::Endpoints(_)
            | Peers::Entities(_)
            | Peers::Fqdns(_)
            | Peers::Nodes(_) => Vec::new(),
        }
    }

    fn missing_groups(&self, sets: &[CidrSet]) -> Vec<String> {
        let has = |of: &dyn Fn(&CidrGroup) -> bool| self.cidr_groups.iter().any(of);
        let missing = |set: &CidrSet| match &set.of {
            CidrSource::Group(name) => (!has(&|group| group.name == *name))
                .then(|| format!("there is no CiliumCIDRGroup `{name}`: it matches nothing")),
            CidrSource::Groups(selector) => (!has(&|group| selector.matches(&group.labels)))
                .then(|| "no CiliumCIDRGroup has such labels: it matches nothing".to_owned()),
            CidrSource::Prefix(_) => None,
        };
        sets.iter().filter_map(missing).collect()
    }

    fn missing_services(&self, peers: &[ServicePeer]) -> Vec<String> {
        let missing = |peer: &&ServicePeer| !self.services.iter().any(|one| peer.means(one));
        let message = |peer: &ServicePeer| {
            let place = match &peer.namespace {
                Some(namespace) => format!("in namespace `{namespace}`"),
                None => "in any namespace".to_owned(),
            };
            match &peer.which {
                WhichServices::Labelled(_) => {
                    format!("no service {place} has such labels: it matches nothing")
                }
                WhichServices::Named(name) => {
                    format!("there is no service `{name}` {place}: it matches nothing")
                }
            }
        };
        peers.iter().filter(missing).map(message).collect()
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::read_objects;

    const GROUPS: &str = "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: offices, labels: {team: x}}\nspec: {externalCIDRs: [10.0.0.0/8, 192.0.2.0/24]}\n---\napiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: labs, labels: {team: x}}\nspec: {externalCIDRs: [198.51.100.0/24]}\n";

    fn services() -> Vec<Service> {
        let service = |name: &str, selector: &[(&str, &str)], backends: &[&str]| Service {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            labels: object_labels([("tier", name)].into_iter()),
            selector: selector
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            backends: backends.iter().filter_map(|ip| ip.parse().ok()).collect(),
        };
        vec![
            service("web", &[("app", "web")], &["10.0.0.9"]),
            service("db", &[], &["203.0.113.7", "2001:db8::7"]),
        ]
    }

    fn policy(element: &str) -> Policy {
        let text = format!(
            "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: p}}\nspec: {{endpointSelector: {{}}, egress: [{element}]}}\n"
        );
        let mut objects = read_objects("p", &text).expect("a policy");
        objects.policies.remove(0)
    }

    fn told_selector(Selector(requirements): &Selector) -> String {
        let keys = requirements.iter().map(|of| match &of.operator {
            Operator::In(values) => format!("{}:{}={}", of.source, of.key, values[0]),
            other => format!("{other:?}"),
        });
        keys.collect::<Vec<_>>().join(",")
    }

    /// The peers of each rule that an element comes to, and how many references lead nowhere.
    fn resolved(element: &str) -> (Vec<String>, usize) {
        let groups = read_objects("g", GROUPS).expect("groups").cidr_groups;
        let services = services();
        let surroundings = Surroundings {
            cidr_groups: &groups,
            services: &services,
        };
        let policy = policy(element);
        let resolved = resolve(&policy, &surroundings);
        assert!(!resolved.has_references());
        let rules = resolved.specs.iter().flat_map(|spec| &spec.rules);
        let told = rules.map(|rule| {
            assert_eq!(rule.path, "spec.egress[0]");
            match &rule.peers {
                Peers::Cidrs(rules) => {
                    let each = rules.iter().map(|rule| match rule.except.as_slice() {
                        [] => rule.prefix.to_string(),
                        [except, ..] => format!("{}-{except}", rule.prefix),
                    });
                    each.collect::<Vec<_>>().join(" ")
                }
                Peers::Endpoints(selectors) => {
                    let each = selectors.iter().map(told_selector);
                    each.collect::<Vec<_>>().join(" ")
                }
                other => format!("{other:?}"),
            }
        });
        (told.collect(), dangling(&[policy], &surroundings).len())
    }

    #[test]
    fn references_become_what_stands_behind_them() {
        let pods = "k8s:app=web,k8s:io.kubernetes.pod.namespace=shop";
        for (element, expected, missing) in [
            (
                "{toCIDRSet: [{cidrGroupRef: offices, except: [10.1.0.0/16]}]}",
                vec!["10.0.0.0/8-10.1.0.0/16 192.0.2.0/24-10.1.0.0/16"],
                0,
            ),
            (
                "{toCIDRSet: [{cidrGroupSelector: {matchLabels: {team: x}}}, {cidr: 1.1.1.1/32}]}",
                vec!["10.0.0.0/8 192.0.2.0/24 198.51.100.0/24 1.1.1.1/32"],
                0,
            ),
            ("{toCIDRSet: [{cidrGroupRef: ofices}]}", vec![""], 1),
            (
                "{toCIDRSet: [{cidrGroupSelector: {matchLabels: {team: y}}}]}",
                vec![""],
                1,
            ),
            (
                "{toServices: [{k8sService: {serviceName: web, namespace: shop}}]}",
                vec![pods],
                0,
            ),
            (
                "{toServices: [{k8sServiceSelector: {selector: {matchLabels: {tier: db}}}}]}",
                vec!["203.0.113.7/32 2001:db8::7/128"],
                0,
            ),
            (
                "{toServices: [{k8sServiceSelector: {selector: {matchExpressions: [{key: tier, operator: Exists}]}}}]}",
                vec!["203.0.113.7/32 2001:db8::7/128", pods],
                0,
            ),
            (
                "{toServices: [{k8sService: {serviceName: web, namespace: bank}}]}",
                vec![""],
                1,
            ),
            ("{toServices: []}", vec![""], 0),
            ("{toCIDR: [10.0.0.0/8]}", vec!["10.0.0.0/8"], 0),
        ] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(resolved(element), (expected, missing), "{element}");
        }
    }
}
