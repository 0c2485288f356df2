//! Typed writers of the maps: each takes the whole desired state and writes the difference.

mod addresses;
mod kernel;
mod lookup;
mod memory;
mod originals;
mod policy;
mod pressure;
mod sets;
mod world;

use std::collections::BTreeMap;

use aya::Ebpf;
use aya::maps::{HashMap, Map, MapError};
use l7d_ebpf::maps::{Config, Interface, WATCHED_BY_PROXY, WATCHED_BY_TAP, watched_port};

use addresses::Addresses;
pub use addresses::Identified;
use kernel::Maps;
pub use lookup::ConnectionTable;
pub use memory::MapMemory;
pub use originals::Originals;
pub use policy::{PolicyAction, PolicyDirection, PolicyEntry};
pub use pressure::{Pressure, Shortage};
pub use sets::SetMode;
use sets::Sets;
use world::State;
pub use world::{EndpointSets, Entries, KernelWorld};

use super::Error;
use crate::config::{Visibility, WatchedPort};

/// The maps of addresses and policy, and what is in them.
#[derive(Debug)]
pub(super) struct Tables {
    state: State<Maps>,
}

impl Tables {
    /// Reads what an earlier start left, and begins with these settings.
    pub(super) fn adopt(ebpf: &mut Ebpf, config: Config) -> Result<Self, Error> {
        let kernel = Maps::take(ebpf)?;
        let addresses = Addresses::adopt(kernel.addresses());
        let sets = Sets::adopt(kernel.policies());
        let endpoints = kernel.endpoints().map(|value| (value.endpoint, value));
        let endpoints = endpoints.collect();
        let interfaces = kernel.interfaces().collect();
        let mut state = State::new(kernel, config);
        state.addresses = addresses;
        state.sets = sets;
        state.endpoints = endpoints;
        state.interfaces = interfaces;
        state.update_config(|_| {})?;
        Ok(Self { state })
    }

    /// Makes the kernel know a world.
    pub(super) fn apply(&mut self, world: &KernelWorld<'_>) -> Result<(), Error> {
        self.state.apply(world)
    }

    /// Makes it know addresses alone.
    pub(super) fn set_addresses(&mut self, addresses: &[Identified]) -> Result<(), Error> {
        self.state.set_addresses(addresses)
    }

    /// Changes settings.
    pub(super) fn update_config(&mut self, change: impl FnOnce(&mut Config)) -> Result<(), Error> {
        self.state.update_config(change)
    }

    /// When a former agent has told them so last, if ever.
    pub(super) fn last_beat(&self) -> Option<crate::clock::Monotonic> {
        self.state.kernel.last_beat()
    }

    /// Tells the programs that the proxy is there.
    pub(super) fn beat(&mut self) -> Result<(), Error> {
        self.state.kernel.beat()
    }

    /// Makes an interface known.
    pub(super) fn set_interface(
        &mut self,
        index: u32,
        endpoint: u16,
        identity: u32,
    ) -> Result<(), Error> {
        let endpoint = u32::from(endpoint);
        self.state
            .set_interface(index, Interface { endpoint, identity })
    }

    /// Forgets an interface that is gone.
    pub(super) fn forget_interface(&mut self, index: u32) {
        self.state.interfaces.remove(&index);
        if let Err(error) = self.state.kernel.remove_interface(index) {
            tracing::warn!(index, %error, "the entry of a vanished interface stays");
        }
    }

    /// How full the maps are.
    pub(super) fn pressure(&self) -> [Pressure; 3] {
        let [policy, ipcache, endpoints] = self.state.kernel.room();
        [
            Pressure {
                map: "POLICY",
                used: self.state.sets.used(),
                max: policy,
            },
            Pressure {
                map: "IPCACHE",
                used: self.state.addresses.used(),
                max: ipcache,
            },
            Pressure {
                map: "ENDPOINTS",
                used: self.state.endpoints.len(),
                max: endpoints,
            },
        ]
    }

    /// Entries that found no room since the start.
    pub(super) fn refusals(&self) -> u64 {
        self.state.kernel.refusals()
    }

    /// What found no room at the last change.
    pub(super) fn shortages(&self) -> &[Shortage] {
        &self.state.shortages
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
