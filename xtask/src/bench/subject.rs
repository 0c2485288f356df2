//! What stands between client and server, and how each is told to do the same: one worker, a path
//! rule out of a hundred per request, an access log.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use testbed::{Pod, Process, World};

use super::dns;
use crate::run::target;
use crate::setup;

/// What stands between client and server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Direct,
    Dnsdist,
    Dnsmasq,
    Enforce,
    Envoy,
    Haproxy,
    Nghttpx,
    Nginx,
    Tap,
    Unwatched,
    Watch,
}

/// What client, proxy and server speak.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Over UDP.
    Dns,
    Http1,
    /// With prior knowledge, on both sides.
    Http2,
    /// Over HTTP/2.
    Grpc,
}

impl Version {
    /// Of all HTTP requests.
    const fn method(self) -> &'static str {
        match self {
            Self::Dns | Self::Http1 | Self::Http2 => "GET",
            Self::Grpc => "POST",
        }
    }

    /// Of the server.
    const fn port(self) -> u16 {
        match self {
            Self::Dns => 53,
            Self::Grpc | Self::Http1 | Self::Http2 => 80,
        }
    }
}

/// Where proxies that must be asked listen, on the node.
const ASKED_AT: [&str; 2] = ["10.244.1.1", "8080"];

impl Subject {
    /// Those that speak it on both sides.
    pub(super) const fn speaking(version: Version) -> &'static [Self] {
        use Subject::{Direct, Dnsdist, Dnsmasq, Enforce, Envoy, Haproxy, Nghttpx, Nginx, Watch};
        match version {
            Version::Dns => &[Direct, Dnsdist, Dnsmasq, Watch, Enforce],
            Version::Http1 => &[Direct, Envoy, Haproxy, Nginx, Watch, Enforce],
            Version::Grpc | Version::Http2 => &[Direct, Envoy, Haproxy, Nghttpx, Watch, Enforce],
        }
    }

    /// Where the client asks: address and port.
    pub(super) fn address(self, version: Version, server: &Pod) -> [String; 2] {
        match self {
            Self::Dnsdist
            | Self::Dnsmasq
            | Self::Envoy
            | Self::Haproxy
            | Self::Nghttpx
            | Self::Nginx => ASKED_AT.map(str::to_owned),
            Self::Direct | Self::Enforce | Self::Tap | Self::Unwatched | Self::Watch => {
                [server.v4.clone(), version.port().to_string()]
            }
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Tap => "l7d, tapping",
            Self::Unwatched => "l7d, nothing watched",
            Self::Watch => "l7d, watching",
            Self::Enforce => "l7d, enforcing 100 rules",
            Self::Dnsdist => "dnsdist, 100 rules",
            Self::Dnsmasq => "dnsmasq, 100 rules",
            Self::Envoy => "Envoy, 100 rules",
            Self::Haproxy => "HAProxy, 100 rules",
            Self::Nghttpx => "nghttpx, 100 rules",
            Self::Nginx => "nginx, 100 rules",
        }
    }

    /// The agent's list of ports to see.
    fn visibility(self, version: Version) -> String {
        let mode = match self {
            Self::Unwatched => return String::new(),
            Self::Tap => "tap",
            _ => "proxy",
        };
        match version {
            Version::Dns => format!("{{ port: 53, protocol: UDP, mode: {mode} }}"),
            Version::Grpc | Version::Http1 | Version::Http2 => {
                format!("{{ port: 80, mode: {mode} }}")
            }
        }
    }

    pub(super) fn start(
        self,
        version: Version,
        world: &World,
        pods: &[&Pod],
    ) -> anyhow::Result<Option<Process>> {
        let folder = world.folder();
        let server = pods.last().context("a server")?;
        match self {
            Self::Direct => Ok(None),
            Self::Dnsdist => {
                let text = dns::dnsdist(folder, server);
                let arguments = ["--supervised", "--disable-syslog", "-C"];
                peer(world, "dnsdist", &arguments, "dnsdist.conf", &text).map(Some)
            }
            Self::Dnsmasq => {
                let text = dns::dnsmasq(folder, server);
                peer(world, "dnsmasq", &["-k", "-C"], "dnsmasq.conf", &text).map(Some)
            }
            Self::Envoy => {
                let program = setup::envoy()?.display().to_string();
                let arguments = ["--concurrency", "1", "--log-level", "error", "-c"];
                let text = envoy(version, folder, server)?;
                peer(world, &program, &arguments, "envoy.yaml", &text).map(Some)
            }
            Self::Haproxy => {
                let text = haproxy(version, server);
                peer(world, "haproxy", &["-db", "-f"], "haproxy.cfg", &text).map(Some)
            }
            Self::Nghttpx => {
                let text = nghttpx(folder, server);
                let file = folder.join("nghttpx.conf");
                let arguments = [&*format!("--conf={}", file.display())];
                started(world, "nghttpx", &arguments, &file, &text).map(Some)
            }
            Self::Nginx => {
                let text = nginx(folder, server);
                peer(world, "nginx", &["-c"], "proxy.conf", &text).map(Some)
            }
            Self::Enforce => {
                let policy = match version {
                    Version::Dns => dns::policy(),
                    Version::Grpc | Version::Http1 | Version::Http2 => policy(version),
                };
                l7d(&self.visibility(version), world, pods, &policy).map(Some)
            }
            Self::Tap | Self::Unwatched | Self::Watch => {
                l7d(&self.visibility(version), world, pods, "").map(Some)
            }
        }
    }
}

/// Starts a proxy on the node with its configuration as the last argument.
fn peer(
    world: &World,
    program: &str,
    arguments: &[&str],
    file: &str,
    text: &str,
) -> anyhow::Result<Process> {
    let file = world.folder().join(file);
    let name = file.display().to_string();
    started(world, program, &[arguments, &[&name]].concat(), &file, text)
}

fn started(
    world: &World,
    program: &str,
    arguments: &[&str],
    file: &Path,
    text: &str,
) -> anyhow::Result<Process> {
    std::fs::write(file, text)?;
    let node = world.node();
    let mut command = node.command(program);
    command.args(arguments);
    let process = node.start("proxy", command)?;
    node.wait_listening(8080)?;
    Ok(process)
}

/// Starts the agent on the node, with a policy or none.
pub(super) fn l7d(
    visibility: &str,
    world: &World,
    pods: &[&Pod],
    policy: &str,
) -> anyhow::Result<Process> {
    let folder = world.folder();
    std::fs::create_dir_all(folder.join("policies"))?;
    if !policy.is_empty() {
        std::fs::write(folder.join("policies/bench.yaml"), policy)?;
    }
    std::fs::write(folder.join("l7d.yaml"), config(visibility, world, pods)?)?;
    let binary = target().join("release/l7d");
    let node = world.node();
    let mut command = node.command(&binary.display().to_string());
    command
        .args(["agent", "--config"])
        .arg(folder.join("l7d.yaml"));
    let mut process = node.start("agent", command)?;
    process.wait_for("l7d: ready")?;
    Ok(process)
}

/// A route per rule, as Envoy is configured for policies, and everything else refused.
fn envoy(version: Version, folder: &Path, server: &Pod) -> anyhow::Result<String> {
    // Downstream it tells the versions apart by itself.
    let upstream = match version {
        Version::Dns | Version::Http1 => "",
        Version::Http2 | Version::Grpc => {
            "    typed_extension_protocol_options:\n      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n        explicit_http_config: { http2_protocol_options: {} }\n"
        }
    };
    let log = folder.join("envoy.log");
    let method = version.method();
    let mut routes = String::new();
    for number in 0..100 {
        writeln!(
            routes,
            "              - match: {{ safe_regex: {{ regex: \"/path{number}/.*\" }}, headers: [ {{ name: \":method\", \
             string_match: {{ exact: {method} }} }} ] }}\n                route: {{ cluster: b, timeout: 0s }}"
        )?;
    }
    Ok(format!(
        r#"static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 10.244.1.1, port_value: 8080 }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: f
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {log}
          route_config:
            virtual_hosts:
            - name: b
              domains: ["*"]
              routes:
{routes}              - match: {{ prefix: "/" }}
                direct_response: {{ status: 403 }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: b
    connect_timeout: 5s
    circuit_breakers: {{ thresholds: [ {{ max_requests: 100000, max_pending_requests: 100000 }} ] }}
{upstream}    load_assignment:
      cluster_name: b
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {address}, port_value: 80 }} }} }}
"#,
        log = log.display(),
        address = server.v4,
    ))
}

fn haproxy(version: Version, server: &Pod) -> String {
    let proto = match version {
        Version::Dns | Version::Http1 => "",
        Version::Http2 | Version::Grpc => " proto h2",
    };
    let mut rules = String::new();
    for number in 0..100 {
        let _infallible = writeln!(rules, "  acl allowed path_reg ^/path{number}/.*$");
    }
    format!(
        "global\n  nbthread 1\n  log /dev/null local0\ndefaults\n  mode http\n  log global\n  option httplog\n  \
         timeout client 60s\n  timeout server 60s\n  timeout connect 5s\n  option http-keep-alive\n\
         frontend f\n  bind 10.244.1.1:8080{proto}\n{rules}  http-request deny unless {{ method {} }} allowed\n  default_backend b\n\
         backend b\n  http-reuse always\n  server s {}:80{proto}\n",
        version.method(),
        server.v4
    )
}

fn nginx(folder: &Path, server: &Pod) -> String {
    let root = folder.display();
    let mut locations = String::new();
    for number in 0..100 {
        let _infallible = writeln!(
            locations,
            "location ~ ^/path{number}/.*$ {{ proxy_pass http://b; }}"
        );
    }
    format!(
        "daemon off; user root; worker_processes 1; pid {root}/proxy.pid; error_log {root}/proxy.err;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log {root}/access.log; keepalive_requests 1000000;\n\
         upstream b {{ server {}:80; keepalive 128; keepalive_requests 1000000; }}\n\
         server {{ listen 10.244.1.1:8080; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         {locations} location / {{ return 403; }} }} }}\n",
        server.v4
    )
}

/// Its rules are prefixes.
fn nghttpx(folder: &Path, server: &Pod) -> String {
    let rules: Vec<String> = (0..100).map(|number| format!("/path{number}/")).collect();
    format!(
        "frontend=10.244.1.1,8080;no-tls\nbackend={},80;{};proto=h2\nbackend=127.0.0.1,9;/\nworkers=1\n\
         accesslog-file={}/nghttpx.log\nerrorlog-file=/dev/stderr\n",
        server.v4,
        rules.join(":"),
        folder.display()
    )
}

fn policy(version: Version) -> String {
    let method = version.method();
    let mut text = String::from(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: { name: bench, namespace: default }\n\
         spec:\n  endpointSelector: { matchLabels: { app: server } }\n  ingress:\n  - fromEndpoints: [ {} ]\n    \
         toPorts:\n    - ports: [ { port: \"80\", protocol: TCP } ]\n      rules:\n        http:\n",
    );
    for number in 0..100 {
        let _infallible = writeln!(
            text,
            "        - {{ method: {method}, path: \"/path{number}/.*\" }}"
        );
    }
    text
}

fn config(visibility: &str, world: &World, pods: &[&Pod]) -> anyhow::Result<String> {
    let folder = world.folder().display();
    let name = world
        .folder()
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("l7d-bench");
    let mut text = format!(
        "node: bench\napi: {{ socket: {folder}/l7d.sock }}\nruntimeDir: {folder}/run\n\
         datapath: {{ pinDir: /sys/fs/bpf/{name} }}\nvisibility: [ {visibility} ]\n\
         policies: {{ directory: {folder}/policies }}\nproxy: {{ workers: 1 }}\nendpoints:\n"
    );
    for Pod {
        name,
        v4,
        v6,
        interface,
        ..
    } in pods
    {
        writeln!(
            text,
            "- {{ name: {name}, labels: {{ app: {name} }}, ips: [{v4}, \"{v6}\"], interface: {interface} }}"
        )?;
    }
    Ok(text)
}
