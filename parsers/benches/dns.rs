//! Messages a second on one core: a resolver's usual mix of queries and responses.
//!
//! `read` checks every name and length of a message; `record` also walks its answers and writes the
//! name in lower case, which is what a flow record needs; `pair` matches queries with responses.
#![expect(clippy::expect_used, reason = "the bench makes its own messages")]

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hickory_proto::op::{Edns, Message as Built, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_proto::rr::{Name as BuiltName, RData, Record, RecordType};
use parsers::dns::{Chain, Message, Name, Pairing, PairingLimits};

fn name(text: &str) -> BuiltName {
    BuiltName::from_ascii(text).expect("a name")
}

fn built(id: u16, kind: MessageType, asked: &str, of: RecordType) -> Built {
    let mut message = Built::new(id, kind, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(asked), of));
    let mut edns = Edns::new();
    edns.set_max_payload(1232);
    message.set_edns(edns);
    message
}

/// What a pod asks when it looks up one name: two types of it, answered with addresses behind an alias,
/// and a search suffix that has none.
fn mix() -> Vec<Vec<u8>> {
    let host = "api.eu-central-1.shop.example.com.";
    let edge = "edge-17.cdn.example.net.";
    let local = "api.shop.svc.cluster.local.";
    let alias = || Record::from_rdata(name(host), 60, RData::CNAME(CNAME(name(edge))));
    let mut messages = Vec::new();
    for (id, of) in [(1, RecordType::A), (2, RecordType::AAAA)] {
        messages.push(built(id, MessageType::Query, host, of));
        let mut response = built(id, MessageType::Response, host, of);
        response.add_answer(alias());
        for last in 1..4_u8 {
            let data = match of {
                RecordType::A => RData::A(A(Ipv4Addr::new(192, 0, 2, last))),
                _ => RData::AAAA(AAAA(Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped())),
            };
            response.add_answer(Record::from_rdata(name(edge), 30, data));
        }
        messages.push(response);
    }
    messages.push(built(3, MessageType::Query, local, RecordType::A));
    let mut missing = built(3, MessageType::Response, local, RecordType::A);
    let zone = name("cluster.local.");
    let soa = SOA::new(
        name("ns.dns.cluster.local."),
        name("hostmaster.cluster.local."),
        1,
        7200,
        1800,
        86400,
        5,
    );
    missing.add_authority(Record::from_rdata(zone, 5, RData::SOA(soa)));
    messages.push(missing);
    messages
        .iter()
        .map(|message| message.to_vec().expect("bytes"))
        .collect()
}

fn read(messages: &[Vec<u8>]) -> usize {
    let read = messages
        .iter()
        .filter_map(|bytes| Message::read(bytes).ok());
    read.filter(|message| message.fault().is_none()).count()
}

fn record(messages: &[Vec<u8>]) -> u32 {
    let mut sum = 0;
    for bytes in messages {
        let Ok(message) = Message::read(bytes) else {
            continue;
        };
        sum += u32::from(message.rcode().0);
        if let Some(question) = message.question() {
            let mut room = [0; Name::TEXT_MAX];
            let lower = question.name().to_lower(&mut room);
            sum += u32::from(black_box(lower).is_some());
        }
        if let Some(chain) = Chain::of(&message) {
            for answer in chain.addresses() {
                sum = sum.wrapping_add(answer.ttl);
            }
        }
    }
    sum
}

fn pair(messages: &[Vec<u8>], table: &mut Pairing<u64, ()>, flow: u64) -> usize {
    let mut matched = 0;
    for (now, bytes) in (flow..).zip(messages) {
        let Ok(message) = Message::read(bytes) else {
            continue;
        };
        if message.header().is_response() {
            matched += usize::from(table.handle_response(flow, &message, now).is_some());
        } else {
            table.handle_query(flow, &message, now, ());
        }
    }
    matched
}

/// The worst that 64 KiB can ask of their reader: the longest names there are, different only in their
/// last label, a chain as long as is followed, and addresses of a name that is not in it.
fn hostile() -> Vec<u8> {
    let long = |last: u8| [&b"\x01a".repeat(125)[..], &[1, b'b' + last, 0]].concat();
    let mut bytes = vec![0, 1, 0x81, 0x80, 0, 1, 0xff, 0xff, 0, 0, 0, 0];
    bytes.extend(long(0));
    bytes.extend([0, 1, 0, 1]);
    let mut owner = 12;
    for next in 1..18 {
        let name = long(next);
        bytes.extend(u16::to_be_bytes(0xc000 | owner));
        // The last is told by an NS record: nothing leads to it.
        let kind = if next == 17 { 2 } else { 5 };
        bytes.extend([0, kind, 0, 1, 0, 0, 0, 9, 0]);
        bytes.push(u8::try_from(name.len()).expect("short"));
        owner = u16::try_from(bytes.len()).expect("small");
        bytes.extend(name);
    }
    while bytes.len() < Message::BYTES_MAX - 16 {
        bytes.extend(u16::to_be_bytes(0xc000 | owner));
        bytes.extend([0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 1, 2, 3, 4]);
    }
    bytes
}

fn benches(criterion: &mut Criterion) {
    let messages = mix();
    let mut group = criterion.benchmark_group("dns");
    group.throughput(Throughput::Elements(
        u64::try_from(messages.len()).expect("few"),
    ));
    assert_eq!(read(&messages), messages.len());
    group.bench_function("read", |bencher| {
        bencher.iter(|| read(black_box(&messages)));
    });
    group.bench_function("record", |bencher| {
        bencher.iter(|| record(black_box(&messages)));
    });
    let mut table = Pairing::new(PairingLimits::default());
    let mut flow = 0;
    group.bench_function("pair", |bencher| {
        bencher.iter(|| {
            flow += 1;
            pair(black_box(&messages), &mut table, flow)
        });
    });
    group.finish();
    let message = [hostile()];
    criterion.bench_function("dns/hostile/read", |bencher| {
        bencher.iter(|| read(black_box(&message)));
    });
    criterion.bench_function("dns/hostile/record", |bencher| {
        bencher.iter(|| record(black_box(&message)));
    });
}

criterion_group!(dns, benches);
criterion_main!(dns);
