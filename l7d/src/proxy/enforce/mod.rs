//! The relay that judges each request before its bytes go on.
//!
//! The client's bytes wait until the end of a head. A head that could be read in two ways is
//! refused with the name of the rule it breaks; one that is well formed is judged by the policy of
//! that moment. Only a [`Permit`](crate::policy::Permit) moves bytes on: [`inbox::Cleared`] takes one for every range, and
//! [`middlebox::Outgoing`] for every frame of a stream.
//!
//! ```text
//!   run ─▶ http1 ──(preface, or 101 to h2c)──▶ http2 ─▶ middlebox
//!     └──▶ pass_responses
//!
//!   dns      where policy is about names: whole messages both ways
//!   tls      where it is about names of servers: the first message of a client
//! ```

mod dns;
mod http1;
mod http2;
mod inbox;
mod middlebox;
mod rewrite;
mod tls;

use std::cell::{Cell, RefCell};
use std::pin::pin;

use parsers::Direction as Way;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;

pub(super) use dns::DnsRelay;
pub(super) use tls::{TlsRelay, begins_with_tls};

use super::forward::{self, Broken, Received, receive, send};
use super::network;
use super::splice::WORTHWHILE_BYTES;
use super::worker::Worker;
use crate::policy::Judge;
use crate::session::Session;
use inbox::Inbox;
use middlebox::Middlebox;

/// The client's side for writing. Whoever holds it knows what has been written: the server's bytes
/// are looked at and sent under it.
type ToClient<'s> = tokio::sync::Mutex<WriteHalf<'s>>;

/// Ends the client's side for writing, behind all that is being written.
async fn close(to_client: &ToClient<'_>) -> Result<(), Broken> {
    let mut to = to_client.lock().await;
    to.shutdown()
        .await
        .map_err(|error| Broken::Write(Way::ToClient, error))
}

/// How a relay of HTTP/1 ends.
enum Next {
    /// The client has no more.
    End,
    /// What follows is HTTP/2.
    Http2,
}

/// One enforced connection.
pub(super) struct Relay<'w> {
    worker: &'w Worker,
    judge: Judge,
    session: RefCell<Session>,
    /// Since the connection speaks HTTP/2.
    middlebox: RefCell<Option<Box<Middlebox>>>,
    /// Told when a response was seen: who waits for earlier answers looks again.
    answered: Notify,
    /// The server has no more: no answer comes any longer.
    has_server_ended: Cell<bool>,
    /// It began while others ended: it is not sent away, since it would only come back.
    is_late: bool,
}

impl<'w> Relay<'w> {
    pub(super) fn new(worker: &'w Worker, judge: Judge, session: Session) -> Self {
        Self {
            worker,
            judge,
            session: RefCell::new(session),
            middlebox: RefCell::new(None),
            answered: Notify::new(),
            has_server_ended: Cell::new(false),
            is_late: *worker.stopped.borrow(),
        }
    }

    /// Relays both directions until both have ended, or a refusal ends the connection.
    pub(super) async fn run(&self, client: &mut TcpStream, server: &mut TcpStream) {
        let end = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            let to_client = tokio::sync::Mutex::new(to_client);
            let up = self.pass_requests(from_client, to_server, &to_client);
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

    /// Returns when the connection is to end, maybe never.
    async fn told_to_end(&self) {
        if self.is_late {
            std::future::pending::<()>().await;
        }
        self.worker.told_to_end().await;
    }

    async fn pass_requests(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        to_client: &ToClient<'_>,
    ) -> Result<(), Broken> {
        let mut inbox = Inbox::default();
        match self
            .judge_requests(&mut from, &mut to, to_client, &mut inbox)
            .await?
        {
            Next::End => Ok(()),
            Next::Http2 => Box::pin(self.judge_frames(from, to, to_client, inbox)).await,
        }
    }

    async fn pass_responses(
        &self,
        mut from: ReadHalf<'_>,
        to: &ToClient<'_>,
    ) -> Result<(), Broken> {
        let pool = &self.worker.pool;
        loop {
            let (received, buffer) = receive(&mut from, || pool.take(), pool)
                .await
                .map_err(|error| Broken::Read(Way::ToClient, error))?;
            let Received::Bytes(count) = received else {
                pool.give(buffer);
                let end = network::closed(Way::ToClient);
                self.session.borrow_mut().note_tcp(end);
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
                network::look(
                    &mut self.session.borrow_mut(),
                    (*to).as_ref(),
                    from.as_ref(),
                );
                self.pass_on(&to, bytes)
                    .await
                    .map_err(|error| Broken::Write(Way::ToClient, error))?;
            }
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

    /// Looks at bytes of the server and passes them on; what is to be said in its place stands at
    /// the last place between its frames.
    async fn pass_on(&self, to: &WriteHalf<'_>, bytes: &[u8]) -> std::io::Result<()> {
        self.session.borrow_mut().observe(Way::ToClient, bytes);
        let Some((before, words)) = self.words_within(bytes.len()) else {
            return send(to, bytes).await;
        };
        let (front, rest) = bytes.split_at(before.min(bytes.len()));
        send(to, front).await?;
        send(to, &words).await?;
        send(to, rest).await
    }
}
