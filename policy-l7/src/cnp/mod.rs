//! `CiliumNetworkPolicy` and `CiliumClusterwideNetworkPolicy`, as they are written.

mod dns;
mod http;
pub(crate) mod peers;
pub(crate) mod ports;

use crate::rule::{Direction, L7, Rule, Spec};
use crate::selector::{Peers, Selector};
use crate::yaml::{Cursor, Map, Reader};

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
    if let Some(node) = map.get("nodeSelector") {
        reader.fault(&node, "host policies are not supported");
    }
    let subject = map
        .need(reader, "endpointSelector")
        .map(|at| subject(reader, &at, within))?;
    let mut spec = Spec {
        subject,
        ingress_default_deny: false,
        egress_default_deny: false,
        rules: Vec::new(),
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
            spec.rules
                .extend(read_element(reader, element, direction, is_deny, within));
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
    for name in ["labels", "description", "log"] {
        map.get(name);
    }
    map.end(reader);
    Some(spec)
}

/// The endpoints that a policy is for: of its own namespace, if it has one.
fn subject(reader: &mut Reader, at: &Cursor<'_>, within: Option<&str>) -> Selector {
    let selector = peers::selector(reader, at);
    let Some(namespace) = within else {
        return selector;
    };
    if selector.is_elsewhere(namespace) {
        reader.fault(
            at,
            format!("selects another namespace than the policy's own, `{namespace}`"),
        );
    }
    selector.confined(namespace)
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
    within: Option<&str>,
) -> Vec<Rule> {
    let Some(mut map) = reader.map(at) else {
        return Vec::new();
    };
    if let Some(at) = map.get("toFQDNs").filter(|_| is_deny) {
        reader.fault(&at, "deny rules cannot speak of names");
    }
    let peers = peers::peers(reader, &mut map, direction, within);
    // An empty list limits nothing, as if it were not there.
    let mut limits = |name| map.get(name).filter(|at| !reader.list(at).is_empty());
    let (ports, icmps) = (limits("toPorts"), limits("icmps"));
    refuse_unsupported(reader, &mut map);
    let base = Rule {
        path: at.path().to_owned(),
        direction,
        is_deny,
        peers: peers.clone().unwrap_or(Peers::Any),
        ports: Vec::new(),
        l7: L7::Nothing,
    };
    let rules = match (ports, icmps) {
        (Some(ports), Some(_)) => {
            reader.fault(&ports, "toPorts and icmps cannot stand in one element");
            Vec::new()
        }
        (Some(ports), None) => ports::to_ports(reader, &ports, &base),
        (None, Some(icmps)) => ports::icmps(reader, &icmps, &base),
        // `{}` allows nothing; it only switches default deny on.
        (None, None) if peers.is_none() => Vec::new(),
        (None, None) => vec![base],
    };
    map.end(reader);
    rules
}

fn refuse_unsupported(reader: &mut Reader, map: &mut Map<'_>) {
    for name in [
        "toServices",
        "fromNodes",
        "toNodes",
        "fromGroups",
        "toGroups",
        "fromRequires",
        "toRequires",
        "authentication",
    ] {
        if let Some(at) = map.get(name) {
            reader.fault(
                &at,
                "not supported yet; the policy is refused rather than half applied",
            );
        }
    }
}
