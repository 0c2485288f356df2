//! Base64 (RFC 4648 §4) of a payload that comes in runs.

use crate::error::{Error, Fault};

/// Characters that stand for three bytes.
const GROUP: usize = 4;

/// A group of which not all characters came, or whose bytes were not all taken.
///
/// A sender may encode each of its writes alone: padding ends a group, not the payload.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Base64 {
    characters: [u8; GROUP],
    /// How many of them came.
    count: usize,
    bytes: [u8; 3],
    /// Those that were not taken yet: from here, up to there.
    taken: usize,
    end: usize,
}

impl Base64 {
    /// Whether a group is whole, and all of it was taken.
    pub(super) fn is_between_groups(&self) -> bool {
        self.count == 0 && self.taken == self.end
    }

    /// Bytes of the present group that are left.
    pub(super) fn left(&self) -> &[u8] {
        self.bytes.get(self.taken..self.end).unwrap_or_default()
    }

    /// Takes so many of the bytes that are left.
    pub(super) fn take(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count).min(self.end);
    }

    /// Takes characters from the front of `payload` up to the end of a group; whether there is one.
    pub(super) fn fill(&mut self, payload: &mut &[u8]) -> Result<bool, Error> {
        let Some(room) = self.characters.get_mut(self.count..) else {
            return Ok(false);
        };
        let (taken, rest) = payload.split_at(payload.len().min(room.len()));
        let (filled, _) = room.split_at_mut(taken.len());
        filled.copy_from_slice(taken);
        *payload = rest;
        self.count = self.count.saturating_add(taken.len());
        if self.count < GROUP {
            return Ok(false);
        }
        self.count = 0;
        self.taken = 0;
        (self.bytes, self.end) = decode(self.characters).ok_or(Error::new(
            Fault::Malformed,
            "bad-base64",
            "RFC 4648 §4",
        ))?;
        Ok(true)
    }
}

/// The bytes of a group, and how many they are.
fn decode(characters: [u8; GROUP]) -> Option<([u8; 3], usize)> {
    let padding = characters.iter().rev().take_while(|c| **c == b'=').count();
    let length = match padding {
        0 => 3,
        1 => 2,
        2 => 1,
        _ => return None,
    };
    let mut bits: u32 = 0;
    for (place, character) in characters.into_iter().enumerate() {
        let is_padding = place > length;
        let value = if is_padding { 0 } else { value(character)? };
        bits = bits << 6 | u32::from(value);
    }
    let [_, a, b, c] = bits.to_be_bytes();
    Some(([a, b, c], length))
}

fn value(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character.wrapping_sub(b'A')),
        b'a'..=b'z' => Some(character.wrapping_sub(b'a').wrapping_add(26)),
        b'0'..=b'9' => Some(character.wrapping_sub(b'0').wrapping_add(52)),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}
