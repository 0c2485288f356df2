//! Ports that are only seen: the traffic goes its own way, and is told all the same.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use testbed::{Attach, Host, Process};

use crate::http2::{RPC, python, serve_grpc, serve_http2};
use crate::node::{Agent, Node, ask, curl, output, serve};

/// Two pods, and port 80 tapped.
fn two_pods(more: &str) -> anyhow::Result<Node> {
    let node = Node::new(&[("client", Attach::Bridged), ("server", Attach::Bridged)])?;
    node.configure(&format!("visibility: [ {{ port: 80 }} ]\n{more}"))?;
    Ok(node)
}

/// What the agent says of itself, in one line of `l7d status`.
fn status(node: &Node, line: &str) -> anyhow::Result<String> {
    let server = format!("unix://{}/l7d.sock", node.world.folder().display());
    let words = [env!("CARGO_BIN_EXE_l7d"), "status", "--server", &server];
    let status = output(&node.world.node(), &words)?;
    let found = status.lines().find(|text| text.contains(line));
    Ok(found.unwrap_or_default().to_owned())
}

/// The client asks, the server sees the client itself, and both messages are told.
fn check(node: &Node, client: &Host, address: &str, seen: &str) -> anyhow::Result<()> {
    let path = ask(client, address, seen)?;
    let whole = format!("{path}$");
    let words = ["--protocol", "http", "--http-path", &whole];
    let mut observer = node.follow_only(&words)?;
    observer.wait_for("http-response FORWARDED")?;
    let flows = observer.output();
    assert_eq!(flows.matches("http-request").count(), 1, "{flows}");
    assert_eq!(flows.matches("http-response").count(), 1, "{flows}");
    Ok(())
}

#[test]
fn requests_are_seen_once_whatever_the_way() -> anyhow::Result<()> {
    let pods = [
        ("bridged-a", Attach::Bridged),
        ("bridged-b", Attach::Bridged),
        ("routed-a", Attach::Routed),
        ("routed-b", Attach::Routed),
    ];
    let node = Node::new(&pods)?;
    node.configure("visibility: [ { port: 80 } ]\n")?;
    let (host, outside) = (node.world.node(), node.world.outside());
    let _servers = [
        serve(&node.pod("bridged-b").host, 80)?,
        serve(&node.pod("routed-b").host, 80)?,
        serve(&outside, 80)?,
    ];
    let _agent = node.agent()?;
    for server in ["bridged-b", "routed-b"] {
        let server = node.pod(server);
        for client in ["bridged-a", "routed-a"] {
            let client = node.pod(client);
            check(&node, &client.host, &server.v4, &client.v4)?;
            check(&node, &client.host, &server.v6, &client.v6)?;
        }
        check(&node, &outside, &server.v4, "192.0.2.2")?;
        check(&node, &outside, &server.v6, "2001:db8::2")?;
        check(&node, &server.host, "192.0.2.2", &server.v4)?;
        check(&node, &server.host, "2001:db8::2", &server.v6)?;
    }
    check(&node, &host, &node.pod("bridged-b").v4, "10.244.1.1")?;
    check(&node, &host, &node.pod("bridged-b").v6, "fd00:244:1::1")?;
    let tapped = status(&node, "Tapped")?;
    assert!(!tapped.contains("gaps"), "{tapped}");
    Ok(())
}

/// Serves bodies of known length, in chunks, and until the end, as the path asks.
const BODIES: &str = r#"
import socket, socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while line := self.rfile.readline():
            fields = {}
            while (field := self.rfile.readline()) != b"\r\n":
                name, value = field.split(b":", 1)
                fields[name.lower()] = value.strip()
            self.rfile.read(int(fields.get(b"content-length", 0)))
            _, how, size = line.split()[1].decode().split("/")
            body = b"HTTP/1.1 404 is not an answer\r\n" * (int(size) // 31)
            if how == "known":
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
                self.wfile.write(head.encode() + body)
            elif how == "chunks":
                self.wfile.write(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n")
                for start in range(0, len(body), 5000):
                    part = body[start:start + 5000]
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.write(b"0\r\n\r\n")
            else:
                self.wfile.write(b"HTTP/1.1 202 Accepted\r\nConnection: close\r\n\r\n" + body)
                return
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
Server.request_queue_size = 50
server = Server(("", 80), Handler)
print("serving", flush=True)
server.serve_forever()
"#;

fn serve_bodies(host: &Host) -> anyhow::Result<Process> {
    let mut command = host.command("python3");
    command.args(["-c", BODIES]);
    let mut process = host.start("bodies", command)?;
    process.wait_for("serving")?;
    Ok(process)
}

#[test]
fn bodies_are_left_out_and_messages_behind_them_are_found() -> anyhow::Result<()> {
    let node = two_pods("")?;
    let server = node.pod("server");
    let _server = serve_bodies(&server.host)?;
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    let upload = node.world.folder().join("upload");
    std::fs::write(&upload, vec![b'x'; 3 << 20])?;
    let upload = format!("@{}", upload.display());
    let url = |path: &str| format!("http://{}/{path}", server.v4);
    let mut words = Vec::new();
    // One connection but for the last body, which ends it.
    let paths = [
        "known/0",
        "known/5000000",
        "chunks/3000000",
        "known/31",
        "chunks/100",
        "end/2000000",
    ];
    let urls = paths.map(url);
    for url in &urls {
        words.extend([
            "-o",
            "/dev/null",
            "--data-binary",
            &upload,
            "-H",
            "Expect:",
            url,
        ]);
    }
    let (code, answer) = curl(client, &words)?;
    assert_eq!((code, answer.as_str()), (0, "200200201200201202"));
    let mut observer = node.follow_only(&["--protocol", "http"])?;
    observer.wait_for_count("http-response FORWARDED", paths.len())?;
    let flows = observer.output();
    for path in paths {
        assert_eq!(
            flows.matches(&format!("/{path}")).count(),
            2,
            "{path}: {flows}"
        );
    }
    assert!(!flows.contains("HTTP/1.1 404"), "{flows}");
    let tapped = status(&node, "Tapped")?;
    assert!(!tapped.contains("gaps"), "{tapped}");
    Ok(())
}

#[test]
fn pipelined_requests_have_their_answers() -> anyhow::Result<()> {
    let node = two_pods("")?;
    let server = node.pod("server");
    let _server = serve_bodies(&server.host)?;
    let _agent = node.agent()?;
    let script = format!(
        "import socket
s = socket.create_connection(('{}', 80), 5)
s.sendall(b''.join(b'GET /known/%d HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' % (31 * n) for n in range(20)))
s.shutdown(socket.SHUT_WR)
got = b''
while more := s.recv(65536): got += more
assert got.count(b'200 OK') == 20",
        server.v4
    );
    output(&node.pod("client").host, &["python3", "-c", &script])?;
    let mut observer = node.follow_only(&["--protocol", "http"])?;
    observer.wait_for_count("http-response FORWARDED", 20)?;
    let flows = observer.output();
    assert_eq!(
        flows.matches("http-request FORWARDED").count(),
        20,
        "{flows}"
    );
    assert!(!flows.contains("unknown"), "{flows}");
    Ok(())
}

#[test]
fn streams_with_large_bodies_are_followed_frame_by_frame() -> anyhow::Result<()> {
    let node = two_pods("")?;
    let server = node.pod("server");
    let _server = serve_http2(&node, &server.host)?;
    let folder = node.world.folder().join("htdocs");
    std::fs::write(folder.join("large"), vec![b'x'; 2 << 20])?;
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    let url = |path: &str| format!("http://{}{path}", server.v4);
    let words = ["h2load", "-n", "1500", "-c", "5", "-m", "20"];
    let report = output(client, &[&words[..], &[&url("/get")]].concat())?;
    assert!(report.contains("1500 2xx"), "{report}");
    let words = ["h2load", "-n", "40", "-c", "2", "-m", "10"];
    let report = output(client, &[&words[..], &[&url("/large")]].concat())?;
    assert!(report.contains("40 2xx"), "{report}");
    let words = ["--protocol", "http", "--http-path", "/large"];
    let mut observer = node.follow_only(&words)?;
    observer.wait_for_count("http-response FORWARDED", 40)?;
    let flows = node.observe(&["--protocol", "http", "--http-path", "/get", "--all"])?;
    assert_eq!(flows.matches("http-request FORWARDED").count(), 1500);
    assert!(!flows.contains("unknown"), "{flows}");
    // Where two cores hand over bytes of one direction in another order, frames are not followed any
    // longer, and what is missing then is told.
    let skipped = status_until(&node, "Left out by the tap", "tap: *[1-9]")?;
    assert!(
        skipped.contains(" bytes") && !skipped.contains(": 0 "),
        "{skipped}"
    );
    Ok(())
}

#[test]
fn a_crash_of_the_agent_is_not_noticed() -> anyhow::Result<()> {
    let node = two_pods("")?;
    let server = node.pod("server");
    let _server = serve(&server.host, 80)?;
    let Agent { mut process } = node.agent()?;
    let client = &node.pod("client").host;
    let script = format!(
        "i=0; while [ $i -lt 60 ]; do curl -sf -m 3 -o /dev/null http://{0}/a http://{0}/b || echo failed; \
         i=$((i+1)); echo asked; done; echo done",
        server.v4
    );
    let mut command = client.command("sh");
    command.args(["-c", &script]).stdin(Stdio::null());
    let mut asking = client.start("asking", command)?;
    asking.wait_for_count("asked", 10)?;
    process.signal(Signal::KILL)?;
    process.wait()?;
    asking.wait_for_count("asked", 30)?;
    let _agent = node.agent()?;
    asking.wait_for("done")?;
    assert!(!asking.output().contains("failed"), "{}", asking.output());
    Ok(())
}

#[test]
fn what_the_ring_had_no_room_for_is_counted_and_shown() -> anyhow::Result<()> {
    let node = two_pods("tap: { ringBytes: 4096 }\n")?;
    let server = node.pod("server");
    let _server = serve_http2(&node, &server.host)?;
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    let url = format!("http://{}/get", server.v4);
    output(
        client,
        &["h2load", "-n", "3000", "-c", "4", "-m", "50", &url],
    )?;
    // The next connection is seen whole, so that everything before was read.
    let mut observer = node.follow_only(&["--protocol", "http", "--http-path", "/none"])?;
    let other = format!("http://{}/none", server.v4);
    curl(client, &["--http2-prior-knowledge", &other])?;
    observer.wait_for("http-response")?;
    wait_for_losses(&node, "tap_ring")?;
    let tapped = status_until(&node, "Tapped", " gaps of ")?;
    assert!(tapped.contains(" gaps of "), "{tapped}");
    Ok(())
}

/// The agent publishes its status twice a second.
fn status_until(node: &Node, line: &str, text: &str) -> anyhow::Result<String> {
    let server = format!("unix://{}/l7d.sock", node.world.folder().display());
    let script = format!(
        "for _ in $(seq 40); do {} status --server {server} | grep -q '{text}' && break; sleep 0.1; done",
        env!("CARGO_BIN_EXE_l7d")
    );
    output(&node.world.node(), &["sh", "-c", &script])?;
    status(node, line)
}

/// The ledger tells of losses at a place.
fn wait_for_losses(node: &Node, place: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let status: Value = serde_json::from_str(&node.l7d("status", &["-o", "json"])?)?;
        let rows = status.pointer("/l7d/ledger").and_then(Value::as_array);
        let row = rows
            .into_iter()
            .flatten()
            .find(|row| row.get("place").is_some_and(|at| at == place));
        let lost = row.and_then(|row| row.get("lost")).and_then(Value::as_u64);
        if lost.is_some_and(|lost| lost > 0) {
            return Ok(());
        }
        anyhow::ensure!(Instant::now() < deadline, "nothing is lost: {status}");
    }
}

#[test]
fn calls_of_every_kind_are_seen() -> anyhow::Result<()> {
    let node = two_pods("")?;
    node.configure("visibility: [ { port: 50051 } ]\n")?;
    let server = node.pod("server");
    let _server = serve_grpc(&server.host)?;
    let _agent = node.agent()?;
    let client = &node.pod("client").host;
    let python = python().display().to_string();
    for address in [&server.v4, &server.v6] {
        for case in crate::http2::CASES {
            output(client, &[&python, RPC, case, address])?;
        }
    }
    let mut observer = node.follow_only(&["--http-path", "/demo.Shop/Chat"])?;
    observer.wait_for_count("http-response FORWARDED", 2)?;
    let tapped = status(&node, "Tapped")?;
    assert!(!tapped.contains("gaps"), "{tapped}");
    Ok(())
}
