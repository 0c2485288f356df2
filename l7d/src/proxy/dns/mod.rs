//! DNS over UDP: redirected datagrams, judged and passed on.
//!
//! ```text
//!   client ─▶ portal ─▶ queries ─┐                ┌─▶ as the client ─▶ server
//!                                ├─▶ one worker ──┤
//!   server ─▶ portal ─▶ replies ─┘                └─▶ as the server ─▶ client
//! ```
//!
//! No socket is made for a client or for a query: nothing has to be closed, nothing is left behind by
//! a crash, and addresses, ports and ids stay what they are. So while nobody is here the kernel
//! programs let datagrams pass by, and an answer finds its client whether or not its query came
//! through here. DNS over TCP is a connection like any other: [`watch`](super::watch) and [`enforce::dns`](super::enforce).

mod address;
mod answer;
mod host;
mod receive;
mod relay;
mod send;
mod udp;

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parsers::dns::Unanswered;
use tokio::io::Interest;

pub(super) use answer::{learn_from, refuse_query, wait_until_learnt};

use super::handover::Datagrams;
use super::worker::Worker;
use super::{Error, Family};
use crate::session::Waiting;
use receive::Inbox;
use relay::Relay;
use send::Sender;

/// Datagrams that one call to the kernel takes or gives.
const BATCH: usize = 4;
/// How often is looked for queries that nobody answered.
const EXPIRY: Duration = Duration::from_secs(1);

/// A worker's sockets of one family.
pub(super) struct Sockets {
    queries: UdpSocket,
    replies: UdpSocket,
    sender: Sender,
}

/// Queries that wait for their answers, as they go to another process.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(super) struct SavedQueries(Vec<Unanswered<(SocketAddr, SocketAddr), Waiting>>);

/// The sockets of one family that redirected datagrams are handed to.
#[derive(Debug, Clone, Copy)]
pub struct DatagramSockets {
    /// For what clients send.
    pub queries: RawFd,
    /// For what servers answer.
    pub replies: RawFd,
    /// Port on loopback of the first: processes of this host send to it.
    pub port: u16,
}

impl Sockets {
    pub(super) fn open(family: Family) -> Result<Self, Error> {
        Ok(Self {
            queries: receive::open(family)?,
            replies: receive::open(family)?,
            sender: Sender::open(family)?,
        })
    }

    /// For another process.
    pub(super) fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [
            self.queries.as_fd(),
            self.replies.as_fd(),
            self.sender.as_fd(),
        ]
    }

    /// Of another process.
    pub(super) fn of(mut descriptors: impl Iterator<Item = OwnedFd>) -> Option<Self> {
        Some(Self {
            queries: descriptors.next()?.into(),
            replies: descriptors.next()?.into(),
            sender: Sender::of(descriptors.next()?),
        })
    }

    /// Of IPv6, or of IPv4.
    pub(super) fn family(&self) -> Family {
        match self.queries.local_addr() {
            Ok(SocketAddr::V6(_)) => Family::V6,
            Ok(SocketAddr::V4(_)) | Err(_) => Family::V4,
        }
    }

    pub(super) fn raw(&self) -> DatagramSockets {
        DatagramSockets {
            queries: self.queries.as_raw_fd(),
            replies: self.replies.as_raw_fd(),
            port: self
                .queries
                .local_addr()
                .map_or(0, |address| address.port()),
        }
    }
}

/// Takes a worker's datagrams of one family, until its runtime ends or they are another's.
pub(super) fn serve(worker: &Rc<Worker>, datagrams: Datagrams) -> std::io::Result<()> {
    let Datagrams { sockets, queries } = datagrams;
    let relay = Rc::new(Relay::new(Rc::clone(worker), sockets.sender));
    relay.take_over(queries.0);
    let queries = tokio::net::UdpSocket::from_std(sockets.queries)?;
    let replies = tokio::net::UdpSocket::from_std(sockets.replies)?;
    let expiry = tokio::task::spawn_local(expire(Rc::clone(&relay)));
    worker.begin_taking();
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let (queries, replies) = tokio::join!(
            take(&relay, queries, Relay::handle_queries),
            take(&relay, replies, Relay::handle_replies),
        );
        expiry.abort();
        if let (Some(queries), Some(replies)) = (queries, replies)
            && let Err(error) = relay.give_up(queries, replies)
        {
            tracing::error!(%error, "sockets for datagrams cannot be given up");
        }
        worker.end_taking();
    });
    Ok(())
}

/// Gives the socket back when it is to be another's.
async fn take(
    relay: &Rc<Relay>,
    socket: tokio::net::UdpSocket,
    handle: fn(&Rc<Relay>, &Inbox),
) -> Option<tokio::net::UdpSocket> {
    let mut inbox = Inbox::new();
    loop {
        let readable = tokio::select! {
            biased;
            readable = socket.readable() => readable,
            () = relay.told_to_leave() => return Some(socket),
        };
        if let Err(error) = readable {
            tracing::error!(%error, "datagrams are no longer taken");
            return None;
        }
        let mut overflowed = None;
        let result = socket.try_io(Interest::READABLE, || {
            overflowed = Some(inbox.receive(&socket)?);
            // Fewer than there is room for were all there were: what comes later wakes us again,
            // and nothing is asked just to hear that there is nothing.
            if inbox.is_full() {
                Ok(())
            } else {
                Err(ErrorKind::WouldBlock.into())
            }
        });
        if let Some(overflowed) = overflowed {
            relay.came(&inbox, overflowed);
            handle(relay, &inbox);
            if inbox.is_full() {
                // A flood of datagrams leaves the worker's connections their turn, and others this core.
                std::thread::yield_now();
                tokio::task::yield_now().await;
            }
        }
        match result {
            Err(error) if error.kind() != ErrorKind::WouldBlock => {
                tracing::debug!(%error, "a datagram cannot be taken");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

async fn expire(relay: Rc<Relay>) {
    let mut ticks = tokio::time::interval(EXPIRY);
    loop {
        ticks.tick().await;
        relay.expire();
    }
}

impl Relay {
    /// Counts what was taken, and what the kernel has thrown away since.
    fn came(&self, inbox: &Inbox, overflowed: u32) {
        let overflowed = usize::try_from(overflowed).unwrap_or(usize::MAX);
        let taken = inbox.count();
        let unreadable = taken.saturating_sub(inbox.datagrams().count());
        self.seen(taken.saturating_add(overflowed));
        self.lost(unreadable.saturating_add(overflowed));
    }

    /// Counts datagrams that came.
    fn seen(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let seen = &self.stats().datagrams_seen;
        seen.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts a datagram that goes no further, and is no loss.
    fn left(&self) {
        self.stats().datagrams_left.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts datagrams that were lost here.
    fn lost(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let lost = &self.stats().datagrams_lost;
        lost.fetch_add(count, Ordering::Relaxed);
    }
}
