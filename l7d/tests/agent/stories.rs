//! The two stories that users know: a typo in a selector, and "GET yes, POST no".

use testbed::Attach;

use crate::node::{Node, curl, serve};

const TYPO: &str = include_str!("../../../testdata/policies/api-access-typo.yaml");
const L7: &str = include_str!("../../../testdata/policies/api-access-l7.yaml");

fn three_pods() -> anyhow::Result<Node> {
    let bridged = Attach::Bridged;
    Node::new(&[
        ("frontend", bridged),
        ("api-gateway", bridged),
        ("user-service", bridged),
    ])
}

#[test]
fn a_typo_in_a_selector_is_dropped_named_and_explained() -> anyhow::Result<()> {
    let node = three_pods()?;
    node.policy(TYPO)?;
    let service = node.pod("user-service");
    let _server = serve(&service.host, 80)?;
    let mut agent = node.agent()?;
    let url = format!("http://{}/users", service.v4);
    let gateway = &node.pod("api-gateway").host;

    let (code, _) = curl(gateway, &[&url])?;
    assert_eq!(code, 28, "a silent drop is a timeout to the client");
    let flows = node.observe(&["--verdict", "DROPPED", "--print-policy-names"])?;
    assert!(flows.contains("prod-app/api-gateway"), "{flows}");
    assert!(
        flows.contains("EGRESS DENIED BY api-access-policy (CiliumNetworkPolicy)"),
        "{flows}"
    );
    assert!(
        flows.contains(
            "Policy denied DROPPED (TCP Flags: SYN; egress: no rule of CiliumNetworkPolicy \
             prod-app/api-access-policy allows it)"
        ),
        "{flows}"
    );
    let log = agent.process.output();
    assert!(log.contains("(did you mean `user-service`?)"), "{log}");

    node.policy(&TYPO.replace("user-servce", "user-service"))?;
    agent.process.wait_for_count("policies applied", 1)?;
    let (code, answer) = curl(gateway, &[&url])?;
    assert_eq!(code, 0, "{answer}");
    assert!(answer.ends_with("200"), "{answer}");
    Ok(())
}

#[test]
fn get_passes_and_post_never_reaches_the_server() -> anyhow::Result<()> {
    let node = three_pods()?;
    node.policy(L7)?;
    let service = node.pod("user-service");
    let server = serve(&service.host, 80)?;
    let _agent = node.agent()?;
    let url = |path: &str| format!("http://{}{path}", service.v4);
    let gateway = &node.pod("api-gateway").host;

    let (_, answer) = curl(gateway, &[&url("/get")])?;
    assert!(
        answer.contains("GET /get from") && answer.ends_with("200"),
        "{answer}"
    );
    let (_, answer) = curl(gateway, &["-d", "{\"key\":\"value\"}", &url("/post")])?;
    assert_eq!(answer, "Access denied\r\n403");
    // The connection stays usable: all three go over one.
    let (_, answer) = curl(gateway, &[&url("/get"), &url("/admin"), &url("/get")])?;
    assert_eq!(answer.matches("200").count(), 2, "{answer}");
    for path in ["/get/../admin", "/get%2f..%2fadmin", "//get", "/%67et/x"] {
        let (_, answer) = curl(gateway, &["--path-as-is", &url(path)])?;
        assert!(answer.ends_with("403"), "{path}: {answer}");
    }
    let (code, _) = curl(&node.pod("frontend").host, &[&url("/get")])?;
    assert_eq!(code, 28, "another peer is dropped in the kernel");

    let log = server.output();
    assert_eq!(log.matches("GET /get from").count(), 3, "{log}");
    assert_eq!(
        log.lines().count(),
        4,
        "nothing else reached the server: {log}"
    );

    let flows = node.observe(&["--protocol", "http", "-o", "json", "--http-method", "POST"])?;
    let request = flows.lines().next().unwrap_or_default();
    let flow: serde_json::Value = serde_json::from_str(request)?;
    assert_eq!(flow["flow"]["verdict"], "DROPPED");
    assert_eq!(
        flow["flow"]["ingress_denied_by"][0]["name"],
        "api-access-policy"
    );
    assert_eq!(flow["flow"]["source"]["pod_name"], "api-gateway");
    let flows = node.observe(&["--protocol", "http", "--http-status", "403"])?;
    assert!(
        flows.contains("http-response FORWARDED (HTTP/1.1 403"),
        "{flows}"
    );
    Ok(())
}

#[test]
fn ambiguous_requests_are_refused_by_rule() -> anyhow::Result<()> {
    let node = three_pods()?;
    node.policy(L7)?;
    let service = node.pod("user-service");
    let server = serve(&service.host, 80)?;
    let _agent = node.agent()?;
    let gateway = &node.pod("api-gateway").host;
    let smuggle = "GET /get HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 4\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n";
    let script = format!(
        "import socket; s = socket.create_connection(('{}', 80), 5); s.sendall(b'{smuggle}'); print(s.recv(999).decode())",
        service.v4
    );
    let answer = gateway.output(&["python3", "-c", &script])?;
    let answer = String::from_utf8_lossy(&answer.stdout);
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request"), "{answer}");
    assert_eq!(server.output().lines().count(), 1, "{}", server.output());
    let flows = node.observe(&["--protocol", "http", "--verdict", "DROPPED"])?;
    assert!(
        flows.contains("content-length-with-transfer-encoding (RFC 9112 §6.1)"),
        "{flows}"
    );
    Ok(())
}
