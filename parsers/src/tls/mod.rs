//! The first messages of a TLS connection: whom the client asks for, which protocols it speaks, and
//! whether it is asked to say so again (RFC 8446 §4.1).
//!
//! ```text
//!   records ─▶ Handshake ─▶ ClientHello ─▶ sole_server_name   for who decides by it
//!                   └─────▶ ServerHello
//! ```

#![deny(clippy::arithmetic_side_effects)]

mod handshake;
mod strict;

pub use handshake::{Handshake, Progress, Speaker};

use crate::error::{Error, Fault};
use crate::limits::Limits;

const HELLO: &str = "RFC 8446 §4.1.2";
const BAD_HELLO: Error = Error::new(Fault::Malformed, "bad-client-hello", HELLO);

/// What a client says in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    extensions: Vec<u8>,
    /// Nothing follows the extensions.
    is_exact: bool,
}

/// What a server answers to a [`ClientHello`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerHello {
    /// It wants another `ClientHello` (RFC 8446 §4.1.4).
    pub is_retry: bool,
}

/// Reads a `ClientHello` from the front of a connection's first bytes; `None` if it is not complete.
///
/// # Errors
/// When the bytes are no `ClientHello`, or one that is longer than the limit.
pub fn read_client_hello(bytes: &[u8], limits: &Limits) -> Result<Option<ClientHello>, Error> {
    let mut handshake = Handshake::new(Speaker::Client);
    match handshake.take(bytes, limits)? {
        Progress::NeedMore { .. } => Ok(None),
        Progress::Whole { .. } => ClientHello::read(handshake.message()).map(Some),
    }
}

fn read_vector8(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn read_vector16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// Each extension with its number; what comes behind a broken one is left out.
fn extensions(mut list: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, after) = list.split_first_chunk()?;
        let (body, after) = read_vector16(after)?;
        list = after;
        Some((u16::from_be_bytes(*kind), body))
    })
}

impl ClientHello {
    const SERVER_NAME: u16 = 0;
    const ALPN: u16 = 16;

    /// Reads a handshake message without its header.
    ///
    /// # Errors
    /// When it is no `ClientHello`.
    pub fn read(message: &[u8]) -> Result<Self, Error> {
        let (extensions, is_exact) = Self::find_extensions(message).ok_or(BAD_HELLO)?;
        Ok(Self {
            extensions: extensions.to_vec(),
            is_exact,
        })
    }

    /// Version, random, session, cipher suites and compressions lie in front of the extensions,
    /// which old clients leave out.
    fn find_extensions(hello: &[u8]) -> Option<(&[u8], bool)> {
        const VERSION_AND_RANDOM: usize = 34;
        let rest = hello.get(VERSION_AND_RANDOM..)?;
        let (_session, rest) = read_vector8(rest)?;
        let (_suites, rest) = read_vector16(rest)?;
        let (_compressions, rest) = read_vector8(rest)?;
        if rest.is_empty() {
            return Some((rest, true));
        }
        read_vector16(rest).map(|(extensions, after)| (extensions, after.is_empty()))
    }

    /// The name that the client asks for (RFC 6066 §3), as sent.
    pub fn server_name(&self) -> Option<&[u8]> {
        const HOST_NAME: u8 = 0;
        let (mut list, _) = read_vector16(self.extension(Self::SERVER_NAME)?)?;
        while let Some((kind, rest)) = list.split_first() {
            let (name, after) = read_vector16(rest)?;
            if *kind == HOST_NAME {
                return Some(name);
            }
            list = after;
        }
        None
    }

    /// The protocols that the client speaks, the one it likes most first (RFC 7301 §3.1).
    pub fn protocols(&self) -> impl Iterator<Item = &[u8]> {
        let mut list = self
            .extension(Self::ALPN)
            .and_then(read_vector16)
            .map(|(list, _)| list)
            .unwrap_or_default();
        std::iter::from_fn(move || {
            let (name, rest) = read_vector8(list)?;
            list = rest;
            Some(name)
        })
    }

    fn extension(&self, wanted: u16) -> Option<&[u8]> {
        extensions(&self.extensions)
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, body)| body)
    }
}

impl ServerHello {
    /// Reads a handshake message without its header.
    ///
    /// # Errors
    /// When it is too short to be a `ServerHello`.
    pub fn read(message: &[u8]) -> Result<Self, Error> {
        /// The random of a retry (RFC 8446 §4.1.3): SHA-256 of its name.
        const RETRY: [u8; 32] = [
            0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65,
            0xB8, 0x91, 0xC2, 0xA2, 0x11, 0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2,
            0xC8, 0xA8, 0x33, 0x9C,
        ];
        const BAD: Error = Error::new(Fault::Malformed, "bad-server-hello", "RFC 8446 §4.1.3");
        let random: &[u8; 32] = message.get(2..).and_then(<[u8]>::first_chunk).ok_or(BAD)?;
        Ok(Self {
            is_retry: *random == RETRY,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector16(body: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(body.len())
            .expect("short")
            .to_be_bytes()
            .to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    /// A handshake message with a server name and two protocols.
    fn hello() -> Vec<u8> {
        let name = [&[0][..], &vector16(b"db.example")].concat();
        let name = [&[0, 0][..], &vector16(&vector16(&name))].concat();
        let protocols = [&[0, 16][..], &vector16(&vector16(b"\x02h2\x08http/1.1"))].concat();
        let extensions = vector16(&[name, protocols].concat());
        let body = [
            &[3, 3][..],
            &[7; 32],
            &[0],
            &vector16(&[0x13, 0x01]),
            &[1, 0],
            &extensions,
        ]
        .concat();
        let [_, l0, l1, l2] = u32::try_from(body.len()).expect("short").to_be_bytes();
        [&[1, l0, l1, l2][..], &body].concat()
    }

    fn records(message: &[u8], longest: usize) -> Vec<u8> {
        let record = |piece| [&[22, 3, 1][..], &vector16(piece)].concat();
        message.chunks(longest).flat_map(record).collect()
    }

    #[test]
    fn reads_name_and_protocols_from_any_records_and_any_split() {
        let message = hello();
        for longest in [1, 3, 50, message.len()] {
            let mut bytes = records(&message, longest);
            for end in 0..bytes.len() {
                let part = read_client_hello(&bytes[..end], &Limits::default());
                assert_eq!(part, Ok(None), "{end} bytes");
            }
            bytes.extend_from_slice(b"more");
            let hello = read_client_hello(&bytes, &Limits::default());
            let hello = hello.expect("tls").expect("complete");
            assert_eq!(hello.server_name(), Some(&b"db.example"[..]));
            assert!(hello.protocols().eq([&b"h2"[..], b"http/1.1"]));
        }
    }

    #[test]
    fn refuses_what_is_no_client_hello() {
        let limits = Limits {
            client_hello_bytes: 64,
            ..Limits::default()
        };
        let long = records(&[1, 0, 1, 0], 4);
        for (bytes, rule) in [
            (&b"GET / HTTP/1.1"[..], "no-handshake-record"),
            (b"\x16\x03\x01\0\0", "bad-record-length"),
            (b"\x16\x03\x01\0\x01\x02", "no-client-hello"),
            (&long, "client-hello-too-long"),
            (b"\x16\x03\x01\0\x05\x01\0\0\x01\0", "bad-client-hello"),
        ] {
            let error = read_client_hello(bytes, &limits).expect_err(rule);
            assert_eq!(error.rule, rule);
        }
    }

    #[test]
    fn no_changed_byte_makes_it_panic() {
        let bytes = records(&hello(), 40);
        for at in 0..bytes.len() {
            for value in 0..=255 {
                let mut changed = bytes.clone();
                changed[at] = value;
                if let Ok(Some(hello)) = read_client_hello(&changed, &Limits::default()) {
                    let (_, _) = (hello.server_name().is_some(), hello.protocols().count());
                }
            }
        }
    }

    #[test]
    fn a_second_hello_comes_behind_what_was_under_way() {
        let limits = Limits::default();
        let before = b"\x14\x03\x03\0\x01\x01\x17\x03\x03\0\x03abc";
        let bytes = [&before[..], &records(&hello(), 60)].concat();
        let mut again = Handshake::new(Speaker::ClientAgain);
        let mut consumed = 0;
        for end in 0..bytes.len() {
            match again.take(&bytes[consumed..end], &limits) {
                Ok(Progress::NeedMore { consumed: more }) => consumed += more,
                other => panic!("{other:?} at {end}"),
            }
        }
        let whole = Progress::Whole {
            consumed: bytes.len() - consumed,
            is_alone: true,
        };
        assert_eq!(again.take(&bytes[consumed..], &limits), Ok(whole));
        let hello = ClientHello::read(again.message()).expect("a hello");
        assert_eq!(hello.server_name(), Some(&b"db.example"[..]));
        let mut first = Handshake::new(Speaker::Client);
        let error = first.take(&bytes, &limits).expect_err("no hello");
        assert_eq!(error.rule, "no-handshake-record");
    }

    #[test]
    fn a_server_that_asks_again_is_told_from_one_that_answers() {
        let retry = b"\x03\x03\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c\0";
        for (message, is_retry) in [(retry.to_vec(), true), (vec![3; 40], false)] {
            assert_eq!(ServerHello::read(&message), Ok(ServerHello { is_retry }));
        }
        assert!(ServerHello::read(&[3; 33]).is_err());
        let message = [&[2, 0, 0, 40][..], &[3; 40]].concat();
        let bytes = records(&message, 7);
        let mut handshake = Handshake::new(Speaker::Server);
        let taken = handshake.take(&bytes, &Limits::default());
        assert!(matches!(taken, Ok(Progress::Whole { .. })), "{taken:?}");
        assert_eq!(handshake.message(), [3; 40]);
    }
}
