//! The one form that every policy becomes.

use crate::identity::Identity;
use crate::names::{DnsRule, NamePattern};
use crate::pattern::Pattern;
use crate::selector::{Peers, Selector};
use crate::yaml::At;

/// A policy object as read.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(crate) provenance: Provenance,
    /// What it denies passes and is told.
    pub(crate) is_audited: bool,
    /// Where the object stands in its file.
    pub(crate) at: At,
    pub(crate) specs: Vec<Spec>,
}

/// Where they stand makes no difference.
impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            provenance,
            is_audited,
            at: _,
            specs,
        } = self;
        *provenance == other.provenance && *is_audited == other.is_audited && *specs == other.specs
    }
}

impl Policy {
    /// Kind, namespace and name.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// Whether what it denies passes and is told (`policy.l7d.io/mode: audit`).
    pub fn is_audited(&self) -> bool {
        self.is_audited
    }

    /// How many rules it has: one for each of its `specs`.
    pub fn rules(&self) -> usize {
        self.specs.len()
    }

    /// Whether it selects nodes, so that it is enforced only where the node itself is an endpoint.
    pub fn is_about_nodes(&self) -> bool {
        self.specs.iter().any(|spec| spec.subject.is_of_host())
    }

    /// Whether it selects anybody of these.
    pub fn selects_any(&self, identities: &[Identity]) -> bool {
        let selects = |spec: &Spec, who: &Identity| spec.subject.matches(&who.labels);
        self.specs
            .iter()
            .any(|spec| identities.iter().any(|who| selects(spec, who)))
    }

    /// The object, with what a spec of it says about itself.
    pub(crate) fn provenance_of(&self, spec: &Spec) -> Provenance {
        let mut provenance = self.provenance.clone();
        provenance.labels.extend(spec.labels.iter().cloned());
        provenance.labels.sort();
        provenance.log.clone_from(&spec.log);
        provenance
    }

    /// Where the object stands in its file.
    pub fn at(&self) -> At {
        self.at
    }
}

/// Which object, and which rule of it, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Kind of object.
    pub kind: PolicyKind,
    /// Namespace, empty for cluster-wide policies.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Derived labels and those of its own, sorted.
    pub labels: Vec<String>,
    /// What flows that it decides about are to carry (`log.value`).
    pub log: Option<String>,
    /// Path of the rule in the object, such as `spec.egress[0].toPorts[0]`; empty for the whole.
    pub rule: String,
}

impl Provenance {
    /// Whether both are of one object.
    pub(crate) fn is_of_same_object(&self, other: &Self) -> bool {
        self.kind == other.kind && self.namespace == other.namespace && self.name == other.name
    }
}

/// Kinds of policy objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// `cilium.io/v2`, cluster scope.
    CiliumClusterwideNetworkPolicy,
    /// `cilium.io/v2`, namespaced.
    CiliumNetworkPolicy,
    /// `networking.k8s.io/v1`.
    NetworkPolicy,
}

impl PolicyKind {
    /// As Kubernetes spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CiliumClusterwideNetworkPolicy => "CiliumClusterwideNetworkPolicy",
            Self::CiliumNetworkPolicy => "CiliumNetworkPolicy",
            Self::NetworkPolicy => "NetworkPolicy",
        }
    }
}

/// One `spec`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spec {
    /// Endpoints it is for.
    pub(crate) subject: Selector,
    /// What no rule allows is denied on the way in.
    pub(crate) ingress_default_deny: bool,
    /// What no rule allows is denied on the way out.
    pub(crate) egress_default_deny: bool,
    pub(crate) rules: Vec<Rule>,
    /// Labels of its own, beside those that are derived from the object.
    pub(crate) labels: Vec<String>,
    /// What flows that it decides about are to carry.
    pub(crate) log: Option<String>,
}

impl Spec {
    /// Where nothing is denied by default, L7 rules only look: each list ends with a rule that
    /// allows every request, so that a request is seen and never denied by them.
    pub(crate) fn let_pass_what_is_only_looked_at(&mut self) {
        for rule in &mut self.rules {
            let denies = match rule.direction {
                Direction::Egress => self.egress_default_deny,
                Direction::Ingress => self.ingress_default_deny,
            };
            if denies {
                continue;
            }
            let path_in_object = rule.path.clone();
            match &mut rule.l7 {
                // What is no TLS, or names no server, must pass as well: nothing is left to judge.
                L7::Nothing | L7::Tls(_) => rule.l7 = L7::Nothing,
                L7::Http(rules) => rules.push(HttpRule {
                    path_in_object,
                    method: None,
                    path: None,
                    host: None,
                    headers: Vec::new(),
                    header_matches: Vec::new(),
                }),
                L7::Dns(rules) => rules.push(DnsRule::everything(path_in_object)),
            }
        }
    }
}

/// Direction from the view of the endpoint that a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Away from it.
    Egress,
    /// Towards it.
    Ingress,
}

/// Peers, ports, and what is said about them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    /// Path in the object.
    pub(crate) path: String,
    pub(crate) direction: Direction,
    pub(crate) is_deny: bool,
    pub(crate) peers: Peers,
    /// Empty means every port of every protocol.
    pub(crate) ports: Vec<Ports>,
    pub(crate) l7: L7,
}

/// What is said of the requests of a connection, in the protocol that it is said in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum L7 {
    /// Queries are judged.
    Dns(Vec<DnsRule>),
    /// Requests are judged.
    Http(Vec<HttpRule>),
    /// They are not judged.
    Nothing,
    /// The connection is judged by the name of the server in its `ClientHello`.
    Tls(Vec<ServerName>),
}

/// One of `serverNames`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerName {
    /// Path in the object.
    pub(crate) path_in_object: String,
    pub(crate) name: NamePattern,
}

/// Ports of one protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ports {
    /// IP protocol; `None` is TCP, UDP and SCTP.
    pub(crate) protocol: Option<u8>,
    pub(crate) range: PortRange,
}

impl Ports {
    /// What they are called, where that has to be looked up.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.range {
            PortRange::Named(name) => Some(name),
            PortRange::Any | PortRange::Between(..) => None,
        }
    }
}

/// Which ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PortRange {
    /// All of them.
    Any,
    /// From the first to the last.
    Between(u16, u16),
    /// What a pod calls so.
    Named(String),
}

/// One HTTP rule: everything in it must match.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HttpRule {
    /// Path in the object.
    pub(crate) path_in_object: String,
    pub(crate) method: Option<Pattern>,
    pub(crate) path: Option<Pattern>,
    pub(crate) host: Option<Pattern>,
    /// `headers`: without any of these the rule is not about the request.
    pub(crate) headers: Vec<HeaderRule>,
    /// `headerMatches`: what is done where a header differs.
    pub(crate) header_matches: Vec<HeaderRule>,
}

impl HttpRule {
    /// Whether it does more than say yes or no.
    pub(crate) fn acts(&self) -> bool {
        let mut matches = self.header_matches.iter();
        matches.any(|rule| rule.mismatch != Mismatch::Fail)
    }
}

/// A header that must be there, with this value if one is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderRule {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) mismatch: Mismatch,
}

/// What is done with a request whose header is not as the rule wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Mismatch {
    /// The value is added as one more field of that name.
    Add,
    /// The header is removed.
    Delete,
    /// The rule does not match.
    #[default]
    Fail,
    /// The rule matches all the same, and the difference is told.
    Log,
    /// The header is set to the value.
    Replace,
}
