//! An export as lines of JSON: Hubble's `ExportEvent`, one in a line.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use proto::flow::Flow;
use proto::observer::GetFlowsResponse;
use proto::observer::get_flows_response::ResponseTypes;

use super::aggregate::Groups;
use super::intake::{Intake, Taken};
use super::meter::Meter;
use super::output::{Output, OutputError};
use super::stop::Stop;
use crate::clock::Timestamp;
use crate::flow::view::{Mask, NodeView, timestamp};
use crate::print::json;
use crate::record::Record;
use crate::server::Untold;

/// So many bytes are written at once.
const CHUNK_BYTES: usize = 64 << 10;
/// When flows come again, so long is waited for more of them.
const GATHER: Duration = Duration::from_millis(5);
/// What could not be written is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// What a line tells of a flow.
pub(super) enum Form {
    /// Everything.
    Whole,
    /// Some fields.
    Masked(Mask),
    /// How many there were that are equal in some fields.
    Grouped(Groups),
}

/// An export that writes lines.
pub(super) struct Lines {
    pub(super) name: String,
    pub(super) intake: Intake,
    pub(super) node: Arc<NodeView>,
    pub(super) form: Form,
    pub(super) output: Box<dyn Output>,
    pub(super) untold: Untold,
    pub(super) meter: Arc<Meter>,
    pub(super) pending: Pending,
}

/// Lines that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    /// Of each line its bytes, and how many flows it stands for.
    lines: VecDeque<(usize, u64)>,
}

/// What reading has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// There is more.
    More,
    /// Nothing is there at this moment.
    Idle,
    /// Nothing will come any more.
    End,
}

impl Lines {
    /// Runs until it is told to stop, or has nothing more to do.
    pub(super) async fn run(mut self, mut stop: Stop) {
        loop {
            let read = self.fill(&stop);
            let is_last = read == Read::End;
            if is_last {
                self.tell_groups();
                while self.tell_loss() {}
            }
            match self.flush() {
                Ok(()) if is_last => break,
                Ok(()) if read == Read::Idle => self.wait(&mut stop).await,
                Ok(()) => {}
                Err(OutputError::Later(why)) => {
                    self.meter.fail(&self.name, &why);
                    if !stop.rest(RETRY).await {
                        break;
                    }
                }
                Err(OutputError::Never(why)) => {
                    self.meter.fail(&self.name, &why);
                    break;
                }
            }
        }
        let gathered = self.groups().map(Groups::take);
        let gathered: u64 = gathered.into_iter().flatten().map(|(_, count)| count).sum();
        self.meter.lose(self.pending.flows() + gathered);
    }

    fn groups(&mut self) -> Option<&mut Groups> {
        match &mut self.form {
            Form::Grouped(groups) => Some(groups),
            Form::Whole | Form::Masked(_) => None,
        }
    }

    /// Makes lines of what has come.
    fn fill(&mut self, stop: &Stop) -> Read {
        while self.pending.bytes.len() < CHUNK_BYTES {
            if stop.is_at(self.intake.position()) {
                return Read::End;
            }
            match self.intake.next() {
                Taken::Record(record) => self.add(&record),
                Taken::Lost(count) => self.untold.note_overtaken(count),
                Taken::Pause => {}
                Taken::Nothing => {
                    self.tell_what_is_due();
                    return Read::Idle;
                }
                Taken::End => return Read::End,
            }
        }
        self.tell_what_is_due();
        Read::More
    }

    fn tell_what_is_due(&mut self) {
        // Where nothing can be written, nothing more is kept.
        if self.pending.bytes.len() >= CHUNK_BYTES {
            return;
        }
        if self.untold.due().is_some_and(|due| due.is_zero()) {
            self.tell_loss();
        }
        let due = self.groups().and_then(|groups| groups.due());
        if due.is_some_and(|due| due.is_zero()) {
            self.tell_groups();
        }
    }

    fn add(&mut self, record: &Record) {
        let flow = match &mut self.form {
            Form::Grouped(groups) => {
                groups.add(&self.node, record);
                return;
            }
            Form::Whole => self.node.flow(record),
            Form::Masked(mask) => masked(mask, &self.node.flow(record)),
        };
        let event = self.event(record.time, ResponseTypes::Flow(flow));
        self.push(&event, 1);
    }

    fn tell_groups(&mut self) {
        let groups: Vec<(Flow, u64)> = match self.groups() {
            Some(groups) => groups.take().collect(),
            None => return,
        };
        for (flow, count) in groups {
            let event = GetFlowsResponse {
                time: flow.time,
                node_name: self.node.name.clone(),
                response_types: Some(ResponseTypes::Flow(flow)),
            };
            self.push(&event, count);
        }
    }

    /// Writes the next loss that was not told; false where there is none.
    fn tell_loss(&mut self) -> bool {
        let Some(loss) = self.untold.tell() else {
            return false;
        };
        let event = self.event(Timestamp::now(), ResponseTypes::LostEvents(loss));
        self.push(&event, 0);
        true
    }

    fn event(&self, time: Timestamp, what: ResponseTypes) -> GetFlowsResponse {
        GetFlowsResponse {
            response_types: Some(what),
            node_name: self.node.name.clone(),
            time: Some(timestamp(time)),
        }
    }

    fn push(&mut self, event: &GetFlowsResponse, flows: u64) {
        if let Err(error) = self.pending.push(event, flows) {
            tracing::error!(export = self.name, %error, "a flow has no JSON form");
            self.meter.lose(flows);
        }
    }

    /// Writes what is there.
    fn flush(&mut self) -> Result<(), OutputError> {
        if self.pending.bytes.is_empty() {
            return Ok(());
        }
        let (bytes, result) = self.output.write(&self.pending.bytes);
        let flows = self.pending.take(bytes);
        self.meter.deliver(flows, bytes);
        if result.is_ok() {
            self.meter.recover(&self.name);
        }
        result
    }

    /// Waits for flows, for the time of something that is due, or to be told to stop.
    async fn wait(&mut self, stop: &mut Stop) {
        let now = Timestamp::now();
        let tick = self.output.tick(now);
        let tick = tick.map(|due| Duration::from_nanos(due.0.saturating_sub(now.0)));
        let groups = self.groups().and_then(|groups| groups.due());
        let due = [tick, groups, self.untold.due()]
            .into_iter()
            .flatten()
            .min();
        let is_news = tokio::select! {
            () = self.intake.ring.wait_for(self.intake.position()) => true,
            () = self.untold.changed() => false,
            () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => false,
            () = stop.told() => false,
        };
        if is_news {
            stop.rest(GATHER).await;
        } else {
            self.untold.look();
        }
    }
}

fn masked(mask: &Mask, flow: &Flow) -> Flow {
    let mut bytes = Vec::new();
    mask.copy(&flow.encode_to_vec(), &mut bytes);
    // The bytes are pieces of what was encoded here.
    Flow::decode(bytes.as_slice()).unwrap_or_default()
}

impl Pending {
    fn push(&mut self, event: &GetFlowsResponse, flows: u64) -> std::io::Result<()> {
        let start = self.bytes.len();
        let written = json::response(&mut self.bytes, event);
        if written.is_err() {
            self.bytes.truncate(start);
            return written;
        }
        self.lines.push_back((self.bytes.len() - start, flows));
        Ok(())
    }

    /// Takes lines of so many bytes off the front: how many flows these were.
    fn take(&mut self, bytes: usize) -> u64 {
        self.bytes.drain(..bytes.min(self.bytes.len()));
        let (mut left, mut taken) = (bytes, 0);
        while let Some((length, flows)) = self.lines.front().copied() {
            if length > left {
                break;
            }
            left -= length;
            taken += flows;
            self.lines.pop_front();
        }
        // A pipe may have taken a part of a line: the flow is delivered with its last byte.
        if let Some((length, _)) = self.lines.front_mut() {
            *length -= left;
        }
        taken
    }

    /// How many flows its lines stand for.
    fn flows(&self) -> u64 {
        self.lines.iter().map(|(_, flows)| flows).sum()
    }
}

#[cfg(test)]
mod tests;
