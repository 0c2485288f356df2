//! Start, edit, crash, restart, cleanup.

use rustix::process::Signal;
use testbed::{Attach, Host};

use crate::node::{ECHO, Node, TALK, curl, serve};

pub(crate) const L7: &str = include_str!("../../../testdata/policies/api-access-l7.yaml");

pub(crate) fn two_pods() -> anyhow::Result<Node> {
    Node::new(&[
        ("api-gateway", Attach::Bridged),
        ("user-service", Attach::Bridged),
    ])
}

/// What the node's network looks like.
pub(crate) fn network(node: &Host) -> anyhow::Result<String> {
    let script = "ip -o link | sed 's/@.*//; s/^[0-9]*: //' | sort; ip rule; ip -6 rule; \
                  ip route show table all | sort; nft list ruleset; \
                  sysctl -a 2>/dev/null | grep -E 'rp_filter|early_demux|accept_local' | grep -v arp_";
    let output = node.output(&["sh", "-c", script])?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn cleanup_leaves_no_trace() -> anyhow::Result<()> {
    let node = two_pods()?;
    let before = network(&node.world.node())?;
    let mut agent = node.agent()?;
    assert_ne!(
        network(&node.world.node())?,
        before,
        "the agent changes the node's network"
    );
    assert!(node.pin_dir().exists());
    agent.process.signal(Signal::TERM)?;
    assert!(agent.process.wait()?.success());
    let said = node.cleanup()?;
    assert!(said.contains("removed interface l7d0"), "{said}");
    assert_eq!(network(&node.world.node())?, before);
    assert!(!node.pin_dir().exists());
    assert!(
        node.cleanup()?
            .contains("nothing of an agent is on this node")
    );
    Ok(())
}

#[test]
fn watched_ports_pass_again_after_a_crash() -> anyhow::Result<()> {
    let node = two_pods()?;
    let service = node.pod("user-service");
    let _server = serve(&service.host, 80)?;
    let mut agent = node.agent()?;
    let url = format!("http://{}/", service.v4);
    let gateway = &node.pod("api-gateway").host;
    assert_eq!(curl(gateway, &[&url])?.0, 0);
    agent.process.signal(Signal::KILL)?;
    agent.process.wait()?;
    // The kernel notices by the heartbeat; curl asks until it passes, a second at most.
    let words = [
        "--retry",
        "10",
        "--retry-delay",
        "0",
        "--retry-all-errors",
        "--retry-max-time",
        "2",
    ];
    let (code, answer) = curl(gateway, &[&words[..], &[url.as_str()]].concat())?;
    assert_eq!(code, 0, "{answer}");
    Ok(())
}

#[test]
fn an_agent_that_stands_still_lets_watched_ports_pass_and_takes_them_back() -> anyhow::Result<()> {
    let node = two_pods()?;
    let service = node.pod("user-service");
    let _server = serve(&service.host, 80)?;
    let agent = node.agent()?;
    let url = format!("http://{}/", service.v4);
    let gateway = &node.pod("api-gateway").host;
    assert_eq!(curl(gateway, &[&url])?.0, 0);
    agent.process.signal(Signal::STOP)?;
    // A connection that waits for the proxy is one that came before the kernel noticed.
    let words = [
        "--connect-timeout",
        "1",
        "--max-time",
        "1",
        "--retry",
        "5",
        "--retry-delay",
        "0",
    ];
    let (code, answer) = curl(
        gateway,
        &[&words[..], &["--retry-all-errors", &url]].concat(),
    )?;
    assert_eq!(code, 0, "{answer}");
    agent.process.signal(Signal::CONT)?;
    let proxied = || -> anyhow::Result<bool> {
        let flows = node.observe(&["--protocol", "http", "--last", "50", "-o", "compact"])?;
        Ok(flows.contains("/again"))
    };
    let began = std::time::Instant::now();
    while !proxied()? {
        anyhow::ensure!(began.elapsed().as_secs() < 20, "it is seen no more");
        curl(gateway, &[&format!("{url}again")])?;
    }
    Ok(())
}

#[test]
fn what_a_crash_has_cut_is_counted() -> anyhow::Result<()> {
    let node = two_pods()?;
    let service = node.pod("user-service");
    let mut command = service.host.command("python3");
    command.args(["-c", ECHO, "80"]);
    let mut echo = service.host.start("echo", command)?;
    echo.wait_for("serving")?;
    let mut agent = node.agent()?;
    let gateway = &node.pod("api-gateway").host;
    let mut command = gateway.command("python3");
    command.args(["-c", TALK, &service.v4, "80"]);
    let mut talk = gateway.converse("talk", command)?;
    talk.wait_for("open")?;
    talk.say("\n")?;
    talk.wait_for("heard")?;
    agent.process.signal(Signal::KILL)?;
    agent.process.wait()?;
    let mut next = node.agent()?;
    let told = "proxied connections have ended with the former agent connections=1";
    next.process.wait_for(told)?;
    let began = std::time::Instant::now();
    while !node.l7d("status", &[])?.contains("1 cut with an agent") {
        anyhow::ensure!(began.elapsed().as_secs() < 20, "it is not shown");
    }
    Ok(())
}

#[test]
fn enforced_ports_stay_closed_after_a_crash_and_open_with_the_next_agent() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.policy(L7)?;
    let service = node.pod("user-service");
    let server = serve(&service.host, 80)?;
    let mut agent = node.agent()?;
    let url = |path: &str| format!("http://{}{path}", service.v4);
    let gateway = &node.pod("api-gateway").host;
    assert_eq!(curl(gateway, &[&url("/get")])?.0, 0);
    agent.process.signal(Signal::KILL)?;
    agent.process.wait()?;
    let (code, _) = curl(gateway, &[&url("/admin")])?;
    assert_ne!(code, 0, "nothing passes unjudged");
    drop(agent);
    let _agent = node.agent()?;
    let (code, answer) = curl(gateway, &[&url("/get")])?;
    assert_eq!((code, answer.ends_with("200")), (0, true), "{answer}");
    assert!(curl(gateway, &[&url("/admin")])?.1.ends_with("403"));
    assert!(!server.output().contains("/admin"), "{}", server.output());
    Ok(())
}

#[test]
fn a_bad_edit_keeps_the_good_policy_in_force() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.policy(L7)?;
    let service = node.pod("user-service");
    let _server = serve(&service.host, 80)?;
    let mut agent = node.agent()?;
    node.policy(&L7.replace("fromEndpoints", "fromEndpoint"))?;
    agent
        .process
        .wait_for("policy refused, the former one stays in force")?;
    let log = agent.process.output();
    assert!(
        log.contains("unknown field (did you mean `fromEndpoints`?)"),
        "{log}"
    );
    let url = format!("http://{}/admin", service.v4);
    assert!(
        curl(&node.pod("api-gateway").host, &[&url])?
            .1
            .ends_with("403")
    );
    Ok(())
}

#[test]
fn a_bad_configuration_changes_nothing() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.configure("visibillity: [ { port: 80 } ]\n")?;
    let config = node.config_file().display().to_string();
    let words = [env!("CARGO_BIN_EXE_l7d"), "agent", "--config", &config];
    let output = node.world.node().output(&words)?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("visibillity: unknown field (did you mean `visibility`?)"),
        "{said}"
    );
    assert!(!node.pin_dir().exists());
    Ok(())
}

#[test]
fn an_interface_that_comes_later_is_hooked() -> anyhow::Result<()> {
    let node = two_pods()?;
    let mut agent = node.agent()?;
    let gateway = node.pod("api-gateway");
    node.world
        .node()
        .ip(&format!("link set {} down", gateway.interface))?;
    node.world
        .node()
        .ip(&format!("link set {} name gone", gateway.interface))?;
    agent.process.wait_for("no longer hooked")?;
    node.world
        .node()
        .ip(&format!("link set gone name {}", gateway.interface))?;
    node.world
        .node()
        .ip(&format!("link set {} up", gateway.interface))?;
    agent.process.wait_for_count(&gateway.interface, 3)
}

#[test]
fn an_edit_of_the_configuration_is_followed() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.policy(L7)?;
    let service = node.pod("user-service");
    let _server = serve(&service.host, 80)?;
    let mut agent = node.agent()?;
    let gateway = &node.pod("api-gateway").host;
    let get = format!("http://{}/get", service.v4);
    let other = format!("http://{}/other", service.v4);
    assert!(curl(gateway, &[&get])?.1.ends_with("200"));
    assert!(curl(gateway, &[&other])?.1.ends_with("403"));

    node.configure("visibility: [ { prt: 80 } ]\n")?;
    agent
        .process
        .wait_for("configuration refused, the former one stays")?;
    let (_, answer) = curl(gateway, &[&other])?;
    assert!(answer.ends_with("403"), "a bad file changes nothing");

    // The gateway is another application now: the policy that let it in no longer does.
    node.relabel("api-gateway", "somebody")?;
    agent.process.wait_for("configuration applied")?;
    assert_ne!(curl(gateway, &["--max-time", "1", &get])?.0, 0);

    node.relabel("api-gateway", "api-gateway")?;
    agent.process.wait_for_count("configuration applied", 2)?;
    assert!(curl(gateway, &[&get])?.1.ends_with("200"));
    Ok(())
}

#[test]
fn a_host_without_ipv6_proxies_ipv4_and_says_so() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.policy(L7)?;
    node.world
        .node()
        .set("net/ipv6/conf/all/disable_ipv6", "1")?;
    let service = node.pod("user-service");
    let _server = serve(&service.host, 80)?;
    let agent = node.agent()?;
    let gateway = &node.pod("api-gateway").host;
    for (path, status) in [("get", "200"), ("other", "403")] {
        let url = format!("http://{}/{path}", service.v4);
        assert!(curl(gateway, &[&url])?.1.ends_with(status));
    }
    let log = agent.process.output();
    assert!(log.contains("only IPv4 connections are proxied"), "{log}");
    Ok(())
}
