//! Address → identity.

use aya_ebpf::maps::lpm_trie::Key;
use l7d_ebpf::maps::{IDENTITY_WORLD, Ipcache};

use crate::state::IPCACHE;

const WORLD: Ipcache = Ipcache {
    identity: IDENTITY_WORLD,
    endpoint: 0,
    flags: 0,
};

/// Who an address is; what nobody named is the world.
#[inline(always)]
pub(crate) fn look_up(address: &[u8; 16]) -> Ipcache {
    IPCACHE
        .get(&Key::new(128, *address))
        .copied()
        .unwrap_or(WORLD)
}
