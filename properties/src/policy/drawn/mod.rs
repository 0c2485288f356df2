//! Choices → worlds, policies and requests that readers take: the words are few, so that rules meet.

mod cilium;
mod kubernetes;
mod ports;
mod requests;
mod selectors;
mod surroundings;
mod world;

use policy_l7::{AuditScope, Direction, Enforcement};

use super::choices::Choices;
use super::reference::Setting;
use super::words::{Block, Object, Specs};
use cilium::spec;
use kubernetes::of_kubernetes;

pub use requests::{asked_name, http_request};
pub use world::world;

const NAMESPACES: [&str; 2] = ["red", "blue"];

const LABELS: [(&str, [&str; 2]); 3] = [
    ("app", ["web", "db"]),
    ("tier", ["front", "back"]),
    ("team", ["one", "two"]),
];

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

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
    /// Whether rules refer to nodes, services and groups of prefixes.
    pub has_surroundings: bool,
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
    has_surroundings: true,
};

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
