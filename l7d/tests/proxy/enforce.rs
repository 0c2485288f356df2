//! Every request is judged before its bytes go on.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use l7d::policy::Live;
use policy_l7::Compiled;

use crate::policed::{CLOSED, POLICY, compiled, enforcing, plan};
use crate::world::{End, Peer, Plan, Server, World, shown};

pub(crate) const GET: &[u8] = b"GET /get HTTP/1.1\r\nHost: web\r\n\r\n";
pub(crate) const POST: &[u8] = b"POST /post HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\n\r\ndata";
pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
pub(crate) const DENIED: &[u8] = b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\ncontent-length: 15\r\n\r\nAccess denied\r\n";

pub(crate) const ASKED: &str = "request GET http://web/get passed Forwarded api";
pub(crate) const ANSWERED: &str = "response 200 GET http://web/get passed Forwarded";
pub(crate) const POST_DENIED: &str =
    "request POST http://web/post policy_denied Dropped nearest rule api";
pub(crate) const POST_REFUSED: &str = "response 403 POST http://web/post policy_denied Forwarded";

/// Each recorded line starts as expected: the words about the nearest rule are the policy's own.
pub(crate) fn assert_records(records: &[String], expected: &[&str]) {
    let fits = records.len() == expected.len()
        && records
            .iter()
            .zip(expected)
            .all(|(record, start)| record.starts_with(start));
    assert!(fits, "{records:#?} is not {expected:#?}");
}

/// A server that notes all it gets until the client stops, and answers nothing.
fn listening() -> (Server, mpsc::Receiver<Vec<u8>>) {
    let (tell, told) = mpsc::sync_channel(1);
    let server = Server::once(move |mut peer| tell.send(peer.rest().0).unwrap());
    (server, told)
}

#[test]
fn allowed_requests_pass_as_they_are_and_denied_ones_never_arrive() {
    let server = Server::once(|mut peer| {
        peer.expect(GET);
        peer.send(OK);
        peer.expect(GET);
        peer.send(OK);
        assert_eq!(peer.rest(), (Vec::new(), End::Closed));
    });
    let world = enforcing(server.address);
    let mut client = world.connect();
    for (request, response) in [(GET, OK), (POST, DENIED), (GET, OK)] {
        client.send(request);
        client.expect(response);
    }
    drop(client);
    server.join();
    let records = world.records(6);
    assert_records(
        &records,
        &[ASKED, ANSWERED, POST_DENIED, POST_REFUSED, ASKED, ANSWERED],
    );
    assert!(
        records[2].ends_with(" api"),
        "the policy is named: {}",
        records[2]
    );
}

#[test]
fn a_refusal_waits_for_the_answers_before_it() {
    let (go, gate) = mpsc::sync_channel::<()>(0);
    let server = Server::once(move |mut peer| {
        peer.expect(GET);
        gate.recv().unwrap();
        peer.send(OK);
        peer.expect(GET);
        peer.send(OK);
        peer.rest();
    });
    let world = enforcing(server.address);
    let mut client = world.connect();
    client.send(&[GET, POST, GET].concat());
    world.wait_for("policy_denied Dropped");
    go.send(()).unwrap();
    client.expect(&[OK, DENIED, OK].concat());
    drop(client);
    server.join();
    assert_records(
        &world.records(6),
        &[ASKED, POST_DENIED, ANSWERED, POST_REFUSED, ASKED, ANSWERED],
    );
}

#[test]
fn the_bodies_of_denied_requests_are_swallowed() {
    let body = vec![b'x'; 3 << 20];
    let length = format!(
        "PUT /p HTTP/1.1\r\nHost: web\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let chunked = b"PUT /p HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n22\r\nGET /get HTTP/1.1\r\nHost: web\r\n\r\n!\n\r\n0\r\n\r\n";
    let server = Server::once(|mut peer| {
        peer.expect(GET);
        peer.send(OK);
        assert_eq!(peer.rest().0, b"");
    });
    let world = enforcing(server.address);
    let mut client = world.connect();
    client.send(length.as_bytes());
    client.expect(DENIED);
    client.send(&body);
    client.send(chunked);
    client.expect(DENIED);
    client.send(GET);
    client.expect(OK);
    drop(client);
    server.join();
    assert_eq!(world.records(6).len(), 6);
}

#[test]
fn one_byte_at_a_time_is_the_same() {
    let server = Server::once(|mut peer| {
        peer.expect(GET);
        peer.send(OK);
        assert_eq!(peer.rest().0, b"");
    });
    let world = enforcing(server.address);
    let mut client = world.connect();
    for byte in [POST, GET].concat() {
        client.send(&[byte]);
    }
    client.expect(&[DENIED, OK].concat());
    drop(client);
    server.join();
    assert_records(
        &world.records(4),
        &[POST_DENIED, POST_REFUSED, ASKED, ANSWERED],
    );
}

/// Sends `bytes` and expects a refusal that closes, and nothing at the server.
fn assert_refused(bytes: &[u8], status: &str, record: &str) {
    let (server, told) = listening();
    let world = enforcing(server.address);
    let mut client = world.connect();
    client.send(bytes);
    let (answer, _) = client.rest();
    let start = format!("HTTP/1.1 {status} ");
    assert!(
        answer.starts_with(start.as_bytes()),
        "{}: {}",
        shown(bytes),
        shown(&answer)
    );
    drop(client);
    assert_eq!(
        shown(&told.recv_timeout(crate::world::HANG).unwrap()),
        shown(b"")
    );
    server.join();
    let records = world.records(2);
    assert_eq!(records.len(), 2, "{records:#?}");
    assert!(
        records[0].contains(record) && records[0].contains("Dropped"),
        "{}",
        records[0]
    );
    assert!(
        records[1].starts_with(&format!("response {status} ")),
        "{}",
        records[1]
    );
}

#[test]
fn what_two_servers_could_read_differently_is_refused_by_its_rule() {
    for (head, status, rule) in [
        ("GET /get HTTP/1.1\nHost: web\n\n", "400", "bare-lf"),
        (
            "GET /get HTTP/1.1\r\nHost: web\r\n x: y\r\n\r\n",
            "400",
            "parse_error",
        ),
        (
            "GET /get HTTP/1.1\r\nHost : web\r\n\r\n",
            "400",
            "bad-header-name",
        ),
        ("GET /get HTTP/1.1\r\n\r\n", "400", "no-host"),
        (
            "GET /get HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            "400",
            "several-hosts",
        ),
        (
            "GET /get HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
            "400",
            "content-length-with-transfer-encoding",
        ),
        (
            "GET /get HTTP/1.1\r\nHost: web\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "400",
            "several-content-lengths",
        ),
        (
            "GET http://other/get HTTP/1.1\r\nHost: web\r\n\r\n",
            "400",
            "host-differs-from-target",
        ),
        (
            "GET /get HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "501",
            "transfer-coding-list",
        ),
        ("\u{16}\u{3}\u{1}\n\n", "400", "parse_error"),
    ] {
        assert_refused(head.as_bytes(), status, rule);
    }
}

#[test]
fn heads_beyond_the_limits_are_refused() {
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(70 << 10));
    assert_refused(long.as_bytes(), "431", "head-too-long");
    let many = format!(
        "GET /get HTTP/1.1\r\nHost: web\r\n{}\r\n",
        "a: b\r\n".repeat(200)
    );
    assert_refused(many.as_bytes(), "431", "too-many-headers");
}

#[test]
fn a_path_is_allowed_only_in_every_reading_of_it() {
    for path in [
        "/%67et",
        "/x/../get",
        "//get",
        "/open/../post",
        "/open/..%2fpost",
        "/open/..\\post",
    ] {
        let (server, told) = listening();
        let world = enforcing(server.address);
        let mut client = world.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes());
        client.expect(DENIED);
        drop(client);
        assert_eq!(
            told.recv_timeout(crate::world::HANG).unwrap(),
            b"",
            "{path}"
        );
        server.join();
        assert_eq!(world.records(2).len(), 2);
    }
}

#[test]
fn a_slow_head_is_refused_and_an_idle_connection_is_not() {
    let server = Server::play(vec![
        Box::new(|mut peer: Peer| {
            peer.expect(GET);
            peer.send(OK);
            peer.rest();
        }),
        Box::new(|mut peer: Peer| assert_eq!(peer.rest().0, b"")),
    ]);
    let world = World::start(Plan {
        head_timeout: Duration::from_millis(30),
        ..plan(server.address)
    });
    let mut idle = world.connect();
    // Answered before the second connection comes, so that the server's parts are in order.
    idle.send(GET);
    idle.expect(OK);
    let mut slow = world.connect();
    slow.send(b"GET /get HT");
    let (answer, _) = slow.rest();
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", shown(&answer));
    drop(slow);
    // The first connection was idle for longer than a head may take.
    idle.send(POST);
    idle.expect(DENIED);
    drop(idle);
    server.join();
    let records = world.records(6);
    assert_records(
        &records,
        &[
            ASKED,
            ANSWERED,
            "request ? http://10.0.0.1:80 limit Dropped head-timeout",
            "response 408 ? http://10.0.0.1:80 limit Forwarded",
            POST_DENIED,
            POST_REFUSED,
        ],
    );
}

#[test]
fn a_refused_head_request_has_no_body_and_an_old_one_closes() {
    let (server, told) = listening();
    let world = enforcing(server.address);
    let mut client = world.connect();
    client.send(b"HEAD /post HTTP/1.1\r\nHost: web\r\n\r\n");
    let head = &DENIED[..DENIED.len() - "Access denied\r\n".len()];
    client.expect(head);
    client.send(b"GET /post HTTP/1.0\r\n\r\n");
    let (answer, end) = client.rest();
    assert!(
        answer.ends_with(b"connection: close\r\n\r\nAccess denied\r\n"),
        "{}",
        shown(&answer)
    );
    assert_eq!(end, End::Closed);
    drop(client);
    assert_eq!(told.recv_timeout(crate::world::HANG).unwrap(), b"");
    server.join();
    assert_eq!(world.records(4).len(), 4);
}

#[test]
fn a_server_that_speaks_first_is_heard_at_once() {
    let server = Server::once(|mut peer| {
        peer.send(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n");
    });
    let world = enforcing(server.address);
    let mut client = world.connect();
    assert_eq!(
        client.rest().0,
        b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"
    );
    drop(client);
    server.join();
    assert_eq!(world.records(0), Vec::<String>::new());
}

#[test]
fn a_refusal_behind_a_server_that_has_ended_ends_the_connection() {
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\n\r\nuntil the end"] {
        let server = Server::once(move |mut peer| {
            peer.expect(GET);
            peer.send(answer);
        });
        let world = enforcing(server.address);
        let mut client = world.connect();
        client.send(&[GET, POST].concat());
        assert_eq!(shown(&client.rest().0), shown(answer));
        // Still open from this end: the proxy must not wait for an answer that cannot come.
        world.wait_for("response 0 POST http://web/post no_response");
        drop(client);
        server.join();
        assert_eq!(world.records(4).len(), 4);
    }
}

#[test]
fn an_early_refusal_by_the_server_arrives() {
    crate::watch::answer_and_cut(enforcing, "/open/u");
}

#[test]
fn a_policy_change_holds_from_the_next_request_on() {
    let server = Server::once(|mut peer| {
        peer.expect(GET);
        peer.send(OK);
        assert_eq!(peer.rest().0, b"");
    });
    let plan = plan(server.address);
    let live = Arc::clone(&plan.live);
    let world = World::start(plan);
    let mut client = world.connect();
    client.send(GET);
    client.expect(OK);
    live.store(compiled(CLOSED, 2));
    client.send(GET);
    client.expect(DENIED);
    drop(client);
    server.join();
    let records = world.records(4);
    assert!(records[2].ends_with(" closed"), "{records:#?}");
}

#[test]
fn a_watched_connection_is_cut_when_it_must_be_judged() {
    let server = Server::once(|mut peer| {
        peer.expect(GET);
        peer.send(OK);
        assert_eq!(peer.rest(), (Vec::new(), End::Reset));
    });
    let plan = Plan {
        live: Arc::new(Live::new(Arc::new(Compiled::empty()))),
        ..plan(server.address)
    };
    let live = Arc::clone(&plan.live);
    let world = World::start(plan);
    let mut client = world.connect();
    client.send(GET);
    client.expect(OK);
    live.store(compiled(POLICY, 2));
    assert_eq!(client.rest(), (Vec::new(), End::Reset));
    server.join();
    assert_eq!(world.records(2).len(), 2);
}

/// Asks for an upgrade, which the server grants, and says whether it heard what came after; the
/// connection is recorded by its note.
fn upgraded(protocol: &str, note: &str) -> bool {
    let request = format!(
        "GET /open/u HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    );
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
    );
    let (tell, told) = mpsc::sync_channel(1);
    let (asked, granted) = (request.clone(), response.clone());
    let server = Server::once(move |mut peer| {
        peer.expect(asked.as_bytes());
        peer.send(granted.as_bytes());
        tell.send(peer.rest().0).unwrap();
    });
    let world = enforcing(server.address);
    let mut client = world.connect();
    client.send(request.as_bytes());
    client.expect(response.as_bytes());
    client.send(b"hidden");
    client.half_close();
    client.rest();
    let heard = told.recv_timeout(crate::world::HANG).unwrap();
    server.join();
    let records = world.records(3);
    let opaque = format!("opaque {note} ");
    assert!(records[2].starts_with(&opaque), "{records:#?}");
    heard == b"hidden"
}

#[test]
fn an_upgrade_to_messages_that_are_not_requests_passes() {
    assert!(upgraded("websocket", "websocket"));
}

#[test]
fn an_upgrade_that_would_hide_requests_is_cut() {
    assert!(!upgraded("h2c", "upgrade to http/2"));
    assert!(!upgraded("TLS/1.2", "upgrade to tls"));
}

#[test]
fn a_body_that_could_be_read_in_two_ways_ends_its_request() {
    const HEAD: &[u8] =
        b"POST /open/c HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let (tell, told) = mpsc::sync_channel(1);
    let server = Server::once(move |mut peer| {
        peer.expect(HEAD);
        // It would wait for the rest, and answer nothing before.
        tell.send(peer.rest().0).unwrap();
    });
    let world = enforcing(server.address);
    let mut client = world.connect();
    client.send(HEAD);
    world.wait_for("request POST http://web/open/c passed Forwarded");
    client.send(b"0\n\nGET /post HTTP/1.1\r\nHost: web\r\n\r\n");
    let (answer, _) = client.rest();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", shown(&answer));
    drop(client);
    assert_eq!(
        shown(&told.recv_timeout(crate::world::HANG).unwrap()),
        shown(b"")
    );
    server.join();
    let records = world.records(2);
    assert_eq!(
        records[1],
        "response 400 POST http://web/open/c parse_error Forwarded"
    );
    assert_eq!(records.len(), 2, "{records:#?}");
}

#[test]
fn a_denied_body_that_could_be_read_in_two_ways_ends_the_connection() {
    let (server, told) = listening();
    let world = enforcing(server.address);
    let mut client = world.connect();
    client.send(b"POST /post HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.expect(DENIED);
    client.send(b"0\n\nGET /get HTTP/1.1\r\nHost: web\r\n\r\n");
    assert_eq!(shown(&client.rest().0), shown(b""));
    drop(client);
    assert_eq!(
        shown(&told.recv_timeout(crate::world::HANG).unwrap()),
        shown(b"")
    );
    server.join();
    assert_records(&world.records(2), &[POST_DENIED, POST_REFUSED]);
}

#[test]
fn a_server_that_speaks_to_a_client_that_does_not_is_told() {
    let server = Server::once(|mut peer| {
        peer.send(b"220 hello\r\n");
        assert_eq!(peer.rest(), (Vec::new(), End::Closed));
    });
    let world = enforcing(server.address);
    let mut client = world.connect();
    client.expect(b"220 hello\r\n");
    drop(client);
    server.join();
    assert_eq!(
        world.records(1),
        ["opaque the server spoke first 0 11 Forwarded"]
    );
}

#[test]
fn a_path_of_which_policy_does_not_say_the_same_in_every_reading_has_its_own_reason() {
    let (server, told) = listening();
    let world = enforcing(server.address);
    let mut client = world.connect();
    for path in ["/open/../post", "/./get"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes());
        client.expect(DENIED);
    }
    drop(client);
    assert_eq!(told.recv_timeout(crate::world::HANG).unwrap(), b"");
    server.join();
    assert_records(
        &world.records(4),
        &[
            "request GET http://web/open/../post ambiguous_path Dropped the path can be read as /post, which is not allowed: nearest rule api",
            "response 403 GET http://web/open/../post ambiguous_path Forwarded",
            "request GET http://web/./get ambiguous_path Dropped the path is allowed only where it is read as /get: nearest rule api",
            "response 403 GET http://web/./get ambiguous_path Forwarded",
        ],
    );
}
