//! What breaks the rules of a connection, or is too much of something, ends it with its code.

use parsers::http2::{ErrorCode, Flags, Frame, FrameHeader, Kind, Priority, Settings};

use super::{pair, request, stage};
use crate::http2::speaker::{END, OPEN, Speaker};
use crate::policed::{enforcing, plan};
use crate::world::{Plan, World};

/// Lets a client misbehave; its last line and the records are looked at.
fn ends(misbehave: impl FnOnce(&mut Speaker), expected: &str, rule: &str) {
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let (mut client, server) = pair(&world, &peers);
    misbehave(&mut client);
    let mut last = String::new();
    loop {
        let line = client.next();
        if line == "end" {
            break;
        }
        last = line;
    }
    // How many went through before depends on the time they took.
    let (words, why) = expected.split_once(' ').unwrap();
    assert!(last.starts_with(words) && last.ends_with(why), "{last}");
    world.wait_for(rule);
    drop(server);
}

#[test]
fn a_flood_ends_the_connection() {
    ends(
        |client| {
            for stream in 0..600 {
                client.ask(2 * stream + 1, OPEN, "PUT", "/open/x");
                let cancel = Frame::RstStream(ErrorCode::CANCEL);
                client.say(2 * stream + 1, OPEN, &cancel);
            }
        },
        "GOAWAY ENHANCE_YOUR_CALM too-many-resets",
        "too-many-resets",
    );
    let mut many = Vec::new();
    for _ in 0..5000 {
        Frame::Ping([0; 8]).write(0, OPEN, &mut many);
    }
    ends(
        |client| client.peer.send(&many),
        "GOAWAY 0 ENHANCE_YOUR_CALM too-many-control-frames",
        "too-many-control-frames",
    );
    let mut many = Vec::new();
    for _ in 0..60_000 {
        Frame::WindowUpdate(1).write(0, OPEN, &mut many);
    }
    ends(
        |client| client.peer.send(&many),
        "GOAWAY 0 ENHANCE_YOUR_CALM too-many-window-updates",
        "too-many-window-updates",
    );
    ends(
        |client| {
            client.ask(1, OPEN, "PUT", "/open/x");
            for _ in 0..200 {
                client.data(1, OPEN, b"");
            }
        },
        "GOAWAY 1 ENHANCE_YOUR_CALM too-many-empty-frames",
        "too-many-empty-frames",
    );
    ends(
        |client| {
            for _ in 0..100 {
                client.say(0, OPEN, &Frame::Settings(Settings::new(&[])));
            }
        },
        "GOAWAY 0 ENHANCE_YOUR_CALM too-many-settings",
        "too-many-settings",
    );
}

#[test]
fn a_header_block_without_end_ends_the_connection() {
    ends(
        |client| {
            let head = Frame::Headers {
                priority: None,
                fragment: &[0x82],
                padding: None,
            };
            client.say(1, END, &head);
            for _ in 0..100 {
                client.say(1, OPEN, &Frame::Continuation { fragment: &[] });
            }
        },
        "GOAWAY 0 ENHANCE_YOUR_CALM header-block-too-long",
        "header-block-too-long",
    );
}

#[test]
fn a_slow_header_block_ends_the_connection() {
    let (server, peers) = stage();
    let world = World::start(Plan {
        head_timeout: std::time::Duration::from_millis(50),
        ..plan(server.address)
    });
    let (mut client, _server) = pair(&world, &peers);
    let head = Frame::Headers {
        priority: None,
        fragment: &[0x82],
        padding: None,
    };
    client.say(1, END, &head);
    client.expect(&["GOAWAY 0 ENHANCE_YOUR_CALM head-timeout", "end"]);
}

#[test]
fn a_bomb_is_defused() {
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let (mut client, mut server) = pair(&world, &peers);
    // One long field in the table, named by one byte each time: 4000 bytes become a million.
    let long = "x".repeat(3000);
    let mut fields = request("GET", "/get").to_vec();
    for _ in 0..400 {
        fields.push(("x-bomb", long.as_str()));
    }
    client.say_head(1, END, &fields);
    client.expect(&["HEADERS 1 end :status=431 content-length=0"]);
    client.ask(3, END, "GET", "/get");
    server.expect(&["HEADERS 3 end :method=GET :scheme=http :authority=web :path=/get"]);
}

#[test]
fn a_broken_rule_of_the_connection_has_its_code() {
    let headers = |fragment: &'static [u8]| Frame::Headers {
        priority: None,
        fragment,
        padding: None,
    };
    let whole = END.with(Flags::END_HEADERS);
    ends(
        |client| client.say(1, whole, &headers(&[0xff, 0xff, 0x7f])),
        "GOAWAY 0 COMPRESSION_ERROR index-out-of-table",
        "index-out-of-table",
    );
    ends(
        |client| client.data(1, OPEN, b"nothing before"),
        "GOAWAY 0 PROTOCOL_ERROR frame-on-idle-stream",
        "frame-on-idle-stream",
    );
    ends(
        |client| client.say(3, OPEN, &Frame::RstStream(ErrorCode::CANCEL)),
        "GOAWAY 0 PROTOCOL_ERROR frame-on-idle-stream",
        "frame-on-idle-stream",
    );
    ends(
        |client| {
            client.ask(5, END, "GET", "/get");
            client.ask(3, END, "GET", "/get");
        },
        "GOAWAY 5 STREAM_CLOSED stream-number-used",
        "stream-number-used",
    );
    ends(
        |client| client.say(0, OPEN, &Frame::WindowUpdate(0)),
        "GOAWAY 0 PROTOCOL_ERROR window-update-of-zero",
        "window-update-of-zero",
    );
    ends(
        |client| {
            let header = FrameHeader {
                length: 20_000,
                kind: Kind::Data,
                flags: Flags::NONE,
                stream: 1,
            };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            client.peer.send(&bytes);
        },
        "GOAWAY 0 FRAME_SIZE_ERROR frame-too-large",
        "frame-too-large",
    );
    ends(
        |client| {
            let window = [0, 4, 0xff, 0, 0, 0];
            client.say(0, OPEN, &Frame::Settings(Settings::new(&window)));
        },
        "GOAWAY 0 FLOW_CONTROL_ERROR bad-initial-window-size",
        "bad-initial-window-size",
    );
}

#[test]
fn a_broken_rule_of_a_stream_ends_the_stream() {
    let (server, peers) = stage();
    let world = enforcing(server.address);
    let (mut client, mut server) = pair(&world, &peers);
    client.ask(1, END, "GET", "/get");
    server.next();
    client.data(1, END, b"more");
    client.expect(&["RST_STREAM 1 STREAM_CLOSED", "WINDOW_UPDATE 0 4"]);
    server.expect(&["RST_STREAM 1 CANCEL"]);
    client.ask(3, OPEN, "PUT", "/open/x");
    server.next();
    client.say(3, OPEN, &Frame::WindowUpdate(0));
    client.expect(&["RST_STREAM 3 PROTOCOL_ERROR"]);
    server.expect(&["RST_STREAM 3 CANCEL"]);
    let itself = Priority {
        dependency: 5,
        is_exclusive: false,
        weight: 0,
    };
    client.say(5, OPEN, &Frame::Priority(itself));
    client.expect(&["RST_STREAM 5 PROTOCOL_ERROR"]);
    client.ask(7, END, "GET", "/get");
    server.expect(&["HEADERS 7 end :method=GET :scheme=http :authority=web :path=/get"]);
}
