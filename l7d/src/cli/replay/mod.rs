//! `l7d replay`: captures, as if they happened now.

mod args;
mod report;
mod serve;

use std::io::{self, BufWriter, IsTerminal};
use std::rc::Rc;
use std::sync::Arc;

use capture::{Merge, Reader};
use jiff::Timestamp as Now;
use parking_lot::Mutex;
use proto::flow::Flow;
use proto::observer::GetFlowsResponse;
use proto::observer::get_flows_response::ResponseTypes;

use super::failure::Failure;
use super::matcher::Matcher;
use super::observe::args::FlowsArgs;
use super::observe::input::Selection;
use super::observe::request;
use crate::cli::candidate::Names;
use crate::clock::Timestamp;
use crate::flow::FlowRing;
use crate::flow::view::NodeView;
use crate::identity::{self, Identities};
use crate::print::{MessageLines, Printer};
use crate::record::{Ledger, Record, Sink};
use crate::replay::{Captured, PolicyVerdicts, Replay, Settings};
use crate::session::{Recorder, Redaction};
pub use args::{Form, ReplayArgs};
use report::{End, Progress};
use serve::Address;

/// Runs the command.
pub fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let readers = args
        .files
        .iter()
        .map(|file| Reader::open(file))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::failed("cannot read the capture", error))?;
    let merge = Merge::new(readers);
    let names = Names::read(&args.endpoints, &args.policy)?;
    let address = args.serve.as_deref().map(Address::parse).transpose()?;
    let end = match (address, args.output.of_flows()) {
        (Some(address), _) => return served(args, Some(&address), &names, merge),
        (None, _) if args.ui.is_some() => return served(args, None, &names, merge),
        (None, None) => messages(names.identities, merge)?,
        (None, Some(output)) => flows(&args.as_observed(output), &names, merge)?,
    };
    conclude(args, &end)
}

/// Says what was read, and fails where something could not be.
fn conclude(args: &ReplayArgs, end: &End) -> Result<(), Failure> {
    if !args.quiet {
        end.tell()?;
    }
    if end.damage.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(
        "not everything could be read",
        end.damage.join("; "),
    ))
}

/// Replays packet by packet until there are no more, or, told after each, no more are wanted: `true`.
fn run_through(
    replay: &mut Replay,
    merge: &mut Merge,
    mut is_enough: impl FnMut() -> Result<bool, Failure>,
) -> Result<bool, Failure> {
    let mut progress = Progress::new();
    let mut is_full = false;
    while !is_full && merge.advance() {
        progress.show(merge)?;
        if let Some(packet) = merge.packet() {
            replay.handle_packet(&Captured {
                time: Timestamp(packet.time_ns),
                link_type: packet.link_type,
                data: packet.data,
            });
        }
        is_full = is_enough()?;
    }
    replay.finish();
    Ok(is_full)
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
    run_through(&mut replay, &mut merge, || Ok(false))?;
    lines.flush()?;
    let written = lines.written().into_iter();
    let shown = written.map(|(kind, count)| (kind.to_owned(), count));
    Ok(End::new(&replay, &merge, shown.collect()))
}

fn flows(args: &FlowsArgs, names: &Names, mut merge: Merge) -> Result<End, Failure> {
    let request = request::flows(args, Now::now())?;
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
    let is_full = run_through(&mut replay, &mut merge, || batch.drain(&mut show))?;
    if !is_full {
        batch.drain(&mut show)?;
    }
    selection.finish(&mut printer)?;
    printer.finish()?;
    let shown = vec![("flows".to_owned(), shown)];
    Ok(End::new(&replay, &merge, shown))
}

/// Hands out the flows of captures, one by one; what is damaged of them.
pub(in crate::cli) fn each_flow(
    names: &Names,
    mut merge: Merge,
    mut take: impl FnMut(Flow) -> Result<(), Failure>,
) -> Result<Vec<String>, Failure> {
    let batch = Arc::new(Batch::default());
    let mut replay = replay_into(Arc::clone(&batch) as Arc<dyn Sink>, names);
    let node = node();
    let mut hand_out = |record: &Record| take(node.flow(record)).map(|()| false);
    run_through(&mut replay, &mut merge, || batch.drain(&mut hand_out))?;
    batch.drain(&mut hand_out)?;
    Ok(merge.errors().iter().map(ToString::to_string).collect())
}

fn node() -> NodeView {
    NodeView {
        name: "replay".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..NodeView::default()
    }
}

/// A replay whose records go there, with the verdicts of the given policies.
fn replay_into(sink: Arc<dyn Sink>, names: &Names) -> Replay {
    let dns = identity::Names::new(crate::config::Dns::default());
    let mut recorder =
        Recorder::replaying(Arc::clone(&sink), redaction()).with_names(Arc::new(dns));
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
    address: Option<&Address>,
    names: &Names,
    mut merge: Merge,
) -> Result<(), Failure> {
    let ring = Arc::new(FlowRing::new(args.serve_flows, Arc::new(Ledger::default())));
    let sink: Arc<dyn Sink> = Arc::clone(&ring) as Arc<dyn Sink>;
    let mut replay = replay_into(sink, names);
    run_through(&mut replay, &mut merge, || Ok(false))?;
    let shown = vec![("flows".to_owned(), ring.end())];
    let result = conclude(args, &End::new(&replay, &merge, shown));
    super::block_on(serve::until_interrupted(args, address, ring, node()))?;
    result
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
