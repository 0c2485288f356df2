//! What is configured → identities, compiled policy, kernel maps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use l7d_ebpf::maps::INIT_ENDPOINT;
use policy_l7::{Compiled, Compiler, Named, Policy, Surroundings, dangling, lint};

use super::cluster::Cluster;
use super::interfaces::Hooked;
use super::learn::LearntNames;
use super::reload::AddressesStamp;
use super::rights::Confinement;
use super::source::Source;
use super::state::Keeper;
use super::{Agent, Error};
use crate::config::{Config, Enforcement, KernelFeature, Policies};
use crate::datapath::host_network;
use crate::host::{Changed, Inventory};
use crate::identity::{Identities, Names};
use crate::policy::{Live, LoadReport, PolicyStore, WouldDeny};
use crate::record::Thrift;

/// Who there is and what is allowed, as configured and as the cluster tells.
pub(super) struct World {
    pub(super) source: Source,
    pub(super) config: Config,
    /// What the agent has given up.
    pub(super) confinement: Arc<Confinement>,
    /// This host's addresses when they were last looked at.
    pub(super) addresses_stamp: AddressesStamp,
    pub(super) inventory: Inventory,
    pub(super) store: PolicyStore,
    pub(super) cluster: Cluster,
    /// Who keeps on disk what it has told.
    pub(super) state: Keeper,
    /// Cilium is on this node.
    pub(super) has_cilium: bool,
    /// Policies differ from those that the compiler has.
    pub(super) has_new_policies: bool,
    identities: Identities,
    live: Arc<Live>,
    would_deny: Arc<WouldDeny>,
    /// What is given up while memory is short.
    thrift: Thrift,
    pub(super) learnt: LearntNames,
    warnings: Vec<String>,
    pub(super) refused: Vec<String>,
    /// What of the configuration file is not in force, and why.
    pub(super) refused_config: Vec<String>,
    compiler: Compiler,
    /// Interfaces that are hooked, by name.
    pub(super) attached: BTreeMap<String, Hooked>,
}

/// What the kernel is to be told after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing has changed.
    Nothing,
    /// Who addresses are, of identities that its policy knows.
    Addresses,
    /// Policy as well.
    All,
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
    pub(super) fn read(source: Source, config: Config) -> Result<(Self, LoadReport), Error> {
        let addresses_stamp = AddressesStamp::take();
        let inventory = Inventory::from_config(&config, host_addresses())?;
        let mut store = PolicyStore::new(
            config.policies.files.clone(),
            config.policies.directory.clone(),
        );
        store.set_waiting(config.kubernetes.is_some());
        let report = store.reload();
        let learnt = LearntNames::new(&config);
        let identities = Identities::default();
        let mut world = Self {
            source,
            config,
            confinement: Arc::default(),
            addresses_stamp,
            inventory,
            store,
            cluster: Cluster::new(),
            state: Keeper::default(),
            has_cilium: false,
            has_new_policies: false,
            live: Arc::new(Live::of(identities.clone())),
            would_deny: Arc::default(),
            thrift: Thrift::default(),
            identities,
            learnt,
            warnings: Vec::new(),
            refused: report.errors.clone(),
            refused_config: Vec::new(),
            compiler: Compiler::new(),
            attached: BTreeMap::new(),
        };
        world.look_for_cilium();
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
        self.store.shared().count()
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

    /// Makes names and verdicts of everything that is known now.
    pub(super) fn compile(&mut self) {
        let _all = self.inventory.take_changed();
        self.has_new_policies = false;
        self.tell_compiler(Changed::ALL, true);
        self.finish_compiling();
        self.examine();
    }

    /// Makes names and verdicts of what the cluster has changed.
    pub(super) fn compile_changed(&mut self, changed: Changed) -> Step {
        let has_new_policies = std::mem::take(&mut self.has_new_policies);
        if !(changed.any || has_new_policies) {
            return Step::Nothing;
        }
        if changed.needs_compiling() || has_new_policies {
            self.tell_compiler(changed, has_new_policies);
            self.finish_compiling();
            self.want_look();
            Step::All
        } else {
            let compiled = Arc::clone(&self.live.load().compiled);
            self.name_addresses(&compiled);
            Step::Addresses
        }
    }

    fn tell_compiler(&mut self, changed: Changed, has_new_policies: bool) {
        if changed.identities {
            self.compiler.set_identities(&self.inventory.identities());
        }
        if changed.local {
            let mut local = self.inventory.local_endpoints();
            if self.config.policies.closes_new_pods {
                local.push(policy_l7::Endpoint::init(INIT_ENDPOINT));
            }
            self.compiler.set_endpoints(&local);
        }
        if changed.port_names {
            self.compiler.set_port_names(self.inventory.port_names());
        }
        if changed.services || has_new_policies {
            self.compiler.set_surroundings(Surroundings {
                cidr_groups: &self.store.cidr_groups(),
                services: &self.inventory.services(),
            });
        }
        if has_new_policies {
            self.compiler.set_policies(self.store.shared().cloned());
            let audit = self.config.policies.audit.clone();
            self.compiler.set_enforcement(self.enforcement(), audit);
            self.would_deny.set_audited(self.audited());
        }
    }

    fn finish_compiling(&mut self) {
        // What addresses are to policies can only be asked of compiled ones.
        let named = self.learnt.named(&self.compiler.commit());
        self.compiler.set_named(named);
        let compiled = self.compiler.commit();
        // Names first: a judge that already knows the policy must find the identities it speaks of.
        self.name_addresses(&compiled);
        self.live.store(compiled);
    }

    /// Looks for mistakes in policies, and tells what became of each.
    pub(super) fn examine(&mut self) {
        let policies = self.store.policies();
        let identities = self.inventory.identities();
        let (cidr_groups, services) = (self.store.cidr_groups(), self.inventory.services());
        let surroundings = Surroundings {
            cidr_groups: &cidr_groups,
            services: &services,
        };
        let unmatched = lint::unmatched(&policies, &identities);
        let idle = policies.iter().filter(|policy| policy.is_about_nodes());
        let has_host = self.inventory.has_host_endpoint();
        let idle = idle.filter(|_| !has_host).map(|policy| {
            let name = &policy.provenance().name;
            format!(
                "{name}: selects this node, which is not enforced: `datapath.hostFirewall` is off"
            )
        });
        let is_unseen = has_host && self.config.datapath.uplinks.is_none();
        let unseen = is_unseen.then(|| {
            "datapath.hostFirewall: without `uplinks` this node's policies hold for its pods only"
                .to_owned()
        });
        let warnings: Vec<String> = unmatched
            .iter()
            .map(ToString::to_string)
            .chain(dangling(&policies, &surroundings))
            .chain(idle)
            .chain(unseen)
            .collect();
        let former: BTreeSet<String> = std::mem::replace(&mut self.warnings, warnings)
            .into_iter()
            .collect();
        for warning in self.warnings.iter().filter(|new| !former.contains(*new)) {
            tracing::warn!("{warning}");
        }
        self.tell_outcomes(self.store.outcomes(&identities));
    }

    /// Policies of which some endpoint is only told what they would deny.
    fn audited(&self) -> impl Iterator<Item = Arc<Policy>> {
        let Policies { audit, .. } = &self.config.policies;
        let is_any_enforced = self.enforcement() != Enforcement::Never;
        let is_audited = move |policy: &&Arc<Policy>| {
            let namespace = &policy.provenance().namespace;
            let is_in_scope = if namespace.is_empty() {
                !audit.namespaces.is_empty()
            } else {
                audit.namespaces.contains(namespace)
            };
            is_any_enforced && (policy.is_audited() || audit.node || is_in_scope)
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

    pub(super) fn thrift(&self) -> &Thrift {
        &self.thrift
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
        if self.features.absent().contains(&KernelFeature::CgroupHooks) {
            return Ok(());
        }
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
}
