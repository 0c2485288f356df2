//! What following a cluster takes: a server of pods in a process of its own, and in another one what an
//! agent has for them, the follower and the inventory; and a whole agent with pods of its own. Prints one JSON object of figures, for
//! `cargo xtask bench cluster`.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a program whose output is its purpose; it measures what we wrote ourselves"
)]

mod agent;
mod pods;
mod window;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiserver_double::Double;
use l7d::clock::Monotonic;
use l7d::config::{Kubernetes, read_config};
use l7d::host::Inventory;
use l7d::host::cluster::{Kind, Object, Outcomes, Update};
use l7d::kube::{Settings, Timeouts, start};
use serde_json::{Value, json};
use tokio::sync::watch;

use pods::{NAMESPACES, namespace, pod};

/// Pods of a cluster, and changes a second for how many seconds.
const CASES: [(usize, u64, u64); 2] = [(5_000, 100, 30), (150_000, 100, 30)];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments[at].parse::<u64>().expect("a number");
    match arguments.get(1).map(String::as_str) {
        Some("serve") => serve(usize::try_from(number(2)).expect("a number"), &arguments[3]),
        Some("follow") => follow(&arguments[2], number(3)),
        Some("agent") => println!("{}", agent::measure(&arguments[2]).expect("figures")),
        _ => {
            let figures: Vec<Value> = CASES
                .iter()
                .map(|(pods, rate, seconds)| measure(*pods, *rate, *seconds))
                .collect();
            println!("{}", Value::Array(figures));
        }
    }
}

fn spawn(arguments: &[&str]) -> Child {
    let own = std::env::current_exe().expect("this program");
    let mut command = Command::new(own);
    command.args(arguments).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).spawn().expect("a process")
}

fn measure(pods: usize, rate: u64, seconds: u64) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kubeconfig");
    let file = file.to_str().expect("a path");
    let mut server = spawn(&["serve", &pods.to_string(), file]);
    let mut said = BufReader::new(server.stdout.take().expect("its words"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it serves");
    let bytes: u64 = line.trim().parse().expect("a size");
    let created = rate * seconds / 2;
    let mut follower = spawn(&["follow", file, &created.to_string()]);
    let mut told = BufReader::new(follower.stdout.take().expect("its words")).lines();
    let mut next = || -> Value {
        let line = told.next().expect("a line").expect("a line");
        serde_json::from_str(&line).expect("figures")
    };
    let listed = next();
    let mut orders: ChildStdin = server.stdin.take().expect("its orders");
    writeln!(orders, "{rate} {seconds}").expect("an order");
    let churn = next();
    drop(orders);
    server.wait().expect("its end");
    follower.wait().expect("its end");
    json!({ "pods": pods, "bytes_per_pod": bytes, "rate": rate, "listed": listed, "churn": churn })
}

/// Serves pods; at a word, lets them come and go.
fn serve(pods: usize, file: &str) {
    let double = Double::start().expect("a server");
    for number in 0..NAMESPACES {
        double.put(&namespace(number)).expect("a namespace");
    }
    for index in 0..pods {
        double.put(&pod(index, 0)).expect("a pod");
    }
    std::fs::write(file, double.kubeconfig(None)).expect("written");
    println!("{}", pod(0, 0).to_string().len());
    for order in std::io::stdin().lines() {
        let order = order.expect("an order");
        let (rate, seconds) = order.split_once(' ').expect("two numbers");
        let rate: u32 = rate.parse().expect("a number");
        let seconds: u32 = seconds.parse().expect("a number");
        let began = Instant::now();
        for change in 0..rate * seconds {
            let due = began + Duration::from_secs(1) / rate * change;
            // Nothing is waited for but the time itself.
            let (_never, wait) = std::sync::mpsc::sync_channel::<()>(1);
            let _elapsed = wait.recv_timeout(due.saturating_duration_since(Instant::now()));
            let half = usize::try_from(change / 2).expect("a number");
            if change % 2 == 0 {
                let created = pod(pods + half, Monotonic::now().0);
                double.put(&created).expect("a pod");
            } else {
                let gone = pod(half, 0);
                let text = |at: &str| gone["metadata"][at].as_str().expect("a name").to_owned();
                double.remove("Pod", &text("namespace"), &text("name"));
            }
        }
    }
}

fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("our own figures");
    let (_, rest) = text.rsplit_once(") ").expect("a name");
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks");
    (ticks(11) + ticks(12)) / 100.0
}

fn memory(what: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("our own figures");
    let line = text.lines().find(|line| line.starts_with(what));
    let figure = line.and_then(|line| line.split_whitespace().nth(1));
    figure.expect("a figure").parse().expect("a number")
}

/// What an agent does with them, but for what it tells the kernel.
fn follow(file: &str, created: u64) {
    let config = read_config("l7d.yaml", "node: node-0\n").expect("a configuration");
    let mut inventory = Inventory::from_config(&config, Vec::new()).expect("an inventory");
    let before = memory("VmRSS");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async move {
        let began = Instant::now();
        let outcomes = watch::Sender::<Arc<Outcomes>>::default();
        let settings = Settings {
            access: Kubernetes {
                kubeconfig: Some(file.into()),
                status: false,
                ..Kubernetes::default()
            },
            node: "node-0".to_owned(),
            timeouts: Timeouts::default(),
        };
        let mut running = start(settings, outcomes.subscribe()).expect("a cluster");
        let mut awaited = Kind::ALL.len();
        while awaited > 0 {
            let update = running.updates.recv().await.expect("an update");
            awaited -= usize::from(matches!(update, Update::ListEnds(_)));
            inventory.apply(update);
        }
        println!(
            "{}",
            json!({
                "seconds": began.elapsed().as_secs_f64(), "cpu": cpu(), "before_kib": before,
                "peak_kib": memory("VmHWM"), "kib": memory("VmRSS"),
            })
        );
        let (began, cpu_before) = (Instant::now(), cpu());
        let mut lags = Vec::new();
        while u64::try_from(lags.len()).expect("a number") < created {
            let update = running.updates.recv().await.expect("an update");
            let at = match &update {
                Update::Applied(Object::Pod(pod)) => pod.endpoint.labels.get("at").cloned(),
                _ => None,
            };
            inventory.apply(update);
            let at = at.and_then(|at| at.parse().ok()).filter(|at| *at > 0);
            lags.extend(at.map(|at| Monotonic::now().nanos_since(Monotonic(at))));
            inventory.take_changed();
        }
        lags.sort_unstable();
        let share = |share: usize| lags[(lags.len() - 1) * share / 1000];
        println!(
            "{}",
            json!({
                "seconds": began.elapsed().as_secs_f64(), "cpu": cpu() - cpu_before,
                "lag_p50_ns": share(500), "lag_p99_ns": share(990), "lag_max_ns": share(1000),
                "peak_kib": memory("VmHWM"), "kib": memory("VmRSS"),
            })
        );
    });
}
