//! What Hubble has no fields for of packets and connections: counts, and how TCP fares.

use crate::record::{Direct, End, Network, Outcome, TcpHealth, Trace, Why};

type Fields<'f> = Vec<(&'f str, String)>;

/// Of the packets that a trace tells of.
pub(super) fn of_trace(trace: &Trace, fields: &mut Fields<'_>) {
    fields.push(("packets", trace.packets.to_string()));
    fields.push(("bytes", trace.bytes.to_string()));
    match trace.why {
        Why::SynAgain => fields.push(("tcp_event", "syn_again".to_owned())),
        Why::ZeroWindow => fields.push(("tcp_event", "zero_window".to_owned())),
        Why::First | Why::Flags | Why::Interval | Why::Each => {}
    }
    some("handshake_us", trace.health.handshake_us.into(), fields);
    let TcpHealth {
        srtt_us,
        min_rtt_us,
        retransmits,
        zero_windows,
        handshake_us: _,
    } = trace.health;
    some("rtt_us", srtt_us.into(), fields);
    some("min_rtt_us", min_rtt_us.into(), fields);
    some("retransmits", retransmits.into(), fields);
    some("zero_windows", zero_windows.into(), fields);
}

/// Of the end of a connection: everything that it was.
pub(super) fn of_end(end: &End, fields: &mut Fields<'_>) {
    fields.push(("end", end.how.as_str().to_owned()));
    fields.push(("duration_us", (end.duration_ns / 1000).to_string()));
    let handshake = end.sent.health.handshake_us;
    some("handshake_us", handshake.into(), fields);
    let names = [
        "sent_packets",
        "sent_bytes",
        "sent_rtt_us",
        "sent_min_rtt_us",
        "sent_retransmits",
        "sent_zero_windows",
    ];
    of_direction(names, &end.sent, fields);
    let names = [
        "received_packets",
        "received_bytes",
        "received_rtt_us",
        "received_min_rtt_us",
        "received_retransmits",
        "received_zero_windows",
    ];
    of_direction(names, &end.received, fields);
}

fn of_direction(names: [&'static str; 6], direct: &Direct, fields: &mut Fields<'_>) {
    let [packets, bytes, rtt, min_rtt, retransmits, zero_windows] = names;
    fields.push((packets, direct.packets.to_string()));
    fields.push((bytes, direct.bytes.to_string()));
    let health = direct.health;
    some(rtt, health.srtt_us.into(), fields);
    some(min_rtt, health.min_rtt_us.into(), fields);
    some(retransmits, health.retransmits.into(), fields);
    some(zero_windows, health.zero_windows.into(), fields);
}

/// Of a message: what of its latency was the network's, and what TCP saw where there was no answer.
pub(super) fn of_message(
    seen: &Network,
    is_answer: bool,
    outcome: Outcome,
    fields: &mut Fields<'_>,
) {
    if !is_answer {
        return;
    }
    let Network {
        client_rtt_us,
        server_rtt_us,
        retransmits,
        event,
    } = *seen;
    some("client_rtt_us", client_rtt_us.into(), fields);
    some("server_rtt_us", server_rtt_us.into(), fields);
    if client_rtt_us != 0 && server_rtt_us != 0 {
        let whole = u64::from(client_rtt_us) + u64::from(server_rtt_us);
        some("network_rtt_us", whole, fields);
    }
    some("retransmits", retransmits.into(), fields);
    let is_unanswered = matches!(
        outcome,
        Outcome::NoResponse | Outcome::UpstreamRefused | Outcome::UpstreamReset
    );
    if let (true, Some(event)) = (is_unanswered, event) {
        fields.push(("tcp_event", event.as_str().to_owned()));
    }
}

/// Zero is nothing to tell.
fn some(name: &'static str, value: u64, fields: &mut Fields<'_>) {
    if value != 0 {
        fields.push((name, value.to_string()));
    }
}
