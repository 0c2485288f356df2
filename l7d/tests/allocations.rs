//! What is seen again and again costs no memory: after the first messages, reading one and recording
//! it allocates nothing.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::rc::Rc;
use std::sync::Arc;

use l7d::clock::Timestamp;
use l7d::flow::FlowRing;
use l7d::flow::filter::Filters;
use l7d::metrics::{Counting, Wanted};
use l7d::record::{
    ConnState, Direction, DropReason, Event, IdentityNumber, L4, Ledger, Party, Record, Sink,
    TcpHealth, Trace, TracePoint, Verdict, Why,
};
use l7d::session::{Ends, Lookups, Recorder, Redaction, Session};
use parsers::dns::{Message, PairingLimits};
use parsers::hpack::{Encoder, Field};
use parsers::http1::Reading;
use parsers::http2::{Flags, Frame, PREFACE, Settings};
use parsers::{Direction as Way, Limits};

/// The header tables of HTTP/2 are logs, moved to new memory now and then.
const MOVES: u64 = COUNTED as u64 / 100;
const WARM_UP: u32 = 2000;
const COUNTED: u32 = 1000;

fn ends(port: u16) -> Ends {
    let party = |port| Party::unnamed(([10, 0, 0, 1], port).into(), IdentityNumber(300));
    Ends::new(party(4000), party(port), Direction::Ingress)
}

/// A recorder whose records go where an agent's go.
fn recorder() -> Rc<Recorder> {
    recorder_to(Arc::new(FlowRing::new(512, Arc::new(Ledger::default()))))
}

fn recorder_to(sink: Arc<dyn Sink>) -> Rc<Recorder> {
    let redaction = Redaction::new(&l7d::config::Redact::default());
    Rc::new(Recorder::new(sink, redaction))
}

fn session(recorder: &Rc<Recorder>) -> Session {
    let recorder = Rc::clone(recorder);
    Session::new(recorder, ends(80), Limits::default(), Reading::Lenient)
}

/// Allocations of messages after those that fill tables and pools.
fn allocations(mut exchange: impl FnMut(u32)) -> u64 {
    for nth in 0..WARM_UP {
        exchange(nth);
    }
    let counted = allocation_counter::measure(|| {
        for nth in WARM_UP..WARM_UP + COUNTED {
            exchange(nth);
        }
    });
    counted.count_total
}

#[test]
fn an_http1_exchange_allocates_nothing() {
    const REQUEST: &[u8] =
        b"POST /users/17?page=2 HTTP/1.1\r\nHost: web\r\nX-Id: 1\r\nContent-Length: 4\r\n\r\ndata";
    const RESPONSE: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
    let recorder = recorder();
    let mut session = session(&recorder);
    let count = allocations(|_| {
        session.observe(Way::ToServer, REQUEST);
        session.observe(Way::ToClient, RESPONSE);
    });
    assert_eq!(count, 0);
}

/// The bytes of so many exchanges over HTTP/2, by direction.
fn http2_exchanges(count: u32, is_grpc: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut requests, mut responses) = (Encoder::new(4096), Encoder::new(4096));
    let head =
        |encoder: &mut Encoder, stream, flags, fields: &[(&str, &str)], out: &mut Vec<u8>| {
            let mut block = Vec::new();
            let fields = fields
                .iter()
                .map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes()));
            encoder.encode(fields, &mut block);
            Frame::write_header_block(stream, flags, &block, 16_384, out);
        };
    let data = |stream, flags, out: &mut Vec<u8>| {
        let message = Frame::Data {
            data: b"\0\0\0\0\x03abc",
            padding: None,
        };
        message.write(stream, flags, out);
    };
    let kind = if is_grpc {
        "application/grpc"
    } else {
        "text/plain"
    };
    (0..count)
        .map(|nth| {
            let stream = 2 * nth + 1;
            let (mut asked, mut answered) = (Vec::new(), Vec::new());
            let id = format!("{nth:016x}");
            let request = [
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "web"),
                (":path", "/shop.Cart/Add"),
                ("content-type", kind),
                ("x-id", &id),
            ];
            head(&mut requests, stream, Flags::NONE, &request, &mut asked);
            data(stream, Flags::END_STREAM, &mut asked);
            let response = [(":status", "200"), ("content-type", kind)];
            head(
                &mut responses,
                stream,
                Flags::NONE,
                &response,
                &mut answered,
            );
            data(stream, Flags::NONE, &mut answered);
            let trailers = [("grpc-status", "0")];
            head(
                &mut responses,
                stream,
                Flags::END_STREAM,
                &trailers,
                &mut answered,
            );
            (asked, answered)
        })
        .collect()
}

fn http2_allocations(is_grpc: bool) -> u64 {
    let pieces = http2_exchanges(WARM_UP + COUNTED, is_grpc);
    let recorder = recorder();
    let mut session = session(&recorder);
    let mut settings = Vec::new();
    Frame::Settings(Settings::new(&[])).write(0, Flags::NONE, &mut settings);
    session.observe(Way::ToServer, PREFACE);
    session.observe(Way::ToServer, &settings);
    session.observe(Way::ToClient, &settings);
    allocations(|nth| {
        let (asked, answered) = pieces.get(nth as usize).unwrap();
        session.observe(Way::ToServer, asked);
        session.observe(Way::ToClient, answered);
    })
}

#[test]
fn an_http2_exchange_allocates_nothing() {
    let count = http2_allocations(false);
    assert!(count <= MOVES, "{count}");
}

#[test]
fn a_grpc_call_allocates_nothing() {
    let count = http2_allocations(true);
    assert!(count <= MOVES, "{count}");
}

/// A query for `web.shop.`, or its answer with one address.
fn dns_message(id: u32, is_response: bool) -> Vec<u8> {
    let [.., high, low] = id.to_be_bytes();
    let (flags, answers) = if is_response {
        ([0x81, 0x80], 1)
    } else {
        ([0x01, 0x00], 0)
    };
    let mut bytes = vec![high, low];
    bytes.extend(flags);
    bytes.extend([0, 1, 0, answers, 0, 0, 0, 0]);
    bytes.extend(b"\x03web\x04shop\0\0\x01\0\x01");
    if is_response {
        bytes.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\0\0\x07");
    }
    bytes
}

/// Where records go that are counted first.
struct Nowhere;

impl Sink for Nowhere {
    fn record(&self, _record: &Record) {}
}

/// All metrics, with labels of all kinds.
fn counting() -> Arc<Counting> {
    let hubble = "dns:query;sourceContext=pod drop:labelsContext=source_ip,destination_app flow:sourceContext=workload|identity httpV2:labelsContext=source_pod,traffic_direction;destinationContext=dns|ip icmp policy port-distribution tcp flows-to-world:port";
    let ring = FlowRing::new(7, Arc::new(Ledger::default()));
    let settings = l7d::config::Metrics::default();
    let counting = Counting::new(&settings, &ring, Arc::new(Nowhere));
    let wanted = hubble.split(' ').map(|text| Wanted {
        metric: l7d::config::HubbleMetric::parse(text).unwrap(),
        filters: Filters::default(),
    });
    counting.set(&settings, wanted.collect());
    Arc::new(counting)
}

#[test]
fn counting_allocates_nothing() {
    let ends = || {
        let party = |port| Party::unnamed(([10, 0, 0, 1], port).into(), IdentityNumber(300));
        (party(4000), party(80))
    };
    let record = |event| {
        let (source, destination) = ends();
        let mut record = Record::new(Timestamp(1), source, destination, event);
        record.reply = Some(false);
        record.l4 = L4::Tcp { flags: 0x12 };
        record
    };
    let trace = record(Event::Trace(Trace {
        point: TracePoint::ToStack,
        state: ConnState::Established,
        why: Why::Interval,
        packets: 100,
        bytes: 100_000,
        health: TcpHealth {
            srtt_us: 400,
            ..TcpHealth::default()
        },
    }));
    let verdict = record(Event::PolicyVerdict {
        match_type: 1,
        reason: None,
    });
    let mut dropped = record(Event::Drop {
        reason: DropReason::POLICY_DENIED,
        kernel: None,
    });
    dropped.verdict = Verdict::Dropped;
    let counting = counting();
    let count = allocations(|_| {
        for record in [&trace, &verdict, &dropped] {
            counting.record(record);
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn counting_a_request_allocates_nothing() {
    const REQUEST: &[u8] = b"GET /users/17/x?page=2 HTTP/1.1\r\nHost: web\r\n\r\n";
    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let recorder = recorder_to(counting());
    let mut session = session(&recorder);
    let count = allocations(|_| {
        session.observe(Way::ToServer, REQUEST);
        session.observe(Way::ToClient, RESPONSE);
    });
    assert_eq!(count, 0);
}

#[test]
fn counting_a_lookup_allocates_nothing() {
    assert_eq!(lookup_allocations(&recorder_to(counting())), 0);
}

#[test]
fn a_lookup_allocates_nothing() {
    assert_eq!(lookup_allocations(&recorder()), 0);
}

fn lookup_allocations(recorder: &Rc<Recorder>) -> u64 {
    let ends = ends(53);
    let mut lookups: Lookups<u16> = Lookups::new(PairingLimits::default(), L4::Udp);
    let messages: Vec<_> = (0..WARM_UP + COUNTED)
        .map(|nth| (dns_message(nth, false), dns_message(nth, true)))
        .collect();
    allocations(|nth| {
        let (query, answer) = messages.get(nth as usize).unwrap();
        for bytes in [query, answer] {
            let message = Message::read(bytes).unwrap();
            lookups.handle(recorder, 0, &ends, &message);
        }
    })
}
