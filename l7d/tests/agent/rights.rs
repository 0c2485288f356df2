//! An agent with few capabilities: what works, and what is named.

use testbed::Process;

use crate::dns::unbound;
use crate::lifecycle::{L7, two_pods};
use crate::node::{Node, curl, output, serve};

/// All that the agent needs.
const FEW: &str = "+bpf,+net_admin,+perfmon";

/// An agent of root's that can have no other capabilities than these.
fn agent_with(node: &Node, capabilities: &str) -> anyhow::Result<Process> {
    let mut agent = start_with(node, capabilities)?;
    agent.wait_for("l7d: ready")?;
    Ok(agent)
}

fn start_with(node: &Node, capabilities: &str) -> anyhow::Result<Process> {
    let host = node.world.node();
    let mut command = host.command("setpriv");
    command
        .arg(format!("--bounding-set=-all,{capabilities}"))
        .args([
            "--inh-caps=-all",
            env!("CARGO_BIN_EXE_l7d"),
            "agent",
            "--config",
        ])
        .arg(node.config_file());
    host.start("agent", command)
}

/// Capabilities of all threads of a process: each line of `/proc` that tells of them, once.
fn capabilities(pid: u32, set: &str) -> anyhow::Result<Vec<u64>> {
    let mut found = Vec::new();
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        let status = std::fs::read_to_string(thread.path().join("status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(set));
        let bits = line
            .map(|bits| u64::from_str_radix(bits.trim(), 16))
            .transpose()?;
        found.extend(bits.filter(|bits| !found.contains(bits)));
    }
    Ok(found)
}

#[test]
fn three_capabilities_judge_and_see_everything_but_datagrams_of_the_proxy() -> anyhow::Result<()> {
    let node = two_pods()?;
    node.policy(L7)?;
    let service = node.pod("user-service");
    let server = serve(&service.host, 80)?;
    let _agent = agent_with(&node, FEW)?;
    let gateway = &node.pod("api-gateway").host;
    for address in [service.v4.clone(), format!("[{}]", service.v6)] {
        for (path, status) in [("get", "200"), ("other", "403")] {
            let (code, answer) = curl(gateway, &[&format!("http://{address}/{path}")])?;
            assert!(
                code == 0 && answer.ends_with(status),
                "{path}: {code} {answer}"
            );
        }
    }
    assert!(!server.output().contains("/other"));
    let mut flows = node.follow()?;
    for seen in [
        "http-response FORWARDED (HTTP/1.1 200",
        "http-request DROPPED",
        "to-proxy FORWARDED",
    ] {
        flows.wait_for(seen)?;
    }
    let status = node.l7d("status", &[])?;
    assert!(
        status.contains("no DNS over UDP through the proxy"),
        "{status}"
    );
    assert!(status.contains("CAP_NET_RAW"), "{status}");
    Ok(())
}

#[test]
fn watched_queries_pass_by_where_the_proxy_may_not_send_them() -> anyhow::Result<()> {
    for (capabilities, is_seen) in [(FEW.to_owned(), false), (format!("{FEW},+net_raw"), true)] {
        let node = two_pods()?;
        node.configure("visibility: [ { port: 53, protocol: UDP } ]\n")?;
        let _server = unbound(&node.world.outside(), node.world.folder())?;
        let _agent = agent_with(&node, &capabilities)?;
        let gateway = &node.pod("api-gateway").host;
        let words = [
            "dig",
            "+tries=2",
            "+time=3",
            "+short",
            "@192.0.2.2",
            "api.example.com",
        ];
        assert_eq!(output(gateway, &words)?, "192.0.2.2\n", "{capabilities}");
        let flows = node.observe(&["--protocol", "dns", "--all"])?;
        assert_eq!(flows.contains("dns-response"), is_seen, "{flows}");
    }
    Ok(())
}

#[test]
fn an_agent_without_one_of_its_capabilities_says_which() -> anyhow::Result<()> {
    for (capabilities, said) in [
        ("+bpf,+perfmon", "CAP_NET_ADMIN"),
        ("+net_admin,+perfmon", "CAP_BPF"),
        ("+bpf,+net_admin", "CAP_PERFMON"),
    ] {
        let node = two_pods()?;
        let mut agent = start_with(&node, capabilities)?;
        agent.wait_for("the agent has ended")?;
        assert!(!agent.wait()?.success());
        let log = agent.output();
        assert!(log.contains(said), "{capabilities}: {log}");
    }
    Ok(())
}

#[test]
fn an_agent_of_root_gives_up_what_it_has_no_use_for() -> anyhow::Result<()> {
    let node = two_pods()?;
    let agent = node.agent()?;
    // bpf, dac_override, net_admin, net_bind_service, net_raw, perfmon: `linux/capability.h`.
    let used = [39, 1, 12, 10, 13, 38].map(|number| 1_u64 << number);
    let used = used.into_iter().sum::<u64>();
    for set in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(capabilities(agent.process.pid(), set)?, [used], "{set}");
    }
    assert_eq!(capabilities(agent.process.pid(), "NoNewPrivs:")?, [1]);
    Ok(())
}
