//! The arguments of `l7d map`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::observe::args::Color;
use crate::cli::observe::time::parse_duration;
use crate::cli::paths::PathFlags;
use crate::cli::server::ServerFlags;
use crate::map::By;

const EXAMPLES: &str = "\
Examples:
  Who talks to whom, and what fails?
    l7d map
  As it goes on, the last minute of it:
    l7d map -f
  Around one workload, or within one namespace:
    l7d map --of shop/cart
    l7d map -n shop
  As a picture, for an incident's report, or for Markdown:
    l7d map -o svg > map.svg
    l7d map -o mermaid
  What did the release change?
    l7d map --since 10m -o json > before.json
    l7d map --since 5m --diff before.json
  Of a capture, or of what another project's Hubble has recorded:
    l7d map --pcap trace.pcap --endpoints pods.yaml
    hubble observe --last 100000 -o jsonpb | l7d map --input-file -

A node is a workload, a service or name whose pods are not told, or an address. What both ends of a
connection tell is counted once. docs/map.md says what is counted how, and has the JSON form.";

/// `l7d map`
#[derive(Debug, Args)]
#[command(
    after_long_help = EXAMPLES,
    after_help = "More with --help: examples."
)]
pub struct MapArgs {
    /// Only this node and whom it talks to: the beginning of its name, or NAMESPACE/NAME
    #[arg(long, value_name = "NODE", help_heading = "Selectors")]
    pub of: Option<String>,
    /// Only nodes of this namespace, and whom they talk to
    #[arg(short, long, value_name = "NAME", help_heading = "Selectors")]
    pub namespace: Option<String>,
    /// Only what fails
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
    /// Go on with what happens from now on, until Ctrl-C
    #[arg(short, long, help_heading = "Selectors")]
    #[arg(conflicts_with_all = ["pcap", "input_file", "since", "diff"])]
    pub follow: bool,
    /// With --follow: how much of the past the map is of, at most 15m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1m")]
    #[arg(help_heading = "Selectors", requires = "follow")]
    pub window: Duration,
    /// What nodes stand for
    #[arg(long, value_enum, value_name = "WHAT", default_value = "workload")]
    #[arg(help_heading = "Formatting")]
    pub by: Group,
    /// Templates of paths, whose requests are counted together.
    #[command(flatten)]
    pub templates: PathFlags,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "text")]
    #[arg(help_heading = "Formatting")]
    pub output: Output,
    /// Show what is different from an earlier map, as -o json wrote it
    #[arg(long, value_name = "FILE", help_heading = "Formatting")]
    pub diff: Option<PathBuf>,
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
    /// Policies whose verdicts captures are shown with, as for `l7d replay`
    #[arg(long, value_name = "PATH", help_heading = "Other", requires = "pcap")]
    pub policy: Vec<PathBuf>,
    /// Which server.
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Forms of output, by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines for a terminal
    Text,
    /// All figures; with --follow an object per line and second
    Json,
    /// For Graphviz
    Dot,
    /// For Mermaid, which Markdown pages show
    Mermaid,
    /// A picture
    Svg,
}

/// What nodes stand for, by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// All pods of a deployment and the like
    Workload,
    /// Each pod
    Pod,
    /// Namespaces
    Namespace,
}

impl Group {
    /// As the map calls it.
    pub(super) fn by(self) -> By {
        match self {
            Self::Workload => By::Workload,
            Self::Pod => By::Pod,
            Self::Namespace => By::Namespace,
        }
    }
}
