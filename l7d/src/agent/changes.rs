//! What has changed in the agent's world since it was told last: agent events.
//!
//! States are compared, not changes noted where they are made: whatever made one, it is told once, and
//! only when the kernel has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use policy_l7::{Policy, PolicyKind};

use super::Agent;
use crate::clock::Timestamp;
use crate::flow::agent_events::AgentEvents;
use crate::identity::Table;
use crate::record::{AddressChange, AgentEvent, Endpoint, EndpointId, PolicyChange};

/// Kind, namespace and name of a policy.
type PolicyKey = (PolicyKind, String, String);

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Changes {
    events: Arc<AgentEvents>,
    /// What the kernel has may differ from what was told.
    is_news: bool,
    told: World,
}

/// What events are about.
#[derive(Debug, Clone, Default)]
struct World {
    revision: u64,
    policies: BTreeMap<PolicyKey, Arc<Policy>>,
    endpoints: BTreeMap<EndpointId, LocalState>,
    addresses: BTreeMap<IpNet, Arc<Endpoint>>,
}

/// What is told of an endpoint of this node.
#[derive(Debug, Clone)]
struct LocalState {
    endpoint: Arc<Endpoint>,
    /// Numbers of the sets that hold for it: in force, and audited.
    sets: (u32, Option<u32>),
    /// What the kernel could not take.
    shortage: String,
}

impl Changes {
    /// Where events are told.
    pub(super) fn events(&self) -> &Arc<AgentEvents> {
        &self.events
    }

    /// The kernel has been told something new.
    pub(super) fn note(&mut self) {
        self.is_news = true;
    }

    /// The agent is ready.
    pub(super) fn tell_start(&self, began: Timestamp) {
        let started = AgentEvent::Started { at: began };
        self.events.tell(Timestamp::now(), [started]);
    }

    fn tell(&mut self, world: World) {
        let former = std::mem::replace(&mut self.told, world);
        let world = &self.told;
        let events = of_policies(&former, world)
            .chain(of_endpoints(&former, world))
            .chain(of_addresses(&former, world));
        self.events.tell(Timestamp::now(), events);
    }
}

impl Agent {
    /// Tells what the kernel has been told since the last time.
    pub(super) fn tell_changes(&mut self) {
        if !std::mem::take(&mut self.changes.is_news) {
            return;
        }
        let table = self.world.identities().load();
        let world = World {
            revision: self.world.live().load().compiled.revision(),
            policies: self
                .world
                .store()
                .shared()
                .map(|policy| (key(policy), Arc::clone(policy)))
                .collect(),
            endpoints: self.local_states(&table),
            addresses: addresses(&table),
        };
        self.changes.tell(world);
    }

    fn local_states(&self, table: &Table) -> BTreeMap<EndpointId, LocalState> {
        let compiled = Arc::clone(&self.world.live().load().compiled);
        let states = table.local().iter().map(|local| {
            let id = local.endpoint.id;
            let policy = compiled.endpoint(id.0);
            let sets = policy.map_or((0, None), |policy| {
                let audited = policy.audited.as_ref();
                (policy.in_force.number(), audited.map(|set| set.number()))
            });
            let shortages = self.datapath.shortages().iter();
            let mine = shortages.filter(|shortage| shortage.endpoint() == Some(id.0));
            let shortage: Vec<String> = mine.map(ToString::to_string).collect();
            let state = LocalState {
                endpoint: Arc::clone(&local.endpoint),
                sets,
                shortage: shortage.join("; "),
            };
            (id, state)
        });
        states.collect()
    }
}

fn key(policy: &Policy) -> PolicyKey {
    let about = policy.provenance();
    (about.kind, about.namespace.clone(), about.name.clone())
}

fn addresses(table: &Table) -> BTreeMap<IpNet, Arc<Endpoint>> {
    let each = table.addresses().map(|(ip, one)| (IpNet::from(ip), one));
    each.chain(table.prefixes())
        .map(|(prefix, endpoint)| (prefix, Arc::clone(endpoint)))
        .collect()
}

fn of_policies<'w>(former: &'w World, world: &'w World) -> impl Iterator<Item = AgentEvent> + 'w {
    let change = |policy: &Policy| PolicyChange {
        labels: policy.provenance().labels.clone(),
        revision: world.revision,
        rules: policy.rules(),
    };
    let gone = former.policies.iter();
    let gone = gone.filter(|(key, _)| !world.policies.contains_key(*key));
    let gone = gone.map(move |(_, policy)| AgentEvent::PolicyDeleted(change(policy)));
    let here = world.policies.iter();
    let fresh = here.filter(|(key, policy)| former.policies.get(*key) != Some(policy));
    gone.chain(fresh.map(move |(_, policy)| AgentEvent::PolicyUpdated(change(policy))))
}

fn of_endpoints<'w>(former: &'w World, world: &'w World) -> impl Iterator<Item = AgentEvent> + 'w {
    let ids: BTreeSet<EndpointId> = former
        .endpoints
        .keys()
        .chain(world.endpoints.keys())
        .copied()
        .collect();
    ids.into_iter().flat_map(|id| {
        let (before, now) = (former.endpoints.get(&id), world.endpoints.get(&id));
        let is_same = before
            .zip(now)
            .is_some_and(|(before, now)| before.endpoint == now.endpoint);
        let gone = before.filter(|_| !is_same);
        let gone = gone.map(|state| AgentEvent::EndpointDeleted(Arc::clone(&state.endpoint)));
        let fresh = now.filter(|_| !is_same);
        let fresh = fresh.map(|state| AgentEvent::EndpointCreated(Arc::clone(&state.endpoint)));
        let made = now.filter(|now| {
            let told = |before: &LocalState| (before.sets, before.shortage.clone());
            !is_same || before.map(told) != Some(told(now))
        });
        let made = made.map(|state| AgentEvent::EndpointRegenerated {
            endpoint: Arc::clone(&state.endpoint),
            error: state.shortage.clone(),
        });
        [gone, fresh, made].into_iter().flatten()
    })
}

fn of_addresses<'w>(former: &'w World, world: &'w World) -> impl Iterator<Item = AgentEvent> + 'w {
    let gone = former.addresses.iter();
    let gone = gone.filter(|(prefix, _)| !world.addresses.contains_key(*prefix));
    let gone = gone.map(|(prefix, endpoint)| {
        AgentEvent::AddressDeleted(AddressChange {
            prefix: *prefix,
            endpoint: Arc::clone(endpoint),
            former: None,
        })
    });
    let here = world.addresses.iter();
    let fresh = here.filter_map(|(prefix, endpoint)| {
        let before = former.addresses.get(prefix);
        let is_same = before.is_some_and(|before| {
            // A new table shares what is the same, mostly.
            Arc::ptr_eq(before, endpoint)
                || (before.identity, &before.namespace, &before.name)
                    == (endpoint.identity, &endpoint.namespace, &endpoint.name)
        });
        (!is_same).then(|| {
            AgentEvent::AddressUpserted(AddressChange {
                prefix: *prefix,
                endpoint: Arc::clone(endpoint),
                former: before.map(|before| before.identity),
            })
        })
    });
    gone.chain(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::clients::Clients;
    use crate::flow::reader::Window;
    use crate::flow::view::agent_event;
    use crate::record::IdentityNumber;
    use futures_util::FutureExt as _;

    const POLICY: &str = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: web, namespace: shop}\nspec:\n  endpointSelector: {matchLabels: {app: web}}\n  ingress:\n  - fromEndpoints: [{matchLabels: {app: client}}]\n";

    fn pod(name: &str, id: u16, identity: u32) -> Arc<Endpoint> {
        Arc::new(Endpoint {
            id: EndpointId(id),
            identity: IdentityNumber(identity),
            cluster: "default".to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            labels: [format!("k8s:app={name}")].into(),
            workload: None,
        })
    }

    fn world(revision: u64, pods: &[(Arc<Endpoint>, u32, &str)], policy: &str) -> World {
        let policies = policy_l7::read_objects("test", policy)
            .expect("policies")
            .policies;
        let policies = policies.into_iter().map(Arc::new);
        World {
            revision,
            policies: policies.map(|policy| (key(&policy), policy)).collect(),
            endpoints: pods
                .iter()
                .map(|(endpoint, set, shortage)| {
                    let state = LocalState {
                        endpoint: Arc::clone(endpoint),
                        sets: (*set, None),
                        shortage: (*shortage).to_owned(),
                    };
                    (endpoint.id, state)
                })
                .collect(),
            addresses: pods
                .iter()
                .map(|(endpoint, ..)| {
                    let address = [10, 0, 0, u8::try_from(endpoint.id.0).expect("small")];
                    (
                        IpNet::from(std::net::IpAddr::from(address)),
                        Arc::clone(endpoint),
                    )
                })
                .collect(),
        }
    }

    /// What changes from one world to the next, as clients read it.
    fn told(changes: &mut Changes, world: World) -> Vec<String> {
        let clients = Arc::new(Clients::default());
        let window = Window {
            follow: true,
            ..Window::default()
        };
        let mut reader = changes.events.read(window, clients.join("test", true));
        changes.tell(world);
        let mut told = Vec::new();
        while let Some(Some((_, event))) = reader.next().now_or_never() {
            let message = serde_json::to_value(agent_event(&event)).expect("json");
            told.push(message.to_string());
        }
        told
    }

    #[test]
    fn each_change_is_told_once() {
        let mut changes = Changes::default();
        let (web, cart) = (pod("web", 1, 300), pod("cart", 2, 301));
        let both = [(Arc::clone(&web), 1, ""), (Arc::clone(&cart), 1, "")];
        let first = told(&mut changes, world(1, &both, ""));
        let kinds: Vec<&str> = first
            .iter()
            .filter_map(|event| event.split('"').nth(3))
            .collect();
        assert_eq!(kinds.len(), 6, "{first:?}");
        assert_eq!(
            told(&mut changes, world(1, &both, "")),
            Vec::<String>::new()
        );

        let judged = [(Arc::clone(&web), 2, ""), (Arc::clone(&cart), 1, "")];
        let labels = r#"["k8s:io.cilium.k8s.policy.derived-from=CiliumNetworkPolicy","k8s:io.cilium.k8s.policy.name=web","k8s:io.cilium.k8s.policy.namespace=shop"#;
        let events = told(&mut changes, world(2, &judged, POLICY));
        assert_eq!(events.len(), 2, "{events:?}");
        assert!(events[0].contains(labels), "{events:?}");
        assert!(
            events[0].contains(r#""revision":"2","rule_count":"1"},"type":"POLICY_UPDATED"#),
            "{events:?}"
        );
        assert!(
            events[1].contains(
                r#"{"id":"1","labels":["k8s:app=web"]},"type":"ENDPOINT_REGENERATE_SUCCESS""#
            ),
            "{events:?}"
        );

        let relabelled = [(pod("web", 1, 302), 3, "no room"), (cart, 1, "")];
        let events = told(&mut changes, world(3, &relabelled, ""));
        let expected = [
            "POLICY_DELETED",
            "ENDPOINT_DELETED",
            "ENDPOINT_CREATED",
            "ENDPOINT_REGENERATE_FAILURE",
            "IPCACHE_UPSERTED",
        ];
        assert_eq!(events.len(), expected.len(), "{events:?}");
        for (event, kind) in events.iter().zip(expected) {
            assert!(event.contains(kind), "{event} is no {kind}");
        }
        assert!(events[3].contains(r#""error":"no room""#));
        assert!(events[4].contains(r#""identity":302,"namespace":"shop","old_identity":300"#));
        let events = told(&mut changes, world(3, &[], ""));
        assert_eq!(events.len(), 4, "{events:?}");
        assert!(events[3].contains("IPCACHE_DELETED"), "{events:?}");
    }
}
