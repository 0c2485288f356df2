//! Interfaces are hooked as they come, and forgotten as they go.

use std::collections::BTreeMap;
use std::io;

use l7d_ebpf::maps::INIT_ENDPOINT;

use super::Agent;
use super::apply::World;
use crate::clock::Monotonic;
use crate::config::Uplinks;
use crate::datapath::{self, host_network};
use crate::host::interfaces::{self, Changes, Interfaces};
use crate::identity::{LocalEndpoint, Table};

/// A hooked interface: its index, and the endpoint and identity that its packets are known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hooked {
    index: u32,
    endpoint: u16,
    identity: u32,
    /// Whether policies of this node are enforced there.
    is_guarded: bool,
}

/// Where endpoints and uplinks are looked for.
pub(super) struct Finder {
    /// Why not is told where an endpoint is to be found.
    interfaces: io::Result<Interfaces>,
    /// Interfaces of default routes, and when they were looked for.
    uplinks: Option<(Monotonic, Vec<String>)>,
}

/// Default routes are looked at again after this long, and whenever interfaces change: a node may have many
/// routes.
const UPLINKS_AGE_NS: u64 = 10_000_000_000;

/// What becomes of an interface.
enum Wanted {
    /// It leads to an endpoint.
    Pod { endpoint: u16, identity: u32 },
    /// It leads out of the node.
    Uplink { is_guarded: bool },
}

impl Finder {
    pub(super) fn open() -> Self {
        Self {
            interfaces: Interfaces::open(),
            uplinks: None,
        }
    }

    /// Interfaces that lead out.
    fn uplinks(&mut self, wanted: &Uplinks) -> Vec<String> {
        if let Uplinks::Named(names) = wanted {
            return names.clone();
        }
        let now = Monotonic::now();
        let known = self.uplinks.take();
        let known = known.filter(|(at, _)| now.nanos_since(*at) < UPLINKS_AGE_NS);
        let (at, names) = known.unwrap_or_else(|| (now, interfaces::uplinks()));
        self.uplinks = Some((at, names.clone()));
        names
    }

    /// Interfaces have changed: default routes may lead elsewhere.
    pub(super) fn look_anew(&mut self) {
        self.uplinks = None;
    }

    /// Names of the interfaces of an endpoint.
    fn of<'f>(&'f self, local: &'f LocalEndpoint) -> Vec<&'f str> {
        match (&local.interface, &self.interfaces) {
            (Some(name), _) => vec![name],
            (None, Ok(interfaces)) => interfaces.of(&local.addresses),
            (None, Err(_cannot_ask)) => Vec::new(),
        }
    }

    /// Names of the interfaces that lead to pods which nobody knows yet.
    fn new_pods(&self, table: &Table) -> Vec<&str> {
        let Ok(interfaces) = &self.interfaces else {
            return Vec::new();
        };
        let known = table.local().iter().flat_map(|local| self.of(local));
        interfaces.beyond(&known.collect())
    }

    /// Looks where endpoints are, if any is to be found, or what is no known one's is to be closed.
    fn look(&mut self, table: &Table, closes_new_pods: bool) {
        let is_wanted = closes_new_pods || has_unnamed(table);
        let (Ok(interfaces), true) = (&mut self.interfaces, is_wanted) else {
            return;
        };
        let is_missed = |local: &LocalEndpoint| {
            local.interface.is_none() && interfaces.of(&local.addresses).is_empty()
        };
        let is_any_missed = table.local().iter().any(is_missed);
        if let Err(error) = interfaces.look(is_any_missed) {
            tracing::warn!(%error, "interfaces cannot be listed");
        }
    }

    /// What is wrong with an endpoint's interface.
    fn trouble(
        &self,
        local: &LocalEndpoint,
        attached: &BTreeMap<String, Hooked>,
    ) -> Option<String> {
        let name = &local.endpoint.name;
        let is_attached = |interface: &&str| attached.contains_key(*interface);
        if self.of(local).iter().any(is_attached) {
            return None;
        }
        Some(match (&local.interface, &self.interfaces) {
            (Some(interface), _) => {
                format!("endpoint {name}: interface {interface} does not exist")
            }
            (None, Ok(_)) => format!(
                "endpoint {name}: no interface of this node leads to a namespace with its addresses"
            ),
            (None, Err(error)) => format!(
                "endpoint {name}: its interface cannot be found ({error}): name it by `interface`"
            ),
        })
    }
}

fn has_unnamed(table: &Table) -> bool {
    table.local().iter().any(|local| local.interface.is_none())
}

/// Word of interfaces that come and go; without it they are looked at twice a second all the same.
pub(super) fn changes() -> Option<Changes> {
    Changes::open()
        .inspect_err(|error| tracing::warn!(%error, "no word of interfaces that come and go"))
        .ok()
}

/// Waits for a change; for ever where nobody tells.
pub(super) async fn changed(changes: &mut Option<Changes>) {
    let told = match changes {
        Some(changes) => changes.next().await,
        None => std::future::pending().await,
    };
    if let Err(error) = told {
        tracing::warn!(%error, "no more word of interfaces that come and go");
        *changes = None;
    }
}

impl World {
    /// Whether interfaces of pods that nobody knows are closed. While the cluster has not told of its pods,
    /// those that are there already would be.
    fn closes_new_pods(&self) -> bool {
        let is_known = self.config().kubernetes.is_none() || self.cluster.is_in_force();
        self.config().policies.closes_new_pods && is_known
    }
}

impl Agent {
    /// Hooks interfaces that have come and forgets those that are gone or no longer wanted.
    pub(super) fn follow_interfaces(&mut self) {
        let table = self.world.identities().load();
        let closes_new_pods = self.world.closes_new_pods();
        self.finder.look(&table, closes_new_pods);
        let uplinks = self.finder.uplinks(&self.world.config().datapath.uplinks);
        let wanted = self.wanted(&table, uplinks);
        let attached = self.world.attached.keys();
        let unwanted: Vec<String> = attached
            .filter(|name| !wanted.contains_key(*name))
            .cloned()
            .collect();
        for name in unwanted {
            self.unhook(&name);
        }
        for (name, wanted) in wanted {
            self.follow(&name, &wanted);
        }
    }

    /// Interfaces that are to be hooked, by name.
    fn wanted(&self, table: &Table, uplinks: Vec<String>) -> BTreeMap<String, Wanted> {
        let mut wanted = BTreeMap::new();
        for local in table.local() {
            for name in self.finder.of(local) {
                let pod = Wanted::Pod {
                    endpoint: local.endpoint.id.0,
                    identity: local.endpoint.identity.0,
                };
                wanted.insert(name.to_owned(), pod);
            }
        }
        if self.world.closes_new_pods() {
            for name in self.finder.new_pods(table) {
                wanted.insert(name.to_owned(), Wanted::NEW_POD);
            }
        }
        let is_guarded = self.world.config().datapath.host_firewall;
        for name in uplinks {
            wanted.insert(name, Wanted::Uplink { is_guarded });
        }
        wanted
    }

    fn unhook(&mut self, name: &str) {
        if let Some(hooked) = self.world.attached.remove(name) {
            tracing::info!(interface = name, "no longer hooked");
            self.datapath.detach(hooked.index);
        }
    }

    fn follow(&mut self, name: &str, wanted: &Wanted) {
        let present = host_network::interface_index(name).ok();
        let present = present.map(|index| wanted.at(index));
        let known = self.world.attached.get(name).copied();
        if present == known {
            return;
        }
        if known.map(|hooked| hooked.index) != present.map(|hooked| hooked.index) {
            self.unhook(name);
        }
        let Some(hooked) = present else { return };
        match self.hook(name, hooked, wanted) {
            Ok(()) => {
                tracing::info!(interface = name, index = hooked.index, "hooked");
                self.node.interfaces.learn(hooked.index, name);
                self.world.attached.insert(name.to_owned(), hooked);
            }
            Err(error) => tracing::error!(interface = name, %error, "cannot be hooked"),
        }
    }

    fn hook(&mut self, name: &str, hooked: Hooked, wanted: &Wanted) -> Result<(), datapath::Error> {
        self.network.prepare_interface(name)?;
        match wanted {
            Wanted::Pod { endpoint, identity } => {
                let index = hooked.index;
                self.datapath.attach_pod(name, index, *endpoint, *identity)
            }
            Wanted::Uplink { is_guarded } => {
                self.datapath.attach_uplink(name, hooked.index, *is_guarded)
            }
        }
    }

    /// Interfaces that are closed, as nobody knows who is behind them.
    pub(super) fn held(&self) -> Option<String> {
        let attached = self.world.attached.iter();
        let held = attached.filter(|(_, hooked)| hooked.endpoint == INIT_ENDPOINT);
        let names: Vec<&str> = held.map(|(name, _)| &**name).collect();
        (!names.is_empty()).then(|| {
            format!(
                "closed until somebody tells who is behind them (policies.newPods): {}",
                names.join(", ")
            )
        })
    }

    /// Endpoints that are not hooked, and why.
    pub(super) fn unhooked<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = String> {
        let attached = &self.world.attached;
        let local = table.local().iter();
        local.filter_map(move |local| self.finder.trouble(local, attached))
    }
}

impl Wanted {
    /// It leads to a pod that nobody knows yet.
    const NEW_POD: Self = Self::Pod {
        endpoint: INIT_ENDPOINT,
        identity: policy_l7::identity::INIT,
    };

    fn at(&self, index: u32) -> Hooked {
        let (endpoint, identity, is_guarded) = match self {
            Self::Pod { endpoint, identity } => (*endpoint, *identity, false),
            Self::Uplink { is_guarded } => (0, 0, *is_guarded),
        };
        Hooked {
            index,
            endpoint,
            identity,
            is_guarded,
        }
    }
}
