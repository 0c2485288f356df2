//! Labels that say who was at the ends, as configured.

use std::fmt::Write as _;

use crate::config::{ContextLabel, Contexts, Identifier};
use crate::flow::view::shown_names;
use crate::metrics::family::Label;
use crate::metrics::key::Key;
use crate::record::{Direction, DnsNames, Party, Record, Workload};

/// Labels from which an application's name is taken.
const APP_LABELS: [&str; 3] = ["k8s:app=", "k8s:app.kubernetes.io/name=", "k8s:k8s-app="];

/// Names of the labels, in their order.
pub(super) fn labels(contexts: &Contexts) -> impl Iterator<Item = Label> {
    let more = contexts.labels.iter().map(|label| {
        if *label == ContextLabel::TrafficDirection {
            Label::few(label.name())
        } else {
            Label::open(label.name())
        }
    });
    let source = has_source(contexts).then_some(Label::open("source"));
    let destination = has_destination(contexts).then_some(Label::open("destination"));
    more.chain(source).chain(destination)
}

fn has_source(contexts: &Contexts) -> bool {
    contexts.source.is_some()
        || contexts.source_egress.is_some()
        || contexts.source_ingress.is_some()
}

fn has_destination(contexts: &Contexts) -> bool {
    contexts.destination.is_some()
        || contexts.destination_egress.is_some()
        || contexts.destination_ingress.is_some()
}

/// Writes the values of the labels.
pub(super) fn write(contexts: &Contexts, record: &Record, key: &mut Key) {
    write_labels(contexts, record, [source(record), destination(record)], key);
    if has_source(contexts) {
        write_end(source_identifiers(contexts, record), source(record), key);
    }
    if has_destination(contexts) {
        let identifiers = destination_identifiers(contexts, record);
        write_end(identifiers, destination(record), key);
    }
}

/// The same for an answer, where the ends of the request are wanted. As in Hubble, each end is looked up
/// by what is configured for where it stands in the answer.
pub(super) fn write_turned(contexts: &Contexts, record: &Record, key: &mut Key) {
    write_labels(contexts, record, [destination(record), source(record)], key);
    if has_source(contexts) {
        let identifiers = destination_identifiers(contexts, record);
        write_end(identifiers, destination(record), key);
    }
    if has_destination(contexts) {
        write_end(source_identifiers(contexts, record), source(record), key);
    }
}

/// An end with the names that DNS gave it.
type End<'r> = (&'r Party, Option<&'r DnsNames>);

fn source(record: &Record) -> End<'_> {
    (&record.source, record.source_names.as_deref())
}

fn destination(record: &Record) -> End<'_> {
    (&record.destination, record.destination_names.as_deref())
}

fn source_identifiers<'c>(contexts: &'c Contexts, record: &Record) -> &'c [Identifier] {
    let Contexts {
        source,
        source_egress,
        source_ingress,
        ..
    } = contexts;
    chosen([source, source_egress, source_ingress], record)
}

fn destination_identifiers<'c>(contexts: &'c Contexts, record: &Record) -> &'c [Identifier] {
    let Contexts {
        destination,
        destination_egress,
        destination_ingress,
        ..
    } = contexts;
    chosen(
        [destination, destination_egress, destination_ingress],
        record,
    )
}

/// That of the direction, where there is one.
fn chosen<'c>(
    [any, egress, ingress]: [&'c Option<Vec<Identifier>>; 3],
    record: &Record,
) -> &'c [Identifier] {
    let own = match record.direction {
        Direction::Egress => egress,
        Direction::Ingress => ingress,
        Direction::Unknown => &None,
    };
    own.as_ref().or(any.as_ref()).map_or(&[], Vec::as_slice)
}

fn write_labels(
    contexts: &Contexts,
    record: &Record,
    [(source, _), (destination, _)]: [End<'_>; 2],
    key: &mut Key,
) {
    for label in &contexts.labels {
        match label {
            ContextLabel::SourceIp => key.push_shown(source.addr.ip()),
            ContextLabel::SourcePod => key.push(source.name()),
            ContextLabel::SourceNamespace => key.push(source.namespace()),
            ContextLabel::SourceWorkload => key.push(owner(source).map_or("", name_of)),
            ContextLabel::SourceWorkloadKind => key.push(owner(source).map_or("", kind_of)),
            ContextLabel::SourceApp => key.push(app(source)),
            ContextLabel::DestinationIp => key.push_shown(destination.addr.ip()),
            ContextLabel::DestinationPod => key.push(destination.name()),
            ContextLabel::DestinationNamespace => key.push(destination.namespace()),
            ContextLabel::DestinationWorkload => key.push(owner(destination).map_or("", name_of)),
            ContextLabel::DestinationWorkloadKind => {
                key.push(owner(destination).map_or("", kind_of));
            }
            ContextLabel::DestinationApp => key.push(app(destination)),
            ContextLabel::TrafficDirection => key.push(direction(record)),
        }
    }
}

/// `ingress`, `egress`, `unknown`.
fn direction(record: &Record) -> &'static str {
    match record.direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
        Direction::Unknown => "unknown",
    }
}

/// The first identifier that says something.
fn write_end(identifiers: &[Identifier], end: End<'_>, key: &mut Key) {
    key.push_with(|text| {
        let before = text.len();
        for identifier in identifiers {
            identify(*identifier, end, text);
            if text.len() > before {
                return;
            }
        }
    });
}

fn identify(identifier: Identifier, (party, names): End<'_>, text: &mut String) {
    match identifier {
        Identifier::App => text.push_str(app(party)),
        Identifier::Dns => {
            let names = names.map_or(&[] as &[_], shown_names);
            join(text, names.iter().map(|name| &**name));
        }
        Identifier::Identity => join(text, party.labels().iter().map(String::as_str)),
        Identifier::Ip => {
            // Writing to a String cannot fail.
            let _infallible = write!(text, "{}", party.addr.ip());
        }
        Identifier::Namespace => text.push_str(party.namespace()),
        Identifier::Pod => within(text, party.namespace(), party.name()),
        Identifier::PodName => text.push_str(party.name()),
        Identifier::ReservedIdentity => text.push_str(reserved(party)),
        Identifier::Workload => {
            if let Some(owner) = owner(party) {
                within(text, party.namespace(), &owner.name);
            }
        }
        Identifier::WorkloadName => text.push_str(owner(party).map_or("", name_of)),
    }
}

#[expect(single_use_lifetimes, reason = "`impl Trait` cannot leave it out yet")]
fn join<'n>(text: &mut String, names: impl Iterator<Item = &'n str>) {
    for (at, name) in names.enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(name);
    }
}

/// `namespace/name`; the slash is there as soon as there is a namespace.
fn within(text: &mut String, namespace: &str, name: &str) {
    text.push_str(namespace);
    if !namespace.is_empty() {
        text.push('/');
    }
    text.push_str(name);
}

fn owner(party: &Party) -> Option<&Workload> {
    party.endpoint.as_deref()?.workload.as_ref()
}

fn name_of(owner: &Workload) -> &str {
    &owner.name
}

fn kind_of(owner: &Workload) -> &str {
    &owner.kind
}

fn app(party: &Party) -> &str {
    let mut labels = party.labels().iter();
    let value = labels.find_map(|label| {
        let mut prefixes = APP_LABELS.iter();
        prefixes.find_map(|prefix| label.strip_prefix(prefix))
    });
    value.unwrap_or_default()
}

fn reserved(party: &Party) -> &str {
    const API_SERVER: &str = "reserved:kube-apiserver";
    let reserved = || {
        let labels = party.labels().iter();
        labels.filter(|label| label.starts_with("reserved:"))
    };
    if reserved().any(|label| label == API_SERVER) {
        return API_SERVER;
    }
    reserved().next().map_or("", String::as_str)
}
