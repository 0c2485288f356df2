//! Fragments, kept until their datagram is whole (RFC 791 §3.2, RFC 8200 §4.5).

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::ip::Header;

/// Bounds of what is kept: memory, against floods of fragments that never become whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Most unfinished datagrams.
    pub datagrams: usize,
    /// Most fragments of one datagram.
    pub fragments: usize,
    /// Oldest unfinished datagram, in nanoseconds since its first fragment (RFC 8200 §4.5).
    pub age_ns: u64,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self {
            datagrams: 1024,
            fragments: 2048,
            age_ns: 60_000_000_000,
        }
    }
}

/// Largest datagram that offsets can name.
const DATAGRAM_MAX: usize = 65_535 + 8;

/// What the fragments of one datagram have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) id: u32,
}

/// One fragment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment<'b> {
    pub(super) header: Header,
    pub(super) key: Key,
    /// Place of its first byte.
    pub(super) offset: usize,
    /// Whether it is not the last.
    pub(super) has_more: bool,
    pub(super) payload: &'b [u8],
}

#[derive(Debug)]
struct Datagram {
    began_ns: u64,
    /// Pieces by their place; they do not overlap.
    pieces: BTreeMap<usize, Vec<u8>>,
    have: usize,
    /// Length of the whole, once the last fragment has come.
    length: Option<usize>,
    /// Header of the first fragment: that of the datagram.
    header: Option<Header>,
}

/// Unfinished datagrams.
#[derive(Debug)]
pub(super) struct Fragments {
    limits: FragmentLimits,
    unfinished: HashMap<Key, Datagram>,
    lost: u64,
}

impl Fragments {
    pub(super) fn new(limits: FragmentLimits) -> Self {
        Self {
            limits,
            unfinished: HashMap::new(),
            lost: 0,
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes a fragment. When it makes its datagram whole, that is written to `whole` and its header
    /// given back.
    pub(super) fn add(
        &mut self,
        fragment: &Fragment<'_>,
        time_ns: u64,
        whole: &mut Vec<u8>,
    ) -> Option<Header> {
        self.make_room(&fragment.key, time_ns);
        let datagram = self
            .unfinished
            .entry(fragment.key)
            .or_insert_with(|| Datagram {
                began_ns: time_ns,
                pieces: BTreeMap::new(),
                have: 0,
                length: None,
                header: None,
            });
        if !datagram.take(fragment, self.limits.fragments) {
            // Overlaps are an attack, not a network's doing (RFC 5722 §3): the datagram is given up.
            self.unfinished.remove(&fragment.key);
            self.lost += 1;
            return None;
        }
        if datagram.length != Some(datagram.have) {
            return None;
        }
        let datagram = self.unfinished.remove(&fragment.key)?;
        whole.clear();
        for piece in datagram.pieces.values() {
            whole.extend_from_slice(piece);
        }
        datagram.header
    }

    /// Forgets a datagram of that key that is too old to be the same one, and, where there are too
    /// many, the oldest.
    fn make_room(&mut self, key: &Key, time_ns: u64) {
        let age = self.limits.age_ns;
        let is_old = |datagram: &Datagram| time_ns.saturating_sub(datagram.began_ns) > age;
        if self.unfinished.get(key).is_some_and(is_old) {
            self.unfinished.remove(key);
            self.lost += 1;
        }
        if self.unfinished.len() < self.limits.datagrams || self.unfinished.contains_key(key) {
            return;
        }
        let before = self.unfinished.len();
        self.unfinished.retain(|_, datagram| !is_old(datagram));
        if self.unfinished.len() == before {
            let began = |(_, datagram): &(&Key, &Datagram)| datagram.began_ns;
            let oldest = self
                .unfinished
                .iter()
                .min_by_key(began)
                .map(|(key, _)| *key);
            self.unfinished.retain(|key, _| Some(*key) != oldest);
        }
        self.lost += u64::try_from(before - self.unfinished.len()).unwrap_or_default();
    }
}

impl Datagram {
    /// Whether the fragment fits to what is there.
    fn take(&mut self, fragment: &Fragment<'_>, fragments_max: usize) -> bool {
        let (start, end) = (fragment.offset, fragment.offset + fragment.payload.len());
        if end > DATAGRAM_MAX || self.length.is_some_and(|length| end > length) {
            return false;
        }
        if let Some(same) = self.pieces.get(&start)
            && same.as_slice() == fragment.payload
        {
            // The network may deliver twice, and captures on two interfaces do.
            return true;
        }
        let after = self.pieces.range(start..).next();
        let before = self.pieces.range(..start).next_back();
        let overlaps = after.is_some_and(|(place, _)| *place < end)
            || before.is_some_and(|(place, piece)| place + piece.len() > start);
        if overlaps || self.pieces.len() >= fragments_max {
            return false;
        }
        if !fragment.has_more {
            if after.is_some() || self.length.is_some() {
                return false;
            }
            self.length = Some(end);
        }
        if start == 0 {
            self.header = Some(fragment.header);
        }
        self.have += fragment.payload.len();
        self.pieces.insert(start, fragment.payload.to_vec());
        true
    }
}
