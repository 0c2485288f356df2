//! Typed writers of the maps: each takes the whole desired state and writes the difference.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use aya::Ebpf;
use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, LpmTrie, Map, MapData, MapError};
use ipnet::IpNet;
use l7d_ebpf::maps::{
    ACTION_ALLOW, ACTION_DENY, ACTION_REDIRECT, Client, ENDPOINT_EGRESS_DEFAULT_DENY,
    ENDPOINT_EGRESS_POLICY, ENDPOINT_INGRESS_DEFAULT_DENY, ENDPOINT_INGRESS_POLICY, Endpoint,
    IPCACHE_SERVICE, Interface, Ipcache, Original, POLICY_BITS_IDENTITY, POLICY_BITS_PROTOCOL,
    Policy, PolicyKey, WATCHED_BY_PROXY, WATCHED_BY_TAP, policy_key, watched_port,
};
use l7d_ebpf::records::{DIRECTION_EGRESS, DIRECTION_INGRESS};

use super::Error;
use crate::config::{Transport, Visibility, WatchedPort};

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

/// The policy of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyForEndpoint {
    /// Number of the endpoint.
    pub endpoint: u16,
    /// What no entry allows is dropped on the way in.
    pub ingress_default_deny: bool,
    /// What no entry allows is dropped on the way out.
    pub egress_default_deny: bool,
    /// Entries.
    pub entries: Vec<PolicyEntry>,
}

/// One entry of an endpoint's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyEntry {
    /// Towards or away from the endpoint.
    pub direction: PolicyDirection,
    /// Identity of the other end, 0 for any.
    pub identity: u32,
    /// IP protocol, 0 for any.
    pub protocol: u8,
    /// Port of the receiver.
    pub port: u16,
    /// Leading bits of the port that count: 16 for exactly this one, 0 for any.
    pub port_bits: u8,
    /// What the entry says.
    pub action: PolicyAction,
    /// Hubble's match type.
    pub match_type: u8,
    /// Rule that made it.
    pub rule: u32,
}

/// Direction of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyDirection {
    /// Away from the endpoint.
    Egress,
    /// Towards the endpoint.
    Ingress,
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyAction {
    /// Pass.
    Allow,
    /// Drop.
    Deny,
    /// Let the proxy judge.
    Redirect,
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

fn policy_entry(endpoint: u16, entry: &PolicyEntry) -> (PolicyMapKey, (u8, u8, u32)) {
    let direction = match entry.direction {
        PolicyDirection::Egress => DIRECTION_EGRESS,
        PolicyDirection::Ingress => DIRECTION_INGRESS,
    };
    let action = match entry.action {
        PolicyAction::Allow => ACTION_ALLOW,
        PolicyAction::Deny => ACTION_DENY,
        PolicyAction::Redirect => ACTION_REDIRECT,
    };
    let bits = if entry.protocol == 0 {
        POLICY_BITS_IDENTITY
    } else {
        POLICY_BITS_PROTOCOL + u32::from(entry.port_bits.min(16))
    };
    let key = policy_key(
        endpoint,
        direction,
        entry.identity,
        entry.protocol,
        entry.port,
    );
    let bits = u8::try_from(bits).unwrap_or(u8::MAX);
    ((bits, key), (action, entry.match_type, entry.rule))
}

fn endpoint_flags(endpoint: &PolicyForEndpoint) -> u32 {
    let has = |direction| {
        endpoint
            .entries
            .iter()
            .any(|entry| entry.direction == direction)
    };
    let mut flags = 0;
    if endpoint.ingress_default_deny {
        flags |= ENDPOINT_INGRESS_DEFAULT_DENY;
    }
    if endpoint.egress_default_deny {
        flags |= ENDPOINT_EGRESS_DEFAULT_DENY;
    }
    if has(PolicyDirection::Ingress) {
        flags |= ENDPOINT_INGRESS_POLICY;
    }
    if has(PolicyDirection::Egress) {
        flags |= ENDPOINT_EGRESS_POLICY;
    }
    flags
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

/// Where processes of this host wanted to connect before they were redirected.
#[derive(Debug)]
pub struct Originals(HashMap<MapData, Client, Original>);

impl Originals {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let map = ebpf.take_map("CLIENTS").ok_or(Error::NoMap("CLIENTS"))?;
        HashMap::try_from(map)
            .map(Self)
            .map_err(|cause| Error::Map {
                map: "CLIENTS",
                cause,
            })
    }

    /// The address that the process asked for whose socket is `client`.
    pub fn look_up(&self, transport: Transport, client: SocketAddr) -> Option<SocketAddr> {
        let address = match client.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let key = Client {
            address,
            port: client.port(),
            protocol: transport.number(),
            reserved: [0; 5],
        };
        let original = self.0.get(&key, 0).ok()?;
        let ip = IpAddr::V6(Ipv6Addr::from(original.address)).to_canonical();
        Some(SocketAddr::new(ip, original.port))
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
