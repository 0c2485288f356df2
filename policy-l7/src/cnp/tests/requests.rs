//! What is said of requests.

use super::{are_refused, egress, of_egress};
use crate::rule::{L7, Mismatch};

#[test]
fn server_names_are_patterns_of_tls_connections() {
    let rules = egress(
        "{toPorts: [{ports: [{port: \"443\"}], serverNames: [A.io, \"*.b.io\", \"**.c.io\", \"a*b.io\"]}]}",
    );
    let L7::Tls(names) = &rules[0].l7 else {
        panic!("{:?}", rules[0]);
    };
    for (name, expected) in [
        ("a.io.", true),
        ("x.b.io.", true),
        ("x.y.b.io.", false),
        ("x.y.c.io.", true),
        ("axxb.io.", true),
        ("ax.xb.io.", false),
    ] {
        let is_meant = names.iter().any(|one| one.name.matches(name.as_bytes()));
        assert_eq!(is_meant, expected, "{name}");
    }
    assert_eq!(
        names[1].path_in_object,
        "spec.egress[0].toPorts[0].serverNames[1]"
    );
    assert_eq!(rules[0].ports[0].protocol, Some(6), "only TCP carries it");
    let at_port = |text: &str| of_egress(&format!("{{toPorts: [{text}]}}"));
    let wrong = [
        (
            "{ports: [{port: \"443\"}], serverNames: [\"\"]}",
            "serverNames[0]: the name is empty",
        ),
        (
            "{ports: [{port: \"443\"}], serverNames: [\"a b\"]}",
            "cannot stand in a name",
        ),
        (
            "{ports: [{port: \"443\", protocol: UDP}], serverNames: [a.io]}",
            "need ports of TCP",
        ),
        (
            "{ports: [{port: \"0\", protocol: TCP}], serverNames: [a.io]}",
            "need ports of TCP",
        ),
        ("{serverNames: [a.io]}", "need ports of TCP"),
        (
            "{ports: [{port: \"443\", protocol: TCP}], serverNames: [a.io], rules: {http: [{}]}}",
            "cannot stand beside `rules`",
        ),
    ];
    are_refused(wrong, at_port);
}

#[test]
fn headers_are_wanted_and_what_differs_is_acted_upon() {
    let rules = egress(
        "{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{headers: [\"X-A\", \"X-B: v w\"], headerMatches: [{name: X-C}, {name: X-D, value: \"\", mismatch: \"\"}, {name: X-E, value: e, mismatch: ADD}, {name: X-F, value: f, mismatch: DELETE}, {name: X-G, value: g, mismatch: REPLACE}, {name: X-H, mismatch: LOG}]}]}}]}",
    );
    let L7::Http(http) = &rules[0].l7 else {
        panic!("{:?}", rules[0]);
    };
    let told: Vec<_> = http[0]
        .headers
        .iter()
        .chain(&http[0].header_matches)
        .map(|header| {
            (
                header.name.as_str(),
                header.value.as_deref(),
                header.mismatch,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("X-A", None, Mismatch::Fail),
            ("X-B", Some("v w"), Mismatch::Fail),
            ("X-C", None, Mismatch::Fail),
            ("X-D", None, Mismatch::Fail),
            ("X-E", Some("e"), Mismatch::Add),
            ("X-F", Some("f"), Mismatch::Delete),
            ("X-G", Some("g"), Mismatch::Replace),
            ("X-H", None, Mismatch::Log),
        ]
    );
    let at_rule = |text: &str| {
        of_egress(&format!(
            "{{toPorts: [{{ports: [{{port: \"80\", protocol: TCP}}], rules: {{http: [{text}]}}}}]}}"
        ))
    };
    let wrong = [
        (
            "{headerMatches: [{name: A, mismatch: ADD}]}",
            "need the `value`",
        ),
        (
            "{headerMatches: [{name: A, mismatch: REPLACE, value: \"\"}]}",
            "need the `value`",
        ),
        (
            "{headerMatches: [{name: A, mismatch: DELETE}]}",
            "need the `value`",
        ),
        (
            "{headerMatches: [{name: A, mismatch: log}]}",
            "did you mean `LOG`",
        ),
        ("{headerMatches: [{value: a}]}", "`name` is missing"),
        (
            "{headerMatches: [{name: \"a b\", value: a}]}",
            "is not the name of a header",
        ),
        ("{headers: [\"\"]}", "is not the name of a header"),
        ("{path: \"(\"}", "is not a usable regular expression"),
        ("{method: \"[\"}", "is not a usable regular expression"),
        ("{pth: /a, path: /a}", "did you mean `path`"),
    ];
    are_refused(wrong, at_rule);
}
