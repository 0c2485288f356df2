//! Fragments → datagram, as `inet_frag_queue_insert` (`net/ipv4/inet_fragment.c`) has it: what overlaps
//! in part ends the datagram, what repeats is left out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::headers::behind;
use super::{Fragment, Received};

type Key = (IpAddr, IpAddr, u8, u32);

/// Fragments that a receiver has.
#[derive(Debug, Default)]
pub struct Reassembly {
    waiting: BTreeMap<Key, Vec<Fragment>>,
}

impl Reassembly {
    /// Takes a fragment in; gives the datagram that it makes whole.
    pub fn add(&mut self, fragment: Fragment) -> Option<Received> {
        let key = fragment.key;
        let parts = self.waiting.entry(key).or_default();
        let range = |part: &Fragment| part.offset..part.offset + part.bytes.len();
        let own = range(&fragment);
        for part in parts.iter() {
            let other = range(part);
            if own.start >= other.start && own.end <= other.end {
                return None;
            }
            if own.start < other.end && other.start < own.end {
                self.waiting.remove(&key);
                return None;
            }
        }
        parts.push(fragment);
        parts.sort_by_key(|part| part.offset);
        let last = parts.last()?;
        let mut end = 0;
        for part in parts.iter() {
            if part.offset != end || (part.offset != last.offset && !part.has_more) {
                return None;
            }
            end += part.bytes.len();
        }
        if last.has_more {
            return None;
        }
        let parts = self.waiting.remove(&key)?;
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.bytes.clone()).collect();
        Some(behind(parts.first()?, &bytes))
    }
}
