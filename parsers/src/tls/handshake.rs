//! Records → the first handshake message of a side.

use super::HELLO;
use crate::error::{Error, Fault};
use crate::limits::Limits;

const RECORD: &str = "RFC 8446 §5.1";
const NOT_TLS: Error = Error::new(Fault::NotThisProtocol, "no-handshake-record", RECORD);
const MESSAGE_HEADER: usize = 4;

/// Whose message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// A `ClientHello` is expected.
    Client,
    /// A second `ClientHello` is: what the client had sent before it was asked again may come first
    /// (RFC 8446 §4.2.10, §5).
    ClientAgain,
    /// A `ServerHello` is.
    Server,
}

/// One handshake message, put together from its records as they come. Costs as much as the message
/// is long, however it was cut.
#[derive(Debug, Clone)]
pub struct Handshake {
    speaker: Speaker,
    message: Vec<u8>,
}

/// What came of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// That many bytes are done with, and the message goes on behind them.
    NeedMore {
        /// Whole records.
        consumed: usize,
    },
    /// The message ends with that many bytes.
    Whole {
        /// Whole records.
        consumed: usize,
        /// Its last record holds nothing else.
        is_alone: bool,
    },
}

/// The kinds of records that come before a handshake is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Handshake,
    /// Passes between the two messages of a client.
    Other,
}

struct Record<'b> {
    kind: Kind,
    payload: &'b [u8],
    bytes: usize,
}

impl Handshake {
    /// Nothing has come yet.
    pub fn new(speaker: Speaker) -> Self {
        Self {
            speaker,
            message: Vec::new(),
        }
    }

    /// Takes the whole records off the front of `bytes`, which come behind those that were consumed.
    ///
    /// # Errors
    /// When they are no such message, or one that is longer than the limit.
    pub fn take(&mut self, bytes: &[u8], limits: &Limits) -> Result<Progress, Error> {
        let mut rest = bytes;
        loop {
            let consumed = bytes.len().saturating_sub(rest.len());
            let Some(record) = self.read_record(rest)? else {
                return Ok(Progress::NeedMore { consumed });
            };
            rest = rest.get(record.bytes..).unwrap_or_default();
            if record.kind == Kind::Other {
                continue;
            }
            self.message.extend_from_slice(record.payload);
            if let Some(end) = self.end(limits)?
                && self.message.len() >= end
            {
                let is_alone = self.message.len() == end;
                self.message.truncate(end);
                let consumed = bytes.len().saturating_sub(rest.len());
                return Ok(Progress::Whole { consumed, is_alone });
            }
        }
    }

    /// The message without its header, as far as it has come.
    pub fn message(&self) -> &[u8] {
        self.message.get(MESSAGE_HEADER..).unwrap_or_default()
    }

    /// Where the message ends, once its header has come.
    fn end(&self, limits: &Limits) -> Result<Option<usize>, Error> {
        const CLIENT_HELLO: u8 = 1;
        const SERVER_HELLO: u8 = 2;
        let (expected, rule) = match self.speaker {
            Speaker::Client | Speaker::ClientAgain => (CLIENT_HELLO, "no-client-hello"),
            Speaker::Server => (SERVER_HELLO, "no-server-hello"),
        };
        if self.message.first().is_some_and(|kind| *kind != expected) {
            return Err(Error::new(Fault::NotThisProtocol, rule, HELLO));
        }
        let Some([_, l0, l1, l2]) = self.message.first_chunk::<MESSAGE_HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([0, *l0, *l1, *l2]) as usize;
        if length > limits.client_hello_bytes {
            return Err(Error::new(Fault::TooLarge, "client-hello-too-long", HELLO));
        }
        Ok(Some(length.saturating_add(MESSAGE_HEADER)))
    }

    /// Reads one record; judged by as many bytes as there are.
    fn read_record<'b>(&self, bytes: &'b [u8]) -> Result<Option<Record<'b>>, Error> {
        /// RFC 8446 §5.1 and, for what is encrypted, §5.2.
        const LONGEST: usize = 1 << 14;
        const LONGEST_ENCRYPTED: usize = LONGEST + 256;
        const HEADER: usize = 5;
        let Some(first) = bytes.first() else {
            return Ok(None);
        };
        let (kind, longest) = match *first {
            22 => (Kind::Handshake, LONGEST),
            // Change cipher spec and early data; nothing may stand inside of a message.
            20 | 23 if self.speaker == Speaker::ClientAgain && self.message.is_empty() => {
                (Kind::Other, LONGEST_ENCRYPTED)
            }
            _ => return Err(NOT_TLS),
        };
        match bytes.get(1) {
            None => return Ok(None),
            Some(3) => {}
            Some(_) => return Err(NOT_TLS),
        }
        let Some([_, _, _, high, low]) = bytes.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if length == 0 || length > longest {
            return Err(Error::new(Fault::Malformed, "bad-record-length", RECORD));
        }
        let end = length.saturating_add(HEADER);
        Ok(bytes.get(HEADER..end).map(|payload| Record {
            kind,
            payload,
            bytes: end,
        }))
    }
}
