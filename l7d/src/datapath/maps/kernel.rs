//! The kernel's maps of one world, as the order of its changes needs them.

use aya::Ebpf;
use aya::maps::lpm_trie::Key as Prefix;
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, MapError};
use l7d_ebpf::maps::{Config, Endpoint, Interface, Ipcache, Policy, PolicyKey};
use rustix::thread::MembarrierCommand;

use super::gone;
use super::policy::{Key, Said};
use crate::clock::Monotonic;
use crate::datapath::{Error, HEARTBEAT_PERIOD};

/// Key of `IPCACHE`: prefix length and address.
pub(super) type AddressKey = (u8, [u8; 16]);

/// Why an entry cannot be written.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no room for it.
    Full,
    /// Something else.
    Other(Error),
}

/// What the order of changes does to the kernel; tests have one of their own, and judge packets after
/// each step.
pub(super) trait Kernel {
    fn set_policy(&mut self, slot: u16, key: Key, said: Said) -> Result<(), Fault>;
    fn remove_policy(&mut self, slot: u16, key: Key) -> Result<(), Error>;
    fn set_address(&mut self, key: AddressKey, value: Ipcache) -> Result<(), Fault>;
    fn remove_address(&mut self, key: AddressKey) -> Result<(), Error>;
    fn set_endpoint(&mut self, value: Endpoint) -> Result<(), Error>;
    fn remove_endpoint(&mut self, endpoint: u16) -> Result<(), Error>;
    fn set_interface(&mut self, index: u32, value: Interface) -> Result<(), Error>;
    fn set_config(&mut self, config: Config) -> Result<(), Error>;
    /// Waits until every packet that has read something of before is through. False where this kernel
    /// does not tell: then nothing is removed yet.
    fn wait_for_readers(&mut self) -> bool;
}

/// The real ones.
pub(super) struct Maps {
    policy: LpmTrie<MapData, PolicyKey, Policy>,
    ipcache: LpmTrie<MapData, [u8; 16], Ipcache>,
    endpoints: HashMap<MapData, u32, Endpoint>,
    interfaces: HashMap<MapData, u32, Interface>,
    config: Array<MapData, Config>,
    heartbeat: Array<MapData, u64>,
    /// Entries that POLICY, IPCACHE and ENDPOINTS have room for.
    room: [usize; 3],
    /// Entries that found none.
    refusals: u64,
    /// When the last sign of life was given: a long change must not look like death.
    beaten: Monotonic,
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maps")
            .field("room", &self.room)
            .field("beaten", &self.beaten)
            .finish_non_exhaustive()
    }
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let room = [
            room(ebpf, "POLICY")?,
            room(ebpf, "IPCACHE")?,
            room(ebpf, "ENDPOINTS")?,
        ];
        Ok(Self {
            policy: take(ebpf, "POLICY")?,
            ipcache: take(ebpf, "IPCACHE")?,
            endpoints: take(ebpf, "ENDPOINTS")?,
            interfaces: take(ebpf, "INTERFACES")?,
            config: take(ebpf, "CONFIG")?,
            heartbeat: take(ebpf, "HEARTBEAT")?,
            room,
            refusals: 0,
            beaten: Monotonic(0),
        })
    }

    pub(super) fn room(&self) -> [usize; 3] {
        self.room
    }

    pub(super) fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Counts what finds no room, which a trie says by ENOSPC, a hash map by E2BIG, and a memory limit
    /// by ENOMEM.
    fn written(&mut self, map: &'static str, result: Result<(), MapError>) -> Result<(), Fault> {
        let Err(cause) = result else { return Ok(()) };
        let MapError::SyscallError(error) = &cause else {
            return Err(Fault::Other(Error::Map { map, cause }));
        };
        match error.io_error.raw_os_error() {
            Some(libc::ENOSPC | libc::E2BIG | libc::ENOMEM) => {
                self.refusals += 1;
                Err(Fault::Full)
            }
            _ => Err(Fault::Other(Error::Map { map, cause })),
        }
    }

    /// Entries of all sets.
    pub(super) fn policies(&self) -> impl Iterator<Item = (u16, Key, Said)> {
        let entries = self.policy.iter().filter_map(Result::ok);
        entries.map(|(key, value)| {
            let (slot, of_set) = Key::of_kernel(key.prefix_len(), key.data());
            (slot, of_set, Said::of_kernel(value))
        })
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = (AddressKey, Ipcache)> {
        let entries = self.ipcache.iter().filter_map(Result::ok);
        entries.map(|(key, value)| {
            let bits = u8::try_from(key.prefix_len()).unwrap_or(128);
            ((bits, key.data()), value)
        })
    }

    pub(super) fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        let entries = self.endpoints.iter().filter_map(Result::ok);
        entries.map(|(_, value)| value)
    }

    pub(super) fn interfaces(&self) -> impl Iterator<Item = (u32, Interface)> {
        self.interfaces.iter().filter_map(Result::ok)
    }

    pub(super) fn remove_interface(&mut self, index: u32) -> Result<(), Error> {
        gone(self.interfaces.remove(&index)).map_err(of("INTERFACES"))
    }

    /// The sign of life.
    pub(super) fn beat(&mut self) -> Result<(), Error> {
        self.beaten = Monotonic::now();
        let beat = self.heartbeat.set(0, self.beaten.0, 0);
        beat.map_err(of("HEARTBEAT"))
    }

    /// When there was a sign of life last, if ever.
    pub(super) fn last_beat(&self) -> Option<Monotonic> {
        let beat = self.heartbeat.get(&0, 0).ok()?;
        (beat != 0).then_some(Monotonic(beat))
    }

    /// A sign of life if it is due, in the middle of a change; not before the first.
    fn beat_if_due(&mut self) -> Result<(), Error> {
        let limit = u64::try_from(HEARTBEAT_PERIOD.as_nanos()).unwrap_or(u64::MAX);
        if self.beaten.0 != 0 && Monotonic::now().nanos_since(self.beaten) >= limit {
            self.beat()?;
        }
        Ok(())
    }
}

impl Kernel for Maps {
    fn set_policy(&mut self, slot: u16, key: Key, said: Said) -> Result<(), Fault> {
        self.beat_if_due().map_err(Fault::Other)?;
        let (bits, data) = key.in_slot(slot);
        let written = self
            .policy
            .insert(&Prefix::new(bits, data), said.to_kernel(), 0);
        self.written("POLICY", written)
    }

    fn remove_policy(&mut self, slot: u16, key: Key) -> Result<(), Error> {
        self.beat_if_due()?;
        let (bits, data) = key.in_slot(slot);
        gone(self.policy.remove(&Prefix::new(bits, data))).map_err(of("POLICY"))
    }

    fn set_address(&mut self, key: AddressKey, value: Ipcache) -> Result<(), Fault> {
        self.beat_if_due().map_err(Fault::Other)?;
        let key = Prefix::new(u32::from(key.0), key.1);
        let written = self.ipcache.insert(&key, value, 0);
        self.written("IPCACHE", written)
    }

    fn remove_address(&mut self, key: AddressKey) -> Result<(), Error> {
        self.beat_if_due()?;
        let key = Prefix::new(u32::from(key.0), key.1);
        gone(self.ipcache.remove(&key)).map_err(of("IPCACHE"))
    }

    fn set_endpoint(&mut self, value: Endpoint) -> Result<(), Error> {
        let written = self.endpoints.insert(u32::from(value.endpoint), value, 0);
        written.map_err(of("ENDPOINTS"))
    }

    fn remove_endpoint(&mut self, endpoint: u16) -> Result<(), Error> {
        gone(self.endpoints.remove(&u32::from(endpoint))).map_err(of("ENDPOINTS"))
    }

    fn set_interface(&mut self, index: u32, value: Interface) -> Result<(), Error> {
        self.interfaces
            .insert(index, value, 0)
            .map_err(of("INTERFACES"))
    }

    fn set_config(&mut self, config: Config) -> Result<(), Error> {
        self.config.set(0, config, 0).map_err(of("CONFIG"))
    }

    fn wait_for_readers(&mut self) -> bool {
        // Programs run inside RCU's read side, and this waits for a grace period. Kernels refuse it that
        // have CPUs without ticks.
        rustix::thread::membarrier(MembarrierCommand::Global).is_ok()
    }
}

/// What a map has room for: a pinned one may have been made with other settings than today's.
fn room(ebpf: &Ebpf, name: &'static str) -> Result<usize, Error> {
    let Some(Map::LpmTrie(data) | Map::HashMap(data)) = ebpf.map(name) else {
        return Err(Error::NoMap(name));
    };
    let info = data.info().map_err(of(name))?;
    Ok(usize::try_from(info.max_entries()).unwrap_or(usize::MAX))
}

fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, Error>
where
    M: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(Error::NoMap(name))?;
    M::try_from(map).map_err(of(name))
}

fn of(map: &'static str) -> impl Fn(MapError) -> Error {
    move |cause| Error::Map { map, cause }
}
