//! Choices → worlds, policies and requests that readers take: the words are few, so that rules meet.

use policy_l7::{AuditScope, Direction, Enforcement};

use super::choices::Choices;
use super::reference::{HttpWords, Setting};
use super::words::{
    Block, Element, Http, KubernetesElement, KubernetesPeer, KubernetesSpec, Limits, List, Name,
    Object, Peers, Port, Rules, Selector, Spec, Specs, ToPorts,
};
use super::world::{Label, Outside, Pod, World};

const NAMESPACES: [&str; 2] = ["red", "blue"];
const LABELS: [(&str, [&str; 2]); 3] = [
    ("app", ["web", "db"]),
    ("tier", ["front", "back"]),
    ("team", ["one", "two"]),
];
const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];
const ENTITIES: [&str; 10] = [
    "all",
    "cluster",
    "world",
    "host",
    "remote-node",
    "kube-apiserver",
    "health",
    "ingress",
    "init",
    "none",
];
const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];
const EXPRESSIONS: [&str; 12] = [
    "/api/.*",
    "/api/v1",
    "/api/v1/users/[0-9]+",
    "/health|/ready",
    "/.*",
    ".*",
    "/a(pi)?/.*",
    "/api/.+",
    "(/api)?/v1",
    "/API/v1",
    "/api/v1\\?x=.",
    "/api/v[12]/.*",
];
const PATHS: [&str; 12] = [
    "/api/v1",
    "/api/",
    "/api/v1/users/7",
    "/health",
    "/healthz",
    "/",
    "/a/v1",
    "/API/v1",
    "/v1",
    "/api/v1?x=1",
    "/api/v2/",
    "",
];
const METHODS: [&str; 4] = ["GET", "POST", "get", "DELETE"];
const NAMES: [&str; 8] = [
    "example.com.",
    "api.example.com.",
    "a.api.example.com.",
    "example.org.",
    "api-1.example.org.",
    "com.",
    "wwwexample.com.",
    "_sip._tcp.example.com.",
];
const PATTERNS: [&str; 10] = [
    "*.example.com",
    "**.example.com",
    "*",
    "api.*",
    "*example.com",
    "api*.example.org",
    "*.*.example.com",
    "**.com",
    "Example.COM",
    "a*.ex*.com",
];

/// Blocks and ports that rules speak of.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary<'v> {
    /// Prefixes, each with parts of it.
    pub blocks: &'v [(&'v str, &'v [&'v str])],
    /// Ports that HTTP is spoken on.
    pub http_ports: &'v [u16],
    /// Ranges of ports.
    pub ranges: &'v [(u16, u16)],
    /// Whether rules of requests and names are drawn.
    pub has_requests: bool,
}

/// What properties are drawn from.
pub const WIDE: Vocabulary<'static> = Vocabulary {
    blocks: &[
        (
            "10.0.0.0/8",
            &["10.1.0.0/16", "10.1.2.0/24", "10.255.0.0/16"],
        ),
        ("10.1.0.0/16", &["10.1.2.0/24", "10.1.2.3/32"]),
        ("0.0.0.0/0", &["10.0.0.0/8", "10.1.2.0/24", "192.0.2.7/32"]),
        ("192.0.2.0/24", &["192.0.2.128/25", "192.0.2.7/32"]),
        ("10.1.2.3/32", &[]),
        ("2001:db8::/32", &["2001:db8:1::/48"]),
        ("::/0", &["2001:db8::/32"]),
    ],
    http_ports: &[80, 8080, 88],
    ranges: &[
        (80, 90),
        (1, 65535),
        (81, 8080),
        (8080, 8081),
        (1024, 65535),
    ],
    has_requests: true,
};

/// Pods of some labels, and addresses of some names.
pub fn world(choices: &mut Choices<'_>) -> World {
    let mut pods: Vec<Pod> = (0..5)
        .map(|number| Pod {
            name: format!("pod-{number}"),
            labels: labels_of_pod(choices),
            named_ports: ports_of_pod(choices),
            is_here: number < 3,
        })
        .collect();
    for pod in &mut pods {
        let team = match pod
            .labels
            .iter()
            .find(|label| label.key.ends_with("namespace"))
        {
            Some(namespace) if namespace.value == "red" => "one",
            _ => "two",
        };
        pod.labels
            .push(Label::new("io.cilium.k8s.namespace.labels.team", team));
    }
    let addresses = [
        "10.1.2.3",
        "10.1.9.9",
        "10.9.9.9",
        "192.0.2.7",
        "192.0.2.200",
        "203.0.113.1",
        "2001:db8::1",
        "2001:db8:1::1",
    ];
    let outside = addresses.iter().filter_map(|address| {
        let names = choices.some(0, 2, |choices| choices.text(&NAMES));
        let address = address.parse().ok()?;
        Some(Outside { address, names })
    });
    World {
        pods,
        outside: outside.collect(),
    }
}

fn labels_of_pod(choices: &mut Choices<'_>) -> Vec<Label> {
    let namespace = choices.text(&NAMESPACES);
    let mut labels = vec![Label::new("io.kubernetes.pod.namespace", &namespace)];
    for (key, values) in LABELS.iter().take(2) {
        if !choices.is(3) {
            labels.push(Label::new(key, &choices.text(values)));
        }
    }
    labels
}

fn ports_of_pod(choices: &mut Choices<'_>) -> Vec<(String, u16)> {
    match choices.below(3) {
        0 => Vec::new(),
        1 => vec![("http".to_owned(), 80)],
        _ => vec![("http".to_owned(), 8080), ("metrics".to_owned(), 9090)],
    }
}

/// How policies are enforced: mostly as they are by themselves.
pub fn setting(choices: &mut Choices<'_>) -> Setting {
    let enforcement = match choices.below(8) {
        6 => Enforcement::Never,
        7 => Enforcement::Always,
        _ => Enforcement::Default,
    };
    let audit = AuditScope {
        node: choices.is(8),
        namespaces: choices
            .perhaps(4, |choices| choices.text(&NAMESPACES))
            .into_iter()
            .collect(),
    };
    Setting { enforcement, audit }
}

/// Some objects.
pub fn objects(choices: &mut Choices<'_>, vocabulary: &Vocabulary<'_>) -> Vec<Object> {
    let count = 1 + choices.below(3);
    let objects = (0..count).map(|number| object(choices, vocabulary, number));
    objects.collect()
}

fn object(choices: &mut Choices<'_>, vocabulary: &Vocabulary<'_>, number: usize) -> Object {
    let kind = choices.below(4);
    let namespace = (kind != 3).then(|| choices.text(&NAMESPACES));
    let specs = if kind == 2 {
        Specs::Kubernetes(of_kubernetes(choices, vocabulary))
    } else {
        let is_namespaced = namespace.is_some();
        let specs = choices.some(1, 2, |choices| spec(choices, vocabulary, is_namespaced));
        Specs::Cilium(specs)
    };
    Object {
        name: format!("policy-{number}"),
        namespace,
        is_audited: choices.is(4),
        specs,
    }
}

fn spec(choices: &mut Choices<'_>, vocabulary: &Vocabulary<'_>, is_namespaced: bool) -> Spec {
    // What a namespaced policy is for cannot be elsewhere.
    let subject = selector(choices, !is_namespaced);
    let mut lists = Vec::new();
    for direction in DIRECTIONS {
        for is_deny in [false, true] {
            if !choices.is(if is_deny { 3 } else { 2 }) {
                continue;
            }
            let elements = choices.some(1, 3, |choices| {
                element(choices, vocabulary, direction, is_deny)
            });
            lists.push(List {
                direction,
                is_deny,
                elements,
            });
        }
    }
    if lists.is_empty() {
        lists.push(List {
            direction: Direction::Ingress,
            is_deny: false,
            elements: vec![Element {
                peers: None,
                limits: Limits::Absent,
            }],
        });
    }
    let mut default_deny = Vec::new();
    for direction in DIRECTIONS {
        default_deny.extend(choices.perhaps(4, |choices| (direction, choices.is(2))));
    }
    Spec {
        subject,
        lists,
        default_deny,
    }
}

fn element(
    choices: &mut Choices<'_>,
    vocabulary: &Vocabulary<'_>,
    direction: Direction,
    is_deny: bool,
) -> Element {
    let peers = match choices.below(7) {
        0 => None,
        1 | 2 => Some(Peers::Endpoints(
            choices.some(0, 2, |choices| selector(choices, true)),
        )),
        3 => Some(Peers::Entities(
            choices.some(1, 2, |choices| choices.text(&ENTITIES)),
        )),
        4 => Some(Peers::Cidrs(
            choices.some(1, 2, |choices| block(choices, vocabulary).cidr),
        )),
        5 if direction == Direction::Egress && !is_deny && vocabulary.has_requests => {
            Some(Peers::Fqdns(choices.some(1, 2, name)))
        }
        _ => Some(Peers::CidrSets(
            choices.some(1, 2, |choices| block(choices, vocabulary)),
        )),
    };
    let limits = match choices.below(6) {
        0 => Limits::Absent,
        5 => Limits::Icmps(vec![choices.some(1, 2, |choices| {
            let types: [(bool, u8); 4] = [(false, 8), (true, 128), (false, 0), (false, 3)];
            choices.one(&types).copied().unwrap_or_default()
        })]),
        _ => Limits::Ports(choices.some(1, 2, |choices| {
            to_ports(choices, vocabulary, direction, is_deny)
        })),
    };
    Element { peers, limits }
}

fn to_ports(
    choices: &mut Choices<'_>,
    vocabulary: &Vocabulary<'_>,
    direction: Direction,
    is_deny: bool,
) -> ToPorts {
    let rules = match choices.below(4) {
        0 if !is_deny && vocabulary.has_requests => Rules::Http(choices.some(0, 3, http)),
        1 if !is_deny && direction == Direction::Egress && vocabulary.has_requests => {
            Rules::Dns(choices.some(0, 2, |choices| choices.some(0, 1, name)))
        }
        _ => Rules::Absent,
    };
    let ports = match &rules {
        Rules::Absent => choices.some(1, 2, |choices| port(choices, vocabulary, true)),
        Rules::Dns(_) => vec![Port {
            port: Some("53".to_owned()),
            last: None,
            protocol: [None, Some("UDP"), Some("TCP"), Some("ANY")]
                .get(choices.below(4))
                .copied()
                .flatten()
                .map(str::to_owned),
        }],
        Rules::Http(_) => choices.some(1, 2, |choices| {
            let last = choices.perhaps(3, |_| 90);
            Port {
                port: Some(match last {
                    Some(_) => "80".to_owned(),
                    None => port_number(choices, vocabulary),
                }),
                last,
                protocol: Some("TCP".to_owned()),
            }
        }),
    };
    ToPorts { ports, rules }
}

fn port_number(choices: &mut Choices<'_>, vocabulary: &Vocabulary<'_>) -> String {
    let port = choices.one(vocabulary.http_ports).copied();
    port.unwrap_or(80).to_string()
}

fn port(choices: &mut Choices<'_>, vocabulary: &Vocabulary<'_>, is_cilium: bool) -> Port {
    let protocols: &[Option<&str>] = if is_cilium {
        &[
            Some("TCP"),
            None,
            Some("UDP"),
            Some("SCTP"),
            Some("ANY"),
            Some("udp"),
        ]
    } else {
        &[Some("TCP"), None, Some("UDP"), Some("SCTP")]
    };
    let protocol = choices.one(protocols).copied().flatten();
    let mut last = None;
    let port = match choices.below(6) {
        0 => Some("http".to_owned()),
        1 if is_cilium => Some("0".to_owned()),
        1 => None,
        2 | 3 => {
            let (first, end) = choices.one(vocabulary.ranges).copied().unwrap_or((80, 90));
            last = Some(end);
            Some(first.to_string())
        }
        _ => Some(port_number(choices, vocabulary)),
    };
    Port {
        port,
        last,
        protocol: protocol.map(str::to_owned),
    }
}

fn http(choices: &mut Choices<'_>) -> Http {
    let methods = ["GET", "GET|POST", "P.*", "[A-Z]+"];
    Http {
        method: choices.perhaps(2, |choices| choices.text(&methods)),
        path: choices.perhaps(2, |choices| choices.text(&EXPRESSIONS)),
        host: choices.perhaps(6, |choices| choices.text(&["web", "web\\..*", ".*"])),
        headers: choices
            .perhaps(6, |choices| choices.text(&["X-A", "X-A: 1", "x-b 2"]))
            .into_iter()
            .collect(),
        matches: choices
            .perhaps(6, |choices| {
                let value = choices.perhaps(2, |choices| choices.text(&["1", "2"]));
                (choices.text(&["X-A", "x-b"]), value)
            })
            .into_iter()
            .collect(),
    }
}

fn name(choices: &mut Choices<'_>) -> Name {
    if choices.is(2) {
        Name::Pattern(choices.text(&PATTERNS))
    } else {
        Name::Exact(choices.text(&NAMES))
    }
}

fn block(choices: &mut Choices<'_>, vocabulary: &Vocabulary<'_>) -> Block {
    let (cidr, parts) = choices
        .one(vocabulary.blocks)
        .copied()
        .unwrap_or(("192.0.2.0/24", &[]));
    let except = match parts {
        [] => Vec::new(),
        parts => choices.some(0, 2, |choices| choices.text(parts)),
    };
    Block {
        cidr: cidr.to_owned(),
        except,
    }
}

fn selector(choices: &mut Choices<'_>, names_namespaces: bool) -> Selector {
    let mut selector = Selector::default();
    let sources = ["", "k8s:", "any:"];
    for (key, values) in LABELS.iter().take(2) {
        if choices.is(3) {
            let source = choices.text(&sources);
            selector
                .labels
                .push((format!("{source}{key}"), choices.text(values)));
        }
    }
    if choices.is(3) {
        selector.expressions.push(expression(choices, ""));
    }
    if names_namespaces && choices.is(3) {
        match choices.below(4) {
            0 => selector.labels.push((
                "k8s:io.kubernetes.pod.namespace".to_owned(),
                choices.text(&NAMESPACES),
            )),
            1 => selector.expressions.push((
                "io.kubernetes.pod.namespace".to_owned(),
                choices.text(&["Exists", "DoesNotExist"]),
                Vec::new(),
            )),
            2 => selector.labels.push((
                "k8s:io.cilium.k8s.namespace.labels.team".to_owned(),
                choices.text(&["one", "two"]),
            )),
            _ => selector
                .labels
                .push(("reserved:host".to_owned(), String::new())),
        }
    }
    selector
}

fn expression(choices: &mut Choices<'_>, source: &str) -> (String, String, Vec<String>) {
    let (key, values) = choices
        .one(&LABELS)
        .copied()
        .unwrap_or(("app", ["web", "db"]));
    let operator = choices.text(&OPERATORS);
    let values = match operator.as_str() {
        "In" | "NotIn" => choices.some(1, 2, |choices| choices.text(&values)),
        _ => Vec::new(),
    };
    (format!("{source}{key}"), operator, values)
}

fn of_kubernetes(choices: &mut Choices<'_>, vocabulary: &Vocabulary<'_>) -> KubernetesSpec {
    let types = match choices.below(5) {
        0 => Some(vec![Direction::Ingress]),
        1 => Some(vec![Direction::Egress]),
        2 => Some(DIRECTIONS.to_vec()),
        3 => Some(Vec::new()),
        _ => None,
    };
    let mut lists = Vec::new();
    for direction in DIRECTIONS {
        if !choices.is(3) {
            let elements = choices.some(0, 2, |choices| KubernetesElement {
                peers: choices.perhaps(2, |choices| {
                    choices.some(0, 2, |choices| peer(choices, vocabulary))
                }),
                ports: choices.perhaps(2, |choices| {
                    choices.some(0, 2, |choices| port(choices, vocabulary, false))
                }),
            });
            lists.push((direction, elements));
        }
    }
    KubernetesSpec {
        subject: plain(choices, &LABELS),
        types,
        lists,
    }
}

fn peer(choices: &mut Choices<'_>, vocabulary: &Vocabulary<'_>) -> KubernetesPeer {
    let teams = [("team", ["one", "two"])];
    let (pods, namespaces) = match choices.below(4) {
        0 => (Some(plain(choices, &LABELS)), None),
        1 => (None, Some(plain(choices, &teams))),
        2 => (Some(plain(choices, &LABELS)), Some(plain(choices, &teams))),
        _ => return KubernetesPeer::Block(block(choices, vocabulary)),
    };
    KubernetesPeer::Pods { pods, namespaces }
}

/// A selector without sources.
fn plain(choices: &mut Choices<'_>, keys: &[(&str, [&str; 2])]) -> Selector {
    let mut selector = Selector::default();
    let Some((key, values)) = choices.one(keys) else {
        return selector;
    };
    match choices.below(4) {
        0 => {}
        1 => {
            let value = choices.text(values);
            selector.labels.push(((*key).to_owned(), value));
        }
        2 => {
            let operator = choices.text(&["NotIn", "In"]);
            let values = vec![choices.text(values)];
            selector
                .expressions
                .push(((*key).to_owned(), operator, values));
        }
        _ => {
            let operator = choices.text(&["DoesNotExist", "Exists"]);
            selector
                .expressions
                .push(((*key).to_owned(), operator, Vec::new()));
        }
    }
    selector
}

/// An HTTP request.
pub fn http_request(choices: &mut Choices<'_>) -> HttpWords {
    HttpWords {
        method: choices.text(&METHODS),
        paths: choices.some(1, 2, |choices| choices.text(&PATHS)),
        host: choices.text(&["web", "web.shop", "WEB", "web:80", ""]),
        fields: choices.some(0, 2, |choices| {
            let name = choices.text(&["X-A", "x-a", "X-B"]);
            (name, choices.text(&["1", "2", ""]))
        }),
    }
}

/// A name that is asked for.
pub fn asked_name(choices: &mut Choices<'_>) -> String {
    choices.text(&NAMES)
}
