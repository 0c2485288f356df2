//! Disks that are full, read-only, or do not answer, under the folder in which an agent keeps what the cluster
//! has told.
//!
//! `L7D_TEST_DISKS` makes it longer: `cargo xtask soak disk`.
#![expect(clippy::indexing_slicing, reason = "JSON that lacks something is null")]

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::policies::answer;
use super::remembered::{end, folder, guarded, status};
use super::{Cluster, object};
use crate::node::{from_environment, serve, wait_until};

/// How often, where nothing else is asked for.
fn turns() -> anyhow::Result<usize> {
    from_environment("L7D_TEST_DISKS", 1)
}

/// A file system of its own, until dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: PathBuf, options: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&at)?;
        let mounted = Self(at);
        mounted.mount(&["-t", "tmpfs", "-o", options, "l7d-test"])?;
        Ok(mounted)
    }

    fn remount(&self, options: &str) -> anyhow::Result<()> {
        self.mount(&["-o", &format!("remount,{options}")])
    }

    fn mount(&self, words: &[&str]) -> anyhow::Result<()> {
        let done = Command::new("mount").args(words).arg(&self.0).output()?;
        anyhow::ensure!(done.status.success(), "{done:?}");
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

#[test]
fn a_disk_that_cannot_be_written_to_stops_nothing_and_is_told() -> anyhow::Result<()> {
    let cluster = guarded()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    let disk = Mounted::new(cluster.node.world.folder().join("state"), "size=4k")?;
    let _agent = cluster.node.agent()?;
    wait_until(|| answer(&cluster, "other", "/"), |code| code == "curl 28")?;
    let told = || status(&cluster);
    wait_until(told, |told| told.contains("No space left on device"))?;
    disk.remount("ro,size=1m")?;
    wait_until(told, |told| told.contains("Read-only file system"))?;
    assert_eq!(answer(&cluster, "client", "/"), "200");
    disk.remount("rw,size=1m")?;
    wait_until(told, |told| {
        told.contains("Kept on disk: ") && !told.contains("Not kept on disk")
    })?;
    Ok(())
}

/// Takes all room of a disk but so many bytes.
fn fill(disk: &Mounted, left: u64) -> anyhow::Result<PathBuf> {
    let path = disk.0.join("filler");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    let bytes = file.metadata()?.len();
    file.set_len(bytes.saturating_sub(left))?;
    Ok(path)
}

/// Files as they are, whole ones alone.
fn files(cluster: &Cluster) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder(cluster))? {
        let path = entry?.path();
        if path.extension().is_none() {
            files.insert(path.clone(), std::fs::read(path)?);
        }
    }
    Ok(files)
}

/// What is told of what is kept.
fn kept(cluster: &Cluster, name: &str) -> anyhow::Result<Value> {
    let status: Value = serde_json::from_str(&cluster.node.l7d("status", &["-o", "json"])?)?;
    let told = status.pointer(&format!("/l7d/cluster/state/{name}"));
    Ok(told.cloned().unwrap_or_default())
}

/// Another node's pods, whose objects take some ten kilobytes.
fn crowd(cluster: &Cluster) -> anyhow::Result<()> {
    let pod = cluster.node.pod("server");
    for number in 0..40 {
        let mut one = object(&format!("far-{number}"), "far", pod);
        let address = format!("10.250.0.{number}");
        one["spec"]["nodeName"] = json!("elsewhere");
        one["status"]["podIP"] = json!(address);
        one["status"]["podIPs"] = json!([{ "ip": address }]);
        for label in ["a", "b", "c"] {
            one["metadata"]["labels"][label] = json!("x".repeat(60));
        }
        cluster.put(&one)?;
    }
    Ok(())
}

#[test]
fn a_disk_that_fills_in_the_middle_of_a_file_keeps_the_former_one() -> anyhow::Result<()> {
    let cluster = guarded()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    let disk = Mounted::new(cluster.node.world.folder().join("state"), "size=1m")?;
    let mut agent = cluster.node.agent()?;
    let other = || answer(&cluster, "other", "/");
    let told = || status(&cluster);
    for _ in 0..turns()? {
        wait_until(other, |code| code == "curl 28")?;
        wait_until(told, |told| {
            told.contains("Kept on disk: ") && !told.contains("Not kept on disk")
        })?;
        let former = files(&cluster)?;
        assert_eq!(former.len(), 9, "{:?}", former.keys());
        // Some of what is to be written finds room, the rest does not.
        let filler = fill(&disk, 8 << 10)?;
        crowd(&cluster)?;
        wait_until(told, |told| told.contains("No space left on device"))?;
        assert!(kept(&cluster, "failures")?.as_u64() > Some(0));
        // What is told goes on to be in force.
        cluster.put(&object("other", "client", cluster.node.pod("other")))?;
        wait_until(other, |code| code == "200")?;
        assert!(files(&cluster)? == former, "a file was touched");

        // Killed now, it begins with the former files.
        cluster.api.stop();
        agent.process.signal(Signal::KILL)?;
        agent.process.wait()?;
        cluster.node.cleanup()?;
        agent = cluster.node.agent()?;
        assert!(told().contains("in force as they were kept on disk, 20"));
        assert_eq!(other(), "curl 28");
        assert_eq!(answer(&cluster, "client", "/"), "200");

        cluster.api.resume()?;
        wait_until(other, |code| code == "200")?;
        std::fs::remove_file(filler)?;
        cluster.put(&object("other", "other", cluster.node.pod("other")))?;
        wait_until(told, |told| !told.contains("Not kept on disk"))?;
        // Nothing more is to be written then.
        let pods = folder(&cluster).join("Pod");
        let pods =
            || String::from_utf8_lossy(&std::fs::read(&pods).unwrap_or_default()).into_owned();
        let is_last =
            |line: &str| line.contains(r#""name":"other""#) && line.contains(r#""app":"other""#);
        wait_until(pods, |pods| pods.lines().any(is_last))?;
    }
    end(&cluster, agent)
}

/// A file system that never answers, until dropped: everything that is asked of it waits, and can only be
/// killed. It is one of FUSE (`fuse.rst`) whose requests nobody reads.
struct Hung {
    at: PathBuf,
    device: Option<File>,
}

impl Hung {
    fn new(at: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&at)?;
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")
            .context("/dev/fuse")?;
        let descriptor = device.as_raw_fd();
        let options = format!("fd={descriptor},rootmode=40000,user_id=0,group_id=0");
        let options = std::ffi::CString::new(options)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("l7d-test", &at, "fuse", flags, Some(options.as_c_str()))?;
        Ok(Self {
            at,
            device: Some(device),
        })
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // Whoever waits is told that nobody is there.
        self.device = None;
        let _gone = unmount(&self.at, UnmountFlags::DETACH);
    }
}

#[test]
fn a_disk_that_does_not_answer_stops_neither_start_nor_policies_nor_takeover_nor_end()
-> anyhow::Result<()> {
    let cluster = guarded()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    let state = cluster.node.world.folder().join("state");
    let disk = Hung::new(state.clone())?;
    let mut agent = cluster.node.agent()?;
    let left_out = format!("{}: the disk did not answer when", state.display());
    agent.process.wait_for(&left_out)?;
    agent.process.wait_for("cannot be read: ")?;
    let other = || answer(&cluster, "other", "/");
    wait_until(other, |code| code == "curl 28")?;
    assert_eq!(answer(&cluster, "client", "/"), "200");
    let told = || status(&cluster);
    wait_until(told, |told| told.contains("the disk has not answered for"))?;
    assert!(told().contains(&left_out), "{}", told());
    assert!(kept(&cluster, "unansweredSeconds")?.as_u64() >= Some(5));

    // Who has not given up files waits for the same disk elsewhere.
    cluster
        .node
        .configure("visibility: [ { port: 80, mode: proxy } ]\nrights: { landlock: false }\n")?;
    for _ in 0..turns()? {
        let mut next = cluster.node.start_agent()?;
        next.process.wait_for("no answer within 5s")?;
        next.process.wait_for("took over from the agent")?;
        next.process.wait_for("l7d: ready")?;
        assert!(agent.process.wait()?.success());
        agent = next;
        assert_eq!(other(), "curl 28");
    }
    cluster.put(&object("other", "client", cluster.node.pod("other")))?;
    wait_until(other, |code| code == "200")?;
    agent.process.signal(Signal::TERM)?;
    assert!(agent.process.wait()?.success());
    drop(disk);
    Ok(())
}

#[test]
fn a_disk_that_no_longer_answers_is_told_until_it_does() -> anyhow::Result<()> {
    let cluster = guarded()?;
    let _server = serve(&cluster.node.pod("server").host, 80)?;
    let mut agent = cluster.node.agent()?;
    let other = || answer(&cluster, "other", "/");
    let told = || status(&cluster);
    for turn in 1..=turns()? {
        wait_until(other, |code| code == "curl 28")?;
        wait_until(told, |told| {
            told.contains("Kept on disk: ") && !told.contains("Not kept on disk")
        })?;
        let disk = Hung::new(cluster.node.world.folder().join("state"))?;
        cluster.put(&object("other", "client", cluster.node.pod("other")))?;
        wait_until(other, |code| code == "200")?;
        agent
            .process
            .wait_for_count("the disk does not answer; what", turn)?;
        wait_until(told, |told| told.contains("the disk has not answered for"))?;
        cluster.put(&object("other", "other", cluster.node.pod("other")))?;
        wait_until(other, |code| code == "curl 28")?;
        drop(disk);
        agent
            .process
            .wait_for_count("the disk answers again", turn)?;
        wait_until(told, |told| !told.contains("Not kept on disk"))?;
    }
    end(&cluster, agent)
}
