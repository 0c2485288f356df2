//! HTTP/2 and gRPC on an enforced port, between programs that others wrote.

use std::path::{Path, PathBuf};

use testbed::{Attach, Host, Pod, Process};

use crate::node::{Node, curl, output};

/// Both sides of gRPC; the captures in `testdata` are made with it too.
pub(crate) const RPC: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../xtask/src/fixtures/peers/rpc.py"
);

/// All kinds of calls that its client makes.
pub(crate) const CASES: [&str; 7] = [
    "unary",
    "large",
    "streams",
    "errors",
    "deadline",
    "cancel",
    "compression",
];

/// GET on what the server has, and all calls of one service.
pub(crate) const POLICY: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: shop, namespace: prod-app }
spec:
  endpointSelector: { matchLabels: { app: server } }
  ingress:
  - fromEndpoints: [ { matchLabels: { app: client } } ]
    toPorts:
    - ports: [ { port: "80", protocol: TCP }, { port: "8080", protocol: TCP }, { port: "50051", protocol: TCP } ]
      rules:
        http:
        - { method: GET, path: "/get([?]again)?" }
        - { method: POST, path: "/demo.Shop/.*" }
"#;

/// The Python that has grpcio: `cargo xtask setup` puts it beside what is built.
pub(crate) fn python() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_l7d"));
    let target = built.ancestors().nth(2).unwrap_or(Path::new("."));
    target.join("tools/grpcio/bin/python")
}

/// Serves `/get` over HTTP/2 without TLS.
pub(crate) fn serve_http2(node: &Node, host: &Host) -> anyhow::Result<Process> {
    let root = node.world.folder().join("htdocs");
    std::fs::create_dir_all(&root)?;
    std::fs::write(root.join("get"), "served\n")?;
    let mut command = host.command("nghttpd");
    command.args(["--no-tls", "-v", "-d"]);
    command.arg(root).arg("80");
    let process = host.start("nghttpd", command)?;
    host.wait_listening(80)?;
    Ok(process)
}

pub(crate) fn serve_grpc(host: &Host) -> anyhow::Result<Process> {
    let mut command = host.command(&python().display().to_string());
    command.args([RPC, "serve", "50051"]);
    let mut process = host.start("grpc", command)?;
    process.wait_for("ready")?;
    Ok(process)
}

/// Takes upgrades from HTTP/1.1, which `nghttpd` does not, and asks `nghttpd`.
fn serve_upgrades(host: &Host) -> anyhow::Result<Process> {
    let mut command = host.command("nghttpx");
    command.args([
        "--conf=/dev/null",
        "--workers=1",
        "--errorlog-file=/dev/stderr",
    ]);
    command.args([
        "--frontend=*,8080;no-tls",
        "--backend=127.0.0.1,80;;proto=h2",
    ]);
    let process = host.start("nghttpx", command)?;
    host.wait_listening(8080)?;
    Ok(process)
}

/// Allowed and denied requests of curl, nghttp and h2load to one address.
fn check_streams(client: &Host, host: &str) -> anyhow::Result<()> {
    let url = |path: &str| format!("http://{host}{path}");
    let prior = "--http2-prior-knowledge";
    let (code, answer) = curl(client, &[prior, &url("/get")])?;
    assert_eq!((code, answer.as_str()), (0, "served\n200"));
    let (code, answer) = curl(client, &[prior, "-d", "key=value", &url("/post")])?;
    assert_eq!((code, answer.as_str()), (0, "403"));
    let (code, answer) = curl(client, &[prior, "--path-as-is", &url("/get/../admin")])?;
    assert_eq!((code, answer.as_str()), (0, "403"));
    // The upgrade from HTTP/1.1.
    let upgraded = format!("http://{host}:8080");
    let (code, answer) = curl(client, &["--http2", &format!("{upgraded}/get")])?;
    assert_eq!((code, answer.as_str()), (0, "served\n200"));
    // Streams of one connection, begun by an upgrade and with prior knowledge.
    for (flags, url) in [("-nuv", upgraded), ("-nv", url(""))] {
        let urls = ["/get", "/admin", "/get?again"].map(|path| format!("{url}{path}"));
        let [first, second, third] = &urls;
        let report = output(client, &["nghttp", flags, first, second, third])?;
        assert_eq!(report.matches(":status: 200").count(), 2, "{report}");
        assert_eq!(report.matches(":status: 403").count(), 1, "{report}");
    }
    let report = output(
        client,
        &["h2load", "-n", "300", "-c", "3", "-m", "20", &url("/get")],
    )?;
    assert!(report.contains("300 2xx, 0 3xx, 0 4xx"), "{report}");
    let report = output(
        client,
        &["h2load", "-n", "300", "-c", "3", "-m", "20", &url("/admin")],
    )?;
    assert!(report.contains("0 2xx, 0 3xx, 300 4xx"), "{report}");
    Ok(())
}

#[test]
fn streams_are_judged_one_by_one_whatever_the_way() -> anyhow::Result<()> {
    for (client, server) in [
        (Attach::Bridged, Attach::Bridged),
        (Attach::Routed, Attach::Bridged),
        (Attach::Bridged, Attach::Routed),
    ] {
        let node = Node::new(&[("client", client), ("server", server)])?;
        node.policy(POLICY)?;
        let Pod { host, v4, v6, .. } = node.pod("server");
        let server = serve_http2(&node, host)?;
        let _upgrades = serve_upgrades(host)?;
        let _agent = node.agent()?;
        let client = &node.pod("client").host;
        check_streams(client, v4)?;
        check_streams(client, &format!("[{v6}]"))?;
        let log = server.output();
        assert!(!log.contains("admin") && !log.contains("/post"), "{log}");
        let flows = node.observe(&["--protocol", "http", "--http-path", "/post"])?;
        assert!(flows.contains("http-request DROPPED"), "{flows}");
    }
    Ok(())
}

#[test]
fn calls_of_every_kind_pass_and_a_denied_one_gets_its_status() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Routed)])?;
    node.policy(POLICY)?;
    let server = node.pod("server");
    let _server = serve_grpc(&server.host)?;
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    let python = python().display().to_string();
    for address in [&server.v4, &server.v6] {
        for case in CASES {
            output(client, &[&python, RPC, case, address])?;
        }
    }
    let script = format!(
        "import grpc
with grpc.insecure_channel('{}:50051') as channel:
    shop = channel.unary_unary('/demo.Shop/Get')
    assert shop(b'hat') == b'hat'
    try:
        channel.unary_unary('/demo.Till/Empty')(b'all')
    except grpc.RpcError as error:
        print(error.code(), error.details())
    assert shop(b'scarf') == b'scarf'",
        server.v4
    );
    let answer = output(client, &[&python, "-c", &script])?;
    assert_eq!(answer, "StatusCode.PERMISSION_DENIED Access denied\n");
    let flows = node.observe(&["--protocol", "http", "--http-path", "/demo.Till/.*"])?;
    assert!(flows.contains("http-request DROPPED"), "{flows}");
    let flows = node.observe(&["--protocol", "http", "--http-path", "/demo.Shop/Chat"])?;
    assert!(flows.contains("http-response FORWARDED"), "{flows}");
    Ok(())
}
