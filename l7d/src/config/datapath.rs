//! The kernel side: programs, maps, routes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::KernelFeature;

/// Interfaces that lead out of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uplinks {
    /// These; default: none.
    Named(Vec<String>),
    /// Those of its default routes, whichever these are at a time (`auto`).
    Found,
}

impl Uplinks {
    /// Whether there is none, whatever routes there are.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Named(names) if names.is_empty())
    }
}

/// Kernel side: where things are pinned, what they are called, which bits are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datapath {
    /// Folder in a bpf filesystem; default `/sys/fs/bpf/l7d`.
    pub pin_dir: PathBuf,
    /// Folder of the network's sysctls; default `/proc/sys/net`, which containers have read-only.
    pub sysctl_dir: PathBuf,
    /// Interfaces that lead out of the node.
    pub uplinks: Uplinks,
    /// Name of the portal interface; default `l7d0`.
    pub portal: String,
    /// Routing table for packets from the portal; default 1077.
    pub table: u32,
    /// Priority of the rule that leads into it; default 99.
    pub rule_priority: u32,
    /// Packet marks.
    pub marks: Marks,
    /// Size of the kernel's ring buffer in bytes, a power of two; default 4 MiB.
    pub ring_bytes: u32,
    /// Most entries of all policies in the kernel; default 1,048,576.
    pub policy_entries: u32,
    /// Most addresses and prefixes that have an identity in the kernel; default 512,000.
    pub ipcache_entries: u32,
    /// Most connections remembered in the kernel; default: by the machine's memory, 65,536 to 524,288.
    pub connections: u32,
    /// What enforced ports do while the proxy is not there.
    pub on_proxy_down: OnProxyDown,
    /// Features of the kernel that are not used though they may be there: to find out whether one of
    /// them is at fault.
    pub without: BTreeSet<KernelFeature>,
    /// Whether policies that select this node are enforced; default: no, since they can lock out who
    /// administers it.
    pub host_firewall: bool,
}

impl Default for Datapath {
    fn default() -> Self {
        Self {
            pin_dir: PathBuf::from("/sys/fs/bpf/l7d"),
            sysctl_dir: PathBuf::from("/proc/sys/net"),
            uplinks: Uplinks::Named(Vec::new()),
            portal: "l7d0".to_owned(),
            table: 1077,
            rule_priority: 99,
            marks: Marks::default(),
            ring_bytes: 4 << 20,
            policy_entries: l7d_ebpf::maps::POLICY_MAX,
            ipcache_entries: l7d_ebpf::maps::IPCACHE_MAX,
            connections: connections(),
            on_proxy_down: OnProxyDown::default(),
            without: BTreeSet::new(),
            host_firewall: false,
        }
    }
}

/// A quarter of a percent of the machine's memory for connections, as Cilium has it.
fn connections() -> u32 {
    const SHARE: u64 = 400;
    const BYTES_EACH: u64 = 640;
    let memory = rustix::system::sysinfo();
    let bytes = u64::from(memory.mem_unit).saturating_mul(memory.totalram);
    let most = (bytes / SHARE / BYTES_EACH).clamp(1 << 16, 1 << 19);
    u32::try_from(most).unwrap_or(l7d_ebpf::maps::CONNTRACK_MAX)
}

/// Packet marks of the proxy's own packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Bits that are ours; default `0x3000`.
    pub mask: u32,
    /// On packets from the proxy to clients; default `0x1000`.
    pub reply: u32,
    /// On packets from the proxy to servers outside the cluster; default `0x2000`.
    pub upstream: u32,
    /// On packets from the proxy to servers inside the cluster; default `0x3000`.
    pub upstream_local: u32,
    /// Accept bits that kube-proxy, Calico, Cilium or the AWS VPC CNI use.
    pub allow_reserved: bool,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            mask: 0x3000,
            reply: 0x1000,
            upstream: 0x2000,
            upstream_local: 0x3000,
            allow_reserved: false,
        }
    }
}

/// What the kernel does with new connections to enforced ports while the proxy is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnProxyDown {
    /// Drop them: no request passes unjudged.
    #[default]
    Closed,
    /// Let them pass unjudged.
    Open,
}

/// What is told of packets that the kernel drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drops {
    /// Most records that a CPU writes in a second, the others are counted; default 1000.
    pub records_per_second: u32,
    /// Find out by which netfilter rule; default false. Followed live.
    pub netfilter_rules: bool,
}

impl Default for Drops {
    fn default() -> Self {
        Self {
            records_per_second: 1000,
            netfilter_rules: false,
        }
    }
}
