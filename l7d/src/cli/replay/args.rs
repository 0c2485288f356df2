//! The flags of `l7d replay`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::observe::args::{Color, FlowsArgs, Formatting, Output, Selectors, time_format};
use crate::cli::observe::flags::FilterFlags;
use crate::cli::paths::PathFlags;
use crate::cli::ui::PageArgs;
use crate::print::TimeFormat;

const EXAMPLES: &str = "\
Examples:
  What HTTP is in a capture?
    l7d replay --protocol http trace.pcap
  Live, from another machine:
    ssh node tcpdump -i any -U -w - port 80 | l7d replay -
  Several captures of one moment, errors only, as JSON:
    l7d replay --http-status 5+ -o json node1.pcapng node2.pcap.gz
  What would this policy have refused?
    l7d replay --endpoints pods.yaml --policy candidate.yaml --verdict DROPPED trace.pcap
  In a browser, as a map:
    l7d replay --endpoints pods.yaml --ui localhost:12000 trace.pcap
  Every message as parsed, to compare with another tool:
    l7d replay -o messages trace.pcap

No privileges are needed. Filters and forms are those of `l7d observe`. The closing lines on standard
error say what was read and what could not be. Exit code 1 tells that a file is damaged; everything
before the damage was shown.";

/// `l7d replay`
#[derive(Debug, Args)]
#[command(
    after_long_help = EXAMPLES,
    after_help = "More with --help: examples."
)]
pub struct ReplayArgs {
    /// Captures (pcap, pcapng; also compressed); - is standard input. Several are merged by time
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The first N flows
    #[arg(
        long,
        value_name = "N",
        help_heading = "Selectors",
        conflicts_with = "last"
    )]
    pub first: Option<u64>,
    /// The last N flows
    #[arg(long, value_name = "N", help_heading = "Selectors")]
    pub last: Option<u64>,
    /// What was captured since TIME; forms as for `l7d observe`
    #[arg(
        long,
        value_name = "TIME",
        help_heading = "Selectors",
        allow_hyphen_values = true
    )]
    pub since: Option<String>,
    /// What was captured until TIME
    #[arg(
        long,
        value_name = "TIME",
        help_heading = "Selectors",
        allow_hyphen_values = true
    )]
    pub until: Option<String>,
    /// Which flows.
    #[command(flatten)]
    pub filters: FilterFlags,
    /// Form of the output
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        default_value = "compact"
    )]
    #[arg(help_heading = "Formatting")]
    pub output: Form,
    /// Show the policies that allowed or denied a flow
    #[arg(long, help_heading = "Formatting")]
    pub print_policy_names: bool,
    /// Form of timestamps, in UTC; not for JSON; names as for `l7d observe`
    #[arg(long, value_name = "FORM", default_value = "StampMilli", value_parser = time_format)]
    #[arg(help_heading = "Formatting")]
    pub time_format: TimeFormat,
    /// Colours in compact and dict output
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    #[arg(help_heading = "Formatting")]
    pub color: Color,
    /// Names and labels of addresses: a file with `endpoints` and `services`, as the agent has it, or what
    /// `kubectl get pods,namespaces,services -A -o yaml` prints; also a folder, several may be given
    #[arg(long, value_name = "FILE", help_heading = "Names and policies")]
    pub endpoints: Vec<PathBuf>,
    /// Show the verdicts that these policies would give; a file or folder, several may be given
    #[arg(long, value_name = "PATH", help_heading = "Names and policies")]
    pub policy: Vec<PathBuf>,
    /// Offer the flows on the Hubble API until Ctrl-C instead of printing them: a socket, as `unix://PATH`, or a
    /// loopback address and port
    #[arg(long, value_name = "ADDR", help_heading = "Other")]
    pub serve: Option<String>,
    /// Serve the web page of these flows until Ctrl-C, at this address and port, with or without --serve
    #[arg(long, value_name = "ADDR", help_heading = "Other")]
    pub ui: Option<String>,
    /// Who may see the page.
    #[command(flatten)]
    pub page: PageArgs,
    /// Templates of paths, for the page.
    #[command(flatten)]
    pub templates: PathFlags,
    /// Most flows that --serve and --ui keep
    #[arg(long, value_name = "N", default_value_t = 1 << 17, help_heading = "Other")]
    pub serve_flows: usize,
    /// Leave out the closing lines
    #[arg(short, long, help_heading = "Other")]
    pub quiet: bool,
}

/// Forms of output, by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One line each
    Compact,
    /// One `KEY: value` block each
    Dict,
    /// One JSON object per line
    Json,
    /// The same as json
    Jsonpb,
    /// Aligned columns
    #[value(alias = "tab")]
    Table,
    /// Every message as it was parsed instead of flows, one JSON object per line; nothing is hidden
    /// in it
    Messages,
}

impl Form {
    /// The form that flows have; messages are none.
    pub(super) fn of_flows(self) -> Option<Output> {
        match self {
            Self::Compact => Some(Output::Compact),
            Self::Dict => Some(Output::Dict),
            Self::Json => Some(Output::Json),
            Self::Jsonpb => Some(Output::Jsonpb),
            Self::Table => Some(Output::Table),
            Self::Messages => None,
        }
    }
}

impl ReplayArgs {
    /// The arguments that `l7d observe` would have: everything is shown unless some part is asked for.
    pub(super) fn as_observed(&self, output: Output) -> FlowsArgs {
        let selectors = Selectors {
            all: self.first.is_none() && self.last.is_none(),
            first: self.first,
            last: self.last,
            follow: false,
            since: self.since.clone(),
            until: self.until.clone(),
        };
        FlowsArgs {
            selectors,
            filters: self.filters.clone(),
            formatting: Formatting {
                output,
                print_node_name: false,
                print_policy_names: self.print_policy_names,
                time_format: self.time_format,
            },
            color: self.color,
            ip_translation: true,
            use_default_field_masks: true,
            ..FlowsArgs::default()
        }
    }
}
