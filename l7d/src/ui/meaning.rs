//! What became of a flow, in words: what it means, and what to do.

use proto::flow::{self as pb, Flow};
use serde::Serialize;

use crate::datapath::drops::meaning;
use crate::map::{Fault, reading};
use crate::print::drop_reason;

/// What became of a flow.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Meaning {
    /// In a few words.
    pub(super) title: String,
    /// What it means, and what to look at.
    pub(super) text: String,
    /// Policies or rules that decided.
    pub(super) by: Vec<String>,
}

/// Explains a flow that tells of a failure; none where there is nothing to explain.
pub(super) fn of(flow: &Flow, fault: Option<Fault>) -> Option<Meaning> {
    let extensions = flow.extensions.as_ref();
    let text = |name: &str| {
        extensions
            .and_then(|all| all.text(name))
            .unwrap_or_default()
    };
    let denied = reading::policies([&flow.egress_denied_by, &flow.ingress_denied_by]);
    match (flow.verdict(), fault) {
        (pb::Verdict::Audit, _) => Some(Meaning {
            title: "Passed, but an audited policy would have denied it".to_owned(),
            text: "The policy below is only audited: nothing was refused. If it is enforced, this will not get \
                   through. `l7d policy audit-report` sums up all that would be denied."
                .to_owned(),
            by: denied,
        }),
        (pb::Verdict::Dropped | pb::Verdict::Error, _) => Some(dropped(flow, &text, denied)),
        (_, Some(Fault::Unanswered)) => Some(unanswered(&text)),
        (_, Some(Fault::Error)) => Some(Meaning {
            title: "The server answered with a failure".to_owned(),
            text: "The request reached the server and the network is not to blame: look at the server's own log \
                   at this time, and whether whom it asks in turn fails in the map."
                .to_owned(),
            by: Vec::new(),
        }),
        (_, Some(Fault::Rejected)) => Some(Meaning {
            title: "The server says that the request is wrong".to_owned(),
            text: "It got through and was answered: what was asked for does not exist, is not allowed by the \
                   server itself, or was not understood. Look at what the client asks."
                .to_owned(),
            by: Vec::new(),
        }),
        _ => None,
    }
}

fn dropped(flow: &Flow, text: &impl Fn(&str) -> String, denied: Vec<String>) -> Meaning {
    let number = match flow.drop_reason_desc {
        0 => i32::try_from(flow.drop_reason).unwrap_or(0),
        number => number,
    };
    let rule = text("netfilter");
    if !rule.is_empty() {
        return Meaning {
            title: "Dropped by a rule of netfilter".to_owned(),
            text: "A firewall rule of this machine dropped it, not a policy of the cluster: `nft list ruleset` \
                   or `iptables-save` shows who made it."
                .to_owned(),
            by: vec![rule],
        };
    }
    let is_request = flow.l7.is_some();
    if is_request || number == 133 || number == 181 {
        return by_policy(flow, number, text, denied, is_request);
    }
    let name = text("drop_reason");
    let told = text("drop_meaning");
    let known = meaning::of(&name).map(|known| known.text);
    let title = match name.as_str() {
        "" => format!("Dropped: {}", drop_reason(flow, number)),
        name => format!("Dropped by the kernel: {name}"),
    };
    Meaning {
        title,
        text: match (told.as_str(), known) {
            ("", Some(known)) => known.to_owned(),
            ("", None) => "The reason's name is all that is known. `l7d trace` of this connection shows what came \
                           before."
                .to_owned(),
            (told, _) => told.to_owned(),
        },
        by: denied,
    }
}

fn by_policy(
    flow: &Flow,
    number: i32,
    text: &impl Fn(&str) -> String,
    denied: Vec<String>,
    is_request: bool,
) -> Meaning {
    let detail = text("detail");
    let outcome = text("outcome");
    let what = if is_request { "request" } else { "connection" };
    let direction = match flow.traffic_direction() {
        pb::TrafficDirection::Ingress => "of who was asked (ingress)",
        pb::TrafficDirection::Egress => "of who asks (egress)",
        pb::TrafficDirection::Unknown => "of one end",
    };
    let (title, text) = match outcome.as_str() {
        "parse_error" | "ambiguous_path" | "limit" | "not_implemented" => (
            format!("The request was refused: {}", outcome.replace('_', " ")),
            "It could be understood in more than one way, or is over a bound, and so was not judged; on a port \
             where policies are enforced nothing passes unjudged. docs/attacks.md explains each rule."
                .to_owned(),
        ),
        _ if number == 181 => (
            format!("A policy denies this {what}"),
            format!("A deny rule {direction} matched. Deny rules win over all that allow."),
        ),
        _ if denied.is_empty() => (
            format!("No policy allows this {what}"),
            format!(
                "Policies {direction} are in force, and none of them allows it. The flow does not say which \
                 ones: `l7d policy explain` does."
            ),
        ),
        _ => (
            format!("No rule of the policies in force allows this {what}"),
            format!(
                "The policies below select an endpoint {direction}, and none of their rules allows it. \
                 `l7d policy explain` names the rule that comes nearest."
            ),
        ),
    };
    let text = match detail.as_str() {
        "" => text,
        detail => format!("{}. {text}", sentence(detail)),
    };
    Meaning {
        title,
        text,
        by: denied,
    }
}

/// With a large first letter.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}

fn unanswered(text: &impl Fn(&str) -> String) -> Meaning {
    let (outcome, event, end) = (text("outcome"), text("tcp_event"), text("end"));
    let (title, text) = match (outcome.as_str(), event.as_str(), end.as_str()) {
        ("upstream_refused", ..) | (_, "refused", _) | (.., "refused") => (
            "The server refused the connection",
            "Its address answered with a reset: the machine is there, and nobody listens on this port. Is the \
             process up, and is it this port?",
        ),
        ("upstream_reset", ..) | (_, "reset_by_server", _) | (.., "reset_by_server") => (
            "The server reset the connection",
            "It was open, and the server gave it up before it had answered: a crash, a restart, or an idle \
             timeout shorter than the client's.",
        ),
        (_, "unreachable", _) => (
            "The server cannot be reached",
            "The network says that there is no way to this address: look at routes and at whether the node is up.",
        ),
        (_, "no_answer", _) | (.., "no_answer") => (
            "Nobody answered",
            "Packets went out and nothing came back: the server is gone, or something on the way drops in \
             silence. Look for drops on the server's node at this time.",
        ),
        (_, "closed_by_client" | "reset_by_client", _) => (
            "The client gave up",
            "It closed the connection before the server had answered: its timeout is shorter than the server's \
             time.",
        ),
        _ => (
            "The request was not answered",
            "The connection ended, and no answer had come: the server is slow, or gone.",
        ),
    };
    Meaning {
        title: title.to_owned(),
        text: text.to_owned(),
        by: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(verdict: pb::Verdict, extensions: &[(&str, &str)]) -> Flow {
        let texts = extensions
            .iter()
            .map(|(name, text)| (*name, (*text).to_owned()));
        Flow {
            verdict: verdict.into(),
            extensions: Some(proto::Any::of_texts(texts)),
            ..Flow::default()
        }
    }

    #[test]
    fn what_goes_well_needs_no_words() {
        assert_eq!(of(&flow(pb::Verdict::Forwarded, &[]), None), None);
    }

    #[test]
    fn a_denial_names_its_policies_and_the_end_that_they_protect() {
        let denied = Flow {
            drop_reason_desc: 133,
            traffic_direction: pb::TrafficDirection::Ingress.into(),
            ingress_denied_by: vec![pb::Policy {
                name: "cart".to_owned(),
                namespace: "shop".to_owned(),
                ..pb::Policy::default()
            }],
            ..flow(pb::Verdict::Dropped, &[])
        };
        let meaning = of(&denied, Some(Fault::Denied)).unwrap();
        assert_eq!(meaning.by, ["shop/cart"]);
        assert!(
            meaning.text.contains("of who was asked (ingress)"),
            "{meaning:?}"
        );
        let unnamed = Flow {
            ingress_denied_by: Vec::new(),
            ..denied
        };
        let meaning = of(&unnamed, Some(Fault::Denied)).unwrap();
        assert_eq!(meaning.title, "No policy allows this connection");
    }

    #[test]
    fn a_kernels_reason_is_told_with_its_meaning() {
        let named = flow(pb::Verdict::Dropped, &[("drop_reason", "NO_SOCKET")]);
        let meaning = of(&named, Some(Fault::Dropped)).unwrap();
        assert_eq!(meaning.title, "Dropped by the kernel: NO_SOCKET");
        assert_eq!(
            Some(meaning.text.as_str()),
            meaning::of("NO_SOCKET").map(|one| one.text)
        );
        let by_rule = flow(
            pb::Verdict::Dropped,
            &[("netfilter", "inet filter input drop")],
        );
        assert_eq!(
            of(&by_rule, Some(Fault::Dropped)).unwrap().by,
            ["inet filter input drop"]
        );
    }

    #[test]
    fn silence_is_told_apart_from_refusal() {
        let title = |extensions: &[(&str, &str)]| {
            let flow = flow(pb::Verdict::Forwarded, extensions);
            of(&flow, Some(Fault::Unanswered)).unwrap().title
        };
        assert_eq!(
            title(&[("outcome", "upstream_refused")]),
            "The server refused the connection"
        );
        assert_eq!(title(&[("end", "no_answer")]), "Nobody answered");
        assert_eq!(
            title(&[("tcp_event", "closed_by_client")]),
            "The client gave up"
        );
    }
}
