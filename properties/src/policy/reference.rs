//! What policies say, read from their words each time anew: every object, every spec, every element,
//! every peer and every port is looked at. Slow, and without any step in which something could be
//! lost; written from the documents of Cilium and Kubernetes, and not from the engine.

use std::net::IpAddr;

use ipnet::IpNet;
use policy_l7::{AuditScope, Direction, Enforcement};

use super::matching::{glob, is_expression};
use super::words::{
    Block, Element, Http, KubernetesElement, KubernetesPeer, KubernetesSpec, Limits, Name, Object,
    Peers, Port, Rules, Selector, Spec, Specs,
};
use super::world::{End, Label, Pod, World};

const NAMESPACE: &str = "io.kubernetes.pod.namespace";
const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// A connection.
#[derive(Debug, Clone, Copy)]
pub struct Question<'w> {
    /// Whose policies are asked.
    pub subject: &'w Pod,
    /// Which way, from its view.
    pub direction: Direction,
    /// The other end.
    pub other: End<'w>,
    /// IP protocol.
    pub protocol: u8,
    /// Port of the server, or ICMP type.
    pub port: u16,
}

/// A request on a connection.
#[derive(Debug, Clone, Copy)]
pub enum Request<'r> {
    /// A DNS query for a name, in lower case and with its last dot.
    Dns(&'r str),
    /// An HTTP request.
    Http(&'r HttpWords),
}

/// An HTTP request.
#[derive(Debug, Clone, Default)]
pub struct HttpWords {
    /// Method.
    pub method: String,
    /// Every reading of its path.
    pub paths: Vec<String>,
    /// Authority.
    pub host: String,
    /// Header fields.
    pub fields: Vec<(String, String)>,
}

/// How policies are enforced.
#[derive(Debug, Clone, Default)]
pub struct Setting {
    /// For which endpoints.
    pub enforcement: Enforcement,
    /// Where policies only tell what they would do.
    pub audit: AuditScope,
}

/// The policies that are asked.
#[derive(Debug, Clone)]
pub struct Policies<'o> {
    objects: Vec<&'o Object>,
    /// Pods are closed whether or not a policy is for them.
    closes_always: bool,
}

impl<'o> Policies<'o> {
    /// What holds for a pod.
    pub fn in_force(objects: &'o [Object], setting: &Setting, subject: &Pod) -> Self {
        let is_audited = setting.audit.node
            || setting
                .audit
                .namespaces
                .iter()
                .any(|namespace| is_value(&subject.labels, NAMESPACE, namespace));
        let mut all = Self::audited(objects, setting);
        all.objects
            .retain(|object| !is_audited && !object.is_audited);
        all.closes_always &= !is_audited;
        all
    }

    /// What would hold if nothing were only audited.
    pub fn audited(objects: &'o [Object], setting: &Setting) -> Self {
        match setting.enforcement {
            Enforcement::Never => Self {
                objects: Vec::new(),
                closes_always: false,
            },
            of => Self {
                objects: objects.iter().collect(),
                closes_always: of == Enforcement::Always,
            },
        }
    }
}

/// Name of an object, and where in it.
pub type Place = (String, String);

/// What becomes of a connection or a request, and every rule that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It passes: by any of these, or because nothing closes this side.
    Pass(Vec<Place>),
    /// It is refused: by any of these, or because no rule allows it.
    Refuse(Vec<Place>),
    /// Its requests are judged, by these.
    Judge(Vec<Place>),
}

/// A rule that is about a connection.
#[derive(Debug)]
struct Said<'o> {
    place: Place,
    is_deny: bool,
    rules: &'o Rules,
    /// It is of a spec that does not close this side: its rules only look.
    is_looking: bool,
}

impl Said<'_> {
    fn judges(&self) -> bool {
        match self.rules {
            Rules::Absent => false,
            Rules::Dns(rules) => !rules.is_empty(),
            Rules::Http(rules) => !rules.is_empty(),
        }
    }
}

/// What objects say of one connection.
#[derive(Debug, Default)]
struct Sayings<'o> {
    said: Vec<Said<'o>>,
    /// What nothing allows is refused.
    is_closed: bool,
}

/// What becomes of a connection.
pub fn connection(world: &World, policies: &Policies<'_>, question: &Question<'_>) -> Answer {
    let all = sayings(world, policies, question);
    let places = |which: &dyn Fn(&Said<'_>) -> bool| -> Vec<Place> {
        let said = all.said.iter().filter(|said| which(said));
        said.map(|said| said.place.clone()).collect()
    };
    let denying = places(&|said| said.is_deny);
    let judging = places(&|said| !said.is_deny && said.judges());
    let allowing = places(&|said| !said.is_deny && !said.judges());
    if !denying.is_empty() {
        Answer::Refuse(denying)
    } else if !judging.is_empty() {
        Answer::Judge(judging)
    } else if !allowing.is_empty() || !all.is_closed {
        Answer::Pass(allowing)
    } else {
        Answer::Refuse(Vec::new())
    }
}

/// What becomes of a request on a connection.
pub fn request(
    world: &World,
    policies: &Policies<'_>,
    question: &Question<'_>,
    request: Request<'_>,
) -> Answer {
    let all = sayings(world, policies, question);
    let denying: Vec<Place> = all
        .said
        .iter()
        .filter(|said| said.is_deny)
        .map(|said| said.place.clone())
        .collect();
    if !denying.is_empty() {
        return Answer::Refuse(denying);
    }
    let readings = match request {
        Request::Dns(name) => vec![allowing_name(&all, name)],
        Request::Http(words) => {
            let paths = words.paths.iter();
            paths.map(|path| allowing_http(&all, words, path)).collect()
        }
    };
    let is_open = all.said.is_empty() && !all.is_closed;
    if readings.is_empty() || (!is_open && readings.iter().any(Vec::is_empty)) {
        return Answer::Refuse(Vec::new());
    }
    // Any rule that allows the first reading may be named.
    Answer::Pass(readings.into_iter().next().unwrap_or_default())
}

/// For each spec: whether it is for the pod, and whether it closes this side.
fn sides(object: &Object, subject: &Pod, direction: Direction) -> Vec<(bool, bool)> {
    match &object.specs {
        Specs::Cilium(specs) => {
            let namespace = object.namespace.as_deref();
            let each = specs.iter().map(|spec| {
                let is_selected = is_subject(&spec.subject, namespace, subject);
                (is_selected, closes(spec, direction))
            });
            each.collect()
        }
        Specs::Kubernetes(spec) => {
            let is_selected = is_subject(&spec.subject, object.namespace.as_deref(), subject);
            vec![(is_selected, closes_kubernetes(spec, direction))]
        }
    }
}

fn is_subject(selector: &Selector, namespace: Option<&str>, subject: &Pod) -> bool {
    let is_in = |namespace| is_value(&subject.labels, NAMESPACE, namespace);
    selects(selector, &subject.labels) && namespace.is_none_or(is_in)
}

fn closes(spec: &Spec, direction: Direction) -> bool {
    let said = spec.default_deny.iter().find(|(of, _)| *of == direction);
    let has_elements = spec
        .lists
        .iter()
        .any(|list| list.direction == direction && !list.elements.is_empty());
    said.map_or(has_elements, |(_, closes)| *closes)
}

fn closes_kubernetes(spec: &KubernetesSpec, direction: Direction) -> bool {
    match spec.types.as_deref() {
        Some(types) if !types.is_empty() => types.contains(&direction),
        _ => {
            let mut egress = spec.lists.iter().filter(|(of, _)| *of == Direction::Egress);
            direction == Direction::Ingress || egress.any(|(_, elements)| !elements.is_empty())
        }
    }
}

fn sayings<'o>(world: &World, policies: &Policies<'o>, question: &Question<'_>) -> Sayings<'o> {
    let mut all = Sayings {
        said: Vec::new(),
        is_closed: policies.closes_always,
    };
    for object in policies.objects.iter().copied() {
        let sides = sides(object, question.subject, question.direction);
        all.is_closed |= sides
            .into_iter()
            .any(|(is_selected, closes)| is_selected && closes);
        match &object.specs {
            Specs::Cilium(specs) => {
                for (position, spec) in specs.iter().enumerate() {
                    let path = match specs.len() {
                        1 => "spec".to_owned(),
                        _ => format!("specs[{position}]"),
                    };
                    all.said
                        .extend(of_spec(world, object, spec, &path, question));
                }
            }
            Specs::Kubernetes(spec) => {
                all.said
                    .extend(of_kubernetes(world, object, spec, question));
            }
        }
    }
    all
}

fn of_spec<'o>(
    world: &World,
    object: &'o Object,
    spec: &'o Spec,
    path: &str,
    question: &Question<'_>,
) -> Vec<Said<'o>> {
    let namespace = object.namespace.as_deref();
    if !is_subject(&spec.subject, namespace, question.subject) {
        return Vec::new();
    }
    let is_looking = !closes(spec, question.direction);
    let mut said = Vec::new();
    for list in &spec.lists {
        if list.direction != question.direction {
            continue;
        }
        for (position, element) in list.elements.iter().enumerate() {
            let path = format!("{path}.{}[{position}]", list.name());
            for (path, rules) in limits(world, namespace, element, &path, question) {
                said.push(Said {
                    place: (object.name.clone(), path),
                    is_deny: list.is_deny,
                    rules,
                    is_looking,
                });
            }
        }
    }
    said
}

/// Where in an element something is about the connection.
fn limits<'o>(
    world: &World,
    namespace: Option<&str>,
    element: &'o Element,
    path: &str,
    question: &Question<'_>,
) -> Vec<(String, &'o Rules)> {
    let meant = |end| match &element.peers {
        None => true,
        Some(peers) => is_peer(peers, namespace, end),
    };
    if !meant(question.other) {
        return Vec::new();
    }
    match &element.limits {
        // `{}` says nothing.
        Limits::Absent if element.peers.is_none() => Vec::new(),
        Limits::Absent => vec![(path.to_owned(), &Rules::Absent)],
        Limits::Icmps(all) => {
            let each = all.iter().enumerate().filter(|(_, types)| {
                types.iter().any(|(is_v6, number)| {
                    let protocol = if *is_v6 { ICMPV6 } else { ICMP };
                    question.protocol == protocol && question.port == u16::from(*number)
                })
            });
            each.map(|(position, _)| (format!("{path}.icmps[{position}]"), &Rules::Absent))
                .collect()
        }
        Limits::Ports(all) => {
            let mut about = Vec::new();
            for (position, to_ports) in all.iter().enumerate() {
                let named = |name: &str| names(world, question, name);
                let is_dns = matches!(&to_ports.rules, Rules::Dns(rules) if !rules.is_empty());
                // DNS is not spoken over SCTP, so that a rule about it is not about SCTP.
                let is_about = !(is_dns && question.protocol == SCTP)
                    && to_ports
                        .ports
                        .iter()
                        .any(|port| is_port(port, &[TCP, UDP, SCTP], &named, question));
                if is_about {
                    about.push((format!("{path}.toPorts[{position}]"), &to_ports.rules));
                }
            }
            about
        }
    }
}

/// Whether a name stands for the port that is asked about: the names are those of the pods that are
/// reached.
fn names(world: &World, question: &Question<'_>, name: &str) -> bool {
    let wanted = name.to_ascii_lowercase();
    let has = |pod: &Pod| {
        let mut named = pod.named_ports.iter();
        named.any(|(have, port)| *have == wanted && *port == question.port)
    };
    match question.direction {
        Direction::Ingress => has(question.subject),
        Direction::Egress => world.pods.iter().any(|pod| pod.is_here && has(pod)),
    }
}

fn is_port(
    words: &Port,
    unnamed: &[u8],
    named: &dyn Fn(&str) -> bool,
    question: &Question<'_>,
) -> bool {
    let protocol = words.protocol.as_deref().map(str::to_ascii_uppercase);
    let is_protocol = match protocol.as_deref() {
        None => unnamed.contains(&question.protocol),
        Some("ANY") => [TCP, UDP, SCTP].contains(&question.protocol),
        Some("TCP") => question.protocol == TCP,
        Some("UDP") => question.protocol == UDP,
        Some("SCTP") => question.protocol == SCTP,
        Some(_) => false,
    };
    is_protocol
        && match words.port.as_deref() {
            None | Some("0") => true,
            Some(text) => match text.parse::<u16>() {
                Ok(first) => {
                    (first..=words.last.unwrap_or(first).max(first)).contains(&question.port)
                }
                Err(_) => named(text),
            },
        }
}

fn is_peer(peers: &Peers, namespace: Option<&str>, end: End<'_>) -> bool {
    match peers {
        Peers::Endpoints(selectors) => selectors
            .iter()
            .any(|selector| is_selected_peer(selector, namespace, end)),
        Peers::Entities(entities) => entities.iter().any(|entity| is_entity(entity, end)),
        Peers::Cidrs(prefixes) => prefixes.iter().any(|prefix| {
            is_in_block(
                &Block {
                    cidr: prefix.clone(),
                    except: Vec::new(),
                },
                end,
            )
        }),
        Peers::CidrSets(blocks) => blocks.iter().any(|block| is_in_block(block, end)),
        Peers::Fqdns(names) => match end {
            End::Outside(outside) => outside
                .names
                .iter()
                .any(|have| names.iter().any(|name| is_name(name, have))),
            End::Pod(_) | End::Reserved(_) => false,
        },
    }
}

fn is_selected_peer(selector: &Selector, namespace: Option<&str>, end: End<'_>) -> bool {
    let labels = end.labels();
    let keys = selector.labels.iter().map(|(key, _)| key);
    let keys: Vec<&String> = keys
        .chain(selector.expressions.iter().map(|(key, _, _)| key))
        .collect();
    let names_one = keys.iter().any(|key| {
        let (source, key) = split(key);
        source == "reserved" || key == NAMESPACE || key.starts_with(NAMESPACE_LABELS)
    });
    let is_within = match namespace {
        _ if names_one => true,
        Some(namespace) => is_value(&labels, NAMESPACE, namespace),
        // Those of a cluster-wide policy are pods.
        None => labels.iter().any(|label| label.key == NAMESPACE),
    };
    is_within && selects(selector, &labels)
}

fn is_entity(entity: &str, end: End<'_>) -> bool {
    let labels = end.labels();
    let has = |name: &str| {
        let mut labels = labels.iter();
        labels.any(|label| label.source == "reserved" && label.key == name)
    };
    match entity {
        "all" => true,
        "cluster" => match end {
            End::Pod(_) => true,
            End::Reserved(name) => name != "world",
            End::Outside(_) => false,
        },
        name => has(name),
    }
}

/// Pods and nodes are no addresses.
fn is_in_block(block: &Block, end: End<'_>) -> bool {
    let End::Outside(outside) = end else {
        return false;
    };
    let holds = |prefix: &str| holds_address(prefix, outside.address);
    holds(&block.cidr) && !block.except.iter().any(|except| holds(except))
}

fn holds_address(prefix: &str, address: IpAddr) -> bool {
    match (prefix.parse::<IpNet>(), prefix.parse::<IpAddr>()) {
        (Ok(prefix), _) => prefix.contains(&address),
        (_, Ok(bare)) => bare == address,
        (Err(_), Err(_)) => false,
    }
}

/// Source and key; without a source any of them is meant.
fn split(key: &str) -> (&str, &str) {
    key.split_once(':').unwrap_or(("any", key))
}

fn values<'l>(labels: &'l [Label], name: &str) -> Vec<&'l str> {
    let (source, key) = split(name);
    let of_key = labels
        .iter()
        .filter(|label| label.key == key && (source == "any" || label.source == source));
    of_key.map(|label| label.value.as_str()).collect()
}

fn is_value(labels: &[Label], name: &str, value: &str) -> bool {
    values(labels, name).contains(&value)
}

fn selects(selector: &Selector, labels: &[Label]) -> bool {
    let by_labels = selector
        .labels
        .iter()
        .all(|(key, value)| is_value(labels, key, value));
    let by_expressions = selector.expressions.iter().all(|(key, operator, wanted)| {
        let have = values(labels, key);
        let is_one = have
            .iter()
            .any(|value| wanted.iter().any(|want| want == value));
        match operator.as_str() {
            "In" => is_one,
            "NotIn" => !is_one,
            "Exists" => !have.is_empty(),
            _ => have.is_empty(),
        }
    });
    by_labels && by_expressions
}

fn of_kubernetes<'o>(
    world: &World,
    object: &'o Object,
    spec: &'o KubernetesSpec,
    question: &Question<'_>,
) -> Vec<Said<'o>> {
    let namespace = object.namespace.as_deref().unwrap_or("default");
    let is_about = closes_kubernetes(spec, question.direction)
        && is_subject(&spec.subject, Some(namespace), question.subject);
    if !is_about {
        return Vec::new();
    }
    let mut said = Vec::new();
    for (direction, elements) in &spec.lists {
        if *direction != question.direction {
            continue;
        }
        let name = match direction {
            Direction::Egress => "egress",
            Direction::Ingress => "ingress",
        };
        for (position, element) in elements.iter().enumerate() {
            if is_meant(world, element, namespace, question) {
                said.push(Said {
                    place: (object.name.clone(), format!("spec.{name}[{position}]")),
                    is_deny: false,
                    rules: &Rules::Absent,
                    is_looking: false,
                });
            }
        }
    }
    said
}

fn is_meant(
    world: &World,
    element: &KubernetesElement,
    namespace: &str,
    question: &Question<'_>,
) -> bool {
    let by_peer = match element.peers.as_deref() {
        None | Some([]) => true,
        Some(peers) => peers.iter().any(|peer| match peer {
            KubernetesPeer::Block(block) => is_in_block(block, question.other),
            KubernetesPeer::Pods { pods, namespaces } => is_pod(
                pods.as_ref(),
                namespaces.as_ref(),
                namespace,
                question.other,
            ),
        }),
    };
    let named = |name: &str| names(world, question, name);
    by_peer
        && match element.ports.as_deref() {
            None | Some([]) => true,
            Some(ports) => ports
                .iter()
                .any(|port| is_port(port, &[TCP], &named, question)),
        }
}

fn is_pod(pods: Option<&Selector>, namespaces: Option<&Selector>, own: &str, end: End<'_>) -> bool {
    let End::Pod(pod) = end else {
        return false;
    };
    let of_namespace: Vec<Label> = pod
        .labels
        .iter()
        .filter_map(|label| {
            let key = label.key.strip_prefix(NAMESPACE_LABELS)?;
            Some(Label::new(key, &label.value))
        })
        .collect();
    let is_there = match namespaces {
        Some(selector) => selects(selector, &of_namespace),
        None => is_value(&pod.labels, NAMESPACE, own),
    };
    is_there && pods.is_none_or(|selector| selects(selector, &pod.labels))
}

fn allowing_name(all: &Sayings<'_>, name: &str) -> Vec<Place> {
    let mut places = Vec::new();
    for said in &all.said {
        if !said.judges() || said.is_looking {
            places.push(said.place.clone());
        }
        if let Rules::Dns(rules) = said.rules {
            for (position, names) in rules.iter().enumerate() {
                if names.iter().any(|each| is_name(each, name)) {
                    let (object, path) = &said.place;
                    places.push((object.clone(), format!("{path}.rules.dns[{position}]")));
                }
            }
        }
    }
    places
}

fn is_name(words: &Name, name: &str) -> bool {
    let whole = |text: &str| {
        let text = text.to_ascii_lowercase();
        match text.strip_suffix('.') {
            Some(_) => text,
            None => format!("{text}."),
        }
    };
    match words {
        Name::Exact(exact) => whole(exact) == whole(name),
        Name::Pattern(pattern) if ["*", "**", "*.", "**."].contains(&pattern.as_str()) => true,
        Name::Pattern(pattern) => match pattern.strip_prefix("**.") {
            Some(rest) => {
                let (name, rest) = (whole(name), whole(rest));
                let cuts = name.match_indices('.');
                cuts.filter_map(|(at, _)| name.split_at_checked(at))
                    .any(|(first, tail)| {
                        let is_labels = first.split('.').all(|label| glob("*", label));
                        !first.is_empty()
                            && is_labels
                            && tail.strip_prefix('.').is_some_and(|tail| glob(&rest, tail))
                    })
            }
            None => glob(&whole(pattern), &whole(name)),
        },
    }
}

fn allowing_http(all: &Sayings<'_>, words: &HttpWords, path: &str) -> Vec<Place> {
    let mut places = Vec::new();
    for said in &all.said {
        if !said.judges() || said.is_looking {
            places.push(said.place.clone());
        }
        if let Rules::Http(rules) = said.rules {
            for (position, rule) in rules.iter().enumerate() {
                if is_request(rule, words, path) {
                    let (object, path) = &said.place;
                    places.push((object.clone(), format!("{path}.rules.http[{position}]")));
                }
            }
        }
    }
    places
}

fn is_request(rule: &Http, words: &HttpWords, path: &str) -> bool {
    let fits = |expression: &Option<String>, text: &str| match expression.as_deref() {
        None | Some("") => true,
        Some(expression) => is_expression(expression, text),
    };
    let has = |name: &str, value: Option<&str>| {
        let of_name = words
            .fields
            .iter()
            .filter(|(have, _)| have.eq_ignore_ascii_case(name));
        let lines: Vec<&str> = of_name.map(|(_, value)| value.as_str()).collect();
        match value {
            None => !lines.is_empty(),
            Some(value) => !lines.is_empty() && lines.join(",") == value,
        }
    };
    let by_headers = rule.headers.iter().all(|text| match text.split_once(' ') {
        Some((name, value)) => has(name.strip_suffix(':').unwrap_or(name), Some(value)),
        None => has(text.strip_suffix(':').unwrap_or(text), None),
    });
    let by_matches = rule
        .matches
        .iter()
        .all(|(name, value)| has(name, value.as_deref()));
    fits(&rule.method, &words.method)
        && fits(&rule.path, path)
        && fits(&rule.host, &words.host)
        && by_headers
        && by_matches
}
