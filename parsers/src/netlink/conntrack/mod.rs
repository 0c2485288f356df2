//! Netfilter's connections: one is asked for by its addresses and ports, in either direction, and
//! comes back as the packets of both directions are addressed where they come from.
//!
//! ```text
//!   client ──▶ original: client → service ─┐ translation ┌─ client' → backend ──▶ backend
//!          ◀── service → client ───────────┘             └─ reply: backend → client' ◀──
//! ```
//!
//! Numbers of attributes are those of the kernel's `linux/netfilter/nfnetlink_conntrack.h`.

use std::net::{IpAddr, SocketAddr};

use super::attributes::{self, Attribute, Attributes};
use super::{HEADER_BYTES, Message, NLMSG_ERROR};
use crate::error::{Error, Fault};

const SECTION: &str = "linux/netfilter/nfnetlink_conntrack.h";

/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW`: a connection, told.
const CONNECTION: u16 = 0x100;
/// `NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET`: a connection, asked for.
const GET: u16 = 0x101;
const NLM_F_REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_PROTO_ICMP_ID: u16 = 4;
const CTA_PROTO_ICMP_TYPE: u16 = 5;
const CTA_PROTO_ICMP_CODE: u16 = 6;
const CTA_PROTO_ICMPV6_ID: u16 = 7;
const CTA_PROTO_ICMPV6_TYPE: u16 = 8;
const CTA_PROTO_ICMPV6_CODE: u16 = 9;

const ICMP4: u8 = 1;
const ICMP6: u8 = 58;

/// Who sends to whom, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// IP protocol number.
    pub protocol: u8,
    /// Sender. The port of an ICMP echo is its identifier, at both ends.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
    /// ICMP type and code; 0 of other protocols.
    pub icmp: [u8; 2],
}

/// One connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// What its client sends, before any translation.
    pub original: Tuple,
    /// What its server sends back, before any translation.
    pub reply: Tuple,
}

impl Connection {
    /// Whether replies come from elsewhere than the client sends to, or go elsewhere than it is.
    pub fn is_translated(&self) -> bool {
        self.original.source != self.reply.destination
            || self.original.destination != self.reply.source
    }
}

impl Tuple {
    /// Addressed so; of ICMP an echo request, whose identifier both ports are.
    pub fn new(protocol: u8, source: SocketAddr, destination: SocketAddr) -> Self {
        let icmp = match protocol {
            ICMP4 => [8, 0],
            ICMP6 => [128, 0],
            _ => [0, 0],
        };
        Self {
            protocol,
            source,
            destination,
            icmp,
        }
    }

    /// What comes back when nothing is translated.
    #[must_use]
    pub fn reversed(self) -> Self {
        let [kind, code] = self.icmp;
        let kind = match (self.protocol, kind) {
            (ICMP4, 8) => 0,
            (ICMP4, 0) => 8,
            (ICMP6, 128) => 129,
            (ICMP6, 129) => 128,
            (_, other) => other,
        };
        Self {
            source: self.destination,
            destination: self.source,
            icmp: [kind, code],
            ..self
        }
    }

    /// The attributes inside `CTA_TUPLE_*`.
    fn read(tuple: Attributes<'_>) -> Result<Self, Error> {
        let (mut ends, mut proto) = ((None, None), Proto::default());
        for attribute in tuple {
            let attribute = attribute?;
            match attribute.kind {
                CTA_TUPLE_IP => ends = addresses(attribute.nested())?,
                CTA_TUPLE_PROTO => proto = Proto::read(attribute.nested())?,
                _ => {}
            }
        }
        let (Some(source), Some(destination)) = ends else {
            return Err(Error::new(Fault::Malformed, "tuple-addresses", SECTION));
        };
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(Error::new(Fault::Malformed, "tuple-families", SECTION));
        }
        Ok(Self {
            protocol: proto.number,
            source: SocketAddr::new(source, proto.source),
            destination: SocketAddr::new(destination, proto.destination),
            icmp: proto.icmp,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        attributes::nest(out, CTA_TUPLE_IP, |out| {
            match (self.source.ip(), self.destination.ip()) {
                (IpAddr::V4(source), IpAddr::V4(destination)) => {
                    attributes::write(out, CTA_IP_V4_SRC, &source.octets());
                    attributes::write(out, CTA_IP_V4_DST, &destination.octets());
                }
                (source, destination) => {
                    attributes::write(out, CTA_IP_V6_SRC, &wide(source));
                    attributes::write(out, CTA_IP_V6_DST, &wide(destination));
                }
            }
        });
        attributes::nest(out, CTA_TUPLE_PROTO, |out| self.write_protocol(out));
    }

    fn write_protocol(&self, out: &mut Vec<u8>) {
        attributes::write(out, CTA_PROTO_NUM, &[self.protocol]);
        let [kind, code] = self.icmp;
        let source = self.source.port().to_be_bytes();
        let icmp = match self.protocol {
            ICMP4 => [CTA_PROTO_ICMP_ID, CTA_PROTO_ICMP_TYPE, CTA_PROTO_ICMP_CODE],
            ICMP6 => [
                CTA_PROTO_ICMPV6_ID,
                CTA_PROTO_ICMPV6_TYPE,
                CTA_PROTO_ICMPV6_CODE,
            ],
            _ => {
                attributes::write(out, CTA_PROTO_SRC_PORT, &source);
                let destination = self.destination.port().to_be_bytes();
                return attributes::write(out, CTA_PROTO_DST_PORT, &destination);
            }
        };
        let [id_attribute, kind_attribute, code_attribute] = icmp;
        attributes::write(out, id_attribute, &source);
        attributes::write(out, kind_attribute, &[kind]);
        attributes::write(out, code_attribute, &[code]);
    }
}

/// The attributes inside `CTA_TUPLE_IP`: source and destination.
fn addresses(ip: Attributes<'_>) -> Result<(Option<IpAddr>, Option<IpAddr>), Error> {
    let (mut source, mut destination) = (None, None);
    for attribute in ip {
        let attribute = attribute?;
        match attribute.kind {
            CTA_IP_V4_SRC => source = Some(IpAddr::from(attribute.array::<4>()?)),
            CTA_IP_V4_DST => destination = Some(IpAddr::from(attribute.array::<4>()?)),
            CTA_IP_V6_SRC => source = Some(IpAddr::from(attribute.array::<16>()?)),
            CTA_IP_V6_DST => destination = Some(IpAddr::from(attribute.array::<16>()?)),
            _ => {}
        }
    }
    Ok((source, destination))
}

/// The octets of an address as IPv6 has it.
fn wide(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The attributes inside `CTA_TUPLE_PROTO`.
#[derive(Default)]
struct Proto {
    number: u8,
    source: u16,
    destination: u16,
    icmp: [u8; 2],
}

impl Proto {
    fn read(proto: Attributes<'_>) -> Result<Self, Error> {
        let mut read = Self::default();
        let byte = |attribute: Attribute<'_>| attribute.array().map(u8::from_ne_bytes);
        let port = |attribute: Attribute<'_>| attribute.array().map(u16::from_be_bytes);
        let [mut kind, mut code] = read.icmp;
        for attribute in proto {
            let attribute = attribute?;
            match attribute.kind {
                CTA_PROTO_NUM => read.number = byte(attribute)?,
                CTA_PROTO_SRC_PORT => read.source = port(attribute)?,
                CTA_PROTO_DST_PORT => read.destination = port(attribute)?,
                CTA_PROTO_ICMP_ID | CTA_PROTO_ICMPV6_ID => {
                    read.source = port(attribute)?;
                    read.destination = read.source;
                }
                CTA_PROTO_ICMP_TYPE | CTA_PROTO_ICMPV6_TYPE => kind = byte(attribute)?,
                CTA_PROTO_ICMP_CODE | CTA_PROTO_ICMPV6_CODE => code = byte(attribute)?,
                _ => {}
            }
        }
        read.icmp = [kind, code];
        Ok(read)
    }
}

/// What the kernel says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The connection.
    Connection(Connection),
    /// It has none, or the question failed: the error number, `ENOENT` mostly.
    Refused(u32),
}

/// Appends a question for the connection that has `tuple` as either of its directions.
pub fn ask(out: &mut Vec<u8>, tuple: &Tuple, sequence: u32) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&GET.to_ne_bytes());
    out.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    // The port: the kernel fills it in.
    out.extend_from_slice(&[0; 4]);
    let family = if tuple.source.is_ipv4() && tuple.destination.is_ipv4() {
        AF_INET
    } else {
        AF_INET6
    };
    // `struct nfgenmsg`: family, version 0, resource 0.
    out.extend_from_slice(&[family, 0, 0, 0]);
    attributes::nest(out, CTA_TUPLE_ORIG, |out| tuple.write(out));
    let length = u32::try_from(out.len().saturating_sub(start)).unwrap_or(u32::MAX);
    if let Some(room) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
        *room = length.to_ne_bytes();
    }
}

/// Reads what a message answers; `None` of one that is no answer.
pub fn answer(message: &Message<'_>) -> Result<Option<Answer>, Error> {
    if let Some(number) = message.error() {
        return Ok(Some(Answer::Refused(number)));
    }
    if message.kind != CONNECTION {
        return Ok(None);
    }
    let (mut original, mut reply) = (None, None);
    for attribute in attributes_of(message)? {
        let attribute = attribute?;
        match attribute.kind {
            CTA_TUPLE_ORIG => original = Some(Tuple::read(attribute.nested())?),
            CTA_TUPLE_REPLY => reply = Some(Tuple::read(attribute.nested())?),
            _ => {}
        }
    }
    match (original, reply) {
        (Some(original), Some(reply)) => {
            Ok(Some(Answer::Connection(Connection { original, reply })))
        }
        _ => Err(Error::new(Fault::Malformed, "connection-tuples", SECTION)),
    }
}

/// The tuple that a message asks for; `None` of any other message.
pub fn question(message: &Message<'_>) -> Result<Option<Tuple>, Error> {
    if message.kind != GET {
        return Ok(None);
    }
    for attribute in attributes_of(message)? {
        let attribute = attribute?;
        if attribute.kind == CTA_TUPLE_ORIG {
            return Tuple::read(attribute.nested()).map(Some);
        }
    }
    Ok(None)
}

/// Behind `struct nfgenmsg`.
fn attributes_of<'b>(message: &Message<'b>) -> Result<Attributes<'b>, Error> {
    let rest = message.payload.get(4..);
    let rest = rest.ok_or(Error::new(Fault::Truncated, "nfgenmsg", SECTION))?;
    Ok(Attributes::new(rest))
}

/// Writes a connection as the kernel tells it.
pub fn tell(out: &mut Vec<u8>, connection: &Connection, sequence: u32) {
    let start = out.len();
    ask(out, &connection.original, sequence);
    attributes::nest(out, CTA_TUPLE_REPLY, |out| connection.reply.write(out));
    let length = u32::try_from(out.len().saturating_sub(start)).unwrap_or(u32::MAX);
    let header = out
        .get_mut(start..)
        .and_then(<[u8]>::first_chunk_mut::<HEADER_BYTES>);
    if let Some([l0, l1, l2, l3, k0, k1, ..]) = header {
        [*l0, *l1, *l2, *l3] = length.to_ne_bytes();
        [*k0, *k1] = CONNECTION.to_ne_bytes();
    }
}

/// Writes that a request failed, with a (positive) error number.
pub fn refuse(out: &mut Vec<u8>, number: u8, sequence: u32) {
    let length = u32::try_from(HEADER_BYTES.saturating_add(4)).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&NLMSG_ERROR.to_ne_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&i32::from(number).wrapping_neg().to_ne_bytes());
}

#[cfg(test)]
mod tests;
