//! Waiting for the kernel's readers.
#![expect(unsafe_code, reason = "a system call that no library of ours wraps")]

/// `MEMBARRIER_CMD_GLOBAL` (`include/uapi/linux/membarrier.h`): waits for an RCU grace period, and
/// programs run inside RCU's read side.
const GLOBAL: libc::c_int = 1;

/// Waits until every program that was running has ended. False where the kernel refuses: without the
/// call, or with CPUs that take no ticks.
pub(super) fn wait() -> bool {
    // SAFETY: the call takes three integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) };
    result == 0
}
