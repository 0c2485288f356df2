//! The chart's queries, asked of a real Prometheus that scrapes a real agent and a relay.

use std::collections::{BTreeMap, BTreeSet};

use charts::{Query, alerts, dashboards};
use serde_json::Value;
use testbed::{Attach, Host, Process};

use crate::cluster::Cluster;
use crate::dns::{dig, unbound};
use crate::metrics::prometheus;
use crate::node::{Node, curl, output, serve, wait_until};

/// Asks for each line of its input, and writes a line with the answer for each.
const ASK: &str = r#"
import json, sys, urllib.error, urllib.parse, urllib.request
for query in open(sys.argv[1]):
    url = "http://127.0.0.1:9090/api/v1/query?" + urllib.parse.urlencode({"query": json.loads(query)})
    try:
        print(urllib.request.urlopen(url).read().decode())
    except urllib.error.HTTPError as error:
        print(error.read().decode())
"#;

/// The client may read, and nothing else: posts are refused by the proxy, other ports in the kernel.
const POLICY: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: read-only, namespace: prod-app }
spec:
  endpointSelector: { matchLabels: { app: server } }
  ingress:
  - fromEndpoints: [ { matchLabels: { app: client } } ]
    toPorts:
    - ports: [ { port: "80", protocol: TCP } ]
      rules: { http: [ { method: GET } ] }
    - ports: [ { port: "53", protocol: UDP } ]
"#;

/// What the chart configures by default, and what its dashboards of pods ask for beyond it.
const CONFIG: &str = r"
visibility: [ { port: 80 }, { port: 53, protocol: UDP } ]
exports: [ { name: all, stdout: true, allow: [ { verdict: [ AUDIT ] } ] } ]
metrics:
  listen: 127.0.0.1:9965
  hubble: HUBBLE
  retina:
    node: true
    contextOptions:
    - { metricName: forward_count, sourceLabels: [ namespace, podname ] }
    - { metricName: forward_bytes, sourceLabels: [ namespace, podname ] }
    - { metricName: drop_count, sourceLabels: [ namespace, podname ] }
    - { metricName: tcp_flag_gauges, sourceLabels: [ namespace, podname ] }
    - { metricName: tcp_retransmission_count, sourceLabels: [ namespace, podname ] }
    - { metricName: dns_response_count, sourceLabels: [ namespace, podname ] }
";

/// A relay of this node, whose metrics are scraped as well.
fn relay(node: &Node) -> anyhow::Result<Process> {
    let host = node.world.node();
    let mut command = host.command(env!("CARGO_BIN_EXE_l7d"));
    let service = format!("unix://{}/l7d.sock", node.world.folder().display());
    command.args(["relay", "--peer-service", &service]);
    command.args(["--listen-address", "localhost:4245"]);
    command.args(["--metrics-listen-address", "127.0.0.1:9966"]);
    let relay = host.start("relay", command)?;
    host.wait_listening(9966)?;
    Ok(relay)
}

/// Answers to queries, in their order: what Prometheus found, or its complaint.
fn answers(node: &Node, queries: &[Query]) -> anyhow::Result<Vec<Result<Vec<Value>, String>>> {
    let file = node.world.folder().join("queries");
    let lines = queries
        .iter()
        .map(|query| Value::from(query.expression.as_str()).to_string());
    std::fs::write(&file, lines.collect::<Vec<_>>().join("\n"))?;
    let words = ["python3", "-c", ASK, &file.display().to_string()];
    let text = output(&node.world.node(), &words)?;
    let answers = text.lines().map(|line| {
        let answer: Value = serde_json::from_str(line)?;
        let found = answer.pointer("/data/result").and_then(Value::as_array);
        Ok(
            match (answer.get("status").and_then(Value::as_str), found) {
                (Some("success"), Some(found)) => Ok(found.clone()),
                _ => Err(line.to_owned()),
            },
        )
    });
    answers.collect()
}

/// Metrics of mishaps that are not brought about here: that queries of them are understood is tested, what
/// they are called is compared with `docs/metrics.md` by the chart's own tests.
const MISHAPS: [&str; 4] = [
    "l7d_tcp_listen_overflows_total",
    "l7d_tcp_retransmits_total",
    "l7d_tcp_zero_windows_total",
    "networkobservability_adv_tcpretrans_count",
];

/// Labels that are empty, and so not there, without a drop by the kernel and without a gRPC call.
const EMPTY: [(&str, &str); 2] = [
    ("l7d_drops_total", "kernel_reason"),
    ("l7d_requests_total", "grpc_status"),
];

/// What of the queries is not as it should be.
fn faults(node: &Node, queries: &[Query]) -> anyhow::Result<BTreeSet<String>> {
    let mut faults = BTreeSet::new();
    for (query, answer) in queries.iter().zip(answers(node, queries)?) {
        if let Err(said) = answer {
            faults.insert(format!("{}: {}: {said}", query.place, query.expression));
        }
    }
    // Whether there are such metrics, with such labels: a query of none is answered as well.
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for query in queries {
        for metric in query.metrics() {
            let wanted = labels.entry(metric).or_default();
            if query.metrics().len() == 1 {
                wanted.extend(query.labels());
            }
        }
    }
    let series = labels.keys().map(|metric| Query {
        place: (*metric).to_owned(),
        expression: (*metric).to_owned(),
    });
    let series: Vec<Query> = series.collect();
    for (query, answer) in series.iter().zip(answers(node, &series)?) {
        let found = answer.unwrap_or_default();
        let metric = query.expression.as_str();
        if MISHAPS.contains(&metric) {
            continue;
        }
        if found.is_empty() {
            faults.insert(format!("nothing of {metric}"));
            continue;
        }
        let wanted = labels.get(metric).into_iter().flatten();
        for label in wanted.filter(|label| !EMPTY.contains(&(metric, label))) {
            let pointer = format!("/metric/{label}");
            if !found.iter().any(|one| one.pointer(&pointer).is_some()) {
                faults.insert(format!("no {metric} has a label {label}"));
            }
        }
    }
    Ok(faults)
}

/// Everything that is counted happens once.
fn traffic(client: &Host, server: &str) -> anyhow::Result<()> {
    let url = format!("http://{server}/items/1");
    curl(client, &[&url])?;
    curl(client, &["-d", "x", &url])?;
    // A head that breaks a rule, a port that is closed to the client, a name that is not there.
    curl(
        client,
        &[
            "-H",
            "Content-Length: 1",
            "-H",
            "Transfer-Encoding: chunked",
            &url,
        ],
    )?;
    curl(client, &["-m", "1", &format!("http://{server}:81/")])?;
    dig(client, server, &["www.example.com"])?;
    dig(client, server, &["missing.example.com"])?;
    output(client, &["ping", "-c", "1", "-W", "1", "192.0.2.2"]).map(drop)
}

#[test]
fn the_charts_queries_are_answered_and_their_metrics_are_there() -> anyhow::Result<()> {
    let cluster = Cluster::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    cluster.define_cilium()?;
    cluster.apply(POLICY)?;
    let node = &cluster.node;
    let (client, server) = (node.pod("client"), node.pod("server"));
    let host = node.world.node();
    node.configure(&CONFIG.replace("HUBBLE", &charts::hubble_metrics()?.to_string()))?;
    let _names = unbound(&server.host, node.world.folder())?;
    let _server = serve(&server.host, 80)?;
    let _agent = cluster.agent()?;
    let _relay = relay(node)?;
    let rules = charts::folder().join("alerts.yaml");
    let more = format!(
        "- job_name: relay\n  static_configs: [ {{ targets: [\"127.0.0.1:9966\"] }} ]\nrule_files: [ {} ]\n",
        rules.display()
    );
    let _prometheus = prometheus(node, &more)?;
    let mut queries = dashboards()?;
    queries.extend(alerts()?);
    wait_until(
        || {
            let _passed = traffic(&client.host, &server.v4);
            let _read = node.observe(&["--last", "1"]);
            faults(node, &queries).map_err(|error| error.to_string())
        },
        |faults| faults.as_ref().is_ok_and(BTreeSet::is_empty),
    )?;
    let asked = ["curl", "-s", "http://127.0.0.1:9090/api/v1/rules"];
    let is_good = |answer: &Value| {
        let groups = answer["data"]["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let health: Vec<&str> = rules.filter_map(|rule| rule["health"].as_str()).collect();
        health.len() == alerts().map_or(0, |alerts| alerts.len())
            && health.iter().all(|health| *health == "ok")
    };
    wait_until(
        || {
            let text = output(&host, &asked).unwrap_or_default();
            serde_json::from_str(&text).unwrap_or(Value::Null)
        },
        is_good,
    )
}

/// Starts an agent as the chart's pod has it: everything read-only but its folders, the node's pins and
/// sysctls mounted elsewhere, and no other capabilities than those of the chart.
const CONFINED: &str = r#"
mkdir -p host/bpf host/sysctls
mount --bind . "$PWD"
cd "$PWD"
mount --bind /sys/fs/bpf host/bpf
mount --bind /proc/sys/net host/sysctls
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -o remount,bind,ro /sys/fs/bpf
mount -o remount,bind,ro /
exec setpriv --no-new-privs --inh-caps=-all --bounding-set="-all$1" "$2" agent --config "$3"
"#;

fn confined(node: &Node) -> anyhow::Result<Process> {
    let capabilities = charts::capabilities()?;
    let added = capabilities
        .iter()
        .map(|name| format!(",+{}", name.to_lowercase()));
    let mut command = node.world.node().command("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-ec",
        CONFINED,
        "sh",
    ]);
    command.arg(added.collect::<String>());
    command
        .arg(env!("CARGO_BIN_EXE_l7d"))
        .arg(node.config_file());
    command.current_dir(node.world.folder());
    node.world.node().start("agent", command)
}

#[test]
fn an_agent_works_as_confined_as_its_pod() -> anyhow::Result<()> {
    let mut node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    let host = node.world.node();
    let sysctl = |name: &str| output(&host, &["cat", &format!("/proc/sys/net/ipv4/{name}")]);
    host.set("net/ipv4/tcp_early_demux", "1")?;
    let mut agent = confined(&node)?;
    assert!(!agent.wait()?.success());
    let said = agent.output();
    assert!(said.contains("cannot be written here"), "{said}");
    assert!(said.contains("datapath.sysctlDir"), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
    drop(agent);
    let folder = node.world.folder().display().to_string();
    let elsewhere = format!("pinDir: {folder}/host/bpf/");
    node.amend(
        "pinDir: /sys/fs/bpf/",
        &format!("sysctlDir: {folder}/host/sysctls, {elsewhere}"),
    );
    node.policy(POLICY)?;
    node.configure("visibility: [ { port: 80 }, { port: 53, protocol: UDP } ]\n")?;
    let (client, server) = (&node.pod("client").host, node.pod("server"));
    let _names = unbound(&server.host, node.world.folder())?;
    let _server = serve(&server.host, 80)?;
    let mut agent = confined(&node)?;
    agent.wait_for("l7d: ready")?;
    let url = format!("http://{}/", server.v4);
    for (method, status) in [("GET", "200"), ("DELETE", "403")] {
        let (code, answer) = curl(client, &["-X", method, &url])?;
        assert!(
            code == 0 && answer.ends_with(status),
            "{method}: {code} {answer}"
        );
    }
    let answer = dig(client, &server.v4, &["api.example.com"])?;
    assert!(answer.contains("192.0.2.2"), "{answer}");
    let mut flows = node.follow()?;
    flows.wait_for("http-request DROPPED")?;
    flows.wait_for("dns-response proxy FORWARDED")?;
    assert_eq!(sysctl("tcp_early_demux")?, "0\n");
    assert_eq!(sysctl("conf/l7d0/rp_filter")?, "0\n");
    Ok(())
}
