//! What happens to a packet.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};

use crate::state::SHOT;

/// It passes: the next program on the interface is asked, ours being one of several perhaps.
pub(crate) const PASS: i32 = TC_ACT_UNSPEC;
/// It is dropped. Whoever says so has told why.
pub(crate) const DROP: i32 = TC_ACT_SHOT;

/// Notes that the kernel frees the packet at hand because of us, where `action` says so: its own word of
/// it is not told again. It does that right behind the program, on the same CPU, with no other packet in
/// between.
#[inline(always)]
pub(crate) fn note(action: i32) -> i32 {
    if action == DROP
        && let Some(shot) = SHOT.get_ptr_mut(0)
    {
        // SAFETY: this CPU's own word.
        unsafe { *shot = 1 };
    }
    action
}
