//! `l7d relay`: the arguments, and what they make.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::failure::Failure;
use super::observe::time::parse_duration;
use super::paths::PathFlags;
use super::ui::{self, PageArgs};
use crate::config::{Kubernetes, Tcp, Tls};
use crate::kube::{Places, Sought, Timeouts};
use crate::relay::connection::Connector;
use crate::relay::merge::{self, Pace};
use crate::relay::source::{self, File, Listed, Notified, Source};
use crate::relay::{self, Address};
use crate::server::{Peer, Peers, in_process, tls_name};
use crate::tls;

/// What agents' certificates are for, beside the names of nodes.
const PEER_SERVICE: &str = "hubble-peer";
/// How long connecting to an agent may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `l7d relay`.
#[expect(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "comments are what --help shows"
)]
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("agents").args(["peer_service", "peers_file", "peers", "kubernetes"])))]
#[command(after_help = "\
Examples:
  l7d relay                                              the agents that this node's agent knows
  l7d relay --ui localhost:12000                         and a web page of them
  l7d relay --peer a=10.0.0.1:4244 --peer b=10.0.0.2:4244
  l7d relay --kubernetes --kubernetes-namespace l7d      the agents' pods, asked of the API server
  l7d relay --listen-address :4245 --tls-relay-server-cert-file relay.pem \\
    --tls-relay-server-key-file relay.key --tls-relay-client-ca-files clients.pem

docs/relay.md tells the rest.")]
pub struct RelayArgs {
    /// Where clients ask: HOST:PORT, :PORT for every address, or unix://PATH
    #[arg(long, value_name = "ADDRESS", default_value = "localhost:4245")]
    #[arg(help_heading = "Listeners")]
    pub listen_address: String,
    /// Serve plaintext to the network all the same
    #[arg(long)]
    #[arg(help_heading = "Listeners")]
    pub disable_server_tls: bool,
    /// Where health is told in plaintext, for probes: HOST:PORT or :PORT
    #[arg(long, value_name = "ADDRESS")]
    #[arg(help_heading = "Listeners")]
    pub health_listen_address: Option<String>,
    /// Where metrics are told: HOST:PORT or :PORT
    #[arg(long, value_name = "ADDRESS")]
    #[arg(help_heading = "Listeners")]
    pub metrics_listen_address: Option<String>,
    /// Where a web page of the map and the flows is served: HOST:PORT, or :PORT for this machine
    #[arg(long, value_name = "ADDRESS")]
    #[arg(help_heading = "Page")]
    pub ui: Option<String>,
    /// Who may see the page.
    #[command(flatten)]
    pub page: PageArgs,
    /// Templates of paths, for the page.
    #[command(flatten)]
    pub templates: PathFlags,
    /// Certificate to show to clients, PEM; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_relay_server_key_file")]
    #[arg(help_heading = "Listeners")]
    pub tls_relay_server_cert_file: Option<PathBuf>,
    /// Key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_relay_server_cert_file")]
    #[arg(help_heading = "Listeners")]
    pub tls_relay_server_key_file: Option<PathBuf>,
    /// Authority that clients' certificates must come from, PEM; without it they need none
    #[arg(long, value_name = "FILE", requires = "tls_relay_server_cert_file")]
    #[arg(help_heading = "Listeners")]
    pub tls_relay_client_ca_files: Option<PathBuf>,

    /// Who tells of agents: an agent's socket, or its address
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "unix:///run/l7d/l7d.sock"
    )]
    #[arg(help_heading = "Agents")]
    pub peer_service: String,
    /// An agent; may be given several times
    #[arg(long = "peer", value_name = "NAME=ADDRESS", value_parser = named)]
    #[arg(help_heading = "Agents")]
    pub peers: Vec<(String, String)>,
    /// A file of agents, a YAML list of name, address and tlsServerName; read again when it changes
    #[arg(long, value_name = "FILE")]
    #[arg(help_heading = "Agents")]
    pub peers_file: Option<PathBuf>,
    /// The agents' pods, as the API server of Kubernetes knows them; $KUBECONFIG outside of a cluster
    #[arg(long)]
    #[arg(help_heading = "Agents")]
    pub kubernetes: bool,
    /// Namespace of the agents' pods; default: the relay's own
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    #[arg(help_heading = "Agents")]
    pub kubernetes_namespace: Option<String>,
    /// Labels of the agents' pods, as kubectl -l takes them
    #[arg(long, value_name = "SELECTOR", requires = "kubernetes")]
    #[arg(default_value = "app.kubernetes.io/name=l7d,app.kubernetes.io/component=agent")]
    #[arg(help_heading = "Agents")]
    pub kubernetes_selector: String,
    /// Port on which agents' pods serve the API
    #[arg(
        long,
        value_name = "PORT",
        requires = "kubernetes",
        default_value_t = 4244
    )]
    #[arg(help_heading = "Agents")]
    pub kubernetes_port: u16,
    /// Authorities of agents' certificates, PEM: agents must speak TLS then
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    #[arg(help_heading = "Agents")]
    pub tls_hubble_server_ca_files: Vec<PathBuf>,
    /// Certificate to show to agents, PEM; read again when it changes
    #[arg(long, value_name = "FILE", requires_all = ["tls_hubble_client_key_file", "tls_hubble_server_ca_files"])]
    #[arg(help_heading = "Agents")]
    pub tls_hubble_client_cert_file: Option<PathBuf>,
    /// Key of that certificate, PEM
    #[arg(long, value_name = "FILE", requires = "tls_hubble_client_cert_file")]
    #[arg(help_heading = "Agents")]
    pub tls_hubble_client_key_file: Option<PathBuf>,
    /// Cluster, which is part of the names in agents' certificates
    #[arg(long, value_name = "NAME", default_value = "default")]
    #[arg(help_heading = "Agents")]
    pub cluster_name: String,
    /// The longest pause before the peer service is asked again
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    #[arg(help_heading = "Agents")]
    pub retry_timeout: Duration,

    /// How long an agent that tells of the past may be silent before the others' flows go out without it
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1s")]
    #[arg(help_heading = "Order of flows")]
    pub sort_buffer_drain_timeout: Duration,
    /// How long a flow of now waits for older ones that may be on their way
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "200ms")]
    #[arg(help_heading = "Order of flows")]
    pub sort_buffer_settle: Duration,
    /// Most MiB of flows that wait, for each client
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(help_heading = "Order of flows")]
    pub sort_buffer_size: u16,
}

fn named(text: &str) -> Result<(String, String), String> {
    let (name, address) = text.split_once('=').ok_or("expected NAME=ADDRESS")?;
    Address::parse(address).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), address.to_owned()))
}

/// Runs the command.
pub async fn run(args: &RelayArgs) -> Result<(), Failure> {
    let settings = args.settings()?;
    let (stop, stopped) = watch::channel(false);
    let cannot = |error| Failure::failed("the relay cannot start", error);
    let services = relay::start(settings, &stopped).await.map_err(cannot)?;
    writeln!(io::stderr().lock(), "l7d: relay at {}", args.listen_address)?;
    if let Some(listen) = &args.ui {
        let source = crate::ui::Source {
            shown: "relay".to_owned(),
            channel: in_process(services, stopped.clone()),
            authorization: None,
        };
        let templates = args.templates.templates()?;
        ui::serve(&args.page, listen, source, templates, stopped).await?;
    }
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    stop.send_replace(true);
    Ok(())
}

impl RelayArgs {
    fn settings(&self) -> Result<relay::Settings, Failure> {
        let (socket, tcp) = self.listen()?;
        let connector = Arc::new(Connector {
            tls: self.client_tls()?,
            timeout: CONNECT_TIMEOUT,
        });
        let plain = |text: &Option<String>| text.as_deref().map(listen_address).transpose();
        let metrics = plain(&self.metrics_listen_address)?;
        Ok(relay::Settings {
            name: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            source: self.source(&connector)?,
            connector,
            socket,
            tcp,
            health: plain(&self.health_listen_address)?,
            metrics: metrics.map(|listen| Tcp {
                listen,
                tls: None,
                insecure: true,
            }),
            merge: merge::Settings {
                pace: Pace::Finite,
                patience: self.sort_buffer_drain_timeout,
                settle: self.sort_buffer_settle,
                bytes: usize::from(self.sort_buffer_size) << 20,
            },
        })
    }

    /// Where clients ask.
    fn listen(&self) -> Result<(Option<PathBuf>, Option<Tcp>), Failure> {
        if let Some(path) = self.listen_address.strip_prefix("unix://") {
            return Ok((Some(path.into()), None));
        }
        let files = self.tls_relay_server_cert_file.clone();
        let files = files.zip(self.tls_relay_server_key_file.clone());
        let tls = files.map(|(certificate, key)| Tls {
            certificate,
            key,
            client_ca: self.tls_relay_client_ca_files.clone(),
        });
        let listen = listen_address(&self.listen_address)?;
        if tls.is_none() && !self.disable_server_tls && !listen.ip().is_loopback() {
            return Err(Failure::usage(format!(
                "--listen-address {}: plaintext on an address that is not loopback",
                self.listen_address
            ))
            .advise(
                "give --tls-relay-server-cert-file and --tls-relay-server-key-file, or say \
                 --disable-server-tls",
            ));
        }
        let insecure = self.disable_server_tls;
        Ok((
            None,
            Some(Tcp {
                listen,
                tls,
                insecure,
            }),
        ))
    }

    /// TLS to agents, where they speak it.
    fn client_tls(&self) -> Result<Option<tls::Client>, Failure> {
        if self.tls_hubble_server_ca_files.is_empty() {
            return Ok(None);
        }
        let identity = self.tls_hubble_client_cert_file.clone();
        let files = tls::ClientFiles {
            trust: tls::Trust::Authorities(self.tls_hubble_server_ca_files.clone()),
            identity: identity.zip(self.tls_hubble_client_key_file.clone()),
        };
        let client = tls::Client::new(files, tls::Oldest::Tls13);
        let cannot = |error| Failure::failed("cannot set up TLS to agents", error);
        client.map(Some).map_err(cannot)
    }

    fn source(&self, connector: &Arc<Connector>) -> Result<Box<dyn Source>, Failure> {
        let has_tls = connector.tls.is_some();
        if self.kubernetes {
            return self.kubernetes_source(has_tls);
        }
        let cluster = has_tls.then(|| self.cluster_name.clone());
        if let Some(path) = &self.peers_file {
            let file = File::new(path.clone(), cluster);
            let file = file.map_err(|error| Failure::failed("no list of agents", error))?;
            return Ok(Box::new(Listed::File(file)));
        }
        let name = |node: &str| cluster.as_deref().map(|cluster| tls_name(cluster, node));
        if self.peers.is_empty() {
            return Ok(Box::new(Notified {
                service: Peer {
                    address: self.peer_service.clone(),
                    tls_name: name(PEER_SERVICE),
                },
                connector: Arc::clone(connector),
                retry: self.retry_timeout,
            }));
        }
        let mut peers = Peers::default();
        for (node, address) in &self.peers {
            let peer = Peer {
                address: address.clone(),
                tls_name: name(node.rsplit('/').next().unwrap_or(node)),
            };
            peers.insert(node.clone(), peer);
        }
        Ok(Box::new(Listed::Given(peers)))
    }
}

impl RelayArgs {
    /// Agents' pods.
    fn kubernetes_source(&self, has_tls: bool) -> Result<Box<dyn Source>, Failure> {
        let places = Places::follow(Sought {
            access: Kubernetes::default(),
            namespace: self.kubernetes_namespace.clone(),
            labels: self.kubernetes_selector.clone(),
            timeouts: Timeouts::default(),
        });
        Ok(Box::new(source::Kubernetes {
            places: places.map_err(|error| Failure::failed("no API server to ask", error))?,
            port: self.kubernetes_port,
            cluster: self.cluster_name.clone(),
            has_tls,
        }))
    }
}

/// Reads `:port`, `localhost:port` or an address with a port.
fn listen_address(text: &str) -> Result<SocketAddr, Failure> {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let fault = |why: &str| {
        Failure::usage(format!("{text}: {why}")).advise("HOST:PORT, or :PORT for every address")
    };
    let port = port.parse().map_err(|_no_number| fault("not a port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let ip = match host {
        // A host without IPv6 has no such address.
        "" if std::path::Path::new("/proc/sys/net/ipv6").exists() => Ipv6Addr::UNSPECIFIED.into(),
        "" => Ipv4Addr::UNSPECIFIED.into(),
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        host => host
            .parse::<IpAddr>()
            .map_err(|_no_address| fault("not an address of this machine"))?,
    };
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: RelayArgs,
    }

    fn settings(flags: &[&str]) -> Result<relay::Settings, String> {
        let line = [&["l7d"], flags].concat();
        let line = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        line.args.settings().map_err(|failure| failure.to_string())
    }

    #[test]
    fn only_this_machine_is_served_in_plaintext_unless_that_is_said() {
        let listen = |flags: &[&str]| {
            settings(flags).map(|settings| settings.tcp.map(|tcp| tcp.listen.to_string()))
        };
        assert_eq!(listen(&[]), Ok(Some("127.0.0.1:4245".to_owned())));
        let fault = listen(&["--listen-address", ":4245"]).expect_err("plaintext");
        assert!(fault.contains("plaintext"), "{fault}");
        let open = ["--listen-address", "192.0.2.1:4245", "--disable-server-tls"];
        assert_eq!(listen(&open), Ok(Some("192.0.2.1:4245".to_owned())));
        assert_eq!(
            listen(&["--listen-address", "unix:///run/r.sock"]),
            Ok(None)
        );
    }

    #[test]
    fn agents_are_told_in_one_way() {
        let both = ["--peer", "a=10.0.0.1:4244", "--peers-file", "x"];
        assert!(settings(&both).is_err());
        assert!(settings(&["--kubernetes", "--peers-file", "x"]).is_err());
        assert!(settings(&["--kubernetes-namespace", "l7d"]).is_err());
        assert!(settings(&["--peer", "a"]).is_err());
        assert!(settings(&["--peer", "a=10.0.0.1:4244", "--peer", "b=10.0.0.2"]).is_ok());
    }
}
