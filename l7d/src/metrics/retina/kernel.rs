//! What the kernel counts of TCP, IP, UDP and interfaces, read at the scrape.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// States of sockets, from 1 (`include/net/tcp_states.h`), as Retina spells them.
const STATES: [&str; 11] = [
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
];
/// Most interfaces whose counters are told: a node has one for each pod.
const INTERFACES_MAX: usize = 512;

/// Writes everything.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut states = family(
        encoder,
        "networkobservability_tcp_state",
        "Sockets by their state",
    )?;
    for (state, count) in STATES.iter().zip(sockets()) {
        line(&mut states, &[("state", state)], count)?;
    }
    let netstat = read("/proc/net/netstat");
    let snmp = read("/proc/net/snmp");
    for (name, help, text, protocol) in [
        (
            "networkobservability_tcp_connection_stats",
            "Counters of TCP",
            &netstat,
            "TcpExt",
        ),
        (
            "networkobservability_ip_connection_stats",
            "Counters of IP",
            &netstat,
            "IpExt",
        ),
        (
            "networkobservability_udp_connection_stats",
            "Counters of UDP",
            &snmp,
            "Udp",
        ),
    ] {
        let mut counters = family(encoder, name, help)?;
        for (counter, value) in statistics(text, protocol) {
            line(&mut counters, &[("statistic_name", counter)], value)?;
        }
    }
    let help = "Counters of interfaces";
    let mut counters = family(encoder, "networkobservability_interface_stats", help)?;
    for (interface, values) in interfaces() {
        for (counter, value) in values {
            let labels = [
                ("interface_name", &*interface),
                ("statistic_name", &*counter),
            ];
            line(&mut counters, &labels, value)?;
        }
    }
    Ok(())
}

fn family<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &str,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

fn line(family: &mut MetricEncoder<'_>, labels: &[(&str, &str)], value: i64) -> fmt::Result {
    ConstGauge::new(value).encode(family.encode_family(&labels)?)
}

/// A file of the kernel's; what is not there tells nothing.
fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

/// Sockets by their state.
fn sockets() -> [i64; STATES.len()] {
    let mut counts = [0; STATES.len()];
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for state in read(file).lines().filter_map(state_of) {
            if let Some(count) = state.checked_sub(1).and_then(|at| counts.get_mut(at)) {
                *count += 1;
            }
        }
    }
    counts
}

/// The state of a line of `/proc/net/tcp`: its fourth word, in hexadecimal digits.
fn state_of(line: &str) -> Option<usize> {
    usize::from_str_radix(line.split_ascii_whitespace().nth(3)?, 16).ok()
}

/// Names and values of a protocol: two lines that begin with its name.
fn statistics<'t>(text: &'t str, protocol: &str) -> Vec<(&'t str, i64)> {
    let mut lines = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(protocol)?.strip_prefix(':')?;
        Some(rest.split_ascii_whitespace())
    });
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return Vec::new();
    };
    let pairs = names.zip(values);
    pairs
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect()
}

/// Counters of each interface.
fn interfaces() -> BTreeMap<String, BTreeMap<String, i64>> {
    let mut interfaces = BTreeMap::new();
    for folder in std::fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
    {
        if interfaces.len() >= INTERFACES_MAX {
            break;
        }
        let counters = std::fs::read_dir(folder.path().join("statistics"));
        let counters = counters.into_iter().flatten().flatten();
        let values = counters.filter_map(|counter| {
            let value = std::fs::read_to_string(counter.path()).ok()?;
            Some((name(&counter), value.trim().parse().ok()?))
        });
        interfaces.insert(name(&folder), values.collect());
    }
    interfaces
}

fn name(entry: &std::fs::DirEntry) -> String {
    entry.file_name().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_stand_in_two_lines() {
        let text =
            "TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 3 -1\nIpExt: InOctets\nIpExt: 9\n";
        let expected = [("SyncookiesSent", 3), ("ListenOverflows", -1)];
        assert_eq!(statistics(text, "TcpExt"), expected);
        assert_eq!(statistics(text, "IpExt"), [("InOctets", 9)]);
        assert!(statistics(text, "Udp").is_empty());
    }

    #[test]
    fn the_state_of_a_socket_is_its_fourth_word() {
        let line =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 1";
        let state = state_of(line).and_then(|state| STATES.get(state - 1));
        assert_eq!(state, Some(&"LISTEN"));
        assert_eq!(
            state_of("  sl  local_address rem_address   st tx_queue"),
            None
        );
    }

    #[test]
    fn a_listening_socket_is_counted() {
        let _listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
        let [.., listening, _closing] = sockets();
        assert!(listening > 0);
    }
}
