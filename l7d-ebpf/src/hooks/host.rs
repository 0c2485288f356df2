//! This node itself, at its uplinks: what comes for its own addresses, and what it sends. These
//! programs do what those of `uplink` do, and stand in their place where policies of the node are
//! enforced.

use aya_ebpf::programs::TcContext;
use l7d_ebpf::maps::{
    ACTION_AUDIT, ACTION_DENY, AGGREGATION_NONE, CONNECTION_HOST, CONNECTION_UPSTREAM, Config,
    Connection, HOST_ENDPOINT,
};
use l7d_ebpf::records::{
    DIRECTION_EGRESS, DIRECTION_INGRESS, POINT_FROM_NETWORK, POINT_TO_HOST, POINT_TO_NETWORK,
    REASON_PROXY_UNAVAILABLE,
};

use super::uplink;
use crate::state;
use crate::steps::action::{DROP, PASS};
use crate::steps::headers::{self, NoPacket, Packet, TCP};
use crate::steps::judge::{self, Reading};
use crate::steps::passage::{NOBODY, Passage, Side};
use crate::steps::{address, clock, conntrack, health, ipcache, policy, redirect, report, words};

/// tc ingress: replies of proxied connections go to the proxy, and what is for this node is judged.
#[inline(always)]
pub(crate) fn guard_in(ctx: &TcContext) -> i32 {
    let Some(config) = state::config() else {
        return PASS;
    };
    // SAFETY: a read of the context the kernel gave us.
    let interface = unsafe { (*ctx.skb.skb).ifindex };
    let Some(passage) = Passage::begin(Side::Arriving, interface, config.generation) else {
        return PASS;
    };
    passage.is_uplink = true;
    passage.moment = clock::moment();
    if let Err(fault) = headers::read(ctx, &mut passage.packet) {
        return refuse_arriving(passage, fault);
    }
    let known = conntrack::find(passage);
    if let Some(entry) = &known
        && redirect::is_for_proxy(passage, entry, config)
    {
        return redirect::to_portal(config);
    }
    judge_unless_settled(passage, known, config)
}

/// tc egress: what a pod sent to a service address is judged, and what this node's own processes
/// send.
#[inline(always)]
pub(crate) fn guard_out(ctx: &TcContext) -> i32 {
    let Some(config) = state::config() else {
        return PASS;
    };
    // SAFETY: reads of the context the kernel gave us.
    let (interface, mark, from) = unsafe {
        (
            (*ctx.skb.skb).ifindex,
            (*ctx.skb.skb).mark & config.mark_mask,
            (*ctx.skb.skb).ingress_ifindex,
        )
    };
    let Some(passage) = Passage::begin(Side::Leaving, interface, config.generation) else {
        return PASS;
    };
    passage.is_uplink = true;
    passage.moment = clock::moment();
    if let Err(fault) = headers::read(ctx, &mut passage.packet) {
        return refuse_leaving(passage, fault, mark == 0 && from == 0);
    }
    if mark != 0 {
        return from_proxy(ctx, passage, config, mark);
    }
    match conntrack::find(passage) {
        Some(entry) if passage.is_settled() => pass(passage, entry, config),
        known => {
            passage.source = ipcache::look_up(&passage.packet.source);
            match (passage.source.endpoint, from) {
                (HOST_ENDPOINT, 0) => judge_unless_settled(passage, known, config),
                // Behind a translation, what others send has this node's address as well.
                (HOST_ENDPOINT, _) => uplink::translated(passage, known, config),
                (0, _) => PASS,
                _ => uplink::from_pod(passage, known, config),
            }
        }
    }
}

/// What cannot be judged does not come in. A datagram is never complete without its first fragment, which
/// is judged, and tags are for the interfaces of their VLANs.
#[inline(never)]
fn refuse_arriving(passage: &mut Passage, fault: NoPacket) -> i32 {
    let (NoPacket::TinyFragment | NoPacket::LongChain, Some(reason)) = (fault, fault.refusal())
    else {
        return PASS;
    };
    name_ends(passage);
    if passage.destination.endpoint != HOST_ENDPOINT
        || !policy::is_asked(HOST_ENDPOINT, DIRECTION_INGRESS)
    {
        return PASS;
    }
    report::refused(passage, reason);
    DROP
}

/// What cannot be judged does not leave.
#[inline(never)]
fn refuse_leaving(passage: &mut Passage, fault: NoPacket, may_be_own: bool) -> i32 {
    let reason = match (fault, fault.refusal()) {
        (NoPacket::Tagged, _) | (_, None) => return PASS,
        (_, Some(reason)) => reason,
    };
    name_ends(passage);
    if !may_be_own
        || passage.source.endpoint != HOST_ENDPOINT
        || !policy::is_asked(HOST_ENDPOINT, DIRECTION_EGRESS)
    {
        return PASS;
    }
    report::refused(passage, reason);
    DROP
}

/// What the proxy sends: in the name of others, or, where a process of this node asked, in this node's.
#[inline(always)]
fn from_proxy(ctx: &TcContext, passage: &mut Passage, config: &Config, mark: u32) -> i32 {
    if mark == config.mark_reply {
        return uplink::from_proxy(passage, config, mark);
    }
    passage.source = ipcache::look_up(&passage.packet.source);
    if passage.source.endpoint != HOST_ENDPOINT {
        return uplink::from_proxy(passage, config, mark);
    }
    let known = conntrack::find(passage);
    if has_socket_address(ctx, &passage.packet) {
        judge_unless_settled(passage, known, config)
    } else {
        expect_replies(passage, known.is_some())
    }
}

/// Whether the socket that sends has the packet's address: the proxy's own, not one with a client's.
#[inline(always)]
fn has_socket_address(ctx: &TcContext, packet: &Packet) -> bool {
    let own = address::words(&packet.source);
    // SAFETY: the kernel's pointer, checked before it is followed; each field is read as one word,
    // as the verifier wants it.
    unsafe {
        let socket = (*ctx.skb.skb).__bindgen_anon_2.sk;
        if socket.is_null() {
            return false;
        }
        if packet.is_ipv4 {
            return core::ptr::read_volatile(&raw const (*socket).src_ip4) == own[3];
        }
        let field = (&raw const (*socket).src_ip6).cast::<u32>();
        (0..4).all(|word| core::ptr::read_volatile(field.add(word)) == own[word])
    }
}

/// What the proxy sends for pods leaves with our address, behind a translation: its replies come to it,
/// and are told where pods hear them.
#[inline(always)]
fn expect_replies(passage: &mut Passage, is_known: bool) -> i32 {
    if !is_known {
        passage.settle();
        conntrack::number(passage);
        // Without an entry its replies are judged like anything that comes for this node.
        let _ = conntrack::insert(passage, CONNECTION_UPSTREAM);
    }
    PASS
}

/// Lets pass what is settled or not for this node; anything else is judged.
#[inline(always)]
fn judge_unless_settled(
    passage: &mut Passage,
    known: Option<&'static mut Connection>,
    config: &Config,
) -> i32 {
    match known {
        Some(entry) if passage.is_settled() => pass(passage, entry, config),
        known => {
            name_ends(passage);
            let own = if passage.side == Side::Leaving {
                passage.source
            } else {
                passage.destination
            };
            if own.endpoint != HOST_ENDPOINT {
                return PASS;
            }
            if passage.packet.is_judged_by_first(known.is_some()) {
                return match passage.side {
                    Side::Leaving => refuse_leaving(passage, NoPacket::UnknownFragment, true),
                    Side::Arriving => PASS,
                };
            }
            judge(passage, known, config)
        }
    }
}

/// Judges a new connection, one that began before us, or one whose policy has changed.
#[inline(always)]
fn judge(passage: &mut Passage, known: Option<&'static mut Connection>, config: &Config) -> i32 {
    let is_late = passage.packet.protocol == TCP && !passage.packet.is_syn();
    if known.is_none() {
        conntrack::number(passage);
    }
    let action = if known.is_none() && is_late {
        judge::join(passage, config)
    } else {
        judge::judge(passage, config, Reading::Forward)
    };
    // The node has no policy of requests: what asks for the proxy is as good as denied.
    if action > u32::from(ACTION_AUDIT) {
        if action != u32::from(ACTION_DENY) {
            report::refused(passage, REASON_PROXY_UNAVAILABLE);
        }
        return DROP;
    }
    passage.settle();
    let entry = match known {
        Some(entry) => {
            words::copy(&mut entry.verdicts, &passage.verdicts);
            entry.flags |= CONNECTION_HOST;
            Some(entry)
        }
        None => conntrack::insert(passage, CONNECTION_HOST),
    };
    match entry {
        Some(entry) => pass(passage, entry, config),
        // The table is full of connections in use: nothing is remembered, the verdict holds.
        None => PASS,
    }
}

/// Counts and reports what is this node's; connections of pods are counted at theirs, and where they
/// leave.
#[inline(never)]
fn pass(passage: &mut Passage, entry: &mut Connection, config: &Config) -> i32 {
    if entry.flags & CONNECTION_HOST == 0 {
        return match passage.side {
            Side::Leaving => uplink::leave(passage, entry, config),
            Side::Arriving => uplink::arrive(passage, entry, config),
        };
    }
    passage.is_first_place = true;
    health::observe(passage, entry);
    if config.aggregation == AGGREGATION_NONE && passage.side == Side::Arriving {
        name_ends(passage);
        report::packet(passage, entry, POINT_FROM_NETWORK);
    }
    if conntrack::count(passage, entry, config) {
        name_ends(passage);
        let point = match passage.side {
            Side::Leaving => POINT_TO_NETWORK,
            Side::Arriving => POINT_TO_HOST,
        };
        report::trace(passage, entry, point);
    }
    PASS
}

/// Finds out who both ends are. Nobody of this node comes from outside, whatever the packet says.
#[inline(always)]
fn name_ends(passage: &mut Passage) {
    passage.endpoint = u32::from(HOST_ENDPOINT);
    passage.source = ipcache::look_up(&passage.packet.source);
    passage.destination = ipcache::look_up(&passage.packet.destination);
    if passage.side == Side::Arriving && passage.source.endpoint != 0 {
        passage.source = NOBODY;
    }
}
