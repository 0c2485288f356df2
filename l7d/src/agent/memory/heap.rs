//! The allocator's own calls, which no library offers.
#![expect(unsafe_code, reason = "malloc_trim(3) is a function of the C library")]

/// Gives memory that is free back to the system: it would be counted as taken for ever.
pub(super) fn trim() {
    // SAFETY: it may be called at any time, by any thread; it takes no pointer.
    let _whether = unsafe { libc::malloc_trim(0) };
}
