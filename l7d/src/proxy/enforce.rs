//! The relay that judges each request before its bytes go on.
//!
//! The client's bytes wait until the end of a head. A head that could be read in two ways is
//! refused with the name of the rule it breaks; one that is well formed is judged by the policy of
//! that moment. Only a [`Permit`] moves bytes on: [`Cleared`] takes one for every range.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::pin::pin;

use parsers::Direction as Way;
use parsers::http1::{BodyKind, Connection, Event, RequestHead, Step};
use parsers::{Error as ParseError, Fault};
use policy_l7::Headers;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Worker;
use super::forward::{self, Broken, Received, receive, send};
use super::refuse::Refusal;
use super::splice::WORTHWHILE_BYTES;
use crate::policy::{Denial, Judge, Permit, Request};
use crate::record::{Outcome, Verdict, no_policies};
use crate::session::Session;

/// One enforced connection.
pub(super) struct Relay<'w> {
    worker: &'w Worker,
    judge: Judge,
    session: RefCell<Session>,
    /// Told when a response was seen: who waits for earlier answers looks again.
    answered: Notify,
    /// The server has no more: no answer comes any longer.
    has_server_ended: Cell<bool>,
}

/// The client's bytes that have come and not gone on.
struct Inbox {
    buffer: Option<Box<[u8]>>,
    filled: Range<usize>,
    cleared: Cleared,
    /// The request whose body is passing; without one, body bytes are dropped.
    permit: Option<Permit>,
    is_in_body: bool,
    /// When the present, unfinished head must be complete.
    deadline: Option<Instant>,
}

/// A range of bytes that permits cover and that has not been sent.
#[derive(Default)]
struct Cleared(Range<usize>);

impl Cleared {
    /// Extends the range. There is no other way into it.
    fn extend(&mut self, _by: &Permit, range: Range<usize>) {
        if self.0.is_empty() {
            self.0 = range;
        } else {
            self.0.end = range.end;
        }
    }
}

/// What happens next with a request.
enum Judged {
    Go(Permit),
    Refuse(Refusal),
}

impl<'w> Relay<'w> {
    pub(super) fn new(worker: &'w Worker, judge: Judge, session: Session) -> Self {
        Self {
            worker,
            judge,
            session: RefCell::new(session),
            answered: Notify::new(),
            has_server_ended: Cell::new(false),
        }
    }

    /// Relays both directions until both have ended, or a refusal ends the connection.
    pub(super) async fn run(&self, client: &mut TcpStream, server: &mut TcpStream) {
        let end = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let to_client = tokio::sync::Mutex::new(to_client);
            let up = self.judge_requests(from_client, to_server, &to_client);
            let down = async {
                let end = self.pass_responses(from_server, &to_client).await;
                self.has_server_ended.set(true);
                self.answered.notify_one();
                end
            };
            forward::join(pin!(up), pin!(down)).await
        };
        let is_refused = matches!(end, Err(Broken::Refused));
        forward::finish(end, client, server, &mut self.session.borrow_mut());
        if is_refused {
            forward::linger(client, &self.worker.pool).await;
        }
    }

    async fn pass_responses(
        &self,
        mut from: ReadHalf<'_>,
        to: &tokio::sync::Mutex<WriteHalf<'_>>,
    ) -> Result<(), Broken> {
        let pool = &self.worker.pool;
        loop {
            let (received, buffer) = receive(&mut from, || pool.take(), pool)
                .await
                .map_err(|error| Broken::Read(Way::ToClient, error))?;
            let Received::Bytes(count) = received else {
                pool.give(buffer);
                return to
                    .lock()
                    .await
                    .shutdown()
                    .await
                    .map_err(|error| Broken::Write(Way::ToClient, error));
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            {
                let to = to.lock().await;
                send(&to, bytes)
                    .await
                    .map_err(|error| Broken::Write(Way::ToClient, error))?;
            }
            self.session.borrow_mut().observe(Way::ToClient, bytes);
            pool.give(buffer);
            let left = self.session.borrow().unseen_body(Way::ToClient);
            if left >= WORTHWHILE_BYTES {
                // Nobody else writes inside of a response.
                let to = to.lock().await;
                let moved = |bytes| self.session.borrow_mut().skip(Way::ToClient, bytes);
                let (from, to) = (from.as_ref(), (*to).as_ref());
                Box::pin(pool.pipes.pass(Way::ToClient, from, to, left, moved)).await?;
            }
            self.answered.notify_one();
        }
    }

    async fn judge_requests(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        to_client: &tokio::sync::Mutex<WriteHalf<'_>>,
    ) -> Result<(), Broken> {
        let mut inbox = Inbox {
            buffer: None,
            filled: 0..0,
            cleared: Cleared::default(),
            permit: None,
            is_in_body: false,
            deadline: None,
        };
        loop {
            match self.read_more(&mut from, &mut inbox).await? {
                More::Bytes => {}
                More::End => {
                    to.shutdown()
                        .await
                        .map_err(|error| Broken::Write(Way::ToServer, error))?;
                    return Ok(());
                }
                More::TooSlow => {
                    let refusal = Refusal::closing(408);
                    let refused =
                        self.refuse_head(refusal, Outcome::Limit, "head-timeout", to_client);
                    Box::pin(refused).await?;
                    return Err(Broken::Refused);
                }
            }
            self.take_requests(&mut inbox, &to, to_client).await?;
            self.pass_long_body(&from, &mut inbox, &to).await?;
        }
    }

    /// Moves the rest of a permitted body without looking at it, when that is worth it.
    async fn pass_long_body(
        &self,
        from: &ReadHalf<'_>,
        inbox: &mut Inbox,
        to: &WriteHalf<'_>,
    ) -> Result<(), Broken> {
        let left = self.session.borrow().unseen_body(Way::ToServer);
        if left < WORTHWHILE_BYTES || inbox.permit.is_none() || !inbox.filled.is_empty() {
            return Ok(());
        }
        let moved = |bytes| self.session.borrow_mut().skip(Way::ToServer, bytes);
        let pipes = &self.worker.pool.pipes;
        let (from, to) = (from.as_ref(), to.as_ref());
        Box::pin(pipes.pass(Way::ToServer, from, to, left, moved)).await?;
        inbox.is_in_body = self.session.borrow().unseen_body(Way::ToServer) > 0;
        Ok(())
    }

    /// Waits for bytes, no longer than the present head may take.
    async fn read_more(&self, from: &mut ReadHalf<'_>, inbox: &mut Inbox) -> Result<More, Broken> {
        let pool = &self.worker.pool;
        let broken = |error| Broken::Read(Way::ToServer, error);
        if inbox.filled.is_empty() {
            inbox.deadline = None;
            let (received, buffer) = receive(from, || pool.take(), pool).await.map_err(broken)?;
            return Ok(match received {
                Received::Bytes(count) => {
                    inbox.filled = 0..count;
                    inbox.buffer = Some(buffer);
                    More::Bytes
                }
                Received::End => {
                    pool.give(buffer);
                    More::End
                }
            });
        }
        let timeout = self.worker.settings.head_timeout;
        let deadline = *inbox
            .deadline
            .get_or_insert_with(|| Instant::now() + timeout);
        let room = inbox.room();
        match tokio::time::timeout_at(deadline, tokio::io::AsyncReadExt::read(from, room)).await {
            Err(_elapsed) => Ok(More::TooSlow),
            Ok(Ok(0)) => Ok(More::End),
            Ok(Ok(count)) => {
                inbox.filled.end += count;
                Ok(More::Bytes)
            }
            Ok(Err(error)) => Err(broken(error)),
        }
    }

    /// Goes through what has come.
    async fn take_requests(
        &self,
        inbox: &mut Inbox,
        to: &WriteHalf<'_>,
        to_client: &tokio::sync::Mutex<WriteHalf<'_>>,
    ) -> Result<(), Broken> {
        while !inbox.filled.is_empty() {
            match self.take_one(inbox) {
                Ok(Taken::Nothing) => break,
                Ok(Taken::Bytes) => {}
                Ok(Taken::Unjudged) => return Err(Broken::Unjudged),
                Ok(Taken::Refused(refusal)) => {
                    inbox.flush(to).await?;
                    // Boxed, here and below: refusals are rare, and every connection would have
                    // room for one all its life.
                    Box::pin(self.refuse(refusal, to_client)).await?;
                }
                Err(error) => {
                    inbox.flush(to).await?;
                    let place = inbox.place();
                    Box::pin(self.refuse_unreadable(error, place, to_client)).await?;
                    return Err(Broken::Refused);
                }
            }
        }
        inbox.flush(to).await?;
        inbox.release(&self.worker.pool);
        Ok(())
    }

    /// Takes one event off the inbox.
    fn take_one(&self, inbox: &mut Inbox) -> Result<Taken, ParseError> {
        let start = inbox.filled.start;
        let mut session = self.session.borrow_mut();
        let Some(bytes) = inbox
            .buffer
            .as_deref()
            .and_then(|all| all.get(inbox.filled.clone()))
        else {
            return Ok(Taken::Nothing);
        };
        let Step::Event { consumed, event } = session.http().step(Way::ToServer, bytes)? else {
            return Ok(Taken::Nothing);
        };
        session.count(Way::ToServer, consumed);
        let mut taken = Taken::Bytes;
        match event {
            Event::Request(head) => {
                inbox.is_in_body = head.body() != BodyKind::None;
                match self.judge_request(&mut session, &head) {
                    Judged::Go(permit) => inbox.permit = Some(permit),
                    Judged::Refuse(refusal) => {
                        inbox.permit = None;
                        taken = Taken::Refused(refusal);
                    }
                }
            }
            // After an upgrade to HTTP/2 or TLS, whoever was allowed one request could send any.
            Event::Opaque if session.hides_requests() => return Ok(Taken::Unjudged),
            Event::Body { is_last, .. } => inbox.is_in_body = !is_last,
            Event::Opaque | Event::Response(_) | Event::Lost => {}
        }
        let range = start..start + consumed;
        inbox.filled.start = range.end;
        inbox.deadline = None;
        if let Some(permit) = &inbox.permit {
            inbox.cleared.extend(permit, range);
        }
        Ok(taken)
    }

    fn judge_request(&self, session: &mut Session, head: &RequestHead<'_>) -> Judged {
        session.begin(head);
        match self.ask(head) {
            Ok(permit) => {
                let policies = permit.policies();
                session.tell_request(Verdict::Forwarded, Outcome::Passed, "", policies);
                Judged::Go(permit)
            }
            Err(denial) => {
                session.http().refuse_request();
                let Denial {
                    policies, detail, ..
                } = &denial;
                session.tell_request(Verdict::Dropped, Outcome::PolicyDenied, detail, policies);
                Judged::Refuse(Refusal {
                    status: 403,
                    closes: closes_after(head),
                    is_head: head.method() == b"HEAD",
                })
            }
        }
    }

    /// Asks the policy of this moment.
    fn ask(&self, head: &RequestHead<'_>) -> Result<Permit, Denial> {
        let path = if head.is_connect() {
            head.target()
        } else {
            head.path()
        };
        self.judge.judge_readings(&Request {
            method: head.method(),
            path,
            host: head.authority().unwrap_or_default(),
            headers: &Fields(head),
        })
    }

    /// A refusal stands in the order of the answers: it waits until it is its turn. Where that can no
    /// longer come, the connection ends without it.
    async fn wait_until(&self, is_turn: fn(&Connection) -> bool) -> Result<(), Broken> {
        loop {
            if self.has_server_ended.get() {
                return Err(Broken::Refused);
            }
            {
                let mut session = self.session.borrow_mut();
                if session.is_opaque() {
                    return Err(Broken::Unjudged);
                }
                if is_turn(session.http()) {
                    return Ok(());
                }
            }
            self.answered.notified().await;
        }
    }

    /// Answers in the place of the server, and records it.
    async fn answer(
        &self,
        to_client: &tokio::sync::Mutex<WriteHalf<'_>>,
        refusal: Refusal,
    ) -> Result<(), Broken> {
        self.answer_as(Outcome::PolicyDenied, to_client, refusal)
            .await
    }

    async fn answer_as(
        &self,
        outcome: Outcome,
        to_client: &tokio::sync::Mutex<WriteHalf<'_>>,
        refusal: Refusal,
    ) -> Result<(), Broken> {
        let broken = |error| Broken::Write(Way::ToClient, error);
        self.worker
            .stats
            .refused
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.session
            .borrow_mut()
            .tell_response(refusal.status, outcome, None);
        let mut to = to_client.lock().await;
        send(&to, &refusal.to_bytes()).await.map_err(broken)?;
        if refusal.closes {
            to.shutdown().await.map_err(broken)?;
        }
        Ok(())
    }

    /// Answers a request that policy denied, when it is its turn.
    async fn refuse(
        &self,
        refusal: Refusal,
        to_client: &tokio::sync::Mutex<WriteHalf<'_>>,
    ) -> Result<(), Broken> {
        self.wait_until(is_refused_next).await?;
        self.answer(to_client, refusal).await?;
        self.session.borrow_mut().http().answered_refused();
        if refusal.closes {
            Err(Broken::Refused)
        } else {
            Ok(())
        }
    }

    /// What nobody may act on: refused by its rule, and the connection ends, since where the next
    /// request begins is anybody's guess.
    async fn refuse_unreadable(
        &self,
        error: ParseError,
        place: Place,
        to_client: &tokio::sync::Mutex<WriteHalf<'_>>,
    ) -> Result<(), Broken> {
        let outcome = match error.fault {
            Fault::TooLarge => Outcome::Limit,
            Fault::Unsupported => Outcome::NotImplemented,
            Fault::Ambiguous | Fault::Malformed | Fault::NotThisProtocol | Fault::Truncated => {
                Outcome::ParseError
            }
        };
        let refusal = Refusal::closing(error.status());
        match place {
            Place::Head => {
                self.refuse_head(refusal, outcome, &error.to_string(), to_client)
                    .await
            }
            // Its request has its answer already.
            Place::DeniedBody => Err(Broken::Refused),
            // The server waits for the rest: the answer to this request is ours, if it is its turn.
            Place::PermittedBody if is_only_one_unanswered(self.session.borrow_mut().http()) => {
                self.answer_as(outcome, to_client, refusal).await
            }
            Place::PermittedBody => Err(Broken::Unjudged),
        }
    }

    /// Refuses a head, once what was asked before it is answered.
    async fn refuse_head(
        &self,
        refusal: Refusal,
        outcome: Outcome,
        detail: &str,
        to_client: &tokio::sync::Mutex<WriteHalf<'_>>,
    ) -> Result<(), Broken> {
        self.tell_unreadable(outcome, detail);
        self.wait_until(is_all_answered).await?;
        self.answer_as(outcome, to_client, refusal).await
    }

    fn tell_unreadable(&self, outcome: Outcome, detail: &str) {
        let mut session = self.session.borrow_mut();
        session.begin_unreadable();
        session.tell_request(Verdict::Dropped, outcome, detail, &no_policies());
    }
}

/// Whether the oldest request without an answer is one that was refused.
fn is_refused_next(http: &Connection) -> bool {
    http.is_refused_next() && http.is_between_messages(Way::ToClient)
}

/// Whether every request that went on has its answer.
fn is_all_answered(http: &Connection) -> bool {
    http.awaiting_response() == 0 && http.is_between_messages(Way::ToClient)
}

/// Whether one request has gone on and nothing of its answer has come.
fn is_only_one_unanswered(http: &Connection) -> bool {
    http.awaiting_response() == 1 && http.is_between_messages(Way::ToClient)
}

/// Where in the client's messages something could not be read.
#[derive(Debug, Clone, Copy)]
enum Place {
    Head,
    DeniedBody,
    PermittedBody,
}

/// What waiting for bytes came to.
enum More {
    Bytes,
    End,
    TooSlow,
}

/// What one event came to.
enum Taken {
    Bytes,
    Nothing,
    Refused(Refusal),
    Unjudged,
}

impl Inbox {
    fn place(&self) -> Place {
        match (self.is_in_body, &self.permit) {
            (false, _) => Place::Head,
            (true, None) => Place::DeniedBody,
            (true, Some(_)) => Place::PermittedBody,
        }
    }

    /// Room behind the bytes that are there; they move to the front when it gets scarce.
    fn room(&mut self) -> &mut [u8] {
        let Some(buffer) = self.buffer.as_deref_mut() else {
            return &mut [];
        };
        let (start, end) = (self.filled.start, self.filled.end);
        if start > 0 && buffer.len() - end < buffer.len() / 4 {
            buffer.copy_within(start..end, 0);
            self.filled = 0..end - start;
        }
        buffer.get_mut(self.filled.end..).unwrap_or_default()
    }

    /// Sends what permits cover.
    async fn flush(&mut self, to: &WriteHalf<'_>) -> Result<(), Broken> {
        let range = std::mem::take(&mut self.cleared.0);
        let bytes = self.buffer.as_deref().and_then(|buffer| buffer.get(range));
        send(to, bytes.unwrap_or_default())
            .await
            .map_err(|error| Broken::Write(Way::ToServer, error))
    }

    /// Gives the buffer back when there is nothing in it.
    fn release(&mut self, pool: &forward::Pool) {
        if self.filled.is_empty()
            && let Some(buffer) = self.buffer.take()
        {
            pool.give(buffer);
            self.filled = 0..0;
        }
    }
}

/// Whether the connection ends after a refusal: the client wants it so, or whether its body comes
/// is not known.
fn closes_after(head: &RequestHead<'_>) -> bool {
    let wants_close = head.header(b"connection").is_some_and(|value| {
        value
            .to_ascii_lowercase()
            .windows(5)
            .any(|window| window == b"close")
    });
    wants_close
        || head.version() == 10
        || (head.expects_continue() && head.body() != BodyKind::None)
}

struct Fields<'h, 'b>(&'h RequestHead<'b>);

impl Headers for Fields<'_, '_> {
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for header in self.0.headers() {
            visit(header.name, header.value);
        }
    }
}
