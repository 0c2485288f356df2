//! Real traffic, and what the kernel counts of its programs' time.

use std::fmt::Write as _;
use std::time::Duration;

use testbed::Host;

use super::Plan;
use super::kernel::{Count, Counting, Floor, Programs, ratio};
use super::lab::{Agent, LEVELS, Lab};
use super::traffic::{self, Path};

/// What goes through a world, between whom.
#[derive(Clone, Copy)]
enum Load {
    Bulk,
    Connections,
    Datagrams,
    NewFlows,
    RoundTrips,
}

impl Load {
    const fn name(self) -> &'static str {
        match self {
            Self::Bulk => "TCP in bulk",
            Self::Connections => "TCP connections of one request",
            Self::Datagrams => "UDP, 64 bytes, one flow",
            Self::NewFlows => "UDP, each datagram a new flow",
            Self::RoundTrips => "TCP, one byte to and fro",
        }
    }

    fn run(self, path: Path<'_>, time: Duration) -> anyhow::Result<f64> {
        match self {
            Self::Bulk => traffic::bulk(path, time),
            Self::Connections => traffic::connections(path, time),
            Self::Datagrams => traffic::datagrams(path, time),
            Self::NewFlows => traffic::new_flows(path.client, None, time),
            Self::RoundTrips => traffic::round_trips(path, time),
        }
    }
}

const BETWEEN_PODS: [Load; 4] = [
    Load::RoundTrips,
    Load::Datagrams,
    Load::Bulk,
    Load::Connections,
];
const OUTWARD: [Load; 3] = [Load::RoundTrips, Load::Connections, Load::NewFlows];
const OF_THE_NODE: [Load; 2] = [Load::RoundTrips, Load::Connections];

/// Measures all loads at all levels, and adds the table.
pub(super) fn measure(plan: Plan, floor: &Floor, text: &mut String) -> anyhow::Result<()> {
    text.push_str(
        "\n## Programs by the kernel's count\n\nReal packets between real sockets; in bulk, a packet has up to 64 KiB. \
         The caches are shared with all that the kernel and the programs of the load do beside.\n\n\
         | tells | path | load | program | runs | per run |\n|---|---|---|---|---|---|\n",
    );
    for level in LEVELS {
        let lab = Lab::new(Some(Agent::at(level)))?;
        let outside = lab.world.outside();
        traffic::swallow_new_flows(&outside)?;
        let inside = path(&lab.client.host, &lab.server.host, &lab.server.v4)?;
        table(
            plan,
            floor,
            level,
            (&lab, "pod to pod", inside),
            &BETWEEN_PODS,
            text,
        )?;
        let outward = path(&lab.client.host, &outside, "192.0.2.2")?;
        table(
            plan,
            floor,
            level,
            (&lab, "pod to outside", outward),
            &OUTWARD,
            text,
        )?;
        drop(lab);
        let agent = Agent {
            guards_host: true,
            ..Agent::at(level)
        };
        let lab = Lab::new(Some(agent))?;
        let (node, outside) = (lab.world.node(), lab.world.outside());
        let path = path(&node, &outside, "192.0.2.2")?;
        table(
            plan,
            floor,
            level,
            (&lab, "node to outside, with a policy", path),
            &OF_THE_NODE,
            text,
        )?;
    }
    Ok(())
}

fn path<'h>(client: &'h Host, server: &'h Host, address: &str) -> anyhow::Result<Path<'h>> {
    Ok(Path {
        client,
        server,
        address: address.parse()?,
    })
}

fn table(
    plan: Plan,
    floor: &Floor,
    level: &str,
    (lab, name, path): (&Lab, &str, Path<'_>),
    loads: &[Load],
    text: &mut String,
) -> anyhow::Result<()> {
    let programs = Programs::of(lab.pid()?)?;
    for load in loads {
        load.run(path, Duration::from_millis(300))?;
        let counting = Counting::start()?;
        let before = programs.counts()?;
        load.run(path, plan.time)?;
        let after = programs.counts()?;
        drop(counting);
        for (program, count) in after {
            let since = before.get(&program).copied().unwrap_or_default();
            let count = Count {
                runs: count.runs - since.runs,
                ns: count.ns - since.ns,
            };
            // What a load barely touches is not its figure.
            if count.runs < 1000 {
                continue;
            }
            let ns = ratio(count.ns, count.runs) - floor.counted;
            writeln!(
                text,
                "| {level} | {name} | {} | `{program}` | {} | {ns:.0} ns |",
                load.name(),
                count.runs
            )?;
        }
    }
    Ok(())
}
