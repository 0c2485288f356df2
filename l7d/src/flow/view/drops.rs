//! What the kernel says of a drop, as a flow has it: Hubble's fields where it has a number for the
//! reason, and in any case everything in the extensions `drop_*` and in the summary, which all clients
//! print.

use crate::record::{Direction, DropReason, FullQueue, KernelDrop, Record};

/// Sub-type of drops that Hubble has no number for. Its clients read 0 as success, and print a number
/// without a name as such.
pub(crate) const WITHOUT_NUMBER: i32 = 255;

/// Sub-type of the event.
pub(super) fn sub_type(reason: DropReason, said: Option<&KernelDrop>) -> i32 {
    match (reason, said) {
        (DropReason::UNKNOWN, Some(_)) => WITHOUT_NUMBER,
        (DropReason(number), _) => i32::from(number),
    }
}

/// Reason, place and what it means, then the packet.
pub(super) fn summary(said: &KernelDrop, packet: &str) -> String {
    let KernelDrop {
        reason,
        place,
        netfilter,
        queue,
        ..
    } = said;
    let mut text = reason.to_string();
    if !place.is_empty() {
        text.push_str(" in ");
        text.push_str(place);
    }
    if let Some(rule) = netfilter {
        text.push_str(", ");
        text.push_str(rule);
    } else if let Some(queue) = queue {
        text.push_str(", ");
        text.push_str(&of_queue(*queue));
        text.push_str(" in the queue");
    }
    if netfilter.is_none() && !said.meaning.is_empty() {
        text.push_str(": ");
        text.push_str(&said.meaning);
    }
    text.push_str("; ");
    text.push_str(packet);
    text
}

/// The packet, then who of us has dropped it: which policies, and by which rule.
pub(super) fn by_us(record: &Record, reason: DropReason, mut text: String) -> String {
    let direction = match record.direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
        Direction::Unknown => "",
    };
    let policies: Vec<String> = record.policies.iter().map(ToString::to_string).collect();
    let policies = policies.join(", ");
    let why = match reason {
        DropReason::POLICY_DENIED | DropReason::POLICY_DENY if policies.is_empty() => return text,
        DropReason::POLICY_DENIED => format!("{direction}: no rule of {policies} allows it"),
        DropReason::POLICY_DENY => format!("{direction}: denied by {policies}"),
        DropReason::PROXY_UNAVAILABLE => {
            format!("{direction}: its requests are to be judged, and the proxy is not there")
        }
        DropReason::FRAGMENT => "a fragment whose first part was not seen".to_owned(),
        DropReason::ASSIGN_FAILED => "the proxy's socket did not take it".to_owned(),
        _ => return text,
    };
    text.push_str("; ");
    text.push_str(&why);
    text
}

/// Adds what Hubble has no fields for.
pub(super) fn extend(said: &KernelDrop, fields: &mut Vec<(&str, String)>) {
    fields.push(("drop_reason", said.reason.to_string()));
    if !said.place.is_empty() {
        fields.push(("drop_place", said.place.to_string()));
    }
    if !said.meaning.is_empty() {
        fields.push(("drop_meaning", said.meaning.clone().into_owned()));
    }
    fields.push(("drop_site", said.site.as_str().to_owned()));
    fields.push(("packets", "1".to_owned()));
    fields.push(("bytes", said.bytes.to_string()));
    if let Some(queue) = said.queue {
        fields.push(("drop_queue", of_queue(queue)));
    }
    if let Some(rule) = &said.netfilter {
        fields.push(("netfilter", rule.to_string()));
    }
}

fn of_queue(FullQueue { used, limit }: FullQueue) -> String {
    format!("{used} of {limit}")
}
