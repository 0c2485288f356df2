//! Flows of chosen connections, by the numbers that agents of l7d give them.

use std::net::{IpAddr, SocketAddr};

use proto::flow::layer4::Protocol;
use proto::flow::{Flow, FlowFilter};

use super::{Test, any};
use crate::clock::Timestamp;
use crate::flow::filter::{Places, Sight};

pub(super) fn tests(f: &FlowFilter, places: &Places, tests: &mut Vec<Test>) -> Result<(), String> {
    let read = |text: &String| {
        let number = u64::from_str_radix(text, 16)
            .map_err(|error| format!("invalid connection filter: {text:?}: {error}"))?;
        places.add(number);
        Ok(number)
    };
    let known = places.clone();
    any(tests, &f.connection, read, move |wanted, flow| {
        sight(flow).is_some_and(|sight| {
            known.learn(&sight);
            known.has(*wanted, &sight)
        })
    })
}

/// The number of a flow's connection, where it has one.
pub(in crate::cli) fn number(flow: &Flow) -> Option<u64> {
    let text = flow.extensions.as_ref()?.text("connection")?;
    u64::from_str_radix(&text, 16).ok()
}

/// Where the connection of a flow is; none for what has no addresses.
pub(in crate::cli) fn sight(flow: &Flow) -> Option<Sight> {
    let ip = flow.ip.as_ref()?;
    let protocol = flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref());
    let (number, from, to) = transport(protocol);
    let address = |text: &str, port: u32| {
        let ip: IpAddr = text.parse().ok()?;
        Some(SocketAddr::new(ip, u16::try_from(port).unwrap_or(0)))
    };
    let (from, to) = (address(&ip.source, from)?, address(&ip.destination, to)?);
    Some(Sight {
        number: self::number(flow).unwrap_or(0),
        ends: (from.min(to), from.max(to)),
        protocol: number,
        time: time(flow),
    })
}

/// IANA number of a flow's protocol, and its ports.
pub(in crate::cli) fn transport(protocol: Option<&Protocol>) -> (u8, u32, u32) {
    match protocol {
        Some(Protocol::Tcp(l4)) => (6, l4.source_port, l4.destination_port),
        Some(Protocol::Udp(l4)) => (17, l4.source_port, l4.destination_port),
        Some(Protocol::Sctp(l4)) => (132, l4.source_port, l4.destination_port),
        Some(Protocol::IcmPv4(_)) => (1, 0, 0),
        Some(Protocol::IcmPv6(_)) => (58, 0, 0),
        Some(_) | None => (0, 0, 0),
    }
}

/// When a flow was seen.
pub(in crate::cli) fn time(flow: &Flow) -> Timestamp {
    let time = flow.time.unwrap_or_default();
    let seconds = u64::try_from(time.seconds).unwrap_or(0);
    let nanos = u64::try_from(time.nanos).unwrap_or(0);
    Timestamp(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}
