//! Every form of every field: what it means, or why it is refused.

mod peers;
mod ports;
mod refused;
mod requests;
mod specs;

use crate::objects::read_objects;
use crate::rule::{Policy, Rule};

/// A policy with these lines in its `spec`.
fn cnp(spec: &str) -> String {
    object("CiliumNetworkPolicy", spec)
}

fn ccnp(spec: &str) -> String {
    object("CiliumClusterwideNetworkPolicy", spec)
}

fn object(kind: &str, spec: &str) -> String {
    format!("apiVersion: cilium.io/v2\nkind: {kind}\nmetadata: {{name: p}}\nspec: {spec}\n")
}

fn read(text: &str) -> Policy {
    let objects = read_objects("p", text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    objects.policies.into_iter().next().expect("a policy")
}

fn faults(text: &str) -> Vec<String> {
    match read_objects("p", text) {
        Ok(objects) => panic!("accepted: {text}\n{objects:?}"),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn rules(text: &str) -> Vec<Rule> {
    let policy = read(text);
    policy
        .specs
        .into_iter()
        .flat_map(|spec| spec.rules)
        .collect()
}

/// The rules of an element of `egress`.
fn egress(element: &str) -> Vec<Rule> {
    rules(&cnp(&format!(
        "{{endpointSelector: {{}}, egress: [{element}]}}"
    )))
}

/// Each of these is refused, with this in what is said.
fn are_refused<'a>(
    texts: impl IntoIterator<Item = (&'a str, &'a str)>,
    whole: impl Fn(&str) -> String,
) {
    for (text, expected) in texts {
        let found = faults(&whole(text));
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        assert!(found[0].contains(expected), "{text}: {found:#?}");
    }
}

fn of_egress(element: &str) -> String {
    cnp(&format!("{{endpointSelector: {{}}, egress: [{element}]}}"))
}

fn of_ingress(element: &str) -> String {
    cnp(&format!("{{endpointSelector: {{}}, ingress: [{element}]}}"))
}

fn of_deny(element: &str) -> String {
    cnp(&format!(
        "{{endpointSelector: {{}}, egressDeny: [{element}]}}"
    ))
}
