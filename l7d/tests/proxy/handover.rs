//! Everything goes to another proxy in the middle of something.
//!
//! All tests of this folder run with a proxy that is replaced all the time as well, when
//! `L7D_TEST_HANDOVER_MS` says how often; `cargo xtask test` has them run so.

use crate::enforce::{GET, OK};
use crate::policed::enforcing;
use crate::world::{End, HANG, Peer, Server, World};

/// A server that gives its side of the connection to the test.
fn held() -> (Server, std::sync::mpsc::Receiver<Peer>) {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    (Server::once(move |peer| tell.send(peer).unwrap()), told)
}

#[test]
fn a_head_and_its_answer_in_pieces_are_judged_once() {
    let (server, told) = held();
    let world = enforcing(server.address);
    let mut client = world.connect();
    let (front, rest) = GET.split_at(9);
    client.send(front);
    world.hand_over();
    client.send(rest);
    let mut server = told.recv_timeout(HANG).unwrap();
    server.expect(GET);
    let (front, rest) = OK.split_at(12);
    server.send(front);
    client.expect(front);
    world.hand_over();
    server.send(rest);
    client.expect(rest);
    world.hand_over();
    client.send(b"GET /denied HTTP/1.1\r\nHost: web\r\n\r\n");
    client.expect(b"HTTP/1.1 403 Forbidden\r\n");
    world.hand_over();
    client.half_close();
    drop(server);
    let (said, end) = client.rest();
    assert!(said.ends_with(b"Access denied\r\n"), "{said:?}");
    assert_eq!(end, End::Closed);
    let records = world.records(4);
    assert_eq!(records.len(), 4, "{records:#?}");
    let allowed = records
        .iter()
        .filter(|line| line.contains("GET http://web/get"));
    assert_eq!(allowed.count(), 2, "a request and its answer: {records:#?}");
}

#[test]
fn bytes_that_find_no_room_go_along() {
    let (server, told) = held();
    let world = World::watching(server.address);
    let mut client = world.connect();
    client.send(b"\x00\x01 something that nobody reads");
    let mut server = told.recv_timeout(HANG).unwrap();
    server.send_until_stuck();
    for _ in 0..3 {
        world.hand_over();
    }
    client.half_close();
    drop(server);
    let (bytes, _) = client.rest();
    assert!(bytes.len() > 1 << 20, "{}", bytes.len());
    assert!(bytes.iter().all(|byte| *byte == b'x'));
}

#[test]
fn what_nobody_has_accepted_yet_is_accepted_by_the_next() {
    let server = Server::once(|mut peer| {
        peer.expect(GET);
        peer.send(OK);
    });
    let world = World::watching(server.address);
    world.hand_over();
    let mut client = world.connect();
    world.hand_over();
    client.send(GET);
    client.expect(OK);
}
