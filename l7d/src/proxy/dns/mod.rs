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
use std::net::UdpSocket;
use std::os::fd::{AsRawFd as _, RawFd};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::Interest;

pub(super) use answer::{learn_from, refuse_query, wait_until_learnt};

use super::worker::Worker;
use super::{Error, Family};
use receive::Inbox;
use relay::Relay;
use send::Sender;

/// Datagrams that one call to the kernel takes or gives.
const BATCH: usize = 32;
/// How often is looked for queries that nobody answered.
const EXPIRY: Duration = Duration::from_secs(1);

/// A worker's sockets of one family.
pub(super) struct Sockets {
    queries: UdpSocket,
    replies: UdpSocket,
    sender: Sender,
}

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
    /// Of these families.
    pub(super) fn open_all(families: [Option<Family>; 2]) -> Result<[Option<Self>; 2], Error> {
        let [v4, v6] = families.map(|family| family.map(Self::open).transpose());
        Ok([v4?, v6?])
    }

    fn open(family: Family) -> Result<Self, Error> {
        Ok(Self {
            queries: receive::open(family)?,
            replies: receive::open(family)?,
            sender: Sender::open(family)?,
        })
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

/// Takes a worker's datagrams, of both families, until its runtime ends.
pub(super) fn serve(worker: &Rc<Worker>, sockets: [Option<Sockets>; 2]) -> std::io::Result<()> {
    for Sockets {
        queries,
        replies,
        sender,
    } in sockets.into_iter().flatten()
    {
        let relay = Rc::new(Relay::new(Rc::clone(worker), sender));
        let queries = tokio::net::UdpSocket::from_std(queries)?;
        let replies = tokio::net::UdpSocket::from_std(replies)?;
        tokio::task::spawn_local(take(Rc::clone(&relay), queries, Relay::handle_queries));
        tokio::task::spawn_local(take(Rc::clone(&relay), replies, Relay::handle_replies));
        tokio::task::spawn_local(expire(relay));
    }
    Ok(())
}

async fn take(relay: Rc<Relay>, socket: tokio::net::UdpSocket, handle: fn(&Rc<Relay>, &Inbox)) {
    let mut inbox = Inbox::new();
    loop {
        if let Err(error) = socket.readable().await {
            tracing::error!(%error, "datagrams are no longer taken");
            return;
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
            handle(&relay, &inbox);
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
