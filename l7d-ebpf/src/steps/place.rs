//! Code that drops packets: its name, once for each place.

use aya_ebpf::cty::c_char;
use aya_ebpf::helpers::generated::bpf_snprintf;
use l7d_ebpf::drops::{
    CLASS_COUNTED, CLASS_IGNORED, CLASS_TOLD, NORMAL_ALWAYS, NormalPlaces, Place, PlaceName,
};

use crate::state::{NORMAL_PLACES, PLACE_FORMAT, PLACES};

/// Functions that have normal ends.
const PLACES_MAX: usize = size_of::<NormalPlaces>() / size_of::<PlaceName>();
/// Words of a name.
const WORDS: usize = size_of::<PlaceName>() / size_of::<u64>();

/// Whether what is dropped at a place of a class ended normally.
#[inline(always)]
pub(crate) fn is_end(class: u8, has_reason: bool) -> bool {
    class == CLASS_IGNORED || (class == CLASS_COUNTED && !has_reason)
}

/// What becomes of packets that are dropped there: told, counted where no reason is given, or counted
/// whatever it is (`CLASS_IGNORED`); `None` while nothing was.
#[inline(always)]
pub(crate) fn class(address: u64) -> Option<u8> {
    // SAFETY: one byte is read of an element that is written once.
    unsafe { PLACES.get(&address) }.map(|place| place.class)
}

/// Writes down what the code at an address is called, the first time it drops something, and gives its
/// class. The kernel tells programs, though it hides its addresses from whoever reads them.
#[inline(always)]
pub(crate) fn name(address: u64, place: &mut Place) -> u8 {
    if address == 0 {
        return CLASS_TOLD;
    }
    if let Some(class) = class(address) {
        return class;
    }
    write(address, place);
    cut(&mut place.name);
    place.class = class_of(&place.name);
    // Where there is no room, the place has no name in the record.
    let _ = PLACES.insert(&address, &*place, 0);
    place.class
}

#[inline(always)]
fn write(address: u64, place: &mut Place) {
    *place = Place {
        name: [0; size_of::<PlaceName>()],
        class: CLASS_TOLD,
        reserved: [0; 7],
    };
    let mut argument = address;
    // SAFETY: the format asks for one word and is ended by 0; the kernel writes no more than there is
    // room for, its last 0 included.
    unsafe {
        bpf_snprintf(
            place.name.as_mut_ptr().cast(),
            size_of::<PlaceName>() as u32,
            (&raw const PLACE_FORMAT).cast::<c_char>(),
            &raw mut argument,
            size_of::<u64>() as u32,
        );
    }
}

/// Leaves the function of `function.part.0+0x1f/0x2e0`.
#[inline(always)]
fn cut(name: &mut PlaceName) {
    let mut is_over = false;
    for byte in name {
        is_over |= *byte == b'+' || *byte == b'.';
        if is_over {
            *byte = 0;
        }
    }
}

#[inline(always)]
fn class_of(name: &PlaceName) -> u8 {
    let own = name.as_ptr().cast::<u64>();
    let all = (&raw const NORMAL_PLACES).cast::<u64>();
    for index in 0..PLACES_MAX {
        let is_same = (0..WORDS).all(|word| {
            // SAFETY: within both arrays, and aligned: a place begins with its name, and names are
            // whole words; volatile, since the loader has filled in the second.
            unsafe {
                core::ptr::read_unaligned(own.add(word))
                    == core::ptr::read_volatile(all.add(index * WORDS + word))
            }
        });
        if is_same {
            return if index < NORMAL_ALWAYS {
                CLASS_COUNTED
            } else {
                CLASS_IGNORED
            };
        }
    }
    CLASS_TOLD
}
