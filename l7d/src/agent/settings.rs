//! What is configured, as the parts of the data path want it.

use std::sync::Arc;

use parsers::dns::Rcode;

use super::apply::World;
use crate::config::{Config, DnsRefusal, KernelFeature};
use crate::datapath::{self, features::Features};
use crate::nat::Translations;
use crate::proxy::{self, Sharing};
use crate::session::Redaction;
use crate::tap;

fn limits(config: &Config) -> parsers::Limits {
    parsers::Limits {
        head_bytes: config.proxy.head_bytes,
        headers: config.proxy.headers,
        ..parsers::Limits::default()
    }
}

pub(super) fn datapath_settings(
    config: &Config,
    portal: u32,
    proxy_port: u16,
) -> datapath::Settings {
    datapath::Settings {
        pin_dir: config.datapath.pin_dir.clone(),
        marks: config.datapath.marks,
        portal,
        proxy_port,
        ring_bytes: config.datapath.ring_bytes,
        policy_entries: config.datapath.policy_entries,
        ipcache_entries: config.datapath.ipcache_entries,
        connections: config.datapath.connections,
        aggregation: config.flows.aggregation,
        tap: config.tap,
        on_proxy_down: config.datapath.on_proxy_down,
        drop_records: config.drops.records_per_second,
        takes_over: false,
        absent: config.datapath.without.clone(),
    }
}

pub(super) fn tap_settings(
    config: &Config,
    world: &World,
    translations: &Arc<Translations>,
) -> tap::Settings {
    tap::Settings {
        limits: limits(config),
        reassembly: tap::REASSEMBLY,
        connections: config.tap.connections,
        redaction: Redaction::new(&config.flows.redact).sparing(world.thrift()),
        names: Arc::clone(world.names()),
        translations: Arc::clone(translations),
        measures: Arc::default(),
    }
}

/// How the proxy's workers come to their connections on this kernel.
pub(super) fn sharing(features: &Features) -> Sharing {
    if features.absent().contains(&KernelFeature::ReuseportAssign) {
        Sharing::One
    } else {
        Sharing::Group
    }
}

pub(super) fn proxy_settings(
    config: &Config,
    world: &World,
    translations: &Arc<Translations>,
) -> proxy::Settings {
    proxy::Settings {
        workers: config.proxy.workers,
        sharing: Sharing::Group,
        limits: limits(config),
        head_timeout: config.proxy.head_timeout,
        drain: config.proxy.drain,
        connections_per_endpoint: config.proxy.connections_per_endpoint,
        marks: config.datapath.marks,
        dns_refusal: match config.dns.refusal {
            DnsRefusal::Refused => Rcode::REFUSED,
            DnsRefusal::NameError => Rcode::NXDOMAIN,
        },
        redaction: Redaction::new(&config.flows.redact).sparing(world.thrift()),
        names: Arc::clone(world.names()),
        translations: Arc::clone(translations),
        stats: Arc::default(),
    }
}
