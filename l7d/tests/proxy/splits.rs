//! However the network cuts a conversation, the same is recorded.

use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;

use l7d::record::{Direction, IdentityNumber, Party, Sink};
use l7d::session::{Ends, Recorder, Redaction, Session};
use parsers::Direction::{ToClient, ToServer};
use parsers::http1::Reading;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::world::Lines;

type Piece = (parsers::Direction, Vec<u8>);

/// Records of bytes that come in these pieces.
fn recorded(pieces: &[Piece]) -> Vec<String> {
    let lines = Arc::new(Lines::default());
    let sink: Arc<dyn Sink> = Arc::clone(&lines) as Arc<dyn Sink>;
    let redaction = Redaction::new(&l7d::config::Redact::default());
    let recorder = Rc::new(Recorder::new(sink, redaction));
    let party = |last, port| {
        let address = (Ipv4Addr::new(10, 0, 0, last), port).into();
        Party::unnamed(address, IdentityNumber(300))
    };
    let ends = Ends::new(party(1, 40000), party(2, 80), Direction::Ingress);
    let limits = parsers::Limits::default();
    let mut session = Session::new(recorder, ends, limits, Reading::Lenient);
    for (way, bytes) in pieces {
        session.observe(*way, bytes);
    }
    drop(session);
    lines.all()
}

fn request() -> impl Strategy<Value = &'static [u8]> {
    select(vec![
        &b"GET /a?b HTTP/1.1\r\nHost: web\r\n\r\n"[..],
        b"\r\n\r\nGET / HTTP/1.0\n\n",
        b"HEAD /h HTTP/1.1\r\nHost: web\r\nCookie: secret\r\n\r\n",
        b"POST /p HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nGET /",
        b"POST /c HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nt: u\r\n\r\n",
        b"CONNECT api:443 HTTP/1.1\r\nHost: api:443\r\n\r\n",
        b"\x16\x03\x01\x00\x02hi",
    ])
}

fn response() -> impl Strategy<Value = &'static [u8]> {
    select(vec![
        &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..],
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x00",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"220 mail\r\n",
        b"",
    ])
}

/// Whole turns: request, response, request, response.
fn conversation() -> impl Strategy<Value = Vec<Piece>> {
    let turns = vec((vec(request(), 1..3), response(), response()), 1..5);
    turns.prop_map(|turns| {
        let mut pieces = Vec::new();
        for (requests, first, second) in turns {
            let responses = if requests.len() == 1 {
                first.to_vec()
            } else {
                [first, second].concat()
            };
            pieces.push((ToServer, requests.concat()));
            pieces.push((ToClient, responses));
        }
        pieces
    })
}

/// Cuts each piece at some of its bytes.
fn cut(pieces: &[Piece], cuts: &[Index]) -> Vec<Piece> {
    let mut all = Vec::new();
    for (number, (way, bytes)) in pieces.iter().enumerate() {
        let of_piece = cuts.iter().skip(number % 3).step_by(3);
        let mut places: Vec<usize> = of_piece.map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        all.extend(
            places
                .windows(2)
                .map(|place| (*way, bytes[place[0]..place[1]].to_vec())),
        );
    }
    all
}

proptest! {
    #[test]
    fn any_split_records_the_same(pieces in conversation(), cuts in vec(any::<Index>(), 0..40)) {
        prop_assert_eq!(recorded(&cut(&pieces, &cuts)), recorded(&pieces));
    }

    #[test]
    fn any_split_of_damaged_bytes_records_the_same(
        pieces in conversation(),
        cuts in vec(any::<Index>(), 0..40),
        place in any::<Index>(),
        byte in any::<u8>(),
    ) {
        let mut pieces = pieces;
        let damaged = place.index(pieces.len());
        let bytes = &mut pieces[damaged].1;
        if !bytes.is_empty() {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert_eq!(recorded(&cut(&pieces, &cuts)), recorded(&pieces));
    }
}

#[test]
fn each_request_has_one_answer_or_is_told_to_have_none() {
    let get = b"GET /a HTTP/1.1\r\nHost: web\r\n\r\n".to_vec();
    let lines = recorded(&[
        (ToServer, get.repeat(3)),
        (ToClient, b"HTTP/1.1 204 \r\n\r\n".to_vec()),
    ]);
    let count = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(
        (count("request"), count("response 204"), count("response 0")),
        (3, 1, 2)
    );
}
