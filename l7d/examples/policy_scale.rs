//! A thousand policies, ten thousand identities, 250 endpoints: what it costs to compile them, and to
//! follow what changes. Prints one JSON object of figures, for `cargo xtask bench policy`.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a program whose output is its purpose; it measures what we wrote ourselves"
)]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use policy_l7::{Compiled, Compiler, Endpoint, Identity, Labels, Policy, identity, read_objects};
use serde_json::json;

const NAMESPACES: u32 = 50;
const APPS: u32 = 40;
/// Identities of an app: as many releases of it.
const RELEASES: u32 = 5;
const ENDPOINTS_PER_NAMESPACE: u32 = 5;
const ROUNDS: u32 = 15;

fn main() {
    let text = (0..NAMESPACES).map(policies).collect::<String>();
    let started = Instant::now();
    let policies = read(&text);
    let read_ms = millis(started.elapsed());
    let identities = identities();
    let endpoints = endpoints();
    let before = resident_kib();

    let started = Instant::now();
    let mut compiler = Compiler::new();
    compiler.set_identities(&identities);
    compiler.set_endpoints(&endpoints);
    compiler.set_policies(policies.iter().cloned());
    let outcome = compiler.commit();
    let compile_ms = millis(started.elapsed());
    let entries: usize = outcome
        .sets()
        .iter()
        .map(|set| outcome.entries(set).len())
        .sum();
    let entries_ms = millis(started.elapsed()) - compile_ms;
    let resident_mib = (resident_kib() - before) / 1024;

    let (identity_ms, identity_entries) = pod_with_labels_of_its_own(&mut compiler);
    let endpoint_ms = endpoint_comes(&mut compiler);
    let (everywhere_ms, everywhere_entries) = policy_for_everybody(&mut compiler, &policies);
    let figures = json!({
        "policies": policies.len(),
        "identities": identities.len(),
        "endpoints": endpoints.len(),
        "sets": outcome.sets().len(),
        "entries": entries,
        "read_ms": read_ms,
        "compile_ms": compile_ms,
        "entries_ms": entries_ms,
        "resident_mib": resident_mib,
        "new_identity_ms": identity_ms,
        "new_identity_entries": identity_entries,
        "new_endpoint_ms": endpoint_ms,
        "new_policy_ms": everywhere_ms,
        "new_policy_entries": everywhere_entries,
    });
    println!("{figures}");
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

/// The usual time of a change, and the entries that it makes.
fn usual(mut change: impl FnMut(u32) -> (Duration, usize)) -> (f64, usize) {
    let mut rounds: Vec<(Duration, usize)> = (0..ROUNDS).map(&mut change).collect();
    rounds.sort();
    let (time, entries) = rounds.get(rounds.len() / 2).copied().unwrap_or_default();
    (millis(time), entries)
}

/// A pod somewhere in the cluster whose labels nobody has had.
fn pod_with_labels_of_its_own(compiler: &mut Compiler) -> (f64, usize) {
    let mut version = compiler.commit().version();
    usual(|round| {
        let fresh = Identity {
            number: 60_000 + round,
            labels: labels(round, round % APPS, 99),
        };
        let started = Instant::now();
        compiler.insert_identity(fresh);
        let outcome = compiler.commit();
        let touched = outcome.touched_since(version).expect("known");
        version = outcome.version();
        let mut entries = 0;
        for set in outcome.sets() {
            entries += touched
                .iter()
                .map(|number| outcome.entries_of(&set, *number).len())
                .sum::<usize>();
        }
        (started.elapsed(), entries)
    })
}

/// A pod on this node whose kind is not there yet.
fn endpoint_comes(compiler: &mut Compiler) -> f64 {
    let (time, _) = usual(|round| {
        let started = Instant::now();
        compiler.insert_endpoint(endpoint(40_000 + round, round, 20));
        let outcome = compiler.commit();
        let policy = outcome.endpoint(u16::try_from(40_000 + round).expect("few"));
        let set = &policy.expect("a policy").in_force;
        let entries = outcome.entries(set).len();
        (started.elapsed(), entries)
    });
    time
}

/// A policy that selects every endpoint of the node.
fn policy_for_everybody(compiler: &mut Compiler, policies: &[Arc<Policy>]) -> (f64, usize) {
    usual(|round| {
        let everybody = read(&format!(
            "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {{name: everybody}}\nspec: {{endpointSelector: {{}}, egressDeny: [{{toCIDR: [169.254.169.254/32, 192.0.2.{round}/32]}}]}}\n"
        ));
        let started = Instant::now();
        compiler.set_policies(policies.iter().cloned().chain(everybody));
        let outcome = compiler.commit();
        let entries = all_entries(&outcome);
        (started.elapsed(), entries)
    })
}

fn all_entries(outcome: &Compiled) -> usize {
    outcome
        .sets()
        .iter()
        .map(|set| outcome.entries(set).len())
        .sum()
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
