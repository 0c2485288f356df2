//! The arguments of `l7d trace`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::observe::args::Color;
use crate::cli::server::ServerFlags;

const EXAMPLES: &str = "\
Examples:
  What became of the connections of a pod, failed ones first?
    l7d trace shop/web
  Why does the web not reach the cart?
    l7d trace shop/web --to shop/cart --failed
  One connection from its first packet to its last, by its number or by its client's address and port:
    l7d trace --connection 6b3f2a1c00
    l7d trace 10.244.1.7:51514
  As they end:
    l7d trace shop/web --to shop/cart --port 8080 -f
  From what a server of Cilium's Hubble has recorded, for another tool:
    hubble observe --last 100000 -o jsonpb > flows.json
    l7d trace shop/web --input-file flows.json -o jsonl
  In a capture:
    l7d trace --pcap trace.pcap --failed

A connection is one story, however many nodes saw it and whether or not a proxy stood between both
ends: packets, TCP's events, drops with reason and policy, and messages of HTTP, gRPC and DNS, with the
time between them. If only one connection is meant, its timeline is shown, else a line of each; --full
shows all timelines. docs/trace.md says what is known from where, and has the JSON form.";

/// `l7d trace`
#[derive(Debug, Args)]
#[command(
    after_long_help = EXAMPLES,
    after_help = "More with --help: examples, what is shown when."
)]
pub struct TraceArgs {
    /// Whose connections: a pod (beginning of its name), NAMESPACE/POD, a service, an address, or an
    /// address with a port
    #[arg(value_name = "POD|NAMESPACE/POD|IP[:PORT]")]
    #[arg(required_unless_present_any = ["connection", "pcap", "input_file"])]
    pub target: Option<String>,
    /// Only connections to this pod, service or address
    #[arg(long, value_name = "PEER", help_heading = "Selectors")]
    pub to: Option<String>,
    /// Only connections to this port
    #[arg(long, value_name = "PORT", help_heading = "Selectors")]
    pub port: Option<u16>,
    /// Only the connection with this number, as flows and lists have it
    #[arg(long, value_name = "ID", help_heading = "Selectors")]
    pub connection: Option<String>,
    /// Only connections on which something did not get through
    #[arg(long, help_heading = "Selectors")]
    pub failed: bool,
    /// What happened since TIME; forms as for `l7d observe`
    #[arg(
        long,
        value_name = "TIME",
        help_heading = "Selectors",
        allow_hyphen_values = true
    )]
    pub since: Option<String>,
    /// The latest N connections that failed, and the latest N others
    #[arg(
        long,
        value_name = "N",
        default_value_t = 20,
        help_heading = "Selectors"
    )]
    pub last: usize,
    /// Go on with what happens from now on: each connection when it has ended, or was not answered
    #[arg(short, long, help_heading = "Selectors")]
    #[arg(conflicts_with_all = ["pcap", "input_file"])]
    pub follow: bool,
    /// Show the timeline of every connection instead of a line
    #[arg(long, help_heading = "Formatting")]
    pub full: bool,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "text")]
    #[arg(help_heading = "Formatting")]
    pub output: Output,
    /// Colours in text
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    #[arg(help_heading = "Formatting")]
    pub color: Color,
    /// Read flows from a file of JSON lines instead of a server; - is standard input
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Other",
        conflicts_with = "pcap"
    )]
    pub input_file: Option<String>,
    /// Read captures instead (pcap, pcapng; also compressed); several are merged by time
    #[arg(long, value_name = "FILE", help_heading = "Other")]
    pub pcap: Vec<PathBuf>,
    /// Names of addresses in captures, as for `l7d replay`
    #[arg(long, value_name = "FILE", help_heading = "Other", requires = "pcap")]
    pub endpoints: Vec<PathBuf>,
    /// Which server.
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Forms of output, by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A list, or timelines
    Text,
    /// One JSON array of connections
    Json,
    /// One JSON object per connection and line
    Jsonl,
}
