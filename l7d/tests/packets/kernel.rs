//! The real programs with real maps, given packets one by one (`BPF_PROG_TEST_RUN`).

use std::net::IpAddr;

use anyhow::Context as _;
use aya::maps::lpm_trie::{Key as Prefix, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, RingBuf};
use aya::programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use l7d::datapath::decode::{Decoded, decode};
use l7d_ebpf::maps::{
    ACTION_ALLOW, ACTION_DENY, ACTION_REDIRECT, AGGREGATION_MEDIUM, Config, Connection,
    ENDPOINT_EGRESS_DEFAULT_DENY, ENDPOINT_EGRESS_POLICY, ENDPOINT_INGRESS_DEFAULT_DENY,
    ENDPOINT_INGRESS_POLICY, Endpoint, Fragment, Interface, Ipcache, POLICY_BITS_IDENTITY,
    POLICY_BITS_PORT, POLICY_BITS_PROTOCOL, Policy, PolicyKey, Tuple, policy_key,
};
use l7d_ebpf::records::{DIRECTION_EGRESS, DIRECTION_INGRESS, PacketRecord};

use crate::world::{Action, Direction, Owner, RULES, Rule, STRANGER, STRANGERS};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/l7d.bpf.o"));

/// Loopback, in whose name packets are given.
const INTERFACE: u32 = 1;
const GENERATION: u32 = 7;
/// Endpoints, which are the slots of their sets as well.
const CLOSED: u16 = 21;
const OPEN: u16 = 22;
/// `struct __sk_buff` (`include/uapi/linux/bpf.h`) up to `ingress_ifindex`, which says that the packet
/// came in by an interface: this host's own stack did not make it.
const FROM_ELSEWHERE: [u8; 40] = {
    let mut context = [0; 40];
    context[36] = 2;
    context
};

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Dropped,
    /// To the portal.
    Redirected,
}

/// What is known of it behind the program.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) outcome: Outcome,
    pub(crate) records: Vec<PacketRecord>,
}

/// Programs and maps.
pub(crate) struct Kernel {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    conntrack: HashMap<MapData, Tuple, Connection>,
    fragments: HashMap<MapData, Fragment, [u16; 2]>,
    interfaces: HashMap<MapData, u32, Interface>,
    owner: Option<Owner>,
}

fn take<M: TryFrom<Map>>(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<M>
where
    M::Error: std::error::Error + Send + Sync + 'static,
{
    let map = ebpf.take_map(name).with_context(|| name.to_owned())?;
    M::try_from(map).with_context(|| name.to_owned())
}

impl Kernel {
    pub(crate) fn new() -> anyhow::Result<Self> {
        anyhow::ensure!(!OBJECT.is_empty(), "no kernel programs: cargo xtask ebpf");
        let mut loader = EbpfLoader::new();
        for (map, entries) in [("CONNTRACK", 1024), ("FRAGMENTS", 256), ("POLICY", 1024)] {
            loader.map_max_entries(map, entries);
        }
        loader.override_global("COARSE_CLOCK", &0_u32, true);
        let mut ebpf = loader.load(OBJECT)?;
        for name in ["from_pod", "to_pod"] {
            let program = ebpf.program_mut(name).with_context(|| name.to_owned())?;
            let program: &mut SchedClassifier = program.try_into()?;
            program.load()?;
        }
        tell(&mut ebpf)?;
        Ok(Self {
            ring: take(&mut ebpf, "RING")?,
            conntrack: take(&mut ebpf, "CONNTRACK")?,
            fragments: take(&mut ebpf, "FRAGMENTS")?,
            interfaces: take(&mut ebpf, "INTERFACES")?,
            owner: None,
            ebpf,
        })
    }

    /// Gives a frame to the hook of an endpoint; `None` where the kernel has none of so few bytes.
    pub(crate) fn judge(
        &mut self,
        owner: Owner,
        direction: Direction,
        frame: &[u8],
    ) -> anyhow::Result<Option<Seen>> {
        if self.owner != Some(owner) {
            let endpoint = u32::from(endpoint(owner));
            let identity = 1000 + endpoint;
            self.interfaces
                .insert(INTERFACE, Interface { endpoint, identity }, 0)?;
            self.owner = Some(owner);
        }
        let name = match direction {
            Direction::Egress => "from_pod",
            Direction::Ingress => "to_pod",
        };
        let program = self.ebpf.program(name).context(name)?;
        let program: &SchedClassifier = program.try_into()?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.ctx_in = Some(&FROM_ELSEWHERE);
        let done = match program.test_run(options) {
            Ok(done) => done,
            // Frames that end before the header of their kind does are not taken.
            Err(ProgramError::SyscallError(error))
                if frame.len() < 14 + 40 && error.io_error.raw_os_error() == Some(libc::EINVAL) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        // `TC_ACT_*` (`include/uapi/linux/pkt_cls.h`).
        let outcome = match done.return_value.cast_signed() {
            -1 => Outcome::Passed,
            2 => Outcome::Dropped,
            7 => Outcome::Redirected,
            other => anyhow::bail!("action {other}"),
        };
        let mut records = Vec::new();
        while let Some(item) = self.ring.next() {
            if let Decoded::Packet(record) = decode(&item)? {
                records.push(record);
            }
        }
        Ok(Some(Seen { outcome, records }))
    }

    /// Connections that are remembered.
    pub(crate) fn connections(&self) -> anyhow::Result<Vec<Tuple>> {
        Ok(self.conntrack.keys().collect::<Result<_, _>>()?)
    }

    /// Forgets connections and fragments.
    pub(crate) fn forget(&mut self) -> anyhow::Result<()> {
        for tuple in self.connections()? {
            self.conntrack.remove(&tuple)?;
        }
        let keys: Vec<Fragment> = self.fragments.keys().collect::<Result<_, _>>()?;
        for key in keys {
            self.fragments.remove(&key)?;
        }
        Ok(())
    }
}

fn endpoint(owner: Owner) -> u16 {
    match owner {
        Owner::Closed => CLOSED,
        Owner::Open => OPEN,
    }
}

/// Settings, endpoints, addresses and policies.
fn tell(ebpf: &mut Ebpf) -> anyhow::Result<()> {
    let mut config: Array<MapData, Config> = take(ebpf, "CONFIG")?;
    config.set(
        0,
        Config {
            generation: GENERATION,
            portal: INTERFACE,
            mark_mask: 0,
            mark_reply: 0,
            mark_upstream: 0,
            mark_upstream_local: 0,
            proxy_port: 0,
            flags: 0,
            datagram_workers: 0,
            datagram_ports: [0; 2],
            tap_request_bytes: 0,
            tap_response_bytes: 0,
            // The proxy is there, however long ago it gave a sign of life.
            heartbeat_ns: u64::MAX,
            report_moments: u32::MAX >> 1,
            aggregation: AGGREGATION_MEDIUM,
        },
        0,
    )?;
    let mut endpoints: HashMap<MapData, u32, Endpoint> = take(ebpf, "ENDPOINTS")?;
    let policy = ENDPOINT_INGRESS_POLICY | ENDPOINT_EGRESS_POLICY;
    let deny = ENDPOINT_INGRESS_DEFAULT_DENY | ENDPOINT_EGRESS_DEFAULT_DENY;
    for (endpoint, flags) in [(CLOSED, policy | deny), (OPEN, policy)] {
        let state = Endpoint {
            flags,
            endpoint,
            set: endpoint,
            audited_set: 0,
        };
        endpoints.insert(u32::from(endpoint), state, 0)?;
    }
    let mut ipcache: LpmTrie<MapData, [u8; 16], Ipcache> = take(ebpf, "IPCACHE")?;
    for (address, bits) in STRANGERS {
        let (bits, data) = match address {
            IpAddr::V4(v4) => (bits + 96, v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => (bits, v6.octets()),
        };
        let stranger = Ipcache {
            identity: STRANGER,
            endpoint: 0,
            flags: 0,
        };
        ipcache.insert(&Prefix::new(u32::from(bits), data), stranger, 0)?;
    }
    let mut policy: LpmTrie<MapData, PolicyKey, Policy> = take(ebpf, "POLICY")?;
    for rule in &RULES {
        for direction in rule.directions {
            policy.insert(&key(rule, *direction), entry(rule), 0)?;
        }
    }
    Ok(())
}

fn key(rule: &Rule, direction: Direction) -> Prefix<PolicyKey> {
    let direction = match direction {
        Direction::Ingress => DIRECTION_INGRESS,
        Direction::Egress => DIRECTION_EGRESS,
    };
    let identity = if rule.is_for_strangers { STRANGER } else { 0 };
    let (bits, protocol, port) = match rule.what {
        None => (POLICY_BITS_IDENTITY, 0, 0),
        Some((protocol, None)) => (POLICY_BITS_PROTOCOL, protocol, 0),
        Some((protocol, Some(port))) => (POLICY_BITS_PORT, protocol, port),
    };
    Prefix::new(
        bits,
        policy_key(endpoint(rule.owner), direction, identity, protocol, port),
    )
}

fn entry(rule: &Rule) -> Policy {
    Policy {
        action: match rule.action {
            Action::Allow => ACTION_ALLOW,
            Action::Redirect => ACTION_REDIRECT,
            Action::Deny => ACTION_DENY,
        },
        match_type: 0,
        reserved: 0,
        rule: 5,
    }
}
