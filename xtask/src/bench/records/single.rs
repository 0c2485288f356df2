//! One packet of an established flow, given to a program again and again.

use std::fmt::Write as _;
use std::net::{SocketAddr, SocketAddrV4, TcpStream, UdpSocket};

use anyhow::{Context as _, bail};
use testbed::Host;

use super::frame::{self, Payload};
use super::kernel::{Floor, Programs, run_at};
use super::lab::{Agent, LEVELS, Lab};
use super::traffic::{self, Path};
use super::{Plan, median};

const TIMES: usize = 5;

/// A packet at a hook.
struct Case {
    program: &'static str,
    what: &'static str,
    frame: Vec<u8>,
    /// Where it stands, and where it came in: indices, 0 for what a socket of the node sends.
    interfaces: [u32; 2],
}

/// What was measured: the program, the packet, nanoseconds per run.
type Figure = (&'static str, &'static str, f64);

/// Measures all programs at all levels, and adds the table.
pub(super) fn measure(plan: Plan, floor: &Floor, text: &mut String) -> anyhow::Result<()> {
    writeln!(
        text,
        "\n## One packet\n\nA packet of an established flow of IPv4, {} times in a row through a program of a \
         running agent (`BPF_PROG_TEST_RUN`), by what the agent tells of packets (`flows.aggregation`): medians of \
         {TIMES}. Caches are as warm as they get; real packets find them colder, see below. The bar is 200 ns.\n\n\
         | program | packet |{}\n|---|---|{}",
        plan.repeat,
        LEVELS.map(|level| format!(" {level} |")).concat(),
        "---|".repeat(LEVELS.len()),
    )?;
    let mut rows: Vec<(String, Vec<f64>)> = Vec::new();
    for (program, what, figures) in all_levels(plan, floor)? {
        let name = format!("| `{program}` | {what} |");
        match rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, row)) => row.push(figures),
            None => rows.push((name, vec![figures])),
        }
    }
    for (name, figures) in rows {
        let cells: Vec<String> = figures.iter().map(|ns| format!(" {ns:.0} ns |")).collect();
        writeln!(text, "{name}{}", cells.concat())?;
    }
    Ok(())
}

fn all_levels(plan: Plan, floor: &Floor) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for level in LEVELS {
        let lab = Lab::new(Some(Agent::at(level)))?;
        figures.extend(between_pods(plan, floor, &lab)?);
        figures.extend(outward(plan, floor, &lab)?);
        drop(lab);
        let agent = Agent {
            guards_host: true,
            ..Agent::at(level)
        };
        figures.extend(guarded(plan, floor, &Lab::new(Some(agent))?)?);
    }
    Ok(figures)
}

fn between_pods(plan: Plan, floor: &Floor, lab: &Lab) -> anyhow::Result<Vec<Figure>> {
    let path = Path {
        client: &lab.client.host,
        server: &lab.server.host,
        address: lab.server.v4.parse()?,
    };
    let tcp = traffic::connection(path)?;
    let udp = traffic::datagram_sockets(path)?;
    let [client, server] = ends(tcp.each_ref().map(TcpStream::local_addr))?;
    let [asking, answering] = ends(udp.each_ref().map(UdpSocket::local_addr))?;
    let from = lab.interface(&lab.client.interface)?;
    let to = lab.interface(&lab.server.interface)?;
    let packets = [
        (
            "TCP acknowledgement",
            frame::ipv4(client, server, Payload::Ack),
        ),
        (
            "TCP, 64 bytes",
            frame::ipv4(client, server, Payload::Segment(64)),
        ),
        (
            "UDP, 64 bytes",
            frame::ipv4(asking, answering, Payload::Datagram(64)),
        ),
    ];
    let mut cases = Vec::new();
    for (program, interfaces) in [("from_pod", [from, 0]), ("to_pod", [to, from])] {
        cases.extend(packets.iter().map(|(what, frame)| Case {
            program,
            what,
            frame: frame.clone(),
            interfaces,
        }));
    }
    run_all(plan, floor, lab, &cases)
}

/// From a pod to the outside host, and back.
fn outward(plan: Plan, floor: &Floor, lab: &Lab) -> anyhow::Result<Vec<Figure>> {
    let outside = lab.world.outside();
    let path = Path {
        client: &lab.client.host,
        server: &outside,
        address: "192.0.2.2".parse()?,
    };
    let tcp = traffic::connection(path)?;
    let [pod, beyond] = ends(tcp.each_ref().map(TcpStream::local_addr))?;
    let uplink = lab.interface("uplink")?;
    let came_in_by = lab.interface(&lab.client.interface)?;
    let cases = [
        Case {
            program: "from_network",
            what: "TCP acknowledgement, for a pod",
            frame: frame::ipv4(beyond, pod, Payload::Ack),
            interfaces: [uplink, 0],
        },
        Case {
            program: "to_network",
            what: "TCP acknowledgement, of a pod",
            frame: frame::ipv4(pod, beyond, Payload::Ack),
            interfaces: [uplink, came_in_by],
        },
    ];
    run_all(plan, floor, lab, &cases)
}

/// Between the node itself and the outside host, where policies of the node are in force.
fn guarded(plan: Plan, floor: &Floor, lab: &Lab) -> anyhow::Result<Vec<Figure>> {
    let (node, outside) = (lab.world.node(), lab.world.outside());
    let path = Path {
        client: &node,
        server: &outside,
        address: "192.0.2.2".parse()?,
    };
    let tcp = traffic::connection(path)?;
    let [host, beyond] = ends(tcp.each_ref().map(TcpStream::local_addr))?;
    let uplink = lab.interface("uplink")?;
    let cases = [
        Case {
            program: "guard_in",
            what: "TCP acknowledgement, for the node",
            frame: frame::ipv4(beyond, host, Payload::Ack),
            interfaces: [uplink, 0],
        },
        Case {
            program: "guard_out",
            what: "TCP acknowledgement, of the node",
            frame: frame::ipv4(host, beyond, Payload::Ack),
            interfaces: [uplink, 0],
        },
    ];
    run_all(plan, floor, lab, &cases)
}

fn run_all(plan: Plan, floor: &Floor, lab: &Lab, cases: &[Case]) -> anyhow::Result<Vec<Figure>> {
    let programs = Programs::of(lab.pid()?)?;
    let node = lab.world.node();
    let mut figures = Vec::new();
    for case in cases {
        let ns = repeated(&node, programs.id(case.program)?, case, plan)?;
        figures.push((case.program, case.what, ns - floor.run));
    }
    Ok(figures)
}

fn repeated(node: &Host, id: u64, case: &Case, plan: Plan) -> anyhow::Result<f64> {
    let [at, came_in_by] = case.interfaces;
    let context = frame::context(at, came_in_by);
    let run = |_| run_at(node, id, &case.frame, &context, plan.repeat);
    Ok(median((0..TIMES).map(run).collect::<Result<Vec<_>, _>>()?))
}

fn ends(addresses: [std::io::Result<SocketAddr>; 2]) -> anyhow::Result<[SocketAddrV4; 2]> {
    let [client, server] = addresses;
    let v4 = |address| match address {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(other) => bail!("{other} is no IPv4"),
    };
    Ok([
        v4(client.context("client")?)?,
        v4(server.context("server")?)?,
    ])
}
