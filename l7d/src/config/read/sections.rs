//! The sections of a configuration, a function each.

use std::path::PathBuf;

use policy_l7::yaml::{Cursor, Map, Reader};

use super::api::listener;
use super::endpoints::host_port;
use super::hubble_metrics::hubble;
use super::paths::templates;
use super::retina::retina;
use super::values::{
    bounded, items, parsed, path, paths, power_of_two, seconds, section, text, texts,
};
use crate::config::{
    AggregationLevel, Datapath, Dns, DnsRefusal, Drops, Enforcement, Flows, Host, KernelFeature,
    Marks, Metrics, OnProxyDown, PairLabels, Policies, Proxy, Redact, Rights, Tap, Uplinks,
    UserInfo,
};

pub(super) fn policies(reader: &mut Reader, map: &mut Map<'_>, policies: &mut Policies) {
    policies.files = paths(reader, map, "files");
    policies.directory = map
        .get("directory")
        .and_then(|at| reader.text(&at))
        .map(PathBuf::from);
    let choices = [
        ("always", Enforcement::Always),
        ("default", Enforcement::Default),
        ("never", Enforcement::Never),
    ];
    let written = map.get("enforcement");
    if let Some(enforcement) = written.and_then(|at| reader.choice(&at, &choices)) {
        policies.enforcement = enforcement;
    }
    let choices = [("open", false), ("closed", true)];
    let written = map.get("newPods");
    if let Some(closes) = written.and_then(|at| reader.choice(&at, &choices)) {
        policies.closes_new_pods = closes;
    }
    let choices = [("observe", false), ("enforce", true)];
    let written = map.get("besideCilium");
    if let Some(enforces) = written.and_then(|at| reader.choice(&at, &choices)) {
        policies.beside_cilium = enforces;
    }
    section(reader, map, "audit", |reader, map| {
        let node = map.get("node").and_then(|at| reader.boolean(&at));
        policies.audit.node = node.unwrap_or(false);
        let namespaces = texts(reader, map, "namespaces").unwrap_or_default();
        policies.audit.namespaces = namespaces.into_iter().collect();
    });
}

/// A list of names, or `auto`.
fn uplinks(reader: &mut Reader, at: &Cursor<'_>) -> Uplinks {
    if at.is_scalar() {
        return match reader.text(at) {
            Some("auto") => Uplinks::Found,
            Some(other) => {
                let fault = format!("`{other}` is neither a list of interfaces nor `auto`");
                reader.fault(at, fault);
                Uplinks::Named(Vec::new())
            }
            None => Uplinks::Named(Vec::new()),
        };
    }
    let names = reader.list(at);
    let names = names.iter().filter_map(|name| reader.text(name));
    Uplinks::Named(names.map(str::to_owned).collect())
}

pub(super) fn datapath(reader: &mut Reader, map: &mut Map<'_>, datapath: &mut Datapath) {
    path(reader, map, "pinDir", &mut datapath.pin_dir);
    path(reader, map, "sysctlDir", &mut datapath.sysctl_dir);
    if let Some(at) = map.get("uplinks") {
        datapath.uplinks = uplinks(reader, &at);
    }
    text(reader, map, "portal", &mut datapath.portal);
    parsed(
        reader,
        map,
        "table",
        "a routing table number",
        &mut datapath.table,
    );
    parsed(
        reader,
        map,
        "rulePriority",
        "a number",
        &mut datapath.rule_priority,
    );
    section(reader, map, "marks", |reader, map| {
        marks(reader, map, &mut datapath.marks);
    });
    power_of_two(reader, map, "ringBytes", &mut datapath.ring_bytes);
    let entries = 1..=1 << 24;
    bounded(
        reader,
        map,
        "policyEntries",
        entries.clone(),
        &mut datapath.policy_entries,
    );
    bounded(
        reader,
        map,
        "connections",
        1024..=1 << 24,
        &mut datapath.connections,
    );
    bounded(
        reader,
        map,
        "ipcacheEntries",
        entries,
        &mut datapath.ipcache_entries,
    );
    let choices = [("closed", OnProxyDown::Closed), ("open", OnProxyDown::Open)];
    if let Some(value) = map
        .get("onProxyDown")
        .and_then(|at| reader.choice(&at, &choices))
    {
        datapath.on_proxy_down = value;
    }
    datapath.without = items(reader, map, "without")
        .iter()
        .filter_map(|item| reader.choice(item, &KernelFeature::NAMES))
        .collect();
    if let Some(value) = map.get("hostFirewall").and_then(|at| reader.boolean(&at)) {
        datapath.host_firewall = value;
    }
}

fn marks(reader: &mut Reader, map: &mut Map<'_>, marks: &mut Marks) {
    for (name, into) in [
        ("mask", &mut marks.mask),
        ("reply", &mut marks.reply),
        ("upstream", &mut marks.upstream),
        ("upstreamLocal", &mut marks.upstream_local),
    ] {
        let Some(at) = map.get(name) else { continue };
        let Some(text) = reader.text(&at) else {
            continue;
        };
        let digits = text
            .strip_prefix("0x")
            .map(|hex| u32::from_str_radix(hex, 16));
        match digits.unwrap_or_else(|| text.parse()) {
            Ok(value) => *into = value,
            Err(error) => reader.fault(
                &at,
                format!("`{text}` is not a mark such as 0x1000: {error}"),
            ),
        }
    }
    if let Some(value) = map.get("allowReserved").and_then(|at| reader.boolean(&at)) {
        marks.allow_reserved = value;
    }
}

pub(super) fn rights(reader: &mut Reader, map: &mut Map<'_>, rights: &mut Rights) {
    for (name, into) in [
        ("seccomp", &mut rights.seccomp),
        ("landlock", &mut rights.landlock),
    ] {
        if let Some(value) = map.get(name).and_then(|at| reader.boolean(&at)) {
            *into = value;
        }
    }
}

pub(super) fn host(reader: &mut Reader, map: &mut Map<'_>, host: &mut Host) {
    let ports = items(reader, map, "ports");
    host.ports = ports
        .iter()
        .filter_map(|item| host_port(reader, item))
        .collect();
    host.cgroup = map
        .get("cgroup")
        .and_then(|at| reader.text(&at))
        .map(PathBuf::from);
}

pub(super) fn proxy(reader: &mut Reader, map: &mut Map<'_>, proxy: &mut Proxy) {
    bounded(reader, map, "workers", 1..=64, &mut proxy.workers);
    bounded(
        reader,
        map,
        "headBytes",
        1024..=1 << 20,
        &mut proxy.head_bytes,
    );
    bounded(reader, map, "headers", 1..=256, &mut proxy.headers);
    bounded(
        reader,
        map,
        "connectionsPerEndpoint",
        1..=1 << 20,
        &mut proxy.connections_per_endpoint,
    );
    seconds(reader, map, "headTimeout", 1, &mut proxy.head_timeout);
    seconds(reader, map, "drain", 0, &mut proxy.drain);
}

pub(super) fn tap(reader: &mut Reader, map: &mut Map<'_>, tap: &mut Tap) {
    power_of_two(reader, map, "ringBytes", &mut tap.ring_bytes);
    let bytes = 256..=l7d_ebpf::maps::TAP_COPY_MAX;
    bounded(
        reader,
        map,
        "requestBytes",
        bytes.clone(),
        &mut tap.request_bytes,
    );
    bounded(reader, map, "responseBytes", bytes, &mut tap.response_bytes);
    bounded(
        reader,
        map,
        "connections",
        1..=1 << 20,
        &mut tap.connections,
    );
}

pub(super) fn dns(reader: &mut Reader, map: &mut Map<'_>, dns: &mut Dns) {
    let refusals = [
        ("refused", DnsRefusal::Refused),
        ("nameError", DnsRefusal::NameError),
    ];
    let written = map.get("refusal");
    if let Some(refusal) = written.and_then(|at| reader.choice(&at, &refusals)) {
        dns.refusal = refusal;
    }
    seconds(reader, map, "minTtl", 0, &mut dns.min_ttl);
    seconds(reader, map, "grace", 0, &mut dns.grace);
    bounded(
        reader,
        map,
        "addressesPerName",
        1..=100_000,
        &mut dns.addresses_per_name,
    );
    bounded(
        reader,
        map,
        "namesPerEndpoint",
        1..=1 << 20,
        &mut dns.names_per_endpoint,
    );
}

pub(super) fn flows(reader: &mut Reader, map: &mut Map<'_>, flows: &mut Flows) {
    if let Some(at) = map.get("ring") {
        match reader.parse::<usize>(&at, "a number") {
            Some(size) if (size + 1).is_power_of_two() && (1..=65_535).contains(&size) => {
                flows.ring = size;
            }
            Some(size) => reader.fault(&at, format!("{size} is not 2^n - 1 from 1 to 65535")),
            None => {}
        }
    }
    bounded(
        reader,
        map,
        "ringBytes",
        1 << 20..=1 << 34,
        &mut flows.ring_bytes,
    );
    let filters = |items: Vec<Cursor<'_>>| items.iter().map(Cursor::to_json).collect();
    flows.allow = filters(items(reader, map, "allow"));
    flows.deny = filters(items(reader, map, "deny"));
    let written = map.get("aggregation");
    if let Some(level) = written.and_then(|at| reader.choice(&at, &AggregationLevel::NAMES)) {
        flows.aggregation.level = level;
    }
    seconds(
        reader,
        map,
        "reportInterval",
        1,
        &mut flows.aggregation.interval,
    );
    section(reader, map, "redact", |reader, map| {
        redact(reader, map, &mut flows.redact);
    });
}

pub(super) fn drops(reader: &mut Reader, map: &mut Map<'_>, drops: &mut Drops) {
    bounded(
        reader,
        map,
        "recordsPerSecond",
        0..=1_000_000,
        &mut drops.records_per_second,
    );
    let written = map.get("netfilterRules");
    if let Some(wanted) = written.and_then(|at| reader.boolean(&at)) {
        drops.netfilter_rules = wanted;
    }
}

pub(super) fn metrics(reader: &mut Reader, map: &mut Map<'_>, metrics: &mut Metrics) {
    metrics.listen = listener(reader, map);
    let labels = [("pod", PairLabels::Pod), ("workload", PairLabels::Workload)];
    let written = map.get("labels");
    if let Some(labels) = written.and_then(|at| reader.choice(&at, &labels)) {
        metrics.labels = labels;
    }
    bounded(
        reader,
        map,
        "maxSeries",
        1..=1_000_000,
        &mut metrics.max_series,
    );
    seconds(reader, map, "idle", 60, &mut metrics.idle);
    hubble(reader, map, &mut metrics.hubble);
    section(reader, map, "retina", |reader, map| {
        retina(reader, map, &mut metrics.retina);
    });
    section(reader, map, "paths", |reader, map| {
        templates(reader, map, metrics);
    });
}

fn redact(reader: &mut Reader, map: &mut Map<'_>, redact: &mut Redact) {
    let presets = [("hubble", true), ("l7d", false)];
    let written = map.get("defaults");
    if written.and_then(|at| reader.choice(&at, &presets)) == Some(true) {
        *redact = Redact::as_hubble();
    }
    if let Some(value) = map.get("headers").and_then(|at| reader.boolean(&at)) {
        redact.headers = value;
    }
    if let Some(value) = map.get("query").and_then(|at| reader.boolean(&at)) {
        redact.query = value;
    }
    let choices = [
        ("all", UserInfo::All),
        ("nothing", UserInfo::Nothing),
        ("password", UserInfo::Password),
    ];
    let written = map.get("userInfo");
    if let Some(value) = written.and_then(|at| reader.choice(&at, &choices)) {
        redact.user_info = value;
    }
    let lower = |names: Vec<String>| names.iter().map(|name| name.to_lowercase()).collect();
    if let Some(names) = texts(reader, map, "allow") {
        redact.allow = Some(lower(names));
    }
    if let Some(names) = texts(reader, map, "deny") {
        redact.deny = lower(names);
    }
}
