//! IPv4 and IPv6, their extension headers and fragments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::bytes::{array_at, u8_at, u16_at, u32_at};
use super::fragments::{Fragment, Key};
use super::{Look, Way, ipcomp, transport, tunnel};
use crate::error::{Error, Fault};

const SHORT_V4: Error = Error::new(Fault::Truncated, "short-ipv4-header", "RFC 791 §3.1");
const BAD_V4: Error = Error::new(Fault::Malformed, "bad-ipv4-header", "RFC 791 §3.1");
const SHORT_V6: Error = Error::new(Fault::Truncated, "short-ipv6-header", "RFC 8200 §3");
const SHORT_AH: Error = Error::new(Fault::Truncated, "short-ah-header", "RFC 4302 §2");
const NOT_IP: Error = Error::new(Fault::Malformed, "bad-ip-version", "RFC 791 §3.1");

/// The protocol of authentication headers.
const AUTHENTICATION: u8 = 51;

/// What the payload of an IP packet needs to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) way: Way,
}

/// Looks at an IP packet of either version.
pub(super) fn look(bytes: &[u8], way: Way) -> Result<Look<'_>, Error> {
    match u8_at(bytes, 0).ok_or(SHORT_V4)? >> 4 {
        4 => v4(bytes, way),
        6 => v6(bytes, way),
        _ => Err(NOT_IP),
    }
}

fn v4(bytes: &[u8], way: Way) -> Result<Look<'_>, Error> {
    let header_bytes = usize::from(u8_at(bytes, 0).ok_or(SHORT_V4)? & 0x0f) * 4;
    if header_bytes < 20 {
        return Err(BAD_V4);
    }
    // A capture of what a network card will cut to size has no length yet.
    let total = match usize::from(u16_at(bytes, 2).ok_or(SHORT_V4)?) {
        0 => bytes.len(),
        total if total < header_bytes => return Err(BAD_V4),
        total => total,
    };
    let source: [u8; 4] = array_at(bytes, 12).ok_or(SHORT_V4)?;
    let destination: [u8; 4] = array_at(bytes, 16).ok_or(SHORT_V4)?;
    let header = Header {
        source: Ipv4Addr::from(source).into(),
        destination: Ipv4Addr::from(destination).into(),
        protocol: u8_at(bytes, 9).ok_or(SHORT_V4)?,
        way: way.deeper()?,
    };
    // What is behind the total length is padding of the link.
    let payload = bytes
        .get(header_bytes..total.min(bytes.len()))
        .ok_or(SHORT_V4)?;
    let missing = total - total.min(bytes.len());
    let place = u16_at(bytes, 6).ok_or(SHORT_V4)?;
    let (has_more, offset) = (place & 0x2000 != 0, usize::from(place & 0x1fff) * 8);
    if !has_more && offset == 0 {
        return look_behind(&header, payload, missing);
    }
    let id = u32::from(u16_at(bytes, 4).ok_or(SHORT_V4)?);
    Ok(fragment(header, id, offset, has_more, payload, missing))
}

fn v6(bytes: &[u8], way: Way) -> Result<Look<'_>, Error> {
    const HEADER_BYTES: usize = 40;
    let source: [u8; 16] = array_at(bytes, 8).ok_or(SHORT_V6)?;
    let destination: [u8; 16] = array_at(bytes, 24).ok_or(SHORT_V6)?;
    let mut header = Header {
        source: Ipv6Addr::from(source).into(),
        destination: Ipv6Addr::from(destination).into(),
        protocol: u8_at(bytes, 6).ok_or(SHORT_V6)?,
        way: way.deeper()?,
    };
    // 0 is a jumbogram (RFC 2675), or what a network card will cut to size.
    let total = match usize::from(u16_at(bytes, 4).ok_or(SHORT_V6)?) {
        0 => bytes.len(),
        length => HEADER_BYTES + length,
    };
    let missing = total - total.min(bytes.len());
    let mut rest = bytes
        .get(HEADER_BYTES..total.min(bytes.len()))
        .ok_or(SHORT_V6)?;
    loop {
        let length = match header.protocol {
            // Hop-by-hop, routing, destination options, mobility, HIP, shim6.
            0 | 43 | 60 | 135 | 139 | 140 => 8 + usize::from(u8_at(rest, 1).ok_or(SHORT_V6)?) * 8,
            AUTHENTICATION => {
                let (inner, behind) = authenticated(&header, rest)?;
                (header, rest) = (inner, behind);
                continue;
            }
            44 => return v6_fragment(header, rest, missing),
            _ => return look_behind(&header, rest, missing),
        };
        header.way = header.way.deeper()?;
        header.protocol = u8_at(rest, 0).ok_or(SHORT_V6)?;
        rest = rest.get(length..).ok_or(SHORT_V6)?;
    }
}

/// RFC 8200 §4.5. An "atomic" fragment is a whole packet (RFC 6946).
fn v6_fragment(mut header: Header, rest: &[u8], missing: usize) -> Result<Look<'_>, Error> {
    header.protocol = u8_at(rest, 0).ok_or(SHORT_V6)?;
    let place = u16_at(rest, 2).ok_or(SHORT_V6)?;
    let id = u32_at(rest, 4).ok_or(SHORT_V6)?;
    let payload = rest.get(8..).ok_or(SHORT_V6)?;
    let (has_more, offset) = (place & 1 != 0, usize::from(place & 0xfff8));
    if !has_more && offset == 0 {
        return look_behind(&header, payload, missing);
    }
    Ok(fragment(header, id, offset, has_more, payload, missing))
}

fn fragment(
    header: Header,
    id: u32,
    offset: usize,
    has_more: bool,
    payload: &[u8],
    missing: usize,
) -> Look<'_> {
    // Without all of its bytes it cannot become part of anything.
    if missing > 0 {
        return Look::Nothing;
    }
    Look::Fragment(Fragment {
        header,
        key: Key {
            source: header.source,
            destination: header.destination,
            protocol: header.protocol,
            id,
        },
        offset,
        has_more,
        payload,
    })
}

/// Looks at what an IP packet carries; `missing` bytes of its end were not captured.
pub(super) fn look_behind<'b>(
    header: &Header,
    payload: &'b [u8],
    missing: usize,
) -> Result<Look<'b>, Error> {
    if header.protocol == AUTHENTICATION {
        let (header, payload) = authenticated(header, payload)?;
        return look_behind(&header, payload, missing);
    }
    if let Some(look) = ipcomp::look(header, payload, missing)? {
        return Ok(look);
    }
    if let Some(look) = tunnel::look(header, payload)? {
        return Ok(look);
    }
    transport::look(header, payload, missing)
}

/// Passes an authentication header (RFC 4302 §2): what is behind it is in the clear.
fn authenticated<'b>(header: &Header, payload: &'b [u8]) -> Result<(Header, &'b [u8]), Error> {
    let length = 8 + usize::from(u8_at(payload, 1).ok_or(SHORT_AH)?) * 4;
    let inner = Header {
        protocol: u8_at(payload, 0).ok_or(SHORT_AH)?,
        way: header.way.deeper()?,
        ..*header
    };
    Ok((inner, payload.get(length..).ok_or(SHORT_AH)?))
}
