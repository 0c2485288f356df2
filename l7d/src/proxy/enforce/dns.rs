//! DNS over TCP (RFC 7766) on an enforced port: each query is judged before it goes on.
//!
//! ```text
//!   client ─▶ whole messages ─▶ judge ─▶ Cleared ─▶ server
//!                                 └─▶ refusals ─┐
//!   client ◀── one writer, whole messages ──────┴── server
//! ```
//!
//! Answers may come in any order (RFC 7766 §6.2.1.1), so a refusal needs no turn: it stands between
//! two messages of the server. While a client does not read its refusals, its queries wait too.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::pin;
use std::time::Duration;

use parsers::Direction as Way;
use parsers::dns::tcp::{self, Connection, Event, Step};
use parsers::dns::{Message, PairingLimits, Unanswered};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::policy::{Judge, Permit};
use crate::proxy::dns::{learn_from, refuse_query, wait_until_learnt};
use crate::proxy::forward::{self, Broken, Reach, Received, receive};
use crate::proxy::lane::{Lane, SavedLane};
use crate::proxy::network;
use crate::proxy::worker::Worker;
use crate::record::L4;
use crate::session::{Ends, Lookups, RequestVerdict, Waiting};

/// Queries of one connection without an answer.
const QUERIES: usize = 256;
/// Refusals that wait, in bytes: behind them no query is read.
const REFUSALS_BYTES: usize = 64 << 10;

/// One enforced connection that speaks DNS.
pub(in crate::proxy) struct DnsRelay<'w> {
    worker: &'w Worker,
    judge: Judge,
    ends: Ends,
    lookups: RefCell<Lookups<()>>,
    /// Refusals that wait for a place between two messages, each with its length.
    refusals: RefCell<Vec<u8>>,
    /// Told when there is a refusal.
    refused: Notify,
    /// Told when refusals have found their place, or will find none.
    spoken: Notify,
    /// The server has ended, and nobody writes to the client any more.
    is_silent: Cell<bool>,
}

/// Queries that may go on.
#[derive(Default)]
struct Cleared(Vec<u8>);

impl Cleared {
    /// There is no other way into it.
    fn extend(&mut self, _by: &Permit, query: &[u8]) {
        self.0.extend_from_slice(query);
    }
}

/// Bytes of one direction that came and are no whole message yet.
struct Stream {
    connection: Connection,
    way: Way,
    waiting: Vec<u8>,
    /// Whole messages that go on.
    out: Lane,
    /// When the present message must be complete.
    deadline: Option<Instant>,
}

impl Stream {
    fn new(way: Way) -> Self {
        Self {
            connection: Connection::new(Message::BYTES_MAX),
            way,
            waiting: Vec::new(),
            out: Lane::default(),
            deadline: None,
        }
    }

    /// Sends what goes on. May be dropped and called again.
    async fn flush(&mut self, to: &WriteHalf<'_>) -> Result<(), Broken> {
        let sent = self.out.send(to).await;
        sent.map_err(|error| Broken::Write(self.way, error))?;
        self.out = Lane::default();
        Ok(())
    }

    async fn end(&mut self, to: &mut WriteHalf<'_>) -> Result<(), Broken> {
        self.out.is_over = true;
        let ended = to.shutdown().await;
        ended.map_err(|error| Broken::Write(self.way, error))
    }

    /// Waits for bytes; false at the end.
    async fn fill(
        &mut self,
        from: &mut ReadHalf<'_>,
        pool: &forward::Pool,
    ) -> Result<bool, Broken> {
        let (received, buffer) = receive(from, pool, Reach::Whole)
            .await
            .map_err(|error| Broken::Read(self.way, error))?;
        let has_more = match received {
            Received::Bytes(count) => {
                let bytes = buffer.get(..count).unwrap_or_default();
                self.waiting.extend_from_slice(bytes);
                true
            }
            Received::End => false,
        };
        pool.give(buffer);
        Ok(has_more)
    }

    /// Shows every whole message with its length in front, and forgets it. An error of the parser is
    /// its rule.
    fn messages(&mut self, mut each: impl FnMut(&[u8], &Message<'_>)) -> Result<(), &'static str> {
        let mut rest = self.waiting.as_slice();
        let result = loop {
            match self.connection.step(self.way, rest) {
                Ok(Step::NeedMore) => break Ok(()),
                Ok(Step::Event { consumed, event }) => {
                    let (whole, after) = rest.split_at(consumed.min(rest.len()));
                    if let Event::Message(message) = event {
                        each(whole, &message);
                    }
                    rest = after;
                }
                Err(error) => break Err(error.rule),
            }
        };
        let consumed = self.waiting.len() - rest.len();
        if consumed > 0 {
            self.deadline = None;
        }
        self.waiting.drain(..consumed);
        if self.waiting.is_empty() {
            // An idle connection keeps nothing.
            self.waiting = Vec::new();
        }
        result
    }
}

/// Both directions. They stand outside of the future that relays, which may be dropped and made again.
pub(in crate::proxy) struct Streams {
    up: Stream,
    down: Stream,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            up: Stream::new(Way::ToServer),
            down: Stream::new(Way::ToClient),
        }
    }
}

/// A connection as it goes to another process.
#[derive(Serialize, Deserialize)]
pub(in crate::proxy) struct SavedDns {
    waiting: Vec<Unanswered<(), Waiting>>,
    refusals: Vec<u8>,
    up: SavedStream,
    down: SavedStream,
}

#[derive(Serialize, Deserialize)]
struct SavedStream {
    connection: Connection,
    waiting: Vec<u8>,
    out: SavedLane,
    /// What is left of the time for the present message.
    left: Option<Duration>,
}

impl Stream {
    fn save(mut self) -> io::Result<SavedStream> {
        Ok(SavedStream {
            connection: self.connection,
            waiting: self.waiting,
            out: self.out.save()?,
            left: self
                .deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now())),
        })
    }

    fn restore(saved: SavedStream, way: Way) -> Self {
        Self {
            connection: saved.connection,
            way,
            waiting: saved.waiting,
            out: Lane::restore(saved.out),
            deadline: saved.left.map(|left| Instant::now() + left),
        }
    }
}

impl<'w> DnsRelay<'w> {
    /// Takes everything out for another process.
    pub(in crate::proxy) fn save(self, streams: Streams) -> io::Result<SavedDns> {
        Ok(SavedDns {
            waiting: self.lookups.into_inner().save(),
            refusals: self.refusals.into_inner(),
            up: streams.up.save()?,
            down: streams.down.save()?,
        })
    }

    /// Goes on where another process stopped.
    pub(in crate::proxy) fn restore(self, saved: SavedDns) -> (Self, Streams) {
        self.lookups.borrow_mut().restore(saved.waiting);
        self.refusals.replace(saved.refusals);
        let streams = Streams {
            up: Stream::restore(saved.up, Way::ToServer),
            down: Stream::restore(saved.down, Way::ToClient),
        };
        (self, streams)
    }

    pub(in crate::proxy) fn new(worker: &'w Worker, judge: Judge, ends: Ends) -> Self {
        let limits = PairingLimits {
            queries: QUERIES,
            ..PairingLimits::default()
        };
        Self {
            worker,
            judge,
            ends,
            lookups: RefCell::new(Lookups::new(limits, L4::Tcp { flags: 0 })),
            refusals: RefCell::default(),
            refused: Notify::new(),
            spoken: Notify::new(),
            is_silent: Cell::new(false),
        }
    }

    /// Relays both directions until both have ended. `None` if the connection is to go on in another
    /// process.
    pub(in crate::proxy) async fn run(
        &self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        streams: &mut Streams,
    ) -> Option<()> {
        let end = {
            let Streams { up, down } = streams;
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let up = pin!(self.pass_queries(from_client, to_server, up));
            let down = pin!(self.pass_answers(from_server, to_client, down));
            tokio::select! {
                biased;
                end = forward::join(up, down) => end,
                () = self.worker.told_to_leave() => return None,
            }
        };
        let mut seen = network::ask(client, server);
        if let Err(broken) = end {
            tracing::debug!(%broken, "a connection was cut");
            if let Some(event) = network::cut(&broken) {
                seen.note(event);
            }
            forward::reset(client);
            forward::reset(server);
        }
        let mut lookups = self.lookups.borrow_mut();
        lookups.end(&self.worker.recorder, seen);
        Some(())
    }

    async fn pass_queries(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        stream: &mut Stream,
    ) -> Result<(), Broken> {
        while !stream.out.is_over {
            stream.flush(&to).await?;
            while self.refusals.borrow().len() >= REFUSALS_BYTES {
                self.spoken.notified().await;
            }
            // A client that begins a message has to end it.
            let timeout = self.worker.settings.head_timeout;
            let patience = if stream.waiting.is_empty() {
                stream.deadline = None;
                Duration::MAX
            } else {
                stream
                    .deadline
                    .get_or_insert_with(|| Instant::now() + timeout)
                    .saturating_duration_since(Instant::now())
            };
            let filled = stream.fill(&mut from, &self.worker.pool);
            let has_more = match tokio::time::timeout(patience, filled).await {
                Ok(filled) => filled?,
                Err(_elapsed) => {
                    self.tell_unfit("a query took too long");
                    return Err(Broken::Unjudged);
                }
            };
            let mut cleared = Cleared::default();
            let read =
                stream.messages(|bytes, query| self.handle_query(bytes, query, &mut cleared));
            stream.out.push(cleared.0);
            stream.flush(&to).await?;
            if let Err(rule) = read {
                self.tell_unfit(rule);
                return Err(Broken::Unjudged);
            }
            if !has_more {
                stream.end(&mut to).await?;
            }
            // There are thousands of queries in a buffer: others are waiting. Not before what came of them
            // is said: whoever takes over from here does not hear it again.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn handle_query(&self, bytes: &[u8], query: &Message<'_>, cleared: &mut Cleared) {
        let verdict = match self.judge.judge_query(query) {
            Ok(permit) => {
                cleared.extend(&permit, bytes);
                RequestVerdict::from(&permit)
            }
            Err(denial) => {
                self.refuse(query);
                denial.into()
            }
        };
        let mut lookups = self.lookups.borrow_mut();
        lookups.ask(&self.worker.recorder, (), &self.ends, query, &verdict);
    }

    fn refuse(&self, query: &Message<'_>) {
        if self.is_silent.get() {
            return;
        }
        let answer = refuse_query(self.worker, query.bytes());
        let framed = answer.and_then(|answer| Some((tcp::prefix(&answer)?, answer)));
        if let Some((prefix, answer)) = framed {
            let mut refusals = self.refusals.borrow_mut();
            refusals.extend_from_slice(&prefix);
            refusals.extend_from_slice(&answer);
            self.refused.notify_one();
        }
    }

    fn tell_unfit(&self, detail: &str) {
        let verdict = self.judge.unfit(detail.to_owned()).into();
        let lookups = self.lookups.borrow();
        lookups.tell_garbage(&self.worker.recorder, &self.ends, &verdict);
    }

    async fn pass_answers(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        stream: &mut Stream,
    ) -> Result<(), Broken> {
        while !stream.out.is_over {
            stream.out.push(self.refusals.take());
            self.spoken.notify_one();
            stream.flush(&to).await?;
            let filled = tokio::select! {
                filled = stream.fill(&mut from, &self.worker.pool) => Some(filled?),
                () = self.refused.notified() => None,
            };
            let Some(has_more) = filled else { continue };
            let mut whole = Vec::new();
            let mut pending = Vec::new();
            let read = stream.messages(|bytes, answer| {
                whole.extend_from_slice(bytes);
                pending.extend(self.handle_answer(answer));
            });
            stream.out.push(whole);
            for learning in pending {
                wait_until_learnt(learning).await;
            }
            stream.flush(&to).await?;
            if let Err(rule) = read {
                tracing::debug!(rule, "what a server of DNS sends cannot be read");
                return Err(Broken::Unjudged);
            }
            if !has_more {
                stream.end(&mut to).await?;
            }
        }
        self.is_silent.set(true);
        self.refusals.take();
        self.spoken.notify_one();
        Ok(())
    }

    fn handle_answer(&self, message: &Message<'_>) -> Option<tokio::sync::oneshot::Receiver<()>> {
        let recorder = &self.worker.recorder;
        let mut lookups = self.lookups.borrow_mut();
        let answered = lookups.answer(recorder, (), message);
        let learning = answered
            .as_ref()
            .and_then(|answered| learn_from(&*self.worker.directory, answered, message));
        lookups.tell_answer(recorder, &self.ends, message, answered);
        learning
    }
}
