//! Who a rule speaks of: label selectors, entities, CIDRs.

use ipnet::IpNet;

use crate::identity::{Identity, reserved_label};
use crate::labels::{Label, Labels};
use crate::names::NamePattern;

/// Label that carries a pod's namespace.
pub(crate) const NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
/// Prefix of labels that carry the labels of a pod's namespace.
pub(crate) const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";

/// One requirement on a label set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Requirement {
    pub(crate) source: String,
    pub(crate) key: String,
    pub(crate) operator: Operator,
}

/// How a key is compared; a missing key satisfies `NotIn` and `Absent`, as in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Operator {
    Absent,
    Exists,
    In(Vec<String>),
    NotIn(Vec<String>),
}

/// All requirements must hold; none matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Selector(pub(crate) Vec<Requirement>);

impl Requirement {
    fn is_met(&self, labels: &Labels) -> bool {
        let mut values = labels.values(&self.source, &self.key);
        match &self.operator {
            Operator::Absent => values.next().is_none(),
            Operator::Exists => values.next().is_some(),
            Operator::In(wanted) => values.any(|value| wanted.iter().any(|want| want == value)),
            Operator::NotIn(wanted) => !values.any(|value| wanted.iter().any(|want| want == value)),
        }
    }

    fn speaks_of_namespace(&self) -> bool {
        self.key == NAMESPACE_LABEL
            || self.key.starts_with(NAMESPACE_LABELS)
            || self.source == "reserved"
    }
}

impl Selector {
    /// Whether a label set is selected.
    pub(crate) fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.is_met(labels))
    }

    /// Limits the peers of a namespaced policy to its namespace, unless they name another; those of
    /// a cluster-wide policy are whatever has a namespace, which are pods.
    pub(crate) fn within(self, namespace: Option<&str>) -> Self {
        match namespace {
            _ if self.0.iter().any(Requirement::speaks_of_namespace) => self,
            Some(namespace) => self.confined(namespace),
            None => self.and_namespace(Operator::Exists),
        }
    }

    /// Limits a selector to a namespace whatever it says: what a namespaced policy is for is never
    /// outside of its own.
    pub(crate) fn confined(self, namespace: &str) -> Self {
        self.and_namespace(Operator::In(vec![namespace.to_owned()]))
    }

    /// Limits a selector of nodes to the host, which is this node.
    pub(crate) fn of_host(self) -> Self {
        self.and("reserved", "host", Operator::Exists)
    }

    /// What an ordinary selector selects: the host is a subject of policies that select nodes only.
    pub(crate) fn but_host(self) -> Self {
        self.and("reserved", "host", Operator::Absent)
    }

    /// Whether it is one of the host.
    pub(crate) fn is_of_host(&self) -> bool {
        let is_host = |requirement: &Requirement| {
            requirement.source == "reserved"
                && requirement.key == "host"
                && requirement.operator == Operator::Exists
        };
        self.0.iter().any(is_host)
    }

    /// Whether it asks for a namespace, and not for this one.
    pub(crate) fn is_elsewhere(&self, namespace: &str) -> bool {
        self.0
            .iter()
            .any(|requirement| match &requirement.operator {
                Operator::In(wanted) => {
                    requirement.key == NAMESPACE_LABEL
                        && !wanted.iter().any(|want| want == namespace)
                }
                Operator::Absent | Operator::Exists | Operator::NotIn(_) => false,
            })
    }

    fn and_namespace(self, operator: Operator) -> Self {
        self.and("k8s", NAMESPACE_LABEL, operator)
    }

    fn and(mut self, source: &str, key: &str, operator: Operator) -> Self {
        self.0.push(Requirement {
            source: source.to_owned(),
            key: key.to_owned(),
            operator,
        });
        self
    }
}

/// A group that needs no labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Entity {
    All,
    Cluster,
    Reserved(&'static str),
}

impl Entity {
    /// Names as policies spell them.
    pub(crate) const NAMES: [(&'static str, Self); 12] = [
        ("all", Self::All),
        ("cluster", Self::Cluster),
        // No pods of other clusters are known.
        ("cluster-mesh", Self::Cluster),
        ("health", Self::Reserved("health")),
        ("host", Self::Reserved("host")),
        ("ingress", Self::Reserved("ingress")),
        ("init", Self::Reserved("init")),
        ("kube-apiserver", Self::Reserved("kube-apiserver")),
        ("none", Self::Reserved("none")),
        ("remote-node", Self::Reserved("remote-node")),
        ("unmanaged", Self::Reserved("unmanaged")),
        ("world", Self::Reserved("world")),
    ];

    fn matches(self, labels: &Labels) -> bool {
        match self {
            Self::All => true,
            // An API server outside is of the cluster as well.
            Self::Cluster => {
                !labels.has("reserved", "world") || labels.has("reserved", "kube-apiserver")
            }
            Self::Reserved(name) => labels.has("reserved", name),
        }
    }
}

/// A prefix without some parts of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CidrRule {
    pub(crate) prefix: IpNet,
    pub(crate) except: Vec<IpNet>,
}

/// Prefixes that stand elsewhere, without some parts of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CidrSet {
    pub(crate) of: CidrSource,
    pub(crate) except: Vec<IpNet>,
}

/// Where the prefixes of a set stand.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum CidrSource {
    /// In the `CiliumCIDRGroup` of that name.
    Group(String),
    /// In all groups with such labels.
    Groups(Selector),
    /// In the rule itself.
    Prefix(IpNet),
}

/// A service, or several.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ServicePeer {
    /// `None` is every namespace.
    pub(crate) namespace: Option<String>,
    pub(crate) which: WhichServices,
}

/// Which services of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum WhichServices {
    /// The one of that name.
    Named(String),
    /// Those with such labels.
    Labelled(Selector),
}

/// Who the other end may be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Peers {
    /// Anybody.
    Any,
    /// Any of these, some of which stand in groups. [`resolve()`](crate::resolve::resolve) leaves
    /// none.
    CidrSets(Vec<CidrSet>),
    /// Any of these.
    Cidrs(Vec<CidrRule>),
    /// Any of these.
    Endpoints(Vec<Selector>),
    /// Any of these.
    Entities(Vec<Entity>),
    /// Whoever has one of these names in DNS.
    Fqdns(Vec<NamePattern>),
    /// Any node with such labels.
    Nodes(Vec<Selector>),
    /// Whoever serves one of these. [`resolve()`](crate::resolve::resolve) leaves none.
    Services(Vec<ServicePeer>),
}

/// Reserved labels of what a selector of nodes may mean.
const NODES: [&str; 3] = ["host", "kube-apiserver", "remote-node"];

impl Peers {
    /// Whether everybody is meant, so that one entry serves for all identities.
    pub(crate) fn is_anybody(&self) -> bool {
        match self {
            Self::Any => true,
            Self::Entities(entities) => entities.contains(&Entity::All),
            Self::CidrSets(_)
            | Self::Cidrs(_)
            | Self::Endpoints(_)
            | Self::Fqdns(_)
            | Self::Nodes(_)
            | Self::Services(_) => false,
        }
    }

    /// Whether an identity is meant.
    pub(crate) fn matches(&self, identity: &Identity, prefix: Option<&IpNet>) -> bool {
        match self {
            Self::Any => true,
            Self::Cidrs(rules) => prefix.is_some_and(|prefix| {
                rules.iter().any(|rule| {
                    rule.prefix.contains(prefix)
                        && !rule.except.iter().any(|except| except.contains(prefix))
                })
            }),
            Self::Endpoints(selectors) => selectors
                .iter()
                .any(|selector| selector.matches(&identity.labels)),
            Self::Entities(entities) => entities
                .iter()
                .any(|entity| entity.matches(&identity.labels)),
            Self::Fqdns(names) => names
                .iter()
                .any(|name| identity.labels.has("fqdn", &name.source)),
            Self::Nodes(selectors) => {
                let is_node = NODES
                    .iter()
                    .any(|name| identity.labels.has("reserved", name));
                is_node
                    && selectors
                        .iter()
                        .any(|selector| selector.matches(&identity.labels))
            }
            // Nobody, as long as it is not known who they are.
            Self::CidrSets(_) | Self::Services(_) => false,
        }
    }

    /// Names that addresses are learnt by.
    pub(crate) fn names(&self) -> &[NamePattern] {
        match self {
            Self::Fqdns(names) => names,
            Self::Any
            | Self::CidrSets(_)
            | Self::Cidrs(_)
            | Self::Endpoints(_)
            | Self::Entities(_)
            | Self::Nodes(_)
            | Self::Services(_) => &[],
        }
    }

    /// Prefixes that need an identity of their own.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        let rules = match self {
            Self::Cidrs(rules) => rules.as_slice(),
            Self::Any
            | Self::CidrSets(_)
            | Self::Endpoints(_)
            | Self::Entities(_)
            | Self::Fqdns(_)
            | Self::Nodes(_)
            | Self::Services(_) => &[],
        };
        rules
            .iter()
            .flat_map(|rule| std::iter::once(rule.prefix).chain(rule.except.iter().copied()))
    }
}

/// The labels of a prefix outside the cluster.
pub(crate) fn cidr_labels(prefix: IpNet) -> Labels {
    let cidr = Label {
        source: "cidr".to_owned(),
        key: cidr_key(prefix.trunc()),
        value: String::new(),
    };
    [cidr, reserved_label("world")].into_iter().collect()
}

/// Colons separate source and key, so IPv6 prefixes are written with dashes; a key neither begins
/// nor ends with one.
fn cidr_key(prefix: IpNet) -> String {
    let address = prefix.addr().to_string().replace(':', "-");
    let first = if address.starts_with('-') { "0" } else { "" };
    let last = if address.ends_with('-') { "0" } else { "" };
    format!("{first}{address}{last}/{}", prefix.prefix_len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_prefix_becomes_a_key() {
        for (prefix, key) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("2001:db8::/32", "2001-db8--0/32"),
            ("::/0", "0--0/0"),
            ("::1/128", "0--1/128"),
        ] {
            let prefix: IpNet = prefix.parse().expect("net");
            assert_eq!(cidr_key(prefix.trunc()), key);
        }
    }

    fn labels(all: &[&str]) -> Labels {
        all.iter()
            .map(|label| label.parse().expect("a label"))
            .collect()
    }

    fn requirement(source: &str, key: &str, operator: Operator) -> Requirement {
        Requirement {
            source: source.to_owned(),
            key: key.to_owned(),
            operator,
        }
    }

    #[test]
    fn a_missing_key_satisfies_the_negative_operators() {
        let web = labels(&["app=web"]);
        for operator in [Operator::Absent, Operator::NotIn(vec!["a".to_owned()])] {
            assert!(Selector(vec![requirement("any", "tier", operator)]).matches(&web));
        }
    }

    #[test]
    fn a_selector_stays_in_its_namespace_unless_it_names_one() {
        let here = Selector::default().within(Some("shop"));
        assert!(here.matches(&labels(&["k8s:io.kubernetes.pod.namespace=shop"])));
        assert!(!here.matches(&labels(&["k8s:io.kubernetes.pod.namespace=bank"])));
        assert!(!here.matches(&labels(&["reserved:world"])));
        let reserved = requirement("reserved", "host", Operator::Exists);
        assert!(
            Selector(vec![reserved])
                .within(Some("shop"))
                .matches(&labels(&["reserved:host"]))
        );
    }

    #[test]
    fn except_takes_a_part_out_of_a_prefix() {
        let rule = CidrRule {
            prefix: "10.0.0.0/8".parse().expect("net"),
            except: vec!["10.1.0.0/16".parse().expect("net")],
        };
        let peers = Peers::Cidrs(vec![rule]);
        let meant = |prefix: &str| {
            let prefix = prefix.parse().expect("net");
            let identity = Identity {
                number: 1 << 24,
                labels: cidr_labels(prefix),
            };
            peers.matches(&identity, Some(&prefix))
        };
        assert!(meant("10.0.0.0/8"));
        assert!(!meant("10.1.0.0/16"));
        assert!(!meant("192.0.2.0/24"));
    }
}
