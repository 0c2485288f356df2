//! What policies close, perhaps without being meant to.

use super::checks::{
    DENY_CLOSES, DIRECTION_IGNORED, DUPLICATE_POLICY, EGRESS_WITHOUT_DNS, EMPTY_RULE,
};
use super::{About, Finding, element, word};
use crate::places::Places;
use crate::rule::{Direction, PortRange, Ports, Rule};
use crate::selector::{NAMESPACE_LABEL, NAMESPACE_LABELS, Operator, Peers, Requirement};
use crate::yaml::{Node, Value};

const DNS: u16 = 53;
const UDP: u8 = 17;

/// Elements as they are written.
pub(super) fn check_elements(about: &About<'_>, places: &Places, findings: &mut Vec<Finding>) {
    let object = about.policy.at();
    for direction in [Direction::Ingress, Direction::Egress] {
        let list = word(direction);
        let path = format!("{}.{list}", about.path());
        let Some(Value::List(items)) = places.field(object, &path).map(|node| &node.value) else {
            continue;
        };
        if about.is_of_kubernetes() {
            if !items.is_empty() && !about.denies_by_default(direction) {
                let message =
                    format!("`policyTypes` leaves {list} out, so that these rules do not count");
                findings.push(about.finding(DIRECTION_IGNORED, path, message));
            }
            continue;
        }
        let empty = items.iter().position(is_empty).filter(|_| items.len() > 1);
        if let Some(index) = empty {
            let who = if direction == Direction::Ingress {
                "from"
            } else {
                "to"
            };
            let message = format!(
                "`{{}}` allows nothing, unlike in a NetworkPolicy; `{who}Entities: [all]` allows everything"
            );
            findings.push(about.finding(EMPTY_RULE, format!("{path}[{index}]"), message));
        }
    }
}

fn is_empty(node: &Node) -> bool {
    matches!(&node.value, Value::Map(entries) if entries.is_empty())
}

/// Directions that are closed by what stands in the policies together, and names that are taken.
pub(super) fn check(all: &[About<'_>], findings: &mut Vec<Finding>) {
    for (position, about) in all.iter().enumerate() {
        for direction in [Direction::Ingress, Direction::Egress] {
            findings.extend(only_denies(all, about, direction));
        }
        findings.extend(without_dns(all, about));
        let mut earlier = all.iter().take(position);
        let provenance = about.policy.provenance();
        let twin = earlier.find(|other| {
            other.policy.provenance() == provenance && !std::ptr::eq(other.policy, about.policy)
        });
        if twin.is_some() {
            let message = format!(
                "{} {} stands here a second time: one of them would replace the other",
                provenance.kind.as_str(),
                about.name()
            );
            findings.push(about.finding(DUPLICATE_POLICY, "metadata.name", message));
        }
    }
}

/// Rules of all policies that are about an endpoint of this one.
fn rules_for<'a>(
    all: &[About<'a>],
    about: &About<'_>,
    direction: Direction,
) -> impl Iterator<Item = &'a Rule> {
    all.iter()
        .filter(|other| other.spec.subject.can_meet(&about.spec.subject))
        .flat_map(move |other| other.rules(direction))
}

/// Path of the list that a rule's element stands in.
fn list(rule: &Rule) -> &str {
    let element = element(&rule.path);
    element.rsplit_once('[').map_or(element, |(list, _)| list)
}

/// A deny rule switches default deny on: whoever writes only these closes everything.
fn only_denies(all: &[About<'_>], about: &About<'_>, direction: Direction) -> Option<Finding> {
    let first = about.rules(direction).find(|rule| rule.is_deny)?;
    let is_closed = about.denies_by_default(direction);
    if !is_closed || rules_for(all, about, direction).any(|rule| !rule.is_deny) {
        return None;
    }
    let list = list(first);
    let direction = word(direction);
    let message = format!(
        "closes {direction} altogether: deny rules switch default deny on, and nothing here allows anything; `enableDefaultDeny: {{ {direction}: false }}` keeps the rest open"
    );
    Some(about.finding(DENY_CLOSES, list, message))
}

fn without_dns(all: &[About<'_>], about: &About<'_>) -> Option<Finding> {
    let mut allows = about.rules(Direction::Egress).filter(|rule| !rule.is_deny);
    let first = allows.next()?;
    let is_dns = |ports: &Ports| {
        ports.meets(&Ports {
            protocol: Some(UDP),
            range: PortRange::Between(DNS, DNS),
        }) || matches!(&ports.range, PortRange::Named(name) if name.contains("dns"))
    };
    let may_resolve = |rule: &Rule| {
        !rule.is_deny
            && !matches!(rule.peers, Peers::Fqdns(_))
            && (rule.ports.is_empty() && may_have_dns(about, &rule.peers)
                || rule.ports.iter().any(is_dns))
    };
    if !about.denies_by_default(Direction::Egress)
        || rules_for(all, about, Direction::Egress).any(may_resolve)
    {
        return None;
    }
    let list = list(first);
    let message = "closes egress but for these rules, and none of the policies here allows DNS (port 53, UDP): names cannot be looked up".to_owned();
    Some(about.finding(EGRESS_WITHOUT_DNS, list, message))
}

/// Whether the servers of DNS can be among the peers of a policy, for all that is written.
fn may_have_dns(about: &About<'_>, peers: &Peers) -> bool {
    let Peers::Endpoints(selectors) = peers else {
        // Blocks of addresses may have a resolver outside of the cluster.
        return !matches!(peers, Peers::Fqdns(_));
    };
    let own = &about.policy.provenance().namespace;
    let fits = |of: &Requirement| match &of.operator {
        Operator::In(namespaces) if of.key == NAMESPACE_LABEL => {
            namespaces.iter().any(|namespace| namespace != own)
        }
        Operator::In(values) => {
            of.key.starts_with(NAMESPACE_LABELS) || values.iter().any(|of| of.contains("dns"))
        }
        Operator::Absent | Operator::Exists | Operator::NotIn(_) => true,
    };
    selectors.iter().any(|selector| selector.0.iter().all(fits))
}
