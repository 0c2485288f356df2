//! Who there is.

use super::requests::NAMES;
use super::surroundings::{cidr_groups, nodes, services};
use super::{LABELS, NAMESPACES, WIDE};
use crate::policy::choices::Choices;
use crate::policy::world::{Label, Outside, Pod, World};

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
    let outside = outside.collect();
    World {
        pods,
        nodes: nodes(choices),
        outside,
        services: services(choices),
        cidr_groups: cidr_groups(choices, &WIDE),
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
