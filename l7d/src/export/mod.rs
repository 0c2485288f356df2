//! Flows that go somewhere on their own: lines of JSON in files and on standard output, and log records
//! and spans to collectors.
//!
//! An export is one more reader of the flow ring, with a thread of its own. Nothing that records flows
//! waits for it or knows of it: an export that is held up (a full disk, a collector that does not
//! answer) stands still at its place in the ring, and goes on there when it can. What was overwritten
//! meanwhile is lost, counted, and told in its own stream.
//!
//! | file | what |
//! |---|---|
//! | `board` | which exports there are and how they fare |
//! | `intake` | what an export takes from the ring |
//! | `lines` | flows as lines, `aggregate` several as one, `file` lines into files that are set aside |
//! | `otlp` | flows as log records and spans |

mod aggregate;
mod board;
mod file;
mod intake;
mod lines;
mod meter;
mod metrics;
mod otlp;
mod output;
mod stop;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use arc_swap::ArcSwap;
use parsers::template::Templates;

use crate::clock::Monotonic;
use crate::config::{self, ExportTarget, Signal};
use crate::flow::FlowRing;
use crate::flow::filter::Filters;
use crate::flow::view::{Mask, MaskError, NodeView};
use crate::server::Untold;

pub use board::{Board, Reading};
use intake::Intake;
use lines::{Form, Lines, Pending};
use meter::Meter;
use output::{Output, Stdout};
use stop::{Stop, Stopper, stop};

/// How long an export may take to deliver what it has when it is told to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// An export whose filters and fields have been read.
#[derive(Debug)]
pub struct Spec {
    settings: config::Export,
    filters: Filters,
    fields: Option<Mask>,
    grouping: Option<(Mask, Duration)>,
}

impl Spec {
    /// Prepares an export of what passes `filters`.
    ///
    /// # Errors
    /// Fields that flows do not have.
    pub fn new(settings: config::Export, filters: Filters) -> Result<Self, MaskError> {
        let lines = match &settings.target {
            ExportTarget::File(_, lines) | ExportTarget::Stdout(lines) => lines.clone(),
            ExportTarget::Otlp(_) => config::Lines::default(),
        };
        let grouping = match lines.aggregate {
            Some(aggregate) => Mask::new(&aggregate.fields)?.map(|mask| (mask, aggregate.interval)),
            None => None,
        };
        Ok(Self {
            fields: Mask::new(&lines.fields)?,
            grouping,
            settings,
            filters,
        })
    }
}

/// All exports of an agent.
pub struct Exports {
    ring: Arc<FlowRing>,
    node: Arc<NodeView>,
    templates: Arc<ArcSwap<Templates>>,
    board: Arc<Board>,
    running: Vec<Running>,
}

/// An export that was started. It may have come to its end meanwhile.
struct Running {
    settings: config::Export,
    stopper: Stopper,
    meter: Arc<Meter>,
    /// Disconnected when its thread has ended.
    ended: Receiver<()>,
}

impl Exports {
    /// None so far. Paths are told by `templates`.
    pub fn new(ring: Arc<FlowRing>, node: Arc<NodeView>, templates: Templates) -> Self {
        let board = Arc::new(Board::default());
        board.count_in(ring.ledger());
        Self {
            ring,
            node,
            templates: Arc::new(ArcSwap::from_pointee(templates)),
            board,
            running: Vec::new(),
        }
    }

    /// How they fare.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Tells paths by these templates from now on.
    pub fn tell_paths_by(&self, templates: Templates) {
        self.templates.store(Arc::new(templates));
    }

    /// Makes these the exports that run. One that has not changed goes on undisturbed; one that has goes
    /// on where its predecessor stopped; a new one begins with what comes now.
    pub fn apply(&mut self, specs: Vec<Spec>) {
        let settings: Vec<&config::Export> = specs.iter().map(|spec| &spec.settings).collect();
        let is_wanted = |running: &Running| settings.contains(&&running.settings);
        let (staying, mut leaving): (Vec<_>, Vec<_>) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(is_wanted);
        self.board.configure(&settings);
        for former in &leaving {
            if !settings
                .iter()
                .any(|spec| spec.name == former.settings.name)
            {
                self.board.remove(&former.settings.name);
            }
        }
        // One that has come to its end long ago has no place to go on from.
        leaving.retain(|former| !former.meter.has_ended());
        for former in &leaving {
            former.stopper.stop_at(self.ring.end());
        }
        self.running = staying;
        for spec in specs {
            if self
                .running
                .iter()
                .any(|running| running.settings == spec.settings)
            {
                continue;
            }
            let is_former = |former: &Running| is_successor(&spec.settings, &former.settings);
            let former = leaving
                .iter()
                .position(is_former)
                .map(|at| leaving.swap_remove(at));
            self.start(spec, former);
        }
    }

    fn start(&mut self, spec: Spec, former: Option<Running>) {
        let meter = Arc::new(Meter::default());
        let (stopper, stop) = stop();
        let (ending, ended) = sync_channel(0);
        self.board.add(&spec.settings, &meter);
        self.running.push(Running {
            settings: spec.settings.clone(),
            stopper,
            meter: Arc::clone(&meter),
            ended,
        });
        let runner = Runner {
            spec,
            ring: Arc::clone(&self.ring),
            node: Arc::clone(&self.node),
            templates: Arc::clone(&self.templates),
            meter: Arc::clone(&meter),
            // What comes while the thread starts is its own already.
            start: self.ring.end(),
            _ending: ending,
        };
        let thread = std::thread::Builder::new().name("l7d-export".to_owned());
        if let Err(error) = thread.spawn(move || runner.run(former, stop)) {
            meter.fail("", &error);
            meter.end();
        }
    }

    /// Stops all of them, and waits a moment for what they have to arrive.
    pub fn stop(&mut self) {
        let (end, begun) = (self.ring.end(), Monotonic::now());
        for running in &self.running {
            running.stopper.stop_at(end);
        }
        for running in self.running.drain(..) {
            let passed = Duration::from_nanos(Monotonic::now().nanos_since(begun));
            running.wait(DRAIN.saturating_sub(passed));
        }
    }
}

impl Running {
    /// Waits for its end: where it has read to.
    fn wait(&self, time: Duration) -> u64 {
        if self.ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
            let export = &self.settings.name;
            tracing::warn!(export, "it does not end, and is left alone");
        }
        self.meter.position()
    }
}

/// Whether an export goes on where another one stops: it is the same with other settings, or writes to
/// the same place.
fn is_successor(fresh: &config::Export, former: &config::Export) -> bool {
    let place = fresh.target.place();
    fresh.name == former.name || (place.is_some() && place == former.target.place())
}

/// What the thread of an export has.
struct Runner {
    spec: Spec,
    ring: Arc<FlowRing>,
    node: Arc<NodeView>,
    templates: Arc<ArcSwap<Templates>>,
    meter: Arc<Meter>,
    start: u64,
    /// Whoever waits for the end sees this go.
    _ending: SyncSender<()>,
}

impl Runner {
    fn run(self, former: Option<Running>, stop: Stop) {
        let (name, meter) = (self.spec.settings.name.clone(), Arc::clone(&self.meter));
        let start = former.map_or(self.start, |former| former.wait(DRAIN));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => {
                runtime.block_on(self.export(start, stop));
                // A resolver that does not answer must not hold anybody up.
                runtime.shutdown_background();
            }
            Err(error) => meter.fail(&name, &error),
        }
        meter.end();
    }

    async fn export(self, start: u64, stop: Stop) {
        let Self {
            spec,
            ring,
            node,
            templates,
            meter,
            start: _,
            _ending,
        } = self;
        let name = spec.settings.name;
        let untold = Untold::new(Some(ring.losses().follow()));
        let from = (start, spec.settings.end);
        let intake = Intake::new(ring, spec.filters, from, Arc::clone(&meter));
        let form = match (spec.grouping, spec.fields) {
            (Some((mask, interval)), _) => Form::Grouped(aggregate::Groups::new(mask, interval)),
            (None, Some(mask)) => Form::Masked(mask),
            (None, None) => Form::Whole,
        };
        let output: Box<dyn Output> = match spec.settings.target {
            ExportTarget::File(file, _) => Box::new(file::Rotating::new(file)),
            ExportTarget::Stdout(_) => Box::new(Stdout),
            ExportTarget::Otlp(settings) => {
                let collector = otlp::Collector {
                    name,
                    form: match settings.signal {
                        Signal::Logs => otlp::Form::Logs,
                        Signal::Spans => otlp::Form::Spans,
                    },
                    settings,
                    intake,
                    view: otlp::View { node, templates },
                    untold,
                    meter,
                };
                return collector.run(stop).await;
            }
        };
        let lines = Lines {
            name,
            intake,
            node,
            form,
            output,
            untold,
            meter,
            pending: Pending::default(),
        };
        lines.run(stop).await;
    }
}

#[cfg(test)]
mod tests;
