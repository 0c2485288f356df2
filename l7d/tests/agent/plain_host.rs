//! A host without pods: its own processes are seen through socket hooks.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use testbed::{Attach, Host, Process};

use crate::http2::{CASES, RPC, python, serve_grpc, serve_http2};
use crate::node::{Node, output, serve};
use crate::websocket;

/// A cgroup of this test's own, so that no other process of the machine is touched.
pub(crate) struct Cgroup(pub(crate) PathBuf);

impl Cgroup {
    pub(crate) fn new() -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        let mount = mounts
            .lines()
            .find_map(|line| {
                let mut words = line.split(' ');
                let (_, folder, kind) = (words.next()?, words.next()?, words.next()?);
                (kind == "cgroup2").then(|| folder.to_owned())
            })
            .context("the cgroup v2 hierarchy is not mounted")?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("l7d-test-{}-{number}", std::process::id());
        let folder = Path::new(&mount).join(name);
        std::fs::create_dir(&folder)?;
        Ok(Self(folder))
    }

    /// Runs a program of the node in it.
    pub(crate) fn output(&self, node: &Node, words: &[&str]) -> anyhow::Result<String> {
        let script = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", self.0.display());
        let words = [&["sh", "-c", &script, "sh"], words].concat();
        output(&node.world.node(), &words)
    }

    /// Sees these ports.
    fn watch(&self, node: &Node, ports: &[u16]) -> anyhow::Result<()> {
        self.watch_all(node, &format!("{ports:?}"))
    }

    /// Sees these ports, as the configuration writes them.
    fn watch_all(&self, node: &Node, ports: &str) -> anyhow::Result<()> {
        let folder = self.0.display();
        node.configure(&format!("host: {{ ports: {ports}, cgroup: {folder} }}\n"))
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
    cgroup.watch(&node, &[18080])?;
    let _server = serve(&node.world.outside(), 18080)?;
    let _agent = node.agent()?;
    for (address, host) in [("192.0.2.2", "192.0.2.1"), ("[2001:db8::2]", "2001:db8::1")] {
        let url = format!("http://{address}:18080/plain");
        let words = [
            "curl",
            "-s",
            "-g",
            "-m",
            "5",
            "-w",
            "peer %{remote_ip}",
            &url,
        ];
        let answer = cgroup.output(&node, &words)?;
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

/// Serves what `serve_http2` left in its folder, over HTTP/2 without TLS.
fn serve_nginx(node: &Node, host: &Host) -> anyhow::Result<Process> {
    let folder = node.world.folder().display();
    let file = node.world.folder().join("nginx.conf");
    let config = format!(
        "daemon off; user root; worker_processes 1; pid {folder}/nginx.pid; error_log stderr;\n\
         events {{}}\n\
         http {{ access_log off; server {{ listen 8080 http2; listen [::]:8080 http2; root {folder}/htdocs; }} }}\n"
    );
    std::fs::write(&file, config)?;
    let mut command = host.command("nginx");
    command.arg("-c").arg(&file);
    let process = host.start("nginx", command)?;
    host.wait_listening(8080)?;
    Ok(process)
}

#[test]
fn streams_of_a_plain_host_are_seen() -> anyhow::Result<()> {
    let node = Node::new(&[])?;
    let cgroup = Cgroup::new()?;
    cgroup.watch(&node, &[80, 8080])?;
    let outside = node.world.outside();
    let _servers = [serve_http2(&node, &outside)?, serve_nginx(&node, &outside)?];
    let _agent = node.agent()?;
    let ask = |words: &[&str]| cgroup.output(&node, words);
    for address in ["192.0.2.2", "[2001:db8::2]"] {
        for port in [80, 8080] {
            let url = format!("http://{address}:{port}/get");
            let words = ["-s", "-g", "-m", "5", "-w", "%{http_code} %{remote_ip}"];
            let words = [&["curl", "--http2-prior-knowledge"], &words[..], &[&url]].concat();
            let answer = format!("served\n200 {}", address.trim_matches(['[', ']']));
            assert_eq!(ask(&words)?, answer);
            let urls =
                ["absent", "get?again"].map(|path| format!("http://{address}:{port}/{path}"));
            let [absent, again] = &urls;
            let report = ask(&["nghttp", "-nv", &url, absent, again])?;
            assert_eq!(report.matches(":status: 200").count(), 2, "{report}");
            assert_eq!(report.matches(":status: 404").count(), 1, "{report}");
            let report = ask(&["h2load", "-n", "50", "-c", "5", "-m", "5", &url])?;
            assert!(report.contains("50 2xx, 0 3xx, 0 4xx"), "{report}");
        }
    }
    let mut flows = node.follow()?;
    for (answer, count) in [
        ("http-response FORWARDED (HTTP/2 200", 212),
        ("http-response FORWARDED (HTTP/2 404", 4),
    ] {
        flows.wait_for_count(answer, count)?;
        let flows = flows.output();
        assert_eq!(flows.matches(answer).count(), count, "{flows}");
    }
    Ok(())
}

#[test]
fn calls_of_a_plain_host_are_seen() -> anyhow::Result<()> {
    let node = Node::new(&[])?;
    let cgroup = Cgroup::new()?;
    cgroup.watch(&node, &[50051])?;
    let _server = serve_grpc(&node.world.outside())?;
    let _agent = node.agent()?;
    let python = python().display().to_string();
    for address in ["192.0.2.2", "2001:db8::2"] {
        for case in CASES {
            cgroup.output(&node, &[&python, RPC, case, address])?;
        }
    }
    for (method, calls) in [("Chat", 2), ("Wait", 2), ("Watch", 2), ("Steal", 2)] {
        let path = format!("/demo.Shop/{method}");
        let flows = node.observe(&["--protocol", "http", "--http-path", &path])?;
        let asked = flows.matches("http-request FORWARDED").count();
        assert_eq!(asked, calls, "{flows}");
    }
    Ok(())
}

#[test]
fn conversations_of_a_plain_host_pass_once_their_request_is_allowed() -> anyhow::Result<()> {
    let node = Node::new(&[("server", Attach::Bridged)])?;
    let cgroup = Cgroup::new()?;
    cgroup.watch(&node, &[80, 8080])?;
    node.policy(websocket::POLICY)?;
    let server = node.pod("server");
    let outside = node.world.outside();
    let logs = [
        websocket::serve(&server.host, 80)?,
        websocket::serve(&server.host, 8080)?,
        websocket::serve(&outside, 8080)?,
    ];
    let _agent = node.agent()?;
    let ask = |words: &[&str]| cgroup.output(&node, words);
    for address in ["192.0.2.2", "[2001:db8::2]"] {
        let url = format!("ws://{address}:8080/chat");
        assert_eq!(ask(&websocket::talk(&url))?, "closed 1000\n", "{url}");
    }
    for address in [server.v4.clone(), format!("[{}]", server.v6)] {
        websocket::check(&address, ask)?;
    }
    let mut flows = node.follow()?;
    flows.wait_for_count("(websocket 2", 6)?;
    let flows = flows.output();
    assert_eq!(flows.matches("http-request DROPPED").count(), 2, "{flows}");
    let logs: String = logs.iter().map(Process::output).collect();
    assert_eq!(logs.matches("asked for /chat").count(), 4, "{logs}");
    assert_eq!(logs.matches("asked for /admin").count(), 2, "{logs}");
    Ok(())
}

/// A resolver that does not connect its socket: the answer must come from whom it asked.
const UNCONNECTED: &str = r#"
import socket, sys
query = bytes.fromhex("432101000001000000000000") + b"\x03www\x07example\x03com\x00\x00\x01\x00\x01"
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
s = socket.socket(family, socket.SOCK_DGRAM)
s.settimeout(5)
s.sendto(query, (sys.argv[1], 53))
answer, sender = s.recvfrom(4096)
print(sender[0], sender[1], answer[:2].hex(), answer[3] & 15)
"#;

#[test]
fn look_ups_of_a_plain_host_are_seen_and_answered_by_whom_it_asked() -> anyhow::Result<()> {
    let node = Node::new(&[])?;
    let cgroup = Cgroup::new()?;
    cgroup.watch_all(&node, "[ 53, { port: 53, protocol: UDP } ]")?;
    let outside = node.world.outside();
    let server = crate::dns::unbound(&outside, node.world.folder())?;
    let mut agent = node.agent()?;
    for address in ["192.0.2.2", "2001:db8::2"] {
        let at = format!("@{address}");
        for over in ["+notcp", "+tcp"] {
            let words = ["dig", "+tries=1", "+time=3", over, &at, "api.example.com"];
            let answer = cgroup.output(&node, &words)?;
            assert!(answer.contains("192.0.2.2"), "{address} {over}: {answer}");
            assert!(
                answer.contains(&format!("SERVER: {address}#53")),
                "{answer}"
            );
        }
        let answer = cgroup.output(&node, &["python3", "-c", UNCONNECTED, address])?;
        assert_eq!(answer, format!("{address} 53 4321 0\n"));
    }
    let flows = node.observe(&["--protocol", "dns", "--all"])?;
    let seen = |name: &str| {
        let answers = flows.lines().filter(|line| line.contains("dns-response"));
        answers.filter(|line| line.contains(name)).count()
    };
    assert_eq!(
        (
            seen("Proxy api.example.com."),
            seen("Proxy www.example.com.")
        ),
        (4, 2),
        "{flows}"
    );
    assert!(
        server.output().contains("192.0.2.1 api.example.com. A IN"),
        "{}",
        server.output()
    );

    agent.process.signal(rustix::process::Signal::TERM)?;
    agent.process.wait()?;
    let words = [
        "dig",
        "+tries=3",
        "+time=1",
        "+short",
        "@192.0.2.2",
        "api.example.com",
    ];
    assert!(
        cgroup.output(&node, &words)?.contains("192.0.2.2"),
        "without an agent"
    );
    Ok(())
}
