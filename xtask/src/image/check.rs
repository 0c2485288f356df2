//! Whether the image's root works as a container: the agent with the documented capabilities, the
//! relay without any, nothing of it writable; and whether others can read what we wrote.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use testbed::{Attach, Pod, Process, World};

use super::arch::Arch;
use super::container::{Container, Wanted};
use super::containerfile::Settings;
use super::debian::Freshness;
use super::{created, lay_out, oci, sbom, settings, tag};
use crate::run::{cargo, run as succeed, say, target, workspace};
use crate::{ebpf, setup};

/// Those of docs/rights.md, with what DNS through the proxy wants.
const CAPABILITIES: [&str; 4] = ["BPF", "NET_ADMIN", "NET_RAW", "PERFMON"];
/// Where the node's bpf filesystem is mounted, as the chart has it: the usual `AppArmor` profile for
/// containers forbids writing below `/sys`.
const BPF: &str = "/host/bpf";
/// Where the node's sysctls are mounted: `/proc/sys` is read-only.
const SYSCTLS: &str = "/host/proc/sys/net";

/// Builds a binary for tests, and checks the image that it makes.
pub(super) fn run() -> anyhow::Result<()> {
    setup::everything()?;
    ebpf::build()?;
    succeed(&mut cargo(&["build", "--quiet", "--package", "l7d"]))?;
    check_tested().map(drop)
}

/// Checks the image that the tested binary makes. Returns how many checks have passed.
pub(crate) fn check_tested() -> anyhow::Result<u64> {
    let place = target().join("image/check");
    let root = place.join("root");
    let created = created()?;
    let l7d = target().join("debug/l7d");
    lay_out(Arch::host(), &root, &l7d, Freshness::Any, &created)?;
    let settings = settings(&created)?;
    let image = Image {
        root,
        settings,
        place,
    };
    let mut passed = 0;
    for (what, check) in CHECKS {
        check(&image).with_context(|| format!("image: {what}"))?;
        say(&format!("image: {what}"));
        passed += 1;
    }
    Ok(passed)
}

/// A check of the image, by what it shows.
type Check = (&'static str, fn(&Image) -> anyhow::Result<()>);

const CHECKS: [Check; 7] = [
    ("other tools read the OCI layout", layout),
    ("the bill of materials is valid by CycloneDX's schema", bill),
    (
        "the root has no shell, and nothing that others may write",
        contents,
    ),
    (
        "the agent sees, judges and answers with four capabilities and a read-only root",
        agent,
    ),
    (
        "what cannot be written below /proc/sys is named with what to do",
        closed_sysctls,
    ),
    (
        "sysctls that are right already are left alone",
        right_sysctls,
    ),
    ("the relay needs neither root nor capabilities", relay),
];

struct Image {
    root: PathBuf,
    settings: Settings,
    /// Where checks write.
    place: PathBuf,
}

fn layout(image: &Image) -> anyhow::Result<()> {
    let layout = image.place.join("oci");
    let built = oci::Built {
        arch: Arch::host(),
        root: &image.root,
        settings: &image.settings,
    };
    oci::write(&layout, tag(), &[built])?;
    let name = format!("oci:{}:{}", layout.display(), tag());
    let told = super::output(Command::new("skopeo").args(["inspect", "--config", &name]))?;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    for (field, value) in [
        ("/config/User", image.settings.user.as_str()),
        ("/architecture", Arch::host().name()),
    ] {
        let read = told.pointer(field).and_then(serde_json::Value::as_str);
        anyhow::ensure!(read == Some(value), "{field}: {told}");
    }
    // Copying reads every blob and compares it with its digest.
    let copy = image.place.join("copy");
    if copy.exists() {
        std::fs::remove_dir_all(&copy)?;
    }
    super::output(
        Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--quiet", &name])
            .arg(format!("dir:{}", copy.display())),
    )
    .map(drop)
}

fn bill(image: &Image) -> anyhow::Result<()> {
    let script = "import sys\n\
        from cyclonedx.schema import SchemaVersion\n\
        from cyclonedx.validation.json import JsonStrictValidator\n\
        print(JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read()))";
    let told = super::output(
        Command::new(setup::cyclonedx())
            .args(["-c", script])
            .arg(image.root.join(sbom::PLACE)),
    )?;
    anyhow::ensure!(told.trim() == "None", "{told}");
    Ok(())
}

fn contents(image: &Image) -> anyhow::Result<()> {
    let list = |words: &[&str]| super::output(Command::new("find").arg(&image.root).args(words));
    let programs = list(&["-path", "*/*bin/*", "-printf", "%f\\n"])?;
    let mut programs: Vec<&str> = programs.lines().collect();
    programs.sort_unstable();
    anyhow::ensure!(programs == ["ip", "l7d", "nft", "tc"], "{programs:?}");
    let loose = list(&["-perm", "/go+w", "-not", "-type", "l"])?;
    anyhow::ensure!(loose.is_empty(), "{loose}");
    let privileged = list(&["-perm", "/u+s,g+s"])?;
    anyhow::ensure!(privileged.is_empty(), "{privileged}");
    Ok(())
}

/// A node with two pods, one of which serves HTTP; the agent's configuration lies ready.
struct Scene {
    // Dropped in this order.
    _server: Process,
    gateway: Pod,
    service: Pod,
    pins: PathBuf,
    world: World,
}

impl Scene {
    /// Sysctls are where `sysctls` is: a folder of the container.
    fn new(sysctls: &str) -> anyhow::Result<Self> {
        let mut world = World::new()?;
        let gateway = world.pod("api-gateway", Attach::Bridged)?;
        let service = world.pod("user-service", Attach::Bridged)?;
        let name = world.folder().file_name().unwrap_or_default().to_owned();
        let pins = Path::new("/sys/fs/bpf").join(&name);
        let within = Path::new(BPF).join(&name);
        for folder in ["config/policies", "run"] {
            std::fs::create_dir_all(world.folder().join(folder))?;
        }
        let mut config = format!(
            "node: test-node\n\
             datapath: {{ pinDir: {}, sysctlDir: {sysctls}, uplinks: auto }}\n\
             api: {{ tcp: {{ listen: \"127.0.0.1:4244\", insecure: true }} }}\n\
             visibility: [ {{ port: 80 }} ]\npolicies: {{ directory: /etc/l7d/policies }}\n\
             proxy: {{ workers: 1 }}\nendpoints:\n",
            within.display()
        );
        for pod in [&gateway, &service] {
            // As in a cluster: by the address alone.
            writeln!(
                config,
                "- {{ name: {}, namespace: prod-app, labels: {{ app: {} }}, ips: [{}], \
                 interface: auto }}",
                pod.name, pod.name, pod.v4
            )?;
        }
        let folder = world.folder().join("config");
        std::fs::write(folder.join("l7d.yaml"), config)?;
        std::fs::copy(
            workspace().join("demo/story-2-get-not-post.yaml"),
            folder.join("policies/policy.yaml"),
        )?;
        let mut server = service.host.command("python3");
        server.arg(workspace().join("demo/httpbin.py")).arg("80");
        let mut server = service.host.start("httpbin", server)?;
        server.wait_for("serving")?;
        Ok(Self {
            _server: server,
            gateway,
            service,
            pins,
            world,
        })
    }

    fn agent(&self, image: &Image) -> anyhow::Result<Container> {
        let folder = self.world.folder();
        let (config, run) = (folder.join("config"), folder.join("run"));
        let mounts = [
            (config.as_path(), "/etc/l7d", false),
            (run.as_path(), "/run/l7d", true),
            (Path::new("/sys/fs/bpf"), BPF, true),
            (Path::new("/proc/sys/net"), SYSCTLS, true),
        ];
        let wanted = Wanted {
            name: "agent",
            arguments: &["agent", "--config", "/etc/l7d/l7d.yaml"],
            user: Some((0, 0)),
            capabilities: &CAPABILITIES,
            mounts: &mounts,
        };
        let node = self.world.node();
        Container::start(&node, folder, &image.root, &image.settings, &wanted)
    }

    /// A request of the gateway's, and its status.
    fn ask(&self, path: &str, more: &[&str]) -> anyhow::Result<String> {
        let url = format!("http://{}{path}", self.service.v4);
        let words = [
            "curl",
            "-s",
            "-m",
            "5",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &url,
        ];
        let output = self.gateway.host.output(&[&words, more].concat())?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.pins);
    }
}

fn agent(image: &Image) -> anyhow::Result<()> {
    let scene = Scene::new(SYSCTLS)?;
    let mut agent = scene.agent(image)?;
    agent.process.wait_for("l7d: ready")?;
    anyhow::ensure!(scene.ask("/get", &[])? == "200", "GET /get");
    anyhow::ensure!(scene.ask("/post", &["-d", "x"])? == "403", "POST /post");
    let (is_well, status) = agent.l7d(&["status"])?;
    anyhow::ensure!(is_well, "{status}");
    let seen = ["observe", "--protocol", "http", "--print-policy-names"];
    let (_, flows) = agent.l7d(&seen)?;
    for line in ["GET http://10.244.1.11/get)", "http-request DROPPED"] {
        anyhow::ensure!(flows.contains(line), "{flows}");
    }
    anyhow::ensure!(!status.contains("CAP_NET_RAW"), "{status}");
    let log = agent.process.output();
    anyhow::ensure!(!log.contains('\u{1b}'), "colours in the log: {log:?}");
    anyhow::ensure!(agent.stop()?.success(), "the agent's exit code");
    Ok(())
}

fn closed_sysctls(image: &Image) -> anyhow::Result<()> {
    let scene = Scene::new("/proc/sys/net")?;
    scene.world.node().set("net/ipv4/tcp_early_demux", "1")?;
    let mut agent = scene.agent(image)?;
    agent
        .process
        .wait_for("name that folder in datapath.sysctlDir")?;
    anyhow::ensure!(!agent.process.wait()?.success(), "it goes on");
    Ok(())
}

fn right_sysctls(image: &Image) -> anyhow::Result<()> {
    let scene = Scene::new("/proc/sys/net")?;
    let node = scene.world.node();
    for (name, value) in [
        ("tcp_early_demux", "0"),
        ("conf/all/rp_filter", "0"),
        ("conf/default/rp_filter", "0"),
        ("conf/all/accept_local", "1"),
    ] {
        node.set(&format!("net/ipv4/{name}"), value)?;
    }
    for interface in [&scene.gateway.interface, &scene.service.interface, "uplink"] {
        node.set(&format!("net/ipv4/conf/{interface}/rp_filter"), "0")?;
    }
    let mut agent = scene.agent(image)?;
    agent.process.wait_for("l7d: ready")?;
    anyhow::ensure!(scene.ask("/get", &[])? == "200", "GET /get");
    let state = scene.world.folder().join("run/host-network.json");
    anyhow::ensure!(!state.exists(), "it has changed something");
    Ok(())
}

fn relay(image: &Image) -> anyhow::Result<()> {
    let scene = Scene::new(SYSCTLS)?;
    let mut agent = scene.agent(image)?;
    agent.process.wait_for("l7d: ready")?;
    anyhow::ensure!(scene.ask("/get", &[])? == "200", "GET /get");
    let wanted = Wanted {
        name: "relay",
        arguments: &["relay", "--peer", "test-node=127.0.0.1:4244"],
        user: None,
        capabilities: &[],
        mounts: &[],
    };
    let node = scene.world.node();
    let folder = scene.world.folder();
    let relay = Container::start(&node, folder, &image.root, &image.settings, &wanted)?;
    node.wait_listening(4245)?;
    let words = [
        "observe",
        "--server",
        "localhost:4245",
        "--protocol",
        "http",
    ];
    // Until the relay has reached the agent.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let (_, flows) = relay.l7d(&words)?;
        if flows.contains("GET http://10.244.1.11/get)") {
            break;
        }
        anyhow::ensure!(Instant::now() < deadline, "{flows}");
    }
    let (is_well, status) = relay.l7d(&["status", "--server", "localhost:4245"])?;
    anyhow::ensure!(is_well, "{status}");
    Ok(())
}
