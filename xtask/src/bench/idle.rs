//! Memory of an agent that has nothing to do, alone and with thousands of idle connections.

use anyhow::Context as _;

use super::subject::{Subject, Version};
use super::{Stage, figures};
use crate::run::say;

/// What the agent needs.
pub(super) struct Idle {
    pub(super) alone_mib: f64,
    pub(super) crowded_mib: f64,
    pub(super) connections: u64,
}

/// As many as the bar names, if the system's limit of descriptors allows them: each has two.
const CONNECTIONS: u64 = 10_000;
const RESERVED_DESCRIPTORS: u64 = 200;

/// Opens connections one after another, asks once on each, says so, and keeps them.
const CLIENT: &str = r"
import resource, signal, socket, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
kept = []
for _ in range(int(sys.argv[2])):
    connection = socket.create_connection((sys.argv[1], 80), 10)
    connection.sendall(b'GET /path7/64 HTTP/1.1\r\nHost: x\r\n\r\n')
    answer = b''
    while b'\r\n\r\n' not in answer:
        answer += connection.recv(999)
    kept.append(connection)
print('all open', flush=True)
signal.pause()
";

/// Measures both.
pub(super) fn measure() -> anyhow::Result<Idle> {
    say("measuring memory with idle connections");
    let stage = Stage::new(Version::Http1, Subject::Watch)?;
    let agent = stage.pid().context("an agent")?;
    let alone_mib = figures::rss_mib(agent);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let most = limit.map_or(CONNECTIONS, |limit| {
        limit.saturating_sub(RESERVED_DESCRIPTORS) / 2
    });
    let connections = CONNECTIONS.min(most);
    let script = stage.world.folder().join("idle.py");
    std::fs::write(&script, CLIENT)?;
    let client = &stage.client.host;
    let mut command = client.command("python3");
    command
        .arg(&script)
        .arg(&stage.server.v4)
        .arg(connections.to_string());
    let mut crowd = client.start("crowd", command)?;
    crowd.wait_for("all open")?;
    let crowded_mib = figures::rss_mib(agent);
    Ok(Idle {
        alone_mib,
        crowded_mib,
        connections,
    })
}
