//! What an agent started like this would be allowed.

use rustix::thread::CapabilitySet;

use crate::cli::doctor::facts::{Facts, Look, Rights};
use crate::cli::doctor::report::{Finding, Function, State};
use crate::datapath::features;

/// Capabilities without which no agent starts.
pub(super) const NEEDED: [(CapabilitySet, &str); 3] = [
    (CapabilitySet::BPF, "CAP_BPF"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    (CapabilitySet::PERFMON, "CAP_PERFMON"),
];

/// Those of a list that are not among `held`.
pub(super) fn lacking(held: u64, of: &[(CapabilitySet, &'static str)]) -> Vec<&'static str> {
    let held = CapabilitySet::from_bits_retain(held);
    let missing = of
        .iter()
        .filter(|(capability, _)| !held.contains(*capability));
    missing.map(|(_, name)| *name).collect()
}

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let rights = &facts.rights;
    let mut findings = vec![capabilities(rights)];
    findings.extend(datagrams(rights));
    findings.push(seccomp(facts));
    findings.push(landlock(rights));
    findings.push(modules(rights));
    findings.push(locked_memory(facts));
    findings
}

fn capabilities(rights: &Rights) -> Finding {
    const CHECK: &str = "rights.capabilities";
    let missing = lacking(rights.capabilities, &NEEDED);
    if missing.is_empty() {
        return Finding::ok(CHECK, "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON");
    }
    if !rights.is_root {
        return Finding::unseen(
            CHECK,
            "run it as the agent is run (root, or its container): what an agent may do is asked of this \
             process",
        )
        .on(&Function::OF_PACKETS, State::Unseen);
    }
    Finding::ok(CHECK, format!("no {}", missing.join(", ")))
        .no("an agent started like this would not start")
        .advise(
            "docs/rights.md says what each is for; in Kubernetes, securityContext.capabilities.add",
        )
        .on(&Function::OF_PACKETS, State::No)
}

fn datagrams(rights: &Rights) -> Option<Finding> {
    let can = lacking(rights.capabilities, &NEEDED).is_empty();
    let may_send = lacking(rights.capabilities, &[(CapabilitySet::NET_RAW, "")]).is_empty();
    (can && !may_send).then(|| {
        Finding::ok("rights.datagrams", "no CAP_NET_RAW")
            .part(
                "no DNS over UDP through the proxy: watched queries pass unseen, judged ones do as \
                   datapath.onProxyDown says",
            )
            .advise("add CAP_NET_RAW where DNS is to be seen or judged")
            .on(&[Function::Dns], State::No)
    })
}

fn seccomp(facts: &Facts) -> Finding {
    const CHECK: &str = "rights.seccomp";
    let rights = &facts.rights;
    // Older profiles of runtimes let nobody but CAP_SYS_ADMIN call bpf(2).
    let asked = facts.kernel.features.iter().filter(|of| of.is_needed);
    let is_closed = asked.clone().count() > 0 && asked.clone().all(|of| of.is_there.is_none());
    if rights.is_filtered && is_closed && lacking(rights.capabilities, &NEEDED).is_empty() {
        return Finding::ok(CHECK, "a filter of this process' surroundings refuses bpf()")
            .no("no program can be loaded: the agent does not start")
            .advise("a profile that lets CAP_BPF call bpf(), as those of today's runtimes do; in the chart, \
                     agent.seccompProfile")
            .on(&Function::OF_PACKETS, State::No);
    }
    if !rights.seccomp.iter().any(|action| action == "errno") {
        return Finding::ok(CHECK, "not in this kernel")
            .part("an agent keeps system calls that it has no use for")
            .advise("CONFIG_SECCOMP_FILTER");
    }
    if !facts.configured.config.rights.seccomp {
        return Finding::ok(CHECK, "there, and not used (rights.seccomp: false)");
    }
    let others = if rights.is_filtered {
        "; a filter of the surroundings is in force as well"
    } else {
        ""
    };
    Finding::ok(CHECK, format!("there{others}"))
}

fn landlock(rights: &Rights) -> Finding {
    const CHECK: &str = "rights.landlock";
    match &rights.landlock {
        Ok(version) => Finding::ok(CHECK, format!("version {version}")),
        Err(cause) => Finding::ok(CHECK, "not there")
            .part(format!("an agent's files are not confined: {cause}"))
            .advise("Linux 5.13 or later, with landlock among the modules of lsm="),
    }
}

fn modules(rights: &Rights) -> Finding {
    const CHECK: &str = "rights.modules";
    let mut parts = match &rights.modules {
        Look::Seen(modules) => modules.clone(),
        Look::Hidden(how) => return Finding::unseen(CHECK, how.clone()),
    };
    if let Some(profile) = &rights.profile {
        parts.push(format!("this process: {profile}"));
    }
    if rights.lockdown.as_deref() == Some("confidentiality") {
        return Finding::ok(CHECK, "lockdown=confidentiality")
            .part("programs may not read the kernel's memory: what the kernel drops is not told")
            .advise("lockdown=integrity, or none")
            .on(&[Function::Drops], State::No);
    }
    Finding::ok(CHECK, parts.join(", "))
}

/// Kernels before 5.11 count the memory of maps against the limit of locked memory.
fn locked_memory(facts: &Facts) -> Finding {
    const CHECK: &str = "rights.locked-memory";
    if features::is_at_least(&facts.kernel.release, (5, 11)) {
        return Finding::ok(CHECK, "this kernel does not count maps against a limit");
    }
    let Some(limit) = facts.rights.locked_memory else {
        return Finding::ok(CHECK, "no limit");
    };
    let raises = lacking(
        facts.rights.capabilities,
        &[(CapabilitySet::SYS_RESOURCE, "CAP_SYS_RESOURCE")],
    );
    let found = Finding::ok(CHECK, format!("{limit} bytes"));
    if raises.is_empty() {
        return found;
    }
    found
        .no("this kernel counts maps against it, and this process may not raise it")
        .advise("LimitMEMLOCK=infinity in the unit, or CAP_SYS_RESOURCE")
        .on(&Function::OF_PACKETS, State::No)
}
