//! What the kernel drops, as the agent sees it: the programs that watch, what reasons are called, and
//! where in the kernel it happened.
//!
//! Nothing here is needed by anything else: without the kernel's description of its types (BTF), or
//! where a program is refused, the agent works as well, and says what it does not see.

mod layout;
pub mod meaning;
mod reasons;

use std::collections::HashMap;
use std::sync::Arc;

use aya::maps::{Array, HashMap as KernelMap, Map, MapData};
use aya::programs::{BtfTracePoint, FEntry};
use aya::{Btf as KernelTypes, Ebpf, EbpfLoader};
use l7d_ebpf::drops::{
    DROP_IN_POD, DropCounts, DropRecord, Layout, NORMAL_ALWAYS, NormalPlaces, Place, PlaceName,
    reason_at, reason_index,
};
use parking_lot::Mutex;

use super::Error;
use super::batch::Table;
use super::btf::{Btf, BtfError};
use crate::record::{DropReason, DropSite, FullQueue, KernelDrop};
use meaning::Class;
use reasons::Reasons;

/// Where the kernel describes its types and its modules'.
const FOLDER: &str = "/sys/kernel/btf";
const KERNEL: &str = "vmlinux";
/// Modules that have types which are of use.
const MODULES: [&str; 3] = ["veth", "openvswitch", "mac80211"];
const TRACEPOINT: &str = "kfree_skb";
const ACCEPT_QUEUE: &str = "tcp_conn_request";
/// Names of places remembered; the kernel remembers fewer.
const PLACES: usize = 4096;
/// Counts read at once; of each, there is one for every CPU.
const COUNTS_AT_ONCE: u32 = 128;

/// Why drops cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum Blind {
    /// What it describes is not to be used, or is not there.
    #[error("no BTF is to be used (datapath.without), or there is none (CONFIG_DEBUG_INFO_BTF)")]
    NoBtf,
    /// The kernel does not describe its types.
    #[error("{FOLDER}/{KERNEL} cannot be read: {0} (CONFIG_DEBUG_INFO_BTF)")]
    NoTypes(std::io::Error),
    /// What it describes cannot be read.
    #[error(transparent)]
    Types(#[from] BtfError),
    /// It gives no reasons.
    #[error("this kernel gives no reasons for drops (5.17 or newer does)")]
    NoReasons,
    /// Something that the programs read is not where it should be.
    #[error(transparent)]
    Layout(#[from] layout::Unknown),
}

/// What is known of the running kernel before its programs are loaded.
#[derive(Debug)]
pub struct Knowledge {
    layout: Layout,
    normal: NormalPlaces,
    reasons: Reasons,
    has_accept_queue: bool,
}

impl Knowledge {
    /// Asks the kernel; a CPU will write at most `records_per_second` records of drops in a second.
    pub fn read(records_per_second: u32) -> Result<Self, Blind> {
        let read = |name: &str| std::fs::read(format!("{FOLDER}/{name}"));
        let kernel = read(KERNEL).map_err(Blind::NoTypes)?;
        let kernel = Btf::parse(&kernel)?;
        let modules: Vec<Vec<u8>> = MODULES.iter().filter_map(|name| read(name).ok()).collect();
        // A module that cannot be read is one that is not there.
        let modules: Vec<Btf<'_>> = modules
            .iter()
            .filter_map(|bytes| Btf::of_module(bytes, &kernel).ok())
            .collect();
        let reasons = Reasons::read(&kernel, &modules);
        // Packet, place and reason.
        if reasons.is_empty() || kernel.tracepoint_arguments(TRACEPOINT) < Some(3) {
            return Err(Blind::NoReasons);
        }
        Ok(Self {
            layout: layout::find(&kernel, &modules, &reasons, records_per_second)?,
            normal: normal_places(),
            has_accept_queue: kernel.has_function(ACCEPT_QUEUE),
            reasons,
        })
    }

    /// Tells the programs.
    pub(super) fn tell<'k>(&'k self, loader: &mut EbpfLoader<'k>) {
        loader.override_global("LAYOUT", &self.layout, true);
        loader.override_global("NORMAL_PLACES", self.normal.as_slice(), true);
    }
}

/// Functions whose drops without a reason are normal ends.
fn normal_places() -> NormalPlaces {
    let mut normal: NormalPlaces =
        [[0; size_of::<PlaceName>()]; size_of::<NormalPlaces>() / size_of::<PlaceName>()];
    let names = |has_reason: bool| {
        let special = meaning::special().iter();
        special
            .filter(move |(reason, _, meaning)| {
                (*reason != "NOT_SPECIFIED") == has_reason && meaning.class == Class::Counted
            })
            .flat_map(|(_, places, _)| *places)
    };
    let (without_reason, always) = normal.split_at_mut(NORMAL_ALWAYS);
    let all = without_reason.iter_mut().zip(names(false));
    for (to, name) in all.chain(always.iter_mut().zip(names(true))) {
        for (to, byte) in to.iter_mut().zip(name.bytes()) {
            *to = byte;
        }
    }
    normal
}

/// The programs that watch, and what they say.
pub struct Drops {
    reasons: Reasons,
    places: KernelMap<MapData, u64, Place>,
    counts: Mutex<Table>,
    /// Names of places that were asked for.
    known: Mutex<HashMap<u64, Arc<str>>>,
    missing: Vec<String>,
}

impl std::fmt::Debug for Drops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drops")
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

/// What became of the drops of a reason since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropCount {
    /// Its name.
    pub reason: Arc<str>,
    /// What became of how many.
    pub counts: DropCounts,
}

impl Drops {
    /// Starts to watch. Only what has no meaning without the rest is an error.
    pub(super) fn attach(ebpf: &mut Ebpf, knowledge: Knowledge) -> Result<Self, Error> {
        let types = KernelTypes::from_sys_fs().map_err(|cause| Error::Types { cause })?;
        let Knowledge {
            layout,
            reasons,
            has_accept_queue,
            ..
        } = knowledge;
        classify(ebpf, &reasons)?;
        let places = take(ebpf, "PLACES")?;
        let counts = counts(ebpf)?;
        watch_frees(ebpf, &types)?;
        let mut missing = Vec::new();
        if layout.device_peer == 0 {
            missing.push(
                "no types of veth: drops inside of other network namespaces with the same \
                 addresses are told as this node's"
                    .to_owned(),
            );
        }
        let queue = if has_accept_queue && layout.listen_overflow != 0 {
            watch_accept_queues(ebpf, &types).map_err(|error| error.to_string())
        } else {
            Err(format!("this kernel has no {ACCEPT_QUEUE} to attach to"))
        };
        if let Err(reason) = queue {
            missing.push(format!(
                "connections that a full accept queue refuses in silence are not told: {reason}"
            ));
        }
        Ok(Self {
            reasons,
            places,
            counts: Mutex::new(counts),
            known: Mutex::default(),
            missing,
        })
    }

    /// What of this the kernel does not let us see.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// What the kernel says of a packet, and Hubble's number for it.
    pub fn explain(&self, packet: &DropRecord) -> (DropReason, KernelDrop) {
        let place = if packet.place == 0 {
            Arc::from(ACCEPT_QUEUE)
        } else {
            self.place(packet.place)
        };
        let meaning = self.reasons.meaning(packet.reason, &place);
        let queue = (packet.queue_limit != 0 || packet.queued != 0).then_some(FullQueue {
            used: packet.queued,
            limit: packet.queue_limit,
        });
        let told = KernelDrop {
            reason: self.reasons.name(packet.reason),
            place,
            meaning: meaning.map_or("", |meaning| meaning.text).into(),
            site: if packet.flags & DROP_IN_POD == 0 {
                DropSite::Node
            } else {
                DropSite::Pod
            },
            bytes: packet.length,
            queue,
            netfilter: None,
        };
        (
            DropReason(meaning.map_or(0, |meaning| meaning.hubble)),
            told,
        )
    }

    fn place(&self, address: u64) -> Arc<str> {
        let mut known = self.known.lock();
        if let Some(name) = known.get(&address) {
            return Arc::clone(name);
        }
        let Ok(place) = self.places.get(&address, 0) else {
            return Arc::from("");
        };
        let name: Arc<str> = Arc::from(text(&place.name));
        if known.len() >= PLACES {
            known.clear();
        }
        known.insert(address, Arc::clone(&name));
        name
    }

    /// What became of the drops of each reason of which there were any.
    pub fn counts(&self) -> Vec<DropCount> {
        let mut found = Vec::new();
        let read = self.counts.lock().read(|index, of_cpus| {
            let sum = sum(of_cpus);
            if let Some(index) = index.first_chunk()
                && sum != DropCounts::default()
            {
                found.push(DropCount {
                    reason: self.reasons.name(reason_at(u32::from_ne_bytes(*index))),
                    counts: sum,
                });
            }
        });
        if let Err(error) = read {
            tracing::warn!(%error, "what the kernel has dropped cannot be read");
        }
        found
    }
}

/// The sum of what each CPU has counted.
fn sum(of_cpus: &[u8]) -> DropCounts {
    let mut sum = DropCounts::default();
    for each in of_cpus.chunks_exact(size_of::<DropCounts>()) {
        let (words, _) = each.as_chunks();
        if let [told, untold, normal, others] = words {
            sum.told += u64::from_ne_bytes(*told);
            sum.untold += u64::from_ne_bytes(*untold);
            sum.normal += u64::from_ne_bytes(*normal);
            sum.others += u64::from_ne_bytes(*others);
        }
    }
    sum
}

/// The name in the kernel's bytes.
fn text(name: &PlaceName) -> &str {
    let end = name.iter().position(|byte| *byte == 0);
    let bytes = name.get(..end.unwrap_or(name.len())).unwrap_or_default();
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Tells the programs what becomes of the drops of each reason.
fn classify(ebpf: &mut Ebpf, reasons: &Reasons) -> Result<(), Error> {
    const MAP: &str = "DROP_CLASSES";
    let fault = |cause| Error::Map { map: MAP, cause };
    let map = ebpf.map_mut(MAP).ok_or(Error::NoMap(MAP))?;
    let mut classes: Array<_, u8> = Array::try_from(map).map_err(fault)?;
    for (reason, class) in reasons.classes() {
        let index = reason_index(reason);
        // What no reason has is counted together, and told.
        if index != 0 || reason == 0 {
            classes.set(index, class.number(), 0).map_err(fault)?;
        }
    }
    Ok(())
}

fn counts(ebpf: &mut Ebpf) -> Result<Table, Error> {
    const MAP: &str = "DROP_COUNTS";
    let Some(Map::PerCpuArray(map)) = ebpf.take_map(MAP) else {
        return Err(Error::NoMap(MAP));
    };
    Table::new(map, COUNTS_AT_ONCE).map_err(|cause| Error::Map { map: MAP, cause })
}

fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, Error>
where
    M: TryFrom<Map, Error = aya::maps::MapError>,
{
    let map = ebpf.take_map(name).ok_or(Error::NoMap(name))?;
    M::try_from(map).map_err(|cause| Error::Map { map: name, cause })
}

fn watch_frees(ebpf: &mut Ebpf, types: &KernelTypes) -> Result<(), Error> {
    let program: &mut BtfTracePoint = super::attach::program(ebpf, TRACEPOINT)?;
    let fault = |cause| Error::Program {
        program: TRACEPOINT,
        cause,
    };
    program.load(TRACEPOINT, types).map_err(fault)?;
    // It ends with this process: nobody else would read what it says.
    program.attach().map_err(fault).map(drop)
}

fn watch_accept_queues(ebpf: &mut Ebpf, types: &KernelTypes) -> Result<(), Error> {
    let program: &mut FEntry = super::attach::program(ebpf, ACCEPT_QUEUE)?;
    let fault = |cause| Error::Program {
        program: ACCEPT_QUEUE,
        cause,
    };
    program.load(ACCEPT_QUEUE, types).map_err(fault)?;
    program.attach().map_err(fault).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cpus_count_is_added_up() {
        let words: [u64; 8] = [1, 2, 3, 4, 10, 20, 30, 40];
        let sum = sum(&words.map(u64::to_ne_bytes).concat());
        let DropCounts {
            told,
            untold,
            normal,
            others,
        } = sum;
        assert_eq!([told, untold, normal, others], [11, 22, 33, 44]);
    }

    #[test]
    fn names_of_places_end_at_the_first_zero() {
        let mut name: PlaceName = [0; 48];
        for (to, byte) in name.iter_mut().zip(*b"nf_hook_slow") {
            *to = byte;
        }
        assert_eq!(text(&name), "nf_hook_slow");
        assert_eq!(text(&[b'a'; 48]).len(), 48);
    }

    #[test]
    fn places_of_normal_ends_fit_into_what_the_programs_have_room_for() {
        let names = normal_places();
        assert!(names.iter().any(|name| text(name) == "tcp_v6_rcv"));
        assert_eq!(text(&names[NORMAL_ALWAYS]), "ping_rcv");
        for last in [NORMAL_ALWAYS, names.len()] {
            assert_eq!(text(&names[last - 1]), "", "there is room for all of them");
        }
    }
}
