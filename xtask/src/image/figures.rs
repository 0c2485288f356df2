//! How large an image is, and how fast its binary starts.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use testbed::{Attach, World};

use super::arch::Arch;
use crate::run::say;

/// So many starts; the middle one is told.
const STARTS: usize = 21;
const MIB: f64 = 1024.0 * 1024.0;

/// Prints what there is to say of one machine's image.
#[expect(clippy::print_stdout, reason = "figures are this command's result")]
pub(super) fn report(arch: Arch, root: &Path, layer: u64) -> anyhow::Result<()> {
    let l7d = root.join("usr/bin/l7d");
    println!("image for {}:", arch.name());
    println!(
        "  binary             {:.1} MiB",
        mebibytes(l7d.metadata()?.len())
    );
    println!("  all files          {:.1} MiB", mebibytes(size(root)?));
    println!("  layer, compressed  {:.1} MiB", mebibytes(layer));
    if !arch.is_host() {
        say("what another machine's binary does is not measured here");
        return Ok(());
    }
    let version = starts(|| start(Command::new(&l7d).arg("--version")))?;
    println!("  l7d --version      {:.1} ms", millis(version));
    let scene = Scene::new()?;
    let check = starts(|| {
        start(
            Command::new(&l7d)
                .args(["agent", "--check", "--config"])
                .arg(&scene.config),
        )
    })?;
    println!("  l7d agent --check  {:.1} ms", millis(check));
    let (first, resident) = scene.first_answer(&l7d)?;
    println!(
        "  first API answer   {:.0} ms after the agent's start",
        millis(first)
    );
    println!("  resident then      {resident}");
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure to read")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn size(folder: &Path) -> anyhow::Result<u64> {
    let told = super::output(
        Command::new("du")
            .args(["--apparent-size", "-sb"])
            .arg(folder),
    )?;
    let bytes = told.split_whitespace().next().context("du")?;
    Ok(bytes.parse()?)
}

fn starts(run: impl Fn() -> anyhow::Result<Duration>) -> anyhow::Result<Duration> {
    let mut times = (0..STARTS)
        .map(|_| run())
        .collect::<anyhow::Result<Vec<_>>>()?;
    times.sort_unstable();
    times.get(STARTS / 2).copied().context("a time")
}

fn start(command: &mut Command) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let status = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    let took = began.elapsed();
    anyhow::ensure!(status.success(), "{command:?}: {status}");
    Ok(took)
}

/// A node with a pod, and an agent's configuration.
struct Scene {
    config: std::path::PathBuf,
    socket: std::path::PathBuf,
    pins: std::path::PathBuf,
    world: World,
}

impl Scene {
    fn new() -> anyhow::Result<Self> {
        let mut world = World::new()?;
        let pod = world.pod("web", Attach::Bridged)?;
        let folder = world.folder().clone();
        let pins = Path::new("/sys/fs/bpf").join(folder.file_name().unwrap_or_default());
        let socket = folder.join("l7d.sock");
        let config = folder.join("l7d.yaml");
        let text = format!(
            "api: {{ socket: {} }}\nruntimeDir: {}\ndatapath: {{ pinDir: {}, uplinks: [uplink] }}\n\
             visibility: [ {{ port: 80 }} ]\nendpoints:\n\
             - {{ name: web, namespace: shop, ips: [{}], interface: {} }}\n",
            socket.display(),
            folder.display(),
            pins.display(),
            pod.v4,
            pod.interface
        );
        std::fs::write(&config, text)?;
        Ok(Self {
            config,
            socket,
            pins,
            world,
        })
    }

    /// From the start of an agent to the first answer that a client has of it, with the client's
    /// own start; and the memory that the agent has then.
    fn first_answer(&self, l7d: &Path) -> anyhow::Result<(Duration, String)> {
        let node = self.world.node();
        let program = l7d.display().to_string();
        let server = format!("unix://{}", self.socket.display());
        let mut command = node.command(&program);
        command.args(["agent", "--config"]).arg(&self.config);
        let began = Instant::now();
        let agent = node.start("agent", command)?;
        while !Command::new(l7d)
            .args(["status", "--server", &server])
            .output()?
            .status
            .success()
        {
            anyhow::ensure!(
                began.elapsed() < Duration::from_mins(1),
                "{}",
                agent.output()
            );
        }
        let took = began.elapsed();
        let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid()))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok((took, resident.unwrap_or("?").trim().to_owned()))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.pins);
    }
}
