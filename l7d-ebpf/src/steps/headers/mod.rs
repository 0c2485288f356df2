//! Packet → addresses, ports and flags, or the reason why not.

mod plain;

use aya_ebpf::programs::TcContext;
use l7d_ebpf::maps::Fragment;
use l7d_ebpf::records::{REASON_FRAGMENT, REASON_LONG_CHAIN, REASON_TAGGED, REASON_TINY_FRAGMENT};

use crate::state::FRAGMENTS;

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const SCTP: u8 = 132;
pub(crate) const ICMP4: u8 = 1;
pub(crate) const ICMP6: u8 = 58;

/// With a type of ICMP, what stands in for a port: no type is 0 in there.
const ICMP_KINDS: u16 = 0x100;

/// TCP flag bits.
pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

const ETHERNET_LEN: usize = 14;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IEEE 802.1Q and 802.1ad.
const ETHERTYPE_VLAN: u16 = 0x8100;
const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;
/// Extension headers followed at most; RFC 8200 §4.1 recommends each at most once.
const EXTENSIONS_MAX: usize = 6;

/// What the steps know about a packet.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    /// Sender; IPv4 mapped into IPv6.
    pub(crate) source: [u8; 16],
    /// Receiver.
    pub(crate) destination: [u8; 16],
    /// Host byte order; ICMP echo: the identifier in both.
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) protocol: u8,
    pub(crate) tcp_flags: u8,
    pub(crate) icmp_type: u8,
    pub(crate) icmp_code: u8,
    pub(crate) is_ipv4: bool,
    /// A fragment but the first: it has ports by what that had, and neither flags nor a type.
    pub(crate) is_later: bool,
    /// Where the transport header starts in the frame; only of whole packets.
    pub(crate) transport: u32,
    /// Where the packet ends in the frame: short frames are padded.
    pub(crate) end: u32,
    /// Bytes from the IP header on.
    pub(crate) len: u32,
    /// TCP: number of the first byte, and of the next one that the sender expects.
    pub(crate) sequence: u32,
    pub(crate) acknowledged: u32,
    /// TCP: bytes behind the header.
    pub(crate) payload: u32,
    /// TCP: as in the header, not scaled.
    pub(crate) window: u16,
}

/// Why a packet has no tuple.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPacket {
    /// ARP and the like: none of our business.
    NotIp,
    /// Headers that end too early: the stack will drop it and say why.
    Truncated,
    /// A later fragment whose first one was not seen.
    UnknownFragment,
    /// A first fragment that ends before its ports and flags: with the next one the receiver knows more
    /// than we do (RFC 1858 §3).
    TinyFragment,
    /// More extension headers than are followed; the receiver follows them all.
    LongChain,
    /// A tag of a VLAN inside of another, which the kernel has taken off already.
    Tagged,
}

impl NoPacket {
    /// Why an endpoint with policy does not get it, or does not send it: what cannot be read cannot be
    /// judged, and a receiver may be able to read it. `None` of what no receiver takes in.
    #[inline(always)]
    pub(crate) fn refusal(self) -> Option<u8> {
        match self {
            Self::NotIp | Self::Truncated => None,
            Self::UnknownFragment => Some(REASON_FRAGMENT),
            Self::TinyFragment => Some(REASON_TINY_FRAGMENT),
            Self::LongChain => Some(REASON_LONG_CHAIN),
            Self::Tagged => Some(REASON_TAGGED),
        }
    }
}

impl Packet {
    /// Whether the proxy can take it.
    #[inline(always)]
    pub(crate) fn is_proxiable(&self) -> bool {
        self.protocol == TCP || self.protocol == UDP
    }

    /// Whether a verdict on it would be one on something else. Its first fragment has begun the connection,
    /// unless that was denied; and a type is what policies ask of ICMP.
    #[inline(always)]
    pub(crate) fn is_judged_by_first(&self, is_known: bool) -> bool {
        self.is_later && (!is_known || self.protocol == ICMP4 || self.protocol == ICMP6)
    }

    /// Whether it begins something: against the direction of a connection it is no answer.
    #[inline(always)]
    pub(crate) fn begins(&self) -> bool {
        match self.protocol {
            TCP => self.is_syn(),
            ICMP4 => !matches!(self.icmp_type, 0 | 14 | 16 | 18),
            ICMP6 => !matches!(self.icmp_type, 129 | 140),
            _ => false,
        }
    }

    /// Whether it opens a TCP connection.
    #[inline(always)]
    pub(crate) fn is_syn(&self) -> bool {
        self.protocol == TCP && self.tcp_flags & (SYN | ACK) == SYN
    }
}

/// Reads the headers into `packet`.
#[inline(always)]
pub(crate) fn read(ctx: &TcContext, packet: &mut Packet) -> Result<(), NoPacket> {
    if plain::read(ctx, packet).is_some() {
        return Ok(());
    }
    read_any(ctx, packet)
}

/// Reads whatever there is, one helper call for each piece.
#[inline(never)]
fn read_any(ctx: &TcContext, packet: &mut Packet) -> Result<(), NoPacket> {
    packet.source_port = 0;
    packet.destination_port = 0;
    packet.is_later = false;
    packet.tcp_flags = 0;
    packet.icmp_type = 0;
    packet.icmp_code = 0;
    packet.transport = 0;
    packet.sequence = 0;
    packet.acknowledged = 0;
    packet.payload = 0;
    packet.window = 0;
    packet.len = ctx.len().saturating_sub(ETHERNET_LEN as u32);
    match u16::from_be_bytes(load(ctx, 12)?) {
        ETHERTYPE_IPV4 => read_ipv4(ctx, packet),
        ETHERTYPE_IPV6 => read_ipv6(ctx, packet),
        // One tag was taken off before any program runs (`skb_vlan_untag`).
        ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN => Err(read_tagged(ctx, packet)),
        _ => Err(NoPacket::NotIp),
    }
}

#[inline(always)]
fn load<T>(ctx: &TcContext, offset: usize) -> Result<T, NoPacket> {
    ctx.load(offset).map_err(|_| NoPacket::Truncated)
}

#[inline(always)]
fn read_ipv4(ctx: &TcContext, packet: &mut Packet) -> Result<(), NoPacket> {
    // RFC 791 §3.1
    let header: [u8; 20] = load(ctx, ETHERNET_LEN)?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    packet.source = mapped([header[12], header[13], header[14], header[15]]);
    packet.destination = mapped([header[16], header[17], header[18], header[19]]);
    packet.protocol = header[9];
    packet.is_ipv4 = true;
    note_end(ctx, packet, 0, u16::from_be_bytes([header[2], header[3]]));
    let id = u32::from(u16::from_be_bytes([header[4], header[5]]));
    let position = Position::of(fragment & 0x1fff, fragment & 0x2000 != 0, id);
    read_transport(ctx, packet, ETHERNET_LEN + header_len, position)
}

#[inline(always)]
fn read_ipv6(ctx: &TcContext, packet: &mut Packet) -> Result<(), NoPacket> {
    // RFC 8200 §3
    packet.source = load(ctx, ETHERNET_LEN + 8)?;
    packet.destination = load(ctx, ETHERNET_LEN + 24)?;
    packet.protocol = load(ctx, ETHERNET_LEN + 6)?;
    packet.is_ipv4 = false;
    note_end(
        ctx,
        packet,
        40,
        u16::from_be_bytes(load(ctx, ETHERNET_LEN + 4)?),
    );
    let mut offset = ETHERNET_LEN + 40;
    let mut position = Position::Whole;
    for _ in 0..EXTENSIONS_MAX {
        match packet.protocol {
            // Hop-by-hop, routing, destination options: RFC 8200 §4.
            0 | 43 | 60 => {
                let head: [u8; 2] = load(ctx, offset).map_err(|_| position.cut_off())?;
                packet.protocol = head[0];
                offset += 8 + usize::from(head[1]) * 8;
            }
            // Fragment: RFC 8200 §4.5.
            44 => {
                let head: [u8; 8] = load(ctx, offset)?;
                packet.protocol = head[0];
                let field = u16::from_be_bytes([head[2], head[3]]);
                let id = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
                position = Position::of(field >> 3, field & 1 != 0, id);
                offset += 8;
                if matches!(position, Position::Later(_)) {
                    // What follows are no headers.
                    return read_transport(ctx, packet, offset, position);
                }
            }
            _ => return read_transport(ctx, packet, offset, position),
        }
    }
    match packet.protocol {
        0 | 43 | 44 | 60 => Err(NoPacket::LongChain),
        _ => read_transport(ctx, packet, offset, position),
    }
}

/// The addresses behind a tag, for the record.
#[inline(always)]
fn read_tagged(ctx: &TcContext, packet: &mut Packet) -> NoPacket {
    let ip = ETHERNET_LEN + 4;
    packet.source = [0; 16];
    packet.destination = [0; 16];
    packet.protocol = 0;
    match load(ctx, ETHERNET_LEN + 2).map(u16::from_be_bytes) {
        Ok(ETHERTYPE_IPV4) => {
            packet.is_ipv4 = true;
            packet.source = mapped(load(ctx, ip + 12).unwrap_or([0; 4]));
            packet.destination = mapped(load(ctx, ip + 16).unwrap_or([0; 4]));
        }
        Ok(ETHERTYPE_IPV6) => {
            packet.is_ipv4 = false;
            packet.source = load(ctx, ip + 8).unwrap_or([0; 16]);
            packet.destination = load(ctx, ip + 24).unwrap_or([0; 16]);
        }
        _ => {}
    }
    NoPacket::Tagged
}

/// Notes where the packet ends by its own length, which is 0 in packets of more than 64 KiB.
#[inline(always)]
fn note_end(ctx: &TcContext, packet: &mut Packet, header: u32, length: u16) {
    let end = ETHERNET_LEN as u32 + header + u32::from(length);
    let is_told = length != 0 && end < ctx.len();
    packet.end = if is_told { end } else { ctx.len() };
}

/// Which part of its datagram a packet is.
#[derive(Clone, Copy)]
enum Position {
    Whole,
    First(u32),
    Later(u32),
}

impl Position {
    #[inline(always)]
    fn of(offset: u16, more: bool, id: u32) -> Self {
        match (offset, more) {
            (0, false) => Self::Whole,
            (0, true) => Self::First(id),
            _ => Self::Later(id),
        }
    }

    /// What it means that headers do not fit.
    #[inline(always)]
    fn cut_off(self) -> NoPacket {
        match self {
            Self::First(_) => NoPacket::TinyFragment,
            Self::Whole | Self::Later(_) => NoPacket::Truncated,
        }
    }
}

#[inline(always)]
fn read_transport(
    ctx: &TcContext,
    packet: &mut Packet,
    offset: usize,
    position: Position,
) -> Result<(), NoPacket> {
    if let Position::Later(id) = position {
        let key = fragment_key(packet, id);
        // SAFETY: the value is copied at once; an entry that is replaced meanwhile is of another
        // datagram with the same identification, which the receiver could not tell apart either.
        let ports = unsafe { FRAGMENTS.get(&key) }.ok_or(NoPacket::UnknownFragment)?;
        packet.source_port = ports[0];
        packet.destination_port = ports[1];
        packet.is_later = true;
        return Ok(());
    }
    if matches!(position, Position::Whole) {
        packet.transport = offset as u32;
    }
    match packet.protocol {
        TCP => {
            // RFC 9293 §3.1
            let head: [u8; 16] = load(ctx, offset).map_err(|_| position.cut_off())?;
            packet.source_port = u16::from_be_bytes([head[0], head[1]]);
            packet.destination_port = u16::from_be_bytes([head[2], head[3]]);
            packet.sequence = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
            packet.acknowledged = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
            packet.tcp_flags = head[13];
            packet.window = u16::from_be_bytes([head[14], head[15]]);
            let start = offset as u32 + u32::from(head[12] >> 4) * 4;
            packet.payload = packet.end.saturating_sub(start);
        }
        UDP | SCTP => {
            let head: [u8; 4] = load(ctx, offset).map_err(|_| position.cut_off())?;
            packet.source_port = u16::from_be_bytes([head[0], head[1]]);
            packet.destination_port = u16::from_be_bytes([head[2], head[3]]);
        }
        ICMP4 | ICMP6 => read_icmp(ctx, packet, offset).map_err(|_| position.cut_off())?,
        _ => {}
    }
    if let Position::First(id) = position {
        let key = fragment_key(packet, id);
        // A full map costs the later fragments, which are then dropped with their own reason.
        let _ = FRAGMENTS.insert(&key, &[packet.source_port, packet.destination_port], 0);
    }
    Ok(())
}

/// An echo's identifier stands in for both ports, so that request and reply are one connection. Other
/// messages have their type where a server has its port, on the side of who asks: none is taken for an
/// answer to another kind, and none is an answer to itself.
#[inline(always)]
fn read_icmp(ctx: &TcContext, packet: &mut Packet, offset: usize) -> Result<(), NoPacket> {
    let head: [u8; 6] = load(ctx, offset)?;
    packet.icmp_type = head[0];
    packet.icmp_code = head[1];
    if is_echo(packet.protocol, head[0]) {
        let id = u16::from_be_bytes([head[4], head[5]]);
        packet.source_port = id;
        packet.destination_port = id;
        return Ok(());
    }
    match asked(packet.protocol, head[0]) {
        Some(kind) => packet.source_port = ICMP_KINDS | u16::from(kind),
        None => packet.destination_port = ICMP_KINDS | u16::from(head[0]),
    }
    Ok(())
}

/// What a message answers that is no echo: timestamp, information, address mask (RFC 792, RFC 950), node
/// information (RFC 4620).
#[inline(always)]
fn asked(protocol: u8, kind: u8) -> Option<u8> {
    match (protocol, kind) {
        (ICMP4, 14 | 16 | 18) | (ICMP6, 140) => Some(kind - 1),
        _ => None,
    }
}

/// RFC 792 (8 request, 0 reply) and RFC 4443 §4 (128 request, 129 reply).
#[inline(always)]
pub(crate) fn is_echo(protocol: u8, kind: u8) -> bool {
    match protocol {
        ICMP4 => kind == 8 || kind == 0,
        ICMP6 => kind == 128 || kind == 129,
        _ => false,
    }
}

#[inline(always)]
fn fragment_key(packet: &Packet, id: u32) -> Fragment {
    Fragment {
        source: packet.source,
        destination: packet.destination,
        id,
        protocol: u32::from(packet.protocol),
    }
}

/// IPv4 mapped into IPv6 (RFC 4291 §2.5.5.2): one key type serves both families.
#[inline(always)]
pub(crate) fn mapped(v4: [u8; 4]) -> [u8; 16] {
    [
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3],
    ]
}

/// An IPv6 address as the kernel shows it to programs: words, in network byte order in memory.
#[inline(always)]
pub(crate) fn wide(words: [u32; 4]) -> [u8; 16] {
    let [a, b, c, d] = words.map(u32::to_ne_bytes);
    [
        a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2],
        d[3],
    ]
}
