//! `l7d policy explain`: what policies make of one connection or request, and why.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::answer::{Question, Said};
use super::ends::Unknown;
use super::world::World;
use crate::cli::candidate::Candidate;
use crate::cli::failure::Failure;
use crate::cli::observe::args::Color;
use crate::print;

const EXAMPLES: &str = "\
Examples:
  May the gateway ask for this path?
    l7d policy explain --endpoints pods.yaml --policy policies/ \\
      --from prod-app/api-gateway --to prod-app/user-service --port 80 --method GET --path /admin
  May it look that name up, and then connect?
    l7d policy explain … --from api-gateway --to 10.96.0.10 --port 53 --dns api.example.com
    l7d policy explain … --from api-gateway --to api.example.com --port 443

Exit code 0 whatever the verdict: it is in the output, and with -o json under `verdict`.";

/// Arguments of `l7d policy explain`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = "More with --help: examples.")]
pub struct ExplainArgs {
    /// Names and labels of addresses: a file with `endpoints`, as the agent has it, or what
    /// `kubectl get pods,namespaces -A -o yaml` prints; also a folder, several may be given
    #[arg(long, value_name = "FILE", required = true)]
    pub endpoints: Vec<PathBuf>,
    /// Policies: files, or folders of them
    #[arg(long, value_name = "PATH", required = true)]
    pub policy: Vec<PathBuf>,
    /// Who asks: a pod (NAMESPACE/NAME) or a node (node/NAME), by the name alone where there is only
    /// one, an address, `world`, `host`, `remote-node`, `kube-apiserver`
    #[arg(long, value_name = "END")]
    pub from: String,
    /// Who is asked: the same, or a DNS name
    #[arg(long, value_name = "END")]
    pub to: String,
    /// Port of who is asked
    #[arg(long)]
    pub port: u16,
    /// Transport protocol [default: tcp, with --dns udp]
    #[arg(long, value_enum)]
    pub protocol: Option<Protocol>,
    /// HTTP method
    #[arg(long, requires = "path")]
    pub method: Option<String>,
    /// HTTP path
    #[arg(long)]
    pub path: Option<String>,
    /// HTTP host [default: who is asked]
    #[arg(long, requires = "path")]
    pub host: Option<String>,
    /// HTTP header, as NAME:VALUE; several may be given
    #[arg(long, value_name = "NAME:VALUE", requires = "path")]
    pub header: Vec<String>,
    /// Name of a DNS query
    #[arg(long, value_name = "NAME", conflicts_with = "path")]
    pub dns: Option<String>,
    /// Name of the server that a TLS client asks for
    #[arg(long, value_name = "NAME", conflicts_with_all = ["dns", "path"])]
    pub sni: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "table")]
    pub output: Form,
    /// Colours, with -o table
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// Transport protocols with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

/// Forms of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One JSON object
    Json,
    /// Each step, and the verdict
    Table,
}

impl Protocol {
    /// By its IANA number.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// Runs the command.
pub(super) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let candidate = Candidate::read(&args.endpoints, &args.policy)?;
    candidate.warn()?;
    let (world, ends) = World::new(&candidate, &[&args.from, &args.to]);
    let mut ends = ends.into_iter();
    let mut end = || ends.next().unwrap_or_else(|| Err(Unknown::default()));
    let (from, to) = (end()?, end()?);
    let answer = world.answer(&Question {
        from,
        to,
        port: args.port,
        protocol: protocol(args).number(),
        said: said(args),
    });
    let mut out = io::stdout().lock();
    match args.output {
        Form::Json => {
            serde_json::to_writer_pretty(&mut out, &answer).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Form::Table => {
            let terminal = io::stdout().is_terminal();
            let color = args.color.is_on(terminal, |name| std::env::var(name).ok());
            print::policy::answer(&mut out, &answer.shown(), color)?;
        }
    }
    Ok(())
}

fn protocol(args: &ExplainArgs) -> Protocol {
    args.protocol.unwrap_or(if args.dns.is_some() {
        Protocol::Udp
    } else {
        Protocol::Tcp
    })
}

fn said(args: &ExplainArgs) -> Option<Said> {
    if let Some(name) = &args.dns {
        return Some(Said::Query(name.clone()));
    }
    if let Some(name) = &args.sni {
        return Some(Said::ServerName(name.clone()));
    }
    let header = |field: &String| {
        let (name, value) = field.split_once(':').unwrap_or((field, ""));
        (name.trim().to_owned(), value.trim().to_owned())
    };
    Some(Said::Http {
        method: args.method.clone().unwrap_or_else(|| "GET".to_owned()),
        path: args.path.clone()?,
        host: args.host.clone(),
        headers: args.header.iter().map(header).collect(),
    })
}
