//! Clock, memory, descriptors.

use rustix::process::{Resource, getrlimit};

use super::{clock, field, text};
use crate::cli::doctor::facts::Machine;
use crate::clock::Timestamp;

pub(super) fn gather() -> Machine {
    let Timestamp(nanos) = Timestamp::now();
    Machine {
        time: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
        is_synchronised: clock::is_synchronised(),
        memory: text("/proc/meminfo").as_deref().and_then(available),
        memory_left: left(),
        descriptors: Some(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)),
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
    #[test]
    fn free_memory_is_what_can_be_had() {
        let text =
            "MemTotal:       24684092 kB\nMemFree:         1000 kB\nMemAvailable:   2000 kB\n";
        assert_eq!(super::available(text), Some(2_048_000));
        assert_eq!(super::available("MemTotal: 1 kB\n"), None);
    }
}
