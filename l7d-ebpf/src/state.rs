//! The maps, and the settings that programs read from them.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf, SockMap};
use l7d_ebpf::drops::{
    DropBudget, DropCounts, Layout, NAMESPACES_MAX, Namespace, NormalPlaces, PLACES_MAX, Place,
    REASONS_MAX,
};
use l7d_ebpf::maps::{
    CLIENTS_MAX, CONNTRACK_MAX, Client, Config, Connection, DATAGRAM_SOCKETS_MAX, ENDPOINTS_MAX,
    Endpoint, FRAGMENTS_MAX, Fragment, INTERFACES_MAX, IPCACHE_MAX, Interface, Ipcache, Original,
    POLICY_MAX, Policy, PolicyKey, TABLE_COUNTS, TAP_DONE_MAX, Tuple,
};
use l7d_ebpf::records::{RECORDERS, RingCount, Scratch};

use crate::steps::loss::Loss;
use crate::steps::tap::Copy;

/// `BPF_F_NO_PREALLOC`: memory is taken when entries are.
const NO_PREALLOC: u32 = 1;

#[map]
pub(crate) static CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static HEARTBEAT: Array<u64> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static INTERFACES: HashMap<u32, Interface> =
    HashMap::with_max_entries(INTERFACES_MAX, 0);
#[map]
pub(crate) static ENDPOINTS: HashMap<u32, Endpoint> =
    HashMap::with_max_entries(ENDPOINTS_MAX, NO_PREALLOC);
#[map]
pub(crate) static IPCACHE: LpmTrie<[u8; 16], Ipcache> =
    LpmTrie::with_max_entries(IPCACHE_MAX, NO_PREALLOC);
#[map]
pub(crate) static POLICY: LpmTrie<PolicyKey, Policy> =
    LpmTrie::with_max_entries(POLICY_MAX, NO_PREALLOC);
#[map]
pub(crate) static WATCHED_PORTS: HashMap<u32, u8> = HashMap::with_max_entries(1024, 0);
#[map]
pub(crate) static HOST_PORTS: HashMap<u32, u8> = HashMap::with_max_entries(1024, 0);
#[map]
pub(crate) static CONNTRACK: LruHashMap<Tuple, Connection> =
    LruHashMap::with_max_entries(CONNTRACK_MAX, 0);
#[map]
pub(crate) static FRAGMENTS: LruHashMap<Fragment, [u16; 2]> =
    LruHashMap::with_max_entries(FRAGMENTS_MAX, 0);
#[map]
pub(crate) static LISTENERS: SockMap = SockMap::with_max_entries(2, 0);
#[map]
pub(crate) static DATAGRAM_SOCKETS: SockMap = SockMap::with_max_entries(DATAGRAM_SOCKETS_MAX, 0);
#[map]
pub(crate) static ORIGINAL: LruHashMap<u64, Original> =
    LruHashMap::with_max_entries(CLIENTS_MAX, 0);
#[map]
pub(crate) static CLIENTS: LruHashMap<Client, Original> =
    LruHashMap::with_max_entries(CLIENTS_MAX, 0);
#[map]
pub(crate) static TABLE: PerCpuArray<u64> = PerCpuArray::with_max_entries(TABLE_COUNTS, 0);
#[map]
pub(crate) static SHOT: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static RECORDS: PerCpuArray<RingCount> = PerCpuArray::with_max_entries(RECORDERS, 0);
#[map]
pub(crate) static PASSAGE: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static RING: RingBuf = RingBuf::with_byte_size(4 << 20, 0);
#[map]
pub(crate) static TAP_RING: RingBuf = RingBuf::with_byte_size(8 << 20, 0);
#[map]
pub(crate) static TAP_RECORDS: PerCpuArray<RingCount> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static RING_READER: Array<u32> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static TAP_READER: Array<u32> = Array::with_max_entries(1, 0);
#[map]
pub(crate) static TAP_DONE: LruHashMap<u64, u8> = LruHashMap::with_max_entries(TAP_DONE_MAX, 0);
#[map]
pub(crate) static TAP_COPY: PerCpuArray<Copy> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub(crate) static DROP_CLASSES: Array<u8> = Array::with_max_entries(REASONS_MAX, 0);
#[map]
pub(crate) static DROP_COUNTS: PerCpuArray<DropCounts> =
    PerCpuArray::with_max_entries(REASONS_MAX, 0);
#[map]
pub(crate) static DROP_BUDGET: PerCpuArray<DropBudget> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub(crate) static PLACES: LruHashMap<u64, Place> = LruHashMap::with_max_entries(PLACES_MAX, 0);
#[map]
pub(crate) static NAMESPACES: LruHashMap<u32, Namespace> =
    LruHashMap::with_max_entries(NAMESPACES_MAX, 0);
#[map]
pub(crate) static LOSSES: PerCpuArray<Loss> = PerCpuArray::with_max_entries(2, 0);

/// What the loader has found out about the running kernel.
#[unsafe(no_mangle)]
pub(crate) static LAYOUT: Layout = {
    // SAFETY: all-zero is a valid value of integers.
    unsafe { core::mem::zeroed() }
};
/// Bytes that are read as words.
#[repr(C, align(8))]
pub(crate) struct Aligned<T>(pub(crate) T);

/// Functions whose drops without a reason are normal ends.
#[unsafe(no_mangle)]
pub(crate) static NORMAL_PLACES: Aligned<NormalPlaces> = Aligned([[0; 48]; 8]);
/// How the kernel writes the name of a code address.
#[unsafe(no_mangle)]
pub(crate) static PLACE_FORMAT: [u8; 4] = *b"%pB\0";

/// The present settings.
#[inline(always)]
pub(crate) fn config() -> Option<&'static Config> {
    CONFIG.get(0)
}

/// Whether the proxy has given a sign of life lately.
#[inline(always)]
pub(crate) fn proxy_is_alive(config: &Config) -> bool {
    let Some(beat) = HEARTBEAT.get(0) else {
        return false;
    };
    // SAFETY: a plain helper call. The map value is read once; a torn read of an aligned u64 does
    // not happen on 64-bit machines.
    let now = unsafe { bpf_ktime_get_ns() };
    now.wrapping_sub(*beat) < config.heartbeat_ns
}
