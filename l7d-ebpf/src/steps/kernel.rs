//! The kernel's own memory: fields at places that user space has found out.

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// A member of [`crate::state::LAYOUT`]. The verifier knows its value: what depends on it costs
/// nothing.
macro_rules! layout {
    ($field:ident) => {{
        // SAFETY: a read of a constant that the loader has filled in; volatile, or the compiler would
        // take it for what it is in the object file.
        unsafe { core::ptr::read_volatile(&raw const $crate::state::LAYOUT.$field) }
    }};
}
pub(crate) use layout;

/// Reads what is `offset` bytes behind an address; `None` where nothing is.
#[inline(always)]
pub(crate) fn read<T>(address: u64, offset: u32) -> Option<T> {
    if address == 0 {
        return None;
    }
    let place = address.wrapping_add(u64::from(offset)) as *const T;
    // SAFETY: the helper reads any address, and fails where there is no memory. The types that are
    // read are integers and arrays of them.
    unsafe { bpf_probe_read_kernel(place) }.ok()
}

/// Reads a pointer; `None` where it is null as well.
#[inline(always)]
pub(crate) fn follow(address: u64, offset: u32) -> Option<u64> {
    read::<u64>(address, offset).filter(|pointer| *pointer != 0)
}
