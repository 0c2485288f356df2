//! Numbers of endpoints on this node.

use std::collections::BTreeMap;

use crate::record::EndpointId;

/// Gives each endpoint (namespace and name) a number that is the same after a restart, so that
/// what the kernel remembers about it stays true. The number is a hash of the name; two names
/// that meet are told apart by probing, the older one keeps its number.
#[derive(Debug, Default)]
pub struct EndpointNumbers {
    taken: BTreeMap<u16, String>,
}

/// Numbers below are left free, as Cilium's host endpoints use small ones.
const FIRST: u16 = 16;

impl EndpointNumbers {
    /// The number of an endpoint; `None` when all 65,519 are taken.
    pub fn number(&mut self, namespace: &str, name: &str) -> Option<EndpointId> {
        let key = format!("{namespace}/{name}");
        let span = u32::from(u16::MAX - FIRST) + 1;
        let start = fnv1a(key.as_bytes()) % span;
        (0..span)
            .filter_map(|step| u16::try_from(u32::from(FIRST) + (start + step) % span).ok())
            .find(|number| self.taken.get(number).is_none_or(|holder| *holder == key))
            .map(|number| {
                self.taken.insert(number, key);
                EndpointId(number)
            })
    }

    /// Nobody has the number any more.
    pub fn release(&mut self, id: EndpointId) {
        self.taken.remove(&id.0);
    }
}

/// FNV-1a, 32 bits: stable across versions and machines, which `std`'s hashers do not promise.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stays_with_its_name() {
        let mut first = EndpointNumbers::default();
        let mut second = EndpointNumbers::default();
        let web = first.number("shop", "web");
        assert_eq!(web, first.number("shop", "web"));
        assert_eq!(web, second.number("shop", "web"));
        assert_ne!(web, first.number("shop", "cart"));
    }

    #[test]
    fn numbers_never_meet() {
        let mut numbers = EndpointNumbers::default();
        let mut seen = std::collections::HashSet::new();
        for pod in 0..5000 {
            let id = numbers
                .number("load", &format!("pod-{pod}"))
                .expect("a free number");
            assert!(id.0 >= FIRST);
            assert!(seen.insert(id), "two endpoints share {id:?}");
        }
    }
}
