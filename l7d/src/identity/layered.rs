//! Who has which address: a table that is cheap to copy while it changes.

use std::net::IpAddr;
use std::sync::Arc;

use ahash::AHashMap;

use crate::record::Endpoint;

/// So many changes are kept beside any table before they are brought into it.
const FEW: usize = 256;
/// Of a large table this part of its size is kept beside it.
const PART: usize = 8;

/// A large shared table, and a small one with what has changed since. A copy shares both: whoever changes
/// one of them copies the small one, and once in many changes the large one.
#[derive(Debug, Clone, Default)]
pub struct Layered {
    base: Arc<AHashMap<IpAddr, Arc<Endpoint>>>,
    /// None for what is no longer in the base.
    changes: Arc<AHashMap<IpAddr, Option<Arc<Endpoint>>>>,
    len: usize,
}

impl Layered {
    /// Who has an address.
    pub fn get(&self, ip: &IpAddr) -> Option<&Arc<Endpoint>> {
        if !self.changes.is_empty()
            && let Some(changed) = self.changes.get(ip)
        {
            return changed.as_ref();
        }
        self.base.get(ip)
    }

    /// Addresses in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Gives an address to somebody; who had it before.
    pub fn insert(&mut self, ip: IpAddr, endpoint: Arc<Endpoint>) -> Option<Arc<Endpoint>> {
        self.change(ip, Some(endpoint))
    }

    /// Takes an address away; who had it.
    pub fn remove(&mut self, ip: &IpAddr) -> Option<Arc<Endpoint>> {
        self.get(ip)?;
        self.change(*ip, None)
    }

    fn change(&mut self, ip: IpAddr, endpoint: Option<Arc<Endpoint>>) -> Option<Arc<Endpoint>> {
        let former = self.get(&ip).cloned();
        self.len += usize::from(endpoint.is_some());
        self.len -= usize::from(former.is_some());
        Arc::make_mut(&mut self.changes).insert(ip, endpoint);
        if self.changes.len() > FEW + self.base.len() / PART {
            self.settle();
        }
        former
    }

    /// Brings what has changed into the large table.
    fn settle(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        let base = Arc::make_mut(&mut self.base);
        changes.iter().for_each(|(ip, endpoint)| {
            match endpoint {
                Some(endpoint) => base.insert(*ip, Arc::clone(endpoint)),
                None => base.remove(ip),
            };
        });
    }

    /// Every address, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, &Arc<Endpoint>)> {
        let unchanged = self.base.iter();
        let unchanged = unchanged.filter(|(ip, _)| !self.changes.contains_key(*ip));
        let changed = self.changes.iter();
        let changed = changed.filter_map(|(ip, endpoint)| Some((*ip, endpoint.as_ref()?)));
        unchanged
            .map(|(ip, endpoint)| (*ip, endpoint))
            .chain(changed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::identity::reserved;
    use crate::record::IdentityNumber;

    proptest! {
        #[test]
        fn it_is_a_map_whatever_is_shared(
            steps in prop::collection::vec((0u32..900, prop::option::weighted(0.7, 1u32..50), any::<bool>()), 0..3000)
        ) {
            let mut layered = Layered::default();
            let mut plain: BTreeMap<IpAddr, u32> = BTreeMap::new();
            let mut copies = Vec::new();
            for (ip, number, is_copied) in steps {
                let ip = IpAddr::from(Ipv4Addr::from_bits(ip));
                let (former, expected) = match number {
                    Some(number) => {
                        let endpoint = Arc::new(reserved(IdentityNumber(number), "x"));
                        (layered.insert(ip, endpoint), plain.insert(ip, number))
                    }
                    None => (layered.remove(&ip), plain.remove(&ip)),
                };
                prop_assert_eq!(former.map(|former| former.identity.0), expected);
                if is_copied && copies.len() < 5 {
                    copies.push((layered.clone(), plain.clone()));
                }
            }
            copies.push((layered, plain));
            for (layered, plain) in copies {
                prop_assert_eq!(layered.len(), plain.len());
                let all: BTreeMap<IpAddr, u32> =
                    layered.iter().map(|(ip, endpoint)| (ip, endpoint.identity.0)).collect();
                prop_assert_eq!(&all, &plain);
                for ip in plain.keys() {
                    let found = layered.get(ip).map(|endpoint| endpoint.identity.0);
                    prop_assert_eq!(found, plain.get(ip).copied());
                }
            }
        }
    }
}
