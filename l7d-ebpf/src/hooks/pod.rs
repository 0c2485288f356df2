//! The host interface of a pod: what it sends and what it receives.

use aya_ebpf::bindings::{TC_ACT_PIPE, TC_ACT_SHOT};
use aya_ebpf::programs::TcContext;
use l7d_ebpf::maps::{
    ACTION_AUDIT, ACTION_DENY, ACTION_REDIRECT, CONNECTION_ENFORCED, CONNECTION_PROXIED,
    CONNECTION_TAPPED, CONNECTION_UPSTREAM, Config, Connection, IPCACHE_SERVICE, Interface,
    WATCHED_BY_PROXY, WATCHED_BY_TAP,
};
use l7d_ebpf::records::{POINT_TO_ENDPOINT, POINT_TO_PROXY, POINT_TO_STACK};

use crate::state::{self, INTERFACES};
use crate::steps::headers::{self, NoPacket, TCP, UDP};
use crate::steps::judge::{self, Reading};
use crate::steps::passage::{Passage, Side};
use crate::steps::{conntrack, redirect, report, tap};

const AUDIT: u32 = ACTION_AUDIT as u32;
const DENY: u32 = ACTION_DENY as u32;
const REDIRECT: u32 = ACTION_REDIRECT as u32;

/// tc ingress of a pod's host interface: the pod sends.
#[inline(always)]
pub(crate) fn from_pod(ctx: &TcContext) -> i32 {
    pass(ctx, Side::Leaving)
}

/// tc egress of a pod's host interface: the pod receives.
#[inline(always)]
pub(crate) fn to_pod(ctx: &TcContext) -> i32 {
    pass(ctx, Side::Arriving)
}

#[inline(always)]
fn pass(ctx: &TcContext, side: Side) -> i32 {
    let Some(config) = state::config() else {
        return TC_ACT_PIPE;
    };
    // SAFETY: reads of the context the kernel gave us.
    let (interface, mark, from) = unsafe {
        (
            (*ctx.skb.skb).ifindex,
            (*ctx.skb.skb).mark,
            (*ctx.skb.skb).ingress_ifindex,
        )
    };
    // SAFETY: the value is copied at once; user space replaces whole values.
    let Some(owner) = (unsafe { INTERFACES.get(&interface) }).copied() else {
        return TC_ACT_PIPE;
    };
    let Some(passage) = Passage::begin(side, interface, config.generation) else {
        return TC_ACT_PIPE;
    };
    passage.endpoint = owner.endpoint;
    passage.is_local = from == 0;
    match headers::read(ctx, &mut passage.packet) {
        Ok(()) => {}
        // A receiver can never complete it; a sender's is dropped, since no policy can be asked.
        Err(NoPacket::UnknownFragment) => {
            return if side == Side::Leaving {
                TC_ACT_SHOT
            } else {
                TC_ACT_PIPE
            };
        }
        Err(NoPacket::NotIp | NoPacket::Truncated) => return TC_ACT_PIPE,
    }
    // A pod cannot speak for the proxy: marks are the node's, and count where packets arrive.
    let mark = if side == Side::Arriving {
        mark & config.mark_mask
    } else {
        0
    };
    if mark != 0 && mark == config.mark_reply {
        return TC_ACT_PIPE;
    }
    let is_upstream = mark == config.mark_upstream || mark == config.mark_upstream_local;
    if mark != 0 && is_upstream {
        return from_proxy(passage, config, owner);
    }
    match conntrack::find(passage) {
        Some(entry) if passage.is_settled() => forward(ctx, passage, entry, config, owner),
        Some(entry) => judge_again(ctx, passage, entry, config, owner),
        None => begin(ctx, passage, config, owner),
    }
}

/// The proxy's own connection to a server: L3/L4 policy holds for it, its requests are judged
/// already.
#[inline(always)]
fn from_proxy(passage: &mut Passage, config: &Config, owner: Interface) -> i32 {
    if conntrack::find(passage).is_some() {
        // Judged where the client's own connection was seen: it has the same tuple.
        return TC_ACT_PIPE;
    }
    passage.name_ends(owner);
    let action = judge::judge(passage, config, Reading::Forward);
    if action == DENY {
        TC_ACT_SHOT
    } else {
        TC_ACT_PIPE
    }
}

/// Counts, reports, and sends it on: to the portal when the connection is redirected.
#[inline(always)]
fn forward(
    ctx: &TcContext,
    passage: &mut Passage,
    entry: &mut Connection,
    config: &Config,
    owner: Interface,
) -> i32 {
    if passage.packet.is_syn() && !passage.is_reply && entry.flags & CONNECTION_PROXIED != 0 {
        // The proxy went away between two attempts to connect.
        if let Some(action) = retry_without_proxy(passage, entry, config) {
            return action;
        }
    }
    // What this host's stack answers by itself in the place of a proxy that is gone (a reset) is
    // for the client.
    let is_proxied = redirect::is_for_proxy(passage, entry, config)
        && !(passage.is_reply && passage.side == Side::Arriving && passage.is_local);
    if !is_proxied {
        let action = redirect::past_proxy(passage, entry, config);
        if action != TC_ACT_PIPE {
            return action;
        }
    }
    let run = conntrack::count(passage, entry, config);
    if let Some(run) = run.filter(|_| entry.flags & CONNECTION_UPSTREAM == 0) {
        passage.name_ends(owner);
        let point = match (is_proxied, passage.side) {
            (true, _) => POINT_TO_PROXY,
            (false, Side::Leaving) => POINT_TO_STACK,
            (false, Side::Arriving) => POINT_TO_ENDPOINT,
        };
        report::trace(passage, point, &run);
    }
    if is_proxied {
        return redirect::to_portal(config);
    }
    if entry.flags & CONNECTION_TAPPED != 0 {
        // What cannot be copied is counted there, and passes all the same.
        let _copied = tap::copy(ctx, passage, entry, config);
    }
    TC_ACT_PIPE
}

/// A client that tries again while there is no proxy: it passes where its connection was only looked
/// at, or where enforced ports fail open.
#[inline(always)]
fn retry_without_proxy(passage: &Passage, entry: &mut Connection, config: &Config) -> Option<i32> {
    if redirect::is_possible(config) {
        return None;
    }
    if entry.flags & CONNECTION_ENFORCED != 0
        && let Some(action) = redirect::without_proxy(passage, config)
    {
        return Some(action);
    }
    entry.flags &= !(CONNECTION_PROXIED | CONNECTION_ENFORCED);
    None
}

/// The policy changed since the connection was judged, or this side was not asked yet.
#[inline(always)]
fn judge_again(
    ctx: &TcContext,
    passage: &mut Passage,
    entry: &mut Connection,
    config: &Config,
    owner: Interface,
) -> i32 {
    passage.name_ends(owner);
    let action = judge::judge(passage, config, Reading::Forward);
    if action == DENY {
        return TC_ACT_SHOT;
    }
    passage.settle();
    entry.verdicts = passage.verdicts;
    if action != REDIRECT {
        entry.flags &= !CONNECTION_ENFORCED;
    }
    if passage.packet.protocol == UDP {
        entry.flags &= !(CONNECTION_PROXIED | CONNECTION_ENFORCED);
        entry.flags |= if action == AUDIT && passage.packet.is_proxiable() {
            CONNECTION_PROXIED
        } else {
            watch(passage, config)
        };
    } else if passage.packet.protocol == TCP {
        entry.flags = tap::renew(passage, entry.flags);
    }
    if action == REDIRECT && passage.packet.is_proxiable() {
        // No proxy socket knows a TCP connection that began before: the portal's stack resets it.
        entry.flags |= CONNECTION_PROXIED | CONNECTION_ENFORCED;
    }
    forward(ctx, passage, entry, config, owner)
}

/// The first packet of a connection that we see.
#[inline(always)]
fn begin(ctx: &TcContext, passage: &mut Passage, config: &Config, owner: Interface) -> i32 {
    passage.name_ends(owner);
    let is_late = passage.packet.protocol == TCP && !passage.packet.is_syn();
    let flags = if is_late {
        join(ctx, passage, config)
    } else {
        open(passage, config)
    };
    let mut flags = match flags {
        Ok(flags) => flags,
        Err(action) => return action,
    };
    if is_late && flags & CONNECTION_PROXIED == 0 {
        flags |= tap::join(passage);
    }
    passage.settle();
    match conntrack::insert(passage, flags) {
        Some(entry) => forward(ctx, passage, entry, config, owner),
        // The table is full of connections in use: nothing is remembered, the verdict holds.
        None if flags & CONNECTION_PROXIED != 0 => redirect::to_portal(config),
        None => TC_ACT_PIPE,
    }
}

/// A new connection: its flags, or what happens to its packet.
#[inline(always)]
fn open(passage: &mut Passage, config: &Config) -> Result<u32, i32> {
    match judge::judge(passage, config, Reading::Forward) {
        DENY => Err(TC_ACT_SHOT),
        REDIRECT if passage.packet.is_proxiable() => {
            if redirect::is_possible(config) {
                return Ok(CONNECTION_PROXIED | CONNECTION_ENFORCED);
            }
            redirect::without_proxy(passage, config).map_or(Ok(0), Err)
        }
        // Looking is not touching: without the proxy, which datagrams ask for one by one, it passes.
        AUDIT
            if passage.packet.is_proxiable()
                && (passage.packet.protocol == UDP || redirect::is_possible(config)) =>
        {
            Ok(CONNECTION_PROXIED)
        }
        _ => Ok(watch(passage, config)),
    }
}

/// Whether and how a connection is to be looked at: its port is watched, and the proxy is there
/// where it is to look; datagrams find out at each packet whether it is.
#[inline(always)]
fn watch(passage: &Passage, config: &Config) -> u32 {
    let packet = &passage.packet;
    let begins = packet.is_syn() || packet.protocol == UDP;
    if !begins || passage.destination.flags & IPCACHE_SERVICE != 0 {
        return 0;
    }
    match tap::watched(packet.protocol, packet.destination_port) {
        WATCHED_BY_PROXY if packet.protocol == UDP || redirect::is_possible(config) => {
            CONNECTION_PROXIED
        }
        WATCHED_BY_TAP if packet.protocol == TCP => tap::begin(passage),
        _ => 0,
    }
}

/// A TCP connection that began before us, or whose entry was evicted: its flags, or what happens to
/// its packet.
#[inline(always)]
fn join(ctx: &TcContext, passage: &mut Passage, config: &Config) -> Result<u32, i32> {
    let proxied = match (
        redirect::proxy_has_socket(ctx, &passage.packet),
        passage.side,
    ) {
        (false, _) => 0,
        (true, Side::Leaving) => CONNECTION_PROXIED,
        // What the proxy sends to a client has its mark: this is what a server sends to the proxy.
        (true, Side::Arriving) => CONNECTION_PROXIED | CONNECTION_UPSTREAM,
    };
    match judge::join(passage, config) {
        DENY => Err(TC_ACT_SHOT),
        REDIRECT => Ok(proxied | CONNECTION_PROXIED | CONNECTION_ENFORCED),
        _ => Ok(proxied),
    }
}
