//! Answers made here: a refusal out of the query it refuses.

#![deny(clippy::arithmetic_side_effects)]

use super::codes::{Class, Rcode, RecordType};
use super::edns::{COOKIE, EXTENDED_ERROR, Edns};
use super::header::{Header, Section};
use super::message::Message;
use crate::error::{Error, Fault};

/// How a query is refused.
#[derive(Debug, Clone, Copy)]
pub struct Refusal<'t> {
    /// The answer: REFUSED, NXDOMAIN, SERVFAIL… The upper bits go into the OPT record, if the client
    /// knows such.
    pub rcode: Rcode,
    /// Why, for clients that know EDNS.
    pub reason: Option<ExtendedError<'t>>,
}

/// An extended error (RFC 8914 §4).
#[derive(Debug, Clone, Copy)]
pub struct ExtendedError<'t> {
    /// Its number in the registry.
    pub info: u16,
    /// Words for people; left out if they do not fit.
    pub text: &'t str,
}

impl ExtendedError<'_> {
    /// The number for «blocked by the operator's policy».
    pub const BLOCKED: u16 = 15;
    /// The number for «this client may not ask that».
    pub const PROHIBITED: u16 = 18;
}

/// What a server here can take over UDP: fits the IPv6 minimum MTU (RFC 9715 §3.1).
const PAYLOAD_BYTES: u16 = 1232;
/// Opcode, RD and CD come from the query (RFC 1035 §4.1.1, RFC 4035 §3.2.2).
const KEPT_FLAGS: u16 = 0x7800 | RECURSION_DESIRED | 0x0010;
const RESPONSE: u16 = 0x8000;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const NO_ROOM: Error = Error::new(Fault::TooLarge, "dns-reply-without-room", "RFC 1035 §4.2.1");
const RESPONSE_TO_RESPONSE: Error =
    Error::new(Fault::Malformed, "dns-response-as-query", "RFC 5625 §6.1");

/// Writes the refusal of `query` to the front of `room`, and gives its length in bytes. The id, the
/// opcode and the questions are the query's, letter by letter; questions that cannot be read are left
/// out. There are no records but an OPT, if the query has one: with the query's DO bit and its cookie
/// if that is whole, with the reason, and no other option.
///
/// # Errors
/// If there is no whole header, if the query is a response (answering those could go on for ever), or
/// if `room` is too small for header, questions and a bare OPT: [`Message::BYTES_MAX`] never is, 512
/// is enough for any question.
pub fn refuse(query: &[u8], refusal: &Refusal<'_>, room: &mut [u8]) -> Result<usize, Error> {
    let query = Message::read(query)?;
    if query.header().is_response() {
        return Err(RESPONSE_TO_RESPONSE);
    }
    let mut out = Out { room, length: 0 };
    write_header(&query, refusal.rcode, &mut out)?;
    let questions = query.bytes().get(Header::BYTES..query.questions_end());
    out.bytes(questions.unwrap_or_default())?;
    if let Some(edns) = query.edns() {
        write_opt(&edns, refusal, &mut out)?;
    }
    Ok(out.length)
}

fn write_header(query: &Message<'_>, rcode: Rcode, out: &mut Out<'_>) -> Result<(), Error> {
    let asked = query.header().flags();
    let mut flags = RESPONSE | (asked & KEPT_FLAGS) | (rcode.0 & 0xf);
    // Who refuses stands where the resolver stands: it would have asked others.
    if asked & RECURSION_DESIRED != 0 {
        flags |= RECURSION_AVAILABLE;
    }
    let questions = if query.questions_end() > Header::BYTES {
        query.header().count(Section::Question)
    } else {
        0
    };
    out.word(query.header().id())?;
    out.word(flags)?;
    out.word(questions)?;
    out.word(0)?;
    out.word(0)?;
    out.word(u16::from(query.edns().is_some()))
}

/// An OPT record of version 0 (RFC 6891 §6.1).
fn write_opt(edns: &Edns<'_>, refusal: &Refusal<'_>, out: &mut Out<'_>) -> Result<(), Error> {
    let [_, extended] = (refusal.rcode.0 >> 4).to_be_bytes();
    out.bytes(&[0])?;
    out.word(RecordType::OPT.0)?;
    out.word(Class(PAYLOAD_BYTES).0)?;
    out.bytes(&[extended, 0])?;
    out.word(if edns.is_dnssec_ok() { 0x8000 } else { 0 })?;
    let length_at = out.length;
    out.word(0)?;
    let options_at = out.length;
    // A client that sent the server's part back may drop answers without it (RFC 7873 §5.3); one that
    // has only its own part has to be told one that only the server can make.
    let mut options = edns.options();
    if let Some(cookie) = options.find(|option| option.code == COOKIE)
        && (16..=40).contains(&cookie.value.len())
    {
        out.option(COOKIE, &[cookie.value]);
    }
    if let Some(reason) = refusal.reason {
        let info = reason.info.to_be_bytes();
        if !out.option(EXTENDED_ERROR, &[&info, reason.text.as_bytes()]) {
            out.option(EXTENDED_ERROR, &[&info]);
        }
    }
    let length = u16::try_from(out.length.saturating_sub(options_at)).unwrap_or(u16::MAX);
    out.put(length_at, &length.to_be_bytes())
}

/// The caller's buffer, filled from its front.
struct Out<'r> {
    room: &'r mut [u8],
    length: usize,
}

impl Out<'_> {
    fn put(&mut self, at: usize, bytes: &[u8]) -> Result<(), Error> {
        let end = at.saturating_add(bytes.len());
        let place = self.room.get_mut(at..end).ok_or(NO_ROOM)?;
        place.copy_from_slice(bytes);
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.put(self.length, bytes)?;
        self.length = self.length.saturating_add(bytes.len());
        Ok(())
    }

    fn word(&mut self, word: u16) -> Result<(), Error> {
        self.bytes(&word.to_be_bytes())
    }

    /// An option, or nothing if there is no room for all of it.
    fn option(&mut self, code: u16, parts: &[&[u8]]) -> bool {
        let start = self.length;
        let is_written = self.try_option(code, parts).is_some();
        if !is_written {
            self.length = start;
        }
        is_written
    }

    fn try_option(&mut self, code: u16, parts: &[&[u8]]) -> Option<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        self.word(code).ok()?;
        self.word(u16::try_from(length).ok()?).ok()?;
        parts.iter().try_for_each(|part| self.bytes(part)).ok()
    }
}
