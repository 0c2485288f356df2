//! What was seen → the least that has to be allowed, as policy objects.
//!
//! In: who talked to whom, for what, how often ([`Seen`]). Out: one policy for each workload, and what
//! it leaves out ([`Suggestion`]). The result depends on the set of what was seen alone, not on its
//! order.
//!
//! Requests are told where they are served: in the ingress of the server where that is suggested too,
//! else in the egress of the client.

mod gather;
mod talk;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::rule::Direction;

use gather::Gathered;

/// Pods of a namespace that some labels tell from others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Namespace.
    pub namespace: String,
    /// Labels that say which pods; without any, all of the namespace.
    pub labels: BTreeMap<String, String>,
}

/// Who is at the other end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// Pods.
    Workload(Workload),
    /// `host`, `world` and the like, as policies spell them.
    Entity(String),
    /// Whoever has this name in DNS; without the last dot.
    Name(String),
    /// Outside, without a name.
    Address(IpAddr),
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Request {
    /// A name, without its last dot.
    Dns(String),
    /// An HTTP request.
    Http {
        /// Method.
        method: String,
        /// Path, without its query.
        path: Vec<PathPart>,
        /// Path for people.
        shown: String,
        /// Whether there was a query.
        has_query: bool,
    },
}

/// A part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathPart {
    /// Itself.
    Text(String),
    /// A regular expression for many.
    Pattern(String),
}

/// What became of something that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It passed.
    Passed,
    /// It was dropped: it is listed, never allowed.
    Dropped,
    /// It passed, but its path can be read in several ways: it is listed, never allowed.
    Ambiguous,
}

/// Something that was seen, from the view of one of its ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seen {
    /// Whose policy it is about.
    pub workload: Workload,
    /// From its view.
    pub direction: Direction,
    /// The other end.
    pub peer: Peer,
    /// IP protocol.
    pub protocol: u8,
    /// Port of the server; the type of an ICMP message.
    pub port: u16,
    /// `None` is a connection without requests that were read.
    pub request: Option<Request>,
    /// What became of it.
    pub standing: Standing,
    /// How often.
    pub count: u64,
}

/// Which objects are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `CiliumNetworkPolicy`
    Cilium,
    /// `NetworkPolicy`: no requests, no names, no entities but the world.
    Kubernetes,
}

/// What is suggested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    policies: Vec<Suggested>,
    /// For each [`Seen`], in the order given: whether it is allowed.
    pub is_allowed: Vec<bool>,
    form: Form,
}

/// The policy of one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Suggested {
    name: String,
    workload: Workload,
    /// `None` of a direction of which nothing was seen: it stays open.
    ingress: Option<Vec<Element>>,
    /// The same.
    egress: Option<Vec<Element>>,
    /// What is not allowed, under its heading.
    listed: BTreeMap<Heading, BTreeSet<String>>,
    /// Labels that the workload lacks, and others with its labels have.
    without: Selectors,
}

/// Labels that a workload's pods lack, and those of another that has all its labels do not.
type Selectors = BTreeMap<Workload, BTreeSet<String>>;

/// Why something is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Heading {
    Rare,
    Ambiguous,
    Dropped,
    Inexpressible,
    Open,
}

/// One element of `ingress` or `egress`: peers of one kind, and ports.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Element {
    peers: Vec<Peer>,
    /// Ports and ICMP types without rules about requests.
    plain: BTreeSet<(u8, u16)>,
    /// Ports whose requests are judged.
    judged: BTreeMap<(u8, u16), Rules>,
}

/// Rules about requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Rules {
    /// Names; none means every name.
    Dns(BTreeSet<String>),
    /// Methods and expressions.
    Http(BTreeSet<(String, String)>),
}

/// Suggests policies that allow what was seen at least `min_count` times.
pub fn suggest(seen: &[Seen], form: Form, min_count: u64) -> Suggestion {
    let gathered = Gathered::new(seen, form, min_count);
    let workloads: BTreeSet<&Workload> = seen.iter().flat_map(Seen::workloads).collect();
    let mut names = BTreeSet::new();
    let subjects: BTreeSet<&Workload> = seen.iter().map(|seen| &seen.workload).collect();
    let policies = subjects
        .into_iter()
        .map(|workload| {
            let mut policy = gathered.policy(workload);
            policy.name = free_name(workload, &mut names);
            policy.without = workloads
                .iter()
                .map(|of| ((*of).clone(), lacked(of, &workloads)))
                .filter(|(_, keys)| !keys.is_empty())
                .collect();
            policy
        })
        .collect();
    Suggestion {
        policies,
        is_allowed: seen.iter().map(|seen| gathered.allows(seen)).collect(),
        form,
    }
}

impl Seen {
    fn workloads(&self) -> impl Iterator<Item = &Workload> {
        let peer = match &self.peer {
            Peer::Workload(workload) => Some(workload),
            Peer::Address(_) | Peer::Entity(_) | Peer::Name(_) => None,
        };
        std::iter::once(&self.workload).chain(peer)
    }
}

impl Suggestion {
    /// Whether there is nothing to suggest.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// The objects, as YAML with what they leave out as comments.
    pub fn to_yaml(&self) -> String {
        write::yaml(&self.policies, self.form)
    }
}

/// Keys that a workload's pods lack while others, that have all its labels, have them.
fn lacked(workload: &Workload, all: &BTreeSet<&Workload>) -> BTreeSet<String> {
    let narrower = all.iter().filter(|other| {
        other.namespace == workload.namespace
            && other.labels.len() > workload.labels.len()
            && workload
                .labels
                .iter()
                .all(|(key, value)| other.labels.get(key) == Some(value))
    });
    narrower
        .flat_map(|other| other.labels.keys())
        .filter(|key| !workload.labels.contains_key(*key))
        .cloned()
        .collect()
}

/// Longest name of an object (RFC 1123 label, which every kind of object takes).
const NAME_BYTES_MAX: usize = 63;

/// A name made of the values of labels that no other object of the namespace has.
fn free_name(workload: &Workload, taken: &mut BTreeSet<(String, String)>) -> String {
    let values: BTreeSet<&str> = workload.labels.values().map(String::as_str).collect();
    let joined = values.into_iter().collect::<Vec<_>>().join("-");
    let fit = |c: char| {
        let lower = c.to_ascii_lowercase();
        if lower.is_ascii_alphanumeric() {
            lower
        } else {
            '-'
        }
    };
    let clean: String = joined.chars().take(NAME_BYTES_MAX - 5).map(fit).collect();
    let clean = clean.trim_matches('-');
    let clean = if clean.is_empty() { "all" } else { clean };
    let numbered = (2_u32..).map(|number| format!("{clean}-{number}"));
    let mut candidates = std::iter::once(clean.to_owned()).chain(numbered);
    let free = candidates.find(|name| taken.insert((workload.namespace.clone(), name.clone())));
    free.unwrap_or_default()
}
