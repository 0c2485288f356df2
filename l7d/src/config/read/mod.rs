//! The YAML file → [`Config`].

mod api;
mod cluster;
mod endpoints;
mod exports;
mod hubble_metrics;
mod kubernetes;
mod paths;
mod retina;
mod sections;
mod surroundings;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use policy_l7::yaml::{self, Cursor, Map, Reader};

use super::{
    Api, Bytes, Config, Datapath, Dns, Drops, Flows, Host, Metrics, Policies, Proxy, Rights, Tap,
};

pub use kubernetes::{
    SingleError, Told, files_of, read_inventory, read_namespace, read_node, read_pod, read_service,
};

use api::api;
use cluster::kubernetes as cluster;
use endpoints::{endpoint, watched_port};
use exports::exports;
use sections::{datapath, dns, drops, flows, host, metrics, policies, proxy, rights, tap};
use surroundings::{namespace, node, service};
use values::{items, path, section, text};

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
    path(reader, &mut map, "stateDir", &mut config.state_dir);
    let budget = map.get("memoryBudget");
    config.memory_budget = budget
        .and_then(|at| reader.parse::<Bytes>(&at, "an amount of memory, like 512MiB"))
        .map(|bytes| bytes.0);
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
    section(reader, &mut map, "drops", |reader, map| {
        drops(reader, map, &mut config.drops);
    });
    section(reader, &mut map, "metrics", |reader, map| {
        metrics(reader, map, &mut config.metrics);
    });
    section(reader, &mut map, "policies", |reader, map| {
        policies(reader, map, &mut config.policies);
    });
    section(reader, &mut map, "kubernetes", |reader, map| {
        cluster(reader, map, config.kubernetes.get_or_insert_default());
    });
    section(reader, &mut map, "rights", |reader, map| {
        rights(reader, map, &mut config.rights);
    });
    config.exports = exports(reader, &mut map);
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
            state_dir: PathBuf::from("/var/lib/l7d"),
            memory_budget: None,
            datapath: Datapath::default(),
            visibility: Vec::new(),
            tap: Tap::default(),
            host: Host::default(),
            proxy: Proxy::default(),
            dns: Dns::default(),
            flows: Flows::default(),
            drops: Drops::default(),
            metrics: Metrics::default(),
            exports: Vec::new(),
            endpoints: Vec::new(),
            namespaces: BTreeMap::new(),
            services: Vec::new(),
            nodes: Vec::new(),
            cidr_groups: Vec::new(),
            policies: Policies::default(),
            kubernetes: None,
            rights: Rights::default(),
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
        let named = crate::config::Interface::Named("veth-user".to_owned());
        assert_eq!(config.endpoints[0].interface, Some(named));
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
