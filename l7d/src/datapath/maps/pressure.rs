//! How full the maps are, and what did not fit.

/// Entries of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// Name of the map.
    pub map: &'static str,
    /// Entries in it.
    pub used: usize,
    /// Entries that it has room for.
    pub max: usize,
}

/// Something that found no room in a map. Everything that it stands for is closed, never open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Shortage {
    /// Addresses have no identity.
    #[error(
        "kernel map IPCACHE is full: {addresses} addresses have no identity there, and endpoints with \
         policy drop what comes from or goes to any address that it does not have; raise \
         datapath.ipcacheEntries, and start anew after `l7d agent --cleanup`"
    )]
    Addresses {
        /// How many.
        addresses: usize,
    },
    /// An endpoint's audited policy is not told about.
    #[error(
        "kernel map POLICY is full: what the audited policies of endpoint {endpoint} would deny is not \
         told; name fewer peers, or raise datapath.policyEntries, and start anew after `l7d agent \
         --cleanup`"
    )]
    Audit {
        /// Its number.
        endpoint: u16,
    },
    /// Entries of an endpoint's policy.
    #[error(
        "kernel map POLICY is full: {entries} entries of the policy of endpoint {endpoint} found no \
         room, and what they would allow is dropped; name fewer peers, or raise \
         datapath.policyEntries, and start anew after `l7d agent --cleanup`"
    )]
    Policy {
        /// Its number.
        endpoint: u16,
        /// Entries that are not there.
        entries: usize,
    },
    /// There are more different policies than the kernel's map can tell apart.
    #[error(
        "kernel map POLICY has no slot left for the policy of endpoint {endpoint}: everything that it \
         sends and receives is dropped until other policies are gone"
    )]
    Slots {
        /// Its number.
        endpoint: u16,
    },
}

impl Shortage {
    /// The endpoint that it is about.
    pub fn endpoint(&self) -> Option<u16> {
        match self {
            Self::Addresses { .. } => None,
            Self::Audit { endpoint } | Self::Policy { endpoint, .. } | Self::Slots { endpoint } => {
                Some(*endpoint)
            }
        }
    }
}
