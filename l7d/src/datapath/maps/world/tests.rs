//! Worlds change one map write at a time; after each write, packets are judged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::datapath::maps::kernel::{AddressKey, Fault};
use crate::datapath::maps::policy::{PolicyAction, PolicyDirection};
use l7d_ebpf::maps::{
    ENDPOINT_EGRESS_CLOSED, ENDPOINT_EGRESS_POLICY, ENDPOINT_INGRESS_CLOSED,
    ENDPOINT_INGRESS_POLICY, IDENTITY_WORLD, IPCACHE_ADDRESS, Ipcache,
};

const ENDPOINTS: [u16; 3] = [21, 22, 23];
const PORTS: [u16; 3] = [80, 81, 443];
const ADDRESSES: u8 = 8;

/// Who a packet is from or to, at which endpoint.
type Packet = (u16, PolicyDirection, IpAddr, u16);

fn packets() -> Vec<Packet> {
    let mut packets = Vec::new();
    for endpoint in ENDPOINTS {
        for direction in [PolicyDirection::Ingress, PolicyDirection::Egress] {
            for host in 0..ADDRESSES {
                packets.extend(PORTS.map(|port| (endpoint, direction, address(host), port)));
            }
        }
    }
    packets
}

fn address(host: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host).into()
}

/// Maps as the kernel has them, and what packets would have met after each write.
#[derive(Default)]
struct Model {
    policy: BTreeMap<(u16, Key), Said>,
    policy_max: usize,
    addresses: BTreeMap<AddressKey, Ipcache>,
    addresses_max: usize,
    endpoints: BTreeMap<u16, Endpoint>,
    config: Option<Config>,
    met: Vec<BTreeSet<Option<PolicyAction>>>,
    packets: Vec<Packet>,
}

impl Model {
    fn new(policy_max: usize, addresses_max: usize) -> Self {
        Self {
            policy_max,
            addresses_max,
            packets: packets(),
            ..Self::default()
        }
    }

    /// What the programs would do; `None` is to let pass without any policy.
    fn judge(&self, (endpoint, direction, address, port): Packet) -> Option<PolicyAction> {
        let state = self.endpoints.get(&endpoint)?;
        let key = |bits: u8| {
            let prefix = ipnet::IpNet::new(address, bits).expect("a prefix").trunc();
            super::super::addresses::prefix_key(prefix)
        };
        let found = (0..=32)
            .rev()
            .find_map(|bits| self.addresses.get(&key(bits)));
        let peer = found.map_or(IDENTITY_WORLD, |found| found.identity);
        let is_known = found.is_some_and(|found| found.flags & IPCACHE_ADDRESS != 0);
        let is_incomplete = self
            .config
            .is_some_and(|config| config.flags & CONFIG_IPCACHE_INCOMPLETE != 0);
        let (policy, default_deny, closed) = match direction {
            PolicyDirection::Egress => (
                ENDPOINT_EGRESS_POLICY,
                ENDPOINT_EGRESS_DEFAULT_DENY,
                ENDPOINT_EGRESS_CLOSED,
            ),
            PolicyDirection::Ingress => (
                ENDPOINT_INGRESS_POLICY,
                ENDPOINT_INGRESS_DEFAULT_DENY,
                ENDPOINT_INGRESS_CLOSED,
            ),
        };
        if state.flags & (policy | default_deny | closed) == 0 {
            return None;
        }
        if state.flags & closed != 0 || is_incomplete && !is_known {
            return Some(PolicyAction::Deny);
        }
        let said = [peer, 0].into_iter().filter_map(|identity| {
            let keys = [(6, port, 16), (6, 0, 0), (0, 0, 0)];
            keys.into_iter().find_map(|(protocol, port, port_bits)| {
                let key = Key {
                    identity,
                    direction,
                    protocol,
                    port,
                    port_bits,
                };
                self.policy.get(&(state.set, key)).map(|said| said.action)
            })
        });
        let is_default_deny = state.flags & default_deny != 0;
        said.max().or(is_default_deny.then_some(PolicyAction::Deny))
    }

    fn verdicts(&self) -> Vec<Option<PolicyAction>> {
        self.packets
            .iter()
            .map(|packet| self.judge(*packet))
            .collect()
    }

    fn look(&mut self) {
        let verdicts = self.verdicts();
        self.met.resize_with(verdicts.len(), BTreeSet::new);
        for (met, verdict) in self.met.iter_mut().zip(verdicts) {
            met.insert(verdict);
        }
    }
}

impl Kernel for Model {
    fn set_policy(&mut self, slot: u16, key: Key, said: Said) -> Result<(), Fault> {
        if self.policy.len() >= self.policy_max && !self.policy.contains_key(&(slot, key)) {
            return Err(Fault::Full);
        }
        self.policy.insert((slot, key), said);
        self.look();
        Ok(())
    }

    fn remove_policy(&mut self, slot: u16, key: Key) -> Result<(), Error> {
        self.policy.remove(&(slot, key));
        self.look();
        Ok(())
    }

    fn set_address(&mut self, key: AddressKey, value: Ipcache) -> Result<(), Fault> {
        if self.addresses.len() >= self.addresses_max && !self.addresses.contains_key(&key) {
            return Err(Fault::Full);
        }
        self.addresses.insert(key, value);
        self.look();
        Ok(())
    }

    fn remove_address(&mut self, key: AddressKey) -> Result<(), Error> {
        self.addresses.remove(&key);
        self.look();
        Ok(())
    }

    fn set_endpoint(&mut self, value: Endpoint) -> Result<(), Error> {
        self.endpoints.insert(value.endpoint, value);
        self.look();
        Ok(())
    }

    fn remove_endpoint(&mut self, endpoint: u16) -> Result<(), Error> {
        self.endpoints.remove(&endpoint);
        self.look();
        Ok(())
    }

    fn set_interface(&mut self, _: u32, _: Interface) -> Result<(), Error> {
        Ok(())
    }

    fn set_config(&mut self, config: Config) -> Result<(), Error> {
        self.config = Some(config);
        self.look();
        Ok(())
    }

    fn wait_for_readers(&mut self) -> bool {
        true
    }
}

/// A world as a test writes it down.
#[derive(Default, Clone)]
struct Written {
    addresses: Vec<Identified>,
    sets: BTreeMap<u32, (SetMode, Vec<PolicyEntry>)>,
    endpoints: Vec<EndpointSets>,
}

impl Entries for Written {
    fn all(&self, number: u32) -> Vec<PolicyEntry> {
        self.sets.get(&number).expect("a set").1.clone()
    }

    fn about(&self, number: u32, identity: u32) -> Vec<PolicyEntry> {
        let mut entries = self.all(number);
        entries.retain(|entry| entry.identity == identity);
        entries
    }
}

impl Written {
    fn apply(&self, state: &mut State<Model>, touched: Option<&[u32]>) {
        let sets: Vec<SetMode> = self.sets.values().map(|(mode, _)| *mode).collect();
        let world = KernelWorld {
            addresses: &self.addresses,
            sets: &sets,
            endpoints: &self.endpoints,
            touched,
            entries: self,
        };
        state.kernel.met.clear();
        state.apply(&world).expect("applied");
    }

    /// What packets meet where this world is all there ever was, and has room.
    fn verdicts(&self) -> Vec<Option<PolicyAction>> {
        let mut state = state(usize::MAX, usize::MAX);
        self.apply(&mut state, None);
        state.kernel.verdicts()
    }
}

fn state(policy_max: usize, addresses_max: usize) -> State<Model> {
    let config = Config {
        generation: 1,
        portal: 0,
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
        heartbeat_ns: 0,
        report_moments: 0,
        aggregation: 0,
    };
    let mut state = State::new(Model::new(policy_max, addresses_max), config);
    for (index, endpoint) in (1..).zip(ENDPOINTS.map(u32::from)) {
        let identity = IDENTITY_WORLD;
        // Packets of all endpoints pass all the time.
        state
            .interfaces
            .insert(index, Interface { endpoint, identity });
    }
    state
}

/// xorshift: the same worlds in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 % u64::from(end)).expect("small")
    }

    fn is_one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    /// Addresses keep their identities, or get one that nobody had: of the numbers from `fresh` on.
    fn addresses(&mut self, former: &[Identified], fresh: &mut u32) -> Vec<Identified> {
        let mut addresses = Vec::new();
        for host in 0..ADDRESSES {
            let prefix = ipnet::IpNet::from(address(host));
            let known = former.iter().find(|known| known.prefix == prefix);
            let identity = match known {
                Some(known) if !self.is_one_in(4) => known.identity,
                _ => {
                    *fresh += 1;
                    *fresh
                }
            };
            if known.is_some() || !self.is_one_in(3) {
                addresses.push(Identified {
                    prefix,
                    identity,
                    endpoint: 0,
                    is_service: false,
                });
            }
        }
        addresses
    }

    fn entries(&mut self, identities: &BTreeSet<u32>) -> Vec<PolicyEntry> {
        let directions = [PolicyDirection::Ingress, PolicyDirection::Egress];
        let peers = identities.iter().copied().chain([0]);
        let peers = peers.flat_map(|identity| directions.map(|direction| (identity, direction)));
        peers
            .flat_map(|(identity, direction)| self.entries_of(identity, direction))
            .collect()
    }

    fn entries_of(&mut self, identity: u32, direction: PolicyDirection) -> Vec<PolicyEntry> {
        let actions = [
            PolicyAction::Allow,
            PolicyAction::Redirect,
            PolicyAction::Deny,
        ];
        let mut entries = Vec::new();
        // As a compiler has it: what is longer is at least as strict.
        let mut action = PolicyAction::Allow;
        for (protocol, port, port_bits) in [(0, 0, 0), (6, 0, 0), (6, 80, 16)] {
            if !self.is_one_in(3) {
                continue;
            }
            let index = usize::try_from(self.below(3)).expect("small");
            action = action.max(actions[index]);
            entries.push(PolicyEntry {
                direction,
                identity,
                protocol,
                port,
                port_bits,
                action,
                match_type: 0,
                rule: self.below(9),
            });
        }
        entries
    }

    /// A world with fresh sets, numbered from `number` on.
    fn world(&mut self, addresses: Vec<Identified>, number: u32) -> Written {
        let identities: BTreeSet<u32> = addresses.iter().map(|one| one.identity).collect();
        let mut written = Written {
            addresses,
            ..Written::default()
        };
        for set in number..number + 2 {
            let mode = SetMode {
                number: set,
                ingress_default_deny: self.is_one_in(2),
                egress_default_deny: self.is_one_in(2),
            };
            written.sets.insert(set, (mode, self.entries(&identities)));
        }
        for endpoint in ENDPOINTS {
            if !self.is_one_in(4) {
                written.endpoints.push(EndpointSets {
                    endpoint,
                    in_force: number + self.below(2),
                    audited: None,
                });
            }
        }
        written
    }
}

/// Every packet met what it would have met before or after.
fn assert_one_of(
    state: &State<Model>,
    before: &[Option<PolicyAction>],
    after: &[Option<PolicyAction>],
) {
    let each = state.kernel.packets.iter().zip(&state.kernel.met);
    for ((packet, met), (before, after)) in each.zip(before.iter().zip(after)) {
        let allowed = BTreeSet::from([*before, *after]);
        assert!(
            met.is_subset(&allowed),
            "{packet:?} met {met:?}, before {before:?}, after {after:?}"
        );
    }
}

#[test]
fn every_packet_meets_the_former_policy_or_the_new_one() {
    for seed in 1..40 {
        let mut dice = Dice(seed * 7919);
        let mut fresh = 256;
        let mut state = state(usize::MAX, usize::MAX);
        let mut addresses = Vec::new();
        for round in 0..6 {
            addresses = dice.addresses(&addresses, &mut fresh);
            fresh += 1;
            let world = dice.world(addresses.clone(), 1 + round * 2);
            let before = state.kernel.verdicts();
            world.apply(&mut state, None);
            assert_one_of(&state, &before, &world.verdicts());
            assert_eq!(state.kernel.verdicts(), world.verdicts());
            let entries: usize = world.sets.values().map(|(_, entries)| entries.len()).sum();
            assert_eq!(
                state.kernel.policy.len(),
                entries,
                "nothing of before is left"
            );
            assert_eq!(state.sets.used(), entries);
        }
    }
}

#[test]
fn identities_come_into_sets_in_force_before_addresses_have_them() {
    for seed in 1..40 {
        let mut dice = Dice(seed * 104_729);
        let mut fresh = 256;
        let addresses = dice.addresses(&[], &mut fresh);
        let first = dice.world(addresses.clone(), 1);
        let mut state = state(usize::MAX, usize::MAX);
        first.apply(&mut state, None);
        // Some addresses are somebody else now, of whom the same sets speak.
        fresh += 1;
        let mut second = first.clone();
        second.addresses = dice.addresses(&addresses, &mut fresh);
        let identities: BTreeSet<u32> = second.addresses.iter().map(|one| one.identity).collect();
        let mut touched = BTreeSet::new();
        for (_, entries) in second.sets.values_mut() {
            let come: BTreeSet<u32> = identities
                .iter()
                .filter(|id| **id >= fresh)
                .copied()
                .collect();
            entries.retain(|entry| entry.identity == 0 || identities.contains(&entry.identity));
            let more = dice.entries(&come);
            entries.extend(more.into_iter().filter(|entry| entry.identity != 0));
            touched.extend(come);
        }
        touched.extend(addresses.iter().map(|one| one.identity));
        let touched: Vec<u32> = touched.into_iter().collect();
        let before = state.kernel.verdicts();
        let flips = state.kernel.endpoints.clone();
        second.apply(&mut state, Some(&touched));
        assert_one_of(&state, &before, &second.verdicts());
        assert_eq!(state.kernel.verdicts(), second.verdicts());
        let slots = |endpoints: &BTreeMap<u16, Endpoint>| -> Vec<u16> {
            endpoints.values().map(|endpoint| endpoint.set).collect()
        };
        assert_eq!(
            slots(&flips),
            slots(&state.kernel.endpoints),
            "sets stay where they are"
        );
    }
}

#[test]
fn what_finds_no_room_is_closed_and_repaired_when_there_is_room() {
    let mut refused = 0;
    for seed in 1..40 {
        let mut dice = Dice(seed * 15_485_863);
        let mut fresh = 256;
        let addresses = dice.addresses(&[], &mut fresh);
        let first = dice.world(addresses.clone(), 1);
        let entries: usize = first.sets.values().map(|(_, entries)| entries.len()).sum();
        let mut state = state(entries + 3, usize::MAX);
        first.apply(&mut state, None);
        assert!(state.shortages.is_empty());
        fresh += 1;
        let addresses = dice.addresses(&addresses, &mut fresh);
        let second = dice.world(addresses, 3);
        let (before, after) = (state.kernel.verdicts(), second.verdicts());
        second.apply(&mut state, None);
        let each = state.kernel.met.iter().zip(before.iter().zip(&after));
        for (met, (before, after)) in each {
            let allowed = BTreeSet::from([*before, *after, Some(PolicyAction::Deny)]);
            assert!(
                met.is_subset(&allowed),
                "never open: {met:?} of {allowed:?}"
            );
        }
        let needed: usize = second.sets.values().map(|(_, entries)| entries.len()).sum();
        assert!(needed > entries + 3 || state.shortages.is_empty());
        for (now, after) in state.kernel.verdicts().into_iter().zip(&after) {
            assert!(now == *after || now == Some(PolicyAction::Deny));
        }
        refused += state.shortages.len();
        state.kernel.policy_max = usize::MAX;
        second.apply(&mut state, Some(&[]));
        assert_eq!(state.kernel.verdicts(), after);
        assert!(state.shortages.is_empty());
    }
    assert!(refused > 0, "some worlds did not fit");
}

#[test]
fn addresses_that_find_no_room_are_nobody_s() {
    let mut dice = Dice(4711);
    let mut fresh = 256;
    let addresses = dice.addresses(&[], &mut fresh);
    let open = Written {
        addresses: addresses.clone(),
        sets: BTreeMap::from([(
            1,
            (
                SetMode {
                    number: 1,
                    ingress_default_deny: false,
                    egress_default_deny: false,
                },
                vec![PolicyEntry {
                    direction: PolicyDirection::Ingress,
                    identity: addresses.last().expect("one").identity,
                    protocol: 0,
                    port: 0,
                    port_bits: 0,
                    action: PolicyAction::Deny,
                    match_type: 0,
                    rule: 1,
                }],
            ),
        )]),
        endpoints: vec![EndpointSets {
            endpoint: 21,
            in_force: 1,
            audited: None,
        }],
    };
    let mut state = state(usize::MAX, addresses.len() - 1);
    open.apply(&mut state, None);
    let denied = addresses.last().expect("one").prefix.addr();
    let packet = (21, PolicyDirection::Ingress, denied, 80);
    assert_eq!(state.kernel.judge(packet), Some(PolicyAction::Deny));
    assert_eq!(state.shortages, [Shortage::Addresses { addresses: 1 }]);
    state.kernel.addresses_max = usize::MAX;
    open.apply(&mut state, None);
    assert_eq!(state.kernel.verdicts(), open.verdicts());
    assert!(state.shortages.is_empty());
}

#[test]
fn what_an_earlier_start_left_goes_when_nobody_reads_it() {
    let mut dice = Dice(99);
    let mut fresh = 256;
    let world = dice.world(dice_addresses(&mut fresh), 1);
    let mut first = state(usize::MAX, usize::MAX);
    world.apply(&mut first, None);
    let entries: usize = world.sets.values().map(|(_, entries)| entries.len()).sum();
    let mut second = state(usize::MAX, usize::MAX);
    let kernel = std::mem::take(&mut first.kernel);
    second.sets = Sets::adopt(
        kernel
            .policy
            .iter()
            .map(|((slot, key), said)| (*slot, *key, *said)),
    );
    second.addresses = Addresses::adopt(kernel.addresses.iter().map(|(key, value)| (*key, *value)));
    second.endpoints.clone_from(&kernel.endpoints);
    second.kernel = kernel;
    let before = second.kernel.verdicts();
    world.apply(&mut second, None);
    assert_one_of(&second, &before, &before);
    assert_eq!(second.kernel.policy.len(), entries);
}

fn dice_addresses(fresh: &mut u32) -> Vec<Identified> {
    Dice(5).addresses(&[], fresh)
}
