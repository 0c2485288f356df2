//! An export to a collector: OTLP over gRPC.
//!
//! Several requests are under way at once. While as many are, nothing more is taken from the ring: a
//! collector that is slow, or gone, holds up this export alone, and what it does not take in time is
//! overwritten there. A request that the collector cannot take now is sent again until it can.

mod attributes;
mod batch;
mod client;
mod logs;
mod spans;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parsers::template::Templates;

use super::DRAIN;
use super::intake::{Intake, Taken};
use super::meter::Meter;
use super::stop::Stop;
use crate::clock::{Monotonic, Timestamp};
use crate::config::Otlp;
use crate::flow::view::NodeView;
use crate::server::Untold;

use batch::Batch;
use client::{Answer, Client};

/// Requests under way at once.
const REQUESTS_MAX: usize = 4;
/// A request is sent when it has so many flows or bytes: what collectors take is bounded by 4 MiB.
const BATCH_FLOWS: u64 = 1024;
const BATCH_BYTES: usize = 2 << 20;
/// Or when its first flow has waited so long.
const DELAY: Duration = Duration::from_millis(200);
/// Certificates that cannot be read are looked at again after this.
const RETRY: Duration = Duration::from_secs(10);

/// What a flow becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Logs,
    Spans,
}

/// What records are seen by.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) node: Arc<NodeView>,
    /// Of paths: what metrics and policies know them by.
    pub(super) templates: Arc<ArcSwap<Templates>>,
}

/// An export to a collector.
pub(super) struct Collector {
    pub(super) name: String,
    pub(super) settings: Otlp,
    pub(super) form: Form,
    pub(super) intake: Intake,
    pub(super) view: View,
    pub(super) untold: Untold,
    pub(super) meter: Arc<Meter>,
}

/// What is made and was not sent.
#[derive(Default)]
struct Open {
    batch: Batch,
    began: Option<Monotonic>,
}

impl Open {
    fn is_full(&self) -> bool {
        self.batch.flows >= BATCH_FLOWS || self.batch.len() >= BATCH_BYTES
    }

    /// In how long it is to be sent; `None` where there is nothing.
    fn due(&self) -> Option<Duration> {
        let passed = Monotonic::now().nanos_since(self.began?);
        Some(DELAY.saturating_sub(Duration::from_nanos(passed)))
    }
}

impl Collector {
    /// Runs until it is told to stop, or has nothing more to do.
    pub(super) async fn run(mut self, mut stop: Stop) {
        let Some(client) = self.client(&mut stop).await else {
            return;
        };
        let mut under_way = FuturesUnordered::new();
        let mut waiting = 0;
        let mut open = Open::default();
        let mut has_ended = false;
        let mut deadline = None;
        loop {
            let has_room = under_way.len() < REQUESTS_MAX;
            let is_idle = has_room && !has_ended && self.fill(&mut open, &stop, &mut has_ended);
            let is_due = has_ended || open.due().is_some_and(|due| due.is_zero());
            if has_room && !open.batch.is_empty() && (open.is_full() || is_due) {
                let Open { batch, .. } = std::mem::take(&mut open);
                waiting += batch.flows;
                under_way.push(self.send(&client, &batch));
                continue;
            }
            if has_ended && under_way.is_empty() {
                break;
            }
            if stop.is_told() {
                deadline.get_or_insert_with(|| tokio::time::Instant::now() + DRAIN / 2);
            }
            let lost = (self.form == Form::Logs).then(|| self.untold.due());
            let due = [open.due(), lost.flatten()].into_iter().flatten().min();
            let end = deadline.unwrap_or_else(tokio::time::Instant::now);
            tokio::select! {
                Some((flows, sent, answer)) = under_way.next(), if !under_way.is_empty() => {
                    waiting -= flows;
                    self.settle(flows, sent, &answer);
                }
                () = self.intake.ring.wait_for(self.intake.position()), if is_idle => {
                    stop.rest(Duration::from_millis(5)).await;
                }
                () = self.untold.changed() => self.untold.look(),
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() && has_room => {}
                () = stop.told(), if deadline.is_none() => {}
                () = tokio::time::sleep_until(end), if deadline.is_some() => break,
            }
        }
        self.meter.lose(waiting + open.batch.flows);
    }

    /// The client; tried again where it cannot be made, until it can or there is no need any more.
    async fn client(&self, stop: &mut Stop) -> Option<Client> {
        loop {
            match Client::new(&self.settings) {
                Ok(client) => return Some(client),
                Err(error) => self.meter.fail(&self.name, &error),
            }
            if !stop.rest(RETRY).await {
                return None;
            }
        }
    }

    /// Takes what has come: whether there is nothing more at this moment.
    fn fill(&mut self, open: &mut Open, stop: &Stop, has_ended: &mut bool) -> bool {
        let now = Timestamp::now();
        while !open.is_full() {
            if stop.is_at(self.intake.position()) {
                *has_ended = true;
                break;
            }
            match self.intake.next() {
                Taken::Record(record) => match self.form {
                    Form::Logs => logs::add(&mut open.batch, &record, &self.view, now),
                    Form::Spans => {
                        if !spans::add(&mut open.batch, &record, &self.view) {
                            self.meter.filter(1);
                        }
                    }
                },
                Taken::Lost(count) => self.untold.note_overtaken(count),
                Taken::Pause => {}
                Taken::Nothing => {
                    self.tell_losses(open, false);
                    self.begin(open);
                    return true;
                }
                Taken::End => {
                    *has_ended = true;
                    break;
                }
            }
            self.begin(open);
        }
        self.tell_losses(open, *has_ended);
        false
    }

    #[expect(clippy::unused_self, reason = "reads like the steps around it")]
    fn begin(&self, open: &mut Open) {
        if !open.batch.is_empty() {
            open.began.get_or_insert_with(Monotonic::now);
        }
    }

    /// Tells what was lost: what is due, and at the end everything.
    fn tell_losses(&mut self, open: &mut Open, has_ended: bool) {
        if self.form != Form::Logs {
            return;
        }
        let is_due = |due: Duration| due.is_zero() || has_ended;
        while self.untold.due().is_some_and(is_due)
            && let Some(loss) = self.untold.tell()
        {
            let source = loss.source().as_str_name();
            logs::add_loss(&mut open.batch, loss.num_events_lost, source, &self.view);
        }
    }

    /// Sends a batch: how many flows it has, how many bytes it is, and what became of it.
    fn send(
        &self,
        client: &Client,
        batch: &Batch,
    ) -> impl Future<Output = (u64, usize, Answer)> + use<> {
        let request = Arc::new(batch.request(&self.view.node.version));
        let (meter, name) = (Arc::clone(&self.meter), self.name.clone());
        let (client, flows, bytes) = (client.clone(), batch.flows, request.len());
        async move {
            let trouble = |why: &str| meter.fail(&name, &why);
            (flows, bytes, client.send(request, trouble).await)
        }
    }

    fn settle(&self, flows: u64, bytes: usize, answer: &Answer) {
        match answer {
            Answer::Taken { rejected, message } => {
                let rejected = flows.min(*rejected);
                self.meter.deliver(flows - rejected, bytes);
                self.meter.lose(rejected);
                if rejected == 0 {
                    self.meter.recover(&self.name);
                } else {
                    self.meter.fail(&self.name, message);
                }
            }
            Answer::Refused(why) => {
                self.meter.lose(flows);
                self.meter.fail(&self.name, why);
            }
        }
    }
}

#[cfg(test)]
mod tests;
