//! The interface that leads out of the node.

use aya_ebpf::programs::TcContext;
use l7d_ebpf::maps::{
    ACTION_AUDIT, ACTION_DENY, ACTION_REDIRECT, AGGREGATION_NONE, CONNECTION_ENFORCED,
    CONNECTION_PROXIED, CONNECTION_TRANSLATED, CONNECTION_UPSTREAM, Config, Connection,
    IDENTITY_HOST,
};
use l7d_ebpf::records::{POINT_FROM_NETWORK, POINT_TO_NETWORK};

use crate::state;
use crate::steps::action::{DROP, PASS};
use crate::steps::headers::{self, UDP};
use crate::steps::judge::{self, Reading};
use crate::steps::passage::{Passage, Side};
use crate::steps::{clock, conntrack, health, ipcache, redirect, report, words};

/// tc ingress: replies of proxied connections go to the proxy before the stack finds the proxy's
/// socket by itself and, having routed the packet elsewhere, drops it (`tcp_early_demux`).
#[inline(always)]
pub(crate) fn from_network(ctx: &TcContext) -> i32 {
    let Some(config) = state::config() else {
        return PASS;
    };
    // SAFETY: a read of the context the kernel gave us.
    let interface = unsafe { (*ctx.skb.skb).ifindex };
    let Some(passage) = Passage::begin(Side::Arriving, interface, config.generation) else {
        return PASS;
    };
    passage.is_uplink = true;
    if headers::read(ctx, &mut passage.packet).is_err() {
        return PASS;
    }
    match conntrack::find(passage) {
        Some(entry) if redirect::is_for_proxy(passage, entry, config) => {
            redirect::to_portal(config)
        }
        Some(entry) => arrive(passage, entry, config),
        None => PASS,
    }
}

/// A packet from outside, which is counted where it arrives; those behind a translation arrive under
/// another name.
#[inline(always)]
pub(super) fn arrive(passage: &mut Passage, entry: &mut Connection, config: &Config) -> i32 {
    if entry.flags & CONNECTION_TRANSLATED != 0 {
        conntrack::note(passage, entry);
    }
    if config.aggregation == AGGREGATION_NONE {
        name_ends(passage);
        report::packet(passage, entry, POINT_FROM_NETWORK);
    }
    PASS
}

/// tc egress: what pods send to the outside is told; what a pod sent to a service address is judged here,
/// behind the translation.
#[inline(always)]
pub(crate) fn to_network(ctx: &TcContext) -> i32 {
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
    if headers::read(ctx, &mut passage.packet).is_err() {
        return PASS;
    }
    if mark != 0 {
        return from_proxy(passage, config, mark);
    }
    match conntrack::find(passage) {
        Some(entry) if passage.is_settled() => leave(passage, entry, config),
        known => {
            passage.source = ipcache::look_up(&passage.packet.source);
            if passage.source.endpoint != 0 {
                from_pod(passage, known, config)
            } else if from != 0 && passage.source.identity == IDENTITY_HOST {
                translated(passage, known, config)
            } else {
                PASS
            }
        }
    }
}

/// What the proxy sends to the outside: to clients there, or to servers on behalf of pods.
#[inline(never)]
pub(super) fn from_proxy(passage: &mut Passage, config: &Config, mark: u32) -> i32 {
    if let Some(entry) = conntrack::find(passage)
        && entry.flags & CONNECTION_UPSTREAM == 0
    {
        if mark == config.mark_reply {
            health::observe(passage, entry);
        }
        tell(passage, entry, config);
    }
    PASS
}

/// A packet of a connection that was judged: it leaves, or goes to the proxy.
#[inline(always)]
pub(super) fn leave(passage: &mut Passage, entry: &mut Connection, config: &Config) -> i32 {
    if entry.flags & CONNECTION_UPSTREAM != 0 {
        return PASS;
    }
    if !passage.is_reply {
        if redirect::is_for_proxy(passage, entry, config) {
            return redirect::to_portal(config);
        }
        let action = redirect::past_proxy(passage, entry, config);
        if action != PASS {
            return action;
        }
    }
    tell(passage, entry, config);
    PASS
}

/// Counts and reports what leaves the node.
#[inline(never)]
fn tell(passage: &mut Passage, entry: &mut Connection, config: &Config) {
    if conntrack::count(passage, entry, config) {
        name_ends(passage);
        report::trace(passage, entry, POINT_TO_NETWORK);
    }
}

/// A connection behind a translation that gave it this node's address: it has an entry so that its
/// packets are told, and its replies known.
#[inline(never)]
pub(super) fn translated(
    passage: &mut Passage,
    known: Option<&'static mut Connection>,
    config: &Config,
) -> i32 {
    passage.settle();
    let entry = match known {
        Some(entry) => {
            words::copy(&mut entry.verdicts, &passage.verdicts);
            Some(entry)
        }
        None => {
            conntrack::number(passage);
            // Without an entry the next packet looks again: slower, and untold.
            conntrack::insert(passage, CONNECTION_TRANSLATED)
        }
    };
    if let Some(entry) = entry {
        tell(passage, entry, config);
    }
    PASS
}

#[inline(always)]
fn name_ends(passage: &mut Passage) {
    passage.source = ipcache::look_up(&passage.packet.source);
    passage.destination = ipcache::look_up(&passage.packet.destination);
    let own = if (passage.side == Side::Leaving) == passage.is_reply {
        passage.destination
    } else {
        passage.source
    };
    passage.endpoint = u32::from(own.endpoint);
}

/// What a pod sent, behind the translation, where its connection is not settled.
#[inline(never)]
pub(super) fn from_pod(
    passage: &mut Passage,
    known: Option<&'static mut Connection>,
    config: &Config,
) -> i32 {
    passage.endpoint = u32::from(passage.source.endpoint);
    passage.destination = ipcache::look_up(&passage.packet.destination);
    if known.is_none() {
        conntrack::number(passage);
    }
    let action = judge::judge(passage, config, Reading::Forward);
    if action == u32::from(ACTION_DENY) {
        return DROP;
    }
    let is_proxiable = passage.packet.is_proxiable();
    let is_enforced = action == u32::from(ACTION_REDIRECT) && is_proxiable;
    // What is only looked at passes by a proxy that is not there.
    let is_audited =
        action == u32::from(ACTION_AUDIT) && is_proxiable && redirect::is_possible(config);
    let flags = if is_enforced {
        CONNECTION_PROXIED | CONNECTION_ENFORCED
    } else if is_audited {
        CONNECTION_PROXIED
    } else {
        0
    };
    if is_enforced && passage.packet.protocol == UDP && !redirect::is_possible(config) {
        return redirect::without_proxy(passage, config).unwrap_or(PASS);
    }
    passage.settle();
    let entry = match known {
        Some(entry) => {
            words::copy(&mut entry.verdicts, &passage.verdicts);
            entry.flags |= flags;
            Some(entry)
        }
        // Without an entry the next packet is judged again: slower, not wrong.
        None => conntrack::insert(passage, flags),
    };
    if is_enforced || is_audited {
        return redirect::to_portal(config);
    }
    if let Some(entry) = entry {
        tell(passage, entry, config);
    }
    PASS
}
