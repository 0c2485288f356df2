//! `l7d ui`: the web page of any server of the Hubble API.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use parsers::template::Templates;
use proto::observer::observer_server::ObserverServer;
use tokio::sync::watch;
use tonic::service::RoutesBuilder;

use super::failure::Failure;
use super::observe::stream::interrupts;
use super::paths::PathFlags;
use super::recorded::Recorded;
use super::server::ServerFlags;
use crate::config::Tls;
use crate::server::in_process;
use crate::ui::{self, Listen, Source};

const EXAMPLES: &str = "\
Examples:
  The page of this node's agent:
    sudo l7d ui
  Of a relay, of l7d or of Hubble, in the cluster:
    kubectl -n kube-system port-forward service/hubble-relay 4245:80 &
    l7d ui --server localhost:4245
  Of what was recorded:
    hubble observe --last 100000 -o jsonpb > flows.json
    l7d ui --input-file flows.json
  For others as well, by the address with a token that is printed:
    l7d ui --listen 0.0.0.0:12000

The page needs nothing but this program: no other host is asked, nothing is stored. docs/map.md tells
what it shows.";

/// `l7d ui`
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = "More with --help: examples.")]
pub struct UiArgs {
    /// Where the page is served
    #[command(flatten)]
    pub page: PageArgs,
    /// Address and port of the page; on another than a loopback address browsers need a token
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:12000",
        help_heading = "Page"
    )]
    pub listen: String,
    /// Templates of paths, whose requests are counted together.
    #[command(flatten)]
    pub templates: PathFlags,
    /// Show the flows of a file of JSON lines instead of a server's; - is standard input
    #[arg(long, value_name = "FILE", help_heading = "Other")]
    pub input_file: Option<String>,
    /// Which server.
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Who may see the page.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Page")]
pub struct PageArgs {
    /// File with the token that browsers need; one is made up where the network could see the page
    #[arg(long = "ui-token-file", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificate of the page, PEM; read again when it changes
    #[arg(long = "ui-tls-cert-file", value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
    /// Key of that certificate, PEM
    #[arg(
        long = "ui-tls-key-file",
        value_name = "FILE",
        requires = "certificate"
    )]
    pub key: Option<PathBuf>,
    /// Authority that browsers' certificates must come from, PEM: they need no token then
    #[arg(
        long = "ui-tls-client-ca-file",
        value_name = "FILE",
        requires = "certificate"
    )]
    pub client_ca: Option<PathBuf>,
}

impl PageArgs {
    /// Where the page is served, and to whom.
    pub fn settle(&self, address: &str) -> Result<Listen, Failure> {
        let address = socket_address(address)?;
        let token = match &self.token_file {
            Some(file) => {
                let token = std::fs::read_to_string(file);
                let token = token.map_err(|error| {
                    Failure::failed(format!("cannot read {}", file.display()), error)
                })?;
                Some(token.trim().to_owned())
            }
            None if address.ip().is_loopback() || self.client_ca.is_some() => None,
            // 122 bits of chance.
            None => Some(uuid::Uuid::new_v4().simple().to_string()),
        };
        let files = self.certificate.clone().zip(self.key.clone());
        let tls = files.map(|(certificate, key)| Tls {
            certificate,
            key,
            client_ca: self.client_ca.clone(),
        });
        Ok(Listen {
            address,
            tls,
            token,
        })
    }
}

/// Reads `host:port`, where host is an address or `localhost`, and `:port` for this machine.
fn socket_address(text: &str) -> Result<SocketAddr, Failure> {
    let local = text
        .strip_prefix("localhost:")
        .or_else(|| text.strip_prefix(':'));
    let numeric = local.map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    numeric.parse().map_err(|error| {
        Failure::usage(format!("the page's address {text}: {error}"))
            .advise("an address and a port: 127.0.0.1:12000")
    })
}

/// Runs the command.
pub async fn run(args: &UiArgs) -> Result<(), Failure> {
    let (stop, stopped) = watch::channel(false);
    let source = match &args.input_file {
        Some(file) => recorded(file, stopped.clone()),
        None => asked(&args.server).await?,
    };
    let templates = args.templates.templates()?;
    serve(&args.page, &args.listen, source, templates, stopped).await?;
    interrupts()?.recv().await;
    stop.send_replace(true);
    Ok(())
}

async fn asked(flags: &ServerFlags) -> Result<Source, Failure> {
    let server = flags.settle(|name| std::env::var(name).ok())?;
    Ok(Source {
        channel: server.connect().await?,
        authorization: server.credentials()?.authorization(),
        shown: server.shown.clone(),
    })
}

fn recorded(file: &str, stop: watch::Receiver<bool>) -> Source {
    let mut routes = RoutesBuilder::default();
    routes.add_service(ObserverServer::new(Recorded(file.to_owned())));
    Source {
        shown: if file == "-" {
            "standard input".to_owned()
        } else {
            let name = Path::new(file).file_name();
            name.map_or_else(
                || file.to_owned(),
                |name| name.to_string_lossy().into_owned(),
            )
        },
        channel: in_process(routes.routes(), stop),
        authorization: None,
    }
}

/// Serves the page of `source`, and tells where.
pub(super) async fn serve(
    page: &PageArgs,
    listen: &str,
    source: Source,
    templates: Templates,
    stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let url = ui::serve(page.settle(listen)?, source, templates, stop)
        .await
        .map_err(|error| Failure::failed("the page cannot be served", error))?;
    writeln!(io::stderr().lock(), "l7d: the page is at {url}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(address: &str) -> Result<Listen, Failure> {
        PageArgs::default().settle(address)
    }

    #[test]
    fn only_the_network_needs_a_token() {
        for address in [
            "localhost:12000",
            ":12000",
            "127.0.0.1:12000",
            "[::1]:12000",
        ] {
            let listen = listen(address).unwrap();
            assert!(
                listen.address.ip().is_loopback() && listen.token.is_none(),
                "{address}"
            );
        }
        let token = || listen("0.0.0.0:12000").unwrap().token.unwrap();
        assert_eq!(token().len(), 32);
        assert_ne!(token(), token());
        assert!(listen("somewhere").is_err());
    }
}
