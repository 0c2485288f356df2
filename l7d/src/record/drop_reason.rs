//! Why a packet was dropped, by Hubble's numbers.

/// A drop reason. The number is Hubble's `drop_reason_desc` (and the drop event's sub-type).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DropReason(pub u8);

impl DropReason {
    /// No rule allowed it.
    pub const POLICY_DENIED: Self = Self(133);
    /// A deny rule forbade it.
    pub const POLICY_DENY: Self = Self(181);
    /// The packet's own headers make no sense.
    pub const INVALID_PACKET: Self = Self(134);
    /// The port is enforced by the proxy, and the proxy is not there.
    pub const PROXY_UNAVAILABLE: Self = Self(205);
    /// The map of policy could not be read for this endpoint yet.
    pub const ENDPOINT_NOT_READY: Self = Self(203);
}
