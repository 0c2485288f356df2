//! Requests and names, and rules about them.

use crate::policy::choices::Choices;
use crate::policy::reference::HttpWords;
use crate::policy::words::{Http, Name};

const EXPRESSIONS: [&str; 12] = [
    "/api/.*",
    "/api/v1",
    "/api/v1/users/[0-9]+",
    "/health|/ready",
    "/.*",
    ".*",
    "/a(pi)?/.*",
    "/api/.+",
    "(/api)?/v1",
    "/API/v1",
    "/api/v1\\?x=.",
    "/api/v[12]/.*",
];

const PATHS: [&str; 12] = [
    "/api/v1",
    "/api/",
    "/api/v1/users/7",
    "/health",
    "/healthz",
    "/",
    "/a/v1",
    "/API/v1",
    "/v1",
    "/api/v1?x=1",
    "/api/v2/",
    "",
];

const METHODS: [&str; 4] = ["GET", "POST", "get", "DELETE"];

pub(super) const NAMES: [&str; 8] = [
    "example.com.",
    "api.example.com.",
    "a.api.example.com.",
    "example.org.",
    "api-1.example.org.",
    "com.",
    "wwwexample.com.",
    "_sip._tcp.example.com.",
];

const PATTERNS: [&str; 10] = [
    "*.example.com",
    "**.example.com",
    "*",
    "api.*",
    "*example.com",
    "api*.example.org",
    "*.*.example.com",
    "**.com",
    "Example.COM",
    "a*.ex*.com",
];

pub(super) fn http(choices: &mut Choices<'_>) -> Http {
    let methods = ["GET", "GET|POST", "P.*", "[A-Z]+"];
    Http {
        method: choices.perhaps(2, |choices| choices.text(&methods)),
        path: choices.perhaps(2, |choices| choices.text(&EXPRESSIONS)),
        host: choices.perhaps(6, |choices| choices.text(&["web", "web\\..*", ".*"])),
        headers: choices
            .perhaps(6, |choices| choices.text(&["X-A", "X-A: 1", "x-b 2"]))
            .into_iter()
            .collect(),
        matches: choices
            .perhaps(6, |choices| {
                let value = choices.perhaps(2, |choices| choices.text(&["1", "2"]));
                (choices.text(&["X-A", "x-b"]), value)
            })
            .into_iter()
            .collect(),
    }
}

pub(super) fn name(choices: &mut Choices<'_>) -> Name {
    if choices.is(2) {
        Name::Pattern(choices.text(&PATTERNS))
    } else {
        Name::Exact(choices.text(&NAMES))
    }
}

pub(super) fn server_pattern(choices: &mut Choices<'_>) -> String {
    choices.text(&PATTERNS)
}

/// An HTTP request.
pub fn http_request(choices: &mut Choices<'_>) -> HttpWords {
    HttpWords {
        method: choices.text(&METHODS),
        paths: choices.some(1, 2, |choices| choices.text(&PATHS)),
        host: choices.text(&["web", "web.shop", "WEB", "web:80", ""]),
        fields: choices.some(0, 2, |choices| {
            let name = choices.text(&["X-A", "x-a", "X-B"]);
            (name, choices.text(&["1", "2", ""]))
        }),
    }
}

/// A name that is asked for.
pub fn asked_name(choices: &mut Choices<'_>) -> String {
    choices.text(&NAMES)
}
