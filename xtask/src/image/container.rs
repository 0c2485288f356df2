//! The image's root run as a container by an OCI runtime, crun: what Kubernetes has run, without
//! the engine around it. The runtime's defaults are those of every container that is not
//! privileged: `/proc/sys` read-only, parts of `/proc` masked, no capability that is not named.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde_json::{Value, json};
use testbed::{Host, Process};

use super::containerfile::Settings;

/// Where runtimes keep cgroups of both versions, crun takes none; a mount namespace of its own has
/// the later ones alone.
const CRUN: &str = "if [ -d /sys/fs/cgroup/unified ]; then \
     mount --rbind /sys/fs/cgroup/unified /sys/fs/cgroup; fi; exec crun \"$@\"";

/// How a container is run.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: &'a [&'a str],
    /// `None`: the image's own.
    pub(super) user: Option<(u32, u32)>,
    pub(super) capabilities: &'a [&'a str],
    /// What is mounted: from where, to where, and whether it may be written.
    pub(super) mounts: &'a [(&'a Path, &'a str, bool)],
}

/// A container that is there.
pub(super) struct Container {
    state: PathBuf,
    name: String,
    pub(super) process: Process,
}

impl Container {
    /// Starts one in a host's network, with a read-only root.
    pub(super) fn start(
        host: &Host,
        folder: &Path,
        root: &Path,
        settings: &Settings,
        wanted: &Wanted<'_>,
    ) -> anyhow::Result<Self> {
        let bundle = folder.join(wanted.name);
        std::fs::create_dir_all(&bundle)?;
        let spec = spec(host, root, settings, wanted)?;
        std::fs::write(bundle.join("config.json"), format!("{spec:#}"))?;
        let state = folder.join("crun");
        let name = format!("{}-{}", host.namespace(), wanted.name);
        let mut command = crun(&state);
        command.arg("run").arg("--bundle").arg(bundle).arg(&name);
        // The mount namespace is left as it is; crun enters the network by itself.
        let process = host.start(wanted.name, command)?;
        Ok(Self {
            state,
            name,
            process,
        })
    }

    /// Runs the command line in the container, and gives back whether it succeeded and what it
    /// wrote.
    pub(super) fn l7d(&self, words: &[&str]) -> anyhow::Result<(bool, String)> {
        let output = crun(&self.state)
            .args(["exec", &self.name, "/usr/bin/l7d"])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .context("crun exec")?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Ok((output.status.success(), text))
    }

    /// Tells it to stop, as Kubernetes does, and waits for it.
    pub(super) fn stop(mut self) -> anyhow::Result<std::process::ExitStatus> {
        super::output(crun(&self.state).args(["kill", &self.name, "TERM"]))?;
        self.process.wait()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // crun's end is not the container's; one that has ended is no fault.
        let delete = ["delete", "--force", &self.name];
        let _gone = crun(&self.state).args(delete).output();
    }
}

fn crun(state: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "sh",
            "-c",
            CRUN,
            "crun",
            "--cgroup-manager=disabled",
            "--root",
        ])
        .arg(state);
    command
}

/// The runtime's configuration: <https://github.com/opencontainers/runtime-spec>.
fn spec(
    host: &Host,
    root: &Path,
    settings: &Settings,
    wanted: &Wanted<'_>,
) -> anyhow::Result<Value> {
    let user = match wanted.user {
        Some(user) => user,
        None => numbers(&settings.user)?,
    };
    let own: Vec<&str> = settings.entrypoint.iter().map(String::as_str).collect();
    let arguments = [own.as_slice(), wanted.arguments].concat();
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "mode=755", "size=65536k"] }),
        json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"] }),
    ];
    for (from, to, is_writable) in wanted.mounts {
        let access = if *is_writable { "rw" } else { "ro" };
        mounts.push(json!({ "destination": to, "type": "bind", "source": from,
            "options": ["rbind", access] }));
    }
    let names: Vec<String> = wanted
        .capabilities
        .iter()
        .map(|name| format!("CAP_{name}"))
        .collect();
    // A runtime gives capabilities to root alone: the ambient set stays empty.
    let sets = json!({ "bounding": names, "effective": names, "permitted": names });
    Ok(json!({
        "ociVersion": "1.0.0",
        "process": {
            "terminal": false,
            "user": { "uid": user.0, "gid": user.1 },
            "args": arguments,
            "env": settings.env,
            "cwd": "/",
            "capabilities": sets,
            "noNewPrivileges": true,
        },
        "root": { "path": root, "readonly": true },
        "hostname": wanted.name,
        "mounts": mounts,
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "network", "path": format!("/run/netns/{}", host.namespace()) },
            ],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
                "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                "/proc/sysrq-trigger"],
        },
    }))
}

fn numbers(user: &str) -> anyhow::Result<(u32, u32)> {
    let (user, group) = user.split_once(':').context("USER has a group")?;
    Ok((user.parse()?, group.parse()?))
}
