//! Link layers, and what is between them and IP: VLAN tags, MPLS labels, PPP.

use super::arcnet::{self, Form};
use super::bytes::{array_at, u8_at, u16_at, u32_at};
use super::{Look, Way, ip, tunnel};
use crate::error::{Error, Fault};

const SHORT: Error = Error::new(Fault::Truncated, "short-link-header", "IEEE 802.3 §3");

/// Looks at a frame that begins as its link type says
/// (<https://www.tcpdump.org/linktypes.html>). Types that are not read give nothing.
pub(super) fn look(link_type: u32, frame: &[u8]) -> Result<Look<'_>, Error> {
    let way = Way::default();
    let skip = |count| frame.get(count..).ok_or(SHORT);
    match link_type {
        1 => ethernet(frame, way),
        // Cisco's HDLC, as some captures of loopbacks have it.
        0 if matches!(frame, [0x0f | 0x8f, 0, ..]) => {
            ether_type(u16_at(frame, 2).ok_or(SHORT)?, skip(4)?, way)
        }
        0 | 108 => family(u32_at(frame, 0).ok_or(SHORT)?, skip(4)?, way),
        109 => family(u32_at(frame, 0).ok_or(SHORT)?, skip(12)?, way),
        7 => arcnet::look(frame, Form::Wire),
        9 | 50 => ppp(frame, way),
        11 | 100 => llc(frame, way),
        12 | 14 | 101 | 228 | 229 => ip::look(frame, way),
        51 => ether_type(0x8864, frame, way),
        104 => ether_type(u16_at(frame, 2).ok_or(SHORT)?, skip(4)?, way),
        105 => wifi(frame, way),
        113 => cooked(u16_at(frame, 14).ok_or(SHORT)?, skip(16)?, way),
        117 => {
            let length = usize::from(u8_at(frame, 0).ok_or(SHORT)?).next_multiple_of(4);
            family(u32::from(u8_at(frame, 1).ok_or(SHORT)?), skip(length)?, way)
        }
        119 => wifi(skip(144)?, way),
        127 => {
            let length = array_at(frame, 2).map(u16::from_le_bytes).ok_or(SHORT)?;
            wifi(skip(usize::from(length))?, way)
        }
        129 => arcnet::look(frame, Form::Linux),
        // The first of the numbers for private use, as Apple's tools wrote PKTAP before it had its own.
        149 | 258 => packet_tap(frame),
        192 => per_packet_information(frame),
        239 => netfilter_log(frame, way),
        276 => cooked(u16_at(frame, 0).ok_or(SHORT)?, skip(20)?, way),
        _ => Ok(Look::Nothing),
    }
}

/// Ethernet II, or IEEE 802.3 with LLC.
pub(super) fn ethernet(frame: &[u8], way: Way) -> Result<Look<'_>, Error> {
    let kind = u16_at(frame, 12).ok_or(SHORT)?;
    let rest = frame.get(14..).ok_or(SHORT)?;
    if kind < 0x0600 {
        llc(rest, way)
    } else {
        ether_type(kind, rest, way)
    }
}

/// Linux "cooked" captures: the protocol is an `EtherType`, or a number of Linux's own.
fn cooked(protocol: u16, rest: &[u8], way: Way) -> Result<Look<'_>, Error> {
    match protocol {
        0x0004 => llc(rest, way),
        _ => ether_type(protocol, rest, way),
    }
}

/// BSD loopback: an address family, in the byte order of the machine that captured. IPv6 is 10, 24, 28
/// or 30, as the system goes.
fn family(number: u32, rest: &[u8], way: Way) -> Result<Look<'_>, Error> {
    match number {
        2 | 10 | 24 | 28 | 30 => ip::look(rest, way),
        _ if number.trailing_zeros() >= 24 => match number >> 24 {
            2 | 10 | 24 | 28 | 30 => ip::look(rest, way),
            _ => Ok(Look::Nothing),
        },
        // Some writers put an EtherType there.
        0x0800 | 0x86dd => ip::look(rest, way),
        _ => Ok(Look::Nothing),
    }
}

/// IEEE 802.2 with SNAP, or ISO's number for IP.
fn llc(frame: &[u8], way: Way) -> Result<Look<'_>, Error> {
    match frame {
        [0xaa, 0xaa, 0x03, _, _, _, a, b, rest @ ..] => {
            ether_type(u16::from_be_bytes([*a, *b]), rest, way)
        }
        [0x06, 0x06, 0x03, rest @ ..] => ip::look(rest, way),
        _ => Ok(Look::Nothing),
    }
}

/// What an `EtherType` announces.
pub(super) fn ether_type(kind: u16, rest: &[u8], way: Way) -> Result<Look<'_>, Error> {
    let mut way = way.deeper()?;
    match kind {
        0x0800 | 0x86dd => ip::look(rest, way),
        0x8100 | 0x88a8 | 0x9100 | 0x9200 => {
            let tag = u16_at(rest, 0).ok_or(SHORT)?;
            way.encapsulation.pass_tag(tag);
            let inner = u16_at(rest, 2).ok_or(SHORT)?;
            let rest = rest.get(4..).ok_or(SHORT)?;
            if inner < 0x0600 {
                llc(rest, way)
            } else {
                ether_type(inner, rest, way)
            }
        }
        0x8847 | 0x8848 => mpls(rest, way),
        0x8864 => {
            // PPPoE session (RFC 2516 §4): six bytes, then PPP without its framing.
            ppp(rest.get(6..).ok_or(SHORT)?, way)
        }
        0x880b => ppp(rest, way),
        0x6558 => ethernet(rest, way),
        // Frames of an access point, as Aruba's tunnel carries them.
        0x8200..=0x82ff => wifi(rest, way),
        0x88be | 0x22eb => tunnel::erspan(kind, rest, way),
        // VN-Tag (IEEE 802.1BR's ancestor): four bytes and the next type.
        0x8926 => ether_type(
            u16_at(rest, 4).ok_or(SHORT)?,
            rest.get(6..).ok_or(SHORT)?,
            way,
        ),
        _ => Ok(Look::Nothing),
    }
}

/// RFC 3032 §2.1. Nothing says what follows the last label; an IP version is its best sign, and a
/// control word of zeros before Ethernet the next (RFC 4385 §3).
fn mpls(mut rest: &[u8], way: Way) -> Result<Look<'_>, Error> {
    loop {
        let label = u32_at(rest, 0).ok_or(SHORT)?;
        rest = rest.get(4..).ok_or(SHORT)?;
        if label & 0x100 != 0 {
            break;
        }
    }
    match u8_at(rest, 0).ok_or(SHORT)? >> 4 {
        4 | 6 => ip::look(rest, way),
        0 => ethernet(rest.get(4..).ok_or(SHORT)?, way),
        _ => Ok(Look::Nothing),
    }
}

/// RFC 1661 §2, RFC 1662 §3.1: address and control may be there or not, and the protocol may have one
/// byte.
pub(super) fn ppp(frame: &[u8], way: Way) -> Result<Look<'_>, Error> {
    let frame = frame.strip_prefix(&[0xff, 0x03]).unwrap_or(frame);
    let (protocol, rest) = match frame {
        [short, rest @ ..] if short & 1 == 1 => (u16::from(*short), rest),
        [a, b, rest @ ..] => (u16::from_be_bytes([*a, *b]), rest),
        _ => return Err(SHORT),
    };
    match protocol {
        0x0021 | 0x0057 => ip::look(rest, way),
        0x0281 | 0x0283 => mpls(rest, way),
        _ => Ok(Look::Nothing),
    }
}

/// IEEE 802.11 §9.2: data frames that are not encrypted.
fn wifi(frame: &[u8], way: Way) -> Result<Look<'_>, Error> {
    let (control, flags) = match frame {
        [control, flags, ..] => (*control, *flags),
        _ => return Err(SHORT),
    };
    let (is_data, subtype, is_protected) =
        (control & 0x0c == 0x08, control >> 4, flags & 0x40 != 0);
    let has_no_data = subtype & 0x04 != 0;
    if !is_data || has_no_data || is_protected {
        return Ok(Look::Nothing);
    }
    let is_to_from = flags & 0x03 == 0x03;
    let is_quality = subtype & 0x08 != 0;
    let has_control = is_quality && flags & 0x80 != 0;
    let length = 24
        + if is_to_from { 6 } else { 0 }
        + if is_quality { 2 } else { 0 }
        + if has_control { 4 } else { 0 };
    llc(frame.get(length..).ok_or(SHORT)?, way)
}

/// A header that tells its own length and the link type behind it.
fn per_packet_information(frame: &[u8]) -> Result<Look<'_>, Error> {
    let length = array_at(frame, 2).map(u16::from_le_bytes).ok_or(SHORT)?;
    let inner = array_at(frame, 4).map(u32::from_le_bytes).ok_or(SHORT)?;
    let rest = frame.get(usize::from(length)..).ok_or(SHORT)?;
    if matches!(inner, 149 | 192 | 258) || length < 8 {
        return Ok(Look::Nothing);
    }
    look(inner, rest)
}

/// Apple's PKTAP: a header with its own length, whether a packet follows, the link type of it, and
/// more. All that wrote it are little-endian.
fn packet_tap(frame: &[u8]) -> Result<Look<'_>, Error> {
    const LENGTH_MIN: u32 = 108;
    const PACKET_FOLLOWS: u32 = 1;
    let number = |at| array_at(frame, at).map(u32::from_le_bytes).ok_or(SHORT);
    let (length, kind, inner) = (number(0)?, number(4)?, number(8)?);
    if length < LENGTH_MIN || kind != PACKET_FOLLOWS || matches!(inner, 149 | 192 | 258) {
        return Ok(Look::Nothing);
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    look(inner, frame.get(length..).ok_or(SHORT)?)
}

/// Linux's netfilter log: attributes, of which one is the packet.
fn netfilter_log(frame: &[u8], way: Way) -> Result<Look<'_>, Error> {
    const PAYLOAD: u16 = 9;
    let mut rest = frame.get(4..).ok_or(SHORT)?;
    while let (Some(length), Some(kind)) = (
        array_at(rest, 0).map(u16::from_le_bytes),
        array_at(rest, 2).map(u16::from_le_bytes),
    ) {
        let length = usize::from(length);
        if kind & 0x7fff == PAYLOAD {
            let value = rest.get(4..length.min(rest.len())).ok_or(SHORT)?;
            return ip::look(value, way);
        }
        if length < 4 {
            break;
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Look::Nothing)
}
