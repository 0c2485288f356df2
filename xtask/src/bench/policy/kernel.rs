//! A verdict in the kernel, by the number of rules of the endpoint.
//!
//! Each datagram comes from another port and so begins a connection: both pods' programs run once for
//! it, and the receiver's policy is asked. The kernel counts the programs' time.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, UdpSocket};

use anyhow::Context as _;
use testbed::{Attach, Pod, World};

use crate::bench::subject::l7d;
use crate::bench::{BPF_STATS, figures};
use crate::run::say;

const RULES: [u16; 4] = [0, 1, 100, 10_000];
const DATAGRAMS: u16 = 20_000;
const FIRST_PORT: u16 = 20_000;
const PORT: u16 = 9999;

/// Measures all numbers of rules, and adds the table.
pub(super) fn measure(text: &mut String) -> anyhow::Result<()> {
    text.push_str(
        "\n## A verdict on a connection, in the kernel\n\nDatagrams from one pod to another on the same node, each \
         from another port: both pods' programs run once for each, and the receiver's policy is asked. Rules are for \
         a port each, for one peer. The time is the kernel's own count of its programs.\n\n\
         | rules | programs, per datagram |\n|---|---|\n",
    );
    for rules in RULES {
        say(&format!("datagrams against {rules} rules"));
        let ns = per_datagram(rules)?;
        writeln!(text, "| {rules} | {ns:.0} ns |")?;
    }
    Ok(())
}

fn per_datagram(rules: u16) -> anyhow::Result<f64> {
    let mut world = World::new()?;
    let client = world.pod("client", Attach::Bridged)?;
    let server = world.pod("server", Attach::Bridged)?;
    let agent = l7d("", &world, &[&client, &server], &policy(rules))?;
    let address: Ipv4Addr = server.v4.parse()?;
    let receiver = server
        .host
        .inside(|| Ok(UdpSocket::bind((address, PORT))?))?;
    // The first packets find addresses.
    send(&client, address, 1)?;
    std::fs::write(BPF_STATS, "1")?;
    let before = figures::program_seconds(agent.pid());
    let sent = send(&client, address, DATAGRAMS);
    let used = figures::program_seconds(agent.pid()) - before;
    std::fs::write(BPF_STATS, "0")?;
    sent?;
    drop(receiver);
    Ok(used * 1e9 / f64::from(DATAGRAMS))
}

fn send(client: &Pod, to: Ipv4Addr, count: u16) -> anyhow::Result<()> {
    let own: Ipv4Addr = client.v4.parse()?;
    client.host.inside(|| {
        for port in FIRST_PORT..FIRST_PORT + count {
            let socket = UdpSocket::bind((own, port)).context("a port of its own")?;
            socket.send_to(b"x", (to, PORT))?;
        }
        Ok(())
    })
}

/// Lets the client reach the port, and as many others as are wanted.
fn policy(rules: u16) -> String {
    if rules == 0 {
        return String::new();
    }
    let mut text = String::from(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: bench, namespace: default}\nspec:\n  \
         endpointSelector: {matchLabels: {app: server}}\n  ingress:\n",
    );
    // Every other port, so that none of them become a block.
    let ports = (1..rules).map(|rule| 30_000 + rule * 2).chain([PORT]);
    let rules = ports.map(|port| {
        format!(
            "  - fromEndpoints: [{{matchLabels: {{app: client}}}}]\n    toPorts: [{{ports: [{{port: \"{port}\", protocol: UDP}}]}}]\n"
        )
    });
    text.extend(rules);
    text
}
