//! Numbers of connections in a capture, by which all that is told of one can be found: 1 is the first.

use std::collections::HashMap;

use super::connections::Key;

/// Connections remembered; beyond, a running one is numbered anew.
const NUMBERS_MAX: usize = 1 << 18;

/// Who has which number. The protocol's number is part of the key.
#[derive(Default)]
pub(super) struct Numbers {
    known: HashMap<(Key, u8), u64, ahash::RandomState>,
    last: u64,
}

impl Numbers {
    /// The number of what goes on between two ends.
    pub(super) fn of(&mut self, key: Key, protocol: u8) -> u64 {
        match self.known.get(&(key, protocol)) {
            Some(number) => *number,
            None => self.begin(key, protocol),
        }
    }

    /// The number of what begins anew between them.
    pub(super) fn begin(&mut self, key: Key, protocol: u8) -> u64 {
        if self.known.len() >= NUMBERS_MAX {
            self.known.clear();
        }
        self.last += 1;
        self.known.insert((key, protocol), self.last);
        self.last
    }
}
