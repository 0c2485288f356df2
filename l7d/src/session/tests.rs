use std::sync::{Arc, Mutex};

use super::*;
use crate::record::{self, Direction, HttpKind, IdentityNumber, Party, Record, Sink};

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Sink for Lines {
    fn record(&self, record: &Record) {
        let text = |span| String::from_utf8_lossy(record.text(span)).into_owned();
        let line = match &record.event {
            record::Event::Http(http) => {
                let kind = if http.kind == HttpKind::Request {
                    "request"
                } else {
                    "response"
                };
                let grpc = http.grpc.map(|grpc| {
                    let record::Volume { messages, bytes } = grpc.received;
                    format!(" grpc {:?} {messages} {bytes}", grpc.status)
                });
                format!(
                    "{kind} {} {} {} {:?}{}",
                    http.code,
                    text(http.method),
                    text(http.url),
                    http.outcome,
                    grpc.unwrap_or_default()
                )
            }
            record::Event::Opaque(opaque) => {
                let (sent, received) = (opaque.sent, opaque.received);
                format!("opaque {} {sent} {received}", text(opaque.note))
            }
            _ => "?".to_owned(),
        };
        self.0.lock().expect("no panic").push(line);
    }
}

fn run(chunks: &[(Way, &[u8])]) -> Vec<String> {
    run_with(chunks, |recorder, ends| {
        Session::new(recorder, ends, Limits::default(), Reading::Lenient)
    })
}

fn run_late(chunks: &[(Way, &[u8])]) -> Vec<String> {
    run_with(chunks, |recorder, ends| {
        Session::mid_stream(recorder, ends, Limits::default())
    })
}

fn run_with(
    chunks: &[(Way, &[u8])],
    open: impl FnOnce(Rc<Recorder>, Ends) -> Session,
) -> Vec<String> {
    let lines = Arc::new(Lines::default());
    let recorder = Rc::new(Recorder::new(
        Arc::clone(&lines) as Arc<dyn Sink>,
        Redaction::new(&crate::config::Redact::default()),
    ));
    let party = |port| Party::unnamed(([10, 0, 0, 1], port).into(), IdentityNumber(300));
    let ends = Ends::new(party(4000), party(80), Direction::Ingress);
    let mut session = open(recorder, ends);
    for (way, bytes) in chunks {
        session.observe(*way, bytes);
    }
    drop(session);

    lines.0.lock().expect("no panic").clone()
}

use Way::{ToClient, ToServer};

#[test]
fn one_request_and_its_response_are_two_records() {
    let lines = run(&[
        (ToServer, b"GET /get HTTP/1.1\r\nHost: web\r\n\r\n"),
        (ToClient, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ]);
    assert_eq!(
        lines,
        [
            "request 0 GET http://web/get Passed",
            "response 200 GET http://web/get Passed"
        ]
    );
}

#[test]
fn the_split_does_not_matter() {
    let request =
        b"POST /a HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.0\r\n\r\n";
    let whole = run(&[(ToServer, request)]);
    let bytes: Vec<(Way, &[u8])> = request.chunks(1).map(|byte| (ToServer, byte)).collect();
    assert_eq!(run(&bytes), whole);
    assert_eq!(whole[1], "request 0 GET http://10.0.0.1:80/b Passed");
}

#[test]
fn a_request_without_an_answer_says_so() {
    let lines = run(&[(ToServer, b"GET /slow HTTP/1.1\r\nHost: web\r\n\r\n")]);
    assert_eq!(lines[1], "response 0 GET http://web/slow NoResponse");
}

#[test]
fn what_is_not_http_is_one_record_with_its_bytes() {
    let lines = run(&[(ToClient, b"220 mail\r\n"), (ToServer, b"EHLO me\r\n")]);
    assert_eq!(lines, ["opaque not http 9 10"]);
}

#[test]
fn an_upgraded_connection_is_http_and_then_opaque() {
    let lines = run(&[
        (
            ToServer,
            b"GET /ws HTTP/1.1\r\nHost: web\r\nUpgrade: websocket\r\n\r\n",
        ),
        (
            ToClient,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\r\n\x81\x00",
        ),
        (ToServer, b"\x81\x00"),
    ]);
    assert_eq!(lines[1], "response 101 GET http://web/ws Passed");
    assert!(lines[2].starts_with("opaque websocket"), "{lines:?}");
}

#[test]
fn users_in_urls_are_hidden() {
    let lines = run(&[(
        ToServer,
        b"GET http://u:p@web/ HTTP/1.1\r\nHost: web\r\n\r\n",
    )]);
    assert_eq!(lines[0], "request 0 GET http://HUBBLE_REDACTED@web/ Passed");
}

#[test]
fn a_sender_of_heads_without_end_is_given_up() {
    let line = b"GET / HTTP/1.1\r\n";
    let bytes = line.repeat(2 * Limits::default().head_bytes / line.len());
    let sent = bytes.len();
    let lines = run_late(&[(ToServer, &bytes)]);
    assert_eq!(lines, [format!("opaque head-too-long {sent} 0")]);
}

const SOCKS_CLIENT: &[u8] = b"\x05\x01\0\x05\x01\0\x03\x03web\0P";
const SOCKS_SERVER: &[u8] = b"\x05\0\x05\0\0\x01\x0a\0\0\x01\x9c\x40";
const ASKED: &[u8] = b"GET /a HTTP/1.1\r\nHost: web\r\n\r\n";
const ANSWERED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// Both sides, one after the other by turns, cut at every so many bytes.
fn by_turns(sides: [(Way, &[u8]); 2], run: usize) -> Vec<(Way, &[u8])> {
    let [(a, first), (b, second)] = sides;
    let (mut first, mut second) = (first.chunks(run), second.chunks(run));
    let mut turns = Vec::new();
    loop {
        let (from_a, from_b) = (first.next(), second.next());
        if from_a.is_none() && from_b.is_none() {
            return turns;
        }
        turns.extend(from_a.map(|bytes| (a, bytes)));
        turns.extend(from_b.map(|bytes| (b, bytes)));
    }
}

#[test]
fn what_is_behind_socks_is_read_however_it_is_cut() {
    let client = [SOCKS_CLIENT, ASKED].concat();
    let server = [SOCKS_SERVER, ANSWERED].concat();
    for length in 1..=client.len() {
        let sides = [(ToServer, &client[..]), (ToClient, &server[..])];
        let lines = run(&by_turns(sides, length));
        assert_eq!(
            lines,
            [
                "request 0 GET http://web/a Passed",
                "response 200 GET http://web/a Passed",
            ],
            "cut every {length} bytes"
        );
    }
}

#[test]
fn tls_and_nothing_behind_socks_name_whom_the_client_asked_for() {
    let tls = [
        (ToServer, SOCKS_CLIENT),
        (ToClient, SOCKS_SERVER),
        (ToServer, b"\x16\x03\x01\0\x01\0"),
        (ToClient, b"\x16\x03\x03\0\x01\0"),
    ];
    assert_eq!(run(&tls), ["opaque tls to web:80 19 18"]);
    assert_eq!(run(&tls[..2]), ["opaque socks to web:80 13 12"]);
    let refused = [
        (ToServer, SOCKS_CLIENT),
        (ToClient, &b"\x05\0\x05\x05\0\x01\0\0\0\0\0\0"[..]),
        (ToServer, ASKED),
    ];
    assert_eq!(run(&refused), ["opaque socks refused to web:80 43 12"]);
}

#[test]
fn a_proxy_that_opened_the_connection_is_the_server_of_what_is_in_it() {
    for garbage in [&b""[..], b"NZ\x8d\x08\x87N"] {
        let (greeting, request) = SOCKS_CLIENT.split_at(3);
        let (choice, reply) = SOCKS_SERVER.split_at(2);
        let mut turns = vec![
            (ToClient, greeting),
            (ToServer, choice),
            (ToClient, request),
            (ToServer, reply),
            (ToClient, ASKED),
            (ToServer, ANSWERED),
        ];
        if !garbage.is_empty() {
            turns.insert(0, (ToServer, garbage));
        }
        assert_eq!(
            run(&turns),
            [
                "request 0 GET http://web/a Passed",
                "response 200 GET http://web/a Passed",
            ]
        );
    }
}

#[test]
fn what_only_begins_like_socks_is_something_else() {
    let lines = run(&[
        (ToServer, b"\x05\x01\0"),
        (ToClient, b"220 ready\r\n"),
        (ToServer, ASKED),
        (ToClient, ANSWERED),
    ]);
    assert_eq!(
        lines,
        [
            "request 0 GET http://web/a Passed",
            "response 200 GET http://web/a Passed",
            "opaque not http 33 49",
        ]
    );
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short frame");
    [&[0, 0, length, kind, flags, 0, 0, 0, stream][..], payload].concat()
}

/// Fields that use no table (RFC 7541 §6.2.2).
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        [&[length], text.as_bytes()].concat()
    };
    let field = |(name, value): &(&str, &str)| [vec![0], text(name), text(value)].concat();
    fields.iter().flat_map(field).collect()
}

#[test]
fn messages_of_grpc_web_are_counted_in_bytes_and_in_text() {
    let payload = b"\0\0\0\0\x03abc\x80\0\0\0\x0fgrpc-status:5\r\n";
    let text = b"AAAAAANhYmOAAAAAD2dycGMtc3RhdHVzOjUNCg==";
    for (content_type, payload) in [
        ("application/grpc-web+proto", &payload[..]),
        ("application/grpc-web-text+proto", text),
    ] {
        let content_type = ("content-type", content_type);
        let request = fields(&[
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "web"),
            (":path", "/a.B/C"),
            content_type,
        ]);
        let response = fields(&[(":status", "200"), content_type]);
        let client = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[]),
            frame(1, 4 | 1, 1, &request),
        ];
        let server = [
            frame(4, 0, 0, &[]),
            frame(1, 4, 1, &response),
            frame(0, 1, 1, payload),
        ];
        let lines = run(&[(ToServer, &client.concat()), (ToClient, &server.concat())]);
        assert_eq!(
            lines,
            [
                "request 0 POST http://web/a.B/C Passed",
                "response 200 POST http://web/a.B/C Passed grpc Some(5) 1 3",
            ],
            "{content_type:?}"
        );
    }
}

#[test]
fn http_0_9_is_not_read_and_told_as_a_request_without_an_end() {
    let lines = run(&[
        (ToServer, b"GET /index.html\r\n"),
        (ToClient, b"<html>hello</html>\n"),
    ]);
    assert_eq!(lines, ["opaque incomplete request 17 19"]);
}
