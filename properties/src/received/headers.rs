//! Header by header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Datagram, Fragment, Received, Transport};

/// Ethertypes of tags: IEEE 802.1Q and 802.1ad.
pub(super) const TAGS: [u16; 2] = [0x8100, 0x88a8];

fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(field.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(field.try_into().ok()?))
}

pub(super) fn ethertype(frame: &[u8]) -> Option<u16> {
    u16_at(frame, 12)
}

pub(super) fn read(frame: &[u8]) -> Received {
    let mut at = 12;
    let mut kind = u16_at(frame, at);
    while kind.is_some_and(|kind| TAGS.contains(&kind)) {
        at += 4;
        kind = u16_at(frame, at);
    }
    let packet = frame.get(at + 2..).unwrap_or_default();
    let received = match kind {
        Some(0x0800) => v4(packet),
        Some(0x86dd) => v6(packet),
        _ => Some(Received::Refused("no IP")),
    };
    received.unwrap_or(Received::Refused("cut off"))
}

/// `ip_rcv_core` (`net/ipv4/ip_input.c`). `None` is a header that does not fit.
fn v4(packet: &[u8]) -> Option<Received> {
    let first = u8_at(packet, 0)?;
    let (version, header) = (first >> 4, usize::from(first & 15) * 4);
    let total = usize::from(u16_at(packet, 2)?);
    if version != 4 || header < 20 {
        return Some(Received::Refused("no IPv4 header"));
    }
    if total < header {
        return Some(Received::Refused("shorter than its header"));
    }
    let bytes = packet.get(header..total)?;
    let address = |at: usize| Some(IpAddr::from(Ipv4Addr::from_bits(u32_at(packet, at)?)));
    let (source, destination) = (address(12)?, address(16)?);
    let protocol = u8_at(packet, 9)?;
    let place = u16_at(packet, 6)?;
    let (offset, has_more) = (usize::from(place & 0x1fff) * 8, place & 0x2000 != 0);
    if offset == 0 && !has_more {
        return transport(source, destination, protocol, bytes);
    }
    let id = u32::from(u16_at(packet, 4)?);
    let key = (source, destination, protocol, id);
    Some(fragment(key, offset, has_more, protocol, bytes))
}

/// `ip6_rcv_core` (`net/ipv6/ip6_input.c`).
fn v6(packet: &[u8]) -> Option<Received> {
    let length = usize::from(u16_at(packet, 4)?);
    let next = u8_at(packet, 6)?;
    let address = |at: usize| {
        let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::from(Ipv6Addr::from(bytes)))
    };
    let (source, destination) = (address(8)?, address(24)?);
    if u8_at(packet, 0)? >> 4 != 6 {
        return Some(Received::Refused("no IPv6 header"));
    }
    // Jumbograms tell their length in a hop-by-hop option.
    let bytes = if length == 0 && next == 0 {
        packet.get(40..)?
    } else {
        packet.get(40..40 + length)?
    };
    chain(source, destination, next, bytes, true)
}

/// Extension headers, as many as there are.
fn chain(
    source: IpAddr,
    destination: IpAddr,
    mut next: u8,
    mut bytes: &[u8],
    may_be_fragment: bool,
) -> Option<Received> {
    let mut is_first = may_be_fragment;
    let mut may_be_fragment = may_be_fragment;
    loop {
        match next {
            0 if !is_first => return Some(Received::Refused("hop-by-hop options in the middle")),
            0 | 43 | 60 => {
                let length = 8 + usize::from(u8_at(bytes, 1)?) * 8;
                next = u8_at(bytes, 0)?;
                bytes = bytes.get(length..)?;
            }
            44 if !may_be_fragment => return Some(Received::Refused("a fragment of a fragment")),
            44 => {
                let place = u16_at(bytes, 2)?;
                let id = u32_at(bytes, 4)?;
                next = u8_at(bytes, 0)?;
                bytes = bytes.get(8..)?;
                may_be_fragment = false;
                if place & 0xfff9 != 0 {
                    let (offset, has_more) = (usize::from(place & 0xfff8), place & 1 != 0);
                    // The stack does not ask what the fragments carry.
                    let key = (source, destination, 0, id);
                    return Some(fragment(key, offset, has_more, next, bytes));
                }
            }
            _ => return transport(source, destination, next, bytes),
        }
        is_first = false;
    }
}

fn fragment(
    key: (IpAddr, IpAddr, u8, u32),
    offset: usize,
    has_more: bool,
    protocol: u8,
    bytes: &[u8],
) -> Received {
    // Fragments but the last are multiples of eight bytes; IPv4's stack cuts others down to one.
    let whole = bytes.len() / 8 * 8;
    let bytes = match (has_more, bytes.get(..whole)) {
        (true, Some(cut)) => cut,
        _ => bytes,
    };
    if bytes.is_empty() || offset + bytes.len() > 65_535 {
        return Received::Refused("a fragment of nothing");
    }
    Received::Fragment(Fragment {
        key,
        offset,
        has_more,
        protocol,
        bytes: bytes.to_vec(),
    })
}

/// What a datagram that was put together carries.
pub(super) fn behind(first: &Fragment, bytes: &[u8]) -> Received {
    let (source, destination, ..) = first.key;
    let received = if source.is_ipv4() {
        transport(source, destination, first.protocol, bytes)
    } else {
        chain(source, destination, first.protocol, bytes, false)
    };
    received.unwrap_or(Received::Refused("cut off"))
}

/// Headers that do not fit are refused by their protocol's own receiver.
fn transport(source: IpAddr, destination: IpAddr, protocol: u8, bytes: &[u8]) -> Option<Received> {
    let transport = match protocol {
        6 => {
            let header = usize::from(u8_at(bytes, 12)? >> 4) * 4;
            if header < 20 || header > bytes.len() {
                return Some(Received::Refused("no TCP header"));
            }
            Transport::Tcp(u16_at(bytes, 0)?, u16_at(bytes, 2)?, u8_at(bytes, 13)?)
        }
        17 => {
            let length = usize::from(u16_at(bytes, 4)?);
            let is_jumbo = length == 0 && source.is_ipv6();
            if bytes.len() < 8 || !is_jumbo && (length < 8 || length > bytes.len()) {
                return Some(Received::Refused("no UDP header"));
            }
            Transport::Udp(u16_at(bytes, 0)?, u16_at(bytes, 2)?)
        }
        132 => {
            bytes.get(..12)?;
            Transport::Sctp(u16_at(bytes, 0)?, u16_at(bytes, 2)?)
        }
        1 | 58 => {
            bytes.get(..8)?;
            let (kind, code, id) = (u8_at(bytes, 0)?, u8_at(bytes, 1)?, u16_at(bytes, 4)?);
            if protocol == 1 {
                Transport::Icmp(kind, code, id)
            } else {
                Transport::IcmpV6(kind, code, id)
            }
        }
        other => Transport::Other(other),
    };
    Some(Received::Whole(Datagram {
        source,
        destination,
        transport,
    }))
}

pub(super) fn extensions(frame: &[u8]) -> usize {
    let count = || {
        let packet = frame.get(14..)?;
        let (mut next, mut at, mut count) = (u8_at(packet, 6)?, 40, 0);
        while matches!(next, 0 | 43 | 44 | 60) {
            let length = match next {
                44 => 8,
                _ => 8 + usize::from(u8_at(packet, at + 1)?) * 8,
            };
            next = u8_at(packet, at)?;
            at += length;
            count += 1;
        }
        Some(count)
    };
    let is_v6 = ethertype(frame) == Some(0x86dd);
    count().filter(|_| is_v6).unwrap_or(0)
}
