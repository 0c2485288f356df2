//! Long bodies take another way through the kernel: they arrive as they are, and what follows them
//! on the connection is judged as ever.

use crate::enforce::assert_records;
use crate::enforce::{ANSWERED, ASKED, DENIED, GET, OK, POST, POST_DENIED, POST_REFUSED};
use crate::policed::enforcing;
use crate::world::{End, Server};

/// Bytes in which a piece that is lost, repeated or moved shows.
fn body(bytes: u32) -> Vec<u8> {
    (0..bytes)
        .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect()
}

fn with_body(start: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{start}\r\nHost: web\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[test]
fn long_bodies_pass_both_ways_and_what_follows_them_is_judged() {
    let body = body(5 << 20);
    let asked = with_body("GET /get HTTP/1.1", &body);
    let answer = with_body("HTTP/1.1 200 OK", &body);
    let (expected, sent) = (asked.clone(), answer.clone());
    let server = Server::once(move |mut peer| {
        peer.expect(&expected);
        peer.send(&sent);
        peer.expect(GET);
        peer.send(OK);
        assert_eq!(peer.rest(), (Vec::new(), End::Closed));
    });
    let world = enforcing(server.address);
    let mut client = world.connect();
    client.send(&asked);
    // Both right behind the body, without waiting for its answer.
    client.send(&[POST, GET].concat());
    client.expect(&[&answer, DENIED, OK].concat());
    drop(client);
    server.join();
    let records = world.records(6);
    assert_records(
        &records,
        &[ASKED, POST_DENIED, ANSWERED, POST_REFUSED, ASKED, ANSWERED],
    );
}

#[test]
fn a_client_that_leaves_inside_a_long_body_is_seen_to_leave() {
    let whole = with_body("GET /get HTTP/1.1", &body(4 << 20));
    let part = whole[..whole.len() / 2].to_vec();
    let (sent, expected) = (part.clone(), part);
    let server = Server::once(move |mut peer| {
        assert_eq!(peer.rest(), (expected, End::Closed));
    });
    let world = enforcing(server.address);
    let mut client = world.connect();
    client.send(&sent);
    client.half_close();
    assert_eq!(client.rest(), (Vec::new(), End::Closed));
    server.join();
    assert_records(&world.records(2), &[ASKED, "response 0 GET"]);
}

#[test]
fn a_server_that_is_reset_inside_a_long_body_is_a_reset() {
    let whole = with_body("HTTP/1.1 200 OK", &body(4 << 20));
    let part = whole[..whole.len() / 2].to_vec();
    let (sent, expected) = (part.clone(), part);
    let (taken, is_taken) = std::sync::mpsc::sync_channel(0);
    let server = Server::once(move |mut peer| {
        peer.expect(GET);
        peer.send(&sent);
        is_taken.recv().unwrap();
        peer.reset();
    });
    let world = enforcing(server.address);
    let mut client = world.connect();
    client.send(GET);
    client.expect(&expected);
    taken.send(()).unwrap();
    assert_eq!(client.rest(), (Vec::new(), End::Reset));
    server.join();
    let records = world.records(3);
    assert_records(&records, &[ASKED, ANSWERED, "opaque upstream reset"]);
}

#[test]
fn a_body_behind_the_final_answer_is_no_hiding_place() {
    for length in ["33", "1000000"] {
        let head = format!(
            "POST /open/x HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        );
        let asked = head.clone();
        let server = Server::once(move |mut peer| {
            peer.expect(asked.as_bytes());
            // For good, and without a look at the body: what comes next is a request to it.
            peer.send(OK);
            assert_eq!(peer.rest(), (Vec::new(), End::Reset));
        });
        let world = enforcing(server.address);
        let mut client = world.connect();
        client.send(head.as_bytes());
        client.expect(OK);
        world.wait_for("response 200 POST http://web/open/x");
        client.send(b"GET /admin HTTP/1.1\r\nHost: web\r\n\r\n");
        assert_eq!(client.rest(), (Vec::new(), End::Reset));
        server.join();
        let records = world.records(3);
        assert!(
            records
                .iter()
                .any(|record| record.contains("body-after-answer")),
            "{records:#?}"
        );
    }
}

#[test]
fn a_body_that_was_asked_for_arrives() {
    const HEAD: &[u8] =
        b"POST /open/x HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
    let server = Server::once(move |mut peer| {
        peer.expect(HEAD);
        peer.send(CONTINUE);
        peer.expect(b"data");
        peer.send(OK);
        assert_eq!(peer.rest(), (Vec::new(), End::Closed));
    });
    let world = enforcing(server.address);
    let mut client = world.connect();
    client.send(HEAD);
    client.expect(CONTINUE);
    client.send(b"data");
    client.expect(OK);
    drop(client);
    server.join();
}
