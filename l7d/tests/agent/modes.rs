//! Whether policies are enforced, only told, or not at all.

use testbed::Attach;

use crate::node::{Node, curl, output, serve, wait_until};

const L7: &str = include_str!("../../../testdata/policies/api-access-l7.yaml");

fn two_pods() -> anyhow::Result<Node> {
    Node::new(&[
        ("api-gateway", Attach::Bridged),
        ("user-service", Attach::Bridged),
    ])
}

/// The policy of requests, only audited.
fn audited() -> String {
    L7.replacen(
        "metadata:\n",
        "metadata:\n  annotations: {policy.l7d.io/mode: audit}\n",
        1,
    )
}

#[test]
fn what_an_audited_policy_would_deny_passes_and_is_told() -> anyhow::Result<()> {
    let node = two_pods()?;
    assert_ne!(audited(), L7);
    node.policy(&audited())?;
    let service = node.pod("user-service");
    let server = serve(&service.host, 80)?;
    let _other = serve(&service.host, 81)?;
    let _agent = node.agent()?;
    let mut told = node.follow_only(&["--verdict", "AUDIT"])?;
    let gateway = &node.pod("api-gateway").host;
    let url = |port: u16, path: &str| format!("http://{}:{port}{path}", service.v4);
    for path in ["/get", "/admin"] {
        let (_, answer) = curl(gateway, &[&url(80, path)])?;
        assert!(answer.ends_with("200"), "{path}: {answer}");
    }
    assert!(server.output().contains("/admin"), "{}", server.output());
    assert!(curl(gateway, &[&url(81, "/")])?.1.ends_with("200"));

    told.wait_for("http-request AUDIT")?;
    told.wait_for("policy-verdict:none INGRESS AUDITED")?;
    let told = told.output();
    assert!(told.contains("/admin"), "{told}");
    assert!(!told.contains("/get"), "{told}");
    assert!(
        told.contains("policy-verdict:none INGRESS AUDITED"),
        "{told}"
    );
    let json = node.observe(&["--verdict", "AUDIT", "--all", "-o", "jsonpb"])?;
    assert_eq!(json.lines().count(), 2, "{json}");
    for line in json.lines() {
        assert!(
            line.contains(r#""ingress_denied_by":[{"name":"api-access-policy""#),
            "{line}"
        );
        assert!(!line.contains("drop_reason"), "{line}");
    }
    let dropped = node.observe(&["--verdict", "DROPPED", "--all"])?;
    assert_eq!(dropped, "");
    Ok(())
}

#[test]
fn the_audit_report_tells_what_is_safe_to_enforce() -> anyhow::Result<()> {
    const QUIET: &str = "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n\
        metadata: {name: quiet, namespace: prod-app, annotations: {policy.l7d.io/mode: audit}}\n\
        spec: {endpointSelector: {matchLabels: {app: api-gateway}}, egress: [{toEntities: [all]}]}\n";
    let node = two_pods()?;
    node.policy(&format!("{}{QUIET}", audited()))?;
    let service = node.pod("user-service");
    let _server = serve(&service.host, 80)?;
    let _other = serve(&service.host, 81)?;
    let mut agent = node.agent()?;
    let mut told = node.follow_only(&["--verdict", "AUDIT"])?;
    let gateway = &node.pod("api-gateway").host;
    let ask = |port: u16| curl(gateway, &[&format!("http://{}:{port}/admin", service.v4)]);
    for port in [80, 80, 81] {
        assert!(ask(port)?.1.ends_with("200"));
    }
    told.wait_for_count("AUDIT", 3)?;
    let report = || node.l7d("policy", &["audit-report"]);
    let text = report()?;
    assert!(
        text.contains("prod-app/quiet (CiliumNetworkPolicy): nothing to deny in "),
        "{text}"
    );
    assert!(
        text.contains("prod-app/api-access-policy (CiliumNetworkPolicy): would have denied 3 in "),
        "{text}"
    );
    assert!(
        text.contains("2    prod-app/api-gateway -> prod-app/user-service:80"),
        "{text}"
    );
    let status = node.l7d("status", &[])?;
    assert!(
        status.contains("Audited policies: 2, would have denied 3"),
        "{status}"
    );
    // The other policy changes: what was counted stays, and no connection is counted twice.
    node.policy(&format!("{}{}", audited(), QUIET.replace("all", "cluster")))?;
    agent.process.wait_for("policies applied")?;
    let text = report()?;
    assert!(text.contains("would have denied 3 in "), "{text}");

    let flows = node.observe(&["--verdict", "AUDIT", "--all", "-o", "jsonpb"])?;
    let file = node.world.folder().join("flows.json");
    std::fs::write(&file, flows)?;
    let file = file.display().to_string();
    let text = node.l7d("policy", &["audit-report", "--flows", &file])?;
    assert!(text.contains("would have denied 3, last "), "{text}");
    Ok(())
}

#[test]
fn what_cannot_be_parsed_passes_an_audited_port_as_it_came() -> anyhow::Result<()> {
    const ECHO: &str = r#"
import socket
server = socket.create_server(("0.0.0.0", 80))
print("serving", flush=True)
while True:
    connection, _ = server.accept()
    data = connection.recv(100)
    connection.sendall(data[::-1])
    connection.close()
"#;
    const ASK: &str = r#"
import socket, sys
s = socket.create_connection((sys.argv[1], 80), timeout=3)
s.sendall(b"\x00\x01GET nothing\n\n")
print(s.recv(100))
"#;
    let node = two_pods()?;
    node.policy(&audited())?;
    let service = node.pod("user-service");
    let mut command = service.host.command("python3");
    command.args(["-c", ECHO]);
    let mut echo = service.host.start("echo", command)?;
    echo.wait_for("serving")?;
    let _agent = node.agent()?;
    let gateway = &node.pod("api-gateway").host;
    let words = ["python3", "-c", ASK, &service.v4];
    let output = gateway.output(&words)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(r"\n\ngnihton TEG\x01\x00"), "{said}");
    Ok(())
}

#[test]
fn enforcement_and_audit_follow_the_configuration() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.policy(L7)?;
    let service = node.pod("user-service");
    let _server = serve(&service.host, 80)?;
    let _back = serve(&node.pod("api-gateway").host, 80)?;
    let mut agent = node.agent()?;
    let gateway = node.pod("api-gateway");
    let admin = format!("http://{}/admin", service.v4);
    let back = format!("http://{}/", gateway.v4);
    let former = "policies: {";
    let mut applied = 0;
    let mut configure = |text: &str| -> anyhow::Result<()> {
        applied += 1;
        node.reconfigure(former, &format!("policies: {{ {text},"))?;
        agent
            .process
            .wait_for_count("configuration applied", applied)
    };
    assert!(curl(&gateway.host, &[&admin])?.1.ends_with("403"));
    assert!(curl(&service.host, &[&back])?.1.ends_with("200"));

    configure("enforcement: never")?;
    assert!(curl(&gateway.host, &[&admin])?.1.ends_with("200"));

    configure("enforcement: always")?;
    assert_ne!(curl(&service.host, &["--max-time", "1", &back])?.0, 0);

    configure("audit: { namespaces: [prod-app] }")?;
    assert!(curl(&gateway.host, &[&admin])?.1.ends_with("200"));
    configure("audit: { namespaces: [elsewhere] }")?;
    assert!(curl(&gateway.host, &[&admin])?.1.ends_with("403"));
    configure("audit: { node: true }")?;
    assert!(curl(&gateway.host, &[&admin])?.1.ends_with("200"));
    Ok(())
}

#[test]
fn beside_cilium_policies_are_enforced_by_whom_the_configuration_says() -> anyhow::Result<()> {
    let node = two_pods()?;
    let on_node = |text: &str| output(&node.world.node(), &["sh", "-c", text]);
    on_node("ip link add cilium_host type veth peer name cilium_net")?;
    node.policy(L7)?;
    let service = node.pod("user-service");
    let _server = serve(&service.host, 80)?;
    let mut agent = node.agent()?;
    let gateway = node.pod("api-gateway");
    let admin = format!("http://{}/admin", service.v4);
    let answer = || curl(&gateway.host, &[&admin]).map(|(_, answer)| answer);
    assert!(answer()?.ends_with("200"));
    let status = node.l7d("status", &[])?;
    assert!(status.contains("Cilium is on this node"), "{status}");

    on_node("ip link del cilium_host")?;
    agent.process.wait_for("Cilium has gone")?;
    wait_until(answer_of(&answer), |answer| answer.ends_with("403"))?;
    on_node("ip link add cilium_host type veth peer name cilium_net")?;
    agent.process.wait_for("Cilium has come")?;
    wait_until(answer_of(&answer), |answer| answer.ends_with("200"))?;
    node.reconfigure("policies: {", "policies: { besideCilium: enforce,")?;
    wait_until(answer_of(&answer), |answer| answer.ends_with("403"))?;
    let status = node.l7d("status", &[])?;
    assert!(!status.contains("Cilium"), "{status}");
    Ok(())
}

/// What it says, or why it says nothing.
fn answer_of(ask: &impl Fn() -> anyhow::Result<String>) -> impl FnMut() -> String {
    move || ask().unwrap_or_else(|error| error.to_string())
}
