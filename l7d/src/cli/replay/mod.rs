//! `l7d replay`: captures, as if they happened now.

mod names;
mod serve;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use capture::{Merge, Reader};
use clap::{Args, ValueEnum};
use jiff::Timestamp as Now;
use parking_lot::Mutex;
use proto::observer::GetFlowsResponse;
use proto::observer::get_flows_response::ResponseTypes;

use super::failure::Failure;
use super::matcher::Matcher;
use super::observe::args::{Color, FlowsArgs, Formatting, Output, Selectors, time_format};
use super::observe::flags::FilterFlags;
use super::observe::input::Selection;
use super::observe::request;
use crate::clock::Timestamp;
use crate::flow::FlowRing;
use crate::flow::view::NodeView;
use crate::identity::Identities;
use crate::print::{MessageLines, Printer, TimeFormat};
use crate::record::{Ledger, Record, Sink};
use crate::replay::{Captured, PolicyVerdicts, Replay, Settings, Summary};
use crate::session::{Recorder, Redaction};
use names::Names;
use serve::Address;

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
    /// Which part of the flows.
    #[command(flatten)]
    pub selectors: Selectors,
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
    /// Names and labels of addresses: a file with `endpoints` and `services`, as the agent has it
    #[arg(long, value_name = "FILE", help_heading = "Names and policies")]
    pub endpoints: Option<PathBuf>,
    /// Show the verdicts that these policies would give; a file or folder, several may be given
    #[arg(long, value_name = "PATH", help_heading = "Names and policies")]
    pub policy: Vec<PathBuf>,
    /// Offer the flows on the Hubble API until Ctrl-C instead of printing them: a socket, as `unix:///tmp/l7d.sock`, or a
    /// loopback address and port
    #[arg(long, value_name = "ADDR", help_heading = "Other")]
    pub serve: Option<String>,
    /// Most flows that --serve keeps
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
    /// Every message as it was parsed instead of flows, one JSON object per line
    Messages,
}

impl Form {
    /// The form that flows have; messages are none.
    fn of_flows(self) -> Option<Output> {
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

/// Runs the command.
pub fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let readers = args
        .files
        .iter()
        .map(|file| Reader::open(file))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::failed("cannot read the capture", error))?;
    let merge = Merge::new(readers);
    let names = Names::read(args.endpoints.as_ref(), &args.policy)?;
    let address = args.serve.as_deref().map(Address::parse).transpose()?;
    let end = match (address, args.output.of_flows()) {
        (Some(address), _) => return served(args, &address, &names, merge),
        (None, None) => messages(names.identities, merge)?,
        (None, Some(output)) => flows(&as_observed(args, output), &names, merge)?,
    };
    conclude(args, &end)
}

/// Says what was read, and fails where something could not be.
fn conclude(args: &ReplayArgs, end: &End) -> Result<(), Failure> {
    if !args.quiet {
        tell(end)?;
    }
    if end.damage.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(
        "not everything could be read",
        end.damage.join("; "),
    ))
}

/// How a replay ended.
struct End {
    summary: Summary,
    /// Messages or flows shown, by kind.
    shown: Vec<(String, u64)>,
    damage: Vec<String>,
}

fn redaction() -> Redaction {
    Redaction::new(&crate::config::Redact::default())
}

fn messages(identities: Identities, mut merge: Merge) -> Result<End, Failure> {
    let lines = Rc::new(MessageLines::new(BufWriter::with_capacity(
        1 << 16,
        io::stdout().lock(),
    )));
    let sink: Arc<dyn Sink> = Arc::new(Nowhere);
    let recorder = Recorder::replaying(Arc::clone(&sink), redaction())
        .with_messages(Box::new(Rc::clone(&lines)));
    let settings = Settings::default();
    let replay = Replay::new(settings, Rc::new(recorder), sink, identities, None);
    let mut replay = replay.without_packets();
    let mut progress = Progress::new();
    while merge.advance() {
        progress.show(&merge)?;
        handle(&mut replay, &merge);
    }
    replay.finish();
    lines.flush()?;
    let written = lines.written().into_iter();
    Ok(End {
        summary: replay.summary().clone(),
        shown: written
            .map(|(kind, count)| (kind.to_owned(), count))
            .collect(),
        damage: merge.errors().iter().map(ToString::to_string).collect(),
    })
}

fn flows(args: &FlowsArgs, names: &Names, mut merge: Merge) -> Result<End, Failure> {
    let request = request::flows(args, Now::now())?;
    if request.follow {
        return Err(Failure::usage("cannot use --follow with captures")
            .advise("a capture ends; standard input (-) is shown as it comes"));
    }
    let matcher = Matcher::new(&request.whitelist, &request.blacklist).map_err(Failure::usage)?;
    let style = args.style(io::stdout().is_terminal(), |name| std::env::var(name).ok());
    let out = BufWriter::new(io::stdout().lock());
    let mut printer = Printer::new(out, io::sink(), style);
    let mut selection = Selection::new(&request, &matcher);
    let batch = Arc::new(Batch::default());
    let sink: Arc<dyn Sink> = Arc::clone(&batch) as Arc<dyn Sink>;
    let mut replay = replay_into(sink, names);
    let node = node();
    let mut shown = 0;
    let mut is_full = false;
    let mut show = |record: &Record| -> Result<bool, Failure> {
        let flow = node.flow(record);
        shown += 1;
        let response = GetFlowsResponse {
            node_name: node.name.clone(),
            time: flow.time,
            response_types: Some(ResponseTypes::Flow(flow)),
        };
        selection.take(response, &mut printer)
    };
    let mut progress = Progress::new();
    while !is_full && merge.advance() {
        progress.show(&merge)?;
        handle(&mut replay, &merge);
        is_full = batch.drain(&mut show)?;
    }
    replay.finish();
    if !is_full {
        batch.drain(&mut show)?;
    }
    selection.finish(&mut printer)?;
    printer.finish()?;
    Ok(End {
        summary: replay.summary().clone(),
        shown: vec![("flows".to_owned(), shown)],
        damage: merge.errors().iter().map(ToString::to_string).collect(),
    })
}

fn node() -> NodeView {
    NodeView {
        name: "replay".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: 0,
    }
}

/// A replay whose records go there, with the verdicts of the given policies.
fn replay_into(sink: Arc<dyn Sink>, names: &Names) -> Replay {
    let mut recorder = Recorder::replaying(Arc::clone(&sink), redaction());
    if let Some(policy) = &names.policy {
        recorder = recorder.with_verdicts(Box::new(PolicyVerdicts(Arc::clone(policy))));
    }
    let identities = names.identities.clone();
    let policy = names.policy.clone();
    Replay::new(
        Settings::default(),
        Rc::new(recorder),
        sink,
        identities,
        policy,
    )
}

fn served(
    args: &ReplayArgs,
    address: &Address,
    names: &Names,
    mut merge: Merge,
) -> Result<(), Failure> {
    let ring = Arc::new(FlowRing::new(args.serve_flows, Arc::new(Ledger::default())));
    let sink: Arc<dyn Sink> = Arc::clone(&ring) as Arc<dyn Sink>;
    let mut replay = replay_into(sink, names);
    let mut progress = Progress::new();
    while merge.advance() {
        progress.show(&merge)?;
        handle(&mut replay, &merge);
    }
    replay.finish();
    drop(progress);
    let end = End {
        summary: replay.summary().clone(),
        shown: vec![("flows".to_owned(), ring.end())],
        damage: merge.errors().iter().map(ToString::to_string).collect(),
    };
    let result = conclude(args, &end);
    super::block_on(serve::until_interrupted(address, ring, node()))?;
    result
}

/// The arguments that `l7d observe` would have: everything is shown unless some part is asked for.
fn as_observed(args: &ReplayArgs, output: Output) -> FlowsArgs {
    let mut selectors = args.selectors.clone();
    selectors.all |= selectors.first.is_none() && selectors.last.is_none();
    FlowsArgs {
        selectors,
        filters: args.filters.clone(),
        formatting: Formatting {
            output,
            print_node_name: false,
            print_policy_names: args.print_policy_names,
            time_format: args.time_format,
        },
        color: args.color,
        ip_translation: true,
        use_default_field_masks: true,
        ..FlowsArgs::default()
    }
}

fn handle(replay: &mut Replay, merge: &Merge) {
    if let Some(packet) = merge.packet() {
        replay.handle_packet(&Captured {
            time: Timestamp(packet.time_ns),
            link_type: packet.link_type,
            data: packet.data,
        });
    }
}

/// Records nobody wants.
struct Nowhere;

impl Sink for Nowhere {
    fn record(&self, _record: &Record) {}
}

/// Records of one packet; their memory is used again for those of the next.
#[derive(Default)]
struct Batch(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    records: Vec<Record>,
    used: usize,
}

impl Sink for Batch {
    fn record(&self, record: &Record) {
        let kept = &mut *self.0.lock();
        match kept.records.get_mut(kept.used) {
            Some(slot) => slot.copy_from(record),
            None => kept.records.push(record.clone()),
        }
        kept.used += 1;
    }
}

impl Batch {
    /// Shows what has come; true when no more is wanted.
    fn drain(
        &self,
        show: &mut impl FnMut(&Record) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let kept = &mut *self.0.lock();
        let used = std::mem::take(&mut kept.used);
        for record in kept.records.iter().take(used) {
            if show(record)? {
                return Ok(true);
            }
        }
        // One burst is no reason to hold its memory for ever.
        kept.records.truncate(1024);
        Ok(false)
    }
}

/// How far a long replay is, on a terminal that shows nothing else.
struct Progress {
    is_shown: bool,
    packets: u64,
}

/// Packets between two looks.
const PROGRESS_PACKETS: u64 = 1 << 16;

impl Progress {
    fn new() -> Self {
        Self {
            is_shown: io::stderr().is_terminal() && !io::stdout().is_terminal(),
            packets: 0,
        }
    }

    fn show(&mut self, merge: &Merge) -> io::Result<()> {
        self.packets += 1;
        if self.is_shown && self.packets.is_multiple_of(PROGRESS_PACKETS) {
            let mut err = io::stderr().lock();
            let mebibytes = merge.offset() >> 20;
            write!(err, "\r{} packets, {mebibytes} MiB", self.packets)?;
            err.flush()?;
        }
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown && self.packets >= PROGRESS_PACKETS {
            // The line goes; a terminal that is gone needs no cleaning.
            let _gone = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

fn tell(end: &End) -> io::Result<()> {
    let mut err = io::stderr().lock();
    let summary = &end.summary;
    writeln!(
        err,
        "{} packets, {} bytes, {} TCP connections",
        summary.packets, summary.bytes, summary.connections
    )?;
    let shown: Vec<String> = end
        .shown
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    if !shown.is_empty() {
        writeln!(err, "{}", shown.join(", "))?;
    }
    let mut lines: Vec<(u64, String)> = vec![
        (
            summary.gaps,
            format!("gaps in streams, {} bytes", summary.gap_bytes),
        ),
        (
            summary.conflicts,
            "bytes that came twice and differ; the first copy counts".to_owned(),
        ),
        (
            summary.lost_datagrams,
            "datagrams whose fragments did not come together".to_owned(),
        ),
        (
            summary.evicted,
            "connections given up: too many at a time".to_owned(),
        ),
    ];
    for (link_type, count) in &summary.without_ip {
        lines.push((
            *count,
            format!("packets without IP (link type {link_type})"),
        ));
    }
    for (rule, count) in &summary.unreadable {
        lines.push((*count, format!("packets that cannot be read: {rule}")));
    }
    for (count, what) in lines.iter().filter(|(count, _)| *count > 0) {
        writeln!(err, "{count} {what}")?;
    }
    Ok(())
}
