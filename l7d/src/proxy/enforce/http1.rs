//! HTTP/1 requests: judged one by one, refused in the order of the answers.

use parsers::Direction as Way;
use parsers::http1::{BodyKind, Connection, Event, RequestHead, Step};
use parsers::{Error as ParseError, Fault};
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::Instant;

use super::inbox::{Inbox, More, Place, Refusing, Turn};
use super::rewrite::Rewritten;
use super::{Next, Relay, ToClient, close};
use crate::policy::{Denial, Permit, Request};
use crate::proxy::forward::{Broken, Reach, Received, receive};
use crate::proxy::network;
use crate::proxy::refuse::Refusal;
use crate::proxy::splice::{Run, WORTHWHILE_BYTES};
use crate::record::Outcome;
use crate::session::http1::{Fields, asked};
use crate::session::{RequestVerdict, Session};

/// The client asked whether its body is wanted, and was answered for good instead. A server may take
/// what comes now for a request, which nobody has judged.
const UNWANTED_BODY: ParseError = ParseError {
    fault: Fault::Ambiguous,
    rule: "body-after-answer",
    section: "RFC 9110 §10.1.1",
};

/// What happens next with a request.
enum Judged {
    Go(Permit),
    Refuse(Refusal, Outcome),
}

/// What one event came to.
enum Taken {
    Bytes,
    Nothing,
    Refused(Refusal, Outcome),
    /// A head that policy changes goes on in another form.
    Changed(Rewritten),
    Unjudged,
}

impl Relay<'_> {
    /// Relays requests until the client has no more, or speaks HTTP/2 from now on.
    pub(super) async fn judge_requests(
        &self,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
        to_client: &ToClient<'_>,
        inbox: &mut Inbox,
    ) -> Result<Next, Broken> {
        if let Some(next) = self.go_on(inbox, to, to_client).await? {
            return Ok(next);
        }
        loop {
            let is_quiet = inbox.filled.is_empty() && !inbox.is_in_body;
            let read = tokio::select! {
                biased;
                read = self.read_more(from, inbox) => read?,
                () = self.may_end(), if is_quiet => {
                    // No request is cut: who finds its connection closed between two asks on another.
                    close(to_client).await?;
                    return Err(Broken::Refused);
                }
            };
            match read {
                More::Bytes => {}
                More::End => {
                    inbox.is_over = true;
                    let end = network::closed(Way::ToServer);
                    self.session.borrow_mut().note_tcp(end);
                    to.shutdown()
                        .await
                        .map_err(|error| Broken::Write(Way::ToServer, error))?;
                    return Ok(Next::End);
                }
                More::TooSlow => {
                    let refusal = Refusal::closing(408);
                    self.refuse_head(inbox, refusal, Outcome::Limit, "head-timeout");
                    Box::pin(self.answer_refused(inbox, to_client)).await?;
                    return Err(Broken::Refused);
                }
            }
            if let Some(next) = self.take_what_came(inbox, to, to_client).await? {
                return Ok(next);
            }
            self.pass_long_body(from, inbox, to).await?;
        }
    }

    /// Does what was left to do when this was dropped.
    async fn go_on(
        &self,
        inbox: &mut Inbox,
        to: &WriteHalf<'_>,
        to_client: &ToClient<'_>,
    ) -> Result<Option<Next>, Broken> {
        if inbox.has_refused {
            // Behind what was being said.
            close(to_client).await?;
            return Err(Broken::Refused);
        }
        if inbox.is_over {
            return Ok(Some(Next::End));
        }
        inbox.flush(to).await?;
        Box::pin(self.answer_refused(inbox, to_client)).await?;
        if inbox.filled.is_empty() {
            return Ok(None);
        }
        self.take_what_came(inbox, to, to_client).await
    }

    async fn take_what_came(
        &self,
        inbox: &mut Inbox,
        to: &WriteHalf<'_>,
        to_client: &ToClient<'_>,
    ) -> Result<Option<Next>, Broken> {
        match self.speaks_http2(inbox) {
            None => return Ok(None),
            Some(true) => return Ok(Some(Next::Http2)),
            Some(false) => {}
        }
        self.take_requests(inbox, to, to_client).await?;
        let is_http2 = self.session.borrow().is_http2();
        Ok(is_http2.then_some(Next::Http2))
    }

    /// Returns when the connection is to end and all that was asked is answered.
    async fn may_end(&self) {
        self.told_to_end().await;
        while !is_all_answered(self.session.borrow_mut().http()) {
            self.answered.notified().await;
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
        let is_to_be_seen = inbox.has_asked_to_continue || !inbox.filled.is_empty();
        if left < WORTHWHILE_BYTES || inbox.permit.is_none() || is_to_be_seen {
            return Ok(());
        }
        let moved = |bytes| self.session.borrow_mut().skip(Way::ToServer, bytes);
        let pool = &self.worker.pool;
        let (from, to) = (from.as_ref(), to.as_ref());
        let run = Run {
            way: Way::ToServer,
            from,
            to,
            left,
        };
        Box::pin(pool.pipes.pass(run, &mut inbox.piped, moved)).await?;
        inbox.is_in_body = self.session.borrow().unseen_body(Way::ToServer) > 0;
        Ok(())
    }

    /// Waits for bytes, no longer than the present head may take.
    pub(super) async fn read_more(
        &self,
        from: &mut ReadHalf<'_>,
        inbox: &mut Inbox,
    ) -> Result<More, Broken> {
        let pool = &self.worker.pool;
        let broken = |error| Broken::Read(Way::ToServer, error);
        if inbox.filled.is_empty() {
            inbox.deadline = None;
            let (received, buffer) = receive(from, pool, Reach::Whole).await.map_err(broken)?;
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
        to_client: &ToClient<'_>,
    ) -> Result<(), Broken> {
        while !inbox.filled.is_empty() {
            match self.take_one(inbox) {
                Ok(Taken::Nothing) => break,
                Ok(Taken::Bytes) => {}
                Ok(Taken::Changed(head)) => {
                    inbox.owe(head);
                    inbox.flush(to).await?;
                }
                Ok(Taken::Unjudged) => return Err(Broken::Unjudged),
                Ok(Taken::Refused(refusal, outcome)) => {
                    inbox.refusing = Some(Refusing {
                        refusal,
                        outcome,
                        turn: Turn::OfDenied,
                    });
                    inbox.flush(to).await?;
                    // Boxed, here and below: refusals are rare, and every connection would have
                    // room for one all its life.
                    Box::pin(self.answer_refused(inbox, to_client)).await?;
                }
                Err(error) => {
                    let end = self.refuse_unreadable(error, inbox);
                    inbox.flush(to).await?;
                    Box::pin(self.answer_refused(inbox, to_client)).await?;
                    return Err(end);
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
        // What comes behind an upgrade is for another reader.
        if session.is_http2() {
            return Ok(Taken::Nothing);
        }
        let all = inbox.buffer.as_deref();
        let bytes = all.and_then(|all| all.get(inbox.filled.clone()));
        let bytes = bytes.unwrap_or_default();
        let Step::Event { consumed, event } = session.http().step(Way::ToServer, bytes)? else {
            return Ok(Taken::Nothing);
        };
        session.count(Way::ToServer, consumed);
        let mut taken = Taken::Bytes;
        match event {
            Event::Request(head) => {
                inbox.is_in_body = head.body() != BodyKind::None;
                inbox.has_asked_to_continue = inbox.is_in_body && head.expects_continue();
                match self.judge_request(&mut session, &head) {
                    Judged::Go(permit) => {
                        if !permit.edits().change_nothing() {
                            let head = bytes.get(..consumed).unwrap_or_default();
                            taken = Taken::Changed(Rewritten::new(&permit, head));
                        }
                        inbox.permit = Some(permit);
                    }
                    Judged::Refuse(refusal, outcome) => {
                        inbox.permit = None;
                        taken = Taken::Refused(refusal, outcome);
                    }
                }
            }
            // After an upgrade to HTTP/2 or TLS, whoever was allowed one request could send any.
            Event::Opaque if session.hides_requests() => return Ok(Taken::Unjudged),
            Event::Body { is_last, .. } => {
                let is_first = std::mem::take(&mut inbox.has_asked_to_continue);
                if is_first && session.http().awaiting_response() == 0 {
                    return Err(UNWANTED_BODY);
                }
                inbox.is_in_body = !is_last;
            }
            Event::Opaque | Event::Response(_) | Event::Lost => {}
        }
        let range = start..start + consumed;
        inbox.filled.start = range.end;
        inbox.deadline = None;
        if let (Some(permit), Taken::Bytes) = (&inbox.permit, &taken) {
            inbox.cleared.extend(permit, range);
        }
        Ok(taken)
    }

    fn judge_request(&self, session: &mut Session, head: &RequestHead<'_>) -> Judged {
        session.begin(head);
        match self.ask(head) {
            Ok(permit) => {
                session.tell_request(&RequestVerdict::from(&permit));
                Judged::Go(permit)
            }
            Err(denial) => {
                session.http().refuse_request();
                let outcome = denial.outcome;
                session.tell_request(&denial.into());
                let refusal = Refusal {
                    status: 403,
                    closes: closes_after(head),
                    is_head: head.method() == b"HEAD",
                };
                Judged::Refuse(refusal, outcome)
            }
        }
    }

    /// Asks the policy of this moment.
    fn ask(&self, head: &RequestHead<'_>) -> Result<Permit, Denial> {
        let asked = asked(head);
        self.judge.judge_readings(&Request {
            method: asked.method,
            path: asked.path,
            host: asked.authority.unwrap_or_default(),
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
                if session.is_opaque() || session.is_http2() {
                    return Err(Broken::Unjudged);
                }
                if is_turn(session.http()) {
                    return Ok(());
                }
            }
            self.answered.notified().await;
        }
    }

    /// Says a refusal when it is its turn, in the place of the server, and records it.
    async fn answer_refused(
        &self,
        inbox: &mut Inbox,
        to_client: &ToClient<'_>,
    ) -> Result<(), Broken> {
        let Some(Refusing {
            refusal,
            outcome,
            turn,
        }) = inbox.refusing
        else {
            return Ok(());
        };
        match turn {
            Turn::OfDenied => self.wait_until(is_refused_next).await?,
            Turn::BehindAll => self.wait_until(is_all_answered).await?,
            Turn::Now => {}
        }
        let broken = |error| Broken::Write(Way::ToClient, error);
        let mut client = to_client.lock().await;
        // What is said from here on is the client's side's: this may be dropped at any await.
        inbox.refusing = None;
        inbox.has_refused = refusal.closes;
        self.worker
            .stats
            .refused
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        {
            let mut session = self.session.borrow_mut();
            session.tell_response(refusal.status, outcome, None);
            if turn == Turn::OfDenied {
                session.http().answered_refused();
            }
        }
        client.say(refusal.to_bytes()).await.map_err(broken)?;
        if refusal.closes {
            client.to.shutdown().await.map_err(broken)?;
            return Err(Broken::Refused);
        }
        Ok(())
    }

    /// What nobody may act on: refused by its rule, and the connection ends, since where the next
    /// request begins is anybody's guess. Gives back how it ends once a refusal, if there is one, is
    /// said.
    fn refuse_unreadable(&self, error: ParseError, inbox: &mut Inbox) -> Broken {
        let outcome = match error.fault {
            Fault::TooLarge => Outcome::Limit,
            Fault::Unsupported => Outcome::NotImplemented,
            Fault::Ambiguous | Fault::Malformed | Fault::NotThisProtocol | Fault::Truncated => {
                Outcome::ParseError
            }
        };
        let refusal = Refusal::closing(error.status());
        match inbox.place() {
            Place::Head => self.refuse_head(inbox, refusal, outcome, &error.to_string()),
            // Its request has its answer already.
            Place::DeniedBody => {}
            // The server waits for the rest: the answer to this request is ours, if it is its turn.
            Place::PermittedBody if is_only_one_unanswered(self.session.borrow_mut().http()) => {
                inbox.refusing = Some(Refusing {
                    refusal,
                    outcome,
                    turn: Turn::Now,
                });
            }
            Place::PermittedBody => {
                self.tell_unreadable(outcome, &error.to_string());
                return Broken::Unjudged;
            }
        }
        Broken::Refused
    }

    /// Refuses a head, once what was asked before it is answered.
    fn refuse_head(&self, inbox: &mut Inbox, refusal: Refusal, outcome: Outcome, detail: &str) {
        self.tell_unreadable(outcome, detail);
        inbox.refusing = Some(Refusing {
            refusal,
            outcome,
            turn: Turn::BehindAll,
        });
    }

    fn tell_unreadable(&self, outcome: Outcome, detail: &str) {
        let mut session = self.session.borrow_mut();
        session.begin_unreadable();
        session.tell_request(&RequestVerdict::refused(outcome, detail));
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
