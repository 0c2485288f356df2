//! Whether a reader of a ring must be woken: that takes longer than everything else about a record.

use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::maps::Array;
use l7d_ebpf::maps::READER_ASLEEP;

/// The flags to give a ring a record with, by the state of its reader.
#[inline(always)]
pub(crate) fn flags(reader: &Array<u32>) -> u64 {
    u64::from(if reader.get(0) == Some(&READER_ASLEEP) {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    })
}
