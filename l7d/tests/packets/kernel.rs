//! The real programs with real maps, given packets one by one (`BPF_PROG_TEST_RUN`).

use std::net::{IpAddr, TcpListener};

use anyhow::Context as _;
use aya::maps::lpm_trie::{Key as Prefix, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, RingBuf, SockMap};
use aya::programs::{ProgramError, SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use l7d::datapath::decode::{Decoded, decode};
use l7d_ebpf::maps::{
    ACTION_ALLOW, ACTION_DENY, ACTION_REDIRECT, AGGREGATION_MEDIUM, Config, Connection,
    ENDPOINT_EGRESS_DEFAULT_DENY, ENDPOINT_EGRESS_POLICY, ENDPOINT_INGRESS_DEFAULT_DENY,
    ENDPOINT_INGRESS_POLICY, Endpoint, Fragment, HOST_ENDPOINT, IDENTITY_HOST, IPCACHE_ADDRESS,
    Interface, Ipcache, POLICY_BITS_IDENTITY, POLICY_BITS_PORT, POLICY_BITS_PROTOCOL, Policy,
    PolicyKey, Tuple, policy_key,
};
use l7d_ebpf::records::{DIRECTION_EGRESS, DIRECTION_INGRESS, PacketRecord};

use crate::frames::{OWN_V4, OWN_V6};
use crate::world::{Action, Direction, Owner, PODS, RULES, Rule, STRANGER, STRANGERS};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/l7d.bpf.o"));

/// Loopback, in whose name packets are given.
const INTERFACE: u32 = 1;
const GENERATION: u32 = 7;
/// Endpoints, which are the slots of their sets as well.
const CLOSED: u16 = 21;
const OPEN: u16 = 22;
/// A pod of a node, with the policies of the closed one.
const POD: u16 = 33;
/// Marks of the proxy's packets.
pub(crate) const MARK_REPLY: u32 = 0x1000;
pub(crate) const MARK_UPSTREAM: u32 = 0x2000;
pub(crate) const MARK_UPSTREAM_LOCAL: u32 = 0x3000;
const MARK_MASK: u32 = 0x3000;

/// A kernel program that is given packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    FromPod,
    ToPod,
    FromNetwork,
    ToNetwork,
    GuardIn,
    GuardOut,
    Portal,
}

impl Hook {
    const ALL: [Self; 7] = [
        Self::FromPod,
        Self::ToPod,
        Self::FromNetwork,
        Self::ToNetwork,
        Self::GuardIn,
        Self::GuardOut,
        Self::Portal,
    ];

    fn program(self) -> &'static str {
        match self {
            Self::FromPod => "from_pod",
            Self::ToPod => "to_pod",
            Self::FromNetwork => "from_network",
            Self::ToNetwork => "to_network",
            Self::GuardIn => "guard_in",
            Self::GuardOut => "guard_out",
            Self::Portal => "portal",
        }
    }
}

/// What is known of a packet beside its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) mark: u32,
    /// It came in by an interface: this host's own stack did not make it.
    pub(crate) is_forwarded: bool,
}

impl Way {
    /// From elsewhere, or from this host's own stack, without a mark.
    pub(crate) fn plain(is_forwarded: bool) -> Self {
        Self {
            mark: 0,
            is_forwarded,
        }
    }

    /// `struct __sk_buff` (`include/uapi/linux/bpf.h`) up to `ingress_ifindex`.
    fn context(self) -> [u8; 40] {
        let mut context = [0; 40];
        context[8..12].copy_from_slice(&self.mark.to_ne_bytes());
        context[36] = if self.is_forwarded { 2 } else { 0 };
        context
    }
}

/// Whose policies are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Those of an endpoint, at its interface.
    Pod,
    /// Those of this node, at its uplinks.
    Node,
    /// Nobody's but pods', at the uplinks of a node without policies.
    OpenNode,
}

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
    endpoints: HashMap<MapData, u32, Endpoint>,
    place: Place,
    owner: Option<Owner>,
    /// What the portal gives packets to, in both families.
    _listeners: [TcpListener; 2],
}

fn take<M: TryFrom<Map>>(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<M>
where
    M::Error: std::error::Error + Send + Sync + 'static,
{
    let map = ebpf.take_map(name).with_context(|| name.to_owned())?;
    M::try_from(map).with_context(|| name.to_owned())
}

impl Kernel {
    pub(crate) fn new(place: Place) -> anyhow::Result<Self> {
        anyhow::ensure!(!OBJECT.is_empty(), "no kernel programs: cargo xtask ebpf");
        let mut loader = EbpfLoader::new();
        for (map, entries) in [("CONNTRACK", 1024), ("FRAGMENTS", 256), ("POLICY", 1024)] {
            loader.map_max_entries(map, entries);
        }
        loader.override_global("COARSE_CLOCK", &0_u32, true);
        let mut ebpf = loader.load(OBJECT)?;
        for hook in Hook::ALL {
            let name = hook.program();
            let program = ebpf.program_mut(name).with_context(|| name.to_owned())?;
            let program: &mut SchedClassifier = program.try_into()?;
            program.load()?;
        }
        let endpoints = tell(&mut ebpf, place)?;
        let listeners = listen(&mut ebpf)?;
        Ok(Self {
            ring: take(&mut ebpf, "RING")?,
            conntrack: take(&mut ebpf, "CONNTRACK")?,
            fragments: take(&mut ebpf, "FRAGMENTS")?,
            interfaces: take(&mut ebpf, "INTERFACES")?,
            endpoints,
            place,
            owner: None,
            _listeners: listeners,
            ebpf,
        })
    }

    /// Gives a frame to the hook of an endpoint, or of the node; `None` where the kernel has none of so few
    /// bytes.
    pub(crate) fn judge(
        &mut self,
        owner: Owner,
        direction: Direction,
        frame: &[u8],
    ) -> anyhow::Result<Option<Seen>> {
        let (hook, is_forwarded) = match (self.place, direction) {
            (Place::Pod, Direction::Egress) => (Hook::FromPod, true),
            (Place::Pod, Direction::Ingress) => (Hook::ToPod, true),
            (Place::Node, Direction::Egress) => (Hook::GuardOut, false),
            (Place::Node, Direction::Ingress) => (Hook::GuardIn, true),
            (Place::OpenNode, Direction::Egress) => (Hook::ToNetwork, false),
            (Place::OpenNode, Direction::Ingress) => (Hook::FromNetwork, true),
        };
        self.run(owner, hook, Way::plain(is_forwarded), frame)
    }

    /// The same of any hook.
    pub(crate) fn run(
        &mut self,
        owner: Owner,
        hook: Hook,
        way: Way,
        frame: &[u8],
    ) -> anyhow::Result<Option<Seen>> {
        if self.owner != Some(owner) {
            self.set_owner(owner)?;
        }
        let name = hook.program();
        let program = self.ebpf.program(name).context(name)?;
        let program: &SchedClassifier = program.try_into()?;
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        let context = way.context();
        options.ctx_in = Some(&context);
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

    fn set_owner(&mut self, owner: Owner) -> anyhow::Result<()> {
        let endpoint = endpoint(owner);
        let number = u32::from(endpoint);
        let identity = 1000 + number;
        let interface = Interface {
            endpoint: number,
            identity,
        };
        self.interfaces.insert(INTERFACE, interface, 0)?;
        let host = u32::from(HOST_ENDPOINT);
        self.endpoints
            .insert(host, state(HOST_ENDPOINT, owner), 0)?;
        self.owner = Some(owner);
        Ok(())
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

/// The portal's listeners.
fn listen(ebpf: &mut Ebpf) -> anyhow::Result<[TcpListener; 2]> {
    let mut map: SockMap<MapData> = take(ebpf, "LISTENERS")?;
    let listeners = [
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("[::1]:0")?,
    ];
    for (slot, listener) in (0..).zip(&listeners) {
        map.set(slot, listener, 0)?;
    }
    Ok(listeners)
}

/// An endpoint with the policies of `owner`.
fn state(endpoint: u16, owner: Owner) -> Endpoint {
    let policy = ENDPOINT_INGRESS_POLICY | ENDPOINT_EGRESS_POLICY;
    let deny = ENDPOINT_INGRESS_DEFAULT_DENY | ENDPOINT_EGRESS_DEFAULT_DENY;
    Endpoint {
        flags: match owner {
            Owner::Closed => policy | deny,
            Owner::Open => policy,
        },
        endpoint,
        set: self::endpoint(owner),
        audited_set: 0,
    }
}

fn prefix(address: IpAddr, bits: u8) -> Prefix<[u8; 16]> {
    let (bits, data) = match address {
        IpAddr::V4(v4) => (bits + 96, v4.to_ipv6_mapped().octets()),
        IpAddr::V6(v6) => (bits, v6.octets()),
    };
    Prefix::new(u32::from(bits), data)
}

/// Settings, endpoints, addresses and policies.
fn tell(ebpf: &mut Ebpf, place: Place) -> anyhow::Result<HashMap<MapData, u32, Endpoint>> {
    let mut config: Array<MapData, Config> = take(ebpf, "CONFIG")?;
    config.set(
        0,
        Config {
            generation: GENERATION,
            portal: INTERFACE,
            mark_mask: MARK_MASK,
            mark_reply: MARK_REPLY,
            mark_upstream: MARK_UPSTREAM,
            mark_upstream_local: MARK_UPSTREAM_LOCAL,
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
    for owner in [Owner::Closed, Owner::Open] {
        let number = endpoint(owner);
        endpoints.insert(u32::from(number), state(number, owner), 0)?;
    }
    endpoints.insert(u32::from(POD), state(POD, Owner::Closed), 0)?;
    let mut ipcache: LpmTrie<MapData, [u8; 16], Ipcache> = take(ebpf, "IPCACHE")?;
    let known = |identity, endpoint| Ipcache {
        identity,
        endpoint,
        flags: if endpoint == 0 { 0 } else { IPCACHE_ADDRESS },
    };
    for (address, bits) in STRANGERS {
        ipcache.insert(&prefix(address, bits), known(STRANGER, 0), 0)?;
    }
    if place != Place::Pod {
        let host = if place == Place::Node {
            HOST_ENDPOINT
        } else {
            0
        };
        let own: [IpAddr; 2] = [OWN_V4.into(), OWN_V6.into()];
        for (address, bits) in own.into_iter().zip([32, 128]) {
            ipcache.insert(&prefix(address, bits), known(IDENTITY_HOST, host), 0)?;
        }
        for (address, bits) in PODS.into_iter().zip([32, 128]) {
            let identity = 1000 + u32::from(POD);
            ipcache.insert(&prefix(address, bits), known(identity, POD), 0)?;
        }
    }
    let mut policy: LpmTrie<MapData, PolicyKey, Policy> = take(ebpf, "POLICY")?;
    for rule in &RULES {
        for direction in rule.directions {
            policy.insert(&key(rule, *direction), entry(rule), 0)?;
        }
    }
    Ok(endpoints)
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
