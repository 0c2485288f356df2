//! A client gets the same answers through the proxy as from the server itself, case by case of
//! RFC 9113. Where an answer is the next hop's own, l7d gives the one that the RFC names.
//!
//! The server is nghttpd. Once the streams of a case have ended, a PING follows: when it is answered,
//! or the connection has ended, everything was dealt with.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use parsers::http2::{ErrorCode, Flags, Frame, FrameHeader, Kind, Priority};

use super::request;
use super::speaker::{END, OPEN, Speaker};
use crate::policed::enforcing;
use crate::world::{HANG, Peer};

/// A server that has `/get` and echoes nothing else; it is gone when the test ends.
struct Nghttpd {
    child: Child,
    folder: std::path::PathBuf,
    address: SocketAddr,
}

impl Nghttpd {
    fn start() -> Self {
        // Another program could take the port in between; then the server says so and ends.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let folder = std::env::temp_dir().join(format!("l7d-nghttpd-{}", address.port()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("get"), "served\n").unwrap();
        let mut child = Command::new("nghttpd")
            .args(["--no-tls", "-a", "127.0.0.1", "-d"])
            .arg(&folder)
            .arg(address.port().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("nghttpd (`cargo xtask setup` installs it): {error}"));
        let began = std::time::Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "nghttpd has ended");
            assert!(began.elapsed() < HANG, "nghttpd does not listen");
            std::thread::yield_now();
        }
        Self {
            child,
            folder,
            address,
        }
    }
}

impl Drop for Nghttpd {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

/// What a client says behind its preface and settings.
type Saying = fn(&mut Speaker);
type Case = (&'static str, Saying);

const PROBE: [u8; 8] = *b"the end.";

/// All that tells how the case ended, without what is the connection's own pace.
fn outcome(peer: Peer, case: Saying, streams: usize) -> Vec<String> {
    let mut client = Speaker::client(peer);
    case(&mut client);
    let mut lines = Vec::new();
    let mut ended = 0;
    let mut has_asked = false;
    loop {
        if ended >= streams && !has_asked {
            client.say(0, OPEN, &Frame::Ping(PROBE));
            has_asked = true;
        }
        let line = client.next();
        ended += usize::from(line.contains(" end ") || line.starts_with("RST_STREAM"));
        if line == "Ping 0" || line == "end" {
            break;
        }
        let is_pace = line.starts_with("SETTINGS") || line.starts_with("WINDOW_UPDATE");
        if is_pace {
            continue;
        }
        // What the server says of itself, and what the last word says for people.
        let words: Vec<&str> = line.split(' ').collect();
        let line = match *words {
            ["HEADERS", stream, "end", status, ..] | ["HEADERS", stream, status, ..] => {
                format!("HEADERS {stream} {status}")
            }
            ["GOAWAY", _last, code, ..] => format!("GOAWAY {code}"),
            _ => line,
        };
        let is_farewell = line.starts_with("GOAWAY");
        lines.push(line);
        if is_farewell {
            break;
        }
    }
    // Between streams a server has no order to keep.
    let stream = |line: &String| line.split(' ').nth(1)?.parse::<u32>().ok();
    lines.sort_by_key(|line| stream(line).unwrap_or(u32::MAX));
    lines
}

fn with(fields: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    request("GET", "/get")
        .into_iter()
        .chain(fields.iter().copied())
        .collect()
}

fn raw(client: &mut Speaker, kind: Kind, flags: Flags, stream: u32, payload: &[u8]) {
    let header = FrameHeader {
        length: u32::try_from(payload.len()).unwrap(),
        kind,
        flags,
        stream,
    };
    let mut bytes = Vec::new();
    header.write(&mut bytes);
    bytes.extend_from_slice(payload);
    client.peer.send(&bytes);
}

const WHOLE: Flags = Flags(Flags::END_STREAM.0 | Flags::END_HEADERS.0);

/// What both must answer alike: messages and streams, from end to end.
const END_TO_END: &[Case] = &[
    ("a request", |client| client.ask(1, END, "GET", "/get")),
    ("a request for what is not there", |client| {
        client.ask(1, END, "GET", "/open/nothing");
    }),
    ("HEAD", |client| client.ask(1, END, "HEAD", "/open/nothing")),
    ("a body in pieces, with padding and trailers", |client| {
        client.ask(1, OPEN, "PUT", "/open/x");
        client.data(1, OPEN, b"one");
        let padded = Frame::Data {
            data: b"two",
            padding: Some(b"\0\0\0"),
        };
        client.say(1, OPEN, &padded);
        client.say_head(1, END, &[("x-sum", "6")]);
    }),
    ("three streams at once", |client| {
        for stream in [1, 3, 5] {
            client.ask(stream, END, "GET", "/open/nothing");
        }
    }),
    ("a field name in upper case (8.2.1)", |client| {
        client.say_head(1, END, &with(&[("X-Upper", "1")]));
    }),
    ("a connection-specific field (8.2.2)", |client| {
        client.say_head(1, END, &with(&[("connection", "keep-alive")]));
    }),
    ("te with anything but trailers (8.2.2)", |client| {
        client.say_head(1, END, &with(&[("te", "gzip")]));
    }),
    ("te: trailers", |client| {
        client.say_head(1, END, &with(&[("te", "trailers")]));
    }),
    ("an unknown pseudo-header (8.3)", |client| {
        client.say_head(1, END, &with(&[(":color", "red")]));
    }),
    ("a pseudo-header of responses (8.3)", |client| {
        client.say_head(1, END, &with(&[(":status", "200")]));
    }),
    ("a pseudo-header after fields (8.3)", |client| {
        let mut fields = request("GET", "/get").to_vec();
        fields.insert(2, ("x-early", "1"));
        client.say_head(1, END, &fields);
    }),
    ("a pseudo-header twice (8.3)", |client| {
        client.say_head(1, END, &with(&[(":path", "/get")]));
    }),
    ("no :method (8.3.1)", |client| {
        client.say_head(1, END, &request("GET", "/get")[1..]);
    }),
    ("no :path (8.3.1)", |client| {
        client.say_head(1, END, &request("GET", "/get")[..3]);
    }),
    ("an empty :path (8.3.1)", |client| {
        client.ask(1, END, "GET", "");
    }),
    ("a pseudo-header in trailers (8.1)", |client| {
        client.ask(1, OPEN, "PUT", "/open/x");
        client.say_head(1, END, &[(":path", "/get")]);
    }),
    ("trailers that do not end (8.1)", |client| {
        client.ask(1, OPEN, "PUT", "/open/x");
        client.say_head(1, OPEN, &[("x-sum", "6")]);
    }),
    ("a body longer than was said (8.1.1)", |client| {
        let mut fields = with(&[("content-length", "1")]);
        fields[0] = (":method", "PUT");
        fields[3] = (":path", "/open/x");
        client.say_head(1, OPEN, &fields);
        client.data(1, END, b"two");
    }),
    ("an unknown frame (5.5)", |client| {
        raw(client, Kind::Unknown(0x77), Flags(0xff), 0, b"whatever");
        client.ask(1, END, "GET", "/get");
    }),
    ("a reset stream, and another (5.4.2)", |client| {
        client.ask(1, OPEN, "PUT", "/open/x");
        client.say(1, OPEN, &Frame::RstStream(ErrorCode::CANCEL));
        client.ask(3, END, "GET", "/get");
    }),
    ("a window that overflows, of a stream (6.9.1)", |client| {
        client.ask(1, OPEN, "PUT", "/open/x");
        client.say(1, OPEN, &Frame::WindowUpdate(0x7fff_ffff));
    }),
    (
        "a window that overflows, of the connection (6.9.1)",
        |client| {
            client.say(0, OPEN, &Frame::WindowUpdate(0x7fff_ffff));
        },
    ),
    ("priorities", |client| {
        let first = Priority {
            dependency: 0,
            is_exclusive: true,
            weight: 9,
        };
        client.say(3, OPEN, &Frame::Priority(first));
        client.ask(3, END, "GET", "/get");
    }),
];

/// What the next hop answers by itself, with the code that the RFC names.
const HOP_BY_HOP: &[(&str, Saying, &str)] = &[
    (
        "DATA on stream 0 (6.1)",
        |client| raw(client, Kind::Data, OPEN, 0, b"x"),
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "too much padding (6.1)",
        |client| {
            client.ask(1, OPEN, "PUT", "/open/x");
            raw(client, Kind::Data, Flags::PADDED, 1, b"\x09x");
        },
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "HEADERS on stream 0 (6.2)",
        |client| raw(client, Kind::Headers, WHOLE, 0, &[0x82]),
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "PRIORITY on stream 0 (6.3)",
        |client| raw(client, Kind::Priority, OPEN, 0, &[0; 5]),
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "RST_STREAM of a wrong size (6.4)",
        |client| {
            client.ask(1, OPEN, "PUT", "/open/x");
            raw(client, Kind::RstStream, OPEN, 1, &[0; 3]);
        },
        "GOAWAY FRAME_SIZE_ERROR",
    ),
    (
        "RST_STREAM of an idle stream (6.4)",
        |client| raw(client, Kind::RstStream, OPEN, 1, &[0; 4]),
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "SETTINGS on a stream (6.5)",
        |client| raw(client, Kind::Settings, OPEN, 1, &[]),
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "SETTINGS of a wrong size (6.5)",
        |client| raw(client, Kind::Settings, OPEN, 0, &[0; 5]),
        "GOAWAY FRAME_SIZE_ERROR",
    ),
    (
        "an acknowledgement with settings (6.5)",
        |client| raw(client, Kind::Settings, Flags::ACK, 0, &[0; 6]),
        "GOAWAY FRAME_SIZE_ERROR",
    ),
    (
        "ENABLE_PUSH of 2 (6.5.2)",
        |client| {
            raw(client, Kind::Settings, OPEN, 0, &[0, 2, 0, 0, 0, 2]);
        },
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "a window beyond 2^31-1 (6.5.2)",
        |client| {
            raw(client, Kind::Settings, OPEN, 0, &[0, 4, 0x80, 0, 0, 0]);
        },
        "GOAWAY FLOW_CONTROL_ERROR",
    ),
    (
        "MAX_FRAME_SIZE below 2^14 (6.5.2)",
        |client| {
            raw(client, Kind::Settings, OPEN, 0, &[0, 5, 0, 0, 0, 1]);
        },
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "PUSH_PROMISE of a client (8.4)",
        |client| {
            client.ask(1, OPEN, "PUT", "/open/x");
            raw(
                client,
                Kind::PushPromise,
                Flags::END_HEADERS,
                1,
                &[0, 0, 0, 2, 0x82],
            );
        },
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "PING on a stream (6.7)",
        |client| raw(client, Kind::Ping, OPEN, 1, &[0; 8]),
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "PING of a wrong size (6.7)",
        |client| raw(client, Kind::Ping, OPEN, 0, &[0; 7]),
        "GOAWAY FRAME_SIZE_ERROR",
    ),
    (
        "GOAWAY on a stream (6.8)",
        |client| raw(client, Kind::GoAway, OPEN, 1, &[0; 8]),
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "WINDOW_UPDATE of a wrong size (6.9)",
        |client| raw(client, Kind::WindowUpdate, OPEN, 0, &[0; 3]),
        "GOAWAY FRAME_SIZE_ERROR",
    ),
    (
        "WINDOW_UPDATE of zero (6.9)",
        |client| raw(client, Kind::WindowUpdate, OPEN, 0, &[0; 4]),
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "WINDOW_UPDATE of an idle stream (5.1)",
        |client| client.say(9, OPEN, &Frame::WindowUpdate(9)),
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "CONTINUATION of nothing (6.10)",
        |client| raw(client, Kind::Continuation, Flags::END_HEADERS, 1, &[0x82]),
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "a frame inside of a header block (6.10)",
        |client| {
            raw(client, Kind::Headers, END, 1, &[0x82]);
            client.say(0, OPEN, &Frame::Ping([0; 8]));
        },
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "a stream with an even number (5.1.1)",
        |client| client.ask(2, END, "GET", "/get"),
        "GOAWAY PROTOCOL_ERROR",
    ),
    (
        "a frame that is too large (4.2)",
        |client| raw(client, Kind::Headers, WHOLE, 1, &[0; 17_000]),
        "GOAWAY FRAME_SIZE_ERROR",
    ),
    (
        "an index out of the table (RFC 7541 2.3.3)",
        |client| raw(client, Kind::Headers, WHOLE, 1, &[0xff, 0x7f]),
        "GOAWAY COMPRESSION_ERROR",
    ),
    (
        "a table size that was not allowed (RFC 7541 6.3)",
        |client| raw(client, Kind::Headers, WHOLE, 1, &[0x3f, 0xe1, 0xff, 0x03]),
        "GOAWAY COMPRESSION_ERROR",
    ),
];

#[test]
fn what_is_between_client_and_server_is_answered_alike() {
    let server = Nghttpd::start();
    let world = enforcing(server.address);
    for (name, case) in END_TO_END {
        let streams = if name.starts_with("three") { 3 } else { 1 };
        let direct = outcome(Peer::connect(server.address), *case, streams);
        let through = outcome(world.connect(), *case, streams);
        assert_eq!(through, direct, "{name}");
    }
}

#[test]
fn what_is_the_next_hops_own_is_answered_as_the_rfc_names_it() {
    let server = Nghttpd::start();
    let world = enforcing(server.address);
    for (name, case, expected) in HOP_BY_HOP {
        let through = outcome(world.connect(), *case, 0);
        assert_eq!(
            through.last().map(String::as_str),
            Some(*expected),
            "{name}"
        );
    }
}
