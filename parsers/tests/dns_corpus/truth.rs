//! What the truth says of a capture, and a message as the truth would write it.

use std::collections::BTreeMap;
use std::path::Path;

use parsers::dns::{Field, Message, Name, Opcode, Record, RecordType, Section};
use serde_json::{Value, json};

/// What the truth says of DNS over one transport, by frame.
pub(crate) fn truth(file: &Path, transport: &str) -> BTreeMap<u64, Vec<Value>> {
    let lines = std::fs::read_to_string(file).expect("text");
    let mut found: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for line in lines.lines() {
        let message: Value = serde_json::from_str(line).expect("JSON");
        let is_dns = message["k"].as_str().is_some_and(|k| k.starts_with("dns."));
        if is_dns && message["l4"] == transport {
            let frame = message["n"].as_u64().expect("a frame");
            found.entry(frame).or_default().push(message);
        }
    }
    found
}

fn plain(name: &Name<'_>) -> String {
    if name.is_root() {
        return ".".to_owned();
    }
    let labels = name
        .labels()
        .map(|l| l.iter().map(|b| char::from(*b)).collect::<String>());
    labels.collect::<Vec<_>>().join(".")
}

/// The types that the truth gives by name.
const NAMED: &str = "A NS CNAME SOA PTR HINFO MX TXT SIG KEY AAAA SRV NAPTR CERT DNAME OPT DS SSHFP \
    RRSIG NSEC DNSKEY NSEC3 NSEC3PARAM TLSA CDS CDNSKEY SVCB HTTPS SPF TKEY TSIG IXFR AXFR ANY CAA";

fn kind(kind: RecordType) -> Value {
    match kind.name() {
        Some(name) if NAMED.split(' ').any(|known| known == name) => name.into(),
        Some(_) | None => kind.0.into(),
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The fields that the truth keeps of a record's data, as it writes them.
fn data(record: &Record<'_>) -> Value {
    use RecordType as T;
    let kept: Vec<_> = record
        .fields()
        .map_while(Result::ok)
        .filter_map(|field| match (field, record.kind()) {
            (Field::Address(address), T::A | T::AAAA) => Some(address.to_string()),
            (Field::Name(_), T::NSEC | T::RRSIG | T::SIG | T::RP) => None,
            (Field::Name(name), _) => Some(plain(&name)),
            (Field::Text(bytes) | Field::Word(bytes), T::TXT | T::SPF | T::HINFO | T::CAA) => {
                Some(text(bytes))
            }
            (Field::Number(number), T::MX | T::SRV | T::SOA | T::SVCB | T::HTTPS) => {
                Some(number.to_string())
            }
            _ => None,
        })
        .collect();
    if kept.is_empty() {
        Value::Null
    } else {
        kept.join(" ").into()
    }
}

/// The message as the truth writes it.
pub(crate) fn told(message: &Message<'_>) -> Value {
    let header = message.header();
    let flags = [
        (header.is_authoritative(), "aa"),
        (header.is_truncated(), "tc"),
        (header.is_recursion_desired(), "rd"),
        (header.is_recursion_available(), "ra"),
    ];
    let flags: Vec<_> = flags
        .iter()
        .filter(|(is_set, _)| *is_set)
        .map(|(_, name)| *name)
        .collect();
    // The truth has these flags of responses only, and of updates no prerequisites.
    let flags = flags
        .into_iter()
        .filter(|flag| header.is_response() || !["aa", "ra"].contains(flag))
        .collect::<Vec<_>>();
    let section = if message.opcode() == Opcode::UPDATE {
        Section::Question
    } else {
        Section::Answer
    };
    let questions: Vec<_> = message
        .questions()
        .map(|q| json!({"name": plain(&q.name()), "type": kind(q.kind()), "class": q.class().0}))
        .collect();
    let answers: Vec<_> = message
        .records(section)
        .map(|r| {
            json!({"name": plain(&r.name()), "type": kind(r.kind()), "ttl": r.ttl(), "data": data(&r)})
        })
        .collect();
    let mut told = json!({
        "k": if header.is_response() { "dns.response" } else { "dns.query" },
        "id": header.id(),
        "opcode": message.opcode().0,
        "flags": flags,
        "counts": Section::ALL.map(|section| header.count(section)),
        "qd": questions,
        "an": answers,
    });
    if header.is_response() {
        told["rcode"] = header.rcode().0.into();
    }
    told
}

pub(crate) const COMPARED: [&str; 8] =
    ["k", "id", "opcode", "flags", "counts", "qd", "an", "rcode"];
