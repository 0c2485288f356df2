//! What a query must be before it is judged: one question, and nothing beside it that a server could
//! act on.

use super::codes::{Opcode, RecordType};
use super::header::Section;
use super::message::{Message, Question};
use crate::error::{Error, Fault};

const RESPONSE: Error = Error::new(Fault::Malformed, "dns-response-as-query", "RFC 5625 §6.1");
const OTHER_OPCODE: Error = Error::new(Fault::Unsupported, "dns-opcode", "RFC 1035 §4.1.1");
const QUESTIONS: Error = Error::new(Fault::Ambiguous, "dns-question-count", "RFC 9619 §4");
const RECORDS: Error = Error::new(Fault::Malformed, "dns-records-in-query", "RFC 1035 §4.1.1");
const TRAILING: Error = Error::new(Fault::Malformed, "dns-bytes-behind-query", "RFC 1035 §4.1");

/// The question of a query that can be judged by its name.
///
/// # Errors
/// The rule that the message breaks: it is a response, an update or the like, has no or several
/// questions, brings records along (an incremental transfer, RFC 1995 §3, has one in the authority
/// section), or is not well formed to its last byte.
pub fn check_query<'b>(message: &Message<'b>) -> Result<Question<'b>, Error> {
    let header = message.header();
    if header.is_response() {
        return Err(RESPONSE);
    }
    if header.opcode() != Opcode::QUERY {
        return Err(OTHER_OPCODE);
    }
    if let Some(fault) = message.fault() {
        return Err(fault);
    }
    let question = match message.question() {
        Some(question) if header.count(Section::Question) == 1 => question,
        Some(_) | None => return Err(QUESTIONS),
    };
    let authority = usize::from(question.kind() == RecordType::IXFR);
    if header.count(Section::Answer) > 0
        || usize::from(header.count(Section::Authority)) > authority
    {
        return Err(RECORDS);
    }
    if !message.trailing().is_empty() {
        return Err(TRAILING);
    }
    Ok(question)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: [u8; 19] = [
        0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1,
    ];

    fn check(bytes: &[u8]) -> Result<(), &'static str> {
        let message = Message::read(bytes).expect("a header");
        check_query(&message)
            .map(|_| ())
            .map_err(|error| error.rule)
    }

    fn with(changes: &[(usize, u8)], more: &[u8]) -> Vec<u8> {
        let mut bytes = QUERY.to_vec();
        for (at, byte) in changes {
            bytes[*at] = *byte;
        }
        bytes.extend_from_slice(more);
        bytes
    }

    #[test]
    fn only_a_plain_query_can_be_judged() {
        assert_eq!(check(&QUERY), Ok(()));
        let opt = [0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0];
        assert_eq!(check(&with(&[(11, 1)], &opt)), Ok(()));
        let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4];
        for (bytes, rule) in [
            (with(&[(2, 0x81)], &[]), "dns-response-as-query"),
            (with(&[(2, 0x29)], &[]), "dns-opcode"),
            (with(&[(5, 0)], &[]), "dns-question-count"),
            (with(&[(5, 2)], &QUERY[12..]), "dns-question-count"),
            (with(&[(7, 1)], &record), "dns-records-in-query"),
            (with(&[(9, 1)], &record), "dns-records-in-query"),
            (with(&[], b"x"), "dns-bytes-behind-query"),
        ] {
            assert_eq!(check(&bytes), Err(rule));
        }
        assert!(check(&QUERY[..15]).is_err());
    }

    #[test]
    fn an_incremental_transfer_says_what_it_has() {
        let record = [0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(check(&with(&[(9, 1), (16, 251)], &record)), Ok(()));
    }
}
