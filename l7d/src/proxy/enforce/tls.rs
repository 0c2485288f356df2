//! TLS on an enforced port: the connection is judged by the name in its `ClientHello` (RFC 6066 §3).
//!
//! ```text
//!   client ─▶ whole hello ─▶ judge ─▶ server ─▶ its hello ──▶ the watching relay
//!                  ▲                               │
//!                  └──── it wants another one ◀────┘
//! ```
//!
//! A server may ask for a second hello (RFC 8446 §4.1.4), which could name another server: what the
//! client sends behind its first one waits until the server has answered. From then on nothing can
//! be judged any more. Of an encrypted hello (ECH) the outer name is judged: it is what there is.

use std::cell::Cell;
use std::future::pending;
use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parsers::tls::{ClientHello, Handshake, Progress, ServerHello, Speaker};
use parsers::{Direction as Way, Error as ParseError, Fault};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::Instant;

use crate::policy::{Judge, Permit};
use crate::proxy::forward::{self, Broken, Reach, Received, receive, send};
use crate::proxy::lane::{Lane, SavedLane};
use crate::proxy::watch;
use crate::proxy::worker::Worker;
use crate::record::Outcome;
use crate::session::{RequestVerdict, SavedSession, Session};

const HELLO: &str = "RFC 8446 §4.1.2";
const NOT_ALONE: ParseError = ParseError {
    fault: Fault::Ambiguous,
    rule: "client-hello-not-alone",
    section: "RFC 8446 §5.1",
};
const TOO_LONG: ParseError = ParseError {
    fault: Fault::TooLarge,
    rule: "client-hello-too-long",
    section: HELLO,
};
const TOO_SLOW: ParseError = ParseError {
    fault: Fault::TooLarge,
    rule: "client-hello-timeout",
    section: HELLO,
};
const INCOMPLETE: ParseError = ParseError {
    fault: Fault::Truncated,
    rule: "client-hello-incomplete",
    section: HELLO,
};
const SERVER_FIRST: ParseError = ParseError {
    fault: Fault::NotThisProtocol,
    rule: "server-spoke-before-hello",
    section: HELLO,
};

/// Whether a connection whose first bytes decide speaks TLS. A server that speaks first does not.
pub(in crate::proxy) async fn begins_with_tls(client: &TcpStream, server: &TcpStream) -> bool {
    const HANDSHAKE: u8 = 22;
    let mut first = [0];
    tokio::select! {
        biased;
        peeked = client.peek(&mut first) => matches!(peeked, Ok(1)) && first == [HANDSHAKE],
        _ready = server.readable() => false,
    }
}

/// One enforced connection of TLS.
pub(in crate::proxy) struct TlsRelay<'w> {
    worker: &'w Worker,
    judge: Judge,
    session: Session,
    /// It began while others ended: it is not sent away, since it would only come back.
    is_late: bool,
}

/// What a connection has under way. It stands outside of the future that relays, which may be dropped
/// and made again.
#[derive(Default)]
pub(in crate::proxy) struct TlsUnderWay {
    held: Held,
    /// The client's hello was allowed, and the server has answered it.
    is_admitted: bool,
    lanes: [Lane; 2],
}

/// A connection as it goes to another process.
#[derive(Serialize, Deserialize)]
pub(in crate::proxy) struct SavedTls {
    session: SavedSession,
    #[serde(with = "serde_bytes")]
    held: Vec<u8>,
    /// What is left of the time for the present hello.
    left: Option<Duration>,
    is_admitted: bool,
    lanes: [SavedLane; 2],
}

/// The client's bytes that have come and not gone on.
#[derive(Default)]
struct Held {
    buffer: Box<[u8]>,
    filled: usize,
    /// When the present hello must be complete.
    deadline: Option<Instant>,
}

impl Held {
    fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// Sends the first `count` bytes. There is no other way out of it.
    async fn send(
        &mut self,
        _by: &Permit,
        count: usize,
        to: &WriteHalf<'_>,
        session: &mut Session,
    ) -> Result<(), Broken> {
        let bytes = self.bytes().get(..count).unwrap_or_default();
        send(to, bytes)
            .await
            .map_err(|error| Broken::Write(Way::ToServer, error))?;
        session.observe(Way::ToServer, bytes);
        self.buffer.copy_within(count..self.filled, 0);
        self.filled = self.filled.saturating_sub(count);
        Ok(())
    }
}

impl<'w> TlsRelay<'w> {
    pub(in crate::proxy) fn new(worker: &'w Worker, judge: Judge, session: Session) -> Self {
        Self {
            worker,
            judge,
            session,
            is_late: worker.is_ending(),
        }
    }

    /// Relays both directions until both have ended, if the client's hello is allowed. `None` if the
    /// connection is to go on in another process.
    pub(in crate::proxy) async fn run(
        &mut self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        under_way: &mut TlsUnderWay,
    ) -> Option<()> {
        let end = self.relay(client, server, under_way).await?;
        forward::finish(end, client, server, &mut self.session);
        Some(())
    }

    async fn relay(
        &mut self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        under_way: &mut TlsUnderWay,
    ) -> Option<Result<(), Broken>> {
        let worker = self.worker;
        let TlsUnderWay {
            held,
            is_admitted,
            lanes,
        } = under_way;
        if !*is_admitted {
            // While the server has a hello and has not answered it, nobody else can go on with it.
            let is_asking = Cell::new(false);
            let admitted = tokio::select! {
                biased;
                admitted = Box::pin(self.admit(client, server, held, &is_asking)) => admitted,
                () = worker.told_to_leave_unless(&is_asking) => return None,
            };
            if let Err(broken) = admitted {
                return Some(Err(broken));
            }
            *is_admitted = true;
        }
        tokio::select! {
            biased;
            end = watch::relay(client, server, &mut self.session, lanes, &worker.pool) => Some(end),
            () = worker.told_to_leave() => None,
        }
    }

    /// Takes everything out for another process.
    pub(in crate::proxy) fn save(self, mut under_way: TlsUnderWay) -> io::Result<SavedTls> {
        let [up, down] = &mut under_way.lanes;
        Ok(SavedTls {
            session: self.session.save(),
            held: under_way.held.bytes().to_vec(),
            left: under_way
                .held
                .deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now())),
            is_admitted: under_way.is_admitted,
            lanes: [up.save()?, down.save()?],
        })
    }

    /// Goes on where another process stopped. `session` makes one of what was saved of it.
    pub(in crate::proxy) fn restore(
        worker: &'w Worker,
        judge: Judge,
        saved: SavedTls,
        session: impl FnOnce(SavedSession) -> Session,
    ) -> (Self, TlsUnderWay) {
        let relay = Self::new(worker, judge, session(saved.session));
        let mut held = Held {
            deadline: saved.left.map(|left| Instant::now() + left),
            ..Held::default()
        };
        if !saved.held.is_empty() {
            held.filled = saved.held.len();
            held.buffer = worker.pool.filled_with(&saved.held);
        }
        let under_way = TlsUnderWay {
            held,
            is_admitted: saved.is_admitted,
            lanes: saved.lanes.map(Lane::restore),
        };
        (relay, under_way)
    }

    /// Passes hellos on as far as policy allows; what comes behind them needs no verdict.
    async fn admit(
        &mut self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        held: &mut Held,
        is_asking: &Cell<bool>,
    ) -> Result<(), Broken> {
        // Where all is allowed, what is no TLS is as well, and nobody has to wait for a hello.
        let unread = self.judge.judge_unread();
        let (mut from_client, to_client) = client.split();
        let (mut from_server, to_server) = server.split();
        if let Ok(permit) = unread {
            self.session.note_verdict((&permit).into());
            let count = held.filled;
            is_asking.set(count > 0);
            return held
                .send(&permit, count, &to_server, &mut self.session)
                .await;
        }
        if held.filled == 0 {
            self.wait_for_client(held, &mut from_client, &mut from_server)
                .await?;
        }
        let mut speaker = Speaker::Client;
        loop {
            let (end, hello) = self.read_hello(speaker, held, &mut from_client).await?;
            let permit = self.judge_hello(&hello)?;
            is_asking.set(true);
            let session = &mut self.session;
            held.send(&permit, end, &to_server, session).await?;
            let sides = (&mut from_client, &mut from_server);
            if !self.is_asked_again(sides, &to_client, held).await? {
                let rest = held.filled;
                let session = &mut self.session;
                held.send(&permit, rest, &to_server, session).await?;
                self.worker.pool.give(std::mem::take(&mut held.buffer));
                return Ok(());
            }
            speaker = Speaker::ClientAgain;
            held.deadline = None;
        }
    }

    fn judge_hello(&mut self, hello: &ClientHello) -> Result<Permit, Broken> {
        match self.judge.judge_hello(hello) {
            Ok(permit) => {
                self.session.note_verdict((&permit).into());
                Ok(permit)
            }
            Err(denial) => {
                self.session.begin_denied_tls(hello.server_name());
                Err(self.refuse(denial.into()))
            }
        }
    }

    /// Waits for the client's first bytes. Neither TLS client nor server waits for the other to begin.
    async fn wait_for_client(
        &mut self,
        held: &mut Held,
        from_client: &mut ReadHalf<'_>,
        from_server: &mut ReadHalf<'_>,
    ) -> Result<(), Broken> {
        let pool = &self.worker.pool;
        let mut first = [0];
        tokio::select! {
            biased;
            read = receive(from_client, pool, Reach::Whole) => {
                let (received, buffer) = read.map_err(|error| Broken::Read(Way::ToServer, error))?;
                held.buffer = buffer;
                match received {
                    Received::Bytes(count) => held.filled = count,
                    Received::End => return Err(Broken::Refused),
                }
                Ok(())
            }
            peeked = from_server.peek(&mut first) => match peeked {
                Ok(0) => Err(Broken::Refused),
                Ok(_) => Err(self.refuse_unreadable(SERVER_FIRST)),
                Err(error) => Err(Broken::Read(Way::ToClient, error)),
            },
            () = self.worker.told_to_end(), if !self.is_late => Err(Broken::Refused),
        }
    }

    /// Waits for a whole hello, and gives back where it ends in what is held.
    async fn read_hello(
        &mut self,
        speaker: Speaker,
        held: &mut Held,
        from: &mut ReadHalf<'_>,
    ) -> Result<(usize, ClientHello), Broken> {
        let timeout = self.worker.settings.head_timeout;
        let deadline = *held
            .deadline
            .get_or_insert_with(|| Instant::now() + timeout);
        let limits = self.worker.settings.limits;
        let mut handshake = Handshake::new(speaker);
        let mut end = 0;
        loop {
            let new = held.bytes().get(end..).unwrap_or_default();
            match handshake.take(new, &limits) {
                Ok(Progress::NeedMore { consumed }) => end += consumed,
                Ok(Progress::Whole {
                    is_alone: false, ..
                }) => {
                    return Err(self.refuse_unreadable(NOT_ALONE));
                }
                Ok(Progress::Whole { consumed, .. }) => {
                    let hello = ClientHello::read(handshake.message());
                    return match hello {
                        Ok(hello) => Ok((end + consumed, hello)),
                        Err(error) => Err(self.refuse_unreadable(error)),
                    };
                }
                Err(error) => return Err(self.refuse_unreadable(error)),
            }
            self.read_more(held, from, deadline).await?;
        }
    }

    async fn read_more(
        &mut self,
        held: &mut Held,
        from: &mut ReadHalf<'_>,
        deadline: Instant,
    ) -> Result<(), Broken> {
        let room = held.buffer.get_mut(held.filled..).unwrap_or_default();
        if room.is_empty() {
            return Err(self.refuse_unreadable(TOO_LONG));
        }
        match tokio::time::timeout_at(deadline, from.read(room)).await {
            Err(_elapsed) => Err(self.refuse_unreadable(TOO_SLOW)),
            Ok(Ok(0)) => Err(self.refuse_unreadable(INCOMPLETE)),
            Ok(Ok(count)) => {
                held.filled += count;
                Ok(())
            }
            Ok(Err(error)) => Err(Broken::Read(Way::ToServer, error)),
        }
    }

    /// Passes the server's first message on, and tells whether it wants another hello.
    async fn is_asked_again(
        &mut self,
        (from_client, from_server): (&mut ReadHalf<'_>, &mut ReadHalf<'_>),
        to_client: &WriteHalf<'_>,
        held: &Held,
    ) -> Result<bool, Broken> {
        let pool = &self.worker.pool;
        let limits = self.worker.settings.limits;
        let mut handshake = Handshake::new(Speaker::Server);
        let mut waiting = Vec::new();
        loop {
            let read = tokio::select! {
                read = receive(from_server, pool, Reach::Whole) => read,
                gone = hang_up(from_client) => match gone {
                    // Nothing more comes that could be judged.
                    Ok(()) if held.filled == 0 => return Ok(false),
                    Ok(()) => return Err(Broken::Unjudged),
                    Err(error) => return Err(Broken::Read(Way::ToServer, error)),
                },
            };
            let (received, buffer) = read.map_err(|error| Broken::Read(Way::ToClient, error))?;
            let Received::Bytes(count) = received else {
                pool.give(buffer);
                // It hears no second hello any more.
                return Err(Broken::Refused);
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            send(to_client, bytes)
                .await
                .map_err(|error| Broken::Write(Way::ToClient, error))?;
            self.session.observe(Way::ToClient, bytes);
            waiting.extend_from_slice(bytes);
            pool.give(buffer);
            match handshake.take(&waiting, &limits) {
                Ok(Progress::NeedMore { consumed }) => drop(waiting.drain(..consumed)),
                Ok(Progress::Whole { .. }) => {
                    let hello = ServerHello::read(handshake.message());
                    return Ok(hello.is_ok_and(|hello| hello.is_retry));
                }
                // An alert, or no TLS at all: it is not asked for anything.
                Err(_) => return Ok(false),
            }
        }
    }

    fn refuse_unreadable(&mut self, error: ParseError) -> Broken {
        let outcome = match error.fault {
            Fault::TooLarge => Outcome::Limit,
            Fault::Ambiguous
            | Fault::Malformed
            | Fault::NotThisProtocol
            | Fault::Truncated
            | Fault::Unsupported => Outcome::ParseError,
        };
        let note = match error.fault {
            Fault::NotThisProtocol => "not tls",
            _ => "tls",
        };
        self.session.give_up(note);
        let detail = format!("only TLS may pass here: {error}");
        self.refuse(RequestVerdict {
            direction: Some(self.judge.direction()),
            ..RequestVerdict::refused(outcome, detail)
        })
    }

    fn refuse(&mut self, verdict: RequestVerdict) -> Broken {
        let stats = &self.worker.stats;
        stats.refused.fetch_add(1, Ordering::Relaxed);
        self.session.note_verdict(verdict);
        Broken::Unjudged
    }
}

/// Waits until the client has no more to say; one that does say something is not gone.
async fn hang_up(from: &mut ReadHalf<'_>) -> io::Result<()> {
    let mut first = [0];
    match from.peek(&mut first).await? {
        0 => Ok(()),
        _ => pending().await,
    }
}
