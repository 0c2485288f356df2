//! DNS.

use serde_json::{Value, json};

use super::tree::Node;
use super::{Message, begin, put};

/// Flags in the order of `-o messages`.
const FLAGS: [(&str, &str); 4] = [
    ("aa", "dns.flags.authoritative"),
    ("tc", "dns.flags.truncated"),
    ("rd", "dns.flags.recdesired"),
    ("ra", "dns.flags.recavail"),
];

/// How many records each section has; the second name is an update's.
const COUNTS: [[&str; 2]; 4] = [
    ["dns.count.queries", "dns.count.zones"],
    ["dns.count.answers", "dns.count.prerequisites"],
    ["dns.count.auth_rr", "dns.count.updates"],
    ["dns.count.add_rr", "dns.count.add_rr"],
];

/// Fields of a record's data that `-o messages` tells.
const DATA: [&str; 25] = [
    "dns.a",
    "dns.aaaa",
    "dns.caa.tag",
    "dns.caa.value",
    "dns.cname",
    "dns.dname",
    "dns.mx.mail_exchange",
    "dns.mx.preference",
    "dns.naptr.replacement",
    "dns.ns",
    "dns.ptr.domain_name",
    "dns.soa.expire_limit",
    "dns.soa.minimum_ttl",
    "dns.soa.mname",
    "dns.soa.refresh_interval",
    "dns.soa.retry_interval",
    "dns.soa.rname",
    "dns.soa.serial_number",
    "dns.srv.port",
    "dns.srv.priority",
    "dns.srv.target",
    "dns.srv.weight",
    "dns.svcb.svcpriority",
    "dns.svcb.targetname",
    "dns.txt",
];

/// A query or a response.
pub(super) fn message(layer: &Node, base: &Message) -> Message {
    let is_response = layer.flag("dns.flags.response");
    let mut message = if is_response {
        begin("dns.response", base)
    } else {
        begin("dns.query", base)
    };
    put(&mut message, "id", layer.number("dns.id"));
    put(&mut message, "opcode", layer.number("dns.flags.opcode"));
    if is_response {
        put(&mut message, "rcode", layer.number("dns.flags.rcode"));
    }
    let set = FLAGS.iter().filter(|(_, field)| layer.flag(field));
    let set: Vec<&str> = set.map(|(name, _)| *name).collect();
    put(&mut message, "flags", Some(json!(set)));
    let count = |[name, of_update]: &[&str; 2]| {
        let count = layer.number(name).or_else(|| layer.number(of_update));
        count.unwrap_or_default()
    };
    let counts: Vec<u64> = COUNTS.iter().map(count).collect();
    put(&mut message, "counts", Some(json!(counts)));
    let questions = records(layer, "Queries", |name, kind, record| {
        let class = record.number("dns.qry.class");
        json!({"name": name, "type": kind, "class": class})
    });
    put(&mut message, "qd", Some(questions));
    let answers = records(layer, "Answers", |name, kind, record| {
        let ttl = record.number("dns.resp.ttl");
        let data = data(record).join(" ");
        let data = (!data.is_empty()).then_some(data);
        json!({"name": name, "type": kind, "ttl": ttl, "data": data})
    });
    put(&mut message, "an", Some(answers));
    message
}

/// The records of a section: name and type stand in tshark's summary of each, as no field has the
/// type's name, and services have none with theirs.
fn records(layer: &Node, section: &str, tell: impl Fn(&str, &str, &Node) -> Value) -> Value {
    let section = layer.first(section).map(Node::fields).unwrap_or_default();
    let records = section.iter().filter_map(|(summary, record)| {
        let (owner, kind) = summary.rsplit_once(": type ")?;
        Some(tell(name(owner), kind.split(',').next()?, record))
    });
    records.collect()
}

/// The words of a record's data, in order.
fn data(record: &Node) -> Vec<&str> {
    let mut words = Vec::new();
    for (field, value) in record.fields() {
        match value {
            Node::Text(text) if DATA.contains(&field.as_str()) => words.push(name(text)),
            Node::Text(_) | Node::List(_) => {}
            Node::Tree(_) => words.extend(data(value)),
        }
    }
    words
}

/// The root has a word of its own.
fn name(text: &str) -> &str {
    match text {
        "<Root>" => ".",
        name => name,
    }
}
