use std::sync::{Arc, Mutex};

use super::*;
use crate::record::{HttpKind, IdentityNumber, Record, Sink};

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
                format!(
                    "{kind} {} {} {} {:?}",
                    http.code,
                    text(http.method),
                    text(http.url),
                    http.outcome
                )
            }
            record::Event::Opaque {
                note,
                sent,
                received,
                ..
            } => {
                format!("opaque {} {sent} {received}", text(*note))
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
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x00",
        ),
        (ToServer, b"\x81\x00"),
    ]);
    assert_eq!(lines[1], "response 101 GET http://web/ws Passed");
    assert!(lines[2].starts_with("opaque upgrade"), "{lines:?}");
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
