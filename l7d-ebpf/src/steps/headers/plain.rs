//! Packets of the usual form, read where they lie: IPv4 without options and not in fragments, or IPv6
//! without extension headers, then TCP, UDP or an ICMP echo. Nearly every packet is one, and helper
//! calls for its pieces would cost as much as everything else that is done with it.

use aya_ebpf::programs::TcContext;

use super::{
    ETHERNET_LEN, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ICMP4, ICMP6, Packet, TCP, UDP, is_echo,
};
use crate::steps::address;

const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// Of a TCP header, up to its window.
const TCP_LEN: usize = 16;
const UDP_LEN: usize = 8;
const ECHO_LEN: usize = 6;
/// The first byte of an IPv4 header without options.
const NO_OPTIONS: u8 = 0x45;
/// Everything of the fragment field but "don't fragment".
const FRAGMENT_BITS: u16 = 0x3fff;

/// The part of a frame that programs may look into.
struct Frame {
    start: usize,
    end: usize,
}

/// A header of `N` bytes that was checked to lie in the frame.
struct Header<const N: usize>(*const u8);

impl Frame {
    #[inline(always)]
    fn header<const N: usize>(&self, offset: usize) -> Option<Header<N>> {
        let place = self.start + offset;
        (place + N <= self.end).then_some(Header(place as *const u8))
    }
}

impl<const N: usize> Header<N> {
    /// A field in network byte order. Frames begin two bytes before a multiple of four
    /// (`NET_IP_ALIGN`), so that fields behind the Ethernet header are where their size wants them, as
    /// far as the verifier asks; read byte by byte they would cost four times as much.
    #[inline(always)]
    fn field<T: Copy>(&self, at: usize) -> T {
        const { assert!(size_of::<T>() <= 4) };
        // SAFETY: all callers name places inside of `N` bytes, which the verifier sees as well.
        unsafe { *self.0.add(at).cast::<T>() }
    }

    #[inline(always)]
    fn u8(&self, at: usize) -> u8 {
        self.field(at)
    }

    #[inline(always)]
    fn u16(&self, at: usize) -> u16 {
        u16::from_be(self.field(at))
    }

    #[inline(always)]
    fn u32(&self, at: usize) -> u32 {
        u32::from_be(self.field(at))
    }
}

/// Reads a packet of the usual form; `None` where it is of another, or its headers do not lie in one
/// piece.
#[inline(always)]
pub(super) fn read(ctx: &TcContext, packet: &mut Packet) -> Option<()> {
    let frame = Frame {
        start: ctx.data(),
        end: ctx.data_end(),
    };
    let kind = frame.header::<ETHERNET_LEN>(0)?.u16(12);
    let frame_len = ctx.len();
    packet.len = frame_len.wrapping_sub(ETHERNET_LEN as u32);
    packet.end = frame_len;
    if kind == ETHERTYPE_IPV4 {
        let header = frame.header::<IPV4_LEN>(ETHERNET_LEN)?;
        if header.u8(0) != NO_OPTIONS || header.u16(6) & FRAGMENT_BITS != 0 {
            return None;
        }
        note_end(packet, 0, header.u16(2));
        packet.protocol = header.u8(9);
        packet.is_ipv4 = true;
        address::set_ipv4(&mut packet.source, header.field(12));
        address::set_ipv4(&mut packet.destination, header.field(16));
        transport(&frame, packet, ETHERNET_LEN + IPV4_LEN)
    } else if kind == ETHERTYPE_IPV6 {
        let header = frame.header::<IPV6_LEN>(ETHERNET_LEN)?;
        note_end(packet, IPV6_LEN as u32, header.u16(4));
        packet.protocol = header.u8(6);
        packet.is_ipv4 = false;
        let words = |at: usize| [0, 4, 8, 12].map(|word| header.field::<u32>(at + word));
        address::set(&mut packet.source, words(8));
        address::set(&mut packet.destination, words(24));
        transport(&frame, packet, ETHERNET_LEN + IPV6_LEN)
    } else {
        None
    }
}

/// Notes where the packet ends by its own length, which is 0 in packets of more than 64 KiB.
#[inline(always)]
fn note_end(packet: &mut Packet, header: u32, length: u16) {
    let end = ETHERNET_LEN as u32 + header + u32::from(length);
    if length != 0 && end < packet.end {
        packet.end = end;
    }
}

#[inline(always)]
fn transport(frame: &Frame, packet: &mut Packet, offset: usize) -> Option<()> {
    packet.is_later = false;
    packet.tcp_flags = 0;
    packet.icmp_type = 0;
    packet.icmp_code = 0;
    packet.transport = offset as u32;
    match packet.protocol {
        TCP => {
            // RFC 9293 §3.1
            let head = frame.header::<TCP_LEN>(offset)?;
            packet.source_port = head.u16(0);
            packet.destination_port = head.u16(2);
            packet.sequence = head.u32(4);
            packet.acknowledged = head.u32(8);
            packet.tcp_flags = head.u8(13);
            packet.window = head.u16(14);
            let start = offset as u32 + u32::from(head.u8(12) >> 4) * 4;
            packet.payload = packet.end.saturating_sub(start);
        }
        UDP => {
            let head = frame.header::<UDP_LEN>(offset)?;
            packet.source_port = head.u16(0);
            packet.destination_port = head.u16(2);
        }
        ICMP4 | ICMP6 => {
            let head = frame.header::<ECHO_LEN>(offset)?;
            if !is_echo(packet.protocol, head.u8(0)) {
                return None;
            }
            packet.icmp_type = head.u8(0);
            packet.icmp_code = head.u8(1);
            let id = head.u16(4);
            packet.source_port = id;
            packet.destination_port = id;
        }
        _ => return None,
    }
    Some(())
}
