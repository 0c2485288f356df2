//! The allocator's own calls, which no library offers.
#![expect(
    unsafe_code,
    reason = "malloc_trim(3) and mallopt(3) are functions of the C library"
)]

/// What is as large has pages of its own: the proxy's buffers are, and little else.
const LARGE_BYTES: libc::c_int = 64 << 10;

/// Has what is large come from the system, and go back there as soon as it is free. From the heap each
/// buffer would be written to its last byte before it is used (`calloc` clears what it uses again), and
/// what a flood of connections once held would stay taken.
pub(in crate::agent) fn keep_large_apart() {
    // SAFETY: no pointer is taken; it is called while there is one thread.
    let is_done = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
    if is_done == 0 {
        tracing::debug!("the allocator keeps what is large");
    }
}

/// Gives memory that is free back to the system: it would be counted as taken for ever.
pub(super) fn trim() {
    // SAFETY: it may be called at any time, by any thread; it takes no pointer.
    let _whether = unsafe { libc::malloc_trim(0) };
}
