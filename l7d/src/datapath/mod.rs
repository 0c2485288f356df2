//! The kernel side, as the agent sees it: load, pin, attach, fill the maps, read the ring.
//!
//! Maps and links are pinned, so that they outlive the process: a second start adopts the maps and
//! updates the links in place, and no packet passes a moment without programs. Everything that the
//! kernel keeps for us is below one folder of a bpf filesystem; [`cleanup`] removes it.

mod attach;
mod batch;
mod beats;
pub mod btf;
mod connections;
pub mod decode;
pub mod drops;
mod error;
pub mod features;
mod filters;
pub mod host_network;
mod links;
mod maps;
mod ring;
mod ring_counts;
mod tap_ring;

use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aya::maps::SockMap;
use aya::{Ebpf, EbpfLoader};
use l7d_ebpf::ABI_VERSION;
use l7d_ebpf::maps::{
    CONFIG_FAIL_OPEN, Config as KernelConfig, DATAGRAM_WORKERS_MAX, MOMENT_SHIFT, datagram_socket,
};

pub use attach::cleanup;
pub use beats::Beats;
pub use connections::{ConnectionCounts, Ended, Ends};
pub use drops::{Blind, Drops, Knowledge};
pub use error::Error;
pub use links::has_former;
pub use maps::{
    ConnectionTable, EndpointSets, Entries, Identified, KernelWorld, MapMemory, Originals,
    PolicyAction, PolicyDirection, PolicyEntry, Pressure, SetMode, Shortage,
};
pub use ring::Ring;
pub use ring_counts::RingCounts;
pub use tap_ring::TapRing;

use crate::clock::Monotonic;
use crate::config::{Aggregation, KernelFeature, Marks, OnProxyDown, Tap, Transport, WatchedPort};
use crate::proxy::DatagramSockets;

/// The kernel programs, or nothing when they were not built.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/l7d.bpf.o"));

/// Whether the kernel programs are in this binary.
pub fn has_programs() -> bool {
    !OBJECT.is_empty()
}

/// A beat older than this means that the proxy is gone.
const HEARTBEAT_LIMIT_NS: u64 = 700_000_000;
/// How often [`Datapath::beat`] wants to be called.
pub const HEARTBEAT_PERIOD: Duration = Duration::from_millis(200);

/// Maps that a restart adopts; the others hold nothing worth keeping.
const PINNED_MAPS: [&str; 12] = [
    "CONFIG",
    "HEARTBEAT",
    "INTERFACES",
    "ENDPOINTS",
    "IPCACHE",
    "POLICY",
    "WATCHED_PORTS",
    "HOST_PORTS",
    "CONNTRACK",
    "FRAGMENTS",
    "ORIGINAL",
    "CLIENTS",
];

/// What the kernel side is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder in a bpf filesystem.
    pub pin_dir: PathBuf,
    /// Marks of the proxy's packets.
    pub marks: Marks,
    /// Interface index of the portal.
    pub portal: u32,
    /// TCP port of the proxy on loopback.
    pub proxy_port: u16,
    /// Ring buffer size in bytes.
    pub ring_bytes: u32,
    /// Most policy entries; a pinned map keeps what it was made with.
    pub policy_entries: u32,
    /// Most addresses and prefixes; as above.
    pub ipcache_entries: u32,
    /// Most connections remembered; as above.
    pub connections: u32,
    /// What of packets is told.
    pub aggregation: Aggregation,
    /// What the tap copies.
    pub tap: Tap,
    /// What enforced ports do without the proxy.
    pub on_proxy_down: OnProxyDown,
    /// Records of drops that a CPU may write in a second.
    pub drop_records: u32,
    /// The agent that ran before is still there, and its proxied connections go on.
    pub takes_over: bool,
    /// What this kernel lacks, or is not to be used of it.
    pub absent: BTreeSet<KernelFeature>,
}

/// A duration as the programs count it.
fn moments(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos() >> MOMENT_SHIFT).unwrap_or(u32::MAX >> 1)
}

fn size_maps(loader: &mut EbpfLoader<'_>, settings: &Settings) {
    for (map, entries) in [
        ("RING", settings.ring_bytes),
        ("TAP_RING", settings.tap.ring_bytes),
        ("POLICY", settings.policy_entries),
        ("IPCACHE", settings.ipcache_entries),
        ("CONNTRACK", settings.connections),
    ] {
        loader.map_max_entries(map, entries);
    }
}

/// Settings of the programs until the proxy is there.
fn first_config(settings: &Settings) -> KernelConfig {
    KernelConfig {
        // 0 is "not judged"; a start judges every connection anew.
        generation: u32::try_from(Monotonic::now().0 >> 20).unwrap_or(1).max(1),
        portal: settings.portal,
        mark_mask: settings.marks.mask,
        mark_reply: settings.marks.reply,
        mark_upstream: settings.marks.upstream,
        mark_upstream_local: settings.marks.upstream_local,
        proxy_port: u32::from(settings.proxy_port),
        flags: if settings.on_proxy_down == OnProxyDown::Open {
            CONFIG_FAIL_OPEN
        } else {
            0
        },
        heartbeat_ns: HEARTBEAT_LIMIT_NS,
        datagram_workers: 0,
        datagram_ports: [0; 2],
        tap_request_bytes: settings.tap.request_bytes,
        tap_response_bytes: settings.tap.response_bytes,
        report_moments: moments(settings.aggregation.interval),
        aggregation: settings.aggregation.level.number(),
    }
}

/// Where the maps of this version's programs are pinned.
fn pinned_maps(pin_dir: &Path) -> PathBuf {
    pin_dir.join(format!("v{ABI_VERSION}/maps"))
}

/// The loaded programs.
#[derive(Debug)]
pub struct Datapath {
    ebpf: Ebpf,
    links: links::Links,
    maps: maps::Tables,
    drops: Result<Arc<Drops>, String>,
    /// Where the maps are pinned.
    pins: PathBuf,
    connections: connections::Connections,
}

/// The kernel side as it begins.
#[derive(Debug)]
pub struct Started {
    /// The programs and their maps.
    pub datapath: Datapath,
    /// What the programs tell.
    pub ring: Ring,
    /// What the tap copies.
    pub tap_ring: TapRing,
    /// Connections that end.
    pub ends: Ends,
}

impl Datapath {
    /// Loads the programs, adopting pinned maps of the same version.
    pub fn start(settings: &Settings) -> Result<Started, Error> {
        if OBJECT.is_empty() {
            return Err(Error::NoPrograms);
        }
        let version = format!("v{ABI_VERSION}");
        let has = |feature| !settings.absent.contains(&feature);
        let links = links::Links::new(&settings.pin_dir, &version, has(KernelFeature::Tcx));
        let pins = pinned_maps(&settings.pin_dir);
        for folder in [links.folder(), &pins] {
            std::fs::create_dir_all(folder).map_err(|cause| Error::PinFolder {
                folder: folder.to_owned(),
                cause,
            })?;
        }
        let mut loader = EbpfLoader::new();
        if !has(KernelFeature::Btf) {
            loader.btf(None);
        }
        size_maps(&mut loader, settings);
        for map in PINNED_MAPS {
            loader.map_pin_path(map, pins.join(map));
        }
        let coarse_clock = u32::from(has(KernelFeature::CoarseClock));
        loader.override_global("COARSE_CLOCK", &coarse_clock, true);
        let knowledge = if has(KernelFeature::Btf) {
            Knowledge::read(settings.drop_records)
        } else {
            Err(Blind::NoBtf)
        };
        if let Ok(knowledge) = &knowledge {
            knowledge.tell(&mut loader);
        }
        let mut ebpf = loader.load(OBJECT).map_err(|cause| Error::Load { cause })?;
        // It has read the types of the whole kernel for itself.
        drop(loader);
        attach::load_programs(&mut ebpf)?;
        if has(KernelFeature::CgroupHooks) {
            attach::load_socket_hooks(&mut ebpf)?;
        }
        let ring = Ring::new(&mut ebpf)?;
        let tap_ring = TapRing::new(&mut ebpf)?;
        let maps = maps::Tables::adopt(&mut ebpf, first_config(settings))?;
        let last_beat = maps.last_beat().filter(|_| !settings.takes_over);
        let drops = knowledge.map_err(|blind| blind.to_string());
        let drops = drops.and_then(|knowledge| {
            Drops::attach(&mut ebpf, knowledge)
                .map(Arc::new)
                .map_err(|error| error.to_string())
        });
        let (connections, ends) = connections::Connections::begin(&mut ebpf, last_beat)?;
        let datapath = Self {
            ebpf,
            links,
            maps,
            drops,
            pins,
            connections,
        };
        Ok(Started {
            datapath,
            ring,
            tap_ring,
            ends,
        })
    }

    /// What the kernel drops, or why that is not seen.
    pub fn drops(&self) -> Result<&Arc<Drops>, &str> {
        self.drops.as_ref().map_err(String::as_str)
    }

    /// Tells the programs what of packets is to be told from now on.
    pub fn set_aggregation(&mut self, aggregation: Aggregation) -> Result<(), Error> {
        self.maps.update_config(|config| {
            config.report_moments = moments(aggregation.interval);
            config.aggregation = aggregation.level.number();
        })
    }

    /// Tells the programs that the proxy is there. Call it every [`HEARTBEAT_PERIOD`].
    pub fn beat(&mut self) -> Result<(), Error> {
        self.maps.beat()
    }

    /// Gives the portal the proxy's listeners.
    pub fn set_listeners(
        &mut self,
        v4: &impl AsRawFd,
        v6: Option<&impl AsRawFd>,
    ) -> Result<(), Error> {
        let map = self
            .ebpf
            .map_mut("LISTENERS")
            .ok_or(Error::NoMap("LISTENERS"))?;
        let fault = |cause| Error::Map {
            map: "LISTENERS",
            cause,
        };
        let mut listeners = SockMap::try_from(map).map_err(fault)?;
        listeners.set(0, v4, 0).map_err(fault)?;
        match v6 {
            Some(v6) => listeners.set(1, v6, 0).map_err(fault),
            None => Ok(()),
        }
    }

    /// Gives redirected datagrams the proxy's sockets: of each worker those for IPv4, and for IPv6
    /// where there is any.
    pub fn set_datagram_sockets(
        &mut self,
        workers: &[[Option<DatagramSockets>; 2]],
    ) -> Result<(), Error> {
        const MAP: &str = "DATAGRAM_SOCKETS";
        let map = self.ebpf.map_mut(MAP).ok_or(Error::NoMap(MAP))?;
        let fault = |cause| Error::Map { map: MAP, cause };
        let mut slots = SockMap::try_from(map).map_err(fault)?;
        for (worker, families) in (0..DATAGRAM_WORKERS_MAX).zip(workers) {
            for (is_ipv6, sockets) in [false, true].into_iter().zip(families) {
                let Some(DatagramSockets {
                    queries, replies, ..
                }) = sockets
                else {
                    continue;
                };
                let slot = |is_reply| datagram_socket(worker, is_reply, is_ipv6);
                slots.set(slot(false), queries, 0).map_err(fault)?;
                slots.set(slot(true), replies, 0).map_err(fault)?;
            }
        }
        let ports = workers
            .first()
            .map(|families| families.map(|sockets| sockets.map_or(0, |sockets| sockets.port)));
        let workers = u32::try_from(workers.len()).unwrap_or(DATAGRAM_WORKERS_MAX);
        self.maps.update_config(|config| {
            config.datagram_ports = ports.unwrap_or_default();
            config.datagram_workers = workers.min(DATAGRAM_WORKERS_MAX);
        })?;
        attach::network_namespace(&mut self.ebpf, &self.links)
    }

    /// Puts the hooks on a pod's host interface.
    pub fn attach_pod(
        &mut self,
        name: &str,
        index: u32,
        endpoint: u16,
        identity: u32,
    ) -> Result<(), Error> {
        self.maps.set_interface(index, endpoint, identity)?;
        attach::interface(&mut self.ebpf, &self.links, name, index, &attach::POD)
    }

    /// Puts the hooks on an interface that leads out of the node, those that judge what is for the node
    /// itself or those that do not; where the others are, they are replaced.
    pub fn attach_uplink(&mut self, name: &str, index: u32, is_guarded: bool) -> Result<(), Error> {
        let hooks = if is_guarded {
            &attach::GUARDED_UPLINK
        } else {
            &attach::UPLINK
        };
        attach::interface(&mut self.ebpf, &self.links, name, index, hooks)
    }

    /// Puts the hook on the portal.
    pub fn attach_portal(&mut self, name: &str, index: u32) -> Result<(), Error> {
        attach::interface(&mut self.ebpf, &self.links, name, index, &attach::PORTAL)
    }

    /// Puts the socket hooks for a transport protocol on a cgroup.
    pub fn attach_cgroup(&mut self, cgroup: &Path, transport: Transport) -> Result<(), Error> {
        match transport {
            Transport::Tcp => attach::cgroup(&mut self.ebpf, &self.links, cgroup),
            Transport::Udp => attach::cgroup_datagrams(&mut self.ebpf, &self.links, cgroup),
        }
    }

    /// Forgets an interface that is gone; the kernel has taken its hooks along.
    pub fn detach(&mut self, index: u32) {
        self.maps.forget_interface(index);
        attach::forget(&self.links, index);
    }

    /// Replaces the table of addresses; only the difference is written.
    pub fn set_ipcache(&mut self, entries: &[Identified]) -> Result<(), Error> {
        self.maps.set_addresses(entries)
    }

    /// Brings addresses and policy up to date, so that every packet meets either the former policy or
    /// the new one, and every connection is judged anew. What finds no room is closed, and told by
    /// [`Self::shortages`].
    pub fn apply(&mut self, world: &KernelWorld<'_>) -> Result<(), Error> {
        self.maps.apply(world)
    }

    /// What found no room at the last change.
    pub fn shortages(&self) -> &[Shortage] {
        self.maps.shortages()
    }

    /// Entries that found no room since the start.
    pub fn refusals(&self) -> u64 {
        self.maps.refusals()
    }

    /// How full the maps are.
    pub fn pressure(&self) -> [Pressure; 4] {
        let [policy, ipcache, endpoints] = self.maps.pressure();
        [policy, ipcache, endpoints, self.connections.pressure()]
    }

    /// What became of the connections that came.
    pub fn connection_counts(&self) -> &Arc<ConnectionCounts> {
        self.connections.counts()
    }

    /// Ends what programs of another version left running, now that those of this one are attached.
    pub fn retire_former(&self) {
        self.links.retire_former();
    }

    /// Replaces the ports that are looked at on endpoints.
    pub fn set_watched_ports(&mut self, ports: &[WatchedPort]) -> Result<(), Error> {
        maps::set_ports(&mut self.ebpf, "WATCHED_PORTS", ports)
    }

    /// Replaces the ports that this host's own processes are redirected for.
    pub fn set_host_ports(&mut self, ports: &[WatchedPort]) -> Result<(), Error> {
        maps::set_ports(&mut self.ebpf, "HOST_PORTS", ports)
    }

    /// Where processes of this host wanted to connect.
    pub fn originals(&mut self) -> Result<Originals, Error> {
        Originals::new(&mut self.ebpf)
    }

    /// The table of connections, for one more who asks.
    pub fn connections(&self) -> Result<ConnectionTable, Error> {
        ConnectionTable::open(&self.pins)
    }
}
