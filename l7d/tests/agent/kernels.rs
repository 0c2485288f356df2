//! Kernels that lack something: as only one is here, the agent is told not to use it.

use rustix::process::Signal;
use testbed::{Host, Process};

use crate::lifecycle::{L7, network, two_pods};
use crate::node::{Agent, Node, curl, output, serve};
use crate::plain_host::Cgroup;

/// Two pods, a policy, a server, and an agent that uses none of these features.
struct Old {
    node: Node,
    agent: Agent,
    server: Process,
}

fn old(features: &str) -> anyhow::Result<Old> {
    let mut node = two_pods()?;
    node.without(features);
    node.configure("visibility: [ { port: 80, mode: proxy } ]\n")?;
    node.policy(L7)?;
    let server = serve(&node.pod("user-service").host, 80)?;
    let agent = node.agent()?;
    Ok(Old {
        node,
        agent,
        server,
    })
}

impl Old {
    /// Requests are judged, seen, and judged by the next agent; nothing is left in the end.
    fn judges_through_a_restart(mut self, told: &str) -> anyhow::Result<()> {
        self.judges()?;
        let status = self.node.l7d("status", &[])?;
        assert!(status.contains(told), "{status}");
        self.agent.process.signal(Signal::KILL)?;
        self.agent.process.wait()?;
        self.agent = self.node.agent()?;
        self.judges()?;
        let mut flows = self.node.follow()?;
        for seen in [
            "http-response FORWARDED (HTTP/1.1 200",
            "http-request DROPPED",
            "to-proxy FORWARDED",
        ] {
            flows.wait_for(seen)?;
        }
        assert!(!self.server.output().contains("/other"));
        Ok(())
    }

    fn judges(&self) -> anyhow::Result<()> {
        let service = self.node.pod("user-service");
        let gateway = &self.node.pod("api-gateway").host;
        for address in [service.v4.clone(), format!("[{}]", service.v6)] {
            for (path, status) in [("get", "200"), ("other", "403")] {
                let url = format!("http://{address}/{path}");
                let (code, answer) = curl(gateway, &[&url])?;
                assert!(
                    code == 0 && answer.ends_with(status),
                    "{url}: {code} {answer}"
                );
            }
        }
        Ok(())
    }
}

/// The programs at both sides of an interface of the node.
fn filters(node: &Host, interface: &str) -> anyhow::Result<String> {
    let script = format!(
        "for side in ingress egress; do tc filter show dev {interface} $side; done | grep -o 'handle .* name [a-z_]*' | sed 's/ direct.*name/ name/'"
    );
    output(node, &["sh", "-c", &script])
}

#[test]
fn without_tcx_filters_carry_the_hooks() -> anyhow::Result<()> {
    old("tcx")?.judges_through_a_restart("clsact filters carry the hooks")
}

#[test]
fn without_assignment_to_groups_the_workers_share_a_listener() -> anyhow::Result<()> {
    let old = old("reuseport-assign")?;
    let listeners = output(&old.node.world.node(), &["ss", "-Hltnp"])?;
    // The workers' descriptors are of one socket.
    assert_eq!(listeners.matches("127.0.0.1:").count(), 1, "{listeners}");
    old.judges_through_a_restart("the proxy's workers share one listener")
}

#[test]
fn without_btf_everything_but_reasons_of_drops_works() -> anyhow::Result<()> {
    old("btf")?.judges_through_a_restart("only what policies drop is told")
}

#[test]
fn without_anything_that_can_be_done_without_it_works() -> anyhow::Result<()> {
    let all = "btf, cgroup-hooks, coarse-clock, conntrack-netlink, reuseport-assign, tcx";
    old(all)?.judges_through_a_restart("host.ports has no effect")
}

#[test]
fn without_socket_hooks_processes_of_the_host_are_left_alone() -> anyhow::Result<()> {
    let mut node = Node::new(&[])?;
    node.without("cgroup-hooks");
    let cgroup = Cgroup::new()?;
    let folder = cgroup.0.display();
    node.configure(&format!("host: {{ ports: [18080], cgroup: {folder} }}\n"))?;
    let _server = serve(&node.world.outside(), 18080)?;
    let agent = node.agent()?;
    let answer = cgroup.output(
        &node,
        &["curl", "-s", "-m", "5", "http://192.0.2.2:18080/plain"],
    )?;
    assert!(answer.contains("GET /plain from 192.0.2.1 "), "{answer}");
    let log = agent.process.output();
    assert!(log.contains("host.ports has no effect"), "{log}");
    assert!(node.observe(&["--protocol", "http", "--all"])?.is_empty());
    Ok(())
}

#[test]
fn filters_are_replaced_in_place_and_taken_off_by_cleanup() -> anyhow::Result<()> {
    let mut node = two_pods()?;
    node.without("tcx");
    node.configure("")?;
    let host = node.world.node();
    let before = network(&host)?;
    let interface = node.pod("api-gateway").interface.clone();
    // Somebody else's stay.
    output(&host, &["tc", "qdisc", "add", "dev", "uplink", "clsact"])?;
    let agent = node.agent()?;
    let first = filters(&host, &interface)?;
    assert_eq!(
        first,
        "handle 0x435 from_pod name from_pod\nhandle 0x435 to_pod name to_pod\n"
    );
    drop(agent);
    let agent = node.agent()?;
    assert_eq!(filters(&host, &interface)?, first);
    drop(agent);
    let said = node.cleanup()?;
    assert!(said.contains("removed filter"), "{said}");
    assert_eq!(network(&host)?, before);
    let qdiscs = output(&host, &["tc", "qdisc", "show"])?;
    assert_eq!(qdiscs.matches("clsact").count(), 1, "{qdiscs}");
    assert_eq!(filters(&host, "uplink")?, "");
    assert!(!node.pin_dir().exists());
    Ok(())
}

#[test]
fn links_and_filters_take_each_others_place() -> anyhow::Result<()> {
    let mut node = two_pods()?;
    let host = node.world.node();
    let interface = node.pod("api-gateway").interface.clone();
    let links = node.pin_dir().join("v6/links");
    let pinned = |name: &str| -> anyhow::Result<bool> {
        let entries = std::fs::read_dir(&links)?.flatten();
        let mut names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.any(|entry| entry.ends_with(name)))
    };
    drop(node.agent()?);
    assert!(pinned("-from_pod")?);
    assert_eq!(filters(&host, &interface)?, "");
    node.without("tcx");
    node.configure("")?;
    drop(node.agent()?);
    assert!(!pinned("-from_pod")?);
    assert_eq!(filters(&host, &interface)?.lines().count(), 2);
    node.reconfigure(", without: [tcx]", "")?;
    drop(node.agent()?);
    assert!(pinned("-from_pod")?);
    assert_eq!(filters(&host, &interface)?, "");
    Ok(())
}

#[test]
fn a_feature_that_is_misspelt_is_refused_with_its_name() -> anyhow::Result<()> {
    let mut node = Node::new(&[])?;
    node.without("txc");
    node.configure("")?;
    let config = node.config_file().display().to_string();
    let words = [env!("CARGO_BIN_EXE_l7d"), "agent", "--config", &config];
    let output = node.world.node().output(&words)?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("`txc` is not one of btf, cgroup-hooks"),
        "{said}"
    );
    assert!(said.contains("did you mean `tcx`?"), "{said}");
    Ok(())
}
