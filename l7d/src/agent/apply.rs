//! What is configured → identities, compiled policy, kernel maps.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ipnet::IpNet;
use policy_l7::{Action, Compiled, Direction, Inputs, SideMode, compile, lint};

use super::{Agent, Error};
use crate::config::Config;
use crate::datapath::{
    Identified, PolicyAction, PolicyDirection, PolicyEntry, PolicyForEndpoint, host_network,
};
use crate::host::Inventory;
use crate::identity::{EndpointNumbers, Identities};
use crate::policy::{Live, LoadReport, PolicyStore};
use crate::record::Place;

/// Who there is and what is allowed, as configured.
pub(super) struct World {
    config: Config,
    inventory: Inventory,
    store: PolicyStore,
    identities: Identities,
    live: Arc<Live>,
    warnings: Vec<String>,
    refused: Vec<String>,
    revision: u64,
    /// Interfaces that are hooked, by name.
    pub(super) attached: BTreeMap<String, u32>,
}

impl World {
    /// Reads endpoints and policies.
    pub(super) fn read(config: Config) -> Result<(Self, LoadReport), Error> {
        let addresses = host_network::interface_addresses().unwrap_or_default();
        let inventory = Inventory::from_config(
            &config,
            &mut EndpointNumbers::default(),
            &mut policy_l7::identity::Numbering::default(),
            addresses,
        )?;
        let mut store = PolicyStore::new(
            config.policies.files.clone(),
            config.policies.directory.clone(),
        );
        let report = store.reload();
        let mut world = Self {
            config,
            inventory,
            store,
            identities: Identities::default(),
            live: Arc::new(Live::new(Arc::new(Compiled::empty()))),
            warnings: Vec::new(),
            refused: report.errors.clone(),
            revision: 0,
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
    pub(super) fn reload(&mut self) -> bool {
        let report = self.store.reload();
        for error in &report.errors {
            tracing::error!("policy refused, the former one stays in force: {error}");
        }
        self.refused = report.errors;
        if report.changed {
            self.compile();
        }
        report.changed
    }

    fn compile(&mut self) {
        let policies = self.store.policies();
        let identities = self.inventory.identities();
        let endpoints = self.inventory.local_endpoints();
        self.revision += 1;
        let compiled = compile(&Inputs {
            policies: &policies,
            identities: &identities,
            endpoints: &endpoints,
            revision: self.revision,
        });
        self.warnings = lint(&policies, &identities)
            .into_iter()
            .map(|finding| format!("{}: {}: {}", finding.policy, finding.field, finding.message))
            .collect();
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        // Names first: a judge that already knows the policy must find the identities it speaks of.
        self.identities
            .store(self.inventory.table(compiled.prefixes()).build());
        self.live.store(Arc::new(compiled));
    }

    /// Everything the kernel is to know of addresses.
    fn ipcache(&self) -> Vec<Identified> {
        let table = self.identities.load();
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

    fn kernel_policy(&self) -> Vec<PolicyForEndpoint> {
        self.live
            .load()
            .compiled
            .endpoints()
            .iter()
            .map(kernel_endpoint)
            .collect()
    }
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

fn kernel_endpoint(policy: &policy_l7::EndpointPolicy) -> PolicyForEndpoint {
    let entries = policy.entries.iter().map(|entry| PolicyEntry {
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
    });
    PolicyForEndpoint {
        endpoint: policy.id,
        ingress_default_deny: policy.ingress == SideMode::DefaultDeny,
        egress_default_deny: policy.egress == SideMode::DefaultDeny,
        entries: entries.collect(),
    }
}

impl Agent {
    /// Brings the kernel's maps up to date.
    pub(super) fn apply_world(&mut self) -> Result<(), Error> {
        self.datapath.set_ipcache(self.world.ipcache())?;
        self.datapath.apply_policy(&self.world.kernel_policy())?;
        Ok(())
    }

    /// Hooks interfaces that have come and forgets those that are gone.
    pub(super) fn follow_interfaces(&mut self) {
        let table = self.world.identities().load();
        for local in table.local() {
            let Some(name) = &local.interface else {
                continue;
            };
            let endpoint = &local.endpoint;
            self.follow(name, |agent, index| {
                agent
                    .datapath
                    .attach_pod(name, index, endpoint.id.0, endpoint.identity.0)
            });
        }
        for name in self.world.config().datapath.uplinks.clone() {
            self.follow(&name, |agent, index| {
                agent.datapath.attach_uplink(&name, index)
            });
        }
    }

    fn follow(
        &mut self,
        name: &str,
        attach: impl FnOnce(&mut Self, u32) -> Result<(), crate::datapath::Error>,
    ) {
        let present = host_network::interface_index(name).ok();
        let known = self.world.attached.get(name).copied();
        if present == known {
            return;
        }
        if let Some(index) = known {
            tracing::info!(interface = name, "gone");
            self.datapath.detach(index);
            self.world.attached.remove(name);
        }
        let Some(index) = present else { return };
        let result = self
            .network
            .prepare_interface(name)
            .map_err(crate::datapath::Error::from);
        match result.and_then(|()| attach(self, index)) {
            Ok(()) => {
                tracing::info!(interface = name, index, "hooked");
                self.world.attached.insert(name.to_owned(), index);
            }
            Err(error) => tracing::error!(interface = name, %error, "cannot be hooked"),
        }
    }

    /// Writes down how things are, for `l7d status`.
    pub(super) fn publish_status(&self) {
        let table = self.world.identities().load();
        let stats = self.proxy.stats();
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
        let warnings = self
            .network
            .limitations()
            .iter()
            .chain(&self.world.warnings)
            .chain(&self.world.refused)
            .cloned()
            .chain(missing)
            .collect();
        *self.shared_status.lock() = crate::server::AgentStatus {
            endpoints: table.local().len(),
            attached: self.world.attached.len(),
            policies: self.world.policies(),
            policy_revision: self.world.revision,
            proxied: stats.active.load(Ordering::Relaxed),
            proxied_total: stats.accepted.load(Ordering::Relaxed),
            refused: stats.refused.load(Ordering::Relaxed),
            upstream_failures: stats.upstream_failures.load(Ordering::Relaxed),
            seen: snapshot.seen,
            lost: Place::ALL
                .iter()
                .map(|place| place.as_str().to_owned())
                .zip(snapshot.lost)
                .collect(),
            warnings,
        };
    }
}
