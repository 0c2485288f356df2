//! Many HTTP rules are asked through an index; it must give the verdict, and name the rule, that
//! asking each in its order would.

#![expect(
    clippy::expect_used,
    reason = "a fixture that cannot be made fails the test"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use policy_l7::{
    Compiled, Direction, Endpoint, Headers, HttpRequest, Inputs, Subject, compile, identity,
    read_objects,
};
use proptest::prelude::*;
use proptest::sample::select;
use regex_automata::meta::Regex;
use regex_automata::util::syntax;

/// Expressions whose beginnings meet in every way: equal, one inside another, none, several.
const PATHS: [&str; 30] = [
    "",
    ".*",
    "/.*",
    "/a",
    "/a/.*",
    "/a/b",
    "/a/b/.*",
    "/ab",
    "/ab.*",
    "/a|/b",
    "/(a|b)/.*",
    "(/a|/b)/[0-9]+",
    "/[ab]/.+",
    "/a/[0-9]+",
    "/a/[0-9]+/b",
    "/a/[0-9]+/b.*",
    "/a/[a-z]+",
    "/a/[^/]+",
    "/a/[0-9]{2}",
    "/a/(b|[0-9])",
    "/a?/b",
    "/?a",
    "(?i)/A",
    "(?i)/a/b",
    "/a\\\\.b",
    "/a.b",
    "^/a/b$",
    "/a$|/b",
    "()",
    "[a&&b]",
];
const METHODS: [&str; 3] = ["", "GET", "GET|POST"];
const ASKED: [&str; 24] = [
    "", "/", "/a", "/A", "/b", "a", "/ab", "/abc", "/a.b", "/a/", "/a/b", "/A/B", "/a/b/",
    "/a/b/c", "/a/1", "/a/12", "/a/12/b", "/a/12/bc", "/b/7", "/b/x", "/x", "/a/b\n", "/a\n",
    "/a/b?x=1",
];

#[derive(Debug, Clone)]
struct Rule {
    path: &'static str,
    method: &'static str,
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let rule =
        (select(&PATHS[..]), select(&METHODS[..])).prop_map(|(path, method)| Rule { path, method });
    proptest::collection::vec(rule, 1..40)
}

fn compiled(rules: &[Rule]) -> Arc<Compiled> {
    let mut text = String::from(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: n}\nspec:\n  endpointSelector: {}\n  ingress:\n  - toPorts:\n    - ports: [{port: \"80\", protocol: TCP}]\n      rules:\n        http:\n",
    );
    for Rule { path, method } in rules {
        writeln!(text, "        - {{path: \"{path}\", method: \"{method}\"}}").expect("text grows");
    }
    let policies = read_objects("p", &text).expect("a policy").policies;
    let endpoint = Endpoint {
        id: 16,
        identity: 300,
        labels: ["io.kubernetes.pod.namespace=n".parse().expect("a label")]
            .into_iter()
            .collect(),
        named_ports: Vec::new(),
    };
    Arc::new(compile(&Inputs {
        policies: &policies,
        identities: &identity::reserved(),
        endpoints: &[endpoint],
        named: &BTreeSet::new(),
        revision: 1,
        ..Inputs::default()
    }))
}

struct NoFields;

impl Headers for NoFields {
    fn each(&self, _: &mut dyn FnMut(&[u8], &[u8])) {}
}

/// The rule that allows it, by its path in the policy.
fn verdict(policy: &Arc<Compiled>, method: &str, path: &str) -> Option<String> {
    let subject = Subject {
        endpoint: 16,
        direction: Direction::Ingress,
        remote: identity::WORLD,
        protocol: 6,
        port: 80,
    };
    let request = HttpRequest {
        method: method.as_bytes(),
        paths: &[path.as_bytes()],
        host: b"",
        headers: &NoFields,
    };
    let permit = policy.judge_http(&subject, &request).ok()?;
    let rule = permit.rule().and_then(|id| policy.rule(id));
    rule.map(|provenance| provenance.rule.clone())
}

/// Each expression asked alone, by the engine itself.
fn matches(source: &str, text: &str) -> bool {
    let source = source.replace("\\\\", "\\");
    let regex = Regex::builder()
        .syntax(syntax::Config::new().unicode(false).utf8(false))
        .build(&format!("^(?:{source})$"))
        .expect("a regular expression");
    source.is_empty() || regex.is_match(text)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_index_names_the_first_rule_that_matches(rules in rules()) {
        let policy = compiled(&rules);
        for method in ["GET", "POST", "PUT"] {
            for path in ASKED {
                let expected = rules
                    .iter()
                    .position(|rule| matches(rule.method, method) && matches(rule.path, path))
                    .map(|position| format!("spec.ingress[0].toPorts[0].rules.http[{position}]"));
                prop_assert_eq!(verdict(&policy, method, path), expected, "{} {:?} {:?}", method, path, rules);
            }
        }
    }
}

#[test]
fn every_rule_of_thousands_is_found_and_nothing_else() {
    let sources: Vec<String> = (0..3000)
        .map(|number| match number % 3 {
            0 => format!("/s{number}/get"),
            1 => format!("/s{number}/.*"),
            _ => format!("/u/[0-9]+/s{number}"),
        })
        .collect();
    let mut text = String::new();
    for source in &sources {
        writeln!(text, "        - {{path: \"{source}\", method: GET}}").expect("text grows");
    }
    let base = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: n}\nspec:\n  endpointSelector: {}\n  ingress:\n  - toPorts:\n    - ports: [{port: \"80\", protocol: TCP}]\n      rules:\n        http:\n";
    let policies = read_objects("p", &format!("{base}{text}"))
        .expect("a policy")
        .policies;
    let labels = ["io.kubernetes.pod.namespace=n".parse().expect("a label")];
    let policy = Arc::new(compile(&Inputs {
        policies: &policies,
        identities: &identity::reserved(),
        endpoints: &[Endpoint {
            id: 16,
            identity: 300,
            labels: labels.into_iter().collect(),
            named_ports: Vec::new(),
        }],
        named: &BTreeSet::new(),
        revision: 1,
        ..Inputs::default()
    }));
    for (number, source) in sources.iter().enumerate() {
        let path = source.replace(".*", "x").replace("[0-9]+", "42");
        let rule = format!("spec.ingress[0].toPorts[0].rules.http[{number}]");
        assert_eq!(verdict(&policy, "GET", &path), Some(rule), "{path}");
        assert_eq!(verdict(&policy, "POST", &path), None, "{path}");
        assert_eq!(verdict(&policy, "GET", &format!("/x{path}")), None);
    }
}

#[test]
fn expressions_that_match_one_path_do_not_hide_each_other() {
    let paths = ["/a$|/b", "/a.b", "/?a", "(?i)/A"];
    let policy = compiled(&paths.map(|path| Rule { path, method: "" }));
    for (path, position) in [("/a", 0), ("/a.b", 1), ("a", 2), ("/A", 3)] {
        let rule = format!("spec.ingress[0].toPorts[0].rules.http[{position}]");
        assert_eq!(verdict(&policy, "GET", path), Some(rule), "{path}");
    }
}
