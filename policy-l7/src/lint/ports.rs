//! Ports that nobody serves.

use super::checks::{NAMED_PORT_UNKNOWN, PORT_NOT_SERVED};
use super::known::{Known, Server};
use super::{About, Finding};
use crate::error::nearest;
use crate::rule::{Direction, PortRange, Ports, Rule};
use crate::selector::{Peers, Selector};

/// Compares the ports of each rule with what those serve whom it selects as servers.
pub(super) fn check(about: &About<'_>, known: &Known<'_>, findings: &mut Vec<Finding>) {
    for rule in &about.spec.rules {
        let selectors = match (rule.direction, &rule.peers) {
            (Direction::Ingress, _) => std::slice::from_ref(&about.spec.subject),
            (Direction::Egress, Peers::Endpoints(selectors)) => selectors.as_slice(),
            (Direction::Egress, _) => continue,
        };
        let servers: Vec<&Server> = known
            .servers
            .iter()
            .filter(|server| is_selected(selectors, server))
            .collect();
        if servers.is_empty() || rule.is_deny {
            continue;
        }
        for ports in &rule.ports {
            findings.extend(served(about, rule, ports, &servers));
        }
    }
}

fn is_selected(selectors: &[Selector], server: &Server) -> bool {
    let mut selectors = selectors.iter();
    selectors.any(|selector| selector.matches(&server.labels))
}

fn served(about: &About<'_>, rule: &Rule, ports: &Ports, servers: &[&Server]) -> Option<Finding> {
    let who = match servers {
        [one] => one.name.clone(),
        [one, others @ ..] => format!("{} and {} more", one.name, others.len()),
        [] => return None,
    };
    let field = format!("{}.ports", rule.path);
    match &ports.range {
        PortRange::Named(name) => {
            let names = || servers.iter().flat_map(|server| &server.named_ports);
            if names().any(|known| known == name) {
                return None;
            }
            Some(Finding {
                word: Some(name.clone()),
                suggestion: nearest(name, names().map(String::as_str)).map(str::to_owned),
                ..about.finding(
                    NAMED_PORT_UNKNOWN,
                    field,
                    format!("no port is called `{name}` at {who}"),
                )
            })
        }
        PortRange::Between(first, last) => {
            let is_icmp = matches!(ports.protocol, Some(1 | 58));
            if is_icmp || servers.iter().any(|server| server.ports.is_empty()) {
                return None;
            }
            let is_meant = |(protocol, port): &(u8, u16)| {
                ports.protocol.is_none_or(|of| of == *protocol) && (first..=last).contains(&port)
            };
            let all = || servers.iter().flat_map(|server| &server.ports);
            if all().any(is_meant) {
                return None;
            }
            let mut known: Vec<u16> = all().map(|(_, port)| *port).collect();
            known.sort_unstable();
            known.dedup();
            let known: Vec<String> = known.iter().map(ToString::to_string).collect();
            let message = format!(
                "no container declares it at {who}: policies speak of the pod's own port, behind any service; declared: {}",
                known.join(", ")
            );
            Some(Finding {
                word: Some(first.to_string()),
                ..about.finding(PORT_NOT_SERVED, field, message)
            })
        }
        PortRange::Any => None,
    }
}
