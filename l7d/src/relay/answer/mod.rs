//! The answer to `GetFlows`: what all agents answer, in the order of time.
//!
//! Everything of an answer happens in one task, that of the client's connection. A client that does not
//! read holds up the agents' streams to it by their windows, and nothing else.

mod asking;

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered, Stream};
use futures_util::{FutureExt as _, StreamExt as _};
use prost::bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tonic::Status;

use super::gauges::Counters;
use super::merge::{Merge, Moment, Pace, Settings, Tally};
use super::pool::Nodes;
use super::telling::Telling;
use crate::clock::{Monotonic, Timestamp};

pub(super) use asking::Wanted;
use asking::{End, Happened, NodeStream};

/// Items that are taken out of the merge at a time.
const BATCH: usize = 1024;
/// So much of what has happened is looked at before something goes out.
const LOOKS: usize = 256;
/// Where an answer is to end and agents are silent for so long, it ends without them.
const HANG: Duration = Duration::from_secs(5);
/// An agent that has broken off is asked again after this time, and one that has refused after this.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AFTER_REFUSAL: Duration = Duration::from_secs(10);
/// What an item costs beside its bytes.
const ITEM_BYTES: usize = 128;

/// The state of an answer.
pub(super) struct Answer {
    wanted: Wanted,
    nodes: watch::Receiver<Arc<Nodes>>,
    settings: Settings,
    merge: Merge<Bytes>,
    /// What is awaited of agents.
    work: FuturesUnordered<Pin<Box<dyn Future<Output = Happened> + Send>>>,
    /// Streams that are not read on until there is room.
    parked: Vec<NodeStream>,
    asked: BTreeMap<String, Asked>,
    telling: Telling,
    out: VecDeque<Bytes>,
    has_begun: bool,
    has_ended: bool,
    counters: Arc<Counters>,
    /// What the counters have of the merge.
    counted: Tally,
    _place: OwnedSemaphorePermit,
}

/// What is known of an agent that was asked.
struct Asked {
    /// By which connection.
    connection: u64,
    state: AskedState,
    /// Time of its last flow.
    last: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AskedState {
    /// It answers, or will.
    Open,
    /// It has broken off, and is asked again when it is there again.
    Broken,
    /// It has said all that it will.
    Over,
}

impl Answer {
    pub(super) fn new(
        wanted: Wanted,
        nodes: watch::Receiver<Arc<Nodes>>,
        settings: Settings,
        telling: Telling,
        (counters, place): (Arc<Counters>, OwnedSemaphorePermit),
    ) -> Self {
        let settings = Settings {
            pace: wanted.pace(),
            ..settings
        };
        Self {
            wanted,
            nodes,
            settings,
            merge: Merge::new(settings),
            work: FuturesUnordered::new(),
            parked: Vec::new(),
            asked: BTreeMap::new(),
            telling,
            out: VecDeque::new(),
            has_begun: false,
            has_ended: false,
            counters,
            counted: Tally::default(),
            _place: place,
        }
    }

    /// As a stream of messages.
    pub(super) fn stream(self) -> impl Stream<Item = Result<Bytes, Status>> + Send {
        stream::unfold(Box::new(self), |mut answer| async move {
            let message = answer.next().await?;
            Some((Ok(message), answer))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        if !self.has_begun {
            self.begin().await;
        }
        loop {
            if let Some(message) = self.out.pop_front() {
                return Some(message);
            }
            self.look();
            self.release();
            if !self.out.is_empty() {
                continue;
            }
            if self.is_over() {
                self.has_ended = true;
                self.out.extend(self.telling.errors());
                return self.out.pop_front();
            }
            self.wait().await;
        }
    }

    /// Asks all agents, as soon as it is known which are there.
    async fn begin(&mut self) {
        self.has_begun = true;
        let mut watched = self.nodes.clone();
        let settled = watched.wait_for(|nodes| nodes.is_settled());
        // What is known then is what there is.
        let settled = tokio::time::timeout(self.settings.patience, settled).await;
        drop(settled);
        let mut nodes = Arc::clone(&self.nodes.borrow_and_update());
        if !self.wanted.is_following() {
            // Who is not there yet comes too late.
            Arc::make_mut(&mut nodes).give_up_connecting();
        }
        self.follow_nodes(&nodes);
    }

    /// Tells the client what it does not know of nodes, and asks those that are there.
    fn follow_nodes(&mut self, nodes: &Nodes) {
        self.out.extend(self.telling.nodes(nodes));
        self.asked.retain(|name, asked| {
            asked.state == AskedState::Open || nodes.nodes.contains_key(name)
        });
        for (name, connection) in nodes.ready() {
            let former = self.asked.get(name);
            let is_to_ask = former.is_none_or(|asked| {
                asked.state == AskedState::Broken && asked.connection != connection.number()
            });
            if is_to_ask {
                self.ask(name.clone(), connection.clone());
            }
        }
    }

    /// Looks at what has happened already.
    fn look(&mut self) {
        for _ in 0..LOOKS {
            match self.work.next().now_or_never() {
                Some(Some(happened)) => self.handle(happened),
                Some(None) | None => return,
            }
        }
    }

    /// Takes out what may go out, and reads on where there is room now.
    fn release(&mut self) {
        let now = Moment::now();
        while self.out.len() < BATCH
            && let Some(item) = self.merge.poll_item(now)
        {
            self.out.push_back(item);
        }
        let tally = self.merge.tally();
        self.counters.add(tally.since(self.counted));
        self.counted = tally;
        let merge = &self.merge;
        let wanted = self.parked.extract_if(.., |stream| merge.wants(stream.id));
        for stream in wanted {
            self.work.push(Box::pin(stream.read()));
        }
    }

    /// Waits until something happens.
    async fn wait(&mut self) {
        let now = Monotonic::now();
        let timer = self.merge.deadline();
        let pause = timer.map(|timer| Duration::from_nanos(timer.nanos_since(now)));
        let due = self.telling.due();
        let is_following = self.wanted.is_following();
        let at = due.unwrap_or_else(tokio::time::Instant::now);
        tokio::select! {
            Some(happened) = self.work.next() => self.handle(happened),
            changed = self.nodes.changed(), if is_following => match changed {
                Ok(()) => {
                    let nodes = Arc::clone(&self.nodes.borrow_and_update());
                    self.follow_nodes(&nodes);
                }
                // The relay stops.
                Err(_gone) => self.has_ended = true,
            },
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            () = tokio::time::sleep_until(at), if due.is_some() => {
                self.out.extend(self.telling.errors());
            }
            () = tokio::time::sleep(HANG), if !is_following => self.give_up(),
        }
    }

    fn handle(&mut self, happened: Happened) {
        match happened {
            Happened::Opened(stream) => self.work.push(Box::pin(stream.read())),
            Happened::Refused { node, id, status } => self.note_end(&node, id, End::Failed(status)),
            Happened::Read { stream, items, end } => {
                self.note_items(&stream, items);
                match end {
                    Some(end) => self.note_end(&stream.node, stream.id, end),
                    None if self.merge.wants(stream.id) => self.work.push(Box::pin(stream.read())),
                    None => self.parked.push(stream),
                }
            }
            Happened::TimeToAsk(name) => {
                let nodes = Arc::clone(&self.nodes.borrow());
                let connection = nodes.ready().find(|(node, _)| **node == name);
                let is_broken = |asked: &Asked| asked.state == AskedState::Broken;
                if let Some((_, connection)) = connection
                    && self.asked.get(&name).is_some_and(is_broken)
                {
                    self.ask(name, connection.clone());
                }
            }
        }
    }

    fn note_items(&mut self, stream: &NodeStream, items: Vec<(Option<Timestamp>, Bytes)>) {
        let now = Moment::now();
        let mut asked = self.asked.get_mut(&stream.node);
        for (time, item) in items {
            // A field mask may leave the time out.
            let time = time.unwrap_or(now.wall);
            if let Some(asked) = &mut asked {
                asked.last = Some(time);
            }
            let bytes = item.len() + ITEM_BYTES;
            self.merge.handle_item(stream.id, time, bytes, item, now);
        }
    }

    fn is_over(&self) -> bool {
        if self.has_ended {
            return true;
        }
        let is_open = |asked: &Asked| asked.state != AskedState::Over;
        let may_end = match self.settings.pace {
            Pace::Finite => true,
            Pace::Live { .. } => {
                self.wanted.has_until()
                    && !self.asked.is_empty()
                    && !self.asked.values().any(is_open)
            }
        };
        may_end && self.work.is_empty() && self.parked.is_empty() && self.merge.is_over()
    }

    /// Ends without those who have not answered.
    fn give_up(&mut self) {
        let open = self
            .asked
            .iter()
            .filter(|(_, asked)| asked.state == AskedState::Open);
        for (node, _) in open {
            self.telling
                .error(node, &format!("no answer for {} s", HANG.as_secs()));
        }
        self.has_ended = true;
    }
}
