//! Policy sets in the kernel's map: which slot has which set, and what is written there.

use std::collections::{BTreeMap, BTreeSet};

use l7d_ebpf::maps::{
    ENDPOINT_EGRESS_CLOSED, ENDPOINT_EGRESS_DEFAULT_DENY, ENDPOINT_EGRESS_POLICY,
    ENDPOINT_INGRESS_CLOSED, ENDPOINT_INGRESS_DEFAULT_DENY, ENDPOINT_INGRESS_POLICY,
};

use super::kernel::{Fault, Kernel};
use super::policy::{Key, PolicyAction, PolicyDirection, PolicyEntry, Said};
use crate::datapath::Error;

/// The set that has no entries, of endpoints whose own found no slot.
pub(super) const EMPTY_SLOT: u16 = 0;

/// What happens to what no entry of a set is about, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetMode {
    /// Number of the set: it changes whenever anything but the coming and going of identities does.
    pub number: u32,
    /// It is dropped on the way in.
    pub ingress_default_deny: bool,
    /// It is dropped on the way out.
    pub egress_default_deny: bool,
}

impl SetMode {
    /// Flags of an endpoint with the set, whatever its entries.
    pub(super) fn flags(self) -> u16 {
        let of_side = |is_set, flag| if is_set { flag } else { 0 };
        of_side(self.ingress_default_deny, ENDPOINT_INGRESS_DEFAULT_DENY)
            | of_side(self.egress_default_deny, ENDPOINT_EGRESS_DEFAULT_DENY)
    }
}

/// What found no room of one direction of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Missing {
    #[default]
    Nothing,
    /// Entries that allow.
    Allowing,
    /// Entries that deny or redirect: what allows may allow too much.
    Strict,
}

/// One slot.
#[derive(Debug, Default)]
pub(super) struct Slot {
    entries: BTreeMap<Key, Said>,
    /// Entries of each direction: egress, ingress.
    counts: [usize; 2],
    missing: [Missing; 2],
    /// Entries that found no room at the last attempt.
    unwritten: usize,
}

/// A difference between what a set has and what it is to have.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// Strictest first.
    pub(super) written: Vec<(Key, Said)>,
    pub(super) removed: Vec<Key>,
}

/// All slots.
#[derive(Debug, Default)]
pub(super) struct Sets {
    by_number: BTreeMap<u32, u16>,
    slots: BTreeMap<u16, Slot>,
    last: u16,
    used: usize,
}

impl Slot {
    /// Flags of an endpoint with this set, by its entries.
    pub(super) fn flags(&self) -> u16 {
        let of_side = |direction, [default_deny, policy, closed]: [u16; 3]| {
            let of_missing = match side(&self.missing, direction) {
                Missing::Nothing => 0,
                Missing::Allowing => default_deny,
                Missing::Strict => default_deny | closed,
            };
            let has_entries = *side(&self.counts, direction) > 0;
            of_missing | if has_entries { policy } else { 0 }
        };
        of_side(
            PolicyDirection::Egress,
            [
                ENDPOINT_EGRESS_DEFAULT_DENY,
                ENDPOINT_EGRESS_POLICY,
                ENDPOINT_EGRESS_CLOSED,
            ],
        ) | of_side(
            PolicyDirection::Ingress,
            [
                ENDPOINT_INGRESS_DEFAULT_DENY,
                ENDPOINT_INGRESS_POLICY,
                ENDPOINT_INGRESS_CLOSED,
            ],
        )
    }

    /// Entries that found no room.
    pub(super) fn unwritten(&self) -> usize {
        self.unwritten
    }

    pub(super) fn entries(&self) -> &BTreeMap<Key, Said> {
        &self.entries
    }

    /// Entries about an identity.
    pub(super) fn of_identity(&self, identity: u32) -> impl Iterator<Item = (&Key, &Said)> {
        let first = Key {
            identity,
            direction: PolicyDirection::Egress,
            protocol: 0,
            port: 0,
            port_bits: 0,
        };
        self.entries
            .range(first..)
            .take_while(move |(key, _)| key.identity == identity)
    }

    /// What the set says of former identities, said of those that addresses have instead; nothing of
    /// those that it speaks of already. Where several become one, the strictest counts.
    pub(super) fn copies(&self, moved: &BTreeSet<(u32, u32)>) -> Vec<(Key, Said)> {
        let strangers = moved
            .iter()
            .filter(|(_, fresh)| self.of_identity(*fresh).next().is_none());
        let said_of = strangers.flat_map(|(former, identity)| {
            self.of_identity(*former).map(|(key, said)| {
                let identity = *identity;
                (Key { identity, ..*key }, *said)
            })
        });
        let mut copies: BTreeMap<Key, Said> = BTreeMap::new();
        for (key, said) in said_of {
            let strictest = copies.entry(key).or_insert(said);
            if said.action > strictest.action {
                *strictest = said;
            }
        }
        let mut copies: Vec<(Key, Said)> = copies.into_iter().collect();
        copies.sort_by_key(|(_, said)| std::cmp::Reverse(said.action));
        copies
    }

    /// What it takes to have exactly `wanted`, of the entries `present`.
    pub(super) fn difference<'s>(
        &'s self,
        present: impl Iterator<Item = &'s Key>,
        wanted: &[PolicyEntry],
    ) -> Difference {
        let wanted: BTreeMap<Key, Said> = wanted.iter().map(PolicyEntry::split).collect();
        let removed = present.filter(|key| !wanted.contains_key(key));
        let removed = removed.copied().collect();
        let mut written: Vec<(Key, Said)> = wanted
            .into_iter()
            .filter(|(key, said)| self.entries.get(key) != Some(said))
            .collect();
        written.sort_by_key(|(_, said)| std::cmp::Reverse(said.action));
        Difference { written, removed }
    }
}

impl Sets {
    /// Takes over what an earlier start left: entries in slots whose numbers nobody knows.
    pub(super) fn adopt(entries: impl Iterator<Item = (u16, Key, Said)>) -> Self {
        let mut sets = Self::default();
        for (slot, key, said) in entries {
            sets.note(slot, key, Some(said));
        }
        sets
    }

    /// The slot of a set.
    pub(super) fn slot_of(&self, number: u32) -> Option<u16> {
        self.by_number.get(&number).copied()
    }

    pub(super) fn slot(&self, slot: u16) -> Option<&Slot> {
        self.slots.get(&slot)
    }

    /// Entries in all slots.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Slots whose sets are not among these, or are of an earlier start.
    pub(super) fn others(&self, is_wanted: impl Fn(u32) -> bool) -> Vec<u16> {
        let wanted: Vec<u16> = self
            .by_number
            .iter()
            .filter(|(number, _)| is_wanted(**number))
            .map(|(_, slot)| *slot)
            .collect();
        let all = self.slots.keys().copied();
        all.filter(|slot| !wanted.contains(slot)).collect()
    }

    /// A free slot for a set; `None` when there is none.
    pub(super) fn take_slot(&mut self, number: u32) -> Option<u16> {
        let after = self.last.saturating_add(1)..=u16::MAX;
        let slot = after
            .chain(1..=self.last)
            .find(|slot| !self.slots.contains_key(slot))?;
        self.last = slot;
        self.slots.insert(slot, Slot::default());
        self.by_number.insert(number, slot);
        Some(slot)
    }

    /// Writes entries, strictest first. What finds no room closes the set for it.
    pub(super) fn write(
        &mut self,
        kernel: &mut impl Kernel,
        slot: u16,
        entries: &[(Key, Said)],
    ) -> Result<(), Error> {
        let mut missing = [Missing::Nothing; 2];
        let mut written = 0;
        for (key, said) in entries {
            match kernel.set_policy(slot, *key, *said) {
                Ok(()) => self.note(slot, *key, Some(*said)),
                Err(Fault::Full) => break,
                Err(Fault::Other(error)) => return Err(error),
            }
            written += 1;
        }
        for (key, said) in entries.iter().skip(written) {
            let worst = side_mut(&mut missing, key.direction);
            *worst = (*worst).max(match said.action {
                PolicyAction::Allow => Missing::Allowing,
                PolicyAction::Redirect | PolicyAction::Deny => Missing::Strict,
            });
        }
        if let Some(slot) = self.slots.get_mut(&slot) {
            slot.missing = missing;
            slot.unwritten = entries.len() - written;
        }
        Ok(())
    }

    /// Removes entries.
    pub(super) fn remove(
        &mut self,
        kernel: &mut impl Kernel,
        slot: u16,
        keys: &[Key],
    ) -> Result<(), Error> {
        for key in keys {
            kernel.remove_policy(slot, *key)?;
            self.note(slot, *key, None);
        }
        Ok(())
    }

    /// Removes a whole set and frees its slot.
    pub(super) fn retire(&mut self, kernel: &mut impl Kernel, slot: u16) -> Result<(), Error> {
        let keys: Vec<Key> = self
            .slots
            .get(&slot)
            .map(|slot| slot.entries.keys().copied().collect())
            .unwrap_or_default();
        self.remove(kernel, slot, &keys)?;
        self.slots.remove(&slot);
        self.by_number.retain(|_, held| *held != slot);
        Ok(())
    }

    /// Notes what the kernel has now.
    fn note(&mut self, slot: u16, key: Key, said: Option<Said>) {
        let slot = self.slots.entry(slot).or_default();
        let was_there = match said {
            Some(said) => slot.entries.insert(key, said),
            None => slot.entries.remove(&key),
        };
        let count = side_mut(&mut slot.counts, key.direction);
        match (was_there, said) {
            (None, Some(_)) => {
                *count += 1;
                self.used += 1;
            }
            (Some(_), None) => {
                *count -= 1;
                self.used -= 1;
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
    }
}

fn side<T>([egress, ingress]: &[T; 2], direction: PolicyDirection) -> &T {
    match direction {
        PolicyDirection::Egress => egress,
        PolicyDirection::Ingress => ingress,
    }
}

fn side_mut<T>([egress, ingress]: &mut [T; 2], direction: PolicyDirection) -> &mut T {
    match direction {
        PolicyDirection::Egress => egress,
        PolicyDirection::Ingress => ingress,
    }
}
