//! Facts → findings. Nothing here looks at the machine.

mod agent;
mod kernel;
mod machine;
mod marks;
mod network;
mod rights;
#[cfg(test)]
mod tests;

use super::facts::Facts;
use super::report::{Finding, Function, Report, State, working};

/// Concludes everything.
pub(super) fn judge(facts: &Facts) -> Report {
    let config = &facts.configured.config;
    let mut findings = vec![configuration(facts)];
    findings.extend(kernel::findings(facts));
    findings.extend(rights::findings(facts));
    findings.extend(network::findings(facts));
    findings.extend(marks::findings(facts));
    findings.extend(machine::findings(facts));
    findings.extend(agent::findings(facts));
    findings.extend(cluster(facts));
    findings.extend(clocks(facts));
    let wanted = |function: &Function| match function {
        Function::Host => !config.host.ports.is_empty(),
        Function::Cluster => config.kubernetes.is_some(),
        _ => true,
    };
    let functions: Vec<Function> = Function::ALL.into_iter().filter(wanted).collect();
    Report {
        version: facts.version.clone(),
        node: config.node.clone(),
        kernel: facts.kernel.release.clone(),
        functions: working(&functions, &findings),
        findings,
    }
}

fn configuration(facts: &Facts) -> Finding {
    const CHECK: &str = "configuration.file";
    let file = facts.configured.file.as_ref();
    let shown = file.map_or_else(
        || "none given: what is looked at is what an agent without one would use".to_owned(),
        |file| file.display().to_string(),
    );
    match &facts.configured.trouble {
        None => Finding::ok(CHECK, shown),
        Some(trouble) => Finding::ok(CHECK, shown)
            .no(trouble.clone())
            .advise("mend it: an agent would not start; what follows is looked at with defaults")
            .on(&Function::ALL, State::No),
    }
}

fn cluster(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "cluster.api";
    let affected = [Function::Cluster];
    Some(match facts.cluster.as_ref()? {
        Ok(server) => Finding::ok(CHECK, format!("answers, {}", server.version)),
        Err(cause) => Finding::ok(CHECK, "does not answer")
            .no(cause.clone())
            .advise(
                "look at the network, the credentials and `kubernetes` in the configuration; what \
                     an agent was told before stays in force",
            )
            .on(&affected, State::No),
    })
}

/// Whether both clocks agree; nothing where the server has not told.
fn clocks(facts: &Facts) -> Option<Finding> {
    const CHECK: &str = "cluster.clock";
    /// Seconds that an answer may take on its way.
    const AGREE: u64 = 5;
    let ahead = facts.cluster.as_ref()?.as_ref().ok()?.ahead?;
    let by = ahead.unsigned_abs();
    if by <= AGREE {
        return Some(Finding::ok(CHECK, "the API server's agrees with this one"));
    }
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    Some(
        Finding::ok(CHECK, format!("the API server's is {by} s {side} this one"))
            .part("flows of this node do not fit to the cluster's Events and logs, and tokens or certificates may be refused")
            .advise("NTP on both machines (chrony, systemd-timesyncd)")
            .on(&[Function::Clients], State::Part),
    )
}
