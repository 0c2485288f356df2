//! The JSON form of a story. Fields may be added; those that are here stay (`docs/trace.md`).

use serde::Serialize;

use crate::clock::Timestamp;
use crate::print::TimeFormat;
use crate::story::{Event, Exchanges, Lapse, Peer, Place, Story, Way};

/// A connection.
#[derive(Debug, Serialize)]
pub struct Connection {
    /// Its numbers, by node.
    connections: Vec<Number>,
    protocol: String,
    client: End,
    server: End,
    /// The address of the service that the client asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// The address by which the server knows the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_xlated: Option<String>,
    nodes: Vec<String>,
    is_proxied: bool,
    began: String,
    ended: String,
    duration_us: u64,
    outcome: &'static str,
    is_failed: bool,
    explanation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lookup: Option<Lookup>,
    timing: Timing,
    events: Vec<Happened>,
    /// Events that are not kept.
    left_out: u64,
}

#[derive(Debug, Serialize)]
struct Number {
    node: String,
    connection: String,
    /// Both ends as packets have them there.
    between: [String; 2],
}

#[derive(Debug, Serialize)]
struct End {
    address: String,
    #[serde(skip_serializing_if = "is_zero")]
    port: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
}

#[derive(Debug, Serialize)]
struct Lookup {
    text: String,
    before_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Timing {
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_rtt_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_rtt_us: Option<u64>,
    retransmits: u64,
    zero_windows: u64,
    requests: u64,
    answers: u64,
    failed_answers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slowest: Option<Slowest>,
}

#[derive(Debug, Serialize)]
struct Slowest {
    text: String,
    latency_us: u64,
    /// At most.
    #[serde(skip_serializing_if = "Option::is_none")]
    network_us: Option<u64>,
    /// At least.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_us: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Happened {
    time: String,
    offset_us: u64,
    delta_us: u64,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<&'static str>,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<u64>,
    seen: Vec<Seen>,
}

#[derive(Debug, Serialize)]
struct Seen {
    node: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    point: &'static str,
    offset_us: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(port: &u16) -> bool {
    *port == 0
}

fn rfc3339(time: Timestamp) -> String {
    let (seconds, nanos) = time.to_parts();
    jiff::Timestamp::new(seconds, nanos)
        .map(|time| TimeFormat::Rfc3339Nano.format(time))
        .unwrap_or_default()
}

fn end(peer: &Peer) -> End {
    End {
        address: peer.addr.ip().to_string(),
        port: peer.addr.port(),
        name: peer.name.to_string(),
    }
}

/// A story in its JSON form, as it is known at `now`.
pub fn connection(story: &Story, now: Timestamp) -> Connection {
    let ending = story.ending(now);
    let mut before = story.first;
    let mut in_turn = |event: &Event| {
        let one = happened(event, story.first, before);
        before = event.time;
        one
    };
    let events = story.events();
    Connection {
        connections: story
            .numbers
            .iter()
            .map(|(place, number)| numbered(place, *number))
            .collect(),
        protocol: super::protocol(story.protocol),
        client: end(&story.client),
        server: end(&story.server),
        service: story.service.map(|service| service.to_string()),
        client_xlated: story.client_xlated.map(|client| client.to_string()),
        nodes: story.nodes().iter().map(ToString::to_string).collect(),
        is_proxied: story.is_proxied(),
        began: rfc3339(story.first),
        ended: rfc3339(story.last),
        duration_us: Lapse(story.last.0 - story.first.0).micros(),
        outcome: ending.how.as_str(),
        is_failed: ending.how.is_failed(),
        explanation: ending.text,
        lookup: story.lookup.as_ref().map(|lookup| Lookup {
            text: lookup.text.clone(),
            before_us: Lapse(lookup.before_ns).micros(),
            latency_us: (lookup.latency_ns > 0).then(|| Lapse(lookup.latency_ns).micros()),
        }),
        timing: timing(story),
        events: events.iter().map(&mut in_turn).collect(),
        left_out: story.left_out,
    }
}

fn numbered(place: &Place, number: u64) -> Number {
    let (one, other) = place.ends;
    Number {
        node: place.node.to_string(),
        connection: format!("{number:x}"),
        between: [one.to_string(), other.to_string()],
    }
}

fn timing(story: &Story) -> Timing {
    let timing = story.timing();
    let Exchanges {
        requests,
        answers,
        failed,
        mean_ns,
        slowest,
    } = timing.exchanges;
    let micros = |ns: Option<u64>| ns.map(|ns| Lapse(ns).micros());
    Timing {
        connect_us: micros(timing.connect_ns),
        server_rtt_us: micros(timing.server_rtt_ns),
        client_rtt_us: micros(timing.client_rtt_ns),
        retransmits: timing.retransmits,
        zero_windows: timing.zero_windows,
        requests,
        answers,
        failed_answers: failed,
        mean_us: micros(mean_ns),
        slowest: slowest.map(|(text, latency, network)| {
            let (latency_us, network_us) = (Lapse(latency).micros(), micros(network));
            Slowest {
                text,
                latency_us,
                network_us,
                server_us: network_us.map(|network| latency_us.saturating_sub(network)),
            }
        }),
    }
}

fn happened(event: &Event, start: Timestamp, before: Timestamp) -> Happened {
    let since =
        |earlier: Timestamp, time: Timestamp| Lapse(time.0.saturating_sub(earlier.0)).micros();
    Happened {
        time: rfc3339(event.time),
        offset_us: since(start, event.time),
        delta_us: since(before, event.time),
        kind: event.kind.as_str(),
        from: event.way.map(|way| match way {
            Way::ToServer => "client",
            Way::ToClient => "server",
        }),
        text: event.text.clone(),
        latency_us: (event.latency_ns > 0).then(|| Lapse(event.latency_ns).micros()),
        seen: event
            .seen
            .iter()
            .map(|sight| Seen {
                node: sight.node.to_string(),
                point: sight.point,
                offset_us: since(start, sight.time),
            })
            .collect(),
    }
}
