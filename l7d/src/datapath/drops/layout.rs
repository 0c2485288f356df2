//! Where the running kernel keeps what the programs read.

use std::os::unix::fs::MetadataExt as _;

use l7d_ebpf::drops::Layout;

use super::reasons::Reasons;
use crate::datapath::btf::{Btf, Field};

/// What the kernel does not tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// A field that the programs need.
    #[error("the kernel's BTF has no field `{field}` of {size} bytes in `{structure}`")]
    Field {
        /// Structure.
        structure: &'static str,
        /// Path of the field.
        field: &'static str,
        /// Its length.
        size: u32,
    },
    /// The node's network namespace.
    #[error("the inode of the network namespace cannot be read")]
    Namespace,
}

/// The tracepoint's arguments where the last one is the socket.
const ARGUMENTS_WITH_SOCKET: usize = 4;
/// The private part of an interface's structure begins at a multiple of this (`NETDEV_ALIGN`).
const PRIVATE_ALIGN: u32 = 32;

/// Finds out everything.
pub(super) fn find<'b>(
    kernel: &'b Btf<'b>,
    modules: &[Btf<'b>],
    reasons: &Reasons,
    records_per_second: u32,
) -> Result<Layout, Unknown> {
    let at = |structure, field, size| {
        let found = kernel.field(structure, field);
        let found = found.filter(|found: &Field| found.size == size);
        let missing = Unknown::Field {
            structure,
            field,
            size,
        };
        found.map(|found| found.offset).ok_or(missing)
    };
    let arguments = kernel.tracepoint_arguments("kfree_skb");
    Ok(Layout {
        skb_device: at("sk_buff", "dev", 8)?,
        skb_socket: at("sk_buff", "sk", 8)?,
        skb_len: at("sk_buff", "len", 4)?,
        skb_protocol: at("sk_buff", "protocol", 2)?,
        skb_head: at("sk_buff", "head", 8)?,
        skb_data: at("sk_buff", "data", 8)?,
        skb_tail: at("sk_buff", "tail", 4)?,
        skb_network_header: at("sk_buff", "network_header", 2)?,
        device_index: at("net_device", "ifindex", 4)?,
        device_namespace: at("net_device", "nd_net.net", 8)?,
        device_list: at("net_device", "dev_list", 16)?,
        device_kind: at("net_device", "rtnl_link_ops", 8)?,
        device_peer: peer(kernel, modules),
        kind_name: at("rtnl_link_ops", "kind", 8)?,
        namespace_inode: at("net", "ns.inum", 4)?,
        namespace_devices: at("net", "dev_base_head", 16)?,
        socket_namespace: at("sock", "__sk_common.skc_net.net", 8)?,
        socket_queued: at("sock", "sk_ack_backlog", 4)?,
        socket_queue_limit: at("sock", "sk_max_ack_backlog", 4)?,
        node_namespace: namespace().ok_or(Unknown::Namespace)?,
        records_per_second,
        listen_overflow: reasons.number("TCP_LISTEN_OVERFLOW"),
        not_specified: reasons.number("NOT_SPECIFIED"),
        tells_socket: u32::from(arguments >= Some(ARGUMENTS_WITH_SOCKET)),
    })
}

/// The other end of a veth interface; 0 where nobody says where it is.
fn peer<'b>(kernel: &'b Btf<'b>, modules: &[Btf<'b>]) -> u32 {
    let veth = std::iter::once(kernel)
        .chain(modules)
        .find_map(|types| types.field("veth_priv", "peer"));
    let private = kernel
        .field("net_device", "priv")
        .map(|found| found.offset)
        .or_else(|| Some(kernel.size("net_device")?.next_multiple_of(PRIVATE_ALIGN)));
    match (veth, private) {
        (Some(veth), Some(private)) => private + veth.offset,
        _ => 0,
    }
}

/// Inode of this process's network namespace.
fn namespace() -> Option<u32> {
    let metadata = std::fs::metadata("/proc/self/ns/net").ok()?;
    u32::try_from(metadata.ino()).ok()
}
