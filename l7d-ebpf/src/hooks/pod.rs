//! The host interface of a pod: what it sends and what it receives.

use aya_ebpf::programs::TcContext;
use l7d_ebpf::maps::{
    ACTION_AUDIT, ACTION_DENY, ACTION_REDIRECT, AGGREGATION_NONE, CONNECTION_ENFORCED,
    CONNECTION_PROXIED, CONNECTION_TAPPED, CONNECTION_UPSTREAM, Config, Connection, IDENTITY_HOST,
    IPCACHE_SERVICE, WATCHED_BY_PROXY, WATCHED_BY_TAP,
};
use l7d_ebpf::records::{
    DIRECTION_EGRESS, DIRECTION_INGRESS, POINT_FROM_ENDPOINT, POINT_FROM_PROXY, POINT_TO_ENDPOINT,
    POINT_TO_HOST, POINT_TO_PROXY, POINT_TO_STACK, REASON_FRAGMENT,
};

use crate::state::{self, INTERFACES};
use crate::steps::action::{DROP, PASS};
use crate::steps::headers::{self, TCP, UDP};
use crate::steps::judge::{self, Reading};
use crate::steps::passage::{self, Passage, Side};
use crate::steps::{clock, conntrack, health, policy, redirect, report, tap, words};

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
        return PASS;
    };
    // SAFETY: reads of the context the kernel gave us.
    let (interface, mark, from) = unsafe {
        (
            (*ctx.skb.skb).ifindex,
            (*ctx.skb.skb).mark,
            (*ctx.skb.skb).ingress_ifindex,
        )
    };
    let Some(passage) = Passage::begin(side, interface, config.generation) else {
        return PASS;
    };
    passage.is_local = from == 0;
    passage.moment = clock::moment();
    if let Err(fault) = headers::read(ctx, &mut passage.packet) {
        return match fault.refusal() {
            Some(reason) => refuse(passage, reason),
            None => PASS,
        };
    }
    // A pod cannot speak for the proxy: marks are the node's, and count where packets arrive.
    let mark = if side == Side::Arriving {
        mark & config.mark_mask
    } else {
        0
    };
    if mark != 0 {
        if mark == config.mark_reply {
            return to_client(passage, config);
        }
        if mark == config.mark_upstream || mark == config.mark_upstream_local {
            return to_server(passage, config);
        }
    }
    let known = conntrack::find(passage);
    passage::forget();
    let entry = match known {
        Some(entry) if passage.is_settled() => entry,
        known => match admit(ctx, passage, config, known) {
            Some(entry) => entry,
            None => return passage.action,
        },
    };
    passage::forget();
    forward(ctx, passage, entry, config)
}

/// Asks the policies of both ends where the connection is not settled, and gives its entry; without
/// one, `passage.action` says what happens to the packet. A function of its own: nearly no packet needs
/// it.
#[inline(never)]
fn admit(
    ctx: &TcContext,
    passage: &mut Passage,
    config: &Config,
    known: Option<&'static mut Connection>,
) -> Option<&'static mut Connection> {
    if passage.packet.is_judged_by_first(known.is_some()) {
        passage.action = refuse(passage, REASON_FRAGMENT);
        return None;
    }
    passage.action = PASS;
    if !name_ends(passage) {
        return None;
    }
    match known {
        Some(entry) => judge_again(passage, entry, config),
        None => begin(ctx, passage, config),
    }
}

/// What cannot be judged is neither sent nor received where there is policy. A later fragment that
/// arrives passes: without its first one, which is judged, a receiver can never complete it, and the
/// first may come behind.
#[inline(never)]
fn refuse(passage: &mut Passage, reason: u8) -> i32 {
    let direction = match passage.side {
        Side::Leaving => DIRECTION_EGRESS,
        Side::Arriving if reason == REASON_FRAGMENT => return PASS,
        Side::Arriving => DIRECTION_INGRESS,
    };
    if !name_ends(passage) || !policy::is_asked(passage.endpoint as u16, direction) {
        return PASS;
    }
    report::refused(passage, reason);
    DROP
}

/// Finds out who both ends are, and whether the interface is still that of an endpoint.
#[inline(always)]
fn name_ends(passage: &mut Passage) -> bool {
    // SAFETY: the value is copied at once; user space replaces whole values.
    let Some(owner) = (unsafe { INTERFACES.get(&passage.interface) }).copied() else {
        return false;
    };
    passage.endpoint = owner.endpoint;
    passage.name_ends(owner);
    true
}

/// The proxy's own connection to a server: L3/L4 policy holds for it, its requests are judged
/// already.
#[inline(always)]
fn to_server(passage: &mut Passage, config: &Config) -> i32 {
    if let Some(entry) = conntrack::find(passage) {
        // Judged where the client's own connection was seen: it has the same tuple.
        from_proxy(passage, entry, config);
        return PASS;
    }
    if !name_ends(passage) {
        return PASS;
    }
    conntrack::number(passage);
    if judge::judge(passage, config, Reading::Forward) == DENY {
        DROP
    } else {
        PASS
    }
}

/// What the proxy sends to a client, in the name of its server.
#[inline(always)]
fn to_client(passage: &mut Passage, config: &Config) -> i32 {
    if let Some(entry) = conntrack::find(passage) {
        health::observe(passage, entry);
        from_proxy(passage, entry, config);
    }
    PASS
}

/// Counts and reports what comes from the proxy.
#[inline(never)]
fn from_proxy(passage: &mut Passage, entry: &mut Connection, config: &Config) {
    if entry.flags & CONNECTION_UPSTREAM != 0 {
        return;
    }
    if config.aggregation == AGGREGATION_NONE && name_ends(passage) {
        report::packet(passage, entry, POINT_FROM_PROXY);
    }
    conntrack::note_place(passage, entry);
    if conntrack::count(passage, entry, config) && name_ends(passage) {
        report::trace(passage, entry, POINT_TO_ENDPOINT);
    }
}

/// Counts, reports, and sends it on: to the portal when the connection is redirected.
#[inline(always)]
fn forward(ctx: &TcContext, passage: &mut Passage, entry: &mut Connection, config: &Config) -> i32 {
    if passage.packet.is_syn() && !passage.is_reply && entry.flags & CONNECTION_PROXIED != 0 {
        // The proxy went away between two attempts to connect.
        if let Some(action) = retry_without_proxy(passage, entry, config) {
            return action;
        }
    }
    // What this host's stack answers by itself in the place of a proxy that is gone (a reset) is
    // for the client.
    passage.is_proxied = redirect::is_for_proxy(passage, entry, config)
        && !(passage.is_reply && passage.side == Side::Arriving && passage.is_local);
    if !passage.is_proxied {
        let action = redirect::past_proxy(passage, entry, config);
        if action != PASS {
            return action;
        }
    }
    passage::forget();
    if entry.flags & CONNECTION_UPSTREAM == 0 {
        tell(passage, entry, config);
    }
    passage::forget();
    if passage.is_proxied {
        return redirect::to_portal(config);
    }
    if entry.flags & CONNECTION_TAPPED != 0 {
        tap::copy(ctx, passage, entry, config);
    }
    PASS
}

/// Measures, counts and reports.
#[inline(always)]
fn tell(passage: &mut Passage, entry: &mut Connection, config: &Config) {
    conntrack::note_place(passage, entry);
    passage::forget();
    // Behind the proxy's split, what servers send is another conversation than what clients hear.
    let is_measured = if entry.flags & CONNECTION_PROXIED != 0 {
        !passage.is_reply
    } else {
        passage.is_first_place
    };
    if is_measured {
        health::observe(passage, entry);
    }
    if config.aggregation == AGGREGATION_NONE {
        tell_origin(passage, entry);
    }
    passage::forget();
    if conntrack::count(passage, entry, config) {
        tell_goal(passage, entry);
    }
}

/// Reports one packet where it comes from.
#[inline(never)]
fn tell_origin(passage: &mut Passage, entry: &Connection) {
    if passage.side == Side::Leaving && name_ends(passage) {
        report::packet(passage, entry, POINT_FROM_ENDPOINT);
    }
}

/// Reports packets where they go.
#[inline(never)]
fn tell_goal(passage: &mut Passage, entry: &Connection) {
    if !name_ends(passage) {
        return;
    }
    let point = match (passage.is_proxied, passage.side) {
        (true, _) => POINT_TO_PROXY,
        (false, Side::Arriving) => POINT_TO_ENDPOINT,
        (false, Side::Leaving) if passage.destination.identity == IDENTITY_HOST => POINT_TO_HOST,
        (false, Side::Leaving) => POINT_TO_STACK,
    };
    report::trace(passage, entry, point);
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
    passage: &mut Passage,
    entry: &'static mut Connection,
    config: &Config,
) -> Option<&'static mut Connection> {
    let action = judge::judge(passage, config, Reading::Forward);
    if action == DENY {
        passage.action = DROP;
        return None;
    }
    passage.settle();
    words::copy(&mut entry.verdicts, &passage.verdicts);
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
    Some(entry)
}

/// The first packet of a connection that we see.
#[inline(always)]
fn begin(
    ctx: &TcContext,
    passage: &mut Passage,
    config: &Config,
) -> Option<&'static mut Connection> {
    conntrack::number(passage);
    let is_late = passage.packet.protocol == TCP && !passage.packet.is_syn();
    let flags = if is_late {
        join(ctx, passage, config)
    } else {
        open(passage, config)
    };
    let mut flags = match flags {
        Ok(flags) => flags,
        Err(action) => {
            passage.action = action;
            return None;
        }
    };
    if is_late && flags & CONNECTION_PROXIED == 0 {
        flags |= tap::join(passage);
    }
    passage.settle();
    let entry = conntrack::insert(passage, flags);
    // Where the table is full of connections in use nothing is remembered, and the verdict holds.
    if entry.is_none() && flags & CONNECTION_PROXIED != 0 {
        passage.action = redirect::to_portal(config);
    }
    entry
}

/// A new connection: its flags, or what happens to its packet.
#[inline(always)]
fn open(passage: &mut Passage, config: &Config) -> Result<u32, i32> {
    match judge::judge(passage, config, Reading::Forward) {
        DENY => Err(DROP),
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
        DENY => Err(DROP),
        REDIRECT => Ok(proxied | CONNECTION_PROXIED | CONNECTION_ENFORCED),
        _ => Ok(proxied),
    }
}
