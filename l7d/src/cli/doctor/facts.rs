//! What was found on a machine, before anything is concluded from it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::{Config, KernelFeature};
use crate::kube::Server;

/// Something that was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look<T> {
    /// It was seen.
    Seen(T),
    /// It could not be looked at: with which right it can.
    Hidden(String),
}

impl<T> Look<T> {
    /// What was seen.
    pub(super) fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(seen) => Some(seen),
            Self::Hidden(_) => None,
        }
    }
}

/// Everything.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// The version of this binary.
    pub(super) version: String,
    pub(super) configured: Configured,
    pub(super) kernel: Kernel,
    pub(super) rights: Rights,
    pub(super) network: Network,
    pub(super) machine: Machine,
    pub(super) agent: Agent,
    /// What the API server said, where one is configured, or why nothing.
    pub(super) cluster: Option<Result<Server, String>>,
}

/// The agent's configuration.
#[derive(Debug, Clone)]
pub(super) struct Configured {
    /// Its file, where one is given or there by default.
    pub(super) file: Option<PathBuf>,
    /// Why it cannot be used; the defaults are looked at then.
    pub(super) trouble: Option<String>,
    pub(super) config: Config,
}

/// A feature of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Feature {
    pub(super) name: String,
    /// Which one, of those that something takes the place of.
    pub(super) replaced: Option<KernelFeature>,
    /// `None` where it could not be asked for.
    pub(super) is_there: Option<bool>,
    /// Nothing takes its place.
    pub(super) is_needed: bool,
    /// What happens without it.
    pub(super) otherwise: String,
}

/// The kernel.
#[derive(Debug, Clone, Default)]
pub(super) struct Kernel {
    pub(super) release: String,
    pub(super) features: Vec<Feature>,
    /// Whether the folder of pins is, or would be, in a bpf filesystem.
    pub(super) has_bpf_filesystem: bool,
    /// Where the cgroup v2 hierarchy is mounted.
    pub(super) cgroup: Option<PathBuf>,
    /// `net.core.bpf_jit_enable`.
    pub(super) jit: Option<u64>,
    /// The programs are in this binary.
    pub(super) has_programs: bool,
}

/// What this process may do, and what bounds it.
#[derive(Debug, Clone)]
pub(super) struct Rights {
    pub(super) is_root: bool,
    /// Effective capabilities, a bit each.
    pub(super) capabilities: u64,
    /// What seccomp of this kernel can do; empty without it.
    pub(super) seccomp: Vec<String>,
    /// A filter of somebody else's is in force already.
    pub(super) is_filtered: bool,
    /// landlock's version, or why there is none.
    pub(super) landlock: Result<u32, String>,
    /// Modules that judge what processes do.
    pub(super) modules: Look<Vec<String>>,
    /// `lockdown`: `none`, `integrity` or `confidentiality`.
    pub(super) lockdown: Option<String>,
    /// The profile of `AppArmor` or `SELinux`'s context that is in force for this process.
    pub(super) profile: Option<String>,
    /// The limit of locked memory in bytes; `None` is none.
    pub(super) locked_memory: Option<u64>,
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    /// `veth`, `bridge`, …; empty for a device.
    pub(super) kind: String,
    /// The bridge that it is a port of.
    pub(super) master: Option<String>,
}

/// A plug-in's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plugin {
    pub(super) file: String,
    /// Its types, first one first.
    pub(super) types: Vec<String>,
}

/// A rule of routing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) priority: u32,
    /// Mark and mask that a packet must have.
    pub(super) mark: Option<(u32, u32)>,
    /// The interface that a packet must have come in by.
    pub(super) interface: Option<String>,
    pub(super) table: String,
}

/// A place of nftables that writes marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marking {
    /// Family, table and chain.
    pub(super) place: String,
    /// The bits that it sets.
    pub(super) bits: u32,
}

/// What is known of nftables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tables {
    /// There are chains of kube-proxy in its nftables mode.
    pub(super) is_kube_proxy_nftables: bool,
    /// The same in its iptables mode.
    pub(super) is_kube_proxy_iptables: bool,
    pub(super) markings: Vec<Marking>,
}

/// The node's network.
#[derive(Debug, Clone)]
pub(super) struct Network {
    /// Why there is no `ip`, or `nft`, to be run.
    pub(super) missing_tools: Vec<String>,
    pub(super) interfaces: Vec<Interface>,
    pub(super) plugins: Look<Vec<Plugin>>,
    pub(super) rules: Vec<Rule>,
    pub(super) tables: Look<Tables>,
    /// Tables that iptables-legacy has rules in.
    pub(super) legacy_tables: Look<Vec<String>>,
    /// Sysctls of the network by name below `net`, such as `ipv4/ip_forward`.
    pub(super) sysctls: BTreeMap<String, String>,
    /// Whether sysctls can be written where the agent writes them; not known without its rights.
    pub(super) can_write_sysctls: Look<bool>,
    /// Interfaces of default routes.
    pub(super) uplinks: Vec<String>,
    /// Ports that are listened on.
    pub(super) listening: Vec<u16>,
}

/// The machine.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    /// Seconds since 1970.
    pub(super) time: i64,
    /// The kernel says that its clock follows another one; `None` where it does not say.
    pub(super) is_synchronised: Option<bool>,
    /// Bytes that could be had without swapping.
    pub(super) memory: Option<u64>,
    /// Bytes that a cgroup's limit leaves.
    pub(super) memory_left: Option<u64>,
    /// Most open files of a process.
    pub(super) descriptors: Option<u64>,
    /// The disk that `stateDir` is on, or would be.
    pub(super) state: Disk,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Disk {
    /// It can be written to, and has so many bytes.
    Writable { free: u64 },
    /// Why it cannot.
    Unwritable(String),
    /// It did not answer within a moment.
    Silent,
}

/// An agent that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) version: String,
    /// What it warns of.
    pub(super) warnings: Vec<String>,
    /// What it has given up; empty from agents that do not tell.
    pub(super) rights: String,
    /// Its effective capabilities, where its process is seen.
    pub(super) capabilities: Option<u64>,
}

/// Agents on this node.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    /// The one that runs, if any.
    pub(super) running: Look<Option<Running>>,
    /// Versions of the kernel's interface that something is pinned for.
    pub(super) pins: Look<Vec<String>>,
    /// The version of this binary's programs.
    pub(super) own_pins: String,
    /// System calls of an l7d that the kernel's log says were refused, by number.
    pub(super) refused: Look<Vec<u32>>,
}
