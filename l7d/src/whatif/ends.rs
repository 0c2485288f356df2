//! Who was seen at the ends of flows, each kind of end once.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use ahash::AHashMap;
use policy_l7::{Label, Labels};

use crate::identity::Table;
use crate::record::{IdentityNumber, canonical_ip};
use crate::replay::flowlog;

/// Label that carries a pod's namespace.
pub(super) const NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// The label that the API server gives every namespace, as pods carry it.
const NAMESPACE_NAME: &str = "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name";
/// Identities of this node only: prefixes and names, and other nodes (Cilium's numbering).
const PREFIXES: std::ops::Range<u32> = 1 << 24..1 << 25;
/// Most ends that are kept apart; beyond them nobody is known.
const ENDS_MAX: usize = 1 << 20;

/// Number of an end in its [`Ends`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndId(u32);

/// Who is at an end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// Only its identity's number is told, perhaps other flows tell its labels.
    Numbered(u32),
    /// An address outside the cluster, with the names it is told to have (lower case, last dot).
    Outside {
        /// The address, where it is told.
        address: Option<IpAddr>,
        /// Its names.
        names: BTreeSet<String>,
    },
    /// Pods with these labels.
    Pod(Labels),
    /// The host, other nodes, the API server…: labels of the source `reserved`.
    Reserved(Labels),
    /// The address of a service, before it is translated to who serves.
    Service,
    /// Nothing is told.
    Unknown,
}

/// An end.
#[derive(Debug, Clone)]
pub struct End {
    /// Who it is.
    pub who: Who,
    /// Name of the workload, where one is told; the first by name where several are.
    pub workload: Option<String>,
    /// Names of its pods, as `namespace/name`: some of them, where there are very many.
    pub pods: BTreeSet<String>,
}

/// Most pods of an end whose names are kept.
const PODS_MAX: usize = 1024;

impl End {
    fn note(&mut self, endpoint: &flowlog::Endpoint<'_>) {
        let workload = endpoint.workloads.first().map(|workload| &*workload.name);
        if let Some(workload) = workload
            && self.workload.as_deref().is_none_or(|have| workload < have)
        {
            self.workload = Some(workload.to_owned());
        }
        if !endpoint.pod_name.is_empty() && self.pods.len() < PODS_MAX {
            let name = format!("{}/{}", endpoint.namespace, endpoint.pod_name);
            self.pods.insert(name);
        }
    }
}

/// What is told of names and named ports besides the flows.
#[derive(Debug, Default)]
pub struct Told {
    /// Who is behind which address.
    pub table: Option<Table>,
    /// Labels of endpoints, and their named ports.
    pub named_ports: Vec<(Labels, Vec<(String, u16)>)>,
}

impl Told {
    /// Named ports of endpoints that have these labels, or some of them: flows tell of more labels
    /// than pods have. `None` where no such endpoint is known.
    pub(super) fn ports_of(&self, labels: &Labels) -> Option<Vec<(String, u16)>> {
        let all: BTreeSet<Label> = labels.iter().collect();
        let has_all = |of: &Labels| of.iter().all(|label| all.contains(&label));
        let mut known = self
            .named_ports
            .iter()
            .filter(|(of, _)| has_all(of))
            .peekable();
        known.peek()?;
        Some(known.flat_map(|(_, ports)| ports.iter().cloned()).collect())
    }
}

/// Who was seen.
#[derive(Debug, Default)]
pub struct Ends {
    told: Told,
    all: Vec<End>,
    by_who: AHashMap<Who, EndId>,
    /// As flows write it, so that labels are read once.
    by_text: AHashMap<Box<[u8]>, EndId>,
    by_number: AHashMap<u32, EndId>,
    key: Vec<u8>,
}

impl Ends {
    /// Nobody was seen yet.
    pub fn new(told: Told) -> Self {
        Self {
            told,
            ..Self::default()
        }
    }

    /// What was told besides the flows.
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// The end with that number.
    pub fn end(&self, id: EndId) -> Option<&End> {
        self.all.get(usize::try_from(id.0).ok()?)
    }

    /// All ends.
    pub fn iter(&self) -> impl Iterator<Item = (EndId, &End)> {
        (0..).map(EndId).zip(&self.all)
    }

    /// Who it is, where only a number was told and other flows told more.
    pub fn who(&self, id: EndId) -> &Who {
        let who = self.end(id).map_or(&Who::Unknown, |end| &end.who);
        match who {
            Who::Numbered(number) => self
                .by_number
                .get(number)
                .and_then(|id| self.end(*id))
                .map_or(who, |end| &end.who),
            _ => who,
        }
    }

    /// The end that a flow tells of.
    pub(super) fn see(
        &mut self,
        endpoint: Option<&flowlog::Endpoint<'_>>,
        address: Option<IpAddr>,
        names: &[flowlog::Text<'_>],
        is_service: bool,
    ) -> EndId {
        let nothing = flowlog::Endpoint::default();
        let endpoint = endpoint.unwrap_or(&nothing);
        let is_outside = endpoint.labels.is_empty()
            || endpoint
                .labels
                .iter()
                .any(|label| label.0.starts_with("reserved:"));
        self.key.clear();
        for label in &endpoint.labels {
            self.key.extend_from_slice(label.0.as_bytes());
            self.key.push(0);
        }
        self.key.extend_from_slice(endpoint.namespace.as_bytes());
        self.key.push(u8::from(is_service));
        let workload = endpoint.workloads.first().map(|workload| &*workload.name);
        self.key
            .extend_from_slice(workload.unwrap_or_default().as_bytes());
        self.key.push(0);
        self.key.extend_from_slice(endpoint.pod_name.as_bytes());
        self.key.push(0);
        if is_outside {
            self.key.extend_from_slice(&endpoint.identity.to_le_bytes());
            match address {
                Some(IpAddr::V4(address)) => self.key.extend_from_slice(&address.octets()),
                Some(IpAddr::V6(address)) => self.key.extend_from_slice(&address.octets()),
                None => {}
            }
            for name in names {
                self.key.extend_from_slice(name.0.as_bytes());
                self.key.push(0);
            }
        }
        if let Some(known) = self.by_text.get(self.key.as_slice()) {
            return *known;
        }
        let who = self.find_out(endpoint, address, names, is_service);
        let id = self.insert(who, endpoint);
        if self.by_text.len() < ENDS_MAX {
            self.by_text.insert(Box::from(self.key.as_slice()), id);
        }
        if (256..PREFIXES.start).contains(&endpoint.identity) && !endpoint.labels.is_empty() {
            self.by_number.insert(endpoint.identity, id);
        }
        id
    }

    fn insert(&mut self, who: Who, endpoint: &flowlog::Endpoint<'_>) -> EndId {
        let who = if self.all.len() < ENDS_MAX {
            who
        } else {
            Who::Unknown
        };
        let next = EndId(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        let id = *self.by_who.entry(who.clone()).or_insert(next);
        if id == next {
            self.all.push(End {
                who,
                workload: None,
                pods: BTreeSet::new(),
            });
        }
        let at = usize::try_from(id.0).ok();
        if let Some(end) = at.and_then(|at| self.all.get_mut(at)) {
            end.note(endpoint);
        }
        id
    }

    fn find_out(
        &self,
        endpoint: &flowlog::Endpoint<'_>,
        address: Option<IpAddr>,
        names: &[flowlog::Text<'_>],
        is_service: bool,
    ) -> Who {
        let mut labels = Labels::default();
        for label in &endpoint.labels {
            if let Ok(label) = label.0.parse() {
                labels.insert(label);
            }
        }
        if endpoint.labels.is_empty() {
            return self.unlabelled(endpoint.identity, address, names, is_service);
        }
        let is_reserved = |name| labels.has("reserved", name);
        if is_reserved("unknown") {
            return self.unlabelled(0, address, names, is_service);
        }
        let is_outside = ["world", "world-ipv4", "world-ipv6"]
            .into_iter()
            .any(is_reserved);
        if is_outside && !is_reserved("kube-apiserver") {
            return self.unlabelled(IdentityNumber::WORLD.0, address, names, is_service);
        }
        if labels.iter().any(|label| label.source == "reserved") {
            let kept = labels.iter().filter(|label| label.source == "reserved");
            return Who::Reserved(kept.collect());
        }
        for key in [NAMESPACE, NAMESPACE_NAME] {
            if !endpoint.namespace.is_empty() && !labels.has("k8s", key) {
                labels.insert(Label {
                    source: "k8s".to_owned(),
                    key: key.to_owned(),
                    value: endpoint.namespace.to_string(),
                });
            }
        }
        Who::Pod(labels)
    }

    /// Who has no labels in the flow, or those of the world.
    fn unlabelled(
        &self,
        identity: u32,
        address: Option<IpAddr>,
        names: &[flowlog::Text<'_>],
        is_service: bool,
    ) -> Who {
        if is_service {
            return Who::Service;
        }
        if let Some(who) = self.told_of(address) {
            return who;
        }
        let is_outside = matches!(identity, 2 | 9 | 10) || PREFIXES.contains(&identity);
        if is_outside {
            return Who::Outside {
                address,
                names: names.iter().map(|name| canonical_name(&name.0)).collect(),
            };
        }
        let reserved = policy_l7::identity::reserved();
        match reserved
            .into_iter()
            .find(|reserved| reserved.number == identity)
        {
            Some(reserved) => Who::Reserved(reserved.labels),
            None if identity >= 256 => Who::Numbered(identity),
            None => Who::Unknown,
        }
    }

    /// What was told of the address besides the flows.
    fn told_of(&self, address: Option<IpAddr>) -> Option<Who> {
        let table = self.told.table.as_ref()?;
        let party = table.party(SocketAddr::new(address?, 0));
        if party.service.is_some() {
            return Some(Who::Service);
        }
        if party.identity == IdentityNumber::WORLD {
            return None;
        }
        let labels: Labels = party
            .labels()
            .iter()
            .filter_map(|label| label.parse().ok())
            .collect();
        let is_reserved = labels.iter().any(|label| label.source == "reserved");
        Some(if is_reserved {
            Who::Reserved(labels)
        } else {
            Who::Pod(labels)
        })
    }
}

/// In lower case, with its last dot.
pub(super) fn canonical_name(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}

/// The address that a flow writes.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(canonical_ip)
}

impl Ends {
    /// Name for people: namespace and workload, or the labels that say most; the name or address of
    /// who is outside.
    pub fn name(&self, id: EndId) -> String {
        let workload = self.end(id).and_then(|end| end.workload.as_deref());
        match self.who(id) {
            Who::Numbered(number) => format!("identity {number}"),
            Who::Outside { address, names } => match (names.first(), address) {
                (Some(name), _) => name.trim_end_matches('.').to_owned(),
                (None, Some(address)) => address.to_string(),
                (None, None) => "world".to_owned(),
            },
            Who::Pod(labels) => pod_name(labels, workload),
            Who::Reserved(labels) => {
                let names = labels.iter().map(|label| label.key);
                names.collect::<Vec<_>>().join("+")
            }
            Who::Service => "a service".to_owned(),
            Who::Unknown => "unknown".to_owned(),
        }
    }
}

/// The labels that people name workloads by, best first.
pub(super) const TELLING: [&str; 5] = ["app.kubernetes.io/name", "app", "k8s-app", "name", "run"];

fn pod_name(labels: &Labels, workload: Option<&str>) -> String {
    let value = |key: &str| {
        let found = labels
            .iter()
            .find(|label| label.source == "k8s" && label.key == key);
        found.map(|label| label.value)
    };
    let namespace = value(NAMESPACE).unwrap_or_else(|| "?".to_owned());
    let name = workload
        .map(str::to_owned)
        .or_else(|| TELLING.iter().find_map(|key| value(key)));
    if let Some(name) = name {
        return format!("{namespace}/{name}");
    }
    let own = labels.iter().filter(|label| !label.key.starts_with("io."));
    let all: Vec<String> = own
        .map(|label| format!("{}={}", label.key, label.value))
        .collect();
    if all.is_empty() {
        format!("{namespace}/*")
    } else {
        format!("{namespace}/{}", all.join(","))
    }
}
