//! Addresses, moved by words: moved by bytes they are calls in a kernel program.
//!
//! All structs of the programs begin with their addresses or keep them at multiples of four bytes.

use super::words::copy_address;

/// The middle of an IPv4 address mapped into IPv6 (RFC 4291 §2.5.5.2), as a word in memory.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

type Words = [u32; 4];

/// Writes an address, given as it lies in memory.
#[inline(always)]
pub(crate) fn set(to: &mut [u8; 16], words: Words) {
    let to = to.as_mut_ptr().cast::<u32>();
    for (at, word) in words.into_iter().enumerate() {
        // SAFETY: sixteen bytes, aligned as said above.
        unsafe { to.add(at).write_volatile(word) };
    }
}

/// Writes an IPv4 address, given as it lies in memory, mapped into IPv6: one key type serves both
/// families.
#[inline(always)]
pub(crate) fn set_ipv4(to: &mut [u8; 16], address: u32) {
    set(to, [0, 0, MAPPED, address]);
}

/// An address as it lies in memory.
#[inline(always)]
pub(crate) fn words(address: &[u8; 16]) -> Words {
    // SAFETY: as in `set`.
    unsafe { *address.as_ptr().cast::<Words>() }
}

/// Whether it is one of 224.0.0.0/4 (RFC 5771 §3), mapped.
#[inline(always)]
pub(crate) fn is_multicast_ipv4(address: &[u8; 16]) -> bool {
    let [first, second, third, own] = words(address);
    first | second == 0 && third == MAPPED && u32::from_be(own) >> 28 == 0xe
}

/// Copies an address.
#[inline(always)]
pub(crate) fn copy(to: &mut [u8; 16], from: &[u8; 16]) {
    copy_address(to, from);
}

/// Compares two addresses in some fixed order; `None` where they are the same.
#[inline(always)]
pub(crate) fn is_smaller(left: &[u8; 16], right: &[u8; 16]) -> Option<bool> {
    let (left, right) = (words(left), words(right));
    // From the end: addresses of one family begin alike.
    for word in (0..4).rev() {
        if left[word] != right[word] {
            return Some(left[word] < right[word]);
        }
    }
    None
}
