//! Features of the kernel that the agent can do without.

/// Something that a kernel may lack, or that the agent is told not to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KernelFeature {
    /// The kernel's description of its own types: reasons of drops.
    Btf,
    /// Programs on sockets of this host's own processes.
    CgroupHooks,
    /// A clock that is read from memory.
    CoarseClock,
    /// Netfilter's table of connections, by netlink.
    ConntrackNetlink,
    /// Handing a packet to a group of listeners.
    ReuseportAssign,
    /// Links of programs on interfaces.
    Tcx,
}

impl KernelFeature {
    /// All, as the configuration names them.
    pub const NAMES: [(&'static str, Self); 6] = [
        ("btf", Self::Btf),
        ("cgroup-hooks", Self::CgroupHooks),
        ("coarse-clock", Self::CoarseClock),
        ("conntrack-netlink", Self::ConntrackNetlink),
        ("reuseport-assign", Self::ReuseportAssign),
        ("tcx", Self::Tcx),
    ];
}
