//! What a process has used, as `/proc` tells it.

/// nginx works in a child; the others are the process itself.
pub(super) fn worker_pid(pid: u32) -> u32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let first = children
        .unwrap_or_default()
        .split_whitespace()
        .next()
        .and_then(|c| c.parse().ok());
    first.unwrap_or(pid)
}

/// User and system time of a process.
pub(super) fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum();
    // USER_HZ is 100 on every architecture that runs here.
    ticks / 100.0
}

pub(super) fn rss_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// Time that the whole machine has spent in softirq: the packets' own work, whoever caused it. The
/// row `direct` tells what of it client and server need anyway.
pub(super) fn softirq_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat
        .lines()
        .next()
        .and_then(|cpu| cpu.split_whitespace().nth(7))
        .and_then(|ticks| ticks.parse::<f64>().ok());
    ticks.unwrap_or(0.0) / 100.0
}

/// Time that no core was idle, since the start of the machine.
pub(super) fn busy_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: Vec<f64> = stat
        .lines()
        .next()
        .into_iter()
        .flat_map(|cpu| cpu.split_whitespace().skip(1))
        .filter_map(|ticks| ticks.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; what guests use is in user already.
    let busy = |(place, ticks): (usize, &f64)| if matches!(place, 3 | 4) { 0.0 } else { *ticks };
    ticks.iter().take(7).enumerate().map(busy).sum::<f64>() / 100.0
}

/// Time of the kernel programs that a process has loaded, while the kernel counts it.
pub(super) fn program_seconds(pid: u32) -> f64 {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fdinfo")) else {
        return 0.0;
    };
    let mut programs = std::collections::BTreeMap::new();
    for descriptor in descriptors.flatten() {
        let text = std::fs::read_to_string(descriptor.path()).unwrap_or_default();
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<u64>().ok())
        };
        if let (Some(program), Some(time)) = (number("prog_id:"), number("run_time_ns:")) {
            programs.insert(program, time);
        }
    }
    let total: u64 = programs.values().sum();
    std::time::Duration::from_nanos(total).as_secs_f64()
}

/// Time that all threads of a process have been on a core, to the nanosecond. Threads that have
/// ended are not in it.
pub(super) fn scheduled_seconds(pid: u32) -> f64 {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0.0;
    };
    let nanoseconds = threads.flatten().filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    std::time::Duration::from_nanos(nanoseconds.sum()).as_secs_f64()
}
