//! TCP, UDP, SCTP, ICMP.

use super::bytes::{u8_at, u16_at, u32_at};
use super::ip::Header;
use super::{Look, Packet, tunnel};
use crate::error::{Error, Fault};

/// What an IP packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport<'b> {
    /// A segment.
    Tcp(Tcp<'b>),
    /// A datagram.
    Udp(Udp<'b>),
    /// Ports only.
    Sctp(Sctp),
    /// ICMP: its type and code. The packet that an error quotes is no traffic.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// ICMP for IPv6: its type and code.
    IcmpV6 {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// Any other protocol, by its number.
    Other(u8),
}

/// A TCP segment (RFC 9293 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcp<'b> {
    /// Port of who sent it.
    pub source_port: u16,
    /// Port of who is to get it.
    pub destination_port: u16,
    /// Number of its first byte.
    pub sequence: u32,
    /// Number of the byte expected next, if [`TcpFlags::ACK`] is set.
    pub acknowledged: u32,
    /// Flags.
    pub flags: TcpFlags,
    /// Bytes that may come, not scaled.
    pub window: u16,
    /// What was captured of its bytes.
    pub payload: &'b [u8],
    /// Bytes after them that were not captured.
    pub missing: usize,
}

/// Flags of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// The sender has no more.
    pub const FIN: Self = Self(0x01);
    /// It begins a connection.
    pub const SYN: Self = Self(0x02);
    /// It ends a connection at once.
    pub const RST: Self = Self(0x04);
    /// It acknowledges.
    pub const ACK: Self = Self(0x10);

    /// Whether all flags of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp<'b> {
    /// Port of who sent it.
    pub source_port: u16,
    /// Port of who is to get it.
    pub destination_port: u16,
    /// What was captured of its bytes.
    pub payload: &'b [u8],
    /// Bytes after them that were not captured.
    pub missing: usize,
}

/// An SCTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sctp {
    /// Port of who sent it.
    pub source_port: u16,
    /// Port of who is to get it.
    pub destination_port: u16,
}

const SHORT_TCP: Error = Error::new(Fault::Truncated, "short-tcp-header", "RFC 9293 §3.1");
const BAD_TCP: Error = Error::new(Fault::Malformed, "bad-tcp-header", "RFC 9293 §3.1");
const SHORT_UDP: Error = Error::new(Fault::Truncated, "short-udp-header", "RFC 768");
const SHORT_SCTP: Error = Error::new(Fault::Truncated, "short-sctp-header", "RFC 9260 §3.1");
const SHORT_ICMP: Error = Error::new(Fault::Truncated, "short-icmp-header", "RFC 792");

/// Looks at the payload of an IP packet, `missing` bytes of whose end were not captured.
pub(super) fn look<'b>(
    header: &Header,
    payload: &'b [u8],
    missing: usize,
) -> Result<Look<'b>, Error> {
    let transport = match header.protocol {
        6 => Transport::Tcp(tcp(payload, missing)?),
        17 => {
            let udp = udp(payload, missing)?;
            if let Some(look) = tunnel::look_in_udp(header, &udp) {
                return Ok(look);
            }
            Transport::Udp(udp)
        }
        132 => Transport::Sctp(Sctp {
            source_port: u16_at(payload, 0).ok_or(SHORT_SCTP)?,
            destination_port: u16_at(payload, 2).ok_or(SHORT_SCTP)?,
        }),
        1 => Transport::Icmp {
            kind: u8_at(payload, 0).ok_or(SHORT_ICMP)?,
            code: u8_at(payload, 1).ok_or(SHORT_ICMP)?,
        },
        58 => Transport::IcmpV6 {
            kind: u8_at(payload, 0).ok_or(SHORT_ICMP)?,
            code: u8_at(payload, 1).ok_or(SHORT_ICMP)?,
        },
        other => Transport::Other(other),
    };
    Ok(Look::Packet(Packet {
        source: header.source,
        destination: header.destination,
        transport,
        encapsulation: header.way.encapsulation,
    }))
}

fn tcp(payload: &[u8], missing: usize) -> Result<Tcp<'_>, Error> {
    let offset = usize::from(u8_at(payload, 12).ok_or(SHORT_TCP)? >> 4) * 4;
    if offset < 20 {
        return Err(BAD_TCP);
    }
    let data = payload.get(offset..).unwrap_or_default();
    Ok(Tcp {
        source_port: u16_at(payload, 0).ok_or(SHORT_TCP)?,
        destination_port: u16_at(payload, 2).ok_or(SHORT_TCP)?,
        sequence: u32_at(payload, 4).ok_or(SHORT_TCP)?,
        acknowledged: u32_at(payload, 8).ok_or(SHORT_TCP)?,
        flags: TcpFlags(u8_at(payload, 13).ok_or(SHORT_TCP)?),
        window: u16_at(payload, 14).ok_or(SHORT_TCP)?,
        payload: data,
        missing: (payload.len() + missing).saturating_sub(offset + data.len()),
    })
}

fn udp(datagram: &[u8], missing: usize) -> Result<Udp<'_>, Error> {
    let rest = datagram.get(8..).ok_or(SHORT_UDP)?;
    // 0 is a jumbogram, or what a network card will cut to size.
    let length = match usize::from(u16_at(datagram, 4).ok_or(SHORT_UDP)?) {
        length @ 8.. => length - 8,
        _ => rest.len() + missing,
    };
    let payload = rest.get(..length.min(rest.len())).unwrap_or_default();
    Ok(Udp {
        source_port: u16_at(datagram, 0).ok_or(SHORT_UDP)?,
        destination_port: u16_at(datagram, 2).ok_or(SHORT_UDP)?,
        payload,
        missing: length - payload.len(),
    })
}
