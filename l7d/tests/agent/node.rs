//! A node with an agent on it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use testbed::{Attach, Host, Pod, Process, World};

/// A server that answers with what it saw: method, path, client address and body length; each
/// request is a line of its log.
const SERVER: &str = r#"
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        text = f"{self.command} {self.path} from {self.client_address[0].removeprefix('::ffff:')} length {len(body)}\n"
        print(text, end="", flush=True)
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())
    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer
    def log_message(self, *_): pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
print("serving", flush=True)
Server(("::", int(sys.argv[1])), Handler).serve_forever()
"#;

pub(crate) struct Node {
    pub(crate) world: World,
    pub(crate) pods: Vec<Pod>,
    config: String,
    name: String,
    /// Agents that were started: each has a log of its own.
    agents: AtomicUsize,
}

/// A running agent.
pub(crate) struct Agent {
    pub(crate) process: Process,
}

impl Node {
    /// Pods of these names, and port 80 watched by the proxy.
    pub(crate) fn new(pods: &[(&str, Attach)]) -> anyhow::Result<Self> {
        let told: Vec<String> = pods
            .iter()
            .map(|(name, _)| format!("namespace: prod-app, labels: {{ app: {name} }}"))
            .collect();
        let pods = pods.iter().zip(&told);
        let pods: Vec<_> = pods
            .map(|((name, attach), told)| (*name, *attach, told.as_str()))
            .collect();
        Self::with(&pods)
    }

    /// Pods of these names of which this is told, and port 80 watched by the proxy.
    pub(crate) fn with(told: &[(&str, Attach, &str)]) -> anyhow::Result<Self> {
        let mut world = World::new()?;
        let pods = told
            .iter()
            .map(|(name, attach, _)| world.pod(name, *attach))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let folder = world.folder().display().to_string();
        let name = world
            .folder()
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or("l7d")
            .to_owned();
        std::fs::create_dir_all(world.folder().join("policies"))?;
        let mut config = format!(
            "node: test-node\napi: {{ socket: {folder}/l7d.sock }}\nruntimeDir: {folder}/run\nstateDir: {folder}/state\n\
             datapath: {{ pinDir: /sys/fs/bpf/{name}, uplinks: [uplink] }}\nproxy: {{ workers: 2 }}\n\
             policies: {{ directory: {folder}/policies }}\nendpoints:\n"
        );
        for (pod, (_, _, told)) in pods.iter().zip(told) {
            let Pod {
                name,
                v4,
                v6,
                interface,
                ..
            } = pod;
            writeln!(
                config,
                "- {{ name: {name}, {told}, ips: [{v4}, \"{v6}\"], interface: {interface} }}"
            )?;
        }
        let node = Self {
            world,
            pods,
            config,
            name,
            agents: AtomicUsize::new(0),
        };
        node.configure("visibility: [ { port: 80, mode: proxy } ]\n")?;
        Ok(node)
    }

    /// Writes the configuration with more lines.
    pub(crate) fn configure(&self, more: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(
            self.config_file(),
            format!("{}{more}", self.config),
        )?)
    }

    /// Writes the configuration with another `app` label for a pod, and port 80 watched.
    pub(crate) fn relabel(&self, pod: &str, app: &str) -> anyhow::Result<()> {
        self.reconfigure(
            &format!("name: {pod}, namespace: prod-app, labels: {{ app: {pod} }}"),
            &format!("name: {pod}, namespace: prod-app, labels: {{ app: {app} }}"),
        )
    }

    /// Writes the configuration with other text in the place of some, and port 80 watched.
    pub(crate) fn reconfigure(&self, former: &str, fresh: &str) -> anyhow::Result<()> {
        anyhow::ensure!(self.config.contains(former), "no `{former}`");
        let text = self.config.replace(former, fresh);
        let file = self.world.folder().join("config.new");
        std::fs::write(
            &file,
            format!("{text}visibility: [ {{ port: 80, mode: proxy }} ]\n"),
        )?;
        Ok(std::fs::rename(file, self.config_file())?)
    }

    /// Keeps the agent from using features of the kernel.
    pub(crate) fn without(&mut self, features: &str) {
        let uplinks = "uplinks: [uplink]";
        self.amend(uplinks, &format!("{uplinks}, without: [{features}]"));
    }

    /// Has other text in the place of some in every configuration that is written from now on.
    pub(crate) fn amend(&mut self, former: &str, fresh: &str) {
        self.config = self.config.replace(former, fresh);
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.world.folder().join("l7d.yaml")
    }

    pub(crate) fn pin_dir(&self) -> PathBuf {
        PathBuf::from(format!("/sys/fs/bpf/{}", self.name))
    }

    #[expect(
        clippy::expect_used,
        reason = "a test that names a pod it has not made is wrong"
    )]
    pub(crate) fn pod(&self, name: &str) -> &Pod {
        self.pods
            .iter()
            .find(|pod| pod.name == name)
            .expect("a pod of that name")
    }

    /// Replaces the policy; takes effect when the agent says so.
    pub(crate) fn policy(&self, text: &str) -> anyhow::Result<()> {
        let file = self.world.folder().join("policies/policy.yaml");
        let fresh = self.world.folder().join("policy.new");
        std::fs::write(&fresh, text)?;
        Ok(std::fs::rename(fresh, file)?)
    }

    /// Has the cluster tell what the configuration has told so far.
    pub(crate) fn follow_cluster(&mut self, kubeconfig: &Path) -> anyhow::Result<()> {
        let told = self.config.find("endpoints:\n");
        self.config.truncate(told.context("endpoints")?);
        let file = kubeconfig.display();
        writeln!(self.config, "kubernetes: {{ kubeconfig: {file} }}")?;
        self.configure("visibility: [ { port: 80, mode: proxy } ]\n")
    }

    /// An agent that is ready.
    pub(crate) fn agent(&self) -> anyhow::Result<Agent> {
        let mut agent = self.start_agent()?;
        agent.process.wait_for("l7d: ready")?;
        Ok(agent)
    }

    /// An agent that is ready, and was started with further arguments.
    pub(crate) fn agent_with(&self, arguments: &[&str]) -> anyhow::Result<Agent> {
        let mut agent = self.start_agent_with(arguments)?;
        agent.process.wait_for("l7d: ready")?;
        Ok(agent)
    }

    /// An agent that has begun to start.
    pub(crate) fn start_agent(&self) -> anyhow::Result<Agent> {
        self.start_agent_with(&[])
    }

    /// An agent that is ready, and was started by another program: its words, the agent's follow.
    pub(crate) fn agent_by(&self, words: &[String]) -> anyhow::Result<Agent> {
        let (program, more) = words.split_first().context("a program")?;
        let mut command = self.world.node().command(program);
        command.args(more).arg(env!("CARGO_BIN_EXE_l7d"));
        let mut agent = self.start_agent_as(command, &[])?;
        agent.process.wait_for("l7d: ready")?;
        Ok(agent)
    }

    fn start_agent_with(&self, arguments: &[&str]) -> anyhow::Result<Agent> {
        let command = self.world.node().command(env!("CARGO_BIN_EXE_l7d"));
        self.start_agent_as(command, arguments)
    }

    fn start_agent_as(&self, mut command: Command, arguments: &[&str]) -> anyhow::Result<Agent> {
        command.args(["agent", "--config"]).arg(self.config_file());
        command.args(arguments);
        let number = self.agents.fetch_add(1, Ordering::Relaxed);
        let name = format!("agent {number}");
        let process = self.world.node().start(&name, command)?;
        Ok(Agent { process })
    }

    /// Runs `l7d agent --cleanup`.
    pub(crate) fn cleanup(&self) -> anyhow::Result<String> {
        let config = self.config_file().display().to_string();
        let words = [
            env!("CARGO_BIN_EXE_l7d"),
            "agent",
            "--cleanup",
            "--config",
            &config,
        ];
        let output = self.world.node().output(&words)?;
        anyhow::ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// `l7d observe` with these arguments.
    pub(crate) fn observe(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.l7d("observe", arguments)
    }

    /// A command that asks the agent.
    pub(crate) fn l7d(&self, command: &'static str, arguments: &[&str]) -> anyhow::Result<String> {
        let server = format!("unix://{}/l7d.sock", self.world.folder().display());
        let output = Command::new(env!("CARGO_BIN_EXE_l7d"))
            .arg(command)
            .args(arguments)
            .args(["--server", &server])
            .output()
            .context(command)?;
        anyhow::ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// `l7d observe` of everything that was seen and is being seen.
    pub(crate) fn follow(&self) -> anyhow::Result<Process> {
        self.follow_only(&[])
    }

    /// The same of what these filters let through.
    pub(crate) fn follow_only(&self, filters: &[&str]) -> anyhow::Result<Process> {
        self.follow_as("observe", filters)
    }

    /// The same, where several follow at once: each has a name of its own.
    pub(crate) fn follow_as(&self, name: &str, filters: &[&str]) -> anyhow::Result<Process> {
        let server = format!("unix://{}/l7d.sock", self.world.folder().display());
        let mut command = self.world.node().command(env!("CARGO_BIN_EXE_l7d"));
        command.args(["observe", "--server", &server, "--all", "--follow"]);
        command.args(filters);
        self.world.node().start(name, command)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Pins outlive the process on purpose; tests take theirs along.
        let _gone = std::fs::remove_dir_all(self.pin_dir());
    }
}

/// Waits until what is found is as wanted.
pub(crate) fn wait_until<T: std::fmt::Debug>(
    mut look: impl FnMut() -> T,
    is_wanted: impl Fn(&T) -> bool,
) -> anyhow::Result<()> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let found = look();
        if is_wanted(&found) {
            return Ok(());
        }
        anyhow::ensure!(std::time::Instant::now() < deadline, "{found:?}");
        std::thread::yield_now();
    }
}

/// Sends a line for each that it is told, over one connection, and says what comes back.
pub(crate) const TALK: &str = r#"
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2)
print("open", flush=True)
for line in sys.stdin:
    s.sendall(b"ping")
    try:
        print("heard" if s.recv(4) == b"ping" else "closed", flush=True)
    except OSError:
        print("cut", flush=True)
"#;

/// Sends back what comes over one connection.
pub(crate) const ECHO: &str = r#"
import socket, sys
server = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("serving", flush=True)
connection, _ = server.accept()
while True:
    data = connection.recv(4)
    if not data: break
    connection.sendall(data)
"#;

/// Starts a server; its log has a line per request.
pub(crate) fn serve(host: &Host, port: u16) -> anyhow::Result<Process> {
    let mut command = host.command("python3");
    command.args(["-c", SERVER, &port.to_string()]);
    let mut process = host.start(&format!("server{port}"), command)?;
    process.wait_for("serving")?;
    host.wait_listening(port)?;
    Ok(process)
}

/// What a program wrote that must succeed.
pub(crate) fn output(host: &Host, words: &[&str]) -> anyhow::Result<String> {
    let output = host.output(words)?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(output.status.success(), "{words:?}: {text}");
    Ok(text)
}

/// curl's answer: its exit code, the status, and the body.
pub(crate) fn curl(host: &Host, arguments: &[&str]) -> anyhow::Result<(i32, String)> {
    let words = [
        &["curl", "-s", "-g", "-m", "3", "-w", "%{http_code}"],
        arguments,
    ]
    .concat();
    let output = host.output(&words)?;
    let code = output.status.code().unwrap_or(-1);
    Ok((code, String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Asks [`serve`]'s server, which must see the client as `seen`; gives the path, which nobody else
/// asks for.
pub(crate) fn ask(client: &Host, address: &str, seen: &str) -> anyhow::Result<String> {
    let path = format!(
        "/{}-{}",
        address.replace([':', '.'], "-"),
        seen.replace([':', '.'], "-")
    );
    let host = if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    };
    let url = format!("http://{host}{path}");
    let (code, answer) = curl(client, &[&url])?;
    assert_eq!(code, 0, "{url}: {answer}");
    assert!(answer.contains(&format!("from {seen} ")), "{url}: {answer}");
    Ok(path)
}

/// How much a test does: what the environment says, for its long form, or what is usual.
pub(crate) fn from_environment(name: &str, usual: usize) -> anyhow::Result<usize> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text}")),
        Err(_) => Ok(usual),
    }
}
