//! Whom a client asks for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::TEXT_MAX;
use crate::error::{Error, Fault};

const BAD_ADDRESS: Error = Error::new(Fault::Malformed, "bad-socks-address", "RFC 1928 §5");
const LONG_TEXT: Error = Error::new(Fault::TooLarge, "socks-text-too-long", "RFC 1928 §5");

/// An address or a name, and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target<'b> {
    /// Where.
    pub host: Host<'b>,
    /// Its port.
    pub port: u16,
}

/// An address, or a name that the proxy looks up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Host<'b> {
    /// An address.
    Ip(IpAddr),
    /// A name, as sent.
    Name(&'b [u8]),
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port;
        match self.host {
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{port}"),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{port}"),
            Host::Name(name) => write!(f, "{}:{port}", name.escape_ascii()),
        }
    }
}

impl<'b> Target<'b> {
    /// RFC 1928 §4, §5: kind, address, port.
    pub(super) fn read(front: &mut Front<'b>) -> Result<Option<Self>, Error> {
        let Some(kind) = front.byte() else {
            return Ok(None);
        };
        let host = match kind {
            1 => front
                .array::<4>()
                .map(|ip| Host::Ip(Ipv4Addr::from(ip).into())),
            3 => front.counted().map(Host::Name),
            4 => front
                .array::<16>()
                .map(|ip| Host::Ip(Ipv6Addr::from(ip).into())),
            _ => return Err(BAD_ADDRESS),
        };
        let port = front.array().map(u16::from_be_bytes);
        Ok(host.zip(port).map(|(host, port)| Self { host, port }))
    }

    /// Version 4: port, address, user name; behind an address of `0.0.0.x` there is a name (4A).
    pub(super) fn read_of_4(front: &mut Front<'b>) -> Result<Option<Self>, Error> {
        let (Some(port), Some(ip)) = (
            front.array().map(u16::from_be_bytes),
            front.array::<4>().map(Ipv4Addr::from),
        ) else {
            return Ok(None);
        };
        let Some(_user) = front.text()? else {
            return Ok(None);
        };
        let host = match ip.octets() {
            [0, 0, 0, last] if last > 0 => match front.text()? {
                None => return Ok(None),
                Some(b"") => return Err(BAD_ADDRESS),
                Some(name) => Host::Name(name),
            },
            _ => Host::Ip(ip.into()),
        };
        Ok(Some(Self { host, port }))
    }
}

/// The front of some bytes: what is taken from it is there whole, or not at all.
#[derive(Debug, Clone)]
pub(super) struct Front<'b> {
    rest: &'b [u8],
    length: usize,
}

impl<'b> Front<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self {
            rest: bytes,
            length: bytes.len(),
        }
    }

    /// Bytes taken so far.
    pub(super) fn consumed(&self) -> usize {
        self.length.saturating_sub(self.rest.len())
    }

    pub(super) fn bytes(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// As many bytes as the first of them says.
    pub(super) fn counted(&mut self) -> Option<&'b [u8]> {
        let count = self.byte()?;
        self.bytes(count.into())
    }

    /// Text that ends with a zero.
    ///
    /// # Errors
    /// When it is longer than the limit, or has control characters.
    fn text(&mut self) -> Result<Option<&'b [u8]>, Error> {
        let room = self.rest.get(..=TEXT_MAX).unwrap_or(self.rest);
        let end = memchr::memchr(0, room);
        let text = room.get(..end.unwrap_or(room.len())).unwrap_or_default();
        if text.iter().any(u8::is_ascii_control) {
            return Err(BAD_ADDRESS);
        }
        if end.is_none() {
            let is_too_long = room.len() > TEXT_MAX;
            return if is_too_long {
                Err(LONG_TEXT)
            } else {
                Ok(None)
            };
        }
        self.bytes(text.len());
        self.byte();
        Ok(Some(text))
    }
}
