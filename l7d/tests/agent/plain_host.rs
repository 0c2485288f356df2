//! A host without pods: its own processes are seen through socket hooks.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::node::{Node, serve};

/// A cgroup of this test's own, so that no other process of the machine is touched.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> anyhow::Result<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        let mount = mounts
            .lines()
            .find_map(|line| {
                let mut words = line.split(' ');
                let (_, folder, kind) = (words.next()?, words.next()?, words.next()?);
                (kind == "cgroup2").then(|| folder.to_owned())
            })
            .context("the cgroup v2 hierarchy is not mounted")?;
        let folder = Path::new(&mount).join(format!("l7d-test-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn processes_of_a_plain_host_are_seen_and_see_whom_they_asked() -> anyhow::Result<()> {
    let node = Node::new(&[])?;
    let cgroup = Cgroup::new()?;
    let folder = cgroup.0.display();
    node.configure(&format!("host: {{ ports: [18080], cgroup: {folder} }}\n"))?;
    let _server = serve(&node.world.outside(), 18080)?;
    let _agent = node.agent()?;
    for (address, host) in [("192.0.2.2", "192.0.2.1"), ("[2001:db8::2]", "2001:db8::1")] {
        let script = format!(
            "echo $$ > {folder}/cgroup.procs; \
             exec curl -s -g -m 5 -w 'peer %{{remote_ip}}' http://{address}:18080/plain"
        );
        let output = node.world.node().output(&["sh", "-c", &script])?;
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(
            answer.contains(&format!("GET /plain from {host} ")),
            "{answer}"
        );
        assert!(
            answer.contains(&format!("peer {}", address.trim_matches(['[', ']']))),
            "{answer}"
        );
    }
    let flows = node.observe(&["--protocol", "http", "--http-status", "200"])?;
    assert_eq!(
        flows.matches("http-response FORWARDED").count(),
        2,
        "{flows}"
    );
    assert!(flows.contains("(host)"), "{flows}");
    Ok(())
}
