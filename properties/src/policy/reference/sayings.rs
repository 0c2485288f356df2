//! Everything that objects say of one connection.

use policy_l7::Direction;

use super::labels::{NAMESPACE, is_value, selects};
use super::peers::{is_in_block, is_peer, is_pod};
use super::ports::{ICMP, ICMPV6, SCTP, TCP, UDP, is_port, names};
use super::{Policies, Question, Said, Sayings};
use crate::policy::words::{
    Element, KubernetesElement, KubernetesPeer, KubernetesSpec, Limits, Object, Peers, Rules,
    Selector, Spec, Specs,
};
use crate::policy::world::{End, Pod, World};

pub(super) fn sayings<'o>(
    world: &World,
    policies: &Policies<'o>,
    question: &Question<'_>,
) -> Sayings<'o> {
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
    let meant = |end: End<'_>| match &element.peers {
        None => true,
        Some(peers) => is_peer(world, peers, namespace, end),
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
            let of_services = matches!(element.peers, Some(Peers::Services(_)));
            // An address behind a service calls no port anything.
            let calls_ports = !(of_services && matches!(question.other, End::Outside(_)));
            let mut about = Vec::new();
            for (position, to_ports) in all.iter().enumerate() {
                let reached = |pod: &Pod| calls_ports && meant(End::Pod(pod));
                let named = |name: &str| names(world, question, name, &reached);
                let is_about = is_spoken(&to_ports.rules, question.protocol)
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

/// DNS is not spoken over SCTP, and TLS over TCP only, so that rules about them are about nothing else.
fn is_spoken(rules: &Rules, protocol: u8) -> bool {
    match rules {
        Rules::Dns(rules) if !rules.is_empty() => protocol != SCTP,
        Rules::ServerNames(names) if !names.is_empty() => protocol == TCP,
        _ => true,
    }
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
    let meant = |end: End<'_>| match element.peers.as_deref() {
        None | Some([]) => true,
        Some(peers) => peers.iter().any(|peer| match peer {
            KubernetesPeer::Block(block) => is_in_block(block, end),
            KubernetesPeer::Pods { pods, namespaces } => {
                is_pod(pods.as_ref(), namespaces.as_ref(), namespace, end)
            }
        }),
    };
    // An address in a block calls no port anything.
    let is_anybody = matches!(element.peers.as_deref(), None | Some([]));
    let reaches_pod = matches!(question.other, End::Pod(_));
    let reached = |pod: &Pod| (is_anybody || reaches_pod) && meant(End::Pod(pod));
    let named = |name: &str| names(world, question, name, &reached);
    meant(question.other)
        && match element.ports.as_deref() {
            None | Some([]) => true,
            Some(ports) => ports
                .iter()
                .any(|port| is_port(port, &[TCP], &named, question)),
        }
}
