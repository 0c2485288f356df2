//! The kernel.

use crate::cli::doctor::facts::{Facts, Feature};
use crate::cli::doctor::report::{Finding, Function, State};
use crate::config::KernelFeature;
use crate::datapath::features;

/// The oldest kernel that l7d runs on.
const OLDEST: (u32, u32) = (5, 9);

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let kernel = &facts.kernel;
    let mut findings = vec![version(&kernel.release), needed(&kernel.features)];
    let optional = kernel.features.iter().filter(|feature| !feature.is_needed);
    findings.extend(optional.map(replaced));
    findings.extend(programs(kernel.has_programs));
    findings.push(filesystem(facts));
    findings.push(cgroup(facts));
    findings.extend(jit(kernel.jit));
    findings
}

fn version(release: &str) -> Finding {
    let found = Finding::ok("kernel.version", release);
    if features::is_at_least(release, OLDEST) {
        return found;
    }
    let (major, minor) = OLDEST;
    found
        .no(format!("older than {major}.{minor}"))
        .advise("docs/kernels.md says what each version has")
        .on(&Function::OF_PACKETS, State::No)
}

fn needed(features: &[Feature]) -> Finding {
    const CHECK: &str = "kernel.needed";
    let needed = || features.iter().filter(|feature| feature.is_needed);
    let missing: Vec<&Feature> = needed().filter(|of| of.is_there == Some(false)).collect();
    if let Some(first) = missing.first() {
        let names: Vec<&str> = missing.iter().map(|of| of.name.as_str()).collect();
        return Finding::ok(CHECK, format!("no {}", names.join(", ")))
            .no(first.otherwise.clone())
            .advise("a kernel with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF")
            .on(&Function::OF_PACKETS, State::No);
    }
    if needed().any(|of| of.is_there.is_none()) {
        return Finding::unseen(
            CHECK,
            "run it with CAP_BPF and CAP_NET_ADMIN: the kernel is asked by loading small programs",
        )
        .on(&Function::OF_PACKETS, State::Unseen);
    }
    Finding::ok(
        CHECK,
        format!("all {} that nothing replaces", needed().count()),
    )
}

fn replaced(feature: &Feature) -> Finding {
    let (check, affected): (_, &[Function]) = match feature.replaced {
        Some(KernelFeature::Tcx) => ("kernel.tcx", &[]),
        Some(KernelFeature::ReuseportAssign) => ("kernel.reuseport-assign", &[]),
        Some(KernelFeature::CgroupHooks) => ("kernel.cgroup-hooks", &[Function::Host]),
        Some(KernelFeature::CoarseClock) => ("kernel.coarse-clock", &[]),
        Some(KernelFeature::Btf) => ("kernel.btf", &[Function::Drops]),
        Some(KernelFeature::ConntrackNetlink) => {
            ("kernel.conntrack-netlink", &[Function::Services])
        }
        None if feature.name.starts_with("IPv6") => ("kernel.ipv6", &[]),
        None => ("kernel.ipvs-conntrack", &[]),
    };
    match feature.is_there {
        Some(true) => Finding::ok(check, feature.name.clone()),
        None => Finding::unseen(
            check,
            format!("{}: run it with CAP_BPF and CAP_NET_ADMIN", feature.name),
        ),
        Some(false) => {
            let finding = Finding::ok(check, format!("not there: {}", feature.name));
            // What takes the place of the others does all of it, or it is not missed where it is not used.
            let effect = match feature.replaced {
                Some(KernelFeature::Btf | KernelFeature::CgroupHooks) => State::No,
                Some(KernelFeature::ConntrackNetlink) => State::Part,
                Some(_) | None => {
                    return Finding {
                        meaning: feature.otherwise.clone(),
                        ..finding
                    };
                }
            };
            finding
                .part(feature.otherwise.clone())
                .advise("docs/kernels.md says which kernels have it; of a distribution's, perhaps a module")
                .on(affected, effect)
        }
    }
}

fn programs(are_there: bool) -> Option<Finding> {
    (!are_there).then(|| {
        Finding::ok("kernel.programs", "not in this binary")
            .no("an agent of it would not start")
            .advise("build it with `cargo xtask ebpf` first, or take a release")
            .on(&Function::OF_PACKETS, State::No)
    })
}

fn filesystem(facts: &Facts) -> Finding {
    const CHECK: &str = "kernel.bpf-filesystem";
    let folder = facts.configured.config.datapath.pin_dir.display();
    if facts.kernel.has_bpf_filesystem {
        return Finding::ok(CHECK, format!("{folder}"));
    }
    Finding::ok(CHECK, format!("{folder} is in none"))
        .no("programs and maps cannot be pinned: the agent does not start")
        .advise(
            "mount -t bpf bpf /sys/fs/bpf, on the node; in a container, mount the node's and name \
                 it in datapath.pinDir",
        )
        .on(&Function::OF_PACKETS, State::No)
}

fn cgroup(facts: &Facts) -> Finding {
    const CHECK: &str = "kernel.cgroup-v2";
    let host = &facts.configured.config.host;
    match host.cgroup.as_ref().or(facts.kernel.cgroup.as_ref()) {
        Some(folder) => Finding::ok(CHECK, folder.display().to_string()),
        None if host.ports.is_empty() => {
            Finding::ok(CHECK, "not mounted; host.ports would need it")
        }
        None => Finding::ok(CHECK, "not mounted")
            .part("host.ports has no effect: this host's own processes are not seen")
            .advise("mount -t cgroup2 none FOLDER, and name it in host.cgroup")
            .on(&[Function::Host], State::No),
    }
}

fn jit(enabled: Option<u64>) -> Option<Finding> {
    const CHECK: &str = "kernel.jit";
    match enabled? {
        0 => Some(
            Finding::ok(CHECK, "net.core.bpf_jit_enable = 0")
                .part("the kernel interprets the programs: each packet costs several times as much")
                .advise("sysctl -w net.core.bpf_jit_enable=1"),
        ),
        _ => Some(Finding::ok(CHECK, "on")),
    }
}
