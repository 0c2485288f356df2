//! The sections of a configuration, a function each.

use std::path::PathBuf;

use policy_l7::yaml::{Map, Reader};

use super::endpoints::host_port;
use super::values::{
    bounded, items, parsed, path, paths, power_of_two, seconds, section, text, texts,
};
use crate::config::{
    Datapath, Dns, DnsRefusal, Enforcement, Flows, Host, Marks, OnProxyDown, Policies, Proxy,
    Redact, Tap,
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
    section(reader, map, "audit", |reader, map| {
        let node = map.get("node").and_then(|at| reader.boolean(&at));
        policies.audit.node = node.unwrap_or(false);
        let namespaces = texts(reader, map, "namespaces").unwrap_or_default();
        policies.audit.namespaces = namespaces.into_iter().collect();
    });
}

pub(super) fn datapath(reader: &mut Reader, map: &mut Map<'_>, datapath: &mut Datapath) {
    path(reader, map, "pinDir", &mut datapath.pin_dir);
    if let Some(uplinks) = texts(reader, map, "uplinks") {
        datapath.uplinks = uplinks;
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
    section(reader, map, "redact", |reader, map| {
        redact(reader, map, &mut flows.redact);
    });
}

fn redact(reader: &mut Reader, map: &mut Map<'_>, redact: &mut Redact) {
    if let Some(value) = map.get("headers").and_then(|at| reader.boolean(&at)) {
        redact.headers = value;
    }
    if let Some(value) = map.get("query").and_then(|at| reader.boolean(&at)) {
        redact.query = value;
    }
    let lower = |names: Vec<String>| names.iter().map(|name| name.to_lowercase()).collect();
    if let Some(names) = texts(reader, map, "allow") {
        redact.allow = lower(names);
    }
    if let Some(names) = texts(reader, map, "deny") {
        redact.deny = lower(names);
    }
}
