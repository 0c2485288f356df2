//! Policies that change while connections go on.
#![expect(
    clippy::expect_used,
    reason = "a test that cannot set itself up has failed"
)]

use std::net::IpAddr;
use std::sync::Arc;

use l7d::host::of_identity;
use l7d::identity::{Identities, TableBuilder};
use l7d::policy::{Door, Live, Request};
use l7d::record::{Endpoint, EndpointId, IdentityNumber};
use policy_l7::{Compiler, Headers, read_objects};

const POD: &str = "10.244.1.7";
const SERVER: &str = "10.1.0.9:80";
const TCP: u8 = 6;

struct NoFields;

impl Headers for NoFields {
    fn each(&self, _visit: &mut dyn FnMut(&[u8], &[u8])) {}
}

/// The agent's part: a policy comes into force, and addresses get the identities that it gives them.
fn enforce(compiler: &mut Compiler, live: &Live, identities: &Identities, cidr: &str) {
    let text = format!(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: out, namespace: n}}\nspec: {{endpointSelector: {{}}, egress: [{{toCIDR: [{cidr}], toPorts: [{{ports: [{{port: '80', protocol: TCP}}], rules: {{http: [{{method: GET}}]}}}}]}}]}}\n"
    );
    let objects = read_objects("out.yaml", &text).expect("a policy");
    compiler.set_policies(objects.policies.into_iter().map(Arc::new));
    let now = compiler.commit();
    let mut table = TableBuilder::default();
    let pod = Endpoint {
        id: EndpointId(16),
        identity: IdentityNumber(300),
        labels: ["k8s:io.kubernetes.pod.namespace=n".to_owned()].into(),
        namespace: "n".to_owned(),
        name: "client".to_owned(),
        cluster: String::new(),
        workload: None,
    };
    let address: IpAddr = POD.parse().expect("an address");
    table.local(Arc::new(pod), vec![address], None);
    for (prefix, identity) in now.prefixes() {
        table.prefix(*prefix, Arc::new(of_identity(identity)));
    }
    identities.store(table.build());
    live.store(now);
}

#[test]
fn a_connection_that_both_policies_allow_goes_on_under_another_identity() {
    let identities = Identities::default();
    let live = Arc::new(Live::of(identities.clone()));
    let mut compiler = Compiler::new();
    let label = "k8s:io.kubernetes.pod.namespace=n"
        .parse()
        .expect("a label");
    compiler.insert_endpoint(policy_l7::Endpoint {
        id: 16,
        identity: 300,
        labels: std::iter::once(label).collect(),
        named_ports: Vec::new(),
    });
    enforce(&mut compiler, &live, &identities, "10.0.0.0/8");
    let client = identities.party(format!("{POD}:40000").parse().expect("an address"));
    let server = identities.party(SERVER.parse().expect("an address"));
    let Door::Enforce(judge) = live.door(&client, &server, TCP) else {
        unreachable!("its requests are judged");
    };
    let ask = |method: &str| {
        judge.judge_readings(&Request {
            method: method.as_bytes(),
            path: b"/",
            host: b"server",
            headers: &NoFields,
        })
    };
    assert!(ask("GET").is_ok());
    assert!(ask("POST").is_err());
    enforce(&mut compiler, &live, &identities, "10.1.0.0/16");
    let moved = identities.party(SERVER.parse().expect("an address"));
    assert_ne!(moved.identity, server.identity, "another prefix");
    assert!(ask("GET").is_ok());
    assert!(ask("POST").is_err());
    enforce(&mut compiler, &live, &identities, "10.2.0.0/16");
    assert!(ask("GET").is_err(), "no longer allowed");
}
