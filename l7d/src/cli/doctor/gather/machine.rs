//! Clock, memory, descriptors.

use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access, statvfs};
use rustix::process::{Resource, getrlimit};

use super::{clock, field, text};
use crate::cli::doctor::facts::{Disk, Machine};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::patience::within;

pub(super) fn gather(config: &Config) -> Machine {
    let Timestamp(nanos) = Timestamp::now();
    Machine {
        time: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
        is_synchronised: clock::is_synchronised(),
        memory: text("/proc/meminfo").as_deref().and_then(available),
        memory_left: left(),
        descriptors: Some(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)),
        state: disk(&config.state_dir),
    }
}

fn disk(folder: &Path) -> Disk {
    const PATIENCE: Duration = Duration::from_secs(2);
    let folder = folder.to_owned();
    within(PATIENCE, "l7d-disk", move || look_at(&folder)).unwrap_or(Disk::Silent)
}

/// The folder, or that of its parents which is there: the agent makes the others.
fn look_at(folder: &Path) -> Disk {
    let there = folder.ancestors().find(|path| path.exists());
    let there = there.unwrap_or(folder);
    let fault = |error: rustix::io::Errno| {
        let error = std::io::Error::from(error);
        Disk::Unwritable(format!("{}: {error}", there.display()))
    };
    if let Err(error) = access(there, Access::WRITE_OK) {
        return fault(error);
    }
    match statvfs(there) {
        Ok(found) => Disk::Writable {
            free: found.f_bavail.saturating_mul(found.f_frsize),
        },
        Err(error) => fault(error),
    }
}

fn available(meminfo: &str) -> Option<u64> {
    let kib = field(meminfo, "MemAvailable")?.strip_suffix("kB")?;
    kib.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What the limit of the cgroup leaves that is the outermost one seen from here: in a container, its own.
fn left() -> Option<u64> {
    let read = |file: &str| text(file)?.parse::<u64>().ok();
    let of = |max: &str, used: &str| Some(read(max)?.saturating_sub(read(used)?));
    of("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current").or_else(|| {
        of(
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_on_the_disk_of_its_parent() {
        let folder = tempfile::tempdir().expect("a folder");
        let found = disk(&folder.path().join("some/where"));
        assert!(
            matches!(found, Disk::Writable { free } if free > 0),
            "{found:?}"
        );
        let found = disk(Path::new("/proc/1"));
        assert!(matches!(found, Disk::Unwritable(_)), "{found:?}");
    }

    #[test]
    fn free_memory_is_what_can_be_had() {
        let text =
            "MemTotal:       24684092 kB\nMemFree:         1000 kB\nMemAvailable:   2000 kB\n";
        assert_eq!(available(text), Some(2_048_000));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
    }
}
