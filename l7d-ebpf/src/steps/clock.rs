//! Time, as precise as each use needs it.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use l7d_ebpf::maps::MOMENT_SHIFT;

/// Whether the kernel has `bpf_ktime_get_coarse_ns` (5.11); user space writes it before the programs
/// are loaded, and the verifier drops the branch that is not taken.
#[unsafe(no_mangle)]
static COARSE_CLOCK: u32 = 1;

/// Moments of the present, never 0. Reading the precise clock for each packet would be a tenth of all
/// that is done with it.
#[inline(always)]
pub(crate) fn moment() -> u32 {
    // SAFETY: read-only data that user space may have changed before the program was loaded.
    let is_coarse = unsafe { core::ptr::read_volatile(&raw const COARSE_CLOCK) } != 0;
    // SAFETY: plain helper calls.
    let now = unsafe {
        if is_coarse {
            bpf_ktime_get_coarse_ns()
        } else {
            bpf_ktime_get_ns()
        }
    };
    (now >> MOMENT_SHIFT) as u32 | 1
}

/// Microseconds of the present; they wrap after 71 minutes.
#[inline(always)]
pub(crate) fn micros() -> u32 {
    // SAFETY: a plain helper call.
    let now = unsafe { bpf_ktime_get_ns() };
    (now / 1000) as u32
}
