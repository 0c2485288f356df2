//! HTTP/2 on enforced ports: streams are judged one by one, and the rest of the connection does not
//! notice.

mod bounds;
mod neutrality;
pub(crate) mod speaker;

use parsers::http2::{ErrorCode, Flags, Frame, Settings};

use crate::enforce::assert_records;
use crate::policed::{CLOSED, compiled, enforcing, plan};
use crate::world::{Peer, Server, World};
use speaker::{END, OPEN, Speaker, request};

const GET: &str = "HEADERS 1 end :method=GET :scheme=http :authority=web :path=/get";
const ANSWER: &str = "HEADERS 1 end :status=200 server=plain";

/// A client and the server behind the proxy, both past their settings.
fn pair(world: &World, peers: &std::sync::mpsc::Receiver<Peer>) -> (Speaker, Speaker) {
    let mut client = Speaker::client(world.connect());
    let mut server = Speaker::server(peers.recv_timeout(crate::world::HANG).unwrap());
    client.expect(&["SETTINGS"]);
    client.say(0, Flags::ACK, &Frame::Settings(Settings::new(&[])));
    server.expect(&["SETTINGS ack"]);
    (client, server)
}

/// A server whose only connection the test plays itself.
fn stage() -> (Server, std::sync::mpsc::Receiver<Peer>) {
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let server = Server::once(move |peer| tell.send(peer).unwrap());
    (server, told)
}

#[test]
fn a_permitted_request_goes_on_and_its_answer_comes_back() {
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let (mut client, mut server) = pair(&world, &peers);
    client.ask(1, END, "GET", "/get");
    server.expect(&[GET]);
    server.answer(1, OPEN, "200");
    server.data(1, END, b"hello");
    client.expect(&["HEADERS 1 :status=200 server=plain", "DATA 1 end 5"]);
    drop((client, server));
    assert_records(
        &world.records(2),
        &[
            "request GET http://web/get passed Forwarded api",
            "response 200 GET http://web/get passed Forwarded",
        ],
    );
}

#[test]
fn a_server_may_speak_before_the_client() {
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let peer = world.connect();
    let mut server = peers.recv_timeout(crate::world::HANG).unwrap();
    // Frames of 20,000 bytes are welcome (RFC 9113 §6.5.2).
    let mut bytes = Vec::new();
    let large = Settings::new(&[0, 5, 0, 0, 0x4e, 0x20]);
    Frame::Settings(large).write(0, Flags::NONE, &mut bytes);
    let mut client = Speaker::begin(peer);
    server.send(&bytes);
    client.expect(&["SETTINGS"]);
    client.say_preface();
    client.ask(1, OPEN, "PUT", "/open/x");
    client.ask(3, END, "GET", "/denied");
    client.data(1, END, &vec![1; 20_000]);
    client.expect(&["HEADERS 3 end :status=403 content-length=0"]);
    let mut server = Speaker::begin(server);
    server.expect_preface();
    server.expect(&[
        "HEADERS 1 :method=PUT :scheme=http :authority=web :path=/open/x",
        "DATA 1 end 20000",
    ]);
}

#[test]
fn a_denied_request_is_answered_here_and_others_go_on() {
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let (mut client, mut server) = pair(&world, &peers);
    // What the denied request puts into the client's table, the next one takes from there.
    let mut fields = request("POST", "/post").to_vec();
    fields.push(("x-token", "of the denied request"));
    let mut next = request("GET", "/get").to_vec();
    next.push(("x-token", "of the denied request"));
    client.ask(1, OPEN, "PUT", "/open/up");
    server.expect(&["HEADERS 1 :method=PUT :scheme=http :authority=web :path=/open/up"]);
    client.say_head(3, END, &fields);
    client.expect(&["HEADERS 3 end :status=403 content-length=0"]);
    client.say_head(5, END, &next);
    client.data(1, END, b"body");
    server.expect(&[
        "HEADERS 5 end :method=GET :scheme=http :authority=web :path=/get x-token=of the denied request",
        "DATA 1 end 4",
    ]);
    server.answer(5, END, "200");
    server.answer(1, END, "201");
    client.expect(&[
        "HEADERS 5 end :status=200 server=plain",
        "HEADERS 1 end :status=201 server=plain",
    ]);
    drop((client, server));
    assert_records(
        &world.records(6),
        &[
            "request PUT http://web/open/up passed Forwarded api",
            "request POST http://web/post policy_denied Dropped nearest rule api",
            "response 403 POST http://web/post policy_denied Forwarded",
            "request GET http://web/get passed Forwarded api",
            "response 200 GET http://web/get passed Forwarded",
            "response 201 PUT http://web/open/up passed Forwarded",
        ],
    );
}

#[test]
fn a_denied_call_gets_a_status_of_grpc() {
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let (mut client, _server) = pair(&world, &peers);
    let mut fields = request("POST", "/shop.Cart/Add").to_vec();
    fields.push(("content-type", "application/grpc"));
    client.say_head(1, OPEN, &fields);
    client.expect(&[
        "HEADERS 1 end :status=200 content-type=application/grpc grpc-status=7 grpc-message=Access denied",
        "RST_STREAM 1 NO_ERROR",
    ]);
}

#[test]
fn a_denied_body_is_swallowed_and_its_window_given_back() {
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let (mut client, mut server) = pair(&world, &peers);
    client.ask(1, OPEN, "POST", "/post");
    client.expect(&[
        "HEADERS 1 end :status=403 content-length=0",
        "RST_STREAM 1 NO_ERROR",
    ]);
    client.data(1, OPEN, &[7; 1000]);
    client.expect(&["WINDOW_UPDATE 0 1000"]);
    let padded = Frame::Data {
        data: &[7; 10],
        padding: Some(&[0; 20]),
    };
    client.say(1, END, &padded);
    client.expect(&["WINDOW_UPDATE 0 31"]);
    // What only the client knows of the stream stays here.
    client.say(1, OPEN, &Frame::WindowUpdate(5));
    client.say(1, OPEN, &Frame::RstStream(ErrorCode::CANCEL));
    client.ask(3, END, "GET", "/get");
    server.expect(&["HEADERS 3 end :method=GET :scheme=http :authority=web :path=/get"]);
}

#[test]
fn the_answer_to_a_denied_request_waits_for_a_short_body() {
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let (mut client, _server) = pair(&world, &peers);
    let with_length = |length| {
        let mut fields = request("POST", "/post").to_vec();
        fields.push(("content-length", length));
        fields
    };
    client.say_head(1, OPEN, &with_length("8"));
    client.data(1, OPEN, b"some");
    client.expect(&["WINDOW_UPDATE 1 4", "WINDOW_UPDATE 0 4"]);
    client.data(1, END, b"more");
    client.expect(&[
        "HEADERS 1 end :status=403 content-length=0",
        "WINDOW_UPDATE 0 4",
    ]);
    // More than was said, or than is worth waiting for.
    client.say_head(3, OPEN, &with_length("8"));
    for _ in 0..5 {
        client.data(3, OPEN, &[7; 16_000]);
    }
    let mut lines = Vec::new();
    while lines
        .last()
        .is_none_or(|line| line != "RST_STREAM 3 NO_ERROR")
    {
        lines.push(client.next());
    }
    assert!(lines.contains(&"HEADERS 3 end :status=403 content-length=0".to_owned()));
    client.say_head(5, OPEN, &with_length("1000000"));
    loop {
        let line = client.next();
        if line == "HEADERS 5 end :status=403 content-length=0" {
            break;
        }
        assert!(line.starts_with("WINDOW_UPDATE 0 "), "{line}");
    }
    client.expect(&["RST_STREAM 5 NO_ERROR"]);
}

#[test]
fn a_refusal_waits_for_the_end_of_a_frame() {
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let (mut client, mut server) = pair(&world, &peers);
    client.ask(1, END, "GET", "/get");
    server.expect(&[GET]);
    let mut bytes = server.head(1, OPEN, &[(":status", "200")]);
    let data = Frame::Data {
        data: b"0123456789",
        padding: None,
    };
    data.write(1, END, &mut bytes);
    let (front, rest) = bytes.split_at(bytes.len() - 4);
    server.peer.send(front);
    client.expect(&["HEADERS 1 :status=200"]);
    client.ask(3, END, "GET", "/denied");
    world.wait_for("response 403 GET http://web/denied");
    server.peer.send(rest);
    client.expect(&[
        "DATA 1 end 10",
        "HEADERS 3 end :status=403 content-length=0",
    ]);
}

#[test]
fn frames_of_a_permitted_stream_pass_as_they_are() {
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let (mut client, mut server) = pair(&world, &peers);
    client.ask(1, OPEN, "PUT", "/open/x");
    let padded = Frame::Data {
        data: b"abc",
        padding: Some(b"\0\0"),
    };
    client.say(1, OPEN, &padded);
    client.say(0, OPEN, &Frame::Ping(*b"12345678"));
    client.say(1, OPEN, &Frame::WindowUpdate(77));
    client.say_head(1, END, &[("x-sum", "9")]);
    server.expect(&[
        "HEADERS 1 :method=PUT :scheme=http :authority=web :path=/open/x",
        "DATA 1 3 +2",
        "Ping 0",
        "WINDOW_UPDATE 1 77",
        "HEADERS 1 end x-sum=9",
    ]);
    client.say(1, OPEN, &Frame::RstStream(ErrorCode::CANCEL));
    server.expect(&["RST_STREAM 1 CANCEL"]);
}

#[test]
fn a_request_that_could_be_read_in_two_ways_is_refused() {
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let (mut client, mut server) = pair(&world, &peers);
    let with = |name: &'static str, value: &'static str| {
        let mut fields = request("GET", "/get").to_vec();
        fields.push((name, value));
        fields
    };
    client.say_head(1, END, &with("host", "other"));
    client.expect(&["HEADERS 1 end :status=400 content-length=0"]);
    client.say_head(3, END, &with("transfer-encoding", "chunked"));
    client.expect(&["RST_STREAM 3 PROTOCOL_ERROR"]);
    client.ask(5, END, "GET /get HTTP/1.1", "/denied");
    client.expect(&["HEADERS 5 end :status=400 content-length=0"]);
    // A body that is not as long as was said.
    client.say_head(7, OPEN, &with("content-length", "3"));
    server
        .expect(&["HEADERS 7 :method=GET :scheme=http :authority=web :path=/get content-length=3"]);
    client.data(7, END, b"four");
    client.expect(&["RST_STREAM 7 PROTOCOL_ERROR", "WINDOW_UPDATE 0 4"]);
    server.expect(&["RST_STREAM 7 CANCEL"]);
    client.ask(9, END, "GET", "/get");
    server.expect(&["HEADERS 9 end :method=GET :scheme=http :authority=web :path=/get"]);
    drop((client, server));
    let records = world.records(9);
    for rule in [
        "host-differs-from-authority",
        "connection-specific-field",
        "bad-method",
    ] {
        assert!(
            records.iter().any(|record| record.contains(rule)),
            "{rule}: {records:#?}"
        );
    }
}

#[test]
fn each_stream_is_judged_by_the_policy_of_its_moment() {
    let (server, peers) = stage();
    let plan = plan(server.address);
    let live = std::sync::Arc::clone(&plan.live);
    let world = World::start(plan);
    let (mut client, mut server) = pair(&world, &peers);
    client.ask(1, END, "GET", "/get");
    server.expect(&[GET]);
    live.store(compiled(CLOSED, 2));
    client.ask(3, END, "GET", "/get");
    client.expect(&["HEADERS 3 end :status=403 content-length=0"]);
    // What was permitted goes on.
    server.answer(1, END, "200");
    client.expect(&[ANSWER]);
}

#[test]
fn the_servers_table_is_never_larger_than_it_wants() {
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let (mut client, mut server) = pair(&world, &peers);
    let none = [0, 1, 0, 0, 0, 0];
    server.say(0, OPEN, &Frame::Settings(Settings::new(&none)));
    client.expect(&["SETTINGS"]);
    client.say(0, Flags::ACK, &Frame::Settings(Settings::new(&[])));
    server.expect(&["SETTINGS ack"]);
    // The client obeys too: an empty table, told at the start of its next block.
    let mut block = vec![0x20];
    for (name, value) in request("GET", "/get") {
        block.extend([0, u8::try_from(name.len()).unwrap()]);
        block.extend(name.as_bytes());
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.as_bytes());
    }
    let head = Frame::Headers {
        priority: None,
        fragment: &block,
        padding: None,
    };
    client.say(1, END.with(Flags::END_HEADERS), &head);
    server.expect(&[GET]);
    assert_eq!(server.table_bytes(), 0);
}

#[test]
fn an_upgrade_to_http2_is_judged_on() {
    const ASK: &str = "GET /get HTTP/1.1\r\nHost: web\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    const GRANT: &str =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let mut peer = world.connect();
    peer.send(ASK.as_bytes());
    let mut server = peers.recv_timeout(crate::world::HANG).unwrap();
    server.expect(ASK.as_bytes());
    server.send(GRANT.as_bytes());
    peer.expect(GRANT.as_bytes());
    let mut client = Speaker::client(peer);
    let mut server = Speaker::server(server);
    server.answer(1, END, "200");
    client.expect(&["SETTINGS", ANSWER]);
    client.ask(3, END, "GET", "/denied");
    client.expect(&["HEADERS 3 end :status=403 content-length=0"]);
    client.ask(5, END, "GET", "/get");
    server.expect(&["HEADERS 5 end :method=GET :scheme=http :authority=web :path=/get"]);
    drop((client, server));
    assert_records(
        &world.records(6),
        &[
            "request GET http://web/get passed Forwarded api",
            "response 200 GET http://web/get passed Forwarded",
            "request GET http://web/denied policy_denied Dropped nearest rule api",
            "response 403 GET http://web/denied policy_denied Forwarded",
            "request GET http://web/get passed Forwarded api",
            "response 0 GET http://web/get no_response Error",
        ],
    );
}

#[test]
fn any_split_of_the_clients_bytes_is_judged_alike() {
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let (mut client, mut server) = pair(&world, &peers);
    let mut bytes = client.head(1, OPEN, &request("PUT", "/open/x"));
    bytes.extend(client.head(3, OPEN, &request("POST", "/post")));
    for (stream, flags) in [(1, OPEN), (3, OPEN), (1, END)] {
        let data = Frame::Data {
            data: b"some data",
            padding: Some(b"\0"),
        };
        data.write(stream, flags, &mut bytes);
    }
    bytes.extend(client.head(5, END, &request("GET", "/get")));
    for byte in bytes {
        client.peer.send(&[byte]);
    }
    server.expect(&[
        "HEADERS 1 :method=PUT :scheme=http :authority=web :path=/open/x",
        "DATA 1 9 +1",
        "DATA 1 end 9 +1",
        "HEADERS 5 end :method=GET :scheme=http :authority=web :path=/get",
    ]);
    client.expect(&[
        "HEADERS 3 end :status=403 content-length=0",
        "RST_STREAM 3 NO_ERROR",
    ]);
    let mut given = 0;
    while given < 11 {
        let line = client.next();
        let bytes = line.strip_prefix("WINDOW_UPDATE 0 ").unwrap();
        given += bytes.parse::<usize>().unwrap();
    }
    assert_eq!(given, 11);
}
