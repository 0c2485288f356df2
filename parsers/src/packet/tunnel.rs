//! Packets in packets: VXLAN, Geneve, GRE and what is in it, IP in IP, GTP-U.

use std::net::IpAddr;

use super::bytes::{u8_at, u16_at, u32_at};
use super::ip::Header;
use super::transport::Udp;
use super::{Look, Way, ip, link};
use crate::error::{Error, Fault};

/// A tunnel that a packet came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tunnel {
    /// How it packs.
    pub kind: TunnelKind,
    /// Network, key or session number; 0 where it has none.
    pub id: u32,
    /// Its end that sent.
    pub source: IpAddr,
    /// Its end that is to get it.
    pub destination: IpAddr,
}

/// Ways of packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TunnelKind {
    /// Mirrored frames of a switch, in GRE.
    Erspan,
    /// RFC 8926.
    Geneve,
    /// RFC 2784, RFC 2890, and the variant of PPTP (RFC 2637).
    Gre,
    /// 3GPP TS 29.281.
    GtpU,
    /// IP in IP of either versions (RFC 2003, RFC 4213, RFC 2473).
    IpIp,
    /// RFC 7348.
    Vxlan,
}

const SHORT: Error = Error::new(Fault::Truncated, "short-tunnel-header", "RFC 2784 §2");

fn into(header: &Header, kind: TunnelKind, id: u32) -> Result<Way, Error> {
    let mut way = header.way.deeper()?;
    way.tunnel = Some(Tunnel {
        kind,
        id,
        source: header.source,
        destination: header.destination,
    });
    Ok(way)
}

/// Looks into tunnels that are IP protocols.
pub(super) fn look<'b>(header: &Header, payload: &'b [u8]) -> Result<Option<Look<'b>>, Error> {
    match header.protocol {
        4 | 41 => ip::look(payload, into(header, TunnelKind::IpIp, 0)?).map(Some),
        47 => gre(header, payload).map(Some),
        // Ethernet in IP (RFC 3378): two bytes, then a frame.
        97 => {
            let frame = payload.get(2..).ok_or(SHORT)?;
            link::ethernet(frame, into(header, TunnelKind::IpIp, 0)?).map(Some)
        }
        // MPLS in IP (RFC 4023).
        137 => link::ether_type(0x8847, payload, into(header, TunnelKind::IpIp, 0)?).map(Some),
        _ => Ok(None),
    }
}

fn gre<'b>(header: &Header, payload: &'b [u8]) -> Result<Look<'b>, Error> {
    let flags = u16_at(payload, 0).ok_or(SHORT)?;
    let protocol = u16_at(payload, 2).ok_or(SHORT)?;
    let has = |flag: u16| flags & flag != 0;
    let (has_checksum, has_routing, has_key, has_sequence) =
        (has(0x8000), has(0x4000), has(0x2000), has(0x1000));
    let is_pptp = flags & 7 == 1;
    if has_routing {
        // Source routes (RFC 1701) went out of use before this century.
        return Ok(Look::Nothing);
    }
    let mut at = 4;
    if has_checksum {
        at += 4;
    }
    let mut key = 0;
    if has_key {
        key = u32_at(payload, at).ok_or(SHORT)?;
        at += 4;
    }
    if has_sequence {
        at += 4;
    }
    // An acknowledgement of PPTP.
    if is_pptp && has(0x0080) {
        at += 4;
    }
    let rest = payload.get(at..).ok_or(SHORT)?;
    if rest.is_empty() {
        // A keep-alive, or an acknowledgement without data.
        return Ok(Look::Nothing);
    }
    // ERSPAN type I has no header of its own; type II comes with sequence numbers.
    if protocol == 0x88be && !has_sequence {
        return link::ethernet(rest, into(header, TunnelKind::Erspan, 0)?);
    }
    link::ether_type(protocol, rest, into(header, TunnelKind::Gre, key)?)
}

/// ERSPAN types II and III, in GRE: a header, then the mirrored frame.
pub(super) fn erspan(kind: u16, payload: &[u8], mut way: Way) -> Result<Look<'_>, Error> {
    let session = u32::from(u16_at(payload, 2).ok_or(SHORT)? & 0x03ff);
    if let Some(tunnel) = &mut way.tunnel {
        tunnel.kind = TunnelKind::Erspan;
        tunnel.id = session;
    }
    let mut length = 8;
    if kind == 0x22eb {
        let has_more = u8_at(payload, 11).ok_or(SHORT)? & 1 != 0;
        length = if has_more { 20 } else { 12 };
    }
    link::ethernet(payload.get(length..).ok_or(SHORT)?, way)
}

/// Looks into tunnels that are UDP ports. What does not look like one inside stays a datagram: the
/// ports are anybody's.
pub(super) fn look_in_udp<'b>(header: &Header, udp: &Udp<'b>) -> Option<Look<'b>> {
    let look = match udp.destination_port {
        // 8472: Linux before it had the registered port, and flannel to this day.
        4789 | 8472 => vxlan(header, udp.payload),
        4790 => vxlan_gpe(header, udp.payload),
        6081 => geneve(header, udp.payload),
        2152 => gtp_u(header, udp.payload),
        // GRE in UDP (RFC 8086).
        4754 => gre(header, udp.payload).map(Some),
        _ if udp.source_port == 2152 => gtp_u(header, udp.payload),
        _ => return None,
    };
    match look {
        Ok(Some(Look::Nothing) | None) | Err(_) => None,
        Ok(Some(look)) => Some(look),
    }
}

fn vxlan<'b>(header: &Header, payload: &'b [u8]) -> Result<Option<Look<'b>>, Error> {
    // RFC 7348 §5: the I flag, and reserved bits that group policy has come to use.
    if u8_at(payload, 0).ok_or(SHORT)? & 0x08 == 0 {
        return Ok(None);
    }
    let id = u32_at(payload, 4).ok_or(SHORT)? >> 8;
    let way = into(header, TunnelKind::Vxlan, id)?;
    link::ethernet(payload.get(8..).ok_or(SHORT)?, way).map(Some)
}

/// The generic extension names what is inside (draft-ietf-nvo3-vxlan-gpe).
fn vxlan_gpe<'b>(header: &Header, payload: &'b [u8]) -> Result<Option<Look<'b>>, Error> {
    let id = u32_at(payload, 4).ok_or(SHORT)? >> 8;
    let way = into(header, TunnelKind::Vxlan, id)?;
    let rest = payload.get(8..).ok_or(SHORT)?;
    match u8_at(payload, 3).ok_or(SHORT)? {
        1 | 2 => ip::look(rest, way).map(Some),
        3 => link::ethernet(rest, way).map(Some),
        _ => Ok(None),
    }
}

fn geneve<'b>(header: &Header, payload: &'b [u8]) -> Result<Option<Look<'b>>, Error> {
    let first = u8_at(payload, 0).ok_or(SHORT)?;
    if first >> 6 != 0 {
        return Ok(None);
    }
    let length = 8 + usize::from(first & 0x3f) * 4;
    let protocol = u16_at(payload, 2).ok_or(SHORT)?;
    let id = u32_at(payload, 4).ok_or(SHORT)? >> 8;
    let way = into(header, TunnelKind::Geneve, id)?;
    link::ether_type(protocol, payload.get(length..).ok_or(SHORT)?, way).map(Some)
}

fn gtp_u<'b>(header: &Header, payload: &'b [u8]) -> Result<Option<Look<'b>>, Error> {
    let flags = u8_at(payload, 0).ok_or(SHORT)?;
    let is_user_packet = u8_at(payload, 1).ok_or(SHORT)? == 0xff;
    if flags >> 4 != 0x3 || !is_user_packet {
        return Ok(None);
    }
    let id = u32_at(payload, 4).ok_or(SHORT)?;
    let mut at = 8;
    if flags & 0x07 != 0 {
        let mut next = u8_at(payload, 11).ok_or(SHORT)?;
        at = 12;
        // Extension headers: length in words, and the kind of the next at their end.
        while next != 0 && flags & 0x04 != 0 {
            let length = usize::from(u8_at(payload, at).ok_or(SHORT)?) * 4;
            if length == 0 {
                return Ok(None);
            }
            next = u8_at(payload, at + length - 1).ok_or(SHORT)?;
            at += length;
        }
    }
    let rest = payload.get(at..).ok_or(SHORT)?;
    ip::look(rest, into(header, TunnelKind::GtpU, id)?).map(Some)
}
