//! Typed writers of the maps: each takes the whole desired state and writes the difference.

mod originals;
mod policy;

use std::collections::BTreeMap;

use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, Map, MapError};
use ipnet::IpNet;
use l7d_ebpf::maps::{
    ACTION_DENY, Endpoint, IPCACHE_SERVICE, Interface, Ipcache, Policy, PolicyKey,
    WATCHED_BY_PROXY, WATCHED_BY_TAP, watched_port,
};

pub use originals::Originals;
pub use policy::{PolicyAction, PolicyDirection, PolicyEntry, PolicyForEndpoint};
use policy::{endpoint_flags, policy_entry};

use super::Error;
use crate::config::{Visibility, WatchedPort};

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

type IpcacheKey = (u8, [u8; 16]);
type PolicyMapKey = (u8, PolicyKey);

/// What is in the maps now, so that only differences are written.
#[derive(Debug, Default)]
pub(super) struct State {
    ipcache: BTreeMap<IpcacheKey, (u32, u16, u16)>,
    policy: BTreeMap<PolicyMapKey, (u8, u8, u32)>,
    endpoints: BTreeMap<u32, u32>,
}

impl State {
    /// Reads what an earlier start left.
    pub(super) fn adopt(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let ipcache: LpmTrie<_, [u8; 16], Ipcache> = typed(ebpf, "IPCACHE")?;
        let known_ipcache = ipcache
            .iter()
            .filter_map(Result::ok)
            .map(|(key, value)| {
                let bits = u8::try_from(key.prefix_len()).unwrap_or(128);
                (
                    (bits, key.data()),
                    (value.identity, value.endpoint, value.flags),
                )
            })
            .collect();
        let policy: LpmTrie<_, PolicyKey, Policy> = typed(ebpf, "POLICY")?;
        let known_policy = policy
            .iter()
            .filter_map(Result::ok)
            .map(|(key, value)| {
                let bits = u8::try_from(key.prefix_len()).unwrap_or(96);
                (
                    (bits, key.data()),
                    (value.action, value.match_type, value.rule),
                )
            })
            .collect();
        let endpoints: HashMap<_, u32, Endpoint> = typed(ebpf, "ENDPOINTS")?;
        let known_endpoints = endpoints
            .iter()
            .filter_map(Result::ok)
            .map(|(endpoint, value)| (endpoint, value.flags))
            .collect();
        Ok(Self {
            ipcache: known_ipcache,
            policy: known_policy,
            endpoints: known_endpoints,
        })
    }

    pub(super) fn set_ipcache(
        &mut self,
        ebpf: &mut Ebpf,
        entries: Vec<Identified>,
    ) -> Result<(), Error> {
        let fault = |cause| Error::Map {
            map: "IPCACHE",
            cause,
        };
        let wanted: BTreeMap<IpcacheKey, (u32, u16, u16)> = entries
            .into_iter()
            .map(|entry| {
                let flags = if entry.is_service { IPCACHE_SERVICE } else { 0 };
                (
                    prefix_key(entry.prefix),
                    (entry.identity, entry.endpoint, flags),
                )
            })
            .collect();
        let mut map: LpmTrie<_, [u8; 16], Ipcache> = typed(ebpf, "IPCACHE")?;
        for (key, value) in &wanted {
            if self.ipcache.get(key) != Some(value) {
                let (identity, endpoint, flags) = *value;
                let value = Ipcache {
                    identity,
                    endpoint,
                    flags,
                };
                map.insert(&Key::new(u32::from(key.0), key.1), value, 0)
                    .map_err(fault)?;
            }
        }
        for key in self.ipcache.keys().filter(|key| !wanted.contains_key(*key)) {
            gone(map.remove(&Key::new(u32::from(key.0), key.1))).map_err(fault)?;
        }
        self.ipcache = wanted;
        Ok(())
    }

    pub(super) fn apply_policy(
        &mut self,
        ebpf: &mut Ebpf,
        endpoints: &[PolicyForEndpoint],
    ) -> Result<(), Error> {
        let wanted: BTreeMap<PolicyMapKey, (u8, u8, u32)> = endpoints
            .iter()
            .flat_map(|endpoint| {
                endpoint
                    .entries
                    .iter()
                    .map(|entry| policy_entry(endpoint.endpoint, entry))
            })
            .collect();
        let flags: BTreeMap<u32, u32> = endpoints
            .iter()
            .map(|endpoint| (u32::from(endpoint.endpoint), endpoint_flags(endpoint)))
            .collect();
        // Denials first, then permissions, then what an endpoint does by default, then removals:
        // at no moment is more open than under either version.
        self.write_entries(ebpf, &wanted, |action| action == ACTION_DENY)?;
        self.write_entries(ebpf, &wanted, |action| action != ACTION_DENY)?;
        self.write_flags(ebpf, flags)?;
        self.remove_entries(ebpf, &wanted)?;
        self.policy = wanted;
        Ok(())
    }

    fn write_entries(
        &self,
        ebpf: &mut Ebpf,
        wanted: &BTreeMap<PolicyMapKey, (u8, u8, u32)>,
        is_due: impl Fn(u8) -> bool,
    ) -> Result<(), Error> {
        let mut map: LpmTrie<_, PolicyKey, Policy> = typed(ebpf, "POLICY")?;
        for (key, value) in wanted {
            let (action, match_type, rule) = *value;
            if is_due(action) && self.policy.get(key) != Some(value) {
                let value = Policy {
                    action,
                    match_type,
                    reserved: 0,
                    rule,
                };
                map.insert(&Key::new(u32::from(key.0), key.1), value, 0)
                    .map_err(|cause| Error::Map {
                        map: "POLICY",
                        cause,
                    })?;
            }
        }
        Ok(())
    }

    fn remove_entries(
        &self,
        ebpf: &mut Ebpf,
        wanted: &BTreeMap<PolicyMapKey, (u8, u8, u32)>,
    ) -> Result<(), Error> {
        let mut map: LpmTrie<_, PolicyKey, Policy> = typed(ebpf, "POLICY")?;
        for key in self.policy.keys().filter(|key| !wanted.contains_key(*key)) {
            gone(map.remove(&Key::new(u32::from(key.0), key.1))).map_err(|cause| Error::Map {
                map: "POLICY",
                cause,
            })?;
        }
        Ok(())
    }

    fn write_flags(&mut self, ebpf: &mut Ebpf, wanted: BTreeMap<u32, u32>) -> Result<(), Error> {
        let fault = |cause| Error::Map {
            map: "ENDPOINTS",
            cause,
        };
        let mut map: HashMap<_, u32, Endpoint> = typed(ebpf, "ENDPOINTS")?;
        for (endpoint, flags) in &wanted {
            if self.endpoints.get(endpoint) != Some(flags) {
                map.insert(
                    endpoint,
                    Endpoint {
                        flags: *flags,
                        reserved: 0,
                    },
                    0,
                )
                .map_err(fault)?;
            }
        }
        for endpoint in self
            .endpoints
            .keys()
            .filter(|endpoint| !wanted.contains_key(*endpoint))
        {
            gone(map.remove(endpoint)).map_err(fault)?;
        }
        self.endpoints = wanted;
        Ok(())
    }
}

/// A handle on the map of `name`.
pub(super) fn typed<'e, M>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<M, Error>
where
    M: TryFrom<&'e mut Map, Error = MapError>,
{
    let map = ebpf.map_mut(name).ok_or(Error::NoMap(name))?;
    M::try_from(map).map_err(|cause| Error::Map { map: name, cause })
}

/// An entry that is not there has been removed as well as one that was.
fn gone(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound | MapError::ElementNotFound) => Ok(()),
        Err(MapError::SyscallError(error))
            if error.io_error.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(())
        }
        other => other,
    }
}

pub(super) fn set_interface(
    ebpf: &mut Ebpf,
    index: u32,
    endpoint: u16,
    identity: u32,
) -> Result<(), Error> {
    let mut map: HashMap<_, u32, Interface> = typed(ebpf, "INTERFACES")?;
    let value = Interface {
        endpoint: u32::from(endpoint),
        identity,
    };
    map.insert(index, value, 0).map_err(|cause| Error::Map {
        map: "INTERFACES",
        cause,
    })
}

pub(super) fn forget_interface(ebpf: &mut Ebpf, index: u32) {
    let map: Result<HashMap<_, u32, Interface>, Error> = typed(ebpf, "INTERFACES");
    let removed = map.map(|mut map| gone(map.remove(&index)));
    if !matches!(removed, Ok(Ok(()))) {
        tracing::warn!(index, "the entry of a vanished interface stays");
    }
}

pub(super) fn set_ports(
    ebpf: &mut Ebpf,
    name: &'static str,
    ports: &[WatchedPort],
) -> Result<(), Error> {
    let fault = |cause| Error::Map { map: name, cause };
    let wanted: BTreeMap<u32, u8> = ports
        .iter()
        .map(|watched| {
            let by = match watched.mode {
                Visibility::Proxy => WATCHED_BY_PROXY,
                Visibility::Tap => WATCHED_BY_TAP,
            };
            (watched_port(watched.transport.number(), watched.port), by)
        })
        .collect();
    let mut map: HashMap<_, u32, u8> = typed(ebpf, name)?;
    let present: BTreeMap<u32, u8> = map.iter().filter_map(Result::ok).collect();
    for (key, value) in &wanted {
        if present.get(key) != Some(value) {
            map.insert(key, value, 0).map_err(fault)?;
        }
    }
    for key in present.keys().filter(|key| !wanted.contains_key(*key)) {
        gone(map.remove(key)).map_err(fault)?;
    }
    Ok(())
}

fn prefix_key(prefix: IpNet) -> IpcacheKey {
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

    #[test]
    fn an_entry_without_protocol_matches_on_the_identity_alone() {
        let entry = PolicyEntry {
            direction: PolicyDirection::Egress,
            identity: 7,
            protocol: 0,
            port: 0,
            port_bits: 0,
            action: PolicyAction::Allow,
            match_type: 1,
            rule: 3,
        };
        let ((bits, key), value) = policy_entry(1, &entry);
        assert_eq!(bits, 64);
        assert_eq!(key, [0, 1, 2, 0, 0, 0, 0, 7, 0, 0, 0, 0]);
        assert_eq!(value, (1, 1, 3));
        let ((bits, _), _) = policy_entry(
            1,
            &PolicyEntry {
                protocol: 6,
                port_bits: 16,
                ..entry
            },
        );
        assert_eq!(bits, 88);
    }
}
