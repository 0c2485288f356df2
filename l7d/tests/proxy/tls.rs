//! Connections of TLS are judged by the name that their first message asks for.

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use l7d::policy::Live;

use crate::enforce::{GET, OK, assert_records};
use crate::nginx::Nginx;
use crate::policed::{POLICY, compiled, plan};
use crate::world::{End, HANG, Plan, Server, World, shown};

const NAMES: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: names, namespace: shop }
spec:
  endpointSelector: { matchLabels: { app: web } }
  ingress:
  - fromEndpoints: [ { matchLabels: { app: client } } ]
    toPorts:
    - ports: [ { port: "80", protocol: TCP } ]
      serverNames: [ "good.example", "*.fine.example" ]
"#;
const ANYTHING: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: anything, namespace: shop }
spec:
  endpointSelector: { matchLabels: { app: web } }
  ingress:
  - fromEndpoints: [ { matchLabels: { app: client } } ]
    toPorts:
    - ports: [ { port: "80", protocol: TCP } ]
"#;

fn judging(server: SocketAddr, policies: &[&str]) -> World {
    World::start(plan_with(server, policies))
}

fn plan_with(server: SocketAddr, policies: &[&str]) -> Plan {
    Plan {
        live: Arc::new(Live::new(compiled(&policies.join("---"), 1))),
        ..plan(server)
    }
}

fn vector(length: usize, body: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&bytes[4 - length..], body].concat()
}

/// A handshake message of a client that asks for these names, one extension each.
fn message(names: &[&str]) -> Vec<u8> {
    let extension = |name: &&str| {
        let name = [&[0][..], &vector(2, name.as_bytes())].concat();
        [&[0, 0][..], &vector(2, &vector(2, &name))].concat()
    };
    // So long that it comes in several segments, and in several records where those are short.
    let padding = [&[0, 21][..], &vector(2, &[0; 3000])].concat();
    let extensions: Vec<u8> = names.iter().flat_map(extension).chain(padding).collect();
    let fixed = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
    let body = [&fixed[..], &vector(2, &extensions)].concat();
    [&[1][..], &vector(3, &body)].concat()
}

/// In records that are at most so long.
fn hello(names: &[&str], longest: usize) -> Vec<u8> {
    let record = |piece| [&[22, 3, 1][..], &vector(2, piece)].concat();
    message(names).chunks(longest).flat_map(record).collect()
}

/// What a server says that wants another hello.
fn retry() -> Vec<u8> {
    let random = b"\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c";
    let body = [&[3, 3][..], random, &[0, 0x13, 1, 0, 0, 0]].concat();
    let message = [&[2][..], &vector(3, &body)].concat();
    [&[22, 3, 3][..], &vector(2, &message)].concat()
}

/// A server that notes all it gets until the client stops, and answers nothing.
fn listening() -> (Server, mpsc::Receiver<Vec<u8>>) {
    let (tell, told) = mpsc::sync_channel(1);
    let server = Server::once(move |mut peer| tell.send(peer.rest().0).unwrap());
    (server, told)
}

/// Sends something and is refused; the server gets nothing of it, and the record is given back.
fn refused(policies: &[&str], bytes: &[u8], ends: bool) -> String {
    let (server, told) = listening();
    let world = judging(server.address, policies);
    let mut client = world.connect();
    client.send(bytes);
    if ends {
        client.half_close();
    }
    assert_eq!(client.rest(), (Vec::new(), End::Reset), "{}", shown(bytes));
    assert_eq!(shown(&told.recv_timeout(HANG).unwrap()), shown(b""));
    server.join();
    let records = world.records(1);
    assert_eq!(records.len(), 1, "{records:#?}");
    records[0].clone()
}

#[test]
fn an_allowed_hello_goes_on_as_it_came_however_it_was_cut() {
    for (name, longest, step) in [
        ("good.example", 16384, 100_000),
        ("GOOD.Example", 1000, 1),
        ("a.fine.example", 40, 700),
    ] {
        let bytes = hello(&[name], longest);
        let expected = bytes.clone();
        let server = Server::once(move |mut peer| {
            peer.expect(&expected);
            peer.send(b"\x16\x03\x03\0\x04\x02\0\0\0");
            peer.expect(b"\x17\x03\x03\0\x01x");
            peer.send(b"\x17\x03\x03\0\x02yz");
        });
        let world = judging(server.address, &[NAMES]);
        let mut client = world.connect();
        for piece in bytes.chunks(step) {
            client.send(piece);
        }
        client.expect(b"\x16\x03\x03\0\x04\x02\0\0\0");
        client.send(b"\x17\x03\x03\0\x01x");
        client.expect(b"\x17\x03\x03\0\x02yz");
        assert_eq!(client.rest(), (Vec::new(), End::Closed));
        drop(client);
        server.join();
        let sent = bytes.len() + 6;
        assert_eq!(
            world.records(1),
            [format!("opaque tls to {name} {sent} 16 Forwarded names")]
        );
    }
}

#[test]
fn a_name_that_is_not_allowed_never_reaches_the_server() {
    for (name, longest) in [("bad.example", 16384), ("x.good.example", 30)] {
        let record = refused(&[NAMES], &hello(&[name], longest), false);
        let start = format!(
            "opaque tls to {name} 0 0 Dropped policy_denied nearest rule names spec.ingress[0].toPorts[0].serverNames[0]: server name {name} is not good.example"
        );
        assert!(record.starts_with(&start), "{record}");
        assert!(record.ends_with(" names"), "{record}");
    }
    let record = refused(&[NAMES], &hello(&[], 16384), false);
    assert!(record.contains("the client names no server"), "{record}");
}

#[test]
fn what_is_no_tls_or_no_plain_hello_is_refused_with_its_reason() {
    let two = hello(&["good.example", "bad.example"], 16384);
    let mut crowded = message(&["good.example"]);
    crowded.extend(message(&["bad.example"]));
    let crowded = [&[22, 3, 1][..], &vector(2, &crowded)].concat();
    let started = &hello(&["good.example"], 16384)[..200];
    for (bytes, ends, expected) in [
        (
            GET,
            false,
            "opaque not tls 0 0 Dropped parse_error only TLS may pass here: no-handshake-record (RFC 8446 §5.1)",
        ),
        (
            b"\x80\x2e\x01\x03\x01\0\x15",
            false,
            "opaque not tls 0 0 Dropped parse_error",
        ),
        (
            &two,
            false,
            "opaque tls to good.example 0 0 Dropped parse_error tls-extension-twice (RFC 8446 §4.2)",
        ),
        (
            &crowded,
            false,
            "opaque tls 0 0 Dropped parse_error only TLS may pass here: client-hello-not-alone",
        ),
        (
            b"\x16\x03\x01\0\x04\x01\x02\0\0",
            false,
            "opaque tls 0 0 Dropped limit only TLS may pass here: client-hello-too-long",
        ),
        (
            started,
            true,
            "opaque tls 0 0 Dropped parse_error only TLS may pass here: client-hello-incomplete",
        ),
    ] {
        let record = refused(&[NAMES], bytes, ends);
        assert!(record.starts_with(expected), "{record} is not {expected}");
    }
}

#[test]
fn a_hello_that_does_not_end_in_time_is_a_limit() {
    let (server, told) = listening();
    let world = World::start(Plan {
        head_timeout: Duration::from_millis(50),
        ..plan_with(server.address, &[NAMES])
    });
    let mut client = world.connect();
    client.send(&hello(&["good.example"], 16384)[..50]);
    assert_eq!(client.rest(), (Vec::new(), End::Reset));
    assert_eq!(told.recv_timeout(HANG).unwrap(), b"");
    server.join();
    assert_eq!(
        world.records(1),
        [
            "opaque tls 0 0 Dropped limit only TLS may pass here: client-hello-timeout (RFC 8446 §4.1.2)"
        ]
    );
}

#[test]
fn a_second_hello_is_judged_as_well() {
    for (second, is_allowed) in [("a.fine.example", true), ("bad.example", false)] {
        let first = hello(&["good.example"], 16384);
        let second = [&b"\x14\x03\x03\0\x01\x01"[..], &hello(&[second], 500)].concat();
        let (expected, rest) = (first.clone(), second.clone());
        let server = Server::once(move |mut peer| {
            peer.expect(&expected);
            peer.send(&retry());
            if is_allowed {
                peer.expect(&rest);
                peer.send(b"heard");
            }
            assert_eq!(shown(&peer.rest().0), shown(b""));
        });
        let world = judging(server.address, &[NAMES]);
        let mut client = world.connect();
        // At once: a client that wants to pass it unseen does not wait until it is asked.
        client.send(&[&first[..], &second].concat());
        client.expect(&retry());
        if is_allowed {
            client.expect(b"heard");
            client.half_close();
        }
        client.rest();
        drop(client);
        server.join();
        let records = world.records(1);
        let expected = if is_allowed {
            "opaque tls to good.example"
        } else {
            "opaque tls to bad.example"
        };
        assert!(records[0].starts_with(expected), "{records:#?}");
        let outcome = if is_allowed {
            "Forwarded"
        } else {
            "Dropped policy_denied"
        };
        assert!(records[0].contains(outcome), "{records:#?}");
    }
}

#[test]
fn where_everything_is_allowed_besides_nothing_is_waited_for() {
    let server = Server::once(|mut peer| {
        peer.send(b"220 hello\r\n");
        peer.expect(b"QUIT\r\n");
    });
    let world = judging(server.address, &[NAMES, ANYTHING]);
    let mut client = world.connect();
    client.expect(b"220 hello\r\n");
    client.send(b"QUIT\r\n");
    assert_eq!(client.rest(), (Vec::new(), End::Closed));
    drop(client);
    server.join();
    let records = world.records(1);
    assert!(records[0].ends_with(" Forwarded anything"), "{records:#?}");
}

#[test]
fn a_server_that_speaks_before_the_hello_speaks_no_tls() {
    let server = Server::once(|mut peer| {
        peer.send(b"220 hello\r\n");
        peer.rest();
    });
    let world = judging(server.address, &[NAMES]);
    let mut client = world.connect();
    assert_eq!(client.rest(), (Vec::new(), End::Reset));
    server.join();
    let records = world.records(1);
    assert!(
        records[0].contains("parse_error only TLS may pass here: server-spoke-before-hello"),
        "{records:#?}"
    );
}

#[test]
fn a_connection_without_a_word_ends_in_silence() {
    let (server, told) = listening();
    let world = judging(server.address, &[NAMES]);
    let client = world.connect();
    client.half_close();
    assert_eq!(told.recv_timeout(HANG).unwrap(), b"");
    server.join();
    assert_eq!(world.records(0), Vec::<String>::new());
}

#[test]
fn where_requests_are_judged_as_well_the_first_byte_decides() {
    let server = Server::once(|mut peer| {
        peer.expect(GET);
        peer.send(OK);
        assert_eq!(peer.rest().0, b"");
    });
    let world = judging(server.address, &[NAMES, POLICY]);
    let mut client = world.connect();
    client.send(GET);
    client.expect(OK);
    client.half_close();
    drop(client);
    server.join();
    assert_records(
        &world.records(2),
        &[
            "request GET http://web/get passed Forwarded api",
            "response 200 ",
        ],
    );
    let record = refused(&[NAMES, POLICY], &hello(&["bad.example"], 16384), false);
    assert!(
        record
            .starts_with("opaque tls to bad.example 0 0 Dropped policy_denied nearest rule names"),
        "{record}"
    );
    assert!(record.ends_with(" names,api"), "{record}");
}

/// An nginx that speaks TLS; `curve` is the only group for key exchange that it takes.
fn nginx(curve: &str) -> Nginx {
    Nginx::start("$ssl_server_name $request", |folder, address| {
        let certificate = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-subj", "/CN=good.example", "-days", "2"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(certificate.status.success(), "{certificate:?}");
        format!(
            "listen {address} ssl; ssl_certificate {0}/cert.pem;\
             ssl_certificate_key {0}/key.pem; ssl_ecdh_curve {curve}; return 200 served;",
            folder.display(),
        )
    })
}

/// Asks with curl for a name at the proxy.
fn ask(world: &World, name: &str, more: &[&str]) -> Output {
    let port = world.entry.port();
    Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--max-time", "20"])
        .args(["--resolve", &format!("{name}:{port}:127.0.0.1")])
        .args(more)
        .arg(format!("https://{name}:{port}/{name}"))
        .output()
        .unwrap()
}

#[test]
fn curl_reaches_the_allowed_names_of_nginx_and_no_others() {
    // With the second one, curl's first hello offers no share that the server takes: it asks again.
    for curve in ["X25519", "secp384r1"] {
        let nginx = nginx(curve);
        let world = judging(nginx.address, &[NAMES]);
        for (name, more) in [
            ("good.example", &[][..]),
            ("www.fine.example", &["--tls-max", "1.2"]),
        ] {
            let output = ask(&world, name, more);
            assert_eq!(output.stdout, b"served", "{curve} {name}: {output:?}");
        }
        for (name, more) in [
            ("bad.example", &[][..]),
            ("good.example.bad.example", &["--tls-max", "1.2"]),
            ("a.b.fine.example", &[]),
        ] {
            let output = ask(&world, name, more);
            assert!(!output.status.success(), "{curve} {name}: {output:?}");
            assert_eq!(output.stdout, b"", "{curve} {name}");
        }
        let log = nginx.log();
        assert_eq!(
            log,
            [
                "good.example GET /good.example HTTP/1.1",
                "www.fine.example GET /www.fine.example HTTP/1.1"
            ],
            "{curve}"
        );
        let records = world.records(5);
        let dropped = records
            .iter()
            .filter(|record| record.contains("Dropped policy_denied"));
        assert_eq!(dropped.count(), 3, "{records:#?}");
        assert_eq!(records.len(), 5, "{records:#?}");
    }
}
