//! The namespaces and how they are connected.

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::process::Process;

/// A node with its pods and an outside host.
#[derive(Debug)]
pub struct World {
    prefix: String,
    folder: PathBuf,
    namespaces: Vec<String>,
    pods: u8,
}

/// Something in a network namespace of its own.
#[derive(Debug, Clone)]
pub struct Host {
    namespace: String,
    folder: PathBuf,
}

/// How a pod is connected to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attach {
    /// By a bridge, as flannel and the bridge plugin do.
    Bridged,
    /// By routes of single addresses, as Calico and the AWS VPC CNI do.
    Routed,
}

/// A pod.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its namespace.
    pub host: Host,
    /// Its name.
    pub name: String,
    /// IPv4 address.
    pub v4: String,
    /// IPv6 address.
    pub v6: String,
    /// Node's end of its veth.
    pub interface: String,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A short pause between two looks at something that tells no events.
pub(crate) fn pause() {
    let (_keep, wait) = std::sync::mpsc::sync_channel::<()>(0);
    let _elapsed = wait.recv_timeout(Duration::from_millis(20));
}

impl World {
    /// A node with a bridge, forwarding, and an uplink to an outside host.
    ///
    /// # Errors
    /// Without root, or when a tool refuses.
    pub fn new() -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            bail!("network namespaces need root: run it again with sudo");
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("l7d{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(&prefix);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let mut world = Self {
            prefix,
            folder,
            namespaces: Vec::new(),
            pods: 0,
        };
        let node = world.namespace("node")?;
        node.set("net/ipv4/ip_forward", "1")?;
        node.set("net/ipv6/conf/all/forwarding", "1")?;
        node.ip("link add cni0 type bridge")?;
        node.ip("addr add 10.244.1.1/24 dev cni0")?;
        node.ip("-6 addr add fd00:244:1::1/64 dev cni0 nodad")?;
        node.ip("link set cni0 up")?;
        let outside = world.namespace("outside")?;
        node.ip(&format!(
            "link add uplink type veth peer name eth0 netns {}",
            outside.namespace
        ))?;
        node.ip("addr add 192.0.2.1/24 dev uplink")?;
        node.ip("-6 addr add 2001:db8::1/64 dev uplink nodad")?;
        node.ip("link set uplink up")?;
        outside.ip("addr add 192.0.2.2/24 dev eth0")?;
        outside.ip("-6 addr add 2001:db8::2/64 dev eth0 nodad")?;
        outside.ip("link set eth0 up")?;
        // Without a default route the node would not answer for the routed pods' gateway.
        node.ip("route add default via 192.0.2.2")?;
        node.ip("-6 route add default via 2001:db8::2")?;
        outside.ip("route add 10.244.0.0/16 via 192.0.2.1")?;
        outside.ip("-6 route add fd00:244::/32 via 2001:db8::1")?;
        Ok(world)
    }

    /// The node.
    pub fn node(&self) -> Host {
        self.host("node")
    }

    /// The host beyond the uplink: `192.0.2.2` and `2001:db8::2`.
    pub fn outside(&self) -> Host {
        self.host("outside")
    }

    /// Scratch folder of this world.
    pub fn folder(&self) -> &PathBuf {
        &self.folder
    }

    fn host(&self, name: &str) -> Host {
        Host {
            namespace: format!("{}-{name}", self.prefix),
            folder: self.folder.clone(),
        }
    }

    fn namespace(&mut self, name: &str) -> anyhow::Result<Host> {
        let host = self.host(name);
        succeed(Command::new("ip").args(["netns", "add", &host.namespace]))?;
        self.namespaces.push(host.namespace.clone());
        // Nobody else has these addresses, and nothing here should wait for that to be found out.
        for scope in ["all", "default"] {
            host.set(&format!("net/ipv6/conf/{scope}/accept_dad"), "0")?;
        }
        host.ip("link set lo up")?;
        Ok(host)
    }

    /// Adds a pod.
    ///
    /// # Errors
    /// When a tool refuses.
    pub fn pod(&mut self, name: &str, attach: Attach) -> anyhow::Result<Pod> {
        self.pods += 1;
        let number = u16::from(self.pods) + 9;
        let host = self.namespace(name)?;
        let subnet = if attach == Attach::Bridged { 1 } else { 2 };
        let pod = Pod {
            name: name.to_owned(),
            v4: format!("10.244.{subnet}.{number}"),
            v6: format!("fd00:244:{subnet}::{number}"),
            interface: format!("veth{number}"),
            host,
        };
        let node = self.node();
        node.ip(&format!(
            "link add {} type veth peer name eth0 netns {}",
            pod.interface, pod.host.namespace
        ))?;
        match attach {
            Attach::Bridged => connect_bridged(&node, &pod)?,
            Attach::Routed => connect_routed(&node, &pod)?,
        }
        Ok(pod)
    }
}

fn connect_bridged(node: &Host, pod: &Pod) -> anyhow::Result<()> {
    node.ip(&format!("link set {} master cni0 up", pod.interface))?;
    pod.host.ip(&format!("addr add {}/24 dev eth0", pod.v4))?;
    pod.host
        .ip(&format!("-6 addr add {}/64 dev eth0 nodad", pod.v6))?;
    pod.host.ip("link set eth0 up")?;
    pod.host.ip("route add default via 10.244.1.1")?;
    pod.host.ip("-6 route add default via fd00:244:1::1")
}

/// A gateway that exists on no interface: the node answers for it.
fn connect_routed(node: &Host, pod: &Pod) -> anyhow::Result<()> {
    let interface = &pod.interface;
    node.ip(&format!("link set {interface} up"))?;
    node.set(&format!("net/ipv4/conf/{interface}/proxy_arp"), "1")?;
    node.ip(&format!("-6 addr add fe80::1/64 dev {interface} nodad"))?;
    node.ip(&format!("route add {}/32 dev {interface}", pod.v4))?;
    node.ip(&format!("-6 route add {}/128 dev {interface}", pod.v6))?;
    pod.host.ip(&format!("addr add {}/32 dev eth0", pod.v4))?;
    pod.host
        .ip(&format!("-6 addr add {}/128 dev eth0 nodad", pod.v6))?;
    pod.host.ip("link set eth0 up")?;
    pod.host.ip("route add 169.254.1.1 dev eth0 scope link")?;
    pod.host.ip("route add default via 169.254.1.1 dev eth0")?;
    pod.host.ip("-6 route add default via fe80::1 dev eth0")
}

impl Host {
    /// Name of its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A program that runs here.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .arg(program);
        command
    }

    /// Does something in here, on a thread of its own: sockets that it makes stay here.
    ///
    /// # Errors
    /// When the namespace is gone, or with what went wrong inside.
    pub fn inside<T: Send>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send,
    ) -> anyhow::Result<T> {
        let file = format!("/run/netns/{}", self.namespace);
        let namespace = std::fs::File::open(&file).context(file)?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                let kind = Some(rustix::thread::LinkNameSpaceType::Network);
                rustix::thread::move_into_link_name_space(namespace.as_fd(), kind)?;
                work()
            });
            match thread.join() {
                Ok(done) => done,
                Err(_) => bail!("it panicked"),
            }
        })
    }

    /// Runs a program and gives back what it wrote, whatever its exit code.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output(&self, words: &[&str]) -> anyhow::Result<Output> {
        let (program, arguments) = words.split_first().context("a program")?;
        let mut command = self.command(program);
        command
            .args(arguments)
            .output()
            .with_context(|| format!("{words:?}"))
    }

    /// Starts a program; `name` names its output file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, name: &str, command: Command) -> anyhow::Result<Process> {
        Process::start(command, self.log_of(name), Stdio::null())
    }

    /// The same for a program that is told what to do while it runs.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn converse(&self, name: &str, command: Command) -> anyhow::Result<Process> {
        Process::start(command, self.log_of(name), Stdio::piped())
    }

    fn log_of(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}-{name}.log", self.namespace))
    }

    /// Runs `ip`.
    ///
    /// # Errors
    /// With what it said.
    pub fn ip(&self, arguments: &str) -> anyhow::Result<()> {
        let mut command = Command::new("ip");
        succeed(
            command
                .args(["-n", &self.namespace])
                .args(arguments.split(' ')),
        )
    }

    /// Writes a file below `/proc/sys`.
    ///
    /// # Errors
    /// With what the tool said.
    pub fn set(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let file = format!("/proc/sys/{name}");
        succeed(
            self.command("sh")
                .args(["-c", &format!("echo {value} > {file}")]),
        )
    }

    /// Waits until something listens on a TCP port here.
    ///
    /// # Errors
    /// After 20 seconds.
    pub fn wait_listening(&self, port: u16) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        let filter = format!("sport = :{port}");
        loop {
            let output = self.output(&["ss", "-Hltn", &filter])?;
            if !output.stdout.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("nothing listens on port {port} of {}", self.namespace);
            }
            pause();
        }
    }

    /// Waits until every TCP connection here has been closed by both sides.
    ///
    /// # Errors
    /// After 20 seconds, with those that are left.
    pub fn wait_quiet(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let output = self.output(&["ss", "-Htan"])?;
            let text = String::from_utf8_lossy(&output.stdout);
            let left: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with("LISTEN") && !line.starts_with("TIME-WAIT"))
                .collect();
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("connections are left in {}: {left:#?}", self.namespace);
            }
            pause();
        }
    }
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let output = command
        .output()
        .with_context(|| format!("{shown} cannot be run"))?;
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "{shown} failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
}

impl Drop for World {
    fn drop(&mut self) {
        for namespace in &self.namespaces {
            let _gone = Command::new("ip")
                .args(["netns", "del", namespace])
                .output();
        }
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reaches(from: &Host, address: &str) -> bool {
        from.output(&["ping", "-c1", "-w5", address])
            .is_ok_and(|output| output.status.success())
    }

    #[test]
    fn pods_and_the_outside_reach_each_other() -> anyhow::Result<()> {
        let mut world = World::new()?;
        let a = world.pod("a", Attach::Bridged)?;
        let b = world.pod("b", Attach::Bridged)?;
        let c = world.pod("c", Attach::Routed)?;
        for address in [&b.v4, &b.v6, &c.v4, &c.v6, "192.0.2.2", "2001:db8::2"] {
            assert!(reaches(&a.host, address), "a bridged pod to {address}");
        }
        for address in [&a.v4, &a.v6, "192.0.2.2", "2001:db8::2"] {
            assert!(reaches(&c.host, address), "a routed pod to {address}");
        }
        assert!(reaches(&world.outside(), &a.v4));
        assert!(reaches(&world.node(), &c.v6));
        Ok(())
    }

    #[test]
    fn everything_is_gone_in_the_end() -> anyhow::Result<()> {
        let world = World::new()?;
        let namespace = world.node().namespace;
        let mut sleeper = world.node().command("sleep");
        sleeper.arg("1000");
        let process = world.node().start("sleep", sleeper)?;
        let pid = process.pid();
        drop(process);
        drop(world);
        assert!(!PathBuf::from(format!("/proc/{pid}")).exists());
        assert!(!PathBuf::from(format!("/run/netns/{namespace}")).exists());
        Ok(())
    }
}
