//! Exports of a real agent: files, standard output and a collector.

mod collector;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;
use serde_json::Value;
use testbed::{Attach, Process};

use crate::node::{Agent, Node, curl, output, serve, wait_until};
use collector::{Collector, text};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A node with a client and a server that answers.
struct Shop {
    node: Node,
    _server: Process,
}

impl Shop {
    fn new() -> anyhow::Result<Self> {
        let told = "namespace: shop, labels: { app: web }, workload: Deployment/web";
        let node = Node::with(&[
            ("client", Attach::Bridged, told),
            (
                "server",
                Attach::Bridged,
                "namespace: shop, labels: { app: api }, workload: Deployment/api",
            ),
        ])?;
        let server = serve(&node.pod("server").host, 80)?;
        Ok(Self {
            node,
            _server: server,
        })
    }

    /// A file in the node's folder.
    fn file(&self, name: &str) -> PathBuf {
        self.node.world.folder().join(name)
    }

    fn configure(&self, exports: &str) -> anyhow::Result<()> {
        self.node.configure(&format!(
            "visibility: [ {{ port: 80, mode: proxy }} ]\nflows: {{ ring: 65535, redact: {{ query: true }} }}\n\
             metrics: {{ listen: \"127.0.0.1:9965\" }}\nexports:\n{exports}"
        ))
    }

    /// Asks for a path, as part of a trace and with a secret.
    fn ask(&self, path: &str) -> anyhow::Result<()> {
        let url = format!("http://{}{path}", self.node.pod("server").v4);
        let trace = format!("traceparent: {TRACE}");
        let words = ["-H", &trace, "-H", "Authorization: Bearer s3cret", &url];
        let (code, answer) = curl(&self.node.pod("client").host, &words)?;
        anyhow::ensure!(code == 0, "{answer}");
        Ok(())
    }

    /// What the agent says of its exports.
    fn exports(&self) -> anyhow::Result<Vec<Value>> {
        let status: Value = serde_json::from_str(&self.node.l7d("status", &["-o", "json"])?)?;
        let exports = status.pointer("/l7d/exports").and_then(Value::as_array);
        Ok(exports.cloned().unwrap_or_default())
    }

    /// The numbers of the flows that the agent has.
    fn kept(&self) -> anyhow::Result<BTreeSet<String>> {
        let text = self.node.observe(&["--all", "-o", "jsonpb"])?;
        Ok(uuids(&lines(&text)?))
    }

    /// Waits until an export has everything that the agent has.
    fn wait_complete(&self, agent: &mut Agent, read: impl Fn() -> String) -> anyhow::Result<()> {
        // The end of each connection is told some time after it.
        agent.process.wait_for("l7d: ready")?;
        wait_until(
            || {
                let wanted = self.kept()?;
                let missing = wanted.difference(&uuids(&lines(&read())?)).count();
                anyhow::Ok((wanted.len(), missing))
            },
            |found| matches!(found, Ok((kept, 0)) if *kept > 0),
        )
    }
}

/// Whole lines of JSON: the last one may still be written.
fn lines(text: &str) -> anyhow::Result<Vec<Value>> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines().filter(|line| line.starts_with('{'));
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn uuids(lines: &[Value]) -> BTreeSet<String> {
    let uuid = |line: &Value| Some(line.pointer("/flow/uuid")?.as_str()?.to_owned());
    lines.iter().filter_map(uuid).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The text of a file and of those that were set aside, in their order.
fn read_all(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).map(|entries| entries.flatten().collect());
    let mut entries: Vec<_> = entries.unwrap_or_default();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    entries.iter().map(|entry| read(&entry.path())).collect()
}

#[test]
fn flows_go_to_a_file_to_standard_output_and_to_a_collector_at_once() -> anyhow::Result<()> {
    let shop = Shop::new()?;
    let collector = Collector::start(&shop.node.world.node(), 4317)?;
    let file = shop.file("flows.jsonl");
    let path = file.display();
    shop.configure(&format!(
        "- {{ name: all, file: {{ path: {path} }} }}\n\
         - {{ name: console, stdout: true, allow: [ {{ http_status_code: [\"200\"] }} ], fields: [l7.http.url] }}\n\
         - {{ name: logs, otlp: {{ endpoint: \"http://127.0.0.1:4317\" }} }}\n\
         - {{ name: spans, otlp: {{ endpoint: \"http://127.0.0.1:4317\", signal: spans }} }}\n"
    ))?;
    let mut agent = shop.node.agent()?;
    shop.ask("/items/4711?token=s3cret")?;
    shop.wait_complete(&mut agent, || read(&file))?;
    let all = read(&file);
    assert!(
        all.contains("http://") && all.contains("/items/4711"),
        "{all}"
    );
    assert!(!all.contains("s3cret"), "{all}");
    let traced =
        "\"trace_context\":{\"parent\":{\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\"}}";
    assert_eq!(all.matches(traced).count(), 2, "{all}");
    let address = &shop.node.pod("server").v4;
    let line = format!(
        "{{\"flow\":{{\"l7\":{{\"http\":{{\"url\":\"http://{address}/items/4711\"}}}}}},\"node_name\""
    );
    agent.process.wait_for(&line)?;
    wait_until(
        || collector.logs(),
        |logs| logs.iter().any(|log| log.event_name == "l7d.flow.http"),
    )?;
    let logs = collector.logs();
    let answer = logs
        .iter()
        .find(|log| log.is("http.response.status_code", 200));
    let answer = answer.ok_or_else(|| anyhow::anyhow!("{logs:?}"))?;
    assert_eq!(text(&answer.attributes, "http.route"), "/items/{id}");
    assert_eq!(text(&answer.resource, "k8s.deployment.name"), "api");
    assert_eq!(text(&answer.resource, "k8s.node.name"), "test-node");
    assert_eq!(
        text(&answer.attributes, "destination.k8s.pod.name"),
        "client"
    );
    wait_until(|| collector.spans(), |spans| !spans.is_empty())?;
    let span = collector.spans().remove(0);
    assert_eq!(span.name, "GET /items/{id}");
    assert_eq!(text(&span.resource, "service.name"), "api");
    let text = format!("{:?}{:?}", collector.logs(), collector.spans());
    assert!(!text.contains("s3cret"), "{text}");
    let metrics = ["curl", "-sS", "-m", "5", "http://127.0.0.1:9965/metrics"];
    let metrics = output(&shop.node.world.node(), &metrics)?;
    for line in [
        "hubble_dynamic_exporter_exporters_total{status=\"active\"} 4",
        "hubble_dynamic_exporter_up{name=\"spans\"} 1",
        "hubble_dynamic_exporter_reconfigurations_total{op=\"add\"} 4",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let status = shop.node.l7d("status", &[])?;
    assert!(
        status.contains("Exports:") && status.contains("standard output"),
        "{status}"
    );
    Ok(())
}

#[test]
fn exports_change_while_the_agent_runs_and_no_flow_is_missing() -> anyhow::Result<()> {
    let shop = Shop::new()?;
    let (first, second) = (shop.file("first"), shop.file("second"));
    let one = |more: &str| {
        let path = first.join("flows.jsonl");
        format!(
            "- {{ name: one, file: {{ path: {}, keep: 1000{more} }} }}\n",
            path.display()
        )
    };
    shop.configure(&one(""))?;
    let mut agent = shop.node.agent()?;
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| (0..200).try_for_each(|at| shop.ask(&format!("/{at}"))));
        let change = || -> anyhow::Result<()> {
            for bytes in [8192, 65_536, 16_384] {
                let path = second.join("nobodys.jsonl");
                let more = format!(
                    "- {{ name: two, file: {{ path: {} }}, allow: [ {{ source_pod: [nowhere/nobody] }} ] }}\n",
                    path.display()
                );
                shop.configure(&format!("{}{more}", one(&format!(", maxBytes: {bytes}"))))?;
                agent.process.signal(Signal::HUP)?;
                let has_two = |exports: &anyhow::Result<Vec<Value>>| {
                    exports.as_ref().is_ok_and(|exports| exports.len() == 2)
                };
                wait_until(|| shop.exports(), has_two)?;
            }
            Ok(())
        };
        change()?;
        caller
            .join()
            .map_err(|_panic| anyhow::anyhow!("it panicked"))?
    })?;
    shop.wait_complete(&mut agent, || read_all(&first))?;
    let told = lines(&read_all(&first))?;
    assert_eq!(uuids(&told).len(), told.len(), "a flow is there twice");
    assert!(std::fs::read_dir(&first)?.count() > 2);
    assert!(!second.exists(), "nothing is nobody's");
    shop.configure(&one(", maxBytes: 4000"))?;
    agent.process.signal(Signal::HUP)?;
    agent.process.wait_for("4000 is not between 4096")?;
    assert_eq!(
        shop.exports()?.len(),
        2,
        "what cannot be used changes nothing"
    );
    shop.configure("- { name: two, stdout: true }\n")?;
    agent.process.signal(Signal::HUP)?;
    let names = |exports: &anyhow::Result<Vec<Value>>| {
        let exports = exports.as_ref().ok()?;
        let names = exports
            .iter()
            .map(|export| export["target"].as_str().map(str::to_owned));
        names.collect::<Option<Vec<String>>>()
    };
    wait_until(
        || shop.exports(),
        |exports| names(exports).is_some_and(|names| names == ["standard output"]),
    )
}

/// A small disk, until this is dropped.
struct Disk(PathBuf);

impl Disk {
    fn new(path: PathBuf, kib: u32) -> anyhow::Result<Self> {
        std::fs::create_dir(&path)?;
        let size = std::ffi::CString::new(format!("size={kib}k"))?;
        mount(
            "l7d-test",
            &path,
            "tmpfs",
            MountFlags::empty(),
            Some(size.as_c_str()),
        )?;
        Ok(Self(path))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_full_disk_is_told_and_holds_up_nothing() -> anyhow::Result<()> {
    let shop = Shop::new()?;
    let disk = Disk::new(shop.file("disk"), 4096)?;
    let filler = disk.0.join("filler");
    std::fs::write(&filler, vec![0; 4080 << 10])?;
    let path = disk.0.join("flows.jsonl");
    let file = format!("file: {{ path: {}, maxBytes: 100000000 }}", path.display());
    shop.configure(&format!("- {{ name: all, {file} }}\n"))?;
    let mut agent = shop.node.agent()?;
    let trouble = |exports: &anyhow::Result<Vec<Value>>| {
        let exports = exports.as_ref().ok()?;
        Some(exports.first()?.get("trouble")?.as_str()?.to_owned())
    };
    for at in 0..20 {
        shop.ask(&format!("/{at}"))?;
    }
    let is_full = |told: &Option<String>| {
        told.as_ref()
            .is_some_and(|told| told.contains("No space left"))
    };
    wait_until(|| shop.exports(), |exports| is_full(&trouble(exports)))?;
    // What is there are whole lines, and what is not there waits.
    let text = read(&path);
    assert!(
        text.ends_with('\n') && lines(&text)?.len() == text.lines().count(),
        "{text}"
    );
    let status = shop.node.l7d("status", &[])?;
    assert!(status.contains("all: No space left on device"), "{status}");
    std::fs::remove_file(&filler)?;
    for at in 20..25 {
        shop.ask(&format!("/{at}"))?;
    }
    shop.wait_complete(&mut agent, || read(&path))?;
    wait_until(
        || shop.exports(),
        |exports| exports.is_ok() && trouble(exports).is_none(),
    )?;
    let lost = shop.exports()?[0]["lost"].as_u64();
    assert_eq!(lost, Some(0), "the ring was large enough");
    Ok(())
}

#[test]
fn a_collector_that_does_not_answer_holds_up_nothing() -> anyhow::Result<()> {
    let shop = Shop::new()?;
    let host = shop.node.world.node();
    // It accepts, and says nothing.
    let _silent = host.inside(|| Ok(std::net::TcpListener::bind("127.0.0.1:4317")?))?;
    shop.configure("- { name: logs, otlp: { endpoint: \"http://127.0.0.1:4317\" } }\n")?;
    let mut agent = shop.node.agent()?;
    for at in 0..50 {
        shop.ask(&format!("/{at}"))?;
    }
    wait_until(
        || {
            shop.node
                .observe(&["--all", "-o", "jsonpb", "--http-status", "200"])
        },
        |text| text.as_ref().is_ok_and(|text| text.lines().count() == 50),
    )?;
    let export = shop.exports()?.remove(0);
    assert_eq!(export["delivered"], 0, "{export}");
    agent.process.signal(Signal::TERM)?;
    assert!(agent.process.wait()?.success());
    Ok(())
}
