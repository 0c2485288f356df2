//! The types that a name has, as a bit map (RFC 4034 §4.1.2).

#![deny(clippy::arithmetic_side_effects)]

use crate::dns::codes::RecordType;
use crate::error::{Error, Fault};

const BROKEN: Error = Error::new(Fault::Malformed, "dns-type-bit-map", "RFC 4034 §4.1.2");

/// The types of a bit map, in rising order.
#[derive(Debug, Clone)]
pub struct Types<'b> {
    /// Windows not begun.
    rest: &'b [u8],
    window: u8,
    map: &'b [u8],
    /// The next bit of the window.
    bit: u16,
}

impl<'b> Types<'b> {
    pub(super) fn read(bytes: &'b [u8]) -> Result<Self, Error> {
        let mut rest = bytes;
        let mut last = None;
        while !rest.is_empty() {
            let (window, map, behind) = split_window(rest).ok_or(BROKEN)?;
            if map.is_empty() || map.len() > 32 || last.is_some_and(|last| window <= last) {
                return Err(BROKEN);
            }
            last = Some(window);
            rest = behind;
        }
        Ok(Self {
            rest: bytes,
            window: 0,
            map: &[],
            bit: 0,
        })
    }
}

/// The first window's number, its map, and what follows.
fn split_window(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [window, length, behind @ ..] = bytes else {
        return None;
    };
    let (map, rest) = behind.split_at_checked(usize::from(*length))?;
    Some((*window, map, rest))
}

impl Iterator for Types<'_> {
    type Item = RecordType;

    fn next(&mut self) -> Option<RecordType> {
        loop {
            let Some(byte) = self.map.get(usize::from(self.bit >> 3)) else {
                (self.window, self.map, self.rest) = split_window(self.rest)?;
                self.bit = 0;
                continue;
            };
            let bit = self.bit;
            self.bit = bit.saturating_add(1);
            if byte & (0x80 >> (bit & 7)) != 0 {
                return Some(RecordType((u16::from(self.window) << 8) | bit));
            }
        }
    }
}
