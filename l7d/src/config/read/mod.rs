//! The YAML file → [`Config`].

mod endpoints;
mod kubernetes;
mod surroundings;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use policy_l7::yaml::{self, Cursor, Map, Reader};

use super::{
    Api, Config, Datapath, Dns, DnsRefusal, Enforcement, Flows, Host, Marks, OnProxyDown, Policies,
    Proxy, Redact, Tap, Tcp, Tls,
};

pub use kubernetes::{Told, files_of, read_inventory};

use endpoints::{endpoint, host_port, watched_port};
use surroundings::{namespace, node, service};
use values::{bounded, items, parsed, path, paths, power_of_two, seconds, section, text, texts};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// What is wrong in it, one fault per line.
    #[error("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Faults {
        /// All faults.
        faults: Vec<policy_l7::Error>,
    },
}

/// Reads a configuration file.
///
/// # Errors
/// When it cannot be read, and everything that is wrong in it.
pub fn read_config_file(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Read {
        path: path.to_owned(),
        cause,
    })?;
    read_config(&path.display().to_string(), &text)
}

/// Reads a configuration; `file` is its name in messages.
///
/// # Errors
/// Everything that is wrong in it.
pub fn read_config(file: &str, text: &str) -> Result<Config, ConfigError> {
    let nodes = yaml::parse(file, text).map_err(|fault| ConfigError::Faults {
        faults: vec![fault],
    })?;
    let mut reader = Reader::new(file);
    let config = match nodes.as_slice() {
        [] => Some(Config::default()),
        [node] => read_root(&mut reader, &node.root()),
        [_, second, ..] => {
            reader.fault(&second.root(), "a configuration is one document");
            None
        }
    };
    match config {
        Some(config) if !reader.has_errors() => Ok(config),
        Some(_) | None => Err(ConfigError::Faults {
            faults: reader.into_errors(),
        }),
    }
}

fn read_root(reader: &mut Reader, at: &Cursor<'_>) -> Option<Config> {
    let mut map = reader.map(at)?;
    let mut config = Config::default();
    text(reader, &mut map, "node", &mut config.node);
    text(reader, &mut map, "cluster", &mut config.cluster);
    path(reader, &mut map, "runtimeDir", &mut config.runtime_dir);
    section(reader, &mut map, "api", |reader, map| {
        api(reader, map, &mut config.api);
    });
    section(reader, &mut map, "datapath", |reader, map| {
        datapath(reader, map, &mut config.datapath);
    });
    section(reader, &mut map, "host", |reader, map| {
        host(reader, map, &mut config.host);
    });
    section(reader, &mut map, "proxy", |reader, map| {
        proxy(reader, map, &mut config.proxy);
    });
    section(reader, &mut map, "tap", |reader, map| {
        tap(reader, map, &mut config.tap);
    });
    section(reader, &mut map, "dns", |reader, map| {
        dns(reader, map, &mut config.dns);
    });
    section(reader, &mut map, "flows", |reader, map| {
        flows(reader, map, &mut config.flows);
    });
    section(reader, &mut map, "policies", |reader, map| {
        policies(reader, map, &mut config.policies);
    });
    for item in items(reader, &mut map, "visibility") {
        config.visibility.extend(watched_port(reader, &item));
    }
    who(reader, &mut map, &mut config);
    map.end(reader);
    Some(config)
}

/// Who is there, where that is written in the mapping of another file; everything else has its
/// default.
pub fn read_inline(reader: &mut Reader, map: &mut Map<'_>) -> Config {
    let mut config = Config::default();
    who(reader, map, &mut config);
    config
}

fn who(reader: &mut Reader, map: &mut Map<'_>, config: &mut Config) {
    for item in items(reader, map, "endpoints") {
        config
            .endpoints
            .extend(endpoint(reader, &item, &config.endpoints));
    }
    for item in items(reader, map, "namespaces") {
        config.namespaces.extend(namespace(reader, &item));
    }
    for item in items(reader, map, "services") {
        config.services.extend(service(reader, &item));
    }
    for item in items(reader, map, "nodes") {
        config.nodes.extend(node(reader, &item));
    }
}

fn policies(reader: &mut Reader, map: &mut Map<'_>, policies: &mut Policies) {
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

fn api(reader: &mut Reader, map: &mut Map<'_>, api: &mut Api) {
    path(reader, map, "socket", &mut api.socket);
    let Some(at) = map.get("tcp") else { return };
    let Some(mut inner) = reader.map(&at) else {
        return;
    };
    let listen = inner
        .need(reader, "listen")
        .and_then(|at| reader.parse(&at, "an address such as 127.0.0.1:4244"));
    let insecure = inner
        .get("insecure")
        .and_then(|at| reader.boolean(&at))
        .unwrap_or(false);
    let tls = inner.get("tls").and_then(|at| tls(reader, &at));
    inner.end(reader);
    if let Some(listen) = listen {
        let tcp = Tcp {
            listen,
            tls,
            insecure,
        };
        if tcp.tls.is_none() && !tcp.insecure && !tcp.listen.ip().is_loopback() {
            reader.fault(
                &at,
                "plaintext on an address that is not loopback: give `tls`, or set `insecure: true`",
            );
        }
        api.tcp = Some(tcp);
    }
}

fn tls(reader: &mut Reader, at: &Cursor<'_>) -> Option<Tls> {
    let mut map = reader.map(at)?;
    let certificate = map
        .need(reader, "certificate")
        .and_then(|at| reader.text(&at));
    let key = map.need(reader, "key").and_then(|at| reader.text(&at));
    let client_ca = map
        .get("clientCa")
        .and_then(|at| reader.text(&at))
        .map(PathBuf::from);
    map.end(reader);
    Some(Tls {
        certificate: certificate?.into(),
        key: key?.into(),
        client_ca,
    })
}

fn datapath(reader: &mut Reader, map: &mut Map<'_>, datapath: &mut Datapath) {
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

fn host(reader: &mut Reader, map: &mut Map<'_>, host: &mut Host) {
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

fn proxy(reader: &mut Reader, map: &mut Map<'_>, proxy: &mut Proxy) {
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

fn tap(reader: &mut Reader, map: &mut Map<'_>, tap: &mut Tap) {
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

fn dns(reader: &mut Reader, map: &mut Map<'_>, dns: &mut Dns) {
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

fn flows(reader: &mut Reader, map: &mut Map<'_>, flows: &mut Flows) {
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

impl Default for Config {
    fn default() -> Self {
        let node = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        Self {
            node,
            cluster: "default".to_owned(),
            api: Api {
                socket: PathBuf::from("/run/l7d/l7d.sock"),
                tcp: None,
            },
            runtime_dir: PathBuf::from("/run/l7d"),
            datapath: Datapath::default(),
            visibility: Vec::new(),
            tap: Tap::default(),
            host: Host::default(),
            proxy: Proxy::default(),
            dns: Dns::default(),
            flows: Flows::default(),
            endpoints: Vec::new(),
            namespaces: BTreeMap::new(),
            services: Vec::new(),
            nodes: Vec::new(),
            cidr_groups: Vec::new(),
            policies: Policies::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Transport, Visibility, WatchedPort};

    fn faults(text: &str) -> String {
        read_config("l7d.yaml", text)
            .expect_err("faults")
            .to_string()
    }

    #[test]
    fn reads_what_the_readme_shows() {
        let config = read_config(
            "l7d.yaml",
            "visibility:\n  - { port: 80 }\n  - { port: 8080, mode: proxy }\n  - { port: 53, protocol: UDP }\nendpoints:\n  - name: user-service\n    namespace: prod-app\n    labels: { app: user-service }\n    ips: [10.244.1.12]\n    interface: veth-user\npolicies:\n  directory: /etc/l7d/policies\n",
        )
        .expect("a configuration");
        let watched = |port, transport, mode| WatchedPort {
            port,
            transport,
            mode,
        };
        assert_eq!(
            config.visibility,
            [
                watched(80, Transport::Tcp, Visibility::Tap),
                watched(8080, Transport::Tcp, Visibility::Proxy),
                watched(53, Transport::Udp, Visibility::Proxy)
            ]
        );
        assert_eq!(config.endpoints[0].interface.as_deref(), Some("veth-user"));
        assert_eq!(config.flows.ring, 4095);
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        assert_eq!(
            read_config("l7d.yaml", "").expect("defaults"),
            Config::default()
        );
    }

    #[test]
    fn faults_name_line_field_and_what_was_meant() {
        assert_eq!(
            faults("endpoints:\n- name: a\n  ips: [10.0.0.1]\n  intreface: veth0\n"),
            "l7d.yaml:4:3: endpoints[0].intreface: unknown field (did you mean `interface`?)"
        );
        assert!(faults("visibility: [{port: http}]").contains("`http` is not a port"));
        assert!(faults("tap: {ringBytes: 5000}").contains("5000 is not a power of two"));
        assert!(faults("tap: {requestBytes: 65536}").contains("16384"));
        let datagrams = "visibility: [{port: 53, protocol: UDP, mode: tap}]";
        assert!(faults(datagrams).contains("seen by the proxy only"));
        assert!(faults("flows: {ring: 4096}").contains("2^n - 1"));
        assert!(faults("api: {tcp: {listen: \"0.0.0.0:4244\"}}").contains("insecure"));
        let twice = "endpoints:\n- {name: a, ips: [10.0.0.1]}\n- {name: b, ips: [10.0.0.1]}\n";
        assert!(faults(twice).contains("10.0.0.1 belongs to a in line 2 already"));
    }
}
