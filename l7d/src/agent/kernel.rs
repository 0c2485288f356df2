//! The compiled policy and the table of addresses → what the kernel is to know.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use l7d_ebpf::maps::HOST_ENDPOINT;
use policy_l7::{Action, Compiled, Direction, Entry, PolicySet, SideMode};

use super::{Agent, Error};
use crate::clock::Monotonic;
use crate::datapath::{
    EndpointSets, Entries, Identified, KernelWorld, PolicyAction, PolicyDirection, PolicyEntry,
    Pressure, SetMode, Shortage,
};
use crate::identity::Table;
use crate::record::EndpointId;
use crate::server::MapRoom;

/// The sets of a compiled policy, asked by the kernel side for what it does not have.
#[derive(Debug)]
pub struct Sets<'c> {
    compiled: &'c Compiled,
    by_number: BTreeMap<u32, Arc<PolicySet>>,
}

impl<'c> Sets<'c> {
    /// All sets that endpoints have.
    pub fn new(compiled: &'c Compiled) -> Self {
        let sets = compiled.sets().into_iter();
        let by_number = sets.map(|set| (set.number(), set)).collect();
        Self {
            compiled,
            by_number,
        }
    }

    /// What happens to what no entry of each is about.
    pub fn modes(&self) -> Vec<SetMode> {
        let is_closed = |set: &PolicySet, direction| set.mode(direction) == SideMode::DefaultDeny;
        let sets = self.by_number.iter();
        sets.map(|(number, set)| SetMode {
            number: *number,
            ingress_default_deny: is_closed(set, Direction::Ingress),
            egress_default_deny: is_closed(set, Direction::Egress),
        })
        .collect()
    }

    /// Which endpoint has which.
    pub fn endpoints(&self) -> Vec<EndpointSets> {
        let endpoints = self.compiled.endpoints().iter();
        endpoints
            .map(|policy| EndpointSets {
                endpoint: policy.id,
                in_force: policy.in_force.number(),
                audited: policy.audited.as_ref().map(|set| set.number()),
            })
            .collect()
    }
}

impl Entries for Sets<'_> {
    fn all(&self, number: u32) -> Vec<PolicyEntry> {
        let set = self.by_number.get(&number);
        let entries = set.map(|set| self.compiled.entries(set));
        entries.into_iter().flatten().map(entry).collect()
    }

    fn about(&self, number: u32, identity: u32) -> Vec<PolicyEntry> {
        let set = self.by_number.get(&number);
        let entries = set.map(|set| self.compiled.entries_of(set, identity));
        entries.into_iter().flatten().map(entry).collect()
    }
}

fn entry(entry: Entry) -> PolicyEntry {
    PolicyEntry {
        direction: match entry.key.direction {
            Direction::Egress => PolicyDirection::Egress,
            Direction::Ingress => PolicyDirection::Ingress,
        },
        identity: entry.key.identity,
        protocol: entry.key.protocol,
        port: entry.key.port,
        port_bits: entry.key.port_bits,
        action: match entry.action {
            Action::Allow => PolicyAction::Allow,
            Action::Deny => PolicyAction::Deny,
            Action::Redirect => PolicyAction::Redirect,
        },
        match_type: entry.match_type,
        rule: entry.rule.0,
    }
}

/// Everything the kernel is to know of addresses.
pub(super) fn identified(table: &Table) -> Vec<Identified> {
    let addresses = table.addresses().map(|(ip, endpoint)| Identified {
        prefix: IpNet::from(ip),
        identity: endpoint.identity.0,
        endpoint: endpoint.id.0,
        is_service: false,
    });
    let prefixes = table.prefixes().map(|(prefix, endpoint)| Identified {
        prefix,
        identity: endpoint.identity.0,
        endpoint: 0,
        is_service: false,
    });
    let services = table.service_addresses().map(service);
    prefixes.chain(services).chain(addresses).collect()
}

/// A virtual address is the world to whoever does not look behind it.
fn service(ip: IpAddr) -> Identified {
    let world = policy_l7::identity::WORLD;
    Identified {
        prefix: IpNet::from(ip),
        identity: world,
        endpoint: 0,
        is_service: true,
    }
}

impl Agent {
    /// Brings the kernel's maps up to date.
    pub(super) fn apply_world(&mut self) -> Result<(), Error> {
        let compiled = Arc::clone(&self.world.live().load().compiled);
        let sets = Sets::new(&compiled);
        let touched = self
            .applied_version
            .and_then(|version| compiled.touched_since(version));
        let touched: Option<Vec<u32>> = touched.map(|touched| touched.into_iter().collect());
        let start = Monotonic::now();
        self.datapath.apply(&KernelWorld {
            addresses: &identified(&self.world.identities().load()),
            sets: &sets.modes(),
            endpoints: &sets.endpoints(),
            touched: touched.as_deref(),
            entries: &sets,
        })?;
        self.applied_version = Some(compiled.version());
        let microseconds = Monotonic::now().nanos_since(start) / 1000;
        tracing::debug!(microseconds, "the kernel has it");
        for shortage in self.shortages() {
            tracing::error!("{shortage}");
        }
        self.world.learnt.set_applied();
        self.changes.note();
        Ok(())
    }

    /// Addresses alone, of identities that the kernel's policy knows.
    pub(super) fn apply_addresses(&mut self) -> Result<(), Error> {
        let addresses = identified(&self.world.identities().load());
        self.datapath.set_ipcache(&addresses)?;
        self.world.learnt.set_applied();
        self.changes.note();
        Ok(())
    }

    /// How full the kernel's maps are.
    pub(super) fn map_rooms(&self) -> Vec<MapRoom> {
        let room = |pressure: Pressure| MapRoom {
            map: pressure.map.to_owned(),
            used: pressure.used,
            max: pressure.max,
        };
        self.datapath.pressure().into_iter().map(room).collect()
    }

    /// What found no room in the kernel, with the names of endpoints.
    pub(super) fn shortages(&self) -> Vec<String> {
        let table = self.world.identities().load();
        let told = |shortage: &Shortage| {
            let id = shortage.endpoint().map(EndpointId);
            if id == Some(EndpointId(HOST_ENDPOINT)) {
                return format!("this node: {shortage}");
            }
            match id.and_then(|id| table.local_by_id(id)) {
                Some(local) => {
                    let endpoint = &local.endpoint;
                    format!("{}/{}: {shortage}", endpoint.namespace, endpoint.name)
                }
                None => shortage.to_string(),
            }
        };
        self.datapath.shortages().iter().map(told).collect()
    }
}
