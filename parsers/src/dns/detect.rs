//! Whether bytes of an unknown kind are DNS. In doubt they are not.
//!
//! DNS has no magic number; what tells is that everything fits: the header's flags, counts that the
//! bytes keep, names that hosts have, types and classes that exist, and no byte left over.

#![deny(clippy::arithmetic_side_effects)]

use super::codes::{Class, Opcode, RecordType};
use super::header::{Header, Section};
use super::message::{Message, Question};
use super::name::Name;
use super::record::Record;
use crate::Direction;
use crate::error::Fault;

/// A header, the root as name, type and class.
const SHORTEST: usize = 17;
/// So much of a long message says what it is.
const ENOUGH: usize = 4096;

/// Whether a UDP payload is a unicast DNS message. Never true of `NetBIOS` names (RFC 1002 §4.2), which
/// have the same header.
///
/// Ports that are known to be DNS need no such look: there even a broken message is one.
pub fn looks_like(payload: &[u8]) -> bool {
    is_plausible(payload, true)
}

/// Whether a direction of a stream begins with a length and a DNS message; `None` while it takes more
/// bytes to tell, at most 4 KiB of the message.
pub fn looks_like_stream(direction: Direction, bytes: &[u8]) -> Option<bool> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length < SHORTEST {
        return Some(false);
    }
    if let Some(header) = Header::read(rest)
        && (!is_plausible_header(&header)
            || header.is_response() != (direction == Direction::ToClient))
    {
        return Some(false);
    }
    let needed = length.min(ENOUGH);
    let message = rest.get(..needed)?;
    Some(is_plausible(message, needed == length))
}

fn is_plausible(bytes: &[u8], is_whole: bool) -> bool {
    if bytes.len() < SHORTEST {
        return false;
    }
    let Ok(message) = Message::read(bytes) else {
        return false;
    };
    is_plausible_header(message.header())
        && is_complete(&message, is_whole)
        && message
            .question()
            .is_some_and(|question| is_plausible_question(&question))
        && [Section::Answer, Section::Authority, Section::Additional]
            .into_iter()
            .flat_map(|section| message.records(section))
            .all(|record| is_plausible_record(&record, message.opcode()))
}

/// Either everything was read and nothing is left, or the bytes were cut and nothing else is wrong.
fn is_complete(message: &Message<'_>, is_whole: bool) -> bool {
    match message.fault() {
        None => is_whole && message.trailing().is_empty(),
        Some(fault) => {
            !is_whole && fault.fault == Fault::Truncated && message.read_count(Section::Answer) > 0
        }
    }
}

fn is_plausible_header(header: &Header) -> bool {
    let opcode = header.opcode();
    if header.is_reserved_set()
        || !matches!(opcode, Opcode::QUERY | Opcode::NOTIFY | Opcode::UPDATE)
        || header.count(Section::Question) != 1
        || header.rcode().name().is_none()
    {
        return false;
    }
    if header.is_response() {
        return true;
    }
    let has_answers = header.count(Section::Answer) != 0;
    let is_authoritative = header.is_authoritative() && opcode != Opcode::NOTIFY;
    // IXFR queries have the SOA that the client knows there (RFC 1995 §3).
    let has_authorities = header.count(Section::Authority) > 1;
    header.rcode().0 == 0
        && !is_authoritative
        && !header.is_truncated()
        && !header.is_recursion_available()
        && header.count(Section::Additional) <= 2
        && (opcode != Opcode::QUERY || !has_answers && !has_authorities)
}

fn is_plausible_question(question: &Question<'_>) -> bool {
    let kind = question.kind();
    matches!(question.class(), Class::IN | Class::CH | Class::ANY)
        && kind.name().is_some()
        // NetBIOS asks for it (type NB); nobody else does.
        && !matches!(kind, RecordType::NIMLOC | RecordType::OPT)
        && is_plausible_name(&question.name(), kind)
}

fn is_plausible_name(name: &Name<'_>, kind: RecordType) -> bool {
    if name.is_root() {
        return matches!(
            kind,
            RecordType::NS | RecordType::DNSKEY | RecordType::SOA | RecordType::DS
        );
    }
    let is_netbios = name
        .labels()
        .next()
        .is_some_and(|label| label.len() == 32 && label.iter().all(|b| (b'A'..=b'P').contains(b)));
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !is_netbios && name.labels().all(|label| label.iter().all(is_plain))
}

fn is_plausible_record(record: &Record<'_>, opcode: Opcode) -> bool {
    let kind = record.kind();
    if kind == RecordType::OPT {
        return true;
    }
    let is_class_known = match opcode {
        Opcode::UPDATE => record.class().name().is_some(),
        _ => matches!(record.class(), Class::IN | Class::CH | Class::ANY),
    };
    // TSIG records are of class ANY, and questions only by their number (RFC 8945 §4.2).
    let is_of_record = !kind.is_question_only() || opcode == Opcode::UPDATE;
    is_class_known && kind.name().is_some() && is_of_record && kind != RecordType::NIMLOC
}
