//! What is configured → identities, compiled policy, kernel maps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use policy_l7::identity::Numbering;
use policy_l7::{Compiled, Compiler, Named, Policy, Surroundings, dangling, lint};

use super::learn::LearntNames;
use super::reload::{AddressesStamp, Stamp};
use super::{Agent, Error, File};
use crate::config::{Config, Enforcement, Policies};
use crate::datapath::host_network;
use crate::host::Inventory;
use crate::identity::{EndpointNumbers, Identities, Names};
use crate::policy::{Live, LoadReport, PolicyStore, WouldDeny};
use crate::record::Place;

/// Who there is and what is allowed, as configured.
pub(super) struct World {
    /// Where the configuration comes from, to read it again.
    pub(super) file: Option<PathBuf>,
    /// Its state when it was last looked at; taken before it was first read.
    pub(super) stamp: Option<Stamp>,
    pub(super) config: Config,
    /// This host's addresses when they were last looked at.
    pub(super) addresses_stamp: AddressesStamp,
    pub(super) inventory: Inventory,
    pub(super) numbers: EndpointNumbers,
    pub(super) numbering: Numbering,
    store: PolicyStore,
    identities: Identities,
    live: Arc<Live>,
    would_deny: Arc<WouldDeny>,
    pub(super) learnt: LearntNames,
    warnings: Vec<String>,
    refused: Vec<String>,
    /// What of the configuration file is not in force, and why.
    pub(super) refused_config: Vec<String>,
    compiler: Compiler,
    /// Interfaces that are hooked, by name.
    pub(super) attached: BTreeMap<String, Hooked>,
}

/// A hooked interface: its index, and the endpoint and identity that its packets are known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hooked {
    index: u32,
    endpoint: u16,
    identity: u32,
    /// Whether policies of this node are enforced there.
    is_guarded: bool,
}

/// This host's own addresses.
pub(super) fn host_addresses() -> Vec<IpAddr> {
    host_network::interface_addresses().unwrap_or_else(|error| {
        tracing::warn!(%error, "this host's own addresses are not known: they count as the world");
        Vec::new()
    })
}

impl World {
    /// Reads endpoints and policies.
    pub(super) fn read((file, stamp): File, config: Config) -> Result<(Self, LoadReport), Error> {
        let mut numbers = EndpointNumbers::default();
        let mut numbering = Numbering::default();
        let addresses_stamp = AddressesStamp::take();
        let addresses = host_addresses();
        let inventory = Inventory::from_config(&config, &mut numbers, &mut numbering, addresses)?;
        let mut store = PolicyStore::new(
            config.policies.files.clone(),
            config.policies.directory.clone(),
        );
        let report = store.reload();
        let learnt = LearntNames::new(&config);
        let identities = Identities::default();
        let mut world = Self {
            stamp,
            file,
            config,
            addresses_stamp,
            inventory,
            numbers,
            numbering,
            store,
            live: Arc::new(Live::of(identities.clone())),
            would_deny: Arc::default(),
            identities,
            learnt,
            warnings: Vec::new(),
            refused: report.errors.clone(),
            refused_config: Vec::new(),
            compiler: Compiler::new(),
            attached: BTreeMap::new(),
        };
        world.compile();
        Ok((world, report))
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn identities(&self) -> &Identities {
        &self.identities
    }

    pub(super) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Counts of what audited policies would have denied.
    pub(super) fn would_deny(&self) -> &Arc<WouldDeny> {
        &self.would_deny
    }

    /// Policies in force.
    pub(super) fn policies(&self) -> usize {
        self.store.policies().len()
    }

    pub(super) fn store(&self) -> &PolicyStore {
        &self.store
    }

    /// Selectors that match nothing.
    pub(super) fn warnings(&self) -> impl Iterator<Item = &String> {
        self.warnings.iter()
    }

    /// Reads the policy files again; true when something changed.
    pub(super) fn reload_policies(&mut self) -> bool {
        let report = self.store.reload();
        for error in &report.errors {
            tracing::error!("policy refused, the former one stays in force: {error}");
        }
        self.refused = report.errors;
        report.changed
    }

    /// Makes names and verdicts of what is configured now.
    pub(super) fn compile(&mut self) {
        let policies = self.store.policies();
        let identities = self.inventory.identities();
        let (cidr_groups, services) = (self.store.cidr_groups(), self.inventory.services());
        let surroundings = Surroundings {
            cidr_groups: &cidr_groups,
            services: &services,
        };
        self.compiler.set_identities(&identities);
        self.compiler
            .set_endpoints(&self.inventory.local_endpoints());
        self.compiler.set_port_names(self.inventory.port_names());
        self.compiler.set_surroundings(surroundings);
        self.compiler.set_policies(self.store.shared().cloned());
        let modes = &self.config.policies;
        self.compiler
            .set_enforcement(modes.enforcement, modes.audit.clone());
        // What addresses are to policies can only be asked of compiled ones.
        let named = self.learnt.named(&self.compiler.commit());
        self.compiler.set_named(named);
        let compiled = self.compiler.commit();
        let unmatched = lint::unmatched(&policies, &identities);
        let idle = policies.iter().filter(|policy| policy.is_about_nodes());
        let has_host = self.inventory.has_host_endpoint();
        let idle = idle.filter(|_| !has_host).map(|policy| {
            let name = &policy.provenance().name;
            format!(
                "{name}: selects this node, which is not enforced: `datapath.hostFirewall` is off"
            )
        });
        let is_unseen = has_host && self.config.datapath.uplinks.is_empty();
        let unseen = is_unseen.then(|| {
            "datapath.hostFirewall: without `uplinks` this node's policies hold for its pods only"
                .to_owned()
        });
        self.warnings = unmatched
            .iter()
            .map(ToString::to_string)
            .chain(dangling(&policies, &surroundings))
            .chain(idle)
            .chain(unseen)
            .collect();
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        self.would_deny.set_audited(self.audited());
        // Names first: a judge that already knows the policy must find the identities it speaks of.
        self.name_addresses(&compiled);
        self.live.store(compiled);
    }

    /// Policies of which some endpoint is only told what they would deny.
    fn audited(&self) -> impl Iterator<Item = Arc<Policy>> {
        let Policies {
            enforcement, audit, ..
        } = &self.config.policies;
        let is_audited = |policy: &&Arc<Policy>| {
            let namespace = &policy.provenance().namespace;
            let is_in_scope = if namespace.is_empty() {
                !audit.namespaces.is_empty()
            } else {
                audit.namespaces.contains(namespace)
            };
            *enforcement != Enforcement::Never && (policy.is_audited() || audit.node || is_in_scope)
        };
        self.store.shared().filter(is_audited).cloned()
    }

    /// Makes the policies know of other names, and of nothing else: an answer waits for it.
    pub(super) fn compile_names(&mut self, named: BTreeSet<Named>) {
        self.compiler.set_named(named);
        let compiled = self.compiler.commit();
        self.name_addresses(&compiled);
        self.live.store(compiled);
    }

    /// Gives addresses their names, those that DNS has told among them.
    pub(super) fn name_addresses(&mut self, compiled: &Compiled) {
        let mut table = self.inventory.table(compiled.prefixes());
        self.learnt.name_addresses(compiled, &mut table);
        self.identities.store(table.build());
    }

    pub(super) fn names(&self) -> &Arc<Names> {
        &self.learnt.names
    }
}

impl Agent {
    /// Tells the kernel side which ports are looked at.
    pub(super) fn apply_ports(&mut self) -> Result<(), Error> {
        let config = self.world.config();
        let watched = config.visibility.clone();
        let host = config.host.clone();
        self.datapath.set_watched_ports(&watched)?;
        self.datapath.set_host_ports(&host.ports)?;
        for port in &host.ports {
            if self.socket_hooks.contains(&port.transport) {
                continue;
            }
            let Some(cgroup) = host.cgroup.clone().or_else(super::events::unified_cgroup) else {
                tracing::warn!("host.ports: no cgroup v2 hierarchy is mounted here");
                break;
            };
            self.datapath.attach_cgroup(&cgroup, port.transport)?;
            self.socket_hooks.insert(port.transport);
        }
        Ok(())
    }

    /// Hooks interfaces that have come and forgets those that are gone or no longer named.
    pub(super) fn follow_interfaces(&mut self) {
        let table = self.world.identities().load();
        let uplinks = self.world.config().datapath.uplinks.clone();
        let wanted: BTreeSet<&String> = table
            .local()
            .iter()
            .filter_map(|local| local.interface.as_ref())
            .chain(&uplinks)
            .collect();
        let unwanted: Vec<String> = self
            .world
            .attached
            .keys()
            .filter(|name| !wanted.contains(name))
            .cloned()
            .collect();
        for name in unwanted {
            self.unhook(&name);
        }
        for local in table.local() {
            let Some(name) = &local.interface else {
                continue;
            };
            let hooked = |index| Hooked {
                index,
                endpoint: local.endpoint.id.0,
                identity: local.endpoint.identity.0,
                is_guarded: false,
            };
            self.follow(name, hooked, |agent, hooked| {
                let Hooked {
                    index,
                    endpoint,
                    identity,
                    ..
                } = hooked;
                agent.datapath.attach_pod(name, index, endpoint, identity)
            });
        }
        let is_guarded = self.world.config().datapath.host_firewall;
        for name in &uplinks {
            let hooked = |index| Hooked {
                index,
                endpoint: 0,
                identity: 0,
                is_guarded,
            };
            self.follow(name, hooked, |agent, hooked| {
                agent.datapath.attach_uplink(name, hooked.index, is_guarded)
            });
        }
    }

    fn unhook(&mut self, name: &str) {
        if let Some(hooked) = self.world.attached.remove(name) {
            tracing::info!(interface = name, "no longer hooked");
            self.datapath.detach(hooked.index);
        }
    }

    fn follow(
        &mut self,
        name: &str,
        hooked: impl FnOnce(u32) -> Hooked,
        attach: impl FnOnce(&mut Self, Hooked) -> Result<(), crate::datapath::Error>,
    ) {
        let present = host_network::interface_index(name).ok().map(hooked);
        let known = self.world.attached.get(name).copied();
        if present == known {
            return;
        }
        if known.map(|hooked| hooked.index) != present.map(|hooked| hooked.index) {
            self.unhook(name);
        }
        let Some(hooked) = present else { return };
        let result = self
            .network
            .prepare_interface(name)
            .map_err(crate::datapath::Error::from);
        match result.and_then(|()| attach(self, hooked)) {
            Ok(()) => {
                tracing::info!(interface = name, index = hooked.index, "hooked");
                self.world.attached.insert(name.to_owned(), hooked);
            }
            Err(error) => tracing::error!(interface = name, %error, "cannot be hooked"),
        }
    }

    /// Writes down how things are, for `l7d status`.
    pub(super) fn publish_status(&self) {
        let table = self.world.identities().load();
        let stats = self.proxy.stats();
        let names = self.world.names();
        let tapped = self.tap.stats();
        let snapshot = self.ledger.snapshot();
        let missing = table.local().iter().filter_map(|local| {
            let name = local.interface.as_ref()?;
            (!self.world.attached.contains_key(name)).then(|| {
                format!(
                    "endpoint {}: interface {name} does not exist",
                    local.endpoint.name
                )
            })
        });
        let replaced: Vec<String> = self.features.replaced().collect();
        let warnings = replaced
            .iter()
            .chain(self.network.limitations())
            .chain(&self.world.warnings)
            .chain(&self.world.refused_config)
            .chain(&self.world.refused)
            .cloned()
            .chain(self.shortages())
            .chain(missing)
            .collect();
        *self.shared_status.lock() = crate::server::AgentStatus {
            endpoints: table.local().len(),
            attached: self.world.attached.len(),
            policies: self.world.policies(),
            policy_revision: self.world.live.load().compiled.revision(),
            maps: self.map_rooms(),
            map_refusals: self.datapath.refusals(),
            proxied: stats.active.load(Ordering::Relaxed),
            proxied_total: stats.accepted.load(Ordering::Relaxed),
            tapped: tapped.active.load(Ordering::Relaxed),
            tapped_total: tapped.followed.load(Ordering::Relaxed),
            tap_evicted: tapped.evicted.load(Ordering::Relaxed),
            tap_gaps: tapped.gaps.load(Ordering::Relaxed),
            tap_gap_bytes: tapped.gap_bytes.load(Ordering::Relaxed),
            tap_skipped_bytes: tapped.skipped_bytes.load(Ordering::Relaxed),
            refused: stats.refused.load(Ordering::Relaxed),
            upstream_failures: stats.upstream_failures.load(Ordering::Relaxed),
            datagrams: stats.datagrams.load(Ordering::Relaxed),
            datagrams_lost: stats.datagrams_lost.load(Ordering::Relaxed),
            names: names.count(),
            names_evicted: names.evicted(),
            seen: snapshot.seen,
            lost: Place::ALL
                .iter()
                .map(|place| place.as_str().to_owned())
                .zip(snapshot.lost)
                .collect(),
            warnings,
            ..crate::server::AgentStatus::default()
        };
    }
}
