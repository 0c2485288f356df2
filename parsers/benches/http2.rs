//! Header-heavy HTTP/2 through [`Connection`], frames and message checks included.
//!
//! Two kinds of traffic: `repeated`, where nearly all fields are indices, and `fresh`, where nearly
//! all are Huffman-coded text. Figures are bytes on the wire per second, on one core.
#![expect(clippy::indexing_slicing, reason = "the bench makes its own bounds")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use parsers::hpack::{Encoder, Field};
use parsers::http2::{Connection, Event, Flags, Frame, PREFACE, Settings, Step};
use parsers::{Direction, Limits};

const EXCHANGES: u32 = 2000;

/// Both directions of a connection, exchange by exchange.
struct Traffic {
    pieces: Vec<(Direction, Vec<u8>)>,
    bytes: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Fields {
    Repeated,
    Fresh,
}

fn request(nth: u32, fields: Fields) -> Vec<(String, String)> {
    let unique = if fields == Fields::Fresh {
        nth
    } else {
        nth % 8
    };
    let hash = u64::from(unique).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut list = vec![
        (":method".into(), "GET".into()),
        (":scheme".into(), "https".into()),
        (":authority".into(), "shop.example.com".into()),
        (
            ":path".into(),
            format!("/api/v1/users/{unique}/orders?page=2"),
        ),
        (
            "user-agent".into(),
            "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101".into(),
        ),
        (
            "accept".into(),
            "text/html,application/xhtml+xml,application/xml;q=0.9".into(),
        ),
        ("accept-language".into(), "en-US,en;q=0.5".into()),
        ("accept-encoding".into(), "gzip, deflate".into()),
        ("x-request-id".into(), format!("{hash:016x}{hash:016x}")),
        (
            "traceparent".into(),
            format!("00-{hash:032x}-{hash:016x}-01"),
        ),
    ];
    if fields == Fields::Fresh {
        let cookie = format!("session={hash:x}; theme=dark; basket={hash:064x}; seen={unique}");
        list.push(("cookie".into(), cookie));
        list.push((
            "referer".into(),
            format!("https://shop.example.com/{hash:x}/items"),
        ));
    }
    list
}

fn response(nth: u32, fields: Fields) -> Vec<(String, String)> {
    let unique = if fields == Fields::Fresh {
        nth
    } else {
        nth % 8
    };
    vec![
        (":status".into(), "200".into()),
        ("server".into(), "envoy".into()),
        ("content-type".into(), "application/json".into()),
        (
            "date".into(),
            format!("Mon, 21 Oct 2013 20:{:02}:21 GMT", unique % 60),
        ),
        (
            "x-envoy-upstream-service-time".into(),
            format!("{}", unique % 100),
        ),
        ("vary".into(), "accept-encoding".into()),
    ]
}

fn headers(encoder: &mut Encoder, stream: u32, list: &[(String, String)], out: &mut Vec<u8>) {
    let mut block = Vec::new();
    let fields = list
        .iter()
        .map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes()));
    encoder.encode(fields, &mut block);
    Frame::write_header_block(stream, Flags::END_STREAM, &block, 16_384, out);
}

fn traffic(fields: Fields) -> Traffic {
    let (mut requests, mut responses) = (Encoder::new(4096), Encoder::new(4096));
    let settings = |out: &mut Vec<u8>| {
        Frame::Settings(Settings::new(&[])).write(0, Flags::NONE, out);
    };
    let mut first = PREFACE.to_vec();
    settings(&mut first);
    let mut second = Vec::new();
    settings(&mut second);
    let mut pieces = vec![(Direction::ToServer, first), (Direction::ToClient, second)];
    for nth in 0..EXCHANGES {
        let stream = nth * 2 + 1;
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        headers(&mut requests, stream, &request(nth, fields), &mut to_server);
        headers(
            &mut responses,
            stream,
            &response(nth, fields),
            &mut to_client,
        );
        pieces.push((Direction::ToServer, to_server));
        pieces.push((Direction::ToClient, to_client));
    }
    let bytes = pieces.iter().map(|(_, piece)| piece.len() as u64).sum();
    Traffic { pieces, bytes }
}

/// Reads everything and touches what a record would take.
fn read(traffic: &Traffic) -> usize {
    let mut connection = Connection::new(Limits::default());
    let mut touched = 0;
    for (direction, piece) in &traffic.pieces {
        let mut at = 0;
        while let Ok(Step::Event { consumed, event }) = connection.step(*direction, &piece[at..]) {
            at += consumed;
            if let Event::Request { head, .. } | Event::Response { head, .. } = event {
                assert!(head.fault().is_none());
                touched += head.path().map_or(0, <[u8]>::len);
                touched += usize::from(head.status().unwrap_or_default());
            }
        }
        assert_eq!(at, piece.len());
    }
    touched
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http2");
    for (name, fields) in [("repeated", Fields::Repeated), ("fresh", Fields::Fresh)] {
        let traffic = traffic(fields);
        group.throughput(Throughput::Bytes(traffic.bytes));
        group.bench_function(name, |bencher| bencher.iter(|| read(&traffic)));
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
