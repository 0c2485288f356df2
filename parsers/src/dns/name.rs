//! Domain names, as they lie in a message.
//!
//! ```text
//!   3 w w w  7 e x a m p l e  0        labels, the empty one ends the name
//!   3 f o o  ►12                       labels, then a pointer to where the name goes on
//! ```
//!
//! A pointer leads to a *prior* occurrence of the name (RFC 1035 §4.1.4). Each must lead further
//! back than where the run of labels it ends began: a loop cannot be written.

#![deny(clippy::arithmetic_side_effects)]

use std::fmt;
use std::hash::{Hash, Hasher};

use super::text;
use crate::error::{Error, Fault};

/// A name in a message.
///
/// Written as master files write it (RFC 1035 §5.1): absolute, with a dot at the end, what is not
/// plain text escaped; the root is `.`. `{:#}` leaves the last dot away. Equality and hash disregard
/// the case of ASCII letters (RFC 4343).
#[derive(Clone, Copy)]
pub struct Name<'b> {
    message: &'b [u8],
    start: usize,
}

/// The labels of a name, outermost last, without the empty one.
#[derive(Debug, Clone)]
pub struct Labels<'b> {
    message: &'b [u8],
    at: usize,
}

/// Offset of the first byte that can belong to a name.
const HEADER_BYTES: usize = 12;
/// More pointers than a name has labels are no compression, but work made for its readers.
const POINTERS_MAX: u8 = 127;

const FORWARD: Error = Error::new(
    Fault::Malformed,
    "dns-pointer-not-backwards",
    "RFC 1035 §4.1.4",
);
const POINTERS: Error = Error::new(Fault::TooLarge, "dns-too-many-pointers", "RFC 1035 §4.1.4");
const LABEL_TYPE: Error = Error::new(Fault::Malformed, "dns-label-type", "RFC 6891 §5");
const TOO_LONG: Error = Error::new(Fault::TooLarge, "dns-name-too-long", "RFC 1035 §3.1");
const CUT: Error = Error::new(Fault::Truncated, "dns-name-cut-short", "RFC 1035 §3.1");

impl<'b> Name<'b> {
    /// Longest name in bytes, length bytes and the empty label counted (RFC 1035 §3.1). It has at
    /// most 127 labels.
    pub const WIRE_MAX: usize = 255;
    /// Room for any name as text: each byte of it may need four characters.
    pub const TEXT_MAX: usize = 1024;

    /// Checks the name at `start` to its end; gives it and the offset behind its place.
    pub(super) fn read(message: &'b [u8], start: usize) -> Result<(Self, usize), Error> {
        let mut at = start;
        let mut run_start = start;
        let mut after = None;
        let mut wire: usize = 1;
        let mut pointers: u8 = 0;
        loop {
            let head = *message.get(at).ok_or(CUT)?;
            match head {
                0 => {
                    let after = after.unwrap_or(at.saturating_add(1));
                    return Ok((Self { message, start }, after));
                }
                1..=63 => {
                    let label = usize::from(head).saturating_add(1);
                    wire = wire.saturating_add(label);
                    if wire > Self::WIRE_MAX {
                        return Err(TOO_LONG);
                    }
                    at = at.saturating_add(label);
                }
                192.. => {
                    let low = *message.get(at.saturating_add(1)).ok_or(CUT)?;
                    let target = pointed_at(head, low);
                    if target >= run_start || target < HEADER_BYTES {
                        return Err(FORWARD);
                    }
                    if pointers >= POINTERS_MAX {
                        return Err(POINTERS);
                    }
                    pointers = pointers.saturating_add(1);
                    after = after.or(Some(at.saturating_add(2)));
                    run_start = target;
                    at = target;
                }
                64..=191 => return Err(LABEL_TYPE),
            }
        }
    }

    /// The name at `start`, which was checked before, and the offset behind its place.
    pub(super) fn known(message: &'b [u8], start: usize) -> Option<(Self, usize)> {
        let mut at = start;
        loop {
            let head = *message.get(at)?;
            let step = match head {
                0 => 1,
                192.. => 2,
                1..=191 => {
                    at = at.checked_add(usize::from(head))?.checked_add(1)?;
                    continue;
                }
            };
            return Some((Self { message, start }, at.checked_add(step)?));
        }
    }

    /// Its labels, innermost first; none for the root.
    pub fn labels(&self) -> Labels<'b> {
        Labels {
            message: self.message,
            at: self.start,
        }
    }

    /// Whether both lie at the same place of the same message, pointers followed: then they are equal.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.labels(), other.labels());
        let is_name = ours.settle().is_some() && theirs.settle().is_some();
        is_name && ours.at == theirs.at && std::ptr::eq(self.message, other.message)
    }

    /// The same for equal names. No secret goes in: who wants two names to have the same can make them.
    pub(super) fn digest(&self) -> u64 {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        // One bit tells the cases of a letter apart; names that differ in it elsewhere may be equal here.
        const NO_CASE: u64 = 0x2020_2020_2020_2020;
        let mut digest: u64 = 0;
        for label in self.labels() {
            for chunk in label.chunks(8) {
                let word = chunk
                    .iter()
                    .fold(0, |word, byte| word << 8 | u64::from(*byte));
                digest = (digest.rotate_left(5) ^ (word | NO_CASE)).wrapping_mul(SPREAD);
            }
        }
        digest
    }

    /// Whether it is the root, the name without labels.
    pub fn is_root(&self) -> bool {
        self.labels().next().is_none()
    }

    /// The name as text in lower case, ending with a dot, written into `room`; `None` where that is
    /// too small ([`Name::TEXT_MAX`] never is).
    pub fn to_lower<'t>(&self, room: &'t mut [u8]) -> Option<&'t str> {
        let mut text = text::Room::new(room);
        for label in self.labels() {
            text.label(label).ok()?;
        }
        if text.is_empty() {
            text.push(b'.').ok()?;
        }
        text.into_lower()
    }

    /// The name in lower case as canonical bytes (RFC 4034 §6.2): labels without pointers. The slice
    /// borrows from `room`.
    pub fn to_wire<'t>(&self, room: &'t mut [u8; Name::WIRE_MAX]) -> &'t [u8] {
        let mut length: usize = 0;
        for label in self.labels() {
            let end = length.saturating_add(label.len()).saturating_add(1);
            let Some([head, rest @ ..]) = room.get_mut(length..end) else {
                break;
            };
            *head = u8::try_from(label.len()).unwrap_or(0);
            rest.copy_from_slice(label);
            rest.make_ascii_lowercase();
            length = end;
        }
        if let Some(last) = room.get_mut(length) {
            *last = 0;
        }
        room.get(..length.saturating_add(1)).unwrap_or_default()
    }
}

/// The fourteen bits of a pointer.
fn pointed_at(head: u8, low: u8) -> usize {
    usize::from(u16::from_be_bytes([head & 0x3f, low]))
}

impl Labels<'_> {
    /// Follows pointers to where a label, or the end, lies.
    fn settle(&mut self) -> Option<u8> {
        loop {
            let head = *self.message.get(self.at)?;
            if head < 192 {
                return Some(head);
            }
            let low = *self.message.get(self.at.checked_add(1)?)?;
            let target = pointed_at(head, low);
            // Checked when the name was read; kept so that this loop ends by its own means.
            if target >= self.at {
                return None;
            }
            self.at = target;
        }
    }
}

impl<'b> Iterator for Labels<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        let head = self.settle()?;
        if head == 0 {
            return None;
        }
        let from = self.at.checked_add(1)?;
        let end = from.checked_add(usize::from(head))?;
        let label = self.message.get(from..end)?;
        self.at = end;
        Some(label)
    }
}

impl PartialEq<Name<'_>> for Name<'_> {
    fn eq(&self, other: &Name<'_>) -> bool {
        let mut ours = self.labels();
        let mut theirs = other.labels();
        let is_same_message = std::ptr::eq(self.message, other.message);
        loop {
            let (left, right) = (ours.settle(), theirs.settle());
            // Compressed names mostly share their rest: the same bytes need no second look.
            if is_same_message && ours.at == theirs.at {
                return true;
            }
            if left != right {
                return false;
            }
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(left), Some(right)) if left.eq_ignore_ascii_case(right) => {}
                _ => return false,
            }
        }
    }
}

impl Eq for Name<'_> {}

impl Hash for Name<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut room = [0; Self::WIRE_MAX];
        state.write(self.to_wire(&mut room));
    }
}

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut is_first = true;
        for label in self.labels() {
            if !is_first {
                f.write_str(".")?;
            }
            is_first = false;
            text::write_label(f, label)?;
        }
        if is_first || !f.alternate() {
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
