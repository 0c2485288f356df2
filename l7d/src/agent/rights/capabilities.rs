//! Capabilities. They are a thread's own, so this comes before any other thread.

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

/// What the agent has a use for.
const USED: [CapabilitySet; 6] = [
    CapabilitySet::BPF,
    // Configuration and policies of somebody else.
    CapabilitySet::DAC_OVERRIDE,
    CapabilitySet::NET_ADMIN,
    // Listeners of the API, and clients' ports below 1024.
    CapabilitySet::NET_BIND_SERVICE,
    CapabilitySet::NET_RAW,
    CapabilitySet::PERFMON,
];
/// As many as fit; the kernel knows of 41.
const NUMBERS: std::ops::Range<u32> = 0..64;

/// Gives up everything else. What cannot be given up is no reason not to start.
pub(super) fn lessen() {
    raise_locked_memory();
    if let Err(error) = try_lessen() {
        tracing::warn!(%error, "the agent keeps rights that it has no use for");
    }
}

fn try_lessen() -> rustix::io::Result<()> {
    let used = USED
        .into_iter()
        .fold(CapabilitySet::empty(), CapabilitySet::union);
    let before = capabilities(None)?;
    let kept = before.permitted & used;
    if before.effective.contains(CapabilitySet::SETPCAP) {
        let all = NUMBERS.map(|number| CapabilitySet::from_bits_retain(1 << number));
        for capability in all.filter(|capability| !used.contains(*capability)) {
            // The kernel does not know of all of them.
            if capability_is_in_bounding_set(capability).unwrap_or(false) {
                remove_capability_from_bounding_set(capability)?;
            }
        }
    }
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: kept,
        },
    )?;
    // `ip` and `nft` of an agent that is not root have them by this alone.
    for capability in USED.into_iter().filter(|of| kept.contains(*of)) {
        configure_capability_in_ambient_set(capability, true)?;
    }
    set_no_new_privs(true)
}

/// Kernels before 5.11 count the memory of maps against this limit; the others pay no heed to it.
fn raise_locked_memory() {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    if let Err(error) = setrlimit(Resource::Memlock, unlimited) {
        tracing::debug!(%error, "the limit of locked memory stays: kernels before 5.11 may have no room for maps");
    }
}
