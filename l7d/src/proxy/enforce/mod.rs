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
mod saved;
mod tls;

use std::cell::{Cell, RefCell};
use std::pin::pin;

use parsers::Direction as Way;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{MutexGuard, Notify};

pub(super) use dns::{DnsRelay, SavedDns, Streams as DnsStreams};
pub(super) use saved::SavedRelay;
pub(super) use tls::{SavedTls, TlsRelay, TlsUnderWay, begins_with_tls};

use super::forward::{self, Broken, Received, receive};
use super::lane::Lane;
use super::network;
use super::splice::{Run, WORTHWHILE_BYTES};
use super::worker::Worker;
use crate::policy::Judge;
use crate::session::Session;
use inbox::Inbox;
use middlebox::Middlebox;

/// The client's side for writing. Whoever holds it knows what has been written: the server's bytes
/// are looked at and sent under it.
type ToClient<'s> = tokio::sync::Mutex<ClientSide<'s>>;

/// Where a client is written to, and what it is told in the place of the server.
struct ClientSide<'s> {
    to: WriteHalf<'s>,
    words: Lane,
}

impl ClientSide<'_> {
    /// Says something. When this is dropped the rest is in `words`, and goes first.
    async fn say(&mut self, words: Vec<u8>) -> std::io::Result<()> {
        self.words.push(words);
        self.words.send(&self.to).await?;
        self.words = Lane::default();
        Ok(())
    }
}

/// Ends the client's side for writing, behind all that is being written.
async fn close(to_client: &ToClient<'_>) -> Result<(), Broken> {
    let mut client = to_client.lock().await;
    client
        .to
        .shutdown()
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
    /// It ends within a moment: nobody else goes on with it.
    is_ending: Cell<bool>,
}

/// What a relay has under way. It stands outside of the future that relays, which may be dropped and
/// made again.
#[derive(Default)]
pub(super) struct UnderWay {
    inbox: Inbox,
    /// From the server.
    down: Lane,
    /// For the client, in the place of the server.
    words: Lane,
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
            is_late: worker.is_ending(),
            is_ending: Cell::new(false),
        }
    }

    /// Relays both directions until both have ended, or a refusal ends the connection. `None` if the
    /// connection is to go on in another process: what that needs is in `under_way`.
    pub(super) async fn run(
        &self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        under_way: &mut UnderWay,
    ) -> Option<()> {
        let end = self.relay(client, server, under_way).await?;
        let is_refused = matches!(end, Err(Broken::Refused));
        forward::finish(end, client, server, &mut self.session.borrow_mut());
        if is_refused {
            forward::linger(client, &self.worker.pool).await;
        }
        Some(())
    }

    async fn relay(
        &self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        under_way: &mut UnderWay,
    ) -> Option<Result<(), Broken>> {
        let UnderWay { inbox, down, words } = under_way;
        let (from_client, to) = client.split();
        let (from_server, to_server) = server.split();
        let to_client = tokio::sync::Mutex::new(ClientSide {
            to,
            words: std::mem::take(words),
        });
        let end = {
            // What a former run was saying goes before everything else.
            let first = to_client.lock().await;
            let up = self.pass_requests(from_client, to_server, &to_client, inbox);
            let down = async {
                let from = from_server;
                let end = self.pass_responses(from, &to_client, first, down).await;
                self.has_server_ended.set(true);
                self.answered.notify_one();
                end
            };
            let (up, down) = (pin!(up), pin!(down));
            tokio::select! {
                biased;
                end = forward::join(up, down) => Some(end),
                () = self.told_to_leave() => None,
            }
        };
        *words = to_client.into_inner().words;
        end
    }

    /// Returns when the connection is to go on in another process; never once it ends with a few last
    /// words.
    async fn told_to_leave(&self) {
        self.worker.told_to_leave_unless(&self.is_ending).await;
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
        inbox: &mut Inbox,
    ) -> Result<(), Broken> {
        if self.middlebox.borrow().is_none() {
            match self
                .judge_requests(&mut from, &mut to, to_client, inbox)
                .await?
            {
                Next::End => return Ok(()),
                Next::Http2 => {}
            }
        }
        Box::pin(self.judge_frames(from, to, to_client, inbox)).await
    }

    async fn pass_responses(
        &self,
        mut from: ReadHalf<'_>,
        to_client: &ToClient<'_>,
        mut first: MutexGuard<'_, ClientSide<'_>>,
        lane: &mut Lane,
    ) -> Result<(), Broken> {
        let pool = &self.worker.pool;
        let written = |error| Broken::Write(Way::ToClient, error);
        first.say(Vec::new()).await.map_err(written)?;
        if lane.is_observed {
            lane.send(&first.to).await.map_err(written)?;
            lane.release(pool);
        }
        drop(first);
        while !lane.is_over {
            if lane.is_empty() {
                let (received, buffer) = receive(&mut from, pool, lane.reach())
                    .await
                    .map_err(|error| Broken::Read(Way::ToClient, error))?;
                let Received::Bytes(count) = received else {
                    pool.give(buffer);
                    let end = network::closed(Way::ToClient);
                    self.session.borrow_mut().note_tcp(end);
                    lane.is_over = true;
                    return to_client.lock().await.to.shutdown().await.map_err(written);
                };
                lane.hold(buffer, count);
            }
            {
                let client = to_client.lock().await;
                network::look(
                    &mut self.session.borrow_mut(),
                    client.to.as_ref(),
                    from.as_ref(),
                );
                self.pass_on(&client.to, lane).await.map_err(written)?;
            }
            lane.release(pool);
            let left = self.session.borrow().unseen_body(Way::ToClient);
            if left >= WORTHWHILE_BYTES {
                // Nobody else writes inside of a response.
                let client = to_client.lock().await;
                let moved = |bytes| self.session.borrow_mut().skip(Way::ToClient, bytes);
                let (from, to) = (from.as_ref(), client.to.as_ref());
                let run = Run {
                    way: Way::ToClient,
                    from,
                    to,
                    left,
                };
                Box::pin(pool.pipes.pass(run, &mut lane.piped, moved)).await?;
            }
            self.answered.notify_one();
        }
        Ok(())
    }

    /// Looks at bytes of the server and passes them on; what is to be said in its place stands at
    /// the last place between its frames.
    async fn pass_on(&self, to: &WriteHalf<'_>, lane: &mut Lane) -> std::io::Result<()> {
        if !lane.is_observed {
            lane.is_observed = true;
            let mut session = self.session.borrow_mut();
            session.observe(Way::ToClient, lane.bytes());
        }
        if let Some((before, words)) = self.words_within(lane.bytes().len()) {
            lane.insert(before, &words);
        }
        lane.send(to).await
    }
}
