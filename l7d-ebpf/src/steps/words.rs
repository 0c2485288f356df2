//! Values moved by words. Left to itself the compiler makes calls of it, and those go byte by byte: twenty
//! nanoseconds for twenty-four bytes.

use core::mem::offset_of;
use core::ptr;

use l7d_ebpf::maps::{Tuple, Verdict};

/// Copies a value that stands at multiples of four bytes, as all in maps and in the ring do.
#[inline(always)]
pub(crate) fn copy<T: Copy>(to: &mut T, from: &T) {
    const { assert!(size_of::<T>().is_multiple_of(4)) };
    // SAFETY: both are as large as is said.
    unsafe { copy_at::<T>(ptr::from_mut(to).cast(), ptr::from_ref(from).cast()) };
}

/// Copies an address.
#[inline(always)]
pub(crate) fn copy_address(to: &mut [u8; 16], from: &[u8; 16]) {
    // SAFETY: both are as large as is said; addresses stand at multiples of four bytes.
    unsafe { copy_at::<[u8; 16]>(to.as_mut_ptr().cast(), from.as_ptr().cast()) };
}

/// Sets the protocol of a tuple, and the zeros behind it.
#[inline(always)]
pub(crate) fn set_protocol(tuple: &mut Tuple, protocol: u8) {
    let word = u32::from_ne_bytes([protocol, 0, 0, 0]);
    // SAFETY: the protocol begins the last word of a tuple.
    unsafe {
        ptr::from_mut(&mut tuple.protocol)
            .cast::<u32>()
            .write_volatile(word)
    };
}

const _: () = assert!(offset_of!(Tuple, protocol) + 4 == size_of::<Tuple>());

/// Makes all of a value zero.
///
/// # Safety
/// Every byte of a `T` may be zero, and it stands at a multiple of its words, of four or eight bytes.
#[inline(always)]
pub(crate) unsafe fn clear<T>(value: &mut T) {
    const { assert!(size_of::<T>().is_multiple_of(4)) };
    let to = ptr::from_mut(value);
    if size_of::<T>().is_multiple_of(8) && align_of::<T>() == 8 {
        for word in 0..size_of::<T>() / 8 {
            // SAFETY: inside of the value.
            unsafe { to.cast::<u64>().add(word).write_volatile(0) };
        }
    } else {
        for word in 0..size_of::<T>() / 4 {
            // SAFETY: inside of the value.
            unsafe { to.cast::<u32>().add(word).write_volatile(0) };
        }
    }
}

/// Forgets verdicts.
#[inline(always)]
pub(crate) fn forget(verdicts: &mut [Verdict; 2]) {
    // SAFETY: nothing but integers.
    unsafe { clear(verdicts) };
}

/// # Safety
/// Both places have as many bytes as a `T`, and are multiples of four.
#[inline(always)]
unsafe fn copy_at<T>(to: *mut u32, from: *const u32) {
    for word in 0..size_of::<T>() / 4 {
        // SAFETY: inside of both.
        unsafe { ptr::write_volatile(to.add(word), ptr::read_volatile(from.add(word))) };
    }
}
