//! A packet that is being freed → addresses, ports and flags. Unlike at the hooks, it is the kernel's
//! own structure that is read, and the packet may be anywhere in the stack.

use l7d_ebpf::drops::DropRecord;

use super::headers::{ICMP4, ICMP6, SCTP, TCP, UDP, is_echo};
use super::kernel::{self, layout};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Bytes of a header of Ethernet.
const ETHERNET_LEN: u32 = 14;
/// `network_header` before it is known.
const UNSET: u16 = u16::MAX;
/// Extension headers followed at most; RFC 8200 §4.1 recommends each at most once.
const EXTENSIONS_MAX: usize = 6;

/// What the kernel says of a packet that it lets go.
#[derive(Clone, Copy)]
pub(crate) struct Freed {
    /// `struct sk_buff`.
    pub(crate) skb: u64,
    /// The socket that it was for, 0 where that is not known.
    pub(crate) socket: u64,
    /// Address of the code that dropped it, 0 where that is this program's own.
    pub(crate) place: u64,
    pub(crate) reason: u32,
    /// What it found no room in.
    pub(crate) queue: Queue,
}

/// A queue that overflows.
#[derive(Clone, Copy)]
pub(crate) struct Queue {
    pub(crate) used: u32,
    pub(crate) limit: u32,
}

/// The part of a packet that lies in one piece.
#[derive(Clone, Copy)]
struct Bytes {
    head: u64,
    /// Bytes of it.
    len: u32,
}

impl Bytes {
    #[inline(always)]
    fn read<T>(&self, at: u32) -> Option<T> {
        if at.checked_add(size_of::<T>() as u32)? > self.len {
            return None;
        }
        kernel::read(self.head, at)
    }
}

/// Reads the packet's headers into the record. `None` where it is no IP packet.
#[inline(always)]
pub(crate) fn read(skb: u64, record: &mut DropRecord) -> Option<()> {
    let protocol = u16::from_be(kernel::read(skb, layout!(skb_protocol))?);
    let version = match protocol {
        ETHERTYPE_IPV4 => 4,
        ETHERTYPE_IPV6 => 6,
        _ => return None,
    };
    let bytes = Bytes {
        head: kernel::follow(skb, layout!(skb_head))?,
        len: kernel::read(skb, layout!(skb_tail))?,
    };
    let start = start(skb, &bytes, version)?;
    record.source_port = 0;
    record.destination_port = 0;
    record.tcp_flags = 0;
    record.icmp_type = 0;
    record.icmp_code = 0;
    record.length = kernel::read(skb, layout!(skb_len))?;
    if version == 4 {
        read_ipv4(&bytes, start, record)
    } else {
        read_ipv6(&bytes, start, record)
    }
}

/// Where the IP header is. Drivers hand over packets whose network header nobody has found yet: then it
/// is where the data is, or behind the frame's header.
#[inline(always)]
fn start(skb: u64, bytes: &Bytes, version: u8) -> Option<u32> {
    let known: u16 = kernel::read(skb, layout!(skb_network_header))?;
    let data = kernel::follow(skb, layout!(skb_data))?.wrapping_sub(bytes.head) as u32;
    let is_here = |at: u32| {
        bytes
            .read::<u8>(at)
            .is_some_and(|byte| byte >> 4 == version)
    };
    if known != 0 && known != UNSET && is_here(u32::from(known)) {
        return Some(u32::from(known));
    }
    if is_here(data) {
        return Some(data);
    }
    let behind = data.checked_add(ETHERNET_LEN)?;
    is_here(behind).then_some(behind)
}

#[inline(always)]
fn read_ipv4(bytes: &Bytes, start: u32, record: &mut DropRecord) -> Option<()> {
    // RFC 791 §3.1
    let header: [u8; 12] = bytes.read(start)?;
    let ends: [[u8; 4]; 2] = bytes.read(start + 12)?;
    record.source = super::headers::mapped(ends[0]);
    record.destination = super::headers::mapped(ends[1]);
    record.protocol = header[9];
    let length = u16::from_be_bytes([header[2], header[3]]);
    // 0 in packets of more than 64 KiB.
    if length != 0 {
        record.length = u32::from(length);
    }
    let is_first = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
    if is_first {
        read_transport(bytes, start + u32::from(header[0] & 0x0f) * 4, record);
    }
    Some(())
}

#[inline(always)]
fn read_ipv6(bytes: &Bytes, start: u32, record: &mut DropRecord) -> Option<()> {
    // RFC 8200 §3
    let header: [u8; 8] = bytes.read(start)?;
    record.source = bytes.read(start + 8)?;
    record.destination = bytes.read(start + 24)?;
    record.protocol = header[6];
    let length = u16::from_be_bytes([header[4], header[5]]);
    if length != 0 {
        record.length = u32::from(length) + 40;
    }
    let mut at = start + 40;
    for _ in 0..EXTENSIONS_MAX {
        match record.protocol {
            // Hop-by-hop, routing, destination options: RFC 8200 §4.
            0 | 43 | 60 => {
                let Some(head) = bytes.read::<[u8; 2]>(at) else {
                    return Some(());
                };
                record.protocol = head[0];
                at += 8 + u32::from(head[1]) * 8;
            }
            // Fragment: RFC 8200 §4.5.
            44 => {
                let Some(head) = bytes.read::<[u8; 4]>(at) else {
                    return Some(());
                };
                record.protocol = head[0];
                if u16::from_be_bytes([head[2], head[3]]) >> 3 != 0 {
                    return Some(());
                }
                at += 8;
            }
            _ => break,
        }
    }
    read_transport(bytes, at, record);
    Some(())
}

/// Ports, flags and types as far as they are there.
#[inline(always)]
fn read_transport(bytes: &Bytes, at: u32, record: &mut DropRecord) {
    match record.protocol {
        TCP | UDP | SCTP => {
            let Some(ports) = bytes.read::<[u8; 4]>(at) else {
                return;
            };
            record.source_port = u16::from_be_bytes([ports[0], ports[1]]);
            record.destination_port = u16::from_be_bytes([ports[2], ports[3]]);
            if record.protocol == TCP {
                // RFC 9293 §3.1
                record.tcp_flags = bytes.read::<u8>(at + 13).unwrap_or(0);
            }
        }
        ICMP4 | ICMP6 => {
            let Some(head) = bytes.read::<[u8; 6]>(at) else {
                return;
            };
            record.icmp_type = head[0];
            record.icmp_code = head[1];
            if is_echo(record.protocol, head[0]) {
                let id = u16::from_be_bytes([head[4], head[5]]);
                record.source_port = id;
                record.destination_port = id;
            }
        }
        _ => {}
    }
}
