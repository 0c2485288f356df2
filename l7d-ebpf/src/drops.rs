//! Drops that the kernel tells of: the record, what programs are told of the running kernel, and the
//! maps for them.
//!
//! | map | key → value | written by | read by |
//! |---|---|---|---|
//! | `DROP_CLASSES` | [`reason_index`] → `CLASS_*` | user | programs |
//! | `DROP_COUNTS` | [`reason_index`] → [`DropCounts`], per CPU | programs | user |
//! | `DROP_BUDGET` | 0 → [`DropBudget`], per CPU | programs | programs |
//! | `PLACES` | code address → [`Place`] | programs | both |
//! | `NAMESPACES` | inode of a network namespace → [`Namespace`] | programs | programs |

use crate::records::KIND_KERNEL_DROP;

/// A packet that the kernel dropped.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropRecord {
    /// [`crate::ABI_VERSION`].
    pub version: u8,
    /// [`KIND_KERNEL_DROP`].
    pub kind: u8,
    /// IP protocol number.
    pub protocol: u8,
    /// TCP flag bits.
    pub tcp_flags: u8,
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// `DROP_*` bits.
    pub flags: u16,
    /// `bpf_ktime_get_ns` (`CLOCK_MONOTONIC`).
    pub time_ns: u64,
    /// Sender; IPv4 mapped into IPv6.
    pub source: [u8; 16],
    /// Receiver; IPv4 mapped into IPv6.
    pub destination: [u8; 16],
    /// Sender's port, host byte order; 0 where there is none.
    pub source_port: u16,
    /// Receiver's port, host byte order; 0 where there is none.
    pub destination_port: u16,
    /// The kernel's number of the reason; a subsystem's in the high 16 bits.
    pub reason: u32,
    /// Address of the code that dropped it; key of `PLACES`.
    pub place: u64,
    /// Number of the connection, 0 where none is known.
    pub connection: u64,
    /// Interface of this node, 0 where none is known; of a pod's own, the node's end of it.
    pub interface: u32,
    /// IP length of the packet.
    pub length: u32,
    /// Of a queue that overflows: how many wait in it.
    pub queued: u32,
    /// Of a queue that overflows: how many may.
    pub queue_limit: u32,
}

const _: () = assert!(size_of::<DropRecord>() == 88);

/// `flags`: in the network namespace of a pod, not in the node's.
pub const DROP_IN_POD: u16 = 1;
/// `flags`: `connection` is known, and the packet goes in its direction.
pub const DROP_FORWARD: u16 = 2;
/// `flags`: `connection` is known, and the packet goes against its direction.
pub const DROP_REPLY: u16 = 4;

/// Reasons that are counted one by one: those of up to three subsystems, and the kernel's own.
pub const REASONS_MAX: u32 = 1024;

/// Index of a reason in `DROP_CLASSES` and `DROP_COUNTS`. What is beyond is counted as the number that
/// is no reason.
pub const fn reason_index(reason: u32) -> u32 {
    let (subsystem, number) = (reason >> 16, reason & 0xffff);
    if subsystem < REASONS_MAX >> 8 && number < 256 {
        subsystem << 8 | number
    } else {
        0
    }
}

/// The reason of an index.
pub const fn reason_at(index: u32) -> u32 {
    (index >> 8) << 16 | index & 0xff
}

/// What is lost is told.
pub const CLASS_TOLD: u8 = 0;
/// A normal end of a packet: only counted.
pub const CLASS_COUNTED: u8 = 1;
/// Not a drop at all.
pub const CLASS_IGNORED: u8 = 2;
/// What our own hooks drop has this reason; what others drop at the same place is told.
pub const CLASS_HOOK: u8 = 3;

/// What became of the drops of one reason.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DropCounts {
    /// Packets of endpoints that have a record.
    pub told: u64,
    /// Packets of endpoints over the budget.
    pub untold: u64,
    /// Normal ends.
    pub normal: u64,
    /// Packets of nobody that has a number here.
    pub others: u64,
}

/// How many records of drops a CPU may write in the present second.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropBudget {
    /// The second, of `CLOCK_MONOTONIC`.
    pub second: u64,
    /// Records in it.
    pub used: u64,
}

/// Code that dropped something.
#[repr(C, align(8))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Name of the function, as much of it as has room, filled up with 0.
    pub name: PlaceName,
    /// `CLASS_*` of what has no reason but the place.
    pub class: u8,
    /// Always 0.
    pub reserved: [u8; 7],
}

/// Name of a function.
pub type PlaceName = [u8; 48];

/// Functions whose drops are normal ends: where they give no reason, and from [`NORMAL_ALWAYS`] on
/// whatever they give. Empty names at the end of both.
pub type NormalPlaces = [PlaceName; 8];

/// Where functions begin that drop nothing but what has ended normally.
pub const NORMAL_ALWAYS: usize = 6;

/// Places remembered.
pub const PLACES_MAX: u32 = 1024;

/// Whose network namespace it is.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespace {
    /// Node's end of an interface in it.
    pub interface: u32,
    /// When that was found out, in seconds of `CLOCK_MONOTONIC`.
    pub second: u32,
}

/// Namespaces remembered.
pub const NAMESPACES_MAX: u32 = 4096;

/// What a program must know about the running kernel; fields are offsets in bytes unless they say
/// something else.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    /// `sk_buff.dev`
    pub skb_device: u32,
    /// `sk_buff.sk`
    pub skb_socket: u32,
    /// `sk_buff.len`
    pub skb_len: u32,
    /// `sk_buff.protocol`
    pub skb_protocol: u32,
    /// `sk_buff.head`
    pub skb_head: u32,
    /// `sk_buff.data`
    pub skb_data: u32,
    /// `sk_buff.tail`
    pub skb_tail: u32,
    /// `sk_buff.network_header`
    pub skb_network_header: u32,
    /// `net_device.ifindex`
    pub device_index: u32,
    /// `net_device.nd_net.net`
    pub device_namespace: u32,
    /// `net_device.dev_list`
    pub device_list: u32,
    /// `net_device.rtnl_link_ops`
    pub device_kind: u32,
    /// The private part of a `net_device`, and in it `veth_priv.peer`; 0 where this is not known.
    pub device_peer: u32,
    /// `rtnl_link_ops.kind`
    pub kind_name: u32,
    /// `net.ns.inum`
    pub namespace_inode: u32,
    /// `net.dev_base_head`
    pub namespace_devices: u32,
    /// `sock.__sk_common.skc_net.net`
    pub socket_namespace: u32,
    /// `sock.sk_ack_backlog`
    pub socket_queued: u32,
    /// `sock.sk_max_ack_backlog`
    pub socket_queue_limit: u32,
    /// Inode of the node's own network namespace; no offset.
    pub node_namespace: u32,
    /// Records of drops that a CPU may write in a second; no offset.
    pub records_per_second: u32,
    /// Number of the reason for which a full queue of connections drops a packet, 0 where this kernel
    /// has none; no offset.
    pub listen_overflow: u32,
    /// Number of the reason that says nothing, 0 where this kernel has none; no offset.
    pub not_specified: u32,
    /// Whether the tracepoint names the socket that the packet was for; 0 or 1.
    pub tells_socket: u32,
}

const _: () = assert!(size_of::<Layout>() == 96);
const _: () = assert!(KIND_KERNEL_DROP != 0);

#[cfg(feature = "user")]
mod pod {
    #![expect(unsafe_code, reason = "aya's marker for types that are plain bytes")]
    use super::{DropCounts, Layout, Namespace, Place};

    // SAFETY: repr(C), only integers and arrays of them, no padding.
    unsafe impl aya::Pod for DropCounts {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Layout {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Namespace {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Place {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_an_index_each_and_back() {
        for reason in [0, 2, 127, 255, 0x1_0003, 0x2_0001, 0x3_00ff] {
            assert_eq!(reason_at(reason_index(reason)), reason);
        }
        for reason in [256, 0x4_0001, u32::MAX] {
            assert_eq!(reason_index(reason), 0);
        }
    }
}
