//! `CiliumNetworkPolicy` and `CiliumClusterwideNetworkPolicy`, as they are written.

mod about;
pub(crate) mod cidrs;
mod dns;
mod http;
mod icmp;
mod peers;
pub(crate) mod ports;
mod refused;
pub(crate) mod selectors;
mod services;
#[cfg(test)]
mod tests;
mod tls;

use crate::rule::{Direction, L7, Rule, Spec};
use crate::selector::{Peers, Selector};
use crate::yaml::{Cursor, Map, Reader};

/// Whose traffic a spec is about.
#[derive(Debug, Clone, Copy)]
enum Subject<'a> {
    /// Endpoints of a namespace.
    Endpoints(&'a str),
    /// Endpoints of every namespace.
    EveryEndpoint,
    /// This node itself, if its labels are selected.
    Host,
}

impl<'a> Subject<'a> {
    /// The namespace that peers are of where they name none.
    fn namespace(self) -> Option<&'a str> {
        match self {
            Self::Endpoints(namespace) => Some(namespace),
            Self::EveryEndpoint | Self::Host => None,
        }
    }
}

/// `spec` or `specs`, of an object that is confined to a namespace or is cluster-wide.
pub(crate) fn read_specs(
    reader: &mut Reader,
    at: &Cursor<'_>,
    object: &mut Map<'_>,
    within: Option<&str>,
) -> Vec<Spec> {
    let spec = object.get("spec");
    let specs = object.get("specs");
    if spec.is_none() && specs.is_none() {
        reader.fault(at, "`spec` or `specs` is missing");
    }
    let specs = specs.map(|specs| reader.list(&specs)).unwrap_or_default();
    spec.into_iter()
        .chain(specs)
        .filter_map(|spec| read_spec(reader, &spec, within))
        .collect()
}

/// The four lists of a spec.
const LISTS: [(&str, Direction, bool); 4] = [
    ("ingress", Direction::Ingress, false),
    ("egress", Direction::Egress, false),
    ("ingressDeny", Direction::Ingress, true),
    ("egressDeny", Direction::Egress, true),
];

fn read_spec(reader: &mut Reader, at: &Cursor<'_>, within: Option<&str>) -> Option<Spec> {
    let mut map = reader.map(at)?;
    let (subject, selector) = subject(reader, &mut map, within)?;
    let mut spec = Spec {
        subject: selector,
        ingress_default_deny: false,
        egress_default_deny: false,
        rules: Vec::new(),
        labels: Vec::new(),
        log: None,
    };
    let mut is_empty = true;
    for (name, direction, is_deny) in LISTS {
        let Some(list) = map.get(name) else { continue };
        let elements = reader.list(&list);
        is_empty &= elements.is_empty();
        match direction {
            Direction::Ingress => spec.ingress_default_deny |= !elements.is_empty(),
            Direction::Egress => spec.egress_default_deny |= !elements.is_empty(),
        }
        for element in &elements {
            let rules = read_element(reader, element, direction, is_deny, subject);
            spec.rules.extend(rules);
        }
    }
    if is_empty {
        reader.fault(
            at,
            "no rule at all: write `ingress: [{}]` or `egress: [{}]` to deny everything",
        );
    }
    if let Some(at) = map.get("enableDefaultDeny") {
        default_deny(reader, &at, &mut spec);
    }
    spec.let_pass_what_is_only_looked_at();
    let about = about::read(reader, &mut map);
    spec.labels = about.labels;
    spec.log = about.log;
    map.end(reader);
    Some(spec)
}

/// The endpoints that a spec is for: those of its own namespace, if it has one; or this node.
fn subject<'a>(
    reader: &mut Reader,
    map: &mut Map<'_>,
    within: Option<&'a str>,
) -> Option<(Subject<'a>, Selector)> {
    let node = map.get("nodeSelector");
    let endpoint = match &node {
        Some(_) => map.get("endpointSelector"),
        None => map.need(reader, "endpointSelector"),
    };
    let at = match (node, endpoint) {
        (Some(node), None) => {
            if within.is_some() {
                let message = "nodes have no namespace: `nodeSelector` needs a CiliumClusterwideNetworkPolicy";
                reader.fault(&node, message);
            }
            let selector = selectors::node_selector(reader, &node).of_host();
            return Some((Subject::Host, selector));
        }
        (Some(node), Some(endpoint)) => {
            let message = "either `endpointSelector` or `nodeSelector` stands here, and not both";
            reader.fault(&node, message);
            endpoint
        }
        (None, endpoint) => endpoint?,
    };
    let selector = selectors::selector(reader, &at);
    let Some(namespace) = within else {
        return Some((Subject::EveryEndpoint, selector.but_host()));
    };
    if selector.is_elsewhere(namespace) {
        reader.fault(
            &at,
            format!("selects another namespace than the policy's own, `{namespace}`"),
        );
    }
    Some((Subject::Endpoints(namespace), selector.confined(namespace)))
}

fn default_deny(reader: &mut Reader, at: &Cursor<'_>, spec: &mut Spec) {
    let Some(mut map) = reader.map(at) else {
        return;
    };
    if let Some(value) = map.get("ingress").and_then(|at| reader.boolean(&at)) {
        spec.ingress_default_deny = value;
    }
    if let Some(value) = map.get("egress").and_then(|at| reader.boolean(&at)) {
        spec.egress_default_deny = value;
    }
    map.end(reader);
}

/// One element of `ingress`, `egress`, `ingressDeny` or `egressDeny`: peers and ports.
fn read_element(
    reader: &mut Reader,
    at: &Cursor<'_>,
    direction: Direction,
    is_deny: bool,
    subject: Subject<'_>,
) -> Vec<Rule> {
    let Some(mut map) = reader.map(at) else {
        return Vec::new();
    };
    if let Some(at) = map.get("toFQDNs").filter(|_| is_deny) {
        reader.fault(&at, "deny rules cannot speak of names");
    }
    let peers = peers::peers(reader, &mut map, direction, subject.namespace());
    // An empty list limits nothing, as if it were not there.
    let mut limits = |name| map.get(name).filter(|at| !reader.list(at).is_empty());
    let (ports, icmps) = (limits("toPorts"), limits("icmps"));
    refused::refuse(reader, &mut map, &refused::OF_ELEMENT);
    refused::refuse_requires(reader, &mut map);
    refused::refuse_authentication(reader, &mut map, is_deny);
    map.end(reader);
    let base = Rule {
        path: at.path().to_owned(),
        direction,
        is_deny,
        peers: peers.clone().unwrap_or(Peers::Any),
        ports: Vec::new(),
        l7: L7::Nothing,
    };
    match (ports, icmps) {
        (Some(ports), Some(_)) => {
            reader.fault(&ports, "toPorts and icmps cannot stand in one element");
            Vec::new()
        }
        (Some(ports), None) => ports::to_ports(reader, &ports, &base, subject),
        (None, Some(icmps)) => icmp::icmps(reader, &icmps, &base),
        // `{}` allows nothing; it only switches default deny on.
        (None, None) if peers.is_none() => Vec::new(),
        (None, None) => vec![base],
    }
}
