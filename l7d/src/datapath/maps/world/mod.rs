//! The whole change from one world to the next, in the one order in which every packet meets either the
//! former policy or the new one.
//!
//! | step | what changes | what a packet sees |
//! |---|---|---|
//! | 1 | sets in force get the entries of identities that come, strictest first | nobody has these identities yet |
//! | 2 | new sets are written under free slots | no endpoint has these slots yet |
//! | 3 | addresses get their identities | the former sets, which know the new identities |
//! | 4 | each endpoint gets its sets by one write | the former sets before, the new ones after |
//! | 5 | the generation goes up | connections are judged anew |
//! | 6 | readers of the former sets end, then these are removed | nothing |
//!
//! What finds no room is closed in the step that wrote it, and tried again behind the last one.

use std::collections::{BTreeMap, BTreeSet};

use l7d_ebpf::maps::{
    CONFIG_IPCACHE_INCOMPLETE, Config, ENDPOINT_AUDITED_SHIFT, ENDPOINT_EGRESS_DEFAULT_DENY,
    ENDPOINT_INGRESS_DEFAULT_DENY, Endpoint, Interface,
};

use super::addresses::{Addresses, Identified};
use super::kernel::Kernel;
use super::policy::{Key, PolicyEntry, Said};
use super::pressure::Shortage;
use super::sets::{EMPTY_SLOT, SetMode, Sets};
use crate::datapath::Error;

/// Everything that the kernel is to know of addresses and policy.
#[derive(Clone, Copy)]
pub struct KernelWorld<'w> {
    /// Who addresses are.
    pub addresses: &'w [Identified],
    /// All sets that endpoints have.
    pub sets: &'w [SetMode],
    /// All endpoints that have policy.
    pub endpoints: &'w [EndpointSets],
    /// Identities that have come or gone since the last time; without it, sets that the kernel has
    /// already are compared entry by entry.
    pub touched: Option<&'w [u32]>,
    /// What the sets say.
    pub entries: &'w dyn Entries,
}

/// The sets of an endpoint, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointSets {
    /// Number of the endpoint.
    pub endpoint: u16,
    /// What holds.
    pub in_force: u32,
    /// What is only told about.
    pub audited: Option<u32>,
}

/// What sets say; asked for what the kernel does not have yet.
pub trait Entries {
    /// All entries of a set.
    fn all(&self, number: u32) -> Vec<PolicyEntry>;
    /// Its entries about one identity.
    fn about(&self, number: u32, identity: u32) -> Vec<PolicyEntry>;
}

/// What the kernel has, so that only differences are written.
#[derive(Debug)]
pub(super) struct State<K> {
    pub(super) kernel: K,
    pub(super) addresses: Addresses,
    pub(super) sets: Sets,
    pub(super) endpoints: BTreeMap<u16, Endpoint>,
    pub(super) interfaces: BTreeMap<u32, Interface>,
    pub(super) config: Config,
    /// To be removed as soon as no packet reads it any more.
    pub(super) leftovers: Leftovers,
    pub(super) shortages: Vec<Shortage>,
}

/// What nobody uses any more.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    slots: BTreeSet<u16>,
    keys: Vec<(u16, Vec<Key>)>,
}

impl<K: Kernel> State<K> {
    /// Knows of nothing in the kernel yet.
    pub(super) fn new(kernel: K, config: Config) -> Self {
        Self {
            kernel,
            addresses: Addresses::default(),
            sets: Sets::default(),
            endpoints: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            config,
            leftovers: Leftovers::default(),
            shortages: Vec::new(),
        }
    }

    /// Makes the kernel know a world. What found no room is told by [`State::shortages`].
    pub(super) fn apply(&mut self, world: &KernelWorld<'_>) -> Result<(), Error> {
        let modes: BTreeMap<u32, SetMode> =
            world.sets.iter().map(|mode| (mode.number, *mode)).collect();
        let outgoing = self.sets.others(|number| modes.contains_key(&number));
        self.renew_sets(world)?;
        self.copy_for_moved(world.addresses, &outgoing)?;
        self.tighten()?;
        self.write_new_sets(world)?;
        self.flip(world, &modes, |state, endpoint| !state.is_named(endpoint))?;
        self.set_addresses(world.addresses)?;
        self.flip(world, &modes, |_, _| true)?;
        self.leave_endpoints(world)?;
        self.turn()?;
        self.leftovers.slots.extend(outgoing);
        self.remove_leftovers()?;
        if self.repair(world)? {
            self.flip(world, &modes, |_, _| true)?;
            self.turn()?;
        }
        self.note_shortages(world);
        Ok(())
    }

    /// Connections are judged anew.
    fn turn(&mut self) -> Result<(), Error> {
        self.update_config(|config| config.generation = config.generation.wrapping_add(1).max(1))
    }

    /// Changes settings.
    pub(super) fn update_config(&mut self, change: impl FnOnce(&mut Config)) -> Result<(), Error> {
        change(&mut self.config);
        self.kernel.set_config(self.config)
    }

    /// Makes an interface known.
    pub(super) fn set_interface(&mut self, index: u32, value: Interface) -> Result<(), Error> {
        self.kernel.set_interface(index, value)?;
        self.interfaces.insert(index, value);
        Ok(())
    }

    /// Sets that the kernel has already: identities come and go.
    fn renew_sets(&mut self, world: &KernelWorld<'_>) -> Result<(), Error> {
        for mode in world.sets {
            let Some(place) = self.sets.slot_of(mode.number) else {
                continue;
            };
            let Some(slot) = self.sets.slot(place) else {
                continue;
            };
            let (mut written, mut removed) = (Vec::new(), Vec::new());
            match world.touched {
                Some(touched) if slot.unwritten() == 0 => {
                    for identity in touched {
                        let wanted = world.entries.about(mode.number, *identity);
                        let present = slot.of_identity(*identity).map(|(key, _)| key);
                        let difference = slot.difference(present, &wanted);
                        written.extend(difference.written);
                        removed.extend(difference.removed);
                    }
                    written.sort_by_key(|(_, said): &(Key, Said)| std::cmp::Reverse(said.action));
                }
                Some(_) | None => {
                    let wanted = world.entries.all(mode.number);
                    let difference = slot.difference(slot.entries().keys(), &wanted);
                    (written, removed) = (difference.written, difference.removed);
                }
            }
            self.sets.write(&mut self.kernel, place, &written)?;
            if !removed.is_empty() {
                self.leftovers.keys.push((place, removed));
            }
        }
        Ok(())
    }

    /// Where an address gets an identity that nobody has yet, the sets that are on their way out say of
    /// it what they say of the address's former one.
    fn copy_for_moved(&mut self, addresses: &[Identified], outgoing: &[u16]) -> Result<(), Error> {
        let in_use: Vec<u16> = outgoing
            .iter()
            .copied()
            .filter(|slot| self.endpoints.values().any(|held| has(*held, *slot)))
            .collect();
        if in_use.is_empty() {
            return Ok(());
        }
        let moved = self.addresses.moved(addresses);
        for place in in_use {
            let copies = self
                .sets
                .slot(place)
                .map_or_else(Vec::new, |slot| slot.copies(&moved));
            if !copies.is_empty() {
                self.sets.write(&mut self.kernel, place, &copies)?;
            }
        }
        Ok(())
    }

    /// Endpoints whose sets have more entries than before, or less than they were to have, get what
    /// flags that takes; none is taken away.
    fn tighten(&mut self) -> Result<(), Error> {
        let endpoints: Vec<Endpoint> = self.endpoints.values().copied().collect();
        for mut endpoint in endpoints {
            if let Some(slot) = self.sets.slot(endpoint.set) {
                endpoint.flags |= slot.flags();
            }
            match self.sets.slot(endpoint.audited_set) {
                Some(slot) if slot.unwritten() > 0 => endpoint.audited_set = EMPTY_SLOT,
                Some(slot) => endpoint.flags |= slot.flags() << ENDPOINT_AUDITED_SHIFT,
                None => {}
            }
            self.set_endpoint(endpoint)?;
        }
        Ok(())
    }

    fn write_new_sets(&mut self, world: &KernelWorld<'_>) -> Result<(), Error> {
        for mode in world.sets {
            if self.sets.slot_of(mode.number).is_some() {
                continue;
            }
            let Some(place) = self.sets.take_slot(mode.number) else {
                continue;
            };
            let wanted = world.entries.all(mode.number);
            let written = self.sets.slot(place);
            let written = written.map(|slot| slot.difference(std::iter::empty(), &wanted).written);
            self.sets
                .write(&mut self.kernel, place, &written.unwrap_or_default())?;
        }
        Ok(())
    }

    /// Whether any address or interface leads to an endpoint.
    fn is_named(&self, endpoint: u16) -> bool {
        let mut interfaces = self.interfaces.values();
        self.endpoints.contains_key(&endpoint)
            || interfaces.any(|interface| interface.endpoint == u32::from(endpoint))
            || self.addresses.lead_to(endpoint)
    }

    /// Addresses, and the identities that interfaces send with.
    pub(super) fn set_addresses(&mut self, addresses: &[Identified]) -> Result<(), Error> {
        self.addresses.replace(&mut self.kernel, addresses)?;
        let flags = if self.addresses.unwritten() == 0 {
            self.config.flags & !CONFIG_IPCACHE_INCOMPLETE
        } else {
            self.config.flags | CONFIG_IPCACHE_INCOMPLETE
        };
        if flags != self.config.flags {
            self.update_config(|config| config.flags = flags)?;
        }
        let identities: BTreeMap<u32, u32> = addresses
            .iter()
            .filter(|address| address.endpoint != 0)
            .map(|address| (u32::from(address.endpoint), address.identity))
            .collect();
        let interfaces = self.interfaces.clone();
        for (index, mut interface) in interfaces {
            let identity = identities.get(&interface.endpoint).copied();
            if let Some(identity) = identity.filter(|identity| *identity != interface.identity) {
                interface.identity = identity;
                self.set_interface(index, interface)?;
            }
        }
        Ok(())
    }

    /// Gives endpoints their sets, those that `is_due`.
    fn flip(
        &mut self,
        world: &KernelWorld<'_>,
        modes: &BTreeMap<u32, SetMode>,
        is_due: impl Fn(&Self, u16) -> bool,
    ) -> Result<(), Error> {
        for endpoint in world.endpoints {
            if is_due(self, endpoint.endpoint) {
                let value = self.value_of(endpoint, modes);
                self.set_endpoint(value)?;
            }
        }
        Ok(())
    }

    fn value_of(&self, endpoint: &EndpointSets, modes: &BTreeMap<u32, SetMode>) -> Endpoint {
        // A set that found no slot is closed; an audited one that is not whole would tell wrong.
        let mut value = Endpoint {
            flags: ENDPOINT_INGRESS_DEFAULT_DENY | ENDPOINT_EGRESS_DEFAULT_DENY,
            endpoint: endpoint.endpoint,
            set: EMPTY_SLOT,
            audited_set: EMPTY_SLOT,
        };
        let found = |number: u32| {
            let place = self.sets.slot_of(number)?;
            let slot = self.sets.slot(place)?;
            let flags = slot.flags() | modes.get(&number)?.flags();
            Some((place, flags, slot.unwritten() == 0))
        };
        if let Some((place, flags, _)) = found(endpoint.in_force) {
            value.set = place;
            value.flags = flags;
        }
        if let Some((place, flags, true)) = endpoint.audited.and_then(found) {
            value.audited_set = place;
            value.flags |= flags << ENDPOINT_AUDITED_SHIFT;
        }
        value
    }

    fn set_endpoint(&mut self, value: Endpoint) -> Result<(), Error> {
        if self.endpoints.get(&value.endpoint) != Some(&value) {
            self.kernel.set_endpoint(value)?;
            self.endpoints.insert(value.endpoint, value);
        }
        Ok(())
    }

    /// Endpoints without policy are open.
    fn leave_endpoints(&mut self, world: &KernelWorld<'_>) -> Result<(), Error> {
        let kept: BTreeSet<u16> = world.endpoints.iter().map(|kept| kept.endpoint).collect();
        let all: Vec<u16> = self.endpoints.keys().copied().collect();
        for endpoint in all.iter().filter(|endpoint| !kept.contains(endpoint)) {
            self.kernel.remove_endpoint(*endpoint)?;
            self.endpoints.remove(endpoint);
        }
        Ok(())
    }

    fn remove_leftovers(&mut self) -> Result<(), Error> {
        if self.leftovers.is_empty() || !self.kernel.wait_for_readers() {
            return Ok(());
        }
        let leftovers = std::mem::take(&mut self.leftovers);
        for (slot, keys) in leftovers.keys {
            self.sets.remove(&mut self.kernel, slot, &keys)?;
        }
        for slot in leftovers.slots {
            self.sets.retire(&mut self.kernel, slot)?;
        }
        Ok(())
    }

    /// Writes what found no room before something was removed; true when anything was left to write.
    fn repair(&mut self, world: &KernelWorld<'_>) -> Result<bool, Error> {
        let is_incomplete = |mode: &&SetMode| {
            let slot = self.sets.slot_of(mode.number);
            slot.and_then(|slot| self.sets.slot(slot))
                .is_none_or(|slot| slot.unwritten() > 0)
        };
        let incomplete: Vec<SetMode> = world.sets.iter().filter(is_incomplete).copied().collect();
        if incomplete.is_empty() {
            return Ok(false);
        }
        let world = KernelWorld {
            sets: &incomplete,
            ..*world
        };
        self.renew_sets(&world)?;
        self.write_new_sets(&world)?;
        Ok(true)
    }

    fn note_shortages(&mut self, world: &KernelWorld<'_>) {
        self.shortages.clear();
        let unwritten = |number: u32| {
            let slot = self.sets.slot_of(number);
            slot.and_then(|slot| self.sets.slot(slot))
                .map(super::sets::Slot::unwritten)
        };
        for sets in world.endpoints {
            let endpoint = sets.endpoint;
            match unwritten(sets.in_force) {
                None => self.shortages.push(Shortage::Slots { endpoint }),
                Some(0) => {}
                Some(entries) => self.shortages.push(Shortage::Policy { endpoint, entries }),
            }
            if let Some(audited) = sets.audited
                && unwritten(audited) != Some(0)
            {
                self.shortages.push(Shortage::Audit { endpoint });
            }
        }
        let addresses = self.addresses.unwritten();
        if addresses > 0 {
            self.shortages.push(Shortage::Addresses { addresses });
        }
    }
}

impl Leftovers {
    fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.keys.is_empty()
    }
}

fn has(endpoint: Endpoint, slot: u16) -> bool {
    slot != EMPTY_SLOT && (endpoint.set == slot || endpoint.audited_set == slot)
}

#[cfg(test)]
mod tests;
