//! A thousand policies, ten thousand identities, 250 endpoints: what it costs to compile them, to write
//! them into the kernel's maps, and to follow what changes. Prints one JSON object of figures, for
//! `cargo xtask bench policy`. Loads the kernel programs under a folder of its own, hooks nothing, and
//! removes them.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a program whose output is its purpose; it measures what we wrote ourselves"
)]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use l7d::agent::kernel::Sets;
use l7d::config;
use l7d::datapath::{Datapath, Identified, KernelWorld, Settings, cleanup};
use policy_l7::{Compiled, Compiler, Endpoint, Identity, Labels, Policy, identity, read_objects};
use serde_json::{Value, json};

const NAMESPACES: u32 = 50;
const APPS: u32 = 40;
/// Identities of an app: as many releases of it.
const RELEASES: u32 = 5;
const ENDPOINTS_PER_NAMESPACE: u32 = 5;
const ROUNDS: u32 = 15;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let text = (0..NAMESPACES).map(policies).collect::<String>();
    let started = Instant::now();
    let policies = read(&text);
    let read_ms = millis(started.elapsed());
    let identities = identities();
    let endpoints = endpoints();
    let mut node = Node::new(&endpoints);
    let before = resident_kib();

    let started = Instant::now();
    let mut compiler = Compiler::new();
    compiler.set_identities(&identities);
    compiler.set_endpoints(&endpoints);
    compiler.set_policies(policies.iter().cloned());
    let first = compiler.commit();
    let compile_ms = millis(started.elapsed());
    let resident_mib = (resident_kib() - before) / 1024;
    node.apply(&first);
    let write_ms = millis(started.elapsed()) - compile_ms;

    let figures = json!({
        "policies": policies.len(),
        "identities": identities.len(),
        "endpoints": endpoints.len(),
        "sets": first.sets().len(),
        "entries": entries(&first),
        "read_ms": read_ms,
        "compile_ms": compile_ms,
        "write_ms": write_ms,
        "compiled_mib": resident_mib,
        "pod_of_another_node": pod_of_another_node(&mut compiler, &mut node),
        "pod_of_this_node": pod_of_this_node(&mut compiler, &mut node),
        "policy_for_everybody": policy_for_everybody(&mut compiler, &mut node, &policies),
    });
    println!("{figures}");
}

/// The kernel's side.
struct Node {
    datapath: Datapath,
    _pins: Pins,
    addresses: Vec<Identified>,
    version: Option<u64>,
}

impl Node {
    fn new(endpoints: &[Endpoint]) -> Self {
        let folder = format!("/sys/fs/bpf/l7d-scale-{}", std::process::id());
        let pins = Pins(PathBuf::from(folder));
        let usual = config::Datapath::default();
        let settings = Settings {
            takes_over: false,
            pin_dir: pins.0.clone(),
            marks: usual.marks,
            portal: 0,
            proxy_port: 0,
            ring_bytes: usual.ring_bytes,
            policy_entries: usual.policy_entries,
            ipcache_entries: usual.ipcache_entries,
            connections: usual.connections,
            aggregation: config::Aggregation::default(),
            tap: config::Tap::default(),
            on_proxy_down: usual.on_proxy_down,
            drop_records: 1000,
            absent: usual.without,
        };
        let started = Datapath::start(&settings).expect("root, and a kernel");
        let datapath = started.datapath;
        let mut node = Self {
            datapath,
            _pins: pins,
            addresses: Vec::new(),
            version: None,
        };
        for namespace in 0..NAMESPACES {
            for app in 0..APPS {
                (0..RELEASES).for_each(|release| node.learn(number(namespace, app, release), 0));
            }
        }
        for endpoint in endpoints {
            node.learn(endpoint.identity, endpoint.id);
        }
        node
    }

    /// One address more.
    fn learn(&mut self, identity: u32, endpoint: u16) {
        let number = u32::try_from(self.addresses.len()).expect("few");
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number);
        self.addresses.push(Identified {
            prefix: IpNet::from(IpAddr::from(address)),
            identity,
            endpoint,
            is_service: false,
        });
    }

    fn apply(&mut self, now: &Compiled) {
        let sets = Sets::new(now);
        let touched = self.version.and_then(|version| now.touched_since(version));
        let touched: Option<Vec<u32>> = touched.map(|touched| touched.into_iter().collect());
        let world = KernelWorld {
            addresses: &self.addresses,
            sets: &sets.modes(),
            endpoints: &sets.endpoints(),
            touched: touched.as_deref(),
            entries: &sets,
        };
        self.datapath.apply(&world).expect("applied");
        assert!(self.datapath.shortages().is_empty(), "everything has room");
        self.version = Some(now.version());
    }
}

/// Where programs and maps are pinned; removed when dropped.
struct Pins(PathBuf);

impl Drop for Pins {
    fn drop(&mut self) {
        cleanup(&self.0).expect("removed");
    }
}

/// Twenty policies of a namespace, as teams write them.
fn policies(namespace: u32) -> String {
    let mut text = String::new();
    let mut object = |name: &str, spec: &str| {
        let header = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n";
        writeln!(
            text,
            "{header}metadata: {{name: {name}, namespace: ns{namespace}}}\nspec: {{{spec}}}\n---"
        )
        .expect("written");
    };
    object("deny", "endpointSelector: {}, ingress: [{}], egress: [{}]");
    object(
        "dns",
        "endpointSelector: {}, egress: [{toEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: ns0, app: app0}}], toPorts: [{ports: [{port: '53'}], rules: {dns: [{matchPattern: '*'}]}}]}]",
    );
    object(
        "monitoring",
        "endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: ns1}}], toPorts: [{ports: [{port: '9090', protocol: TCP}]}]}]",
    );
    object(
        "within",
        "endpointSelector: {matchLabels: {tier: inner}}, ingress: [{fromEndpoints: [{}]}]",
    );
    object(
        "out",
        "endpointSelector: {matchLabels: {tier: outer}}, egress: [{toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.96.0.0/12]}]}, {toFQDNs: [{matchPattern: '*.example.com'}], toPorts: [{ports: [{port: '443', protocol: TCP}]}]}]",
    );
    for number in 0..15 {
        let (server, client) = (number, (number + 1) % APPS);
        let rules = if number % 3 == 0 {
            format!(
                ", rules: {{http: [{{method: GET, path: '/api/v{number}/.*'}}, {{method: POST, path: /orders}}]}}"
            )
        } else {
            String::new()
        };
        object(
            &format!("app{number}"),
            &format!(
                "endpointSelector: {{matchLabels: {{app: app{server}}}}}, ingress: [{{fromEndpoints: [{{matchLabels: {{app: app{client}}}}}], toPorts: [{{ports: [{{port: '8080', protocol: TCP}}]{rules}}}]}}], egress: [{{toEndpoints: [{{matchLabels: {{app: app{client}}}}}]}}]"
            ),
        );
    }
    text
}

fn read(text: &str) -> Vec<Arc<Policy>> {
    let objects = read_objects("scale.yaml", text).expect("policies");
    objects.policies.into_iter().map(Arc::new).collect()
}

fn labels(namespace: u32, app: u32, release: u32) -> Labels {
    let tier = if app.is_multiple_of(2) {
        "inner"
    } else {
        "outer"
    };
    let texts = [
        format!("app=app{app}"),
        format!("tier={tier}"),
        format!("release=r{release}"),
        format!("io.kubernetes.pod.namespace=ns{namespace}"),
        format!("io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=ns{namespace}"),
        "io.cilium.k8s.policy.serviceaccount=default".to_owned(),
        format!("app.kubernetes.io/part-of=product{}", namespace % 7),
    ];
    texts
        .iter()
        .map(|text| text.parse().expect("a label"))
        .collect()
}

fn number(namespace: u32, app: u32, release: u32) -> u32 {
    256 + (namespace * APPS + app) * RELEASES + release
}

fn identities() -> Vec<Identity> {
    let mut all = identity::reserved();
    for namespace in 0..NAMESPACES {
        for app in 0..APPS {
            all.extend((0..RELEASES).map(|release| Identity {
                number: number(namespace, app, release),
                labels: labels(namespace, app, release),
            }));
        }
    }
    all
}

fn endpoint(id: u32, namespace: u32, app: u32) -> Endpoint {
    Endpoint {
        id: u16::try_from(id).expect("few"),
        identity: number(namespace, app, 0),
        labels: labels(namespace, app, 0),
        named_ports: Vec::new(),
    }
}

fn endpoints() -> Vec<Endpoint> {
    let all = (0..NAMESPACES)
        .flat_map(|namespace| (0..ENDPOINTS_PER_NAMESPACE).map(move |app| (namespace, app)));
    (16..)
        .zip(all)
        .map(|(id, (namespace, app))| endpoint(id, namespace, app))
        .collect()
}

/// What a change usually takes: to compile, and to be in the kernel.
fn usual(node: &mut Node, mut change: impl FnMut(u32, &mut Node) -> Arc<Compiled>) -> Value {
    let mut rounds: Vec<[Duration; 2]> = (0..ROUNDS)
        .map(|round| {
            let started = Instant::now();
            let now = change(round, node);
            let compiled = started.elapsed();
            node.apply(&now);
            [started.elapsed(), compiled]
        })
        .collect();
    rounds.sort();
    let [all, compiled] = rounds.get(rounds.len() / 2).copied().unwrap_or_default();
    let [slowest, _] = rounds.last().copied().unwrap_or_default();
    json!({
        "compile_ms": millis(compiled),
        "in_force_ms": millis(all),
        "slowest_ms": millis(slowest),
    })
}

/// One somewhere in the cluster, with labels that nobody has had.
fn pod_of_another_node(compiler: &mut Compiler, node: &mut Node) -> Value {
    usual(node, |round, node| {
        let fresh = Identity {
            number: 60_000 + round,
            labels: labels(round, round % APPS, 99),
        };
        node.learn(fresh.number, 0);
        compiler.insert_identity(fresh);
        compiler.commit()
    })
}

/// One of a kind that is not here yet.
fn pod_of_this_node(compiler: &mut Compiler, node: &mut Node) -> Value {
    usual(node, |round, node| {
        let fresh = endpoint(40_000 + round, round, 20);
        node.learn(fresh.identity, fresh.id);
        compiler.insert_endpoint(fresh);
        compiler.commit()
    })
}

/// A policy that selects every endpoint of the node: all sets are written anew.
fn policy_for_everybody(
    compiler: &mut Compiler,
    node: &mut Node,
    policies: &[Arc<Policy>],
) -> Value {
    usual(node, |round, _| {
        let everybody = read(&format!(
            "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {{name: everybody}}\nspec: {{endpointSelector: {{}}, egressDeny: [{{toCIDR: [169.254.169.254/32, 192.0.2.{round}/32]}}]}}\n"
        ));
        compiler.set_policies(policies.iter().cloned().chain(everybody));
        compiler.commit()
    })
}

fn entries(now: &Compiled) -> usize {
    let sets = now.sets();
    sets.iter().map(|set| now.entries(set).len()).sum()
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
