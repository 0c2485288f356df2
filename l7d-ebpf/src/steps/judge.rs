//! Both ends' policies on a connection, judged once per policy generation.

use l7d_ebpf::maps::{
    ACTION_ALLOW, ACTION_AUDIT, ACTION_DENY, ACTION_REDIRECT, CONFIG_IPCACHE_INCOMPLETE, Config,
    HOST_ENDPOINT, IDENTITY_HOST, IPCACHE_ADDRESS, IPCACHE_SERVICE, Ipcache, Verdict,
};
use l7d_ebpf::records::{DIRECTION_EGRESS, DIRECTION_INGRESS};

use super::headers::{ICMP4, ICMP6};
use super::passage::Passage;
use super::policy::{self, Decision, Question};
use super::{report, words};

/// What is judged: the packet's own direction, or the one that it would answer.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// The packet begins, or belongs to the direction that began.
    Forward,
    /// The packet answers; the connection began unseen. Nothing is told.
    AsReply,
    /// As if it belonged to the direction that began, before that is decided. Nothing is told.
    AsBeginning,
}

/// Judges the connection by both ends' policies, the verdicts of this generation reused, and
/// leaves the result in `passage.verdicts`. Returns `ACTION_*`, the strictest.
#[inline(always)]
pub(crate) fn judge(passage: &mut Passage, config: &Config, reading: Reading) -> u32 {
    judge_connection(passage, config, reading as u32)
}

/// A global function: the verifier looks at it once, whoever calls it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn judge_connection(passage: *mut Passage, config: *const Config, reading: u32) -> u32 {
    // SAFETY: references of the only caller; the verifier wants them to be asked.
    let (Some(passage), Some(config)) = (unsafe { passage.as_mut() }, unsafe { config.as_ref() })
    else {
        return u32::from(ACTION_DENY);
    };
    let reading = match reading {
        0 => Reading::Forward,
        1 => Reading::AsReply,
        _ => Reading::AsBeginning,
    };
    if reading != Reading::Forward {
        words::forget(&mut passage.verdicts);
    }
    let (beginner, receiver) = match reading {
        Reading::Forward | Reading::AsBeginning => (passage.source, passage.destination),
        Reading::AsReply => (passage.destination, passage.source),
    };
    if passes_always(passage) || receiver.flags & IPCACHE_SERVICE != 0 {
        // Behind a virtual address, the sender's policy is asked after the translation.
        return u32::from(ACTION_ALLOW);
    }
    let egress = judge_side(
        passage,
        config,
        reading,
        DIRECTION_EGRESS,
        (beginner, receiver),
    );
    if egress == u32::from(ACTION_DENY) {
        return egress;
    }
    let ingress = judge_side(
        passage,
        config,
        reading,
        DIRECTION_INGRESS,
        (receiver, beginner),
    );
    if ingress > egress { ingress } else { egress }
}

/// Judges a TCP connection that began before us, or whose entry was evicted, and finds out which way
/// it goes. It is kept when either direction of it would be allowed; no new connection can begin this
/// way. Returns `ACTION_*`.
#[inline(always)]
pub(crate) fn join(passage: &mut Passage, config: &Config) -> u32 {
    let deny = u32::from(ACTION_DENY);
    let as_reply = judge(passage, config, Reading::AsReply);
    // The server's port is the smaller one nearly always.
    let looks_like_reply = passage.packet.source_port < passage.packet.destination_port;
    if looks_like_reply && as_reply != deny {
        passage.is_reply = true;
        return as_reply;
    }
    // A denial is told only where it holds.
    if as_reply != deny && judge(passage, config, Reading::AsBeginning) == deny {
        words::forget(&mut passage.verdicts);
        passage.is_reply = true;
        return as_reply;
    }
    words::forget(&mut passage.verdicts);
    judge(passage, config, Reading::Forward)
}

/// One endpoint's verdict, and its record.
#[inline(always)]
fn judge_side(
    passage: &mut Passage,
    config: &Config,
    reading: Reading,
    direction: u8,
    (own, peer): (Ipcache, Ipcache),
) -> u32 {
    if own.endpoint == 0 {
        return u32::from(ACTION_ALLOW);
    }
    let [egress, ingress] = passage.verdicts;
    let known = if direction == DIRECTION_EGRESS {
        egress
    } else {
        ingress
    };
    if known.action != 0 && known.generation == passage.generation {
        return u32::from(known.action);
    }
    let decision = decide(passage, config, reading, direction, own, peer);
    let verdict = Verdict {
        generation: passage.generation,
        rule: decision.rule,
        action: u16::from(decision.action),
        is_audited: u16::from(decision.is_audited),
    };
    if decision.has_policy && reading == Reading::Forward {
        let is_known = known.action == verdict.action
            && known.rule == verdict.rule
            && known.is_audited == verdict.is_audited;
        report::policy(passage, &decision, is_known);
        if decision.action == ACTION_DENY {
            report::drop(passage, &decision);
        }
    }
    let [egress, ingress] = &mut passage.verdicts;
    *(if direction == DIRECTION_EGRESS {
        egress
    } else {
        ingress
    }) = verdict;
    u32::from(decision.action)
}

#[inline(always)]
fn decide(
    passage: &Passage,
    config: &Config,
    reading: Reading,
    direction: u8,
    own: Ipcache,
    peer: Ipcache,
) -> Decision {
    let packet = &passage.packet;
    let port = match (packet.protocol, reading) {
        // ICMP rules name types; they stand where ports do.
        (ICMP4 | ICMP6, _) => u16::from(packet.icmp_type),
        (_, Reading::Forward | Reading::AsBeginning) => packet.destination_port,
        (_, Reading::AsReply) => packet.source_port,
    };
    let question = Question {
        endpoint: own.endpoint,
        direction,
        protocol: packet.protocol,
        port,
        identity: peer.identity,
        generation: passage.generation,
        is_exempt: direction == DIRECTION_INGRESS
            && peer.identity == IDENTITY_HOST
            && own.endpoint != HOST_ENDPOINT,
        is_unknown: config.flags & CONFIG_IPCACHE_INCOMPLETE != 0
            && peer.flags & IPCACHE_ADDRESS == 0,
    };
    policy::decide(&question)
}

/// Errors about other packets and neighbour discovery (RFC 4861): without them nothing works, and
/// they carry nothing.
#[inline(always)]
fn passes_always(passage: &Passage) -> bool {
    let kind = passage.packet.icmp_type;
    match passage.packet.protocol {
        ICMP4 => matches!(kind, 3 | 11 | 12),
        ICMP6 => matches!(kind, 1..=4 | 130..=137 | 143),
        _ => false,
    }
}

/// Deny is the greatest action, so the greater of two verdicts is the stricter one.
const _: () = assert!(
    ACTION_DENY > ACTION_REDIRECT && ACTION_REDIRECT > ACTION_AUDIT && ACTION_AUDIT > ACTION_ALLOW
);
