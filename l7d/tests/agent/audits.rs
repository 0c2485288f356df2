//! Policies that are only audited change nothing of what they look at, whatever is spoken and whichever
//! way it goes; what they would have denied is told.

use testbed::{Attach, Host, Process};

use crate::dns::{dig, unbound};
use crate::http2::serve_http2;
use crate::node::{Node, curl, output, serve};

const POLICIES: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: ways-out, namespace: prod-app, annotations: { policy.l7d.io/mode: audit } }
spec:
  endpointSelector: { matchLabels: { app: client } }
  egress:
  - toEndpoints: [ {} ]
  - toEntities: [ world ]
    toPorts:
    - ports: [ { port: "53", protocol: ANY } ]
      rules: { dns: [ { matchName: api.example.com } ] }
    - ports: [ { port: "8000", protocol: TCP } ]
      rules: { http: [ { path: /open } ] }
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: ways-in, namespace: prod-app, annotations: { policy.l7d.io/mode: audit } }
spec:
  endpointSelector: { matchLabels: { app: server } }
  ingress:
  - fromEndpoints: [ { matchLabels: { app: client } } ]
    toPorts:
    - ports: [ { port: "80", protocol: TCP } ]
      rules: { http: [ { path: /get } ] }
    - ports: [ { port: "443", protocol: TCP } ]
      serverNames: [ good.example ]
"#;

/// Answers requests inside of TLS.
fn serve_tls(node: &Node, host: &Host) -> anyhow::Result<Process> {
    let folder = node.world.folder().display().to_string();
    let (key, certificate) = (format!("{folder}/key.pem"), format!("{folder}/cert.pem"));
    let make = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes"];
    let curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1"];
    let files = ["-subj", "/CN=any", "-keyout", &key, "-out", &certificate];
    output(host, &[&make[..], &curve, &files].concat())?;
    let mut command = host.command("openssl");
    command.args(["s_server", "-accept", "443", "-www", "-quiet"]);
    command.args(["-key", &key, "-cert", &certificate]);
    let process = host.start("tls", command)?;
    host.wait_listening(443)?;
    Ok(process)
}

/// What is asked for, allowed and not, with what the server must have seen of it.
fn check_passes(node: &Node, servers: [&Process; 3]) -> anyhow::Result<()> {
    let client = node.pod("client");
    let get = |arguments: &[&str]| -> anyhow::Result<()> {
        let (code, answer) = curl(&client.host, arguments)?;
        assert!(
            code == 0 && answer.ends_with("200"),
            "{arguments:?}: {code} {answer}"
        );
        Ok(())
    };
    for url in ["8000/open", "8000/closed", "8001/"] {
        get(&[&format!("http://192.0.2.2:{url}")])?;
    }
    let server = &node.pod("server").v4;
    for path in ["get", "get?secret"] {
        get(&[
            "--http2-prior-knowledge",
            &format!("http://{server}/{path}"),
        ])?;
    }
    for name in ["good.example", "bad.example"] {
        let resolve = format!("{name}:443:{server}");
        get(&["-k", "--resolve", &resolve, &format!("https://{name}/")])?;
    }
    for over in ["+notcp", "+tcp"] {
        for name in ["api.example.com", "www.example.com"] {
            let answer = dig(&client.host, "192.0.2.2", &[over, name])?;
            assert!(
                answer.contains("status: NOERROR"),
                "{over} {name}: {answer}"
            );
            assert!(answer.contains("192.0.2.2"), "{over} {name}: {answer}");
        }
    }
    let [web, http2, names] = servers.map(Process::output);
    let seen = format!("GET /closed from {} length 0", client.v4);
    assert!(web.contains(&seen), "{web}");
    assert!(http2.contains(":path: /get?secret"), "{http2}");
    assert_eq!(names.matches("www.example.com. A IN").count(), 2, "{names}");
    Ok(())
}

#[test]
fn an_audited_policy_tells_and_lets_pass_whatever_is_spoken() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Routed)])?;
    node.policy(POLICIES)?;
    let outside = node.world.outside();
    let web = serve(&outside, 8000)?;
    let _other = serve(&outside, 8001)?;
    let names = unbound(&outside, node.world.folder())?;
    let host = &node.pod("server").host;
    let http2 = serve_http2(&node, host)?;
    let _tls = serve_tls(&node, host)?;
    let _agent = node.agent()?;
    let mut told = node.follow_only(&["--verdict", "AUDIT", "-o", "jsonpb"])?;
    check_passes(&node, [&web, &http2, &names])?;

    let expected = [
        (r#""destination_port":8001"#, "egress", "ways-out", 1),
        ("/closed", "egress", "ways-out", 1),
        ("www.example.com", "egress", "ways-out", 2),
        ("/get?secret", "ingress", "ways-in", 1),
        ("bad.example", "ingress", "ways-in", 1),
    ];
    for (what, _, _, count) in expected {
        told.wait_for_count(what, count)?;
    }
    let flows = node.observe(&["--verdict", "AUDIT", "--all", "-o", "jsonpb"])?;
    for (what, direction, policy, count) in expected {
        let by = format!(r#""{direction}_denied_by":[{{"name":"{policy}""#);
        let lines = flows.lines().filter(|line| line.contains(what));
        let by_policy = lines.clone().filter(|line| line.contains(&by)).count();
        assert_eq!(
            (lines.count(), by_policy),
            (count, count),
            "{what}: {flows}"
        );
    }
    assert_eq!(flows.lines().count(), 6, "{flows}");
    // The kernel may drop a late packet of a connection that has ended, for reasons of its own.
    let by_policy = ["--drop-reason-desc", "POLICY_DENIED", "--all"];
    assert_eq!(node.observe(&by_policy)?, "");
    Ok(())
}
