//! Looking is not touching: every kind of traffic has the same outcome with and without the proxy.

use std::net::SocketAddr;
use std::sync::mpsc;

use crate::world::{End, Peer, Plan, Server, World, shown};

/// One thing that an end does.
#[derive(Clone)]
enum Act {
    Send(Vec<u8>),
    /// Waits for that many bytes.
    Take(usize),
    HalfClose,
    /// Reads until the other end stops.
    Rest,
    Reset,
}

/// What an end saw.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    received: Vec<u8>,
    end: Option<End>,
}

/// Plays one end; closes at the end of its acts.
fn play(mut peer: Peer, acts: &[Act]) -> Seen {
    let mut seen = Seen {
        received: Vec::new(),
        end: None,
    };
    for act in acts {
        match act {
            Act::Send(bytes) => peer.send(bytes),
            Act::Take(count) => seen.received.extend(peer.take(*count)),
            Act::HalfClose => peer.half_close(),
            Act::Rest => {
                let (bytes, end) = peer.rest();
                seen.received.extend(bytes);
                seen.end = Some(end);
            }
            Act::Reset => {
                peer.reset();
                return seen;
            }
        }
    }
    seen
}

/// A kind of traffic, and what is recorded of it.
struct Kind {
    name: &'static str,
    client: Vec<Act>,
    server: Vec<Act>,
    records: Vec<String>,
}

fn send(bytes: impl AsRef<[u8]>) -> Act {
    Act::Send(bytes.as_ref().to_vec())
}

fn take(bytes: impl AsRef<[u8]>) -> Act {
    Act::Take(bytes.as_ref().len())
}

/// A conversation in turns: the client sends, the server answers, and so on; then the client
/// closes, and the server after it.
fn turns(name: &'static str, turns: &[(&[u8], &[u8])], records: &[&str]) -> Kind {
    let mut client = Vec::new();
    let mut server = Vec::new();
    for (request, response) in turns {
        client.extend([send(request), take(response)]);
        server.extend([take(request), send(response)]);
    }
    client.extend([Act::HalfClose, Act::Rest]);
    server.push(Act::Rest);
    Kind {
        name,
        client,
        server,
        records: owned(records),
    }
}

fn owned(records: &[&str]) -> Vec<String> {
    records.iter().map(|&record| record.to_owned()).collect()
}

/// Plays a kind between a client and a server, which the client reaches at what `entry` gives.
fn outcome(kind: &Kind, entry: impl FnOnce(SocketAddr) -> SocketAddr) -> (Seen, Seen) {
    let (tell, told) = mpsc::sync_channel(1);
    let acts = kind.server.clone();
    let server = Server::once(move |peer| tell.send(play(peer, &acts)).unwrap());
    let at_client = play(Peer::connect(entry(server.address)), &kind.client);
    let at_server = told.recv_timeout(crate::world::HANG).unwrap();
    server.join();
    (at_client, at_server)
}

fn assert_untouched(kinds: &[Kind]) {
    for kind in kinds {
        let direct = outcome(kind, |server| server);
        let mut world = None;
        let watched = outcome(kind, |server| world.insert(World::watching(server)).entry);
        for (side, direct, watched) in [
            ("client", &direct.0, &watched.0),
            ("server", &direct.1, &watched.1),
        ] {
            assert!(
                direct == watched,
                "{}: the {side} saw {:?} {}, and directly {:?} {}",
                kind.name,
                watched.end,
                shown(&watched.received),
                direct.end,
                shown(&direct.received),
            );
        }
        let records = world.unwrap().records(kind.records.len());
        assert_eq!(records, kind.records, "{}", kind.name);
    }
}

const GET: &[u8] = b"GET /a?b=c HTTP/1.1\r\nHost: web\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const ASKED: &str = "request GET http://web/a?b=c passed Forwarded";
const ANSWERED: &str = "response 200 GET http://web/a?b=c passed Forwarded";
const UNANSWERED: &str = "response 0 GET http://web/a?b=c no_response Error";

#[test]
fn messages_pass_as_they_are() {
    let long = format!(
        "GET /{} HTTP/1.1\r\nHost: web\r\n\r\n",
        "x".repeat(300 << 10)
    );
    assert_untouched(&[
        turns("keep-alive", &[(GET, OK), (GET, OK)], &[ASKED, ANSWERED, ASKED, ANSWERED]),
        turns(
            "pipelining",
            &[(&GET.repeat(3), &OK.repeat(3))],
            &[ASKED, ASKED, ASKED, ANSWERED, ANSWERED, ANSWERED],
        ),
        turns(
            "chunks with trailers, both ways",
            &[(
                b"POST /u HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: 2\r\n\r\n",
            )],
            &["request POST http://web/u passed Forwarded", "response 200 POST http://web/u passed Forwarded"],
        ),
        turns(
            "answers without a body",
            &[
                (b"HEAD / HTTP/1.1\r\nHost: web\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
                (b"GET /1 HTTP/1.1\r\nHost: web\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
                (b"GET /2 HTTP/1.1\r\nHost: web\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
                (GET, OK),
            ],
            &[
                "request HEAD http://web/ passed Forwarded",
                "response 200 HEAD http://web/ passed Forwarded",
                "request GET http://web/1 passed Forwarded",
                "response 204 GET http://web/1 passed Forwarded",
                "request GET http://web/2 passed Forwarded",
                "response 304 GET http://web/2 passed Forwarded",
                ASKED,
                ANSWERED,
            ],
        ),
        turns(
            "100 Continue and early hints",
            &[
                (
                    b"PUT /f HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
                    b"HTTP/1.1 100 Continue\r\n\r\n",
                ),
                (b"data", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
            ],
            &["request PUT http://web/f passed Forwarded", "response 201 PUT http://web/f passed Forwarded"],
        ),
        turns(
            "what an enforced port refuses",
            &[(b"\r\nGET /a?b=c HTTP/1.1\nHost: web\nContent-Length: 1\nTransfer-Encoding: chunked\n\n0\n\n", OK)],
            &[ASKED, ANSWERED],
        ),
        turns(
            "a head longer than any limit",
            &[(long.as_bytes(), OK)],
            &[
                "response 200 unknown http://10.0.0.2:80 passed Forwarded",
                &format!("opaque head-too-long {} {} Forwarded", long.len(), OK.len()),
            ],
        ),
    ]);
}

#[test]
fn connections_that_become_something_else_pass() {
    assert_untouched(&[
        turns(
            "an upgrade",
            &[
                (
                    b"GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                ),
                (b"\x81\x82\x01\x02\x03\x04hi", b"\x81\x02hi"),
                (GET, OK),
            ],
            &[
                "request GET http://web/ws passed Forwarded",
                "response 101 GET http://web/ws passed Forwarded",
                "opaque websocket 114 121 Forwarded",
            ],
        ),
        turns(
            "a tunnel",
            &[
                (b"CONNECT api:443 HTTP/1.1\r\nHost: api:443\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
                (b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x03\x00\x02hi"),
            ],
            &[
                "request CONNECT api:443 passed Forwarded",
                "response 200 CONNECT api:443 passed Forwarded",
                "opaque tls 53 26 Forwarded",
            ],
        ),
    ]);
}

#[test]
fn other_protocols_pass() {
    // GET / of `web` on stream 1, by the static table (RFC 7541 appendix A), and 200.
    let asked = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
        \0\0\x08\x01\x05\0\0\0\x01\x82\x86\x84\x41\x03web";
    let answered = b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\x01\x88";
    assert_untouched(&[
        turns(
            "TLS",
            &[(b"\x16\x03\x01\x00\x02hi", b"\x15\x03\x01")],
            &["opaque tls 7 3 Forwarded"],
        ),
        turns(
            "HTTP/2",
            &[(asked, answered)],
            &[
                "request GET http://web/ passed Forwarded",
                "response 200 GET http://web/ passed Forwarded",
            ],
        ),
        turns(
            "bytes",
            &[(b"\0\xff\r\n", b"\xfe")],
            &["opaque not http 4 1 Forwarded"],
        ),
        Kind {
            name: "a server that speaks first",
            client: vec![take("220 mail\r\n"), send("QUIT\r\n"), Act::Rest],
            server: vec![send("220 mail\r\n"), take("QUIT\r\n"), send("221 bye\r\n")],
            records: owned(&["opaque not http 6 19 Forwarded"]),
        },
        Kind {
            name: "nothing at all",
            client: vec![Act::HalfClose, Act::Rest],
            server: vec![Act::Rest],
            records: Vec::new(),
        },
    ]);
}

#[test]
fn ends_and_half_ends_pass() {
    let forever = b"HTTP/1.1 200 OK\r\n\r\nuntil the end";
    assert_untouched(&[
        Kind {
            name: "a body until the server closes",
            client: vec![send(GET), Act::Rest],
            server: vec![take(GET), send(forever)],
            records: owned(&[ASKED, ANSWERED]),
        },
        Kind {
            name: "a client that half-closes before the answer",
            client: vec![send(GET), Act::HalfClose, Act::Rest],
            server: vec![Act::Rest, send(OK)],
            records: owned(&[ASKED, ANSWERED]),
        },
        Kind {
            name: "a server that closes without an answer",
            client: vec![send(GET), Act::Rest],
            server: vec![take(GET)],
            records: owned(&[ASKED, UNANSWERED]),
        },
        Kind {
            name: "a server that half-closes and goes on reading",
            client: vec![send(GET), Act::Rest, send("more"), Act::HalfClose],
            server: vec![take(GET), send(forever), Act::HalfClose, Act::Rest],
            records: owned(&[ASKED, ANSWERED]),
        },
        Kind {
            name: "a server that resets instead of an answer",
            client: vec![send(GET), Act::Rest],
            server: vec![take(GET), Act::Reset],
            records: owned(&[
                ASKED,
                "response 0 GET http://web/a?b=c upstream_reset Error",
            ]),
        },
        Kind {
            name: "a client that resets instead of reading",
            client: vec![send(GET), Act::Reset],
            server: vec![Act::Rest],
            records: owned(&[ASKED, UNANSWERED]),
        },
    ]);
}

#[test]
fn big_bodies_pass_both_ways() {
    let body: Vec<u8> = (0..8_u32 << 20)
        .map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let request = format!(
        "POST /big HTTP/1.1\r\nHost: web\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let up = [request.as_bytes(), &body].concat();
    let down = [response.as_bytes(), &body].concat();
    assert_untouched(&[turns(
        "eight mebibytes up and down",
        &[(&up, &down)],
        &[
            "request POST http://web/big passed Forwarded",
            "response 200 POST http://web/big passed Forwarded",
        ],
    )]);
}

#[test]
fn a_reset_in_the_middle_of_a_body_is_seen_and_told() {
    let part = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome";
    assert_untouched(&[Kind {
        name: "a reset inside a response",
        client: vec![send(GET), take(part), send("x"), Act::Rest],
        server: vec![take(GET), send(part), take("x"), Act::Reset],
        records: owned(&[
            ASKED,
            ANSWERED,
            "opaque upstream reset 35 45 Error upstream_reset",
        ]),
    }]);
}

/// An upload that a server answers and cuts once nothing moves any more: the answer and the reset
/// reach a proxy that is waiting to write.
pub(crate) fn answer_and_cut(start: impl FnOnce(SocketAddr) -> World, path: &str) {
    const TOO_LARGE: &[u8] = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";
    let head = format!("POST {path} HTTP/1.1\r\nHost: web\r\nContent-Length: 1073741824\r\n\r\n");
    let expected = head.clone();
    let (stuck, told) = mpsc::sync_channel::<()>(0);
    let server = Server::once(move |mut peer| {
        peer.expect(expected.as_bytes());
        told.recv().unwrap();
        peer.send(TOO_LARGE);
        // Closed with bytes unread: the kernel resets.
    });
    let world = start(server.address);
    let mut client = world.connect();
    client.send(head.as_bytes());
    client.send_until_stuck();
    stuck.send(()).unwrap();
    assert_eq!(shown(&client.take(TOO_LARGE.len())), shown(TOO_LARGE));
    drop(client);
    server.join();
    let records = world.records(2);
    assert_eq!(
        records[1],
        format!("response 413 POST http://web{path} passed Forwarded")
    );
    assert_eq!(records.len(), 2, "{records:#?}");
}

#[test]
fn an_answer_that_comes_before_the_body_was_read_arrives() {
    answer_and_cut(World::watching, "/u");
}

#[test]
fn a_server_that_refuses_is_a_reset_and_a_record() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let world = World::watching(nobody);
    let mut client = world.connect();
    assert_eq!(client.rest(), (Vec::new(), End::Reset));
    assert_eq!(
        world.records(1),
        ["opaque upstream refused 0 0 Error upstream_refused"]
    );
}

#[test]
fn endless_blank_lines_are_given_up_and_pass() {
    let blank = b"\r\n".repeat(100 << 10);
    assert_untouched(&[turns(
        "blank lines",
        &[(&blank, b"?")],
        &["opaque not http 204800 1 Forwarded"],
    )]);
}

#[test]
fn the_server_sees_the_clients_address() {
    let shows_client = || -> Server {
        Server::once(|mut peer| {
            let remote = peer.remote().to_string();
            peer.send(remote.as_bytes());
        })
    };
    let dial = |server: &Server, shares_port: bool| {
        let plan = Plan {
            is_transparent: true,
            ..Plan::watching(server.address)
        };
        let world = World::start(plan);
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_address(shares_port).unwrap();
        socket
            .bind(&SocketAddr::from(([127, 0, 0, 77], 0)).into())
            .unwrap();
        socket.connect(&world.entry.into()).unwrap();
        let mut client = Peer::of(socket);
        let own = client.local();
        let seen: SocketAddr = String::from_utf8(client.rest().0).unwrap().parse().unwrap();
        (own, seen)
    };
    let server = shows_client();
    let (own, seen) = dial(&server, true);
    assert_eq!(seen, own);
    server.join();
    // The pair is in use by the client itself: the address is kept, the port is another.
    let server = shows_client();
    let (own, seen) = dial(&server, false);
    assert_eq!(seen.ip(), own.ip());
    server.join();
}

#[test]
fn ipv6_is_the_same() {
    let server = Server::play_at(
        (std::net::Ipv6Addr::LOCALHOST, 0).into(),
        vec![Box::new(|mut peer: Peer| {
            let remote = peer.remote();
            peer.expect(GET);
            peer.send(OK);
            assert_eq!(peer.rest(), (Vec::new(), End::Closed));
            assert!(remote.is_ipv6());
        })],
    );
    let plan = Plan {
        is_transparent: true,
        ..Plan::watching(server.address)
    };
    let world = World::start(plan);
    let mut client = Peer::connect(world.entry_v6());
    client.send(GET);
    client.expect(OK);
    drop(client);
    server.join();
    assert_eq!(world.records(2), [ASKED, ANSWERED]);
}

#[test]
fn a_connection_that_nobody_redirected_is_closed_and_counted() {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let world = World::start(Plan {
        is_stray: true,
        ..Plan::watching(nowhere)
    });
    assert_eq!(world.connect().rest(), (Vec::new(), End::Closed));
    let stats = world.stats();
    assert_eq!(world.records(0), Vec::<String>::new());
    let count =
        |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((count(&stats.accepted), count(&stats.strays)), (1, 1));
}
