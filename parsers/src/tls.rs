//! The first message of a TLS connection: whom the client asks for, and which protocols it speaks
//! (RFC 8446 §4.1.2).

#![deny(clippy::arithmetic_side_effects)]

use std::borrow::Cow;

use crate::error::{Error, Fault};
use crate::limits::Limits;

const RECORD: &str = "RFC 8446 §5.1";
const HELLO: &str = "RFC 8446 §4.1.2";
const BAD_HELLO: Error = Error::new(Fault::Malformed, "bad-client-hello", HELLO);

/// What a client says in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello<'b> {
    /// Borrowed unless the message came in several records.
    extensions: Cow<'b, [u8]>,
}

/// Reads a `ClientHello` from the front of a connection's first bytes; `None` if it is not complete.
///
/// # Errors
/// When the bytes are no `ClientHello`, or one that is longer than the limit.
pub fn read_client_hello<'b>(
    bytes: &'b [u8],
    limits: &Limits,
) -> Result<Option<ClientHello<'b>>, Error> {
    let Some(message) = read_message(bytes, limits)? else {
        return Ok(None);
    };
    let extensions = match message {
        Cow::Borrowed(message) => Cow::Borrowed(extensions(message).ok_or(BAD_HELLO)?),
        Cow::Owned(message) => Cow::Owned(extensions(&message).ok_or(BAD_HELLO)?.to_vec()),
    };
    Ok(Some(ClientHello { extensions }))
}

/// Puts the handshake message together from its records.
fn read_message<'b>(bytes: &'b [u8], limits: &Limits) -> Result<Option<Cow<'b, [u8]>>, Error> {
    const MESSAGE_HEADER: usize = 4;
    let mut message: Cow<'b, [u8]> = Cow::Borrowed(&[]);
    let mut rest = bytes;
    loop {
        let Some(fragment) = read_record(&mut rest)? else {
            return Ok(None);
        };
        if message.is_empty() {
            message = Cow::Borrowed(fragment);
        } else {
            message.to_mut().extend_from_slice(fragment);
        }
        if message.first().is_some_and(|kind| *kind != 1) {
            return Err(Error::new(Fault::NotThisProtocol, "no-client-hello", HELLO));
        }
        let Some([_, l0, l1, l2]) = message.first_chunk::<MESSAGE_HEADER>() else {
            continue;
        };
        let length = u32::from_be_bytes([0, *l0, *l1, *l2]) as usize;
        if length > limits.client_hello_bytes {
            return Err(Error::new(Fault::TooLarge, "client-hello-too-long", HELLO));
        }
        let end = length.saturating_add(MESSAGE_HEADER);
        if message.len() >= end {
            return Ok(Some(match message {
                Cow::Borrowed(message) => {
                    Cow::Borrowed(message.get(MESSAGE_HEADER..end).unwrap_or_default())
                }
                Cow::Owned(mut message) => {
                    message.truncate(end);
                    message.drain(..MESSAGE_HEADER);
                    Cow::Owned(message)
                }
            }));
        }
    }
}

/// Takes the payload of a handshake record off the front; judged by as many bytes as there are.
fn read_record<'b>(bytes: &mut &'b [u8]) -> Result<Option<&'b [u8]>, Error> {
    const HANDSHAKE: u8 = 22;
    /// RFC 8446 §5.1; ciphertext may be longer, but a `ClientHello` is none.
    const LONGEST: usize = 1 << 14;
    const NOT_TLS: Error = Error::new(Fault::NotThisProtocol, "no-handshake-record", RECORD);
    match *bytes {
        [] | [HANDSHAKE] => Ok(None),
        [HANDSHAKE, 3, rest @ ..] => {
            let Some((length, rest)) = rest.get(1..).and_then(<[u8]>::split_first_chunk) else {
                return Ok(None);
            };
            let length = usize::from(u16::from_be_bytes(*length));
            if length == 0 || length > LONGEST {
                return Err(Error::new(Fault::Malformed, "bad-record-length", RECORD));
            }
            let Some((payload, after)) = rest.split_at_checked(length) else {
                return Ok(None);
            };
            *bytes = after;
            Ok(Some(payload))
        }
        [..] => Err(NOT_TLS),
    }
}

/// Version, random, session, cipher suites and compressions lie in front of the extensions, which
/// old clients leave out.
fn extensions(hello: &[u8]) -> Option<&[u8]> {
    const VERSION_AND_RANDOM: usize = 34;
    let rest = hello.get(VERSION_AND_RANDOM..)?;
    let (_session, rest) = read_vector8(rest)?;
    let (_suites, rest) = read_vector16(rest)?;
    let (_compressions, rest) = read_vector8(rest)?;
    if rest.is_empty() {
        return Some(rest);
    }
    read_vector16(rest).map(|(extensions, _)| extensions)
}

fn read_vector8(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn read_vector16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

impl ClientHello<'_> {
    const SERVER_NAME: u16 = 0;
    const ALPN: u16 = 16;

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
        let mut rest = &*self.extensions;
        loop {
            let (kind, after) = rest.split_first_chunk()?;
            let (body, after) = read_vector16(after)?;
            if u16::from_be_bytes(*kind) == wanted {
                return Some(body);
            }
            rest = after;
        }
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
}
