//! The parameters of SVCB and HTTPS records (RFC 9460 §2.2).

#![deny(clippy::arithmetic_side_effects)]

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::dns::text;
use crate::error::{Error, Fault};

const BROKEN: Error = Error::new(Fault::Malformed, "dns-svc-params", "RFC 9460 §2.2");
const ORDER: Error = Error::new(Fault::Malformed, "dns-svc-param-order", "RFC 9460 §2.2");

/// The parameters, by rising key.
#[derive(Debug, Clone)]
pub struct Params<'b> {
    rest: &'b [u8],
}

/// A parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'b> {
    /// Its number in the registry of keys.
    pub key: u16,
    /// Its value in wire format.
    pub value: &'b [u8],
}

const MANDATORY: u16 = 0;
const ALPN: u16 = 1;
const PORT: u16 = 3;
const IPV4_HINT: u16 = 4;
const ECH: u16 = 5;
const IPV6_HINT: u16 = 6;

impl<'b> Params<'b> {
    pub(super) fn read(bytes: &'b [u8]) -> Result<Self, Error> {
        let mut rest = bytes;
        let mut last = None;
        while !rest.is_empty() {
            let (param, behind) = split(rest).ok_or(BROKEN)?;
            if last.is_some_and(|last| param.key <= last) {
                return Err(ORDER);
            }
            last = Some(param.key);
            rest = behind;
        }
        Ok(Self { rest: bytes })
    }
}

fn split(bytes: &[u8]) -> Option<(Param<'_>, &[u8])> {
    let [a, b, c, d, behind @ ..] = bytes else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([*c, *d]));
    let (value, rest) = behind.split_at_checked(length)?;
    let key = u16::from_be_bytes([*a, *b]);
    Some((Param { key, value }, rest))
}

impl<'b> Iterator for Params<'b> {
    type Item = Param<'b>;

    fn next(&mut self) -> Option<Param<'b>> {
        let (param, rest) = split(self.rest)?;
        self.rest = rest;
        Some(param)
    }
}

/// The registered name of a key, for those that have one
/// (<https://www.iana.org/assignments/dns-svcb>).
fn key_name(key: u16) -> Option<&'static str> {
    Some(match key {
        MANDATORY => "mandatory",
        ALPN => "alpn",
        2 => "no-default-alpn",
        PORT => "port",
        IPV4_HINT => "ipv4hint",
        ECH => "ech",
        IPV6_HINT => "ipv6hint",
        7 => "dohpath",
        8 => "ohttp",
        9 => "tls-supported-groups",
        10 => "docpath",
        _ => return None,
    })
}

fn write_key(out: &mut impl Write, key: u16) -> fmt::Result {
    match key_name(key) {
        Some(name) => out.write_str(name),
        None => write!(out, "key{key}"),
    }
}

impl Param<'_> {
    /// `port=8443`; a value that is not of its key's form as text with escapes.
    pub(super) fn write(&self, out: &mut impl Write) -> fmt::Result {
        write_key(out, self.key)?;
        if self.value.is_empty() {
            return Ok(());
        }
        out.write_char('=')?;
        match self.key {
            MANDATORY if self.value.len().is_multiple_of(2) => {
                write_list(out, self.value, |out, key: [u8; 2]| {
                    write_key(out, u16::from_be_bytes(key))
                })
            }
            ALPN if protocols(self.value).is_some() => write_protocols(out, self.value),
            PORT if self.value.len() == 2 => write_list(out, self.value, |out, port: [u8; 2]| {
                write!(out, "{}", u16::from_be_bytes(port))
            }),
            IPV4_HINT if self.value.len().is_multiple_of(4) => {
                write_list(out, self.value, |out, address: [u8; 4]| {
                    write!(out, "{}", Ipv4Addr::from(address))
                })
            }
            IPV6_HINT if self.value.len().is_multiple_of(16) => {
                write_list(out, self.value, |out, address: [u8; 16]| {
                    write!(out, "{}", Ipv6Addr::from(address))
                })
            }
            ECH => text::write_base64(out, self.value),
            _ => text::write_quoted(out, self.value),
        }
    }
}

/// Items of `N` bytes, with commas between them.
fn write_list<W: Write, const N: usize>(
    out: &mut W,
    bytes: &[u8],
    write: impl Fn(&mut W, [u8; N]) -> fmt::Result,
) -> fmt::Result {
    let mut rest = bytes;
    while let Some((item, behind)) = rest.split_first_chunk::<N>() {
        write(out, *item)?;
        rest = behind;
        if !rest.is_empty() {
            out.write_char(',')?;
        }
    }
    Ok(())
}

/// Whether the value is a list of protocol names, each behind its length (RFC 9460 §7.1.1).
fn protocols(value: &[u8]) -> Option<()> {
    let mut rest = value;
    while let Some((length, behind)) = rest.split_first() {
        if *length == 0 {
            return None;
        }
        rest = behind.get(usize::from(*length)..)?;
    }
    Some(())
}

/// In a list a comma inside an item, and the backslash, are escaped once more (RFC 9460 appendix A.1).
fn write_protocols(out: &mut impl Write, value: &[u8]) -> fmt::Result {
    out.write_char('"')?;
    let mut rest = value;
    while let Some((length, behind)) = rest.split_first() {
        let (item, next) = behind
            .split_at_checked(usize::from(*length))
            .unwrap_or((behind, &[]));
        for byte in item {
            match byte {
                b',' => out.write_str("\\\\,")?,
                b'\\' => out.write_str("\\\\\\\\")?,
                byte => text::write_quotable(out, *byte)?,
            }
        }
        rest = next;
        if !rest.is_empty() {
            out.write_char(',')?;
        }
    }
    out.write_char('"')
}
