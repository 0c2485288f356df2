//! DNS over TCP (RFC 7766) on an enforced port: each query is judged before it goes on.
//!
//! ```text
//!   client ─▶ whole messages ─▶ judge ─▶ Cleared ─▶ server
//!                                 └─▶ refusals ─┐
//!   client ◀── one writer, whole messages ──────┴── server
//! ```
//!
//! Answers may come in any order (RFC 7766 §6.2.1.1), so a refusal needs no turn: it stands between
//! two messages of the server.

use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;

use parsers::Direction as Way;
use parsers::dns::tcp::{self, Connection, Event, Step};
use parsers::dns::{Message, PairingLimits};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;

use crate::policy::{Judge, Permit};
use crate::proxy::dns::{learn_from, refuse_query, wait_until_learnt};
use crate::proxy::forward::{self, Broken, Received, receive, send};
use crate::proxy::network;
use crate::proxy::worker::Worker;
use crate::record::L4;
use crate::session::{Ends, Lookups, RequestVerdict};

/// Queries of one connection without an answer.
const QUERIES: usize = 256;

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
}

impl Stream {
    fn new(way: Way) -> Self {
        Self {
            connection: Connection::new(Message::BYTES_MAX),
            way,
            waiting: Vec::new(),
        }
    }

    /// Waits for bytes; false at the end.
    async fn fill(
        &mut self,
        from: &mut ReadHalf<'_>,
        pool: &forward::Pool,
    ) -> Result<bool, Broken> {
        let (received, buffer) = receive(from, || pool.take(), pool)
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
        self.waiting.drain(..consumed);
        if self.waiting.is_empty() {
            // An idle connection keeps nothing.
            self.waiting = Vec::new();
        }
        result
    }
}

impl<'w> DnsRelay<'w> {
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
        }
    }

    /// Relays both directions until both have ended.
    pub(in crate::proxy) async fn run(&self, client: &mut TcpStream, server: &mut TcpStream) {
        let end = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let up = self.pass_queries(from_client, to_server);
            let down = self.pass_answers(from_server, to_client);
            forward::join(pin!(up), pin!(down)).await
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
    }

    async fn pass_queries(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
    ) -> Result<(), Broken> {
        let mut stream = Stream::new(Way::ToServer);
        loop {
            // A client that begins a message has to end it.
            let patience = if stream.waiting.is_empty() {
                Duration::MAX
            } else {
                self.worker.settings.head_timeout
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
            send(&to, &cleared.0)
                .await
                .map_err(|error| Broken::Write(Way::ToServer, error))?;
            if let Err(rule) = read {
                self.tell_unfit(rule);
                return Err(Broken::Unjudged);
            }
            if !has_more {
                let ended = to.shutdown().await;
                return ended.map_err(|error| Broken::Write(Way::ToServer, error));
            }
        }
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
    ) -> Result<(), Broken> {
        let mut stream = Stream::new(Way::ToClient);
        let written = |error| Broken::Write(Way::ToClient, error);
        loop {
            let filled = tokio::select! {
                filled = stream.fill(&mut from, &self.worker.pool) => Some(filled?),
                () = self.refused.notified() => None,
            };
            let refusals = self.refusals.take();
            send(&to, &refusals).await.map_err(written)?;
            let Some(has_more) = filled else { continue };
            let mut whole = Vec::new();
            let mut pending = Vec::new();
            let read = stream.messages(|bytes, answer| {
                whole.extend_from_slice(bytes);
                pending.extend(self.handle_answer(answer));
            });
            for learning in pending {
                wait_until_learnt(learning).await;
            }
            send(&to, &whole).await.map_err(written)?;
            if let Err(rule) = read {
                tracing::debug!(rule, "what a server of DNS sends cannot be read");
                return Err(Broken::Unjudged);
            }
            if !has_more {
                return to.shutdown().await.map_err(written);
            }
        }
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
