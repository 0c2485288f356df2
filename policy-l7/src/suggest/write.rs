//! Policy objects as YAML, always in the same form: two blanks, sorted, quotes only where they are
//! needed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Element, Form, Heading, Peer, Rules, Suggested, Workload};

const NAMESPACE: &str = "k8s:io.kubernetes.pod.namespace";
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Lines with their depth.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn put(&mut self, depth: usize, text: &str) {
        for _ in 0..depth {
            self.0.push_str("  ");
        }
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn comment(&mut self, text: &str) {
        // What was seen may hold anything: a comment ends with its line.
        let clean: String = text
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .collect();
        self.put(0, format!("# {clean}").trim_end());
    }
}

pub(super) fn yaml(policies: &[Suggested], form: Form) -> String {
    let mut lines = Lines::default();
    for (position, policy) in policies.iter().enumerate() {
        if position > 0 {
            lines.put(0, "---");
        }
        listed(&mut lines, policy);
        object(&mut lines, policy, form);
    }
    lines.0
}

/// What is not allowed stands above the object.
fn listed(lines: &mut Lines, policy: &Suggested) {
    for (heading, entries) in &policy.listed {
        let title = match heading {
            Heading::Rare => "Seen too seldom, not allowed:",
            Heading::Ambiguous => "Can be read in several ways, not allowed:",
            Heading::Dropped => "Dropped when it was recorded, not allowed:",
            Heading::Inexpressible => "Not allowed, since this kind of object cannot say it:",
            Heading::Open => "No flow of this direction was looked at; it stays as it is:",
        };
        let of = &policy.workload.namespace;
        lines.comment(&format!("{of}/{}: {title}", policy.name));
        for entry in entries {
            lines.comment(&format!("  {entry}"));
        }
    }
}

fn object(lines: &mut Lines, policy: &Suggested, form: Form) {
    let (version, kind, selector) = match form {
        Form::Cilium => ("cilium.io/v2", "CiliumNetworkPolicy", "endpointSelector"),
        Form::Kubernetes => ("networking.k8s.io/v1", "NetworkPolicy", "podSelector"),
    };
    lines.put(0, &format!("apiVersion: {version}"));
    lines.put(0, &format!("kind: {kind}"));
    lines.put(0, "metadata:");
    lines.put(1, &format!("name: {}", scalar(&policy.name)));
    lines.put(
        1,
        &format!("namespace: {}", scalar(&policy.workload.namespace)),
    );
    lines.put(0, "spec:");
    let own = Selector::of(policy, &policy.workload, None);
    own.write(lines, 1, &format!("{selector}:"));
    if form == Form::Kubernetes {
        lines.put(1, "policyTypes:");
        for (name, elements) in [("Ingress", &policy.ingress), ("Egress", &policy.egress)] {
            if elements.is_some() {
                lines.put(1, &format!("- {name}"));
            }
        }
    }
    for (name, elements) in [("ingress", &policy.ingress), ("egress", &policy.egress)] {
        let Some(elements) = elements else { continue };
        if elements.is_empty() {
            // Closed, with nothing to allow.
            match form {
                Form::Cilium => lines.put(1, &format!("{name}: [{{}}]")),
                Form::Kubernetes => lines.put(1, &format!("{name}: []")),
            }
            continue;
        }
        lines.put(1, &format!("{name}:"));
        for element in elements {
            match form {
                Form::Cilium => cilium(lines, policy, element, name == "ingress"),
                Form::Kubernetes => kubernetes(lines, policy, element, name == "ingress"),
            }
        }
    }
}

/// Which pods.
struct Selector {
    labels: BTreeMap<String, String>,
    without: BTreeSet<String>,
}

impl Selector {
    /// As `policy` sees the workload; a namespace that is another is named by `namespace_key`.
    fn of(policy: &Suggested, workload: &Workload, namespace_key: Option<&str>) -> Self {
        let mut labels = workload.labels.clone();
        if let Some(key) = namespace_key
            && workload.namespace != policy.workload.namespace
        {
            labels.insert(key.to_owned(), workload.namespace.clone());
        }
        Self {
            labels,
            without: policy.without.get(workload).cloned().unwrap_or_default(),
        }
    }

    fn write(&self, lines: &mut Lines, depth: usize, head: &str) {
        if self.labels.is_empty() && self.without.is_empty() {
            lines.put(depth, &format!("{head} {{}}"));
            return;
        }
        lines.put(depth, head);
        self.write_body(lines, depth + 1, "");
    }

    /// The first line begins with `dash`.
    fn write_body(&self, lines: &mut Lines, depth: usize, dash: &str) {
        let mut dash = dash;
        let inner = if dash.is_empty() { depth } else { depth + 1 };
        let mut head = |lines: &mut Lines, text: &str| {
            let at = if dash.is_empty() { inner } else { depth };
            lines.put(at, &format!("{dash}{text}"));
            dash = "";
        };
        if self.labels.is_empty() && self.without.is_empty() {
            head(lines, "{}");
            return;
        }
        if !self.labels.is_empty() {
            head(lines, "matchLabels:");
            for (key, value) in &self.labels {
                lines.put(inner + 1, &format!("{}: {}", scalar(key), scalar(value)));
            }
        }
        if !self.without.is_empty() {
            head(lines, "matchExpressions:");
            for key in &self.without {
                lines.put(inner, &format!("- key: {}", scalar(key)));
                lines.put(inner + 1, "operator: DoesNotExist");
            }
        }
    }
}

fn cilium(lines: &mut Lines, policy: &Suggested, element: &Element, is_ingress: bool) {
    let prefix = if is_ingress { "from" } else { "to" };
    let kind = match element.peers.first() {
        Some(Peer::Workload(_)) => "Endpoints",
        Some(Peer::Entity(_)) => "Entities",
        Some(Peer::Name(_)) => "FQDNs",
        Some(Peer::Address(_)) | None => "CIDR",
    };
    lines.put(1, &format!("- {prefix}{kind}:"));
    for peer in &element.peers {
        match peer {
            Peer::Workload(workload) => {
                Selector::of(policy, workload, Some(NAMESPACE)).write_body(lines, 2, "- ");
            }
            Peer::Entity(entity) => lines.put(2, &format!("- {}", scalar(entity))),
            Peer::Name(name) => lines.put(2, &format!("- matchName: {}", scalar(name))),
            Peer::Address(address) => lines.put(2, &format!("- {}", scalar(&block(*address)))),
        }
    }
    let (icmp, plain): (Vec<_>, Vec<_>) = element
        .plain
        .iter()
        .copied()
        .partition(|(protocol, _)| matches!(protocol, 1 | 58));
    if !icmp.is_empty() {
        lines.put(2, "icmps:");
        lines.put(2, "- fields:");
        for (protocol, kind) in icmp {
            let family = if protocol == 1 { "IPv4" } else { "IPv6" };
            lines.put(3, &format!("- family: {family}"));
            lines.put(4, &format!("type: {kind}"));
        }
        return;
    }
    lines.put(2, "toPorts:");
    if !plain.is_empty() {
        lines.put(2, "- ports:");
        for port in plain {
            port_entry(lines, 3, port);
        }
    }
    for (port, rules) in &element.judged {
        lines.put(2, "- ports:");
        port_entry(lines, 3, *port);
        write_rules(lines, rules);
    }
}

fn port_entry(lines: &mut Lines, depth: usize, (protocol, port): (u8, u16)) {
    let protocol = match protocol {
        6 => "TCP",
        17 => "UDP",
        _ => "SCTP",
    };
    lines.put(depth, &format!("- port: \"{port}\""));
    lines.put(depth + 1, &format!("protocol: {protocol}"));
}

fn write_rules(lines: &mut Lines, rules: &Rules) {
    lines.put(3, "rules:");
    match rules {
        Rules::Dns(names) => {
            lines.put(4, "dns:");
            if names.is_empty() {
                lines.put(4, "- matchPattern: \"*\"");
            }
            for name in names {
                lines.put(4, &format!("- matchName: {}", scalar(name)));
            }
        }
        Rules::Http(requests) => {
            lines.put(4, "http:");
            for (method, path) in requests {
                lines.put(4, &format!("- method: {}", scalar(method)));
                lines.put(5, &format!("path: {}", scalar(path)));
            }
        }
    }
}

fn kubernetes(lines: &mut Lines, policy: &Suggested, element: &Element, is_ingress: bool) {
    lines.put(1, if is_ingress { "- from:" } else { "- to:" });
    for peer in &element.peers {
        match peer {
            Peer::Workload(workload) => {
                let pods = Selector::of(policy, workload, None);
                let is_elsewhere = workload.namespace != policy.workload.namespace;
                if is_elsewhere {
                    lines.put(2, "- namespaceSelector:");
                    lines.put(4, "matchLabels:");
                    lines.put(
                        5,
                        &format!("{NAMESPACE_NAME}: {}", scalar(&workload.namespace)),
                    );
                    pods.write(lines, 3, "podSelector:");
                } else if pods.labels.is_empty() && pods.without.is_empty() {
                    lines.put(2, "- podSelector: {}");
                } else {
                    lines.put(2, "- podSelector:");
                    pods.write_body(lines, 4, "");
                }
            }
            Peer::Address(address) => {
                lines.put(2, "- ipBlock:");
                lines.put(4, &format!("cidr: {}", scalar(&block(*address))));
            }
            // Only the world can be said.
            Peer::Entity(_) | Peer::Name(_) => {
                for all in ["0.0.0.0/0", "::/0"] {
                    lines.put(2, "- ipBlock:");
                    lines.put(4, &format!("cidr: {}", scalar(all)));
                }
            }
        }
    }
    lines.put(2, "ports:");
    for (protocol, port) in &element.plain {
        let name = match protocol {
            6 => "TCP",
            17 => "UDP",
            _ => "SCTP",
        };
        lines.put(2, &format!("- port: {port}"));
        lines.put(3, &format!("protocol: {name}"));
    }
}

fn block(address: IpAddr) -> String {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    format!("{address}/{bits}")
}

/// Text as a YAML scalar: plain where no reader can take it for something else, else in quotes.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "null", "y"];
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':'))
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && !text.eq_ignore_ascii_case("n");
    if is_plain {
        text.to_owned()
    } else if text.chars().any(char::is_control) {
        let escaped = text.chars().map(|c| match c {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        });
        format!("\"{}\"", escaped.collect::<String>())
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}
