//! Every way to a pod and from it: the request arrives, with the client's own address, and is seen.

use testbed::{Attach, Host};

use crate::node::{Node, ask, curl, serve};

/// The client asks, the server answers with the address that it saw.
fn check(node: &Node, client: &Host, address: &str, seen: &str) -> anyhow::Result<()> {
    let path = ask(client, address, seen)?;
    let flows = node.observe(&[
        "--protocol",
        "http",
        "--http-status",
        "200",
        "--http-path",
        &path,
    ])?;
    assert!(
        flows.contains("http-response FORWARDED"),
        "{path} is not seen:\n{}",
        node.observe(&[])?
    );
    Ok(())
}

#[test]
fn requests_between_pods_keep_their_address() -> anyhow::Result<()> {
    let node = Node::new(&[
        ("bridged-a", Attach::Bridged),
        ("bridged-b", Attach::Bridged),
        ("routed-a", Attach::Routed),
        ("routed-b", Attach::Routed),
    ])?;
    let _servers = [
        serve(&node.pod("bridged-b").host, 80)?,
        serve(&node.pod("routed-b").host, 80)?,
    ];
    let _agent = node.agent()?;
    for client in ["bridged-a", "routed-a"] {
        for server in ["bridged-b", "routed-b"] {
            let (client, server) = (node.pod(client), node.pod(server));
            check(&node, &client.host, &server.v4, &client.v4)?;
            check(&node, &client.host, &server.v6, &client.v6)?;
        }
    }
    Ok(())
}

#[test]
fn requests_from_outside_to_outside_and_from_the_node() -> anyhow::Result<()> {
    let node = Node::new(&[("bridged", Attach::Bridged), ("routed", Attach::Routed)])?;
    let outside = node.world.outside();
    let _servers = [
        serve(&node.pod("bridged").host, 80)?,
        serve(&node.pod("routed").host, 80)?,
        serve(&outside, 80)?,
    ];
    let _agent = node.agent()?;
    for pod in &node.pods {
        check(&node, &outside, &pod.v4, "192.0.2.2")?;
        check(&node, &outside, &pod.v6, "2001:db8::2")?;
        check(&node, &pod.host, "192.0.2.2", &pod.v4)?;
        check(&node, &pod.host, "2001:db8::2", &pod.v6)?;
    }
    check(
        &node,
        &node.world.node(),
        &node.pod("bridged").v4,
        "10.244.1.1",
    )?;
    check(
        &node,
        &node.world.node(),
        &node.pod("bridged").v6,
        "fd00:244:1::1",
    )?;
    Ok(())
}

#[test]
fn bodies_of_any_size_arrive_whole() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    let _server = serve(&node.pod("server").host, 80)?;
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    let file = node.world.folder().join("body");
    std::fs::write(&file, vec![b'x'; 5 << 20])?;
    let url = format!("http://{}/", node.pod("server").v4);
    let data = format!("@{}", file.display());
    let (_, answer) = curl(client, &["--data-binary", &data, &url])?;
    assert!(answer.contains("length 5242880"), "{answer}");
    Ok(())
}

#[test]
fn what_is_not_http_passes_a_watched_port() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    let server = node.pod("server");
    let script = "import socket\ns = socket.create_server(('', 80))\nprint('serving', flush=True)\nc, _ = s.accept()\nc.sendall(b'220 hello\\r\\n')\nassert c.recv(99) == b'QUIT\\r\\n'\nc.sendall(b'221 bye\\r\\n')\nc.close()\n";
    let mut command = server.host.command("python3");
    command.args(["-c", script]);
    let mut speaker = server.host.start("speaker", command)?;
    speaker.wait_for("serving")?;
    let _agent = node.agent()?;
    let script = format!(
        "import socket\ns = socket.create_connection(('{}', 80), 5)\nprint(s.recv(99))\ns.sendall(b'QUIT\\r\\n')\nprint(s.recv(99), s.recv(99))",
        server.v4
    );
    let output = node
        .pod("client")
        .host
        .output(&["python3", "-c", &script])?;
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "b'220 hello\\r\\n'\nb'221 bye\\r\\n' b''\n"
    );
    let flows = node.observe(&[])?;
    assert!(
        flows.contains("not http 6 bytes sent, 20 received"),
        "{flows}"
    );
    Ok(())
}

#[test]
fn a_service_address_behind_netfilter_is_followed_to_its_pod() -> anyhow::Result<()> {
    let node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    node.configure(
        "visibility: [ { port: 80, mode: proxy } ]\nservices: [ { name: web, namespace: prod-app, ips: [10.96.0.10] } ]\n",
    )?;
    let rules = format!(
        "add table ip services; add chain ip services prerouting {{ type nat hook prerouting priority -100; }}; \
         add rule ip services prerouting ip daddr 10.96.0.10 dnat to {}",
        node.pod("server").v4
    );
    let output = node.world.node().output(&["nft", &rules])?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let _server = serve(&node.pod("server").host, 80)?;
    let _agent = node.agent()?;
    let client = node.pod("client");
    let (code, answer) = curl(&client.host, &["http://10.96.0.10/vip"])?;
    assert_eq!(code, 0, "{answer}\n{}", node.observe(&[])?);
    assert!(
        answer.contains(&format!("GET /vip from {} ", client.v4)),
        "{answer}"
    );
    let flows = node.observe(&["--protocol", "http"])?;
    assert!(flows.contains("prod-app/server:80"), "{flows}");
    Ok(())
}
