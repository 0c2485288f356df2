//! Ends that have a policy.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use l7d::policy::Live;
use l7d::record::{Endpoint, EndpointId, IdentityNumber, Party};
use policy_l7::{Compiled, Inputs, Labels, compile, identity, read_objects};

use crate::world::{Plan, World};

/// GET on `/get`, anything on `/open/…`, and tunnels to one port.
pub(crate) const POLICY: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: api, namespace: shop }
spec:
  endpointSelector: { matchLabels: { app: web } }
  ingress:
  - fromEndpoints: [ { matchLabels: { app: client } } ]
    toPorts:
    - ports: [ { port: "80", protocol: TCP } ]
      rules:
        http:
        - { method: GET, path: /get }
        - { path: "/open/.*" }
"#;
pub(crate) const CLOSED: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: closed, namespace: shop }
spec:
  endpointSelector: { matchLabels: { app: web } }
  ingress:
  - fromEndpoints: [ { matchLabels: { app: client } } ]
    toPorts:
    - ports: [ { port: "80", protocol: TCP } ]
      rules:
        http: [ { path: /other } ]
"#;

fn labels(app: &str) -> Labels {
    let labels = [
        format!("app={app}"),
        "io.kubernetes.pod.namespace=shop".to_owned(),
    ];
    labels.iter().map(|label| label.parse().unwrap()).collect()
}

pub(crate) fn compiled(policy: &str, revision: u64) -> Arc<Compiled> {
    let policies = read_objects("policy.yaml", policy).unwrap().policies;
    let named = [("client", 300), ("web", 301)];
    let identities: Vec<policy_l7::Identity> = named
        .iter()
        .map(|(app, number)| policy_l7::Identity {
            number: *number,
            labels: labels(app),
        })
        .chain(identity::reserved())
        .collect();
    let endpoints = [policy_l7::Endpoint {
        id: 7,
        identity: 301,
        labels: labels("web"),
        named_ports: Vec::new(),
    }];
    let inputs = Inputs {
        policies: &policies,
        identities: &identities,
        endpoints: &endpoints,
        named: &BTreeSet::new(),
        revision,
        ..Inputs::default()
    };
    Arc::new(compile(&inputs))
}

fn party(name: &str, id: u16, identity: u32, port: u16) -> Party {
    let last = u8::try_from(identity % 100).unwrap();
    let address = SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), port));
    let identity = IdentityNumber(identity);
    let endpoint = Endpoint {
        id: EndpointId(id),
        identity,
        cluster: String::new(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        labels: [].into(),
        workload: None,
    };
    Party {
        endpoint: Some(Arc::new(endpoint)),
        ..Party::unnamed(address, identity)
    }
}

pub(crate) fn plan(server: SocketAddr) -> Plan {
    Plan {
        live: Arc::new(Live::new(compiled(POLICY, 1))),
        source: party("client", 0, 300, 40000),
        destination: party("web", 7, 301, 80),
        ..Plan::watching(server)
    }
}

pub(crate) fn enforcing(server: SocketAddr) -> World {
    World::start(plan(server))
}
