//! What a verdict on a request costs, by the number of path rules on its port. Prints a line of
//! figures for each number, separated by tabs, for `cargo xtask bench policy`.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a program whose output is its purpose: it measures, and reads what the kernel says of it"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use policy_l7::{
    Compiled, Direction, Endpoint, Headers, HttpRequest, Inputs, Subject, compile, identity,
    read_objects,
};

const RULES: [usize; 3] = [1, 100, 10_000];
/// Verdicts that are timed together.
const BATCH: usize = 100;
const BATCHES: usize = 2000;

fn main() {
    for rules in RULES {
        let before = resident_kib();
        let policy = compiled(rules);
        let mut figures = vec![rules.to_string()];
        for paths in [
            allowed(rules, 0),
            allowed(rules, 1),
            allowed(rules, 2),
            denied(rules),
        ] {
            let [median, tail] = measure(&policy, &paths);
            figures.extend([format!("{median:.0}"), format!("{tail:.0}")]);
        }
        figures.push(resident_kib().saturating_sub(before).to_string());
        println!("{}", figures.join("\t"));
    }
}

/// Every third rule is a text, every third a beginning, and the others are expressions: half of them
/// with a beginning of their own, half with one that they share.
fn source(number: usize) -> String {
    match number % 6 {
        0 | 3 => format!("/api/v1/service{number}/items"),
        1 | 4 => format!("/files/team{number}/.*"),
        2 => format!("/service{number}/[a-z]+/[0-9]+"),
        _ => format!("/users/[0-9]+/service{number}/[a-z]+"),
    }
}

/// Paths that a rule of that kind allows.
fn allowed(rules: usize, kind: usize) -> Vec<String> {
    let fitting = (0..rules).filter(|number| number % 3 == kind);
    let path = |number| {
        let source = source(number);
        source
            .replace(".*", "reports/2026?page=2")
            .replace("[0-9]+", "4711")
            .replace("[a-z]+", "orders")
    };
    fitting.map(path).collect()
}

/// Paths like those that are allowed, which no rule allows.
fn denied(rules: usize) -> Vec<String> {
    (0..rules.max(6))
        .map(|number| match number % 3 {
            0 => format!("/api/v1/service{number}/other"),
            1 => format!("/files/group{number}/reports"),
            _ => format!("/users/4711/service{number}x/orders"),
        })
        .collect()
}

fn compiled(rules: usize) -> Arc<Compiled> {
    let mut text = String::from(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: n}\nspec:\n  endpointSelector: {}\n  ingress:\n  - toPorts:\n    - ports: [{port: \"80\", protocol: TCP}]\n      rules:\n        http:\n",
    );
    for number in 0..rules {
        writeln!(
            text,
            "        - {{method: GET, path: \"{}\"}}",
            source(number)
        )
        .expect("text grows");
    }
    let policies = read_objects("bench.yaml", &text)
        .expect("a policy")
        .policies;
    let label = "io.kubernetes.pod.namespace=n".parse().expect("a label");
    Arc::new(compile(&Inputs {
        policies: &policies,
        identities: &identity::reserved(),
        endpoints: &[Endpoint {
            id: 16,
            identity: 300,
            labels: [label].into_iter().collect(),
            named_ports: Vec::new(),
        }],
        ..Inputs::default()
    }))
}

/// Fields as a browser sends them.
struct Fields;

impl Headers for Fields {
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in [
            (&b"user-agent"[..], &b"Mozilla/5.0"[..]),
            (b"accept", b"*/*"),
            (b"accept-encoding", b"gzip"),
        ] {
            visit(name, value);
        }
    }
}

/// Nanoseconds for a verdict: of the batch in the middle, and of that behind 99 % of them.
fn measure(policy: &Arc<Compiled>, paths: &[String]) -> [f64; 2] {
    let subject = Subject {
        endpoint: 16,
        direction: Direction::Ingress,
        remote: identity::WORLD,
        protocol: 6,
        port: 80,
    };
    let connection = policy.connection(&subject);
    let judge = |path: &String| {
        let request = HttpRequest {
            method: b"GET",
            paths: &[path.as_bytes()],
            host: b"web.example",
            headers: &Fields,
        };
        black_box(connection.judge_http(black_box(&request)).is_ok())
    };
    if paths.is_empty() {
        return [f64::NAN, f64::NAN];
    }
    // Every path once: expressions compute what they keep.
    for path in paths {
        judge(path);
    }
    // Not in their order: neighbours would find what they need in the cache.
    let mut order = (0..).map(|nth: usize| nth.wrapping_mul(7919) % paths.len());
    let mut times: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let batch: Vec<&String> = order
                .by_ref()
                .take(BATCH)
                .filter_map(|at| paths.get(at))
                .collect();
            let began = Instant::now();
            for path in &batch {
                judge(path);
            }
            let count = u32::try_from(BATCH).map_or(f64::MAX, f64::from);
            began.elapsed().as_secs_f64() * 1e9 / count
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |share: usize| times.get(times.len() * share / 100).copied();
    [at(50).unwrap_or(f64::NAN), at(99).unwrap_or(f64::NAN)]
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let digits: String = line
        .unwrap_or_default()
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap_or(0)
}
