//! The arguments of `l7d observe`.

use clap::{Args, Subcommand, ValueEnum};

use super::flags::FilterFlags;
use crate::cli::server::ServerFlags;
use crate::print::{Form, Style, TimeFormat};

/// Examples under the help text.
const EXAMPLES: &str = "\
Examples:
  The last 20 flows, then what happens from now on:
    l7d observe --last 20 -f
  Why did this request not get through?
    l7d observe --pod shop/web --verdict DROPPED --print-policy-names --since 10m
  HTTP errors of one service, slow or not:
    l7d observe --protocol http --http-status 5+ --to-service shop/cart -f
  Everything of a namespace but health checks:
    l7d observe -n shop --not --http-path ^/healthz
  Between two times, as JSON, for another tool:
    l7d observe --since \"2 hours ago\" --until 30m -o json > flows.json
  Flows that were recorded earlier:
    l7d observe --input-file flows.json --verdict DROPPED -o table

Filters of the same kind are alternatives (--port 80 --port 443), filters of different kinds must
all match (--port 80 --verdict DROPPED). --not turns the next filter around.";

/// `l7d observe`
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_long_help = EXAMPLES,
    after_help = "More with --help: examples, how filters combine."
)]
pub struct Observe {
    /// What to observe instead of flows.
    #[command(subcommand)]
    pub events: Option<ObserveEvents>,
    /// Arguments of the flows.
    #[command(flatten)]
    pub flows: FlowsArgs,
}

/// What can be observed.
#[derive(Debug, Subcommand)]
pub enum ObserveEvents {
    /// Flows; the same as without this word
    #[command(after_long_help = EXAMPLES)]
    Flows(Box<FlowsArgs>),
    /// Changes of policies, endpoints and addresses that an agent knows of
    AgentEvents(Box<EventsArgs>),
    /// Debug events of an agent
    DebugEvents(Box<EventsArgs>),
}

/// Arguments of `observe flows`.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[derive(Debug, Clone, Default, Args)]
pub struct FlowsArgs {
    /// Which part of the flows.
    #[command(flatten)]
    pub selectors: Selectors,
    /// Which flows.
    #[command(flatten)]
    pub filters: FilterFlags,
    /// Flows that match this filter, as JSON; several may be given
    #[arg(long, value_name = "JSON", help_heading = "Raw filters")]
    #[arg(env = "HUBBLE_ALLOWLIST", hide_env_values = true)]
    pub allowlist: Vec<String>,
    /// Leave out flows that match this filter, as JSON; several may be given
    #[arg(long, value_name = "JSON", help_heading = "Raw filters")]
    #[arg(env = "HUBBLE_DENYLIST", hide_env_values = true)]
    pub denylist: Vec<String>,
    /// Print the filters as --allowlist and --denylist take them, and exit
    #[arg(long, help_heading = "Raw filters")]
    pub print_raw_filters: bool,
    /// How flows look.
    #[command(flatten)]
    pub formatting: Formatting,
    /// Colours in compact and dict output
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    #[arg(help_heading = "Formatting")]
    pub color: Color,
    /// Show names instead of addresses
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        help_heading = "Formatting"
    )]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(action = clap::ArgAction::Set)]
    pub ip_translation: bool,
    /// Show addresses; the same as --ip-translation=false
    #[arg(long, help_heading = "Formatting")]
    pub numeric: bool,
    /// Fields the server is to send, with -o json (`verdict,source.pod_name`)
    #[arg(
        long,
        value_name = "FIELDS",
        value_delimiter = ',',
        help_heading = "Other"
    )]
    #[arg(alias = "experimental-field-mask")]
    pub field_mask: Vec<String>,
    /// Have only those fields sent that the output shows
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        help_heading = "Other"
    )]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(action = clap::ArgAction::Set, alias = "experimental-use-default-field-masks")]
    pub use_default_field_masks: bool,
    /// Read flows from a file of JSON lines instead of a server; - is standard input
    #[arg(long, value_name = "FILE", help_heading = "Other")]
    pub input_file: Option<String>,
    /// Keep quiet about errors and nodes
    #[arg(short, long, help_heading = "Other")]
    pub silent_errors: bool,
    /// Which server.
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Arguments of `observe agent-events` and `observe debug-events`.
#[derive(Debug, Clone, Default, Args)]
pub struct EventsArgs {
    /// Which part of the events.
    #[command(flatten)]
    pub selectors: Selectors,
    /// How events look.
    #[command(flatten)]
    pub formatting: Formatting,
    /// Keep quiet about errors
    #[arg(short, long, help_heading = "Other")]
    pub silent_errors: bool,
    /// Which server.
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Which part of what a server or a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Selectors")]
pub struct Selectors {
    /// Everything that is held
    #[arg(long)]
    pub all: bool,
    /// The first N; from a relay, the first N of each node
    #[arg(long, value_name = "N")]
    pub first: Option<u64>,
    /// The last N; from a relay, the last N of each node [default: 20]
    #[arg(long, value_name = "N")]
    pub last: Option<u64>,
    /// Go on with what happens from now on
    #[arg(short, long)]
    pub follow: bool,
    /// What happened since TIME: a duration (90s, 1h30m, "5m ago"), now, today, yesterday, or a
    /// date (2006-01-02, 2006-01-02T15:04Z, 2006-01-02T15:04:05.999Z)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub since: Option<String>,
    /// What happened until TIME
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub until: Option<String>,
}

/// How output looks.
#[expect(clippy::doc_markdown, reason = "comments are what --help shows")]
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Formatting")]
pub struct Formatting {
    /// Form of the output
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        default_value = "compact"
    )]
    pub output: Output,
    /// Show the name of the node
    #[arg(long)]
    pub print_node_name: bool,
    /// Show the policies that allowed or denied a flow
    #[arg(long)]
    pub print_policy_names: bool,
    /// Form of timestamps, in UTC; not for JSON: StampMilli, YearMonthDay, YearMonthDayHour,
    /// YearMonthDayHourMinute, RFC3339, RFC3339Milli, RFC3339Micro, RFC3339Nano, RFC1123Z
    #[arg(long, value_name = "FORM", default_value = "StampMilli", value_parser = time_format)]
    pub time_format: TimeFormat,
}

/// Reads the name of a time format.
pub(in crate::cli) fn time_format(text: &str) -> Result<TimeFormat, String> {
    let mut formats = TimeFormat::ALL.iter();
    let found = formats.find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, format)| *format).ok_or_else(|| {
        let names: Vec<_> = TimeFormat::ALL.iter().map(|(name, _)| *name).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Whether there are colours, on a terminal or not; `env` gives an environment variable's value.
    pub fn is_on(self, terminal: bool, env: impl Fn(&str) -> Option<String>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => terminal && env("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

/// Forms of output, by their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// One line each
    #[default]
    Compact,
    /// One `KEY: value` block each
    Dict,
    /// One JSON object per line
    #[value(alias = "JSON")]
    Json,
    /// The same as json
    Jsonpb,
    /// Aligned columns
    #[value(alias = "tab")]
    Table,
}

impl Output {
    /// The form.
    pub fn form(self) -> Form {
        match self {
            Self::Compact => Form::Compact,
            Self::Dict => Form::Dict,
            Self::Json | Self::Jsonpb => Form::Json,
            Self::Table => Form::Table,
        }
    }

    /// The form's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compact => "compact",
            Self::Dict => "dict",
            Self::Json => "json",
            Self::Jsonpb => "jsonpb",
            Self::Table => "table",
        }
    }
}

impl Formatting {
    /// The form of the output.
    pub fn form(&self) -> Form {
        self.output.form()
    }

    /// How to print, without what only flows have.
    pub fn style(&self) -> Style {
        Style {
            form: self.form(),
            time: self.time_format,
            node_name: self.print_node_name,
            policy_names: self.print_policy_names,
            ..Style::default()
        }
    }
}

impl FlowsArgs {
    /// How to print, to a terminal or not; `env` gives an environment variable's value.
    pub fn style(&self, terminal: bool, env: impl Fn(&str) -> Option<String>) -> Style {
        Style {
            color: self.color.is_on(terminal, &env),
            numeric: self.numeric || !self.ip_translation,
            bare_flows: self.formatting.output == Output::Json
                && env("HUBBLE_COMPAT").is_some_and(|v| v.contains("legacy-json-output")),
            ..self.formatting.style()
        }
    }
}
