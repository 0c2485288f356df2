//! A DNS message as JSON.

use std::fmt::Write as _;

use parsers::dns::{Field, Message, Name, Opcode, Record, RecordType, Section};

use super::{Object, string};

pub(super) fn write(object: &mut Object<'_>, message: &Message<'_>) {
    let header = message.header();
    object.number("id", header.id().into());
    object.number("opcode", header.opcode().0.into());
    if header.is_response() {
        object.number("rcode", header.rcode().0.into());
    }
    let flags = [
        ("aa", header.is_authoritative()),
        ("tc", header.is_truncated()),
        ("rd", header.is_recursion_desired()),
        ("ra", header.is_recursion_available()),
    ];
    let set = flags.iter().filter(|(_, is_set)| *is_set);
    object.list("flags", set, |line, (name, _)| {
        string(line, name.as_bytes());
    });
    let counts = [
        Section::Question,
        Section::Answer,
        Section::Authority,
        Section::Additional,
    ];
    object.list("counts", counts.iter(), |line, section| {
        line.extend_from_slice(header.count(*section).to_string().as_bytes());
    });
    object.list("qd", message.questions(), |line, question| {
        named(line, question.name(), question.kind());
        let class = question.class().0;
        line.extend_from_slice(format!(",\"class\":{class}}}").as_bytes());
    });
    // What an update has in that place are prerequisites (RFC 2136 §2.4).
    let is_update = header.opcode() == Opcode::UPDATE;
    let answers = message.records(Section::Answer).filter(|_| !is_update);
    object.list("an", answers, |line, record| {
        named(line, record.name(), record.kind());
        let ttl = record.ttl();
        line.extend_from_slice(format!(",\"ttl\":{ttl},\"data\":").as_bytes());
        match data(&record) {
            Some(data) => string(line, data.as_bytes()),
            None => line.extend_from_slice(b"null"),
        }
        line.push(b'}');
    });
}

fn named(line: &mut Vec<u8>, name: Name<'_>, kind: RecordType) {
    line.extend_from_slice(b"{\"name\":");
    string(line, without_dot(name).as_bytes());
    line.extend_from_slice(b",\"type\":");
    match kind.name() {
        Some(name) => string(line, name.as_bytes()),
        None => line.extend_from_slice(kind.0.to_string().as_bytes()),
    }
}

/// Labels as they are, with dots between them; the root is a dot.
fn without_dot(name: Name<'_>) -> String {
    let labels = name.labels().map(|label| String::from_utf8_lossy(label));
    let text = labels.collect::<Vec<_>>().join(".");
    if text.is_empty() {
        ".".to_owned()
    } else {
        text
    }
}

/// The fields of common types, with blanks between them.
fn data(record: &Record<'_>) -> Option<String> {
    let kind = record.kind();
    let is_kept: fn(usize, &Field<'_>) -> bool = match kind {
        RecordType::A
        | RecordType::AAAA
        | RecordType::CNAME
        | RecordType::DNAME
        | RecordType::HINFO
        | RecordType::MX
        | RecordType::NS
        | RecordType::PTR
        | RecordType::SOA
        | RecordType::SPF
        | RecordType::SRV
        | RecordType::TXT => |_, _| true,
        RecordType::CAA => |place, _| place > 0,
        RecordType::NAPTR => |_, field| matches!(field, Field::Name(_)),
        RecordType::HTTPS | RecordType::SVCB => |place, _| place < 2,
        _ => return None,
    };
    let mut text = String::new();
    let fields = record.fields().enumerate();
    for (place, field) in fields {
        let Ok(field) = field else { break };
        if !is_kept(place, &field) {
            continue;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        // Writing to memory does not fail.
        let _infallible = match field {
            Field::Address(address) => write!(text, "{address}"),
            Field::Name(name) => write!(text, "{}", without_dot(name)),
            Field::Number(number) => write!(text, "{number}"),
            Field::Text(bytes) | Field::Word(bytes) => {
                write!(text, "{}", String::from_utf8_lossy(bytes))
            }
            _ => Ok(()),
        };
    }
    (!text.is_empty()).then_some(text)
}
