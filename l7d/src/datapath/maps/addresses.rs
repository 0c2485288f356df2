//! Who addresses are, as the kernel has it.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use l7d_ebpf::maps::{IDENTITY_WORLD, IPCACHE_ADDRESS, IPCACHE_SERVICE, Ipcache};

use super::kernel::{AddressKey, Fault, Kernel};
use crate::datapath::Error;

/// An address or prefix and who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identified {
    /// Addresses.
    pub prefix: IpNet,
    /// Identity number.
    pub identity: u32,
    /// Endpoint of this node, or 0.
    pub endpoint: u16,
    /// A virtual address of a service.
    pub is_service: bool,
}

/// What is in the map.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    known: BTreeMap<AddressKey, Ipcache>,
    unwritten: usize,
}

impl Identified {
    fn to_kernel(self) -> (AddressKey, Ipcache) {
        let key = prefix_key(self.prefix);
        let service = if self.is_service { IPCACHE_SERVICE } else { 0 };
        let address = if key.0 == 128 { IPCACHE_ADDRESS } else { 0 };
        let value = Ipcache {
            identity: self.identity,
            endpoint: self.endpoint,
            flags: service | address,
        };
        (key, value)
    }
}

impl Addresses {
    /// Takes over what an earlier start left.
    pub(super) fn adopt(entries: impl Iterator<Item = (AddressKey, Ipcache)>) -> Self {
        Self {
            known: entries.collect(),
            unwritten: 0,
        }
    }

    /// Entries in the map.
    pub(super) fn used(&self) -> usize {
        self.known.len()
    }

    /// Entries that found no room.
    pub(super) fn unwritten(&self) -> usize {
        self.unwritten
    }

    /// Whether any address is this endpoint's.
    pub(super) fn lead_to(&self, endpoint: u16) -> bool {
        self.known.values().any(|known| known.endpoint == endpoint)
    }

    /// Writes the difference to what is wanted. What finds no room is tried again when the others are
    /// removed.
    pub(super) fn replace(
        &mut self,
        kernel: &mut impl Kernel,
        entries: &[Identified],
    ) -> Result<(), Error> {
        let wanted: BTreeMap<AddressKey, Ipcache> =
            entries.iter().map(|entry| entry.to_kernel()).collect();
        let refused = self.write(kernel, &wanted)?;
        let gone: Vec<AddressKey> = self
            .known
            .keys()
            .filter(|key| !wanted.contains_key(*key))
            .copied()
            .collect();
        for key in gone {
            kernel.remove_address(key)?;
            self.known.remove(&key);
        }
        self.unwritten = if refused == 0 {
            0
        } else {
            self.write(kernel, &wanted)?
        };
        Ok(())
    }

    /// Writes what is not there; gives how many found no room.
    fn write(
        &mut self,
        kernel: &mut impl Kernel,
        wanted: &BTreeMap<AddressKey, Ipcache>,
    ) -> Result<usize, Error> {
        let mut refused = 0;
        for (key, value) in wanted {
            if self.known.get(key) == Some(value) {
                continue;
            }
            match kernel.set_address(*key, *value) {
                Ok(()) => {
                    self.known.insert(*key, *value);
                }
                Err(Fault::Full) => refused += 1,
                Err(Fault::Other(error)) => return Err(error),
            }
        }
        Ok(refused)
    }

    /// Pairs of a former and a new identity of addresses, where nobody has the new one yet.
    pub(super) fn moved(&self, entries: &[Identified]) -> BTreeSet<(u32, u32)> {
        let taken: BTreeSet<u32> = self.known.values().map(|known| known.identity).collect();
        let mut moved = BTreeSet::new();
        for entry in entries.iter().filter(|entry| !entry.is_service) {
            if !taken.contains(&entry.identity) {
                moved.insert((self.identity_of(prefix_key(entry.prefix)), entry.identity));
            }
        }
        moved
    }

    /// By the longest prefix that covers it.
    fn identity_of(&self, (bits, address): AddressKey) -> u32 {
        let address = u128::from_be_bytes(address);
        let covering = (0..=bits).rev().find_map(|bits| {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            self.known.get(&(bits, (address & mask).to_be_bytes()))
        });
        covering.map_or(IDENTITY_WORLD, |known| known.identity)
    }
}

pub(super) fn prefix_key(prefix: IpNet) -> AddressKey {
    match prefix {
        IpNet::V4(net) => (
            net.prefix_len().saturating_add(96),
            net.network().to_ipv6_mapped().octets(),
        ),
        IpNet::V6(net) => (net.prefix_len(), net.network().octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_prefix_is_a_mapped_ipv6_prefix() {
        let (bits, key) = prefix_key("10.1.0.0/16".parse().expect("net"));
        assert_eq!(bits, 112);
        assert_eq!(key, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 0, 0]);
    }
}
