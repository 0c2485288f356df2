//! Endings, from entries as the programs leave them.

use l7d_ebpf::maps::{
    CONNECTION_FROM_A, CONNECTION_FROM_SYN, CONNECTION_PROXIED, CONNECTION_UPSTREAM, Connection,
    Counters, Health, MOMENT_SHIFT, TapHalf, Tuple, Verdict,
};

use super::Ended;
use super::ending::{Former, Patience, ending, replaced, was_cut};
use crate::record::EndedBy;

const SYN: u8 = 0x02;
const FIN: u8 = 0x01;
const RST: u8 = 0x04;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// When all connections here begin, in moments.
const START: u32 = 1_000_000;
const SECOND: u32 = 1_000_000_000 >> MOMENT_SHIFT;

fn nothing() -> Connection {
    Connection {
        verdicts: [Verdict {
            generation: 0,
            rule: 0,
            action: 0,
            is_audited: 0,
        }; 2],
        id: 7,
        created_ns: u64::from(START) << MOMENT_SHIFT,
        flags: CONNECTION_FROM_A | CONNECTION_FROM_SYN,
        handshake_us: 0,
        counters: [Counters::none(); 6],
        health: [Health::none(); 2],
        tap: [TapHalf::none(); 2],
    }
}

fn seen(packets: u64, flags: u8, after: u32) -> Counters {
    Counters {
        packets,
        bytes: packets * 100,
        told_packets: 1,
        told_bytes: 100,
        told_at: START,
        seen_at: START.wrapping_add(after),
        flags_seen: flags,
        reserved: [0; 7],
    }
}

/// With what left the client's pod and what left the server's.
fn between(forward: Counters, reply: Counters) -> Connection {
    let mut entry = nothing();
    entry.counters[0] = forward;
    entry.counters[2] = reply;
    entry
}

fn after(entry: &Connection, protocol: u8, moments: u32) -> Option<EndedBy> {
    ending(protocol, entry, START + moments, &Patience::LONG)
}

#[test]
fn a_connection_ends_when_both_sides_have_said_so() {
    let open = between(seen(5, SYN | FIN, 10), seen(4, SYN, 10));
    assert_eq!(after(&open, TCP, 60 * SECOND), None);
    let closed = between(seen(5, SYN | FIN, 10), seen(4, SYN | FIN, 10));
    assert_eq!(
        after(&closed, TCP, SECOND),
        None,
        "late packets are its own"
    );
    assert_eq!(after(&closed, TCP, 3 * SECOND), Some(EndedBy::Closed));
}

#[test]
fn a_reset_tells_who_sent_it() {
    let refused = between(seen(1, SYN, 0), seen(1, RST, 0));
    assert_eq!(after(&refused, TCP, 3 * SECOND), Some(EndedBy::Refused));
    let server = between(seen(3, SYN, 9), seen(3, SYN | RST, 9));
    assert_eq!(
        after(&server, TCP, 3 * SECOND),
        Some(EndedBy::ResetByServer)
    );
    let client = between(seen(3, SYN | RST, 9), seen(3, SYN, 9));
    assert_eq!(
        after(&client, TCP, 3 * SECOND),
        Some(EndedBy::ResetByClient)
    );
    let mut joined = refused;
    joined.flags &= !CONNECTION_FROM_SYN;
    assert_eq!(
        after(&joined, TCP, 3 * SECOND),
        Some(EndedBy::ResetByServer),
        "whether it had been accepted before is not known"
    );
}

#[test]
fn a_syn_without_answer_is_given_up_when_no_more_attempt_is_due() {
    let tried = between(seen(3, SYN, 3 * SECOND), Counters::none());
    assert_eq!(after(&tried, TCP, 8 * SECOND), None, "one is due after 4 s");
    assert_eq!(after(&tried, TCP, 10 * SECOND), Some(EndedBy::NoAnswer));
}

#[test]
fn what_has_no_end_of_its_own_ends_when_nothing_comes() {
    let datagrams = between(seen(3, 0, SECOND), seen(3, 0, SECOND));
    assert_eq!(after(&datagrams, UDP, 30 * SECOND), None);
    assert_eq!(after(&datagrams, UDP, 62 * SECOND), Some(EndedBy::Idle));
    let open = between(seen(3, SYN, SECOND), seen(3, SYN, SECOND));
    assert_eq!(after(&open, TCP, 7000 * SECOND), None);
    assert_eq!(after(&open, TCP, 8002 * SECOND), Some(EndedBy::Idle));
    let crowded = ending(UDP, &datagrams, START + 12 * SECOND, &Patience::SHORT);
    assert_eq!(crowded, Some(EndedBy::Idle), "room is needed");
}

#[test]
fn moments_may_wrap_and_clocks_may_differ() {
    let mut entry = between(seen(3, 0, 0), Counters::none());
    entry.created_ns = u64::from(u32::MAX - 5) << MOMENT_SHIFT;
    entry.counters[0].seen_at = 3;
    assert_eq!(ending(UDP, &entry, 10, &Patience::LONG), None);
    let ended = ending(UDP, &entry, 3 + 61 * SECOND, &Patience::LONG);
    assert_eq!(ended, Some(EndedBy::Idle));
    assert_eq!(
        ending(UDP, &entry, 1, &Patience::LONG),
        None,
        "seen later than now"
    );
}

#[test]
fn an_end_tells_everything_that_was() {
    let mut entry = between(seen(5, SYN | FIN, 2 * SECOND), seen(4, SYN | FIN, SECOND));
    entry.handshake_us = 300;
    entry.health[1].srtt8_us = 800;
    entry.health[0].retransmits = 2;
    let mut tuple = Tuple {
        a: [0; 16],
        b: [0; 16],
        a_port: 4000,
        b_port: 80,
        protocol: TCP,
        reserved: [0; 3],
    };
    tuple.a[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
    tuple.b[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 2]);
    let ended = Ended::new(&tuple, &entry, EndedBy::Closed).expect("it is told");
    assert_eq!(ended.client.to_string(), "10.0.0.1:4000");
    assert_eq!(ended.server.to_string(), "10.0.0.2:80");
    assert_eq!((ended.sent.packets, ended.sent.untold_packets), (5, 4));
    assert_eq!(
        (ended.received.bytes, ended.received.untold_bytes),
        (400, 300)
    );
    assert_eq!(ended.received.health.srtt_us, 100);
    assert_eq!(ended.sent.health.retransmits, 2);
    assert_eq!(ended.sent.health.handshake_us, 300);
    assert_eq!(ended.duration_ns, u64::from(2 * SECOND) << MOMENT_SHIFT);
    entry.flags = CONNECTION_PROXIED;
    entry.counters[3] = seen(9, SYN, SECOND);
    let ended = Ended::new(&tuple, &entry, EndedBy::Closed).expect("it is told");
    assert_eq!(ended.client.port(), 80, "the other one began");
    assert_eq!(ended.received.packets, 9, "what the client heard");
    entry.flags |= CONNECTION_UPSTREAM;
    assert_eq!(Ended::new(&tuple, &entry, EndedBy::Closed), None);
}

#[test]
fn a_place_that_is_taken_keeps_how_it_ended() {
    let closed = between(seen(5, SYN | FIN, 10), seen(4, SYN | FIN, 10));
    assert_eq!(replaced(TCP, &closed), EndedBy::Closed);
    let open = between(seen(5, SYN, 10), seen(4, SYN, 10));
    assert_eq!(replaced(TCP, &open), EndedBy::Replaced);
    assert_eq!(replaced(UDP, &closed), EndedBy::Replaced);
}

#[test]
fn what_was_open_at_the_last_beat_was_cut_and_nothing_else() {
    let nanos = |moments: u32| u64::from(moments) << MOMENT_SHIFT;
    let former = Former {
        last_beat: START + 10 * SECOND,
        gone_ns: nanos(START + 12 * SECOND),
    };
    let (before, after) = (9 * SECOND, 11 * SECOND);
    let proxied = |forward: Counters, reply: Counters| {
        let mut entry = between(forward, Counters::none());
        entry.flags |= CONNECTION_PROXIED;
        // What clients hear is seen where it arrives.
        entry.counters[3] = reply;
        was_cut(TCP, &entry, &former)
    };
    let open = |after| seen(5, SYN, after);
    assert!(proxied(open(before), seen(4, SYN, before)), "it was idle");
    assert!(proxied(open(before), seen(4, SYN | FIN, after)));
    assert!(proxied(open(after), seen(4, SYN | RST, after)));
    assert!(
        !proxied(seen(5, SYN | FIN, before), seen(4, SYN | FIN, before)),
        "it had ended before"
    );
    assert!(
        !proxied(seen(1, SYN, after), seen(1, RST, after)),
        "nobody was there to accept it"
    );
    assert!(!proxied(seen(1, SYN, after), Counters::none()));
    let beside = between(seen(5, SYN, before), seen(4, SYN, before));
    assert!(!was_cut(TCP, &beside, &former), "it passes by");
    let mut next = between(seen(5, SYN, 13 * SECOND), seen(4, SYN, 13 * SECOND));
    next.flags |= CONNECTION_PROXIED;
    assert!(was_cut(TCP, &next, &former));
    next.created_ns = nanos(START + 13 * SECOND);
    assert!(!was_cut(TCP, &next, &former), "it is the next proxy's");
}
