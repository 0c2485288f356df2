//! The interface that leads out of the node.

use aya_ebpf::bindings::{TC_ACT_PIPE, TC_ACT_SHOT};
use aya_ebpf::programs::TcContext;
use l7d_ebpf::maps::{
    ACTION_AUDIT, ACTION_DENY, ACTION_REDIRECT, CONNECTION_ENFORCED, CONNECTION_PROXIED, Config,
};

use crate::state;
use crate::steps::headers::{self, UDP};
use crate::steps::judge::{self, Reading};
use crate::steps::passage::{Passage, Side};
use crate::steps::{conntrack, ipcache, redirect};

/// tc ingress: replies of proxied connections go to the proxy before the stack finds the proxy's
/// socket by itself and, having routed the packet elsewhere, drops it (`tcp_early_demux`).
#[inline(always)]
pub(crate) fn from_network(ctx: &TcContext) -> i32 {
    let Some(config) = state::config() else {
        return TC_ACT_PIPE;
    };
    // SAFETY: a read of the context the kernel gave us.
    let interface = unsafe { (*ctx.skb.skb).ifindex };
    let Some(passage) = Passage::begin(Side::Arriving, interface, config.generation) else {
        return TC_ACT_PIPE;
    };
    if headers::read(ctx, &mut passage.packet).is_err() {
        return TC_ACT_PIPE;
    }
    match conntrack::find(passage) {
        Some(entry) if redirect::is_for_proxy(passage, entry, config) => {
            redirect::to_portal(config)
        }
        Some(_) | None => TC_ACT_PIPE,
    }
}

/// tc egress: what a pod sent to a service address is judged here, behind the translation.
#[inline(always)]
pub(crate) fn to_network(ctx: &TcContext) -> i32 {
    let Some(config) = state::config() else {
        return TC_ACT_PIPE;
    };
    // SAFETY: reads of the context the kernel gave us.
    let (interface, mark) = unsafe { ((*ctx.skb.skb).ifindex, (*ctx.skb.skb).mark) };
    if mark & config.mark_mask != 0 {
        return TC_ACT_PIPE;
    }
    let Some(passage) = Passage::begin(Side::Leaving, interface, config.generation) else {
        return TC_ACT_PIPE;
    };
    if headers::read(ctx, &mut passage.packet).is_err() {
        return TC_ACT_PIPE;
    }
    passage.source = ipcache::look_up(&passage.packet.source);
    if passage.source.endpoint == 0 {
        return TC_ACT_PIPE;
    }
    from_pod(passage, config)
}

/// What a pod sent, behind the translation.
#[inline(always)]
pub(super) fn from_pod(passage: &mut Passage, config: &Config) -> i32 {
    passage.endpoint = u32::from(passage.source.endpoint);
    if let Some(entry) = conntrack::find(passage) {
        let [egress, _] = passage.verdicts;
        let is_judged = egress.action != 0 && egress.generation == passage.generation;
        if passage.is_reply || is_judged {
            return if passage.is_reply {
                TC_ACT_PIPE
            } else if redirect::is_for_proxy(passage, entry, config) {
                redirect::to_portal(config)
            } else {
                redirect::past_proxy(passage, entry, config)
            };
        }
    }
    passage.destination = ipcache::look_up(&passage.packet.destination);
    let action = judge::judge(passage, config, Reading::Forward);
    if action == u32::from(ACTION_DENY) {
        return TC_ACT_SHOT;
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
        return redirect::without_proxy(passage, config).unwrap_or(TC_ACT_PIPE);
    }
    // Without an entry the next packet is judged again: slower, not wrong.
    let _ = conntrack::insert(passage, flags);
    if is_enforced || is_audited {
        redirect::to_portal(config)
    } else {
        TC_ACT_PIPE
    }
}
