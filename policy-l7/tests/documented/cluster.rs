//! Two ends written as texts, the policies between them, and whether something passes.
//!
//! An end is a namespace and labels, `shop app=web`; a word `ns/key=value` is a label of the
//! namespace, `port:http=8080` a named port, `reserved:health` a label of its own. `world 192.0.2.1`
//! is somebody outside, with the names that follow; `host` and the like are themselves.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use policy_l7::identity::{self, WORLD};
use policy_l7::{
    Compiled, ConnectionVerdict, Direction, Endpoint, Headers, HttpRequest, Identity, Inputs,
    Label, Labels, Subject, compile, read_objects,
};

/// What is between two ends.
pub(crate) struct Cluster {
    compiled: Arc<Compiled>,
    from: End,
    to: End,
}

struct End {
    identity: u32,
    /// Number of its endpoint, where it is a pod.
    endpoint: Option<Endpoint>,
}

struct Outside {
    address: IpAddr,
    names: Vec<String>,
}

enum Text {
    Outside(Outside),
    Pod(Endpoint),
    Reserved(u32),
}

impl Cluster {
    pub(crate) fn new(policies: &str, from: &str, to: &str) -> Self {
        let objects = read_objects("policy.yaml", policies).unwrap_or_else(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            panic!("{}\n{policies}", errors.join("\n"))
        });
        let texts = [read(from, 16), read(to, 17)];
        let endpoints: Vec<Endpoint> = texts
            .iter()
            .filter_map(|text| match text {
                Text::Pod(endpoint) => Some(endpoint.clone()),
                Text::Outside(_) | Text::Reserved(_) => None,
            })
            .collect();
        let pods = endpoints.iter().map(|endpoint| Identity {
            number: endpoint.identity,
            labels: endpoint.labels.clone(),
        });
        let identities: Vec<Identity> = identity::reserved().into_iter().chain(pods).collect();
        let build = |named: &BTreeSet<policy_l7::Named>| {
            compile(&Inputs {
                policies: &objects.policies,
                identities: &identities,
                endpoints: &endpoints,
                named,
                revision: 1,
                ..Inputs::default()
            })
        };
        let before = build(&BTreeSet::new());
        let named = texts.iter().filter_map(|text| match text {
            Text::Outside(outside) => before.named(outside.address, outside.names.iter()),
            Text::Pod(_) | Text::Reserved(_) => None,
        });
        let compiled = Arc::new(build(&named.collect()));
        let [from, to] = texts.map(|text| End::of(text, &compiled));
        Self { compiled, from, to }
    }

    /// `80`, `udp 53`, `icmp 8`; then a request, `GET /path host Name:value`, or a name, `dns name`.
    pub(crate) fn passes(&self, what: &str) -> bool {
        let mut words: Vec<&str> = what.split_whitespace().collect();
        let protocols = [("tcp", 6), ("udp", 17), ("sctp", 132), ("icmp", 1)];
        let named = protocols
            .iter()
            .find(|(name, _)| words.first() == Some(name));
        if named.is_some() {
            words.remove(0);
        }
        let protocol = named.map_or(6, |(_, number)| *number);
        let port = words.remove(0).parse().expect("a port");
        let asked = Asked {
            protocol,
            port,
            words: &words,
        };
        self.side(&self.from, Direction::Egress, &self.to, &asked)
            && self.side(&self.to, Direction::Ingress, &self.from, &asked)
    }

    fn side(&self, own: &End, direction: Direction, other: &End, asked: &Asked<'_>) -> bool {
        let Some(endpoint) = &own.endpoint else {
            return true;
        };
        let subject = Subject {
            endpoint: endpoint.id,
            direction,
            remote: other.identity,
            protocol: asked.protocol,
            port: asked.port,
        };
        let verdict = self.compiled.judge_connection(
            subject.endpoint,
            direction,
            subject.remote,
            subject.protocol,
            subject.port,
        );
        match verdict {
            ConnectionVerdict::Allow { .. } => true,
            ConnectionVerdict::Deny { .. } => false,
            ConnectionVerdict::Redirect { .. } => {
                asked.words.is_empty() || self.request(&subject, asked.words)
            }
        }
    }

    fn request(&self, subject: &Subject, words: &[&str]) -> bool {
        if let ["dns", name] = words {
            return self.compiled.judge_dns(subject, name.as_bytes()).is_ok();
        }
        let [method, path, rest @ ..] = words else {
            panic!("{words:?} is no request");
        };
        let (host, fields) = rest.split_first().unwrap_or((&"server", &[]));
        let request = HttpRequest {
            method: method.as_bytes(),
            paths: &[path.as_bytes()],
            host: host.as_bytes(),
            headers: &Fields(fields),
        };
        self.compiled.judge_http(subject, &request).is_ok()
    }
}

struct Asked<'a> {
    protocol: u8,
    port: u16,
    words: &'a [&'a str],
}

struct Fields<'a>(&'a [&'a str]);

impl Headers for Fields<'_> {
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in self.0.iter().filter_map(|field| field.split_once(':')) {
            visit(name.as_bytes(), value.as_bytes());
        }
    }
}

impl End {
    fn of(text: Text, compiled: &Compiled) -> Self {
        match text {
            Text::Pod(endpoint) => Self {
                identity: endpoint.identity,
                endpoint: Some(endpoint),
            },
            Text::Reserved(identity) => Self {
                identity,
                endpoint: None,
            },
            Text::Outside(outside) => {
                let named = compiled.named(outside.address, outside.names.iter());
                let by_name = named.and_then(|named| compiled.identity_of(&named));
                let prefixes = compiled.prefixes().iter();
                let by_prefix = prefixes
                    .filter(|(prefix, _)| prefix.contains(&outside.address))
                    .max_by_key(|(prefix, _)| prefix.prefix_len())
                    .map(|(_, identity)| identity);
                Self {
                    identity: by_name.or(by_prefix).map_or(WORLD, |known| known.number),
                    endpoint: None,
                }
            }
        }
    }
}

fn read(text: &str, id: u16) -> Text {
    let mut words = text.split_whitespace();
    let first = words.next().expect("an end");
    let reserved = identity::reserved().into_iter().find(|known| {
        let mut labels = known.labels.iter();
        labels.any(|label| label.key == first)
    });
    if first == "world" {
        let address = words.next().unwrap_or("203.0.113.9");
        return Text::Outside(Outside {
            address: address.parse().expect("an address"),
            names: words.map(str::to_owned).collect(),
        });
    }
    if let Some(reserved) = reserved {
        return Text::Reserved(reserved.number);
    }
    let mut labels = Labels::default();
    let mut named_ports = Vec::new();
    let name = format!("io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name={first}");
    for label in [format!("io.kubernetes.pod.namespace={first}"), name] {
        labels.insert(label.parse().expect("a label"));
    }
    for word in words {
        if let Some(port) = word.strip_prefix("port:") {
            let (name, number) = port.split_once('=').expect("a named port");
            named_ports.push((name.to_owned(), number.parse().expect("a port")));
        } else if let Some(label) = word.strip_prefix("ns/") {
            let label = format!("io.cilium.k8s.namespace.labels.{label}");
            labels.insert(label.parse().expect("a label"));
        } else if word.starts_with("reserved:") {
            // Not a pod of any namespace.
            labels = [word.parse::<Label>().expect("a label")]
                .into_iter()
                .collect();
        } else {
            labels.insert(word.parse().expect("a label"));
        }
    }
    Text::Pod(Endpoint {
        id,
        identity: 300 + u32::from(id),
        labels,
        named_ports,
    })
}
