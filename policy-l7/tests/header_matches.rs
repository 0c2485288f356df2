//! `headerMatches` with mismatch actions: what passes, and what a request goes on as.

#![expect(
    clippy::expect_used,
    reason = "a fixture that cannot be made fails the test"
)]

use std::sync::Arc;

use policy_l7::{
    Compiled, Direction, Edited, Endpoint, Headers, HttpRequest, Inputs, Subject, compile,
    identity, read_objects,
};

const HEAD: &str = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: n}\nspec:\n  endpointSelector: {}\n  ingress:\n  - toPorts:\n    - ports: [{port: \"80\", protocol: TCP}]\n      rules:\n        http:\n";

fn compiled(rules: &[&str]) -> Arc<Compiled> {
    let rules = rules.iter().fold(String::new(), |text, rule| {
        text + "        - " + rule + "\n"
    });
    let policies = read_objects("p", &format!("{HEAD}{rules}"))
        .expect("a policy")
        .policies;
    let label = "io.kubernetes.pod.namespace=n".parse().expect("a label");
    let endpoint = Endpoint {
        id: 16,
        identity: 300,
        labels: [label].into_iter().collect(),
        named_ports: Vec::new(),
    };
    Arc::new(compile(&Inputs {
        policies: &policies,
        identities: &identity::reserved(),
        endpoints: &[endpoint],
        ..Inputs::default()
    }))
}

struct Fields<'f>(&'f [(&'f str, &'f str)]);

impl Headers for Fields<'_> {
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in self.0 {
            visit(name.as_bytes(), value.as_bytes());
        }
    }
}

/// The headers as they go on and what is told of them, or nothing if the request is denied.
fn passed(
    rules: &[&str],
    paths: &[&[u8]],
    fields: &[(&str, &str)],
) -> Result<(String, String), String> {
    let subject = Subject {
        endpoint: 16,
        direction: Direction::Ingress,
        remote: identity::WORLD,
        protocol: 6,
        port: 80,
    };
    let fields = Fields(fields);
    let request = HttpRequest {
        method: b"GET",
        paths,
        host: b"web",
        headers: &fields,
    };
    let permit = compiled(rules)
        .judge_http(&subject, &request)
        .map_err(|denial| denial.to_string())?;
    let edits = permit.edits();
    let edited = Edited {
        fields: &fields,
        edits,
    };
    let mut all = Vec::new();
    edited.each(&mut |name, value| {
        all.push(format!("{}={}", name.escape_ascii(), value.escape_ascii()));
    });
    Ok((all.join(" "), edits.to_string()))
}

fn goes_on(rules: &[&str], fields: &[(&str, &str)]) -> Option<String> {
    passed(rules, &[b"/a"], fields).ok().map(|(after, _)| after)
}

const ADD: &str = "{headerMatches: [{name: X-A, value: '1', mismatch: ADD}]}";
const DELETE: &str = "{headerMatches: [{name: X-A, value: '1', mismatch: DELETE}]}";
const LOG: &str = "{headerMatches: [{name: X-A, value: '1', mismatch: LOG}]}";
const REPLACE: &str = "{headerMatches: [{name: X-A, value: '1', mismatch: REPLACE}]}";
const FAIL: &str = "{headerMatches: [{name: X-A, value: '1'}]}";

#[test]
fn each_action_does_what_it_says_and_lets_the_request_pass() {
    let fitting = [("x-a", "1")];
    let other = [("x-a", "2"), ("x-b", "3")];
    for (rule, differing, missing) in [
        (ADD, Some("x-a=2 x-b=3 x-a=1"), Some("x-a=1")),
        (DELETE, Some("x-b=3"), Some("")),
        (LOG, Some("x-a=2 x-b=3"), Some("")),
        (REPLACE, Some("x-b=3 x-a=1"), Some("x-a=1")),
        (FAIL, None, None),
    ] {
        assert_eq!(
            goes_on(&[rule], &fitting).as_deref(),
            Some("x-a=1"),
            "{rule}"
        );
        assert_eq!(goes_on(&[rule], &other).as_deref(), differing, "{rule}");
        assert_eq!(goes_on(&[rule], &[]).as_deref(), missing, "{rule}");
    }
}

#[test]
fn several_fields_count_as_one_joined_by_commas() {
    let two = [("X-A", "1"), ("x-a", "1")];
    assert_eq!(goes_on(&[FAIL], &two), None);
    let both = "{headerMatches: [{name: X-A, value: '1,1'}]}";
    assert!(goes_on(&[both], &two).is_some());
    assert!(goes_on(&[both], &[("x-a", "1,1")]).is_some());
    for other in [
        &[("x-a", "1"), ("x-a", "1"), ("x-a", "")][..],
        &[("x-a", "1")],
    ] {
        assert_eq!(goes_on(&[both], other), None, "{other:?}");
    }
}

#[test]
fn later_rules_see_what_earlier_ones_changed() {
    // Without the first rule the second one would not allow it.
    let second = "{headers: ['X-A 1'], headerMatches: [{name: X-B, value: '2', mismatch: ADD}]}";
    assert_eq!(
        goes_on(&[REPLACE, second], &[]).as_deref(),
        Some("x-a=1 x-b=2")
    );
    assert_eq!(goes_on(&[second, REPLACE], &[]).as_deref(), Some("x-a=1"));
}

#[test]
fn no_rule_ends_the_evaluation_and_what_a_failed_one_did_stays() {
    let failing = "{headerMatches: [{name: X-B, value: '2', mismatch: ADD}, {name: X-C, value: '3'}, {name: X-D, value: '4', mismatch: ADD}]}";
    assert_eq!(
        goes_on(&[failing], &[]),
        None,
        "it allows nothing by itself"
    );
    // Behind one that allows everything, too.
    for rules in [["{}", failing], [failing, "{}"]] {
        assert_eq!(
            goes_on(&rules, &[]).as_deref(),
            Some("x-b=2 x-d=4"),
            "{rules:?}"
        );
    }
    // A rule about another path does nothing.
    let elsewhere = "{path: /b, headerMatches: [{name: X-B, value: '2', mismatch: ADD}]}";
    assert_eq!(goes_on(&["{}", elsewhere], &[]).as_deref(), Some(""));
}

#[test]
fn what_is_told_names_headers_and_never_their_values() {
    let (_, told) =
        passed(&[ADD, DELETE, REPLACE, LOG], &[b"/a"], &[("x-a", "secret")]).expect("allowed");
    assert_eq!(
        told,
        "header x-a added, header x-a removed, header x-a replaced"
    );
    let (_, told) = passed(&[LOG], &[b"/a"], &[]).expect("allowed");
    assert_eq!(told, "header x-a is missing or differs");
    let (_, told) = passed(&[FAIL], &[b"/a"], &[("x-a", "1")]).expect("allowed");
    assert_eq!(told, "");
}

#[test]
fn readings_of_a_path_for_which_other_headers_would_change_are_refused() {
    let rules = [
        "{path: '/.*'}",
        "{path: /b, headerMatches: [{name: X-A, value: '1', mismatch: ADD}]}",
    ];
    let denial = passed(&rules, &[b"/a/../b", b"/b"], &[]).expect_err("denied");
    assert!(
        denial.starts_with("the path can be read as /b, of which"),
        "{denial}"
    );
    assert!(passed(&rules, &[b"/a/../c", b"/c"], &[]).is_ok());
}

#[test]
fn a_change_that_would_make_another_message_is_refused_when_it_is_loaded() {
    for bad in [
        "{name: Content-Length, value: '0', mismatch: REPLACE}",
        "{name: Transfer-Encoding, value: chunked, mismatch: ADD}",
        "{name: Host, value: other, mismatch: REPLACE}",
        "{name: X-A, value: \"1\\r\\nX-B: 2\", mismatch: ADD}",
        "{name: X-A, value: \"1\\0\", mismatch: ADD}",
        "{name: \"X-A: 1\\r\\nX-B\", value: '2', mismatch: ADD}",
        "{name: X-A, value: '1', mismatch: REMOVE}",
    ] {
        let text = format!("{HEAD}        - {{headerMatches: [{bad}]}}\n");
        assert!(read_objects("p", &text).is_err(), "{bad}");
    }
    let told =
        format!("{HEAD}        - {{headerMatches: [{{name: Host, value: a, mismatch: LOG}}]}}\n");
    assert!(read_objects("p", &told).is_ok());
}
