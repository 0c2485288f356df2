//! Clock, memory, descriptors.

use crate::cli::doctor::facts::{Disk, Facts};
use crate::cli::doctor::report::{Finding, Function, State};
use crate::config::Config;

/// Before this no binary of this version was built: the first second of 2026, in UTC.
const EARLIEST: i64 = 1_767_225_600;
/// The kernel's structures for a connection, and for an entry of a trie (`docs/defaults.md`).
const CONNECTION_BYTES: u64 = 640;
const ENTRY_BYTES: u64 = 44;
/// What the process takes beside: code, stacks, types of the kernel, identities.
const PROCESS_BYTES: u64 = 64 << 20;
const MIB: u64 = 1 << 20;
/// With fewer the proxy refuses connections early: two for each.
const DESCRIPTORS: u64 = 65_536;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![clock(facts)];
    findings.extend(synchronised(facts));
    findings.push(memory(facts));
    findings.extend(descriptors(facts));
    findings.extend(state(facts));
    findings
}

fn clock(facts: &Facts) -> Finding {
    const CHECK: &str = "machine.clock";
    let time = jiff::Timestamp::from_second(facts.machine.time);
    let shown = time.map_or_else(|_| facts.machine.time.to_string(), |time| time.to_string());
    if facts.machine.time >= EARLIEST {
        return Finding::ok(CHECK, shown);
    }
    Finding::ok(CHECK, shown)
        .no("the clock is wrong: flows have wrong times, and certificates are refused")
        .advise("set it, by NTP (chrony, systemd-timesyncd)")
        .on(&[Function::Clients, Function::Cluster], State::Part)
}

fn synchronised(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "machine.ntp";
    Some(if facts.machine.is_synchronised? {
        Finding::ok(CHECK, "the clock is synchronised")
    } else {
        Finding::ok(CHECK, "the kernel says that its clock follows nobody's")
            .part("flows of several nodes may be told in another order than they happened in")
            .advise("run chrony or systemd-timesyncd on the node")
    })
}

/// What the kernel takes at the start, and when its tables are full.
fn maps(config: &Config) -> (u64, u64) {
    let datapath = &config.datapath;
    let start = u64::from(datapath.connections) * CONNECTION_BYTES
        + u64::from(datapath.ring_bytes)
        + u64::from(config.tap.ring_bytes);
    let entries = u64::from(datapath.policy_entries) + u64::from(datapath.ipcache_entries);
    (start, start + entries * ENTRY_BYTES)
}

fn memory(facts: &Facts) -> Finding {
    const CHECK: &str = "machine.memory";
    let config = &facts.configured.config;
    let (start, full) = maps(config);
    let process = PROCESS_BYTES + config.flows.ring_bytes;
    let is_running = facts.agent.running.seen().is_some_and(Option::is_some);
    let (start, full) = if is_running {
        // What is there already is not asked for again.
        (0, full - start)
    } else {
        (start + process, full + process)
    };
    let mib = |bytes: u64| bytes.div_ceil(MIB);
    let Some(free) = [facts.machine.memory, facts.machine.memory_left]
        .into_iter()
        .flatten()
        .min()
    else {
        return Finding::unseen(CHECK, "/proc/meminfo cannot be read");
    };
    let at_start = if is_running {
        String::new()
    } else {
        format!(" {} MiB at the start,", mib(start))
    };
    let (free_mib, more) = (mib(free), mib(full - start));
    let found = Finding::ok(
        CHECK,
        format!("{free_mib} MiB free;{at_start} {more} MiB more when all maps are full"),
    );
    let advice = "less in datapath.connections, datapath.policyEntries, datapath.ipcacheEntries or the \
                  rings, or more memory";
    if start > free {
        found
            .no("maps of this size cannot be made")
            .advise(advice)
            .on(&Function::OF_PACKETS, State::No)
    } else if full > free {
        found
            .part("when the maps fill up, memory runs out before they are full")
            .advise(advice)
            .on(&[Function::Packets], State::Part)
    } else {
        found
    }
}

fn descriptors(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "machine.descriptors";
    let most = facts.machine.descriptors?;
    let found = Finding::ok(CHECK, format!("at most {most} open files"));
    Some(if most < DESCRIPTORS {
        found
            .part(format!(
                "at most some {} connections through the proxy: two files each",
                most / 2
            ))
            .advise("LimitNOFILE=1048576 in the unit, or the runtime's limit")
            .on(&[Function::Proxy], State::Part)
    } else {
        found
    })
}

/// Only who follows a cluster keeps anything there.
fn state(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "machine.state";
    /// What a cluster of 5,000 pods takes twice: the former file stays until the next one is whole.
    const ENOUGH: u64 = 64 * MIB;
    let config = &facts.configured.config;
    config.kubernetes.as_ref()?;
    let folder = config.state_dir.display();
    let missed = |found: String, advice: &str| {
        Finding::ok(CHECK, found)
            .part("an agent that starts while the API server is away knows nothing of the cluster, or what is old")
            .advise(advice)
            .on(&[Function::Cluster], State::Part)
    };
    Some(match &facts.machine.state {
        Disk::Silent => missed(
            format!("the disk of {folder} does not answer"),
            "mend the disk, or another stateDir",
        ),
        Disk::Unwritable(cause) => missed(
            cause.clone(),
            "stateDir where the agent may write: a hostPath in a cluster, StateDirectory= in a unit",
        ),
        Disk::Writable { free } if *free < ENOUGH => missed(
            format!("{} MiB free for {folder}", free / MIB),
            "make room, or another stateDir",
        ),
        Disk::Writable { free } => {
            Finding::ok(CHECK, format!("{} MiB free for {folder}", free / MIB))
        }
    })
}
