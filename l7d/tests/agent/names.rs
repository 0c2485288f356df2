//! What DNS tells: addresses that are allowed by their names, flows that show them, and neither is
//! lost with the agent.

use rustix::process::Signal;
use testbed::{Attach, Host, Process};

use crate::dns::{dig, unbound};
use crate::node::{Node, curl, serve};

const POLICY: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: by-name, namespace: prod-app }
spec:
  endpointSelector: { matchLabels: { app: client } }
  egress:
  - toEntities: [ world ]
    toPorts:
    - ports: [ { port: "53", protocol: ANY } ]
      rules: { dns: [ { matchPattern: "*.example.com" } ] }
  - toFQDNs: [ { matchName: api.example.com } ]
    toPorts: [ { ports: [ { port: "8000", protocol: TCP } ] } ]
"#;

fn reaches(client: &Host, address: &str) -> anyhow::Result<bool> {
    let url = if address.contains(':') {
        format!("http://[{address}]:8000/")
    } else {
        format!("http://{address}:8000/")
    };
    let (code, _) = curl(client, &["--connect-timeout", "1", &url])?;
    Ok(code == 0)
}

#[test]
fn an_address_is_allowed_from_the_answer_on_that_names_it() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged)])?;
    node.policy(POLICY)?;
    let outside = node.world.outside();
    let _server = unbound(&outside, node.world.folder())?;
    let _web = serve(&outside, 8000)?;
    let mut agent = node.agent()?;
    let client = &node.pod("client").host;
    assert!(!reaches(client, "192.0.2.2")?, "nobody has named it");
    dig(client, "192.0.2.2", &["www.example.com"])?;
    assert!(
        !reaches(client, "192.0.2.2")?,
        "another name of the same address"
    );

    // No pause: the answer waits for the kernel.
    dig(client, "192.0.2.2", &["api.example.com"])?;
    assert!(reaches(client, "192.0.2.2")?, "{}", node.observe(&[])?);
    assert!(!reaches(client, "2001:db8::2")?);
    dig(client, "192.0.2.2", &["+tcp", "api.example.com", "AAAA"])?;
    assert!(reaches(client, "2001:db8::2")?, "{}", node.observe(&[])?);
    let named = node.observe(&[
        "--to-fqdn",
        "API.example.com.",
        "--port",
        "8000",
        "-o",
        "json",
    ])?;
    assert!(
        named.contains(r#""destination_names":["www.example.com","api.example.com"]"#),
        "{named}"
    );
    assert!(named.contains("fqdn:api.example.com"), "{named}");

    let listed = node.l7d("fqdn", &["list", "--matching", "192.0.2.2"])?;
    let lines: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines.len(), 3, "{listed}");
    assert_eq!(
        lines[1][..3],
        ["prod-app/client", "api.example.com", "192.0.2.2"],
        "{listed}"
    );
    assert_eq!(lines[1].last(), Some(&"api.example.com"), "{listed}");

    agent.process.signal(Signal::KILL)?;
    agent.process.wait()?;
    let _agent = node.agent()?;
    assert!(reaches(client, "192.0.2.2")?, "the learnt names survive");
    assert!(reaches(client, "2001:db8::2")?, "the learnt names survive");
    Ok(())
}

/// Asks until it is told to stop, and prints what had no answer. As every resolver it asks again: what
/// is in the hands of a process that is killed is lost, for the moment that its sockets take to close.
const ASKER: &str = r#"
import subprocess, sys
print("asking", flush=True)
count = 0
while True:
    count += 1
    words = ["dig", "+tries=3", "+time=1", "+short", "@" + sys.argv[1], "api.example.com"]
    answer = subprocess.run(words, capture_output=True, text=True)
    if not answer.stdout.strip().endswith("192.0.2.2"):
        print("NO ANSWER", answer.stdout, answer.stderr, flush=True)
    if count % 10 == 0:
        print("asked", flush=True)
"#;

/// Waits until it has asked some more, from now on.
fn ask_on(asker: &mut Process) -> anyhow::Result<()> {
    let before = asker.output().matches("asked").count();
    asker.wait_for_count("asked", before + 2)
}

#[test]
fn look_ups_on_a_watched_port_outlive_any_agent() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged)])?;
    node.configure("visibility: [ { port: 53, protocol: UDP } ]\n")?;
    let outside = node.world.outside();
    let _server = unbound(&outside, node.world.folder())?;
    let client = &node.pod("client").host;
    let mut command = client.command("python3");
    command.args(["-c", ASKER, "192.0.2.2"]);
    let mut asker = client.start("asker", command)?;
    asker.wait_for("asking")?;
    for signal in [Signal::KILL, Signal::TERM, Signal::KILL] {
        let mut agent = node.agent()?;
        ask_on(&mut asker)?;
        let flows = node.observe(&["--protocol", "dns", "--last", "1"])?;
        assert!(
            flows.contains("api.example.com"),
            "through the proxy: {flows}"
        );
        agent.process.signal(signal)?;
        agent.process.wait()?;
        ask_on(&mut asker)?;
    }
    asker.signal(Signal::KILL)?;
    let told = asker.output();
    assert!(!told.contains("NO ANSWER"), "{told}");
    Ok(())
}

#[test]
fn queries_that_must_be_judged_wait_for_the_agent() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged)])?;
    node.policy(POLICY)?;
    let outside = node.world.outside();
    let server = unbound(&outside, node.world.folder())?;
    let mut agent = node.agent()?;
    let client = &node.pod("client").host;
    assert!(dig(client, "192.0.2.2", &["api.example.com"])?.contains("NOERROR"));
    agent.process.signal(Signal::KILL)?;
    agent.process.wait()?;
    let answer = dig(client, "192.0.2.2", &["+time=1", "gone.example.com"])?;
    assert!(answer.contains("timed out"), "{answer}");
    let _agent = node.agent()?;
    let answer = dig(client, "192.0.2.2", &["here.example.com"])?;
    assert!(answer.contains("NXDOMAIN"), "{answer}");
    assert!(!server.output().contains("gone.example.com"));
    Ok(())
}
