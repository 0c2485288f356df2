//! Metrics of a real agent, read by a real Prometheus.

use std::time::{Duration, Instant};

use testbed::{Attach, Host, Process};

use crate::node::{Node, curl, output, serve, wait_until};

const METRICS: &str = "http://127.0.0.1:9965/metrics";

fn scrape(host: &Host) -> anyhow::Result<String> {
    output(host, &["curl", "-sS", "-m", "5", METRICS])
}

/// The value of a line.
fn value(text: &str, line: &str) -> Option<f64> {
    let rest = text.lines().find_map(|found| found.strip_prefix(line))?;
    rest.trim().parse().ok()
}

/// What is counted of requests and flags.
fn counted(host: &Host) -> String {
    let text = scrape(host).unwrap_or_default();
    let families = ["hubble_http_requests", "hubble_tcp", "l7d_requests"];
    let is_wanted = |line: &&str| families.iter().any(|family| line.starts_with(family));
    let lines: Vec<&str> = text.lines().filter(is_wanted).collect();
    lines.join("\n")
}

fn watched() -> anyhow::Result<Node> {
    let node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    node.configure("visibility: [ { port: 80 } ]\nmetrics: { listen: \"127.0.0.1:9965\" }\n")?;
    Ok(node)
}

#[test]
fn what_is_scraped_is_sound_and_agrees_with_the_ledger() -> anyhow::Result<()> {
    let node = watched()?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    let host = node.world.node();
    let _server = serve(&server.host, 80)?;
    let _agent = node.agent()?;
    let (code, answer) = curl(&client.host, &[&format!("http://{}/", server.v4)])?;
    assert_eq!(code, 0, "{answer}");
    node.follow()?.wait_for("http-response")?;
    let text = scrape(&host)?;
    let row = |outcome: &str| {
        let labels = format!("place=\"flow_ring\",unit=\"records\",outcome=\"{outcome}\"");
        value(&text, &format!("l7d_records_total{{{labels}}}"))
    };
    assert!(row("seen").is_some_and(|seen| seen > 0.0), "{text}");
    assert_eq!(row("seen"), row("delivered"), "{text}");
    assert_eq!(row("lost"), Some(0.0), "{text}");
    for line in [
        "hubble_lost_events_total{source=\"perf_event_ring_buffer\"}",
        "l7d_map_max_entries{map=\"CONNTRACK\"}",
        "l7d_flow_ring_bytes",
        "process_cpu_seconds_total",
        "grpc_server_started_total{grpc_type=\"server_stream\",grpc_service=\"observer.Observer\",grpc_method=\"GetFlows\"}",
        "l7d_endpoints_hooked",
        "process_resident_memory_bytes",
    ] {
        assert!(value(&text, line).is_some(), "{line}: {text}");
    }
    let file = node.world.folder().join("metrics.txt");
    std::fs::write(&file, &text)?;
    let check = format!("promtool check metrics < {}", file.display());
    let lint = output(&host, &["sh", "-c", &check]);
    assert!(lint.is_ok(), "{lint:?}");
    let other = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"];
    let not_found = output(&host, &[&other[..], &["http://127.0.0.1:9965/"]].concat())?;
    assert_eq!(not_found, "404");
    let post = output(&host, &[&other[..], &["-X", "POST", METRICS]].concat())?;
    assert_eq!(post, "405");
    Ok(())
}

/// A Prometheus that scrapes the agent each second, with more lines of configuration.
pub(crate) fn prometheus(node: &Node, more: &str) -> anyhow::Result<Process> {
    let host = node.world.node();
    let folder = node.world.folder().join("prometheus");
    std::fs::create_dir_all(&folder)?;
    let config = folder.join("prometheus.yml");
    std::fs::write(
        &config,
        format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nscrape_configs:\n- job_name: l7d\n  \
             static_configs: [ {{ targets: [\"127.0.0.1:9965\"] }} ]\n{more}"
        ),
    )?;
    let mut command = host.command("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.display()));
    command.arg("--web.listen-address=127.0.0.1:9090");
    let prometheus = host.start("prometheus", command)?;
    host.wait_listening(9090)?;
    Ok(prometheus)
}

/// An alert on policy drops as a guide for operators has it, and the same in Hubble's own words.
const ALERTS: &str = r#"
groups:
- name: drops
  rules:
  - alert: AsTheGuideHasIt
    expr: sum(rate(hubble_drop_total{reason="Policy denied", namespace="prod-app", source_pod=~"api-gateway.*"}[5m])) by (source_pod, destination_pod) > 10
  - alert: AsHubbleHasIt
    expr: sum(rate(hubble_drop_total{reason="POLICY_DENIED", source_namespace="prod-app", source_pod=~"api-gateway.*"}[5m])) by (source_pod, destination_pod) > 10
"#;

/// The same target once more, with the guide's names in the place of Hubble's.
const RELABELLED: &str = r#"
- job_name: guide
  static_configs: [ { targets: ["127.0.0.1:9965"] } ]
  metric_relabel_configs:
  - { source_labels: [reason], regex: POLICY_DENIED, target_label: reason, replacement: Policy denied }
  - { source_labels: [source_namespace], regex: (.+), target_label: namespace }
"#;

/// The guide's policy, with its mistake: nobody has that label.
const MISTAKEN: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: api-access-policy, namespace: prod-app }
spec:
  endpointSelector: { matchLabels: { app: api-gateway } }
  egress:
  - toEndpoints: [ { matchLabels: { app: user-servce } } ]
    toPorts: [ { ports: [ { port: "80", protocol: TCP } ] } ]
"#;

/// Sends so many datagrams, each from a port of its own.
const FLOOD: &str = r#"
import socket, sys
for _ in range(int(sys.argv[2])):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", (sys.argv[1], 9999))
"#;

#[test]
fn an_alert_on_policy_drops_fires_for_the_pods_that_it_is_about() -> anyhow::Result<()> {
    let node = Node::with(&[
        (
            "api-gateway-0",
            Attach::Bridged,
            "namespace: prod-app, labels: { app: api-gateway }",
        ),
        (
            "user-service-0",
            Attach::Bridged,
            "namespace: prod-app, labels: { app: user-service }",
        ),
    ])?;
    let (gateway, service) = (node.pod("api-gateway-0"), node.pod("user-service-0"));
    let host = node.world.node();
    node.policy(MISTAKEN)?;
    node.configure(
        r#"metrics: { listen: "127.0.0.1:9965", hubble: [ "drop:labelsContext=source_namespace,source_pod,destination_pod" ] }"#,
    )?;
    let _agent = node.agent()?;
    let rules = node.world.folder().join("rules.yml");
    std::fs::write(&rules, ALERTS)?;
    let check = output(
        &host,
        &["promtool", "check", "rules", &rules.display().to_string()],
    );
    assert!(check.is_ok(), "{check:?}");
    let more = format!(
        "{RELABELLED}rule_files: [ {} ]
",
        rules.display()
    );
    let _prometheus = prometheus(&node, &more)?;
    let address = service.v4.clone();
    let flood = |count: &str| output(&gateway.host, &["python3", "-c", FLOOD, &address, count]);
    // A rate needs a count to begin with.
    flood("10")?;
    let drops = [
        "promtool",
        "query",
        "instant",
        "http://127.0.0.1:9090",
        r#"count(hubble_drop_total{source_pod="api-gateway-0"}) by (job)"#,
    ];
    wait_until(
        || output(&host, &drops).unwrap_or_default(),
        |answer| answer.contains("guide") && answer.contains("l7d"),
    )?;
    // More than the 3,000 that are 10 per second over 5 minutes.
    flood("5000")?;
    let alerts = ["curl", "-s", "http://127.0.0.1:9090/api/v1/alerts"];
    let ends = r#""destination_pod":"user-service-0","source_pod":"api-gateway-0""#;
    wait_until(
        || output(&host, &alerts).unwrap_or_default(),
        |firing| {
            firing.contains("AsTheGuideHasIt")
                && firing.contains("AsHubbleHasIt")
                && firing.matches(ends).count() == 2
        },
    )
}

#[test]
fn what_is_counted_changes_while_the_agent_runs() -> anyhow::Result<()> {
    let node = watched()?;
    let (client, server) = (node.pod("client"), node.pod("server"));
    let host = node.world.node();
    let _server = serve(&server.host, 80)?;
    let configure = |hubble: &str| {
        node.configure(&format!(
            "visibility: [ {{ port: 80, mode: proxy }} ]\nmetrics:\n  listen: 127.0.0.1:9965\n  hubble: {hubble}\n  \
             paths: {{ templates: [ \"/shops/{{shop}}\" ] }}\n"
        ))
    };
    configure("tcp httpV2:labelsContext=source_pod,destination_pod")?;
    let _agent = node.agent()?;
    let ask = |path: &str| curl(&client.host, &[&format!("http://{}{path}", server.v4)]);
    ask("/shops/berlin")?;
    ask("/items/4711?x=1")?;
    let requests = r#"hubble_http_requests_total{source_pod="client",destination_pod="server",method="GET",protocol="HTTP/1.1",status="200",reporter="server"}"#;
    wait_until(
        || counted(&host),
        |text| {
            value(text, requests) == Some(2.0)
                && text.contains(r#"method="GET",path="/shops/{shop}",status="200""#)
                && text.contains(r#"method="GET",path="/items/{id}",status="200""#)
        },
    )?;
    // Without `tcp`, and with other labels: `httpV2` begins anew, the rest goes on.
    configure("httpV2:sourceContext=pod-name;destinationContext=pod-name;grpcStatus")?;
    let fresh = r#"hubble_http_requests_total{source="client",destination="server",method="GET",protocol="HTTP/1.1",status="200",reporter="server",grpc_status=""}"#;
    wait_until(
        || {
            let _answer = ask("/shops/paris");
            counted(&host)
        },
        |text| value(text, fresh).is_some() && !text.contains("hubble_tcp_flags_total"),
    )?;
    // A filter that cannot be used leaves everything as it was, and is told.
    node.configure(
        r#"metrics: { listen: "127.0.0.1:9965", hubble: [ { name: flow, includeFilters: [ { http_path: ["("] } ] } ] }"#,
    )?;
    wait_until(
        || node.l7d("status", &[]).unwrap_or_default(),
        |status| status.contains("metrics.hubble.flow"),
    )?;
    assert!(value(&counted(&host), fresh).is_some());
    Ok(())
}

#[test]
fn a_prometheus_scrapes_them() -> anyhow::Result<()> {
    let node = watched()?;
    let host = node.world.node();
    let _agent = node.agent()?;
    let _prometheus = prometheus(&node, "")?;
    let query = "sum(l7d_records_total{outcome=\"seen\"}) by (job) >= bool 0 and on(job) up == 1";
    let words = [
        "promtool",
        "query",
        "instant",
        "http://127.0.0.1:9090",
        query,
    ];
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = output(&host, &words)?;
        if answer.contains("job=\"l7d\"") && answer.contains("=> 1") {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "{answer}");
    }
}

#[test]
fn over_tls_only_those_who_have_a_certificate_may_read() -> anyhow::Result<()> {
    let node = watched()?;
    let host = node.world.node();
    let folder = node.world.folder().display().to_string();
    let make = format!(
        "cd {folder} && new='openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes' \
         && $new -x509 -days 2 -keyout ca.key -out ca.pem -subj /CN=ca \
         && $new -keyout key.pem -out request.pem -subj /CN=metrics \
         && echo subjectAltName=IP:127.0.0.1 > names \
         && openssl x509 -req -in request.pem -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial \
         -extfile names -out cert.pem"
    );
    output(&host, &["sh", "-c", &make])?;
    node.configure(&format!(
        "metrics: {{ listen: \"127.0.0.1:9965\", tls: {{ certificate: {folder}/cert.pem, key: \
         {folder}/key.pem, clientCa: {folder}/ca.pem }} }}\n"
    ))?;
    let _agent = node.agent()?;
    let (url, ca) = (
        "https://127.0.0.1:9965/metrics",
        format!("{folder}/cert.pem"),
    );
    let bare = ["curl", "-sS", "-m", "5", "--cacert", &ca, url];
    assert!(!host.output(&bare)?.status.success());
    let key = format!("{folder}/key.pem");
    let certificate = format!("{folder}/cert.pem");
    let known = ["--cert", &certificate, "--key", &key];
    let text = output(&host, &[&bare[..], &known].concat())?;
    assert!(text.contains("\nl7d_build_info{"), "{text}");
    let open = ["-H", "Accept: application/openmetrics-text; version=1.0.0"];
    let text = output(&host, &[&bare[..], &known, &open].concat())?;
    assert!(text.ends_with("# EOF\n"), "{text}");
    Ok(())
}
