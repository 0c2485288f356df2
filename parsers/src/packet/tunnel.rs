//! Packets in packets: VXLAN, Geneve, GRE and what is in it, IP in IP, GTP-U.

use super::bytes::{u8_at, u16_at, u32_at};
use super::ip::Header;
use super::transport::Udp;
use super::{Look, Tunnel, TunnelKind, Way, ip, link};
use crate::error::{Error, Fault};

const SHORT: Error = Error::new(Fault::Truncated, "short-tunnel-header", "RFC 2784 §2");

/// What a tunnel's packets travel in.
#[derive(Clone, Copy)]
struct Outer<'h> {
    header: &'h Header,
    ports: Option<(u16, u16)>,
}

fn into(outer: Outer<'_>, kind: TunnelKind, id: u32) -> Result<Way, Error> {
    let Outer { header, ports } = outer;
    let mut way = header.way.deeper()?;
    way.encapsulation.tunnel = Some(Tunnel {
        kind,
        id,
        source: header.source,
        destination: header.destination,
        ports,
    });
    Ok(way)
}

/// Looks into tunnels that are IP protocols.
pub(super) fn look<'b>(header: &Header, payload: &'b [u8]) -> Result<Option<Look<'b>>, Error> {
    let outer = Outer {
        header,
        ports: None,
    };
    match header.protocol {
        4 | 41 => ip::look(payload, into(outer, TunnelKind::IpIp, 0)?).map(Some),
        47 => gre(outer, payload).map(Some),
        // Ethernet in IP (RFC 3378): two bytes, then a frame.
        97 => {
            let frame = payload.get(2..).ok_or(SHORT)?;
            link::ethernet(frame, into(outer, TunnelKind::EtherIp, 0)?).map(Some)
        }
        // MPLS in IP (RFC 4023).
        137 => link::ether_type(0x8847, payload, into(outer, TunnelKind::MplsIp, 0)?).map(Some),
        _ => Ok(None),
    }
}

fn gre<'b>(outer: Outer<'_>, payload: &'b [u8]) -> Result<Look<'b>, Error> {
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
        return link::ethernet(rest, into(outer, TunnelKind::Erspan, 0)?);
    }
    link::ether_type(protocol, rest, into(outer, TunnelKind::Gre, key)?)
}

/// ERSPAN types II and III, in GRE: a header, then the mirrored frame.
pub(super) fn erspan(kind: u16, payload: &[u8], mut way: Way) -> Result<Look<'_>, Error> {
    let session = u32::from(u16_at(payload, 2).ok_or(SHORT)? & 0x03ff);
    if let Some(tunnel) = &mut way.encapsulation.tunnel {
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
    let outer = Outer {
        header,
        ports: Some((udp.source_port, udp.destination_port)),
    };
    let look = match udp.destination_port {
        // 8472: Linux before it had the registered port, and flannel to this day.
        4789 | 8472 => vxlan(outer, udp.payload),
        4790 => vxlan_gpe(outer, udp.payload),
        6081 => geneve(outer, udp.payload),
        2152 => gtp_u(outer, udp.payload),
        // GRE in UDP (RFC 8086).
        4754 => gre(outer, udp.payload).map(Some),
        _ if udp.source_port == 2152 => gtp_u(outer, udp.payload),
        _ => return None,
    };
    match look {
        Ok(Some(Look::Nothing) | None) | Err(_) => None,
        Ok(Some(look)) => Some(look),
    }
}

fn vxlan<'b>(outer: Outer<'_>, payload: &'b [u8]) -> Result<Option<Look<'b>>, Error> {
    // RFC 7348 §5: the I flag, and reserved bits that group policy has come to use.
    if u8_at(payload, 0).ok_or(SHORT)? & 0x08 == 0 {
        return Ok(None);
    }
    let id = u32_at(payload, 4).ok_or(SHORT)? >> 8;
    let way = into(outer, TunnelKind::Vxlan, id)?;
    link::ethernet(payload.get(8..).ok_or(SHORT)?, way).map(Some)
}

/// The generic extension names what is inside (draft-ietf-nvo3-vxlan-gpe).
fn vxlan_gpe<'b>(outer: Outer<'_>, payload: &'b [u8]) -> Result<Option<Look<'b>>, Error> {
    let id = u32_at(payload, 4).ok_or(SHORT)? >> 8;
    let way = into(outer, TunnelKind::Vxlan, id)?;
    let rest = payload.get(8..).ok_or(SHORT)?;
    match u8_at(payload, 3).ok_or(SHORT)? {
        1 | 2 => ip::look(rest, way).map(Some),
        3 => link::ethernet(rest, way).map(Some),
        _ => Ok(None),
    }
}

fn geneve<'b>(outer: Outer<'_>, payload: &'b [u8]) -> Result<Option<Look<'b>>, Error> {
    let first = u8_at(payload, 0).ok_or(SHORT)?;
    if first >> 6 != 0 {
        return Ok(None);
    }
    let length = 8 + usize::from(first & 0x3f) * 4;
    let protocol = u16_at(payload, 2).ok_or(SHORT)?;
    let id = u32_at(payload, 4).ok_or(SHORT)? >> 8;
    let way = into(outer, TunnelKind::Geneve, id)?;
    link::ether_type(protocol, payload.get(length..).ok_or(SHORT)?, way).map(Some)
}

fn gtp_u<'b>(outer: Outer<'_>, payload: &'b [u8]) -> Result<Option<Look<'b>>, Error> {
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
    ip::look(rest, into(outer, TunnelKind::GtpU, id)?).map(Some)
}
