//! Whose network namespace a packet is in. Drops are told by the whole kernel, and other namespaces may
//! have the very addresses of this node's pods.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use l7d_ebpf::drops::Namespace;

use super::freed::Freed;
use super::kernel::{self, layout};
use crate::state::{INTERFACES, NAMESPACES};

/// Interfaces of a namespace that are looked at.
const DEVICES_MAX: usize = 8;
/// The name of the kind of interface of which the other end is known, with its last 0.
const VETH: [u8; 5] = *b"veth\0";

/// Where a packet is.
#[derive(Clone, Copy)]
pub(crate) struct Spot {
    /// Interface of this node, 0 where none is known.
    pub(crate) interface: u32,
    /// In a pod's namespace, not in the node's.
    pub(crate) is_pod: bool,
}

/// Where the packet is; `None` where that is none of this node's business. What a kernel that tells
/// less does not let us find out counts as ours.
#[inline(always)]
pub(crate) fn spot(freed: &Freed) -> Option<Spot> {
    let unknown = Spot {
        interface: 0,
        is_pod: false,
    };
    let device = kernel::follow(freed.skb, layout!(skb_device));
    let (namespace, index) = match device.and_then(named) {
        Some(found) => found,
        None => match of_socket(freed) {
            Some(namespace) => (namespace, 0),
            // What newer kernels name no socket for has left its interface and its socket.
            None => return (layout!(tells_socket) == 0).then_some(unknown),
        },
    };
    let inode: u32 = kernel::read(namespace, layout!(namespace_inode))?;
    if inode == layout!(node_namespace) {
        return Some(Spot {
            interface: index,
            is_pod: false,
        });
    }
    if layout!(device_peer) == 0 {
        return Some(unknown);
    }
    let interface = of_pod(namespace, inode)?;
    Some(Spot {
        interface,
        is_pod: true,
    })
}

/// The namespace and the number of an interface. While a packet is in a queue, other things lie where
/// its interface was: they have no namespace that can be read.
#[inline(always)]
fn named(device: u64) -> Option<(u64, u32)> {
    let namespace = kernel::follow(device, layout!(device_namespace))?;
    kernel::read::<u32>(namespace, layout!(namespace_inode)).filter(|inode| *inode != 0)?;
    let index: u32 = kernel::read(device, layout!(device_index))?;
    Some((namespace, index))
}

#[inline(always)]
fn of_socket(freed: &Freed) -> Option<u64> {
    let socket = if freed.socket == 0 {
        kernel::follow(freed.skb, layout!(skb_socket))?
    } else {
        freed.socket
    };
    kernel::follow(socket, layout!(socket_namespace))
}

/// The node's end of an interface of the namespace, as found out within the last second. That there is
/// none is not remembered: its interface may be hooked in the next moment.
#[inline(always)]
fn of_pod(namespace: u64, inode: u32) -> Option<u32> {
    // SAFETY: a plain helper call.
    let second = (unsafe { bpf_ktime_get_ns() } / 1_000_000_000) as u32;
    // SAFETY: the value is copied at once; it is replaced as a whole.
    let known = unsafe { NAMESPACES.get(&inode) }.copied();
    let interface = match known {
        Some(known) if known.second == second => known.interface,
        _ => {
            let interface = find(namespace);
            if interface != 0 {
                let found = Namespace { interface, second };
                // Where there is no room it is found out again.
                let _ = NAMESPACES.insert(&inode, &found, 0);
            }
            interface
        }
    };
    (interface != 0).then_some(interface)
}

/// Looks for an interface whose other end is hooked on this node; 0 where there is none.
#[inline(never)]
fn find(namespace: u64) -> u32 {
    let mut next = match kernel::follow(namespace, layout!(namespace_devices)) {
        Some(next) => next,
        None => return 0,
    };
    for _ in 0..DEVICES_MAX {
        let device = next.wrapping_sub(u64::from(layout!(device_list)));
        if let Some(interface) = other_end(device) {
            return interface;
        }
        match kernel::follow(next, 0) {
            Some(further) => next = further,
            None => return 0,
        }
    }
    0
}

#[inline(always)]
fn other_end(device: u64) -> Option<u32> {
    let kind = kernel::follow(device, layout!(device_kind))?;
    let name = kernel::follow(kind, layout!(kind_name))?;
    if kernel::read::<[u8; 5]>(name, 0)? != VETH {
        return None;
    }
    let peer = kernel::follow(device, layout!(device_peer))?;
    let (namespace, index) = named(peer)?;
    let inode: u32 = kernel::read(namespace, layout!(namespace_inode))?;
    // SAFETY: only the presence of the key matters.
    let is_ours = inode == layout!(node_namespace) && unsafe { INTERFACES.get(&index) }.is_some();
    is_ours.then_some(index)
}
