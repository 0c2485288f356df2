//! Agents: the one that runs, and what others have left.

use super::rights::{NEEDED, lacking};
use crate::cli::doctor::facts::{Facts, Look, Running};
use crate::cli::doctor::report::{Finding, Function, State};

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let socket = facts.configured.config.api.socket.display();
    match &facts.agent.running {
        Look::Hidden(how) => findings.push(Finding::unseen("agent.running", how.clone())),
        Look::Seen(None) => {
            findings.push(Finding::ok(
                "agent.running",
                format!("nobody answers at {socket}"),
            ));
        }
        Look::Seen(Some(running)) => {
            findings.push(version(facts, running));
            findings.extend(running.capabilities.map(capabilities));
            if !running.rights.is_empty() {
                findings.push(Finding::ok("agent.rights", running.rights.clone()));
            }
            findings.extend(running.warnings.iter().map(|warning| {
                Finding::ok("agent.warning", "the agent warns").part(warning.clone())
            }));
        }
    }
    findings.push(pins(facts));
    findings.push(refused(facts));
    findings
}

fn version(facts: &Facts, running: &Running) -> Finding {
    let found = Finding::ok("agent.running", running.version.clone());
    if running
        .version
        .trim_start_matches("l7d ")
        .trim_start_matches('v')
        .starts_with(&facts.version)
    {
        return found;
    }
    found
        .part(format!("this is {}: another version", facts.version))
        .advise("restart the agent, if it was updated")
}

fn capabilities(held: u64) -> Finding {
    const CHECK: &str = "agent.capabilities";
    let missing = lacking(held, &NEEDED);
    if missing.is_empty() {
        return Finding::ok(CHECK, format!("{} of them", held.count_ones()));
    }
    Finding::ok(CHECK, format!("no {}", missing.join(", ")))
        .part("new interfaces may not get their hooks")
        .advise("docs/rights.md says what each is for")
        .on(&[Function::Packets], State::Part)
}

fn pins(facts: &Facts) -> Finding {
    const CHECK: &str = "agent.pins";
    let found = match &facts.agent.pins {
        Look::Hidden(how) => return Finding::unseen(CHECK, how.clone()),
        Look::Seen(found) => found,
    };
    let own = &facts.agent.own_pins;
    let others: Vec<&str> = found
        .iter()
        .filter(|of| *of != own)
        .map(String::as_str)
        .collect();
    let has_agent = facts.agent.running.seen().is_some_and(Option::is_some);
    let shown = if found.is_empty() {
        "none".to_owned()
    } else {
        found.join(", ")
    };
    let finding = Finding::ok(CHECK, shown);
    if !others.is_empty() && has_agent {
        return finding
            .part(format!("maps and programs of another version ({}) are still there", others.join(", ")))
            .advise("they go when the agent has taken over all hooks; `l7d agent --cleanup` removes them \
                     while none runs");
    }
    if has_agent || found.is_empty() || facts.agent.running.seen().is_none() {
        return finding;
    }
    finding
        .part("no agent runs, and the kernel goes on with what the last one left: enforced ports do as \
               datapath.onProxyDown says, by default they are closed")
        .advise("start the agent, or remove what is left with `l7d agent --cleanup`")
        .on(&[Function::Proxy, Function::Dns], State::No)
}

fn refused(facts: &Facts) -> Finding {
    const CHECK: &str = "agent.refused-calls";
    let numbers = match &facts.agent.refused {
        Look::Hidden(how) => return Finding::unseen(CHECK, how.clone()),
        Look::Seen(numbers) => numbers,
    };
    if numbers.is_empty() {
        return Finding::ok(CHECK, "none in the kernel's log");
    }
    let shown: Vec<String> = numbers.iter().map(u32::to_string).collect();
    Finding::ok(
        CHECK,
        format!("numbers {} (ausyscall names them)", shown.join(", ")),
    )
    .part("the agent's filter has refused system calls: something that it wanted to do failed")
    .advise("please report it, with `l7d version`; `rights.seccomp: false` leaves the filter out")
}
