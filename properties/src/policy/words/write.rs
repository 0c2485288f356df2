//! Words → YAML.

use std::fmt::Write as _;

use policy_l7::Direction;

use super::{
    Block, CidrSet, Element, Http, KubernetesElement, KubernetesPeer, KubernetesSpec, Limits, Name,
    Object, Peers, Port, Rules, Selector, ServicePeer, Source, Spec, Specs, ToPorts, Which,
};

/// All objects as one YAML text.
pub fn yaml(objects: &[Object]) -> String {
    let texts = objects.iter().map(Object::yaml);
    texts.collect::<Vec<_>>().join("---\n")
}

impl Object {
    fn yaml(&self) -> String {
        let (version, kind) = match (&self.specs, &self.namespace) {
            (Specs::Kubernetes(_), _) => ("networking.k8s.io/v1", "NetworkPolicy"),
            (Specs::Cilium(_), Some(_)) => ("cilium.io/v2", "CiliumNetworkPolicy"),
            (Specs::Cilium(_), None) => ("cilium.io/v2", "CiliumClusterwideNetworkPolicy"),
        };
        let mut metadata = vec![field("name", quoted(&self.name))];
        let namespace = self.namespace.iter();
        metadata.extend(namespace.map(|namespace| field("namespace", quoted(namespace))));
        if self.is_audited {
            let mode = field("policy.l7d.io/mode", quoted("audit"));
            metadata.push(field("annotations", map([mode])));
        }
        let mut text = format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata: {}\n",
            map(metadata)
        );
        let body = match &self.specs {
            Specs::Kubernetes(spec) => field("spec", spec.yaml()),
            Specs::Cilium(specs) => match specs.as_slice() {
                [spec] => field("spec", spec.yaml()),
                specs => field("specs", list(specs.iter().map(Spec::yaml))),
            },
        };
        text.push_str(&body);
        text.push('\n');
        text
    }
}

impl Spec {
    fn yaml(&self) -> String {
        let mut fields = vec![field("endpointSelector", self.subject.yaml())];
        for each in &self.lists {
            let elements = each
                .elements
                .iter()
                .map(|element| element.yaml(each.direction));
            fields.push(field(each.name(), list(elements)));
        }
        if !self.default_deny.is_empty() {
            let said = self.default_deny.iter();
            let said = said.map(|(direction, closes)| field(side(*direction), closes.to_string()));
            fields.push(field("enableDefaultDeny", map(said)));
        }
        map(fields)
    }
}

fn side(direction: Direction) -> &'static str {
    match direction {
        Direction::Egress => "egress",
        Direction::Ingress => "ingress",
    }
}

impl Element {
    fn yaml(&self, direction: Direction) -> String {
        let mut fields = Vec::new();
        if let Some(peers) = &self.peers {
            let from_or_to = match direction {
                Direction::Egress => "to",
                Direction::Ingress => "from",
            };
            let (kind, peers) = peers.yaml();
            fields.push(field(&format!("{from_or_to}{kind}"), peers));
        }
        match &self.limits {
            Limits::Absent => {}
            Limits::Icmps(all) => {
                fields.push(field("icmps", list(all.iter().map(|types| icmps(types)))));
            }
            Limits::Ports(all) => {
                fields.push(field("toPorts", list(all.iter().map(ToPorts::yaml))));
            }
        }
        map(fields)
    }
}

fn icmps(types: &[(bool, u8)]) -> String {
    let types = types.iter().map(|(is_v6, number)| {
        let family = quoted(if *is_v6 { "IPv6" } else { "IPv4" });
        map([field("family", family), field("type", number.to_string())])
    });
    map([field("fields", list(types))])
}

impl Peers {
    fn yaml(&self) -> (&'static str, String) {
        match self {
            Self::Endpoints(all) => ("Endpoints", list(all.iter().map(Selector::yaml))),
            Self::Entities(all) => ("Entities", quoted_list(all)),
            Self::Cidrs(all) => ("CIDR", quoted_list(all)),
            Self::CidrSets(all) => ("CIDRSet", list(all.iter().map(CidrSet::yaml))),
            Self::Fqdns(all) => ("FQDNs", list(all.iter().map(|name| map([name.yaml()])))),
            Self::Nodes(all) => ("Nodes", list(all.iter().map(Selector::yaml))),
            Self::Services(all) => ("Services", list(all.iter().map(ServicePeer::yaml))),
        }
    }
}

impl Block {
    fn yaml(&self) -> String {
        map([
            field("cidr", quoted(&self.cidr)),
            field("except", quoted_list(&self.except)),
        ])
    }
}

impl CidrSet {
    fn yaml(&self) -> String {
        let of = match &self.of {
            Source::Prefix(cidr) => field("cidr", quoted(cidr)),
            Source::Group(name) => field("cidrGroupRef", quoted(name)),
            Source::Groups(selector) => field("cidrGroupSelector", selector.yaml()),
        };
        map([of, field("except", quoted_list(&self.except))])
    }
}

impl ServicePeer {
    fn yaml(&self) -> String {
        let (kind, which) = match &self.which {
            Which::Named(name) => ("k8sService", field("serviceName", quoted(name))),
            Which::Labelled(labels) => ("k8sServiceSelector", field("selector", labels.yaml())),
        };
        let namespace = self.namespace.iter();
        let namespace = namespace.map(|namespace| field("namespace", quoted(namespace)));
        map([field(kind, map(namespace.chain([which])))])
    }
}

impl Name {
    fn yaml(&self) -> String {
        match self {
            Self::Exact(name) => field("matchName", quoted(name)),
            Self::Pattern(pattern) => field("matchPattern", quoted(pattern)),
        }
    }
}

impl ToPorts {
    fn yaml(&self) -> String {
        let mut fields = vec![field("ports", list(self.ports.iter().map(Port::yaml)))];
        fields.extend(match &self.rules {
            Rules::Absent => None,
            Rules::Dns(rules) => {
                let rules = rules.iter().map(|names| map(names.iter().map(Name::yaml)));
                Some(field("rules", map([field("dns", list(rules))])))
            }
            Rules::Http(rules) => {
                let rules = list(rules.iter().map(Http::yaml));
                Some(field("rules", map([field("http", rules)])))
            }
            Rules::ServerNames(names) => Some(field("serverNames", quoted_list(names))),
        });
        map(fields)
    }
}

impl Port {
    fn yaml(&self) -> String {
        let port = self.port.iter().map(|port| field("port", quoted(port)));
        let last = self
            .last
            .iter()
            .map(|last| field("endPort", last.to_string()));
        let protocol = self.protocol.iter();
        let protocol = protocol.map(|protocol| field("protocol", quoted(protocol)));
        map(port.chain(last).chain(protocol))
    }
}

impl Http {
    fn yaml(&self) -> String {
        let mut fields = Vec::new();
        for (name, expression) in [
            ("method", &self.method),
            ("path", &self.path),
            ("host", &self.host),
        ] {
            fields.extend(
                expression
                    .iter()
                    .map(|expression| field(name, quoted(expression))),
            );
        }
        if !self.headers.is_empty() {
            fields.push(field("headers", quoted_list(&self.headers)));
        }
        if !self.matches.is_empty() {
            let matches = self.matches.iter().map(|(name, value)| {
                let value = value.iter().map(|value| field("value", quoted(value)));
                map([field("name", quoted(name))].into_iter().chain(value))
            });
            fields.push(field("headerMatches", list(matches)));
        }
        map(fields)
    }
}

impl Selector {
    fn yaml(&self) -> String {
        let mut fields = Vec::new();
        if !self.labels.is_empty() {
            let labels = self.labels.iter();
            let labels = labels.map(|(key, value)| field(key, quoted(value)));
            fields.push(field("matchLabels", map(labels)));
        }
        if !self.expressions.is_empty() {
            let each = self.expressions.iter().map(|(key, operator, values)| {
                let mut fields = vec![
                    field("key", quoted(key)),
                    field("operator", operator.clone()),
                ];
                if !values.is_empty() {
                    fields.push(field("values", quoted_list(values)));
                }
                map(fields)
            });
            fields.push(field("matchExpressions", list(each)));
        }
        map(fields)
    }
}

impl KubernetesSpec {
    fn yaml(&self) -> String {
        let mut fields = vec![field("podSelector", self.subject.yaml())];
        if let Some(types) = &self.types {
            let types = types.iter().map(|direction| match direction {
                Direction::Egress => "Egress".to_owned(),
                Direction::Ingress => "Ingress".to_owned(),
            });
            fields.push(field("policyTypes", list(types)));
        }
        for (direction, elements) in &self.lists {
            let elements = elements.iter().map(|element| element.yaml(*direction));
            fields.push(field(side(*direction), list(elements)));
        }
        map(fields)
    }
}

impl KubernetesElement {
    fn yaml(&self, direction: Direction) -> String {
        let from_or_to = match direction {
            Direction::Egress => "to",
            Direction::Ingress => "from",
        };
        let peers = self.peers.iter().map(|peers| {
            let peers = peers.iter().map(KubernetesPeer::yaml);
            field(from_or_to, list(peers))
        });
        let ports = self.ports.iter();
        let ports = ports.map(|ports| field("ports", list(ports.iter().map(Port::yaml))));
        map(peers.chain(ports))
    }
}

impl KubernetesPeer {
    fn yaml(&self) -> String {
        match self {
            Self::Block(block) => map([field("ipBlock", block.yaml())]),
            Self::Pods { pods, namespaces } => {
                let pods = pods.iter().map(|pods| field("podSelector", pods.yaml()));
                let namespaces = namespaces.iter();
                let namespaces =
                    namespaces.map(|selector| field("namespaceSelector", selector.yaml()));
                map(pods.chain(namespaces))
            }
        }
    }
}

fn field(name: &str, value: impl AsRef<str>) -> String {
    format!("{}: {}", quoted(name), value.as_ref())
}

fn map(fields: impl IntoIterator<Item = String>) -> String {
    let fields: Vec<String> = fields.into_iter().collect();
    format!("{{{}}}", fields.join(", "))
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(", "))
}

fn quoted_list(items: &[String]) -> String {
    list(items.iter().map(|item| quoted(item)))
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(letter);
            }
            ' '..='~' => quoted.push(letter),
            other => write!(quoted, "\\U{:08X}", u32::from(other)).unwrap_or_default(),
        }
    }
    quoted.push('"');
    quoted
}
