//! The agent's own CPU and memory at given loads, beside programs that see the same packets.

use std::fmt::Write as _;
use std::time::Duration;

use testbed::{Host, Process};

use super::kernel::Floor;
use super::lab::{Agent, Lab};
use super::traffic::{self, Path};
use super::{Plan, median};
use crate::bench::subject::Version;
use crate::bench::{figures, load};

const REQUESTS: u32 = 500;
const NEW_FLOWS: u32 = 50_000;

/// What sees the traffic.
#[derive(Clone, Copy)]
enum Subject {
    Agent(&'static str, Agent),
    Httpry,
    Nothing,
    Softflowd,
}

impl Subject {
    const fn name(self) -> &'static str {
        match self {
            Self::Agent(name, _) => name,
            Self::Httpry => "httpry",
            Self::Nothing => "nothing",
            Self::Softflowd => "softflowd",
        }
    }
}

/// What a pod of the world does.
#[derive(Clone, Copy)]
enum Work {
    Connections,
    NewFlows,
    Requests,
}

const SEEN_BY_TAP: Agent = Agent {
    visibility: "{ port: 80 }",
    ..Agent::at("medium")
};
const SEEN_BY_PROXY: Agent = Agent {
    visibility: "{ port: 80, mode: proxy }",
    ..Agent::at("medium")
};
const PACKETS: Subject = Subject::Agent("l7d", Agent::at("medium"));
const OF_REQUESTS: [Subject; 4] = [
    Subject::Nothing,
    Subject::Httpry,
    Subject::Agent("l7d, tapping", SEEN_BY_TAP),
    Subject::Agent("l7d, proxying", SEEN_BY_PROXY),
];
const OF_CONNECTIONS: [Subject; 3] = [Subject::Nothing, Subject::Softflowd, PACKETS];

/// What one turn showed.
struct Turn {
    reached: f64,
    cpu_percent: f64,
    machine_percent: f64,
    rss_mib: f64,
}

/// Measures, and adds the tables.
pub(super) fn measure(plan: Plan, _: &Floor, text: &mut String) -> anyhow::Result<()> {
    let head =
        "| seen by | reached per second | its CPU | machine | its RSS |\n|---|---|---|---|---|\n";
    write!(
        text,
        "\n## The agent beside others\n\nCPU is that of a program's threads, by the scheduler's own clock, in % of one \
         core; machine is all time that no core was idle, client, server and kernel programs included, in % of one \
         core: what the kernel does for each program is in there. Medians of {} turns in worlds of their own.\n\n\
         httpry reads HTTP requests and responses from a packet socket and writes a line for each; it knows no pods, \
         joins no segments, sees only what is in the first packet of a message, and pairs no answer with its request. \
         softflowd counts packets of flows from a packet socket that cuts them behind the headers, and exports NetFlow \
         when a flow ends or is 60 s old; it knows no pods, no policies and no drops, and writes nothing while a flow \
         begins. Published elsewhere for agents of Kubernetes nodes: Retina 166 MiB, Cilium 312 MiB and 31 % more \
         CPU. Of l7d's RSS, 24 MiB are its two rings, of 12 MiB: the kernel maps a ring twice in a row, so that no \
         record is ever in two pieces, and counts it so.\n\n### {REQUESTS} HTTP requests per second\n\nOver ten connections. Bars: agent below 2 % of one core, RSS \
         below 50 MiB.\n\n{head}",
        plan.rounds
    )?;
    table(plan, Work::Requests, &OF_REQUESTS, text)?;
    write!(
        text,
        "\n### TCP connections, as many as client and server can make\n\nOne request and answer of a byte each.\n\n{head}"
    )?;
    table(plan, Work::Connections, &OF_CONNECTIONS, text)?;
    write!(
        text,
        "\n### {NEW_FLOWS} new flows of UDP per second\n\nA datagram each, to the outside.\n\n{head}"
    )?;
    table(plan, Work::NewFlows, &OF_CONNECTIONS, text)
}

fn table(plan: Plan, work: Work, subjects: &[Subject], text: &mut String) -> anyhow::Result<()> {
    let mut turns: Vec<Vec<Turn>> = subjects.iter().map(|_| Vec::new()).collect();
    for _ in 0..plan.rounds {
        for (subject, turns) in subjects.iter().zip(&mut turns) {
            turns.push(take_turn(plan, work, *subject)?);
        }
    }
    for (subject, turns) in subjects.iter().zip(&turns) {
        let of = |figure: fn(&Turn) -> f64| median(turns.iter().map(figure).collect());
        writeln!(
            text,
            "| {} | {:.0} | {:.2} % | {:.0} % | {:.1} MiB |",
            subject.name(),
            of(|turn| turn.reached),
            of(|turn| turn.cpu_percent),
            of(|turn| turn.machine_percent),
            of(|turn| turn.rss_mib)
        )?;
    }
    Ok(())
}

fn take_turn(plan: Plan, work: Work, subject: Subject) -> anyhow::Result<Turn> {
    let agent = match subject {
        Subject::Agent(_, agent) => Some(agent),
        Subject::Httpry | Subject::Nothing | Subject::Softflowd => None,
    };
    let lab = Lab::new(agent)?;
    let _server = match work {
        Work::Requests => Some(load::serve(Version::Http1, &lab.world, &lab.server)?),
        Work::Connections | Work::NewFlows => None,
    };
    traffic::swallow_new_flows(&lab.world.outside())?;
    let peer = start_peer(&lab, subject)?;
    let pid = peer.as_ref().map(Process::pid).or_else(|| lab.pid().ok());
    run(&lab, work, plan.time / 4)?;
    let used = || pid.map_or(0.0, figures::scheduled_seconds);
    let (before, busy_before) = (used(), figures::busy_seconds());
    let reached = run(&lab, work, plan.time)?;
    let percent = |seconds: f64| 100.0 * seconds / plan.time.as_secs_f64();
    Ok(Turn {
        reached,
        cpu_percent: percent(used() - before),
        machine_percent: percent(figures::busy_seconds() - busy_before),
        rss_mib: pid.map_or(0.0, figures::rss_mib),
    })
}

fn run(lab: &Lab, work: Work, time: Duration) -> anyhow::Result<f64> {
    let client = &lab.client.host;
    let path = Path {
        client,
        server: &lab.server.host,
        address: lab.server.v4.parse()?,
    };
    match work {
        Work::Connections => traffic::connections(path, time),
        Work::NewFlows => traffic::new_flows(client, Some(NEW_FLOWS), time),
        Work::Requests => traffic::requests(path, REQUESTS, time),
    }
}

/// Programs that look at the client's host interface.
fn start_peer(lab: &Lab, subject: Subject) -> anyhow::Result<Option<Process>> {
    let node = lab.world.node();
    let folder = lab.world.folder().display().to_string();
    let interface = &lab.client.interface;
    match subject {
        Subject::Agent(..) | Subject::Nothing => Ok(None),
        Subject::Httpry => {
            let log = format!("{folder}/httpry.log");
            start_looking(
                &node,
                "httpry",
                &["-i", interface, "-o", &log],
                "Starting capture",
            )
        }
        Subject::Softflowd => {
            let [pid, control] = ["pid", "ctl"].map(|what| format!("{folder}/softflowd.{what}"));
            let arguments = [
                "-D",
                "-i",
                interface,
                "-n",
                "127.0.0.1:9995",
                "-p",
                &pid,
                "-c",
                &control,
            ];
            start_looking(&node, "softflowd", &arguments, "starting data collection")
        }
    }
}

fn start_looking(
    node: &Host,
    program: &str,
    arguments: &[&str],
    ready: &str,
) -> anyhow::Result<Option<Process>> {
    let mut command = node.command(program);
    command.args(arguments);
    let mut process = node.start(program, command)?;
    process.wait_for(ready)?;
    Ok(Some(process))
}
