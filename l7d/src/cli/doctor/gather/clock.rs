//! Whether the kernel's clock follows another one: adjtimex(2), which anybody may ask.
#![expect(unsafe_code, reason = "no library offers adjtimex")]

/// `STA_UNSYNC` of `include/uapi/linux/timex.h`.
const UNSYNCHRONISED: i32 = 0x40;

/// `None` where the kernel does not say.
pub(super) fn is_synchronised() -> Option<bool> {
    // SAFETY: all zeros is a valid `timex`; with no bit in `modes` it only asks.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a `timex` of our own that outlives the call.
    let answer = unsafe { libc::adjtimex(&raw mut state) };
    (answer >= 0).then_some(state.status & UNSYNCHRONISED == 0)
}
