//! Ways past the proxies of others that were published: here they do not lead to the server. What it
//! has read when the client is gone is the judge.

use std::sync::Arc;

use l7d::policy::Live;
use parsers::http2::{Flags, Frame, Settings};

use crate::http2::speaker::{END, Speaker};
use crate::policed::{compiled, enforcing, plan};
use crate::world::{HANG, Plan, Server, World, shown};

/// What a server reads of what a client sends, and what the client gets.
fn arrives(policy: &str, request: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let server = Server::once(move |mut peer| tell.send(peer.rest().0).unwrap());
    let world = World::start(Plan {
        live: Arc::new(Live::new(compiled(policy, 1))),
        ..plan(server.address)
    });
    let mut client = world.connect();
    client.send(request);
    client.half_close();
    let (answer, _) = client.rest();
    drop(client);
    let read = told.recv_timeout(HANG).unwrap();
    server.join();
    drop(world.records(1));
    (read, answer)
}

/// A policy with these rules for requests of the client.
fn rules(rules: &str) -> String {
    format!(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{ name: p, namespace: shop }}\n\
         spec:\n  endpointSelector: {{ matchLabels: {{ app: web }} }}\n  ingress:\n  \
         - fromEndpoints: [ {{ matchLabels: {{ app: client }} }}, {{ matchLabels: {{ app: other }} }} ]\n    \
         toPorts: [ {{ ports: [ {{ port: \"80\", protocol: TCP }} ], rules: {{ http: [ {rules} ] }} }} ]\n"
    )
}

/// Asserts that what is allowed arrives as it is, and none of the others at all.
fn assert_no_way_past(policy: &str, allowed: &[u8], bypasses: &[&str]) {
    assert_eq!(shown(&arrives(policy, allowed).0), shown(allowed));
    for bypass in bypasses {
        let (read, answer) = arrives(policy, bypass.as_bytes());
        assert!(read.is_empty(), "{bypass:?}: {}", shown(&read));
        let status = answer.get(..12).unwrap_or_default();
        assert!(
            [&b"HTTP/1.1 403"[..], b"HTTP/1.1 400"].contains(&status),
            "{bypass:?}: {}",
            shown(&answer)
        );
    }
}

/// GET requests for paths.
fn gets(paths: &[&str]) -> Vec<String> {
    let requests = paths.iter();
    requests
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: web\r\n\r\n"))
        .collect()
}

fn assert_paths_are_refused(paths: &[&str]) {
    let bypasses = gets(paths);
    let bypasses: Vec<&str> = bypasses.iter().map(String::as_str).collect();
    let allowed = b"GET /public/a HTTP/1.1\r\nHost: web\r\n\r\n";
    assert_no_way_past(&rules("{ path: \"/public/.*\" }"), allowed, &bypasses);
}

#[test]
fn cve_2019_9901_paths_are_judged_normalised_too() {
    assert_paths_are_refused(&[
        "/public/../admin",
        "/public/./../admin",
        "/public//../../admin",
        "/public/a/../../admin",
        "/public/%2e%2e/admin",
        "/public/.%2E/admin",
    ]);
}

#[test]
fn cve_2021_29492_encoded_slashes_are_judged_as_slashes_too() {
    assert_paths_are_refused(&[
        "/public/..%2fadmin",
        "/public%2f..%2fadmin",
        "/public/a%2F..%2F..%2Fadmin",
        "/public/..%5cadmin",
        "/public/..\\admin",
        "/public/%2e%2e%2fadmin",
    ]);
}

#[test]
fn cve_2021_32779_a_fragment_is_no_part_of_a_target() {
    assert_paths_are_refused(&[
        "/admin#/public/a",
        "/public/a#",
        "/public/#/../../admin",
        "/public/a?b#c",
        "http://web/public/a#/admin",
    ]);
}

#[test]
fn cve_2023_30851_an_allow_for_one_peer_is_none_for_its_neighbour() {
    let policy = rules("{ method: GET, path: /get }")
        + "  - fromEndpoints: [ { matchLabels: { app: other } } ]\n";
    assert_no_way_past(
        &policy,
        b"GET /get HTTP/1.1\r\nHost: web\r\n\r\n",
        &[
            "POST /get HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n",
            "GET /admin HTTP/1.1\r\nHost: web\r\n\r\n",
        ],
    );
}

#[test]
fn ghsa_7774_7vr3_cc8j_a_host_in_other_letters_is_not_the_one_that_is_allowed() {
    assert_no_way_past(
        &rules("{ host: \"public[.]web\" }"),
        b"GET / HTTP/1.1\r\nHost: public.web\r\n\r\n",
        &[
            "GET / HTTP/1.1\r\nHost: admin.web\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: PUBLIC.web\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: public.web.\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: public.web:80\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: publicxweb\r\n\r\n",
            "GET http://admin.web/ HTTP/1.1\r\nHost: public.web\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: public.web\r\nHost: admin.web\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: public.web, admin.web\r\n\r\n",
        ],
    );
}

#[test]
fn cve_2023_27491_no_pseudo_header_becomes_another_request() {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let server = Server::once(move |peer| tell.send(peer).unwrap());
    let world = enforcing(server.address);
    let mut client = Speaker::client(world.connect());
    let mut server = Speaker::server(told.recv_timeout(HANG).unwrap());
    client.expect(&["SETTINGS"]);
    client.say(0, Flags::ACK, &Frame::Settings(Settings::new(&[])));
    server.expect(&["SETTINGS ack"]);
    let plain = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "web"),
        (":path", "/get"),
    ];
    let mut stream = 1;
    for (name, value) in [
        (":method", "GET /get HTTP/1.1\r\nHost: web\r\n\r\nPOST"),
        (":method", "GET "),
        (":method", ""),
        (":path", "/get HTTP/1.1\r\nHost: web\r\n\r\nGET /admin"),
        (":path", "/get /admin"),
        (":path", "/get\t"),
        (":path", "/get#/admin"),
        (":path", ""),
        (":path", "*"),
        (":path", "get"),
        (":authority", "web\r\nX-Admin: 1"),
        (":authority", "web/admin"),
        (":authority", "a@web"),
        (":authority", ""),
        (":scheme", "http\r\nX-Admin: 1"),
        (":scheme", "http://admin/?"),
    ] {
        let fields = plain.map(|(of, usual)| (of, if of == name { value } else { usual }));
        client.say_head(stream, END, &fields);
        let answer = client.next();
        let is_refused = answer == format!("RST_STREAM {stream} PROTOCOL_ERROR")
            || [400, 403].iter().any(|status| {
                answer.starts_with(&format!("HEADERS {stream} end :status={status}"))
            });
        assert!(is_refused, "{name} {value:?}: {answer}");
        stream += 2;
    }
    // The first that the server hears of is the one that is allowed.
    client.ask(stream, END, "GET", "/get");
    server.expect(&[&format!(
        "HEADERS {stream} end :method=GET :scheme=http :authority=web :path=/get"
    )]);
}
