//! gRPC over HTTP/2 and gRPC-Web: whose method is called, the messages in a payload, and the status.
//!
//! The protocol is written in the gRPC project's `PROTOCOL-HTTP2.md` and `PROTOCOL-WEB.md`.

#![deny(clippy::arithmetic_side_effects)]

mod base64;

use std::borrow::Cow;

use crate::error::{Error, Fault};
use crate::http2::Head;
use crate::limits::Limits;
use base64::Base64;

const FRAMING: &str = "gRPC PROTOCOL-HTTP2, Length-Prefixed-Message";

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// gRPC over HTTP/2.
    Grpc,
    /// gRPC-Web with bytes: trailers come in the payload.
    Web,
    /// gRPC-Web whose payload is base64.
    WebText,
}

/// What a content type says; parameters and the message's own type (`+proto`) do not matter.
pub fn kind(content_type: &[u8]) -> Option<Kind> {
    let end = content_type
        .iter()
        .position(|byte| matches!(byte, b';' | b'+' | b' ' | b'\t'));
    let media = content_type.get(..end.unwrap_or(content_type.len()))?;
    [
        (&b"application/grpc"[..], Kind::Grpc),
        (b"application/grpc-web", Kind::Web),
        (b"application/grpc-web-text", Kind::WebText),
    ]
    .into_iter()
    .find(|(known, _)| media.eq_ignore_ascii_case(known))
    .map(|(_, kind)| kind)
}

/// Whether a content type is one of gRPC's.
pub fn is_grpc(content_type: &[u8]) -> bool {
    kind(content_type).is_some()
}

/// Whose method is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method<'b> {
    /// The service with its package, such as `grpc.health.v1.Health`.
    pub service: &'b [u8],
    /// The method, such as `Check`.
    pub name: &'b [u8],
}

/// Reads `/package.Service/Method`. A service may stand below further segments, which are told as
/// part of its name.
pub fn method(path: &[u8]) -> Option<Method<'_>> {
    let path = path.strip_prefix(b"/")?;
    let slash = memchr::memrchr(b'/', path)?;
    let (service, name) = path.split_at(slash);
    let name = name.strip_prefix(b"/")?;
    let is_good = !service.is_empty() && !name.is_empty() && !name.contains(&b'?');
    is_good.then_some(Method { service, name })
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status<'b> {
    /// The number of `grpc-status`.
    pub code: u32,
    /// The text of `grpc-message`, percent-decoded; may be any bytes.
    pub message: Cow<'b, [u8]>,
}

impl<'b> Status<'b> {
    /// Reads the values of `grpc-status` and `grpc-message`.
    pub fn new(code: &[u8], message: Option<&'b [u8]>) -> Option<Self> {
        if code.is_empty() || !code.iter().all(u8::is_ascii_digit) {
            return None;
        }
        Some(Self {
            code: std::str::from_utf8(code).ok()?.parse().ok()?,
            message: message.map_or(Cow::Borrowed(b""), decode_percent),
        })
    }

    /// The status in trailers, or in a response that has only them (Trailers-Only).
    pub fn of_head(head: &Head<'b>) -> Option<Self> {
        Self::new(head.header(b"grpc-status")?, head.header(b"grpc-message"))
    }

    /// The status in the trailers of a gRPC-Web payload: lines as of HTTP/1.1.
    pub fn of_web_trailers(block: &'b [u8]) -> Option<Self> {
        let value = |name: &[u8]| {
            block.split(|byte| *byte == b'\n').find_map(|line| {
                let colon = memchr::memchr(b':', line)?;
                let (known, value) = line.split_at(colon);
                let is_it = known.trim_ascii().eq_ignore_ascii_case(name);
                is_it.then(|| value.get(1..).unwrap_or_default().trim_ascii())
            })
        };
        Self::new(value(b"grpc-status")?, value(b"grpc-message"))
    }

    /// The name of the code, if it is one of the seventeen.
    pub fn name(&self) -> Option<&'static str> {
        const NAMES: [&str; 17] = [
            "OK",
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        ];
        let code = usize::try_from(self.code).ok()?;
        NAMES.get(code).copied()
    }
}

/// Broken escapes stay as they are, as the protocol asks of readers.
fn decode_percent(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let mut byte = *first;
        if byte == b'%'
            && let Some(([high, low], after)) = tail.split_first_chunk::<2>()
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
            && let Ok(value) = u8::try_from(high << 4 | low)
        {
            byte = value;
            rest = after;
        }
        decoded.push(byte);
    }
    Cow::Owned(decoded)
}

/// The messages in one direction of a call, found in its payload run by run.
///
/// Nothing of a message is kept but its prefix of five bytes; of trailers in a gRPC-Web payload, all.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Messages {
    /// How the payload is written, where it is not as bytes.
    text: Option<Base64>,
    prefix: [u8; 5],
    /// Bytes of the prefix that came.
    have: usize,
    /// Bytes of the message that did not come yet.
    left: u32,
    trailers: Vec<u8>,
    trailer_limit: usize,
    is_failed: bool,
}

/// What a payload holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'m> {
    /// A message is complete.
    Message {
        /// Its length as sent, in bytes, without the prefix.
        length: u32,
        /// Whether it is compressed, by the call's `grpc-encoding`.
        is_compressed: bool,
    },
    /// The trailers of a gRPC-Web payload are complete: see [`Status::of_web_trailers`].
    Trailers(&'m [u8]),
}

impl Messages {
    /// A payload of that kind, of which nothing was seen yet.
    pub fn new(kind: Kind, limits: &Limits) -> Self {
        Self {
            text: (kind == Kind::WebText).then(Base64::default),
            prefix: [0; 5],
            have: 0,
            left: 0,
            trailers: Vec::new(),
            trailer_limit: limits.trailer_bytes,
            is_failed: false,
        }
    }

    /// Takes from the front of `payload` up to the end of the next message, or all of it. Call it
    /// again with the same `payload` until it gives `None`.
    ///
    /// # Errors
    /// When the payload is no messages; nothing more can be told of it.
    pub fn step(&mut self, payload: &mut &[u8]) -> Result<Option<Event<'_>>, Error> {
        if self.is_failed {
            return Err(Error::new(Fault::Malformed, "after-error", FRAMING));
        }
        let is_complete = match self.text.take() {
            None => self.advance(payload),
            Some(mut text) => {
                let is_complete = self.advance_in(&mut text, payload);
                self.text = Some(text);
                is_complete
            }
        };
        match is_complete {
            Ok(false) => Ok(None),
            Ok(true) if self.is_trailers() => Ok(Some(Event::Trailers(&self.trailers))),
            Ok(true) => Ok(Some(Event::Message {
                length: self.length(),
                is_compressed: self.flags() & COMPRESSED != 0,
            })),
            Err(error) => {
                self.is_failed = true;
                Err(error)
            }
        }
    }

    /// The same in text, group by group.
    fn advance_in(&mut self, text: &mut Base64, payload: &mut &[u8]) -> Result<bool, Error> {
        loop {
            let mut left = text.left();
            let before = left.len();
            if before > 0 {
                let is_complete = self.advance(&mut left);
                let after = left.len();
                text.take(before.saturating_sub(after));
                if is_complete? {
                    return Ok(true);
                }
            } else if !text.fill(payload)? {
                return Ok(false);
            }
        }
    }

    /// Takes from the front of `payload` up to the end of the next message, or all of it; whether the
    /// message is complete.
    fn advance(&mut self, payload: &mut &[u8]) -> Result<bool, Error> {
        if self.have < self.prefix.len() {
            if let Some(room) = self.prefix.get_mut(self.have..) {
                let (taken, rest) = payload.split_at(payload.len().min(room.len()));
                let (filled, _) = room.split_at_mut(taken.len());
                filled.copy_from_slice(taken);
                *payload = rest;
                self.have = self.have.saturating_add(taken.len());
            }
            if self.have < self.prefix.len() {
                return Ok(false);
            }
            self.begin()?;
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let (taken, rest) = payload.split_at(payload.len().min(most));
        *payload = rest;
        if self.is_trailers() {
            self.trailers.extend_from_slice(taken);
        }
        let taken = u32::try_from(taken.len()).unwrap_or(u32::MAX);
        self.left = self.left.saturating_sub(taken);
        if self.left > 0 {
            return Ok(false);
        }
        self.have = 0;
        Ok(true)
    }

    /// Notes that bytes of the payload were not seen; `false` if messages cannot be told apart any
    /// more.
    pub fn handle_gap(&mut self, missing_bytes: u64) -> bool {
        let is_inside = self.have == self.prefix.len()
            && missing_bytes < u64::from(self.left)
            // Where the next group of characters begins is not known.
            && self.text.is_none()
            && !self.is_trailers();
        if is_inside {
            let missing = u32::try_from(missing_bytes).unwrap_or(u32::MAX);
            self.left = self.left.saturating_sub(missing);
        } else {
            self.is_failed = true;
        }
        is_inside
    }

    /// Whether the payload may end here.
    pub fn is_between_messages(&self) -> bool {
        self.have == 0 && self.text.as_ref().is_none_or(Base64::is_between_groups)
    }

    fn begin(&mut self) -> Result<(), Error> {
        let fault = if self.flags() & !(COMPRESSED | TRAILERS) != 0 {
            Some((Fault::Malformed, "bad-message-flags"))
        } else if self.is_trailers() && self.length() as usize > self.trailer_limit {
            Some((Fault::TooLarge, "trailers-too-long"))
        } else {
            None
        };
        if let Some((fault, rule)) = fault {
            return Err(Error::new(fault, rule, FRAMING));
        }
        self.left = self.length();
        self.trailers.clear();
        Ok(())
    }

    fn flags(&self) -> u8 {
        let [flags, ..] = self.prefix;
        flags
    }

    fn length(&self) -> u32 {
        let [_, l0, l1, l2, l3] = self.prefix;
        u32::from_be_bytes([l0, l1, l2, l3])
    }

    fn is_trailers(&self) -> bool {
        self.flags() & TRAILERS != 0
    }
}

const COMPRESSED: u8 = 0x01;
const TRAILERS: u8 = 0x80;

#[cfg(test)]
mod tests;
