//! Which netfilter rule drops a packet: asked of nftables itself, on request only.
//!
//! The kernel's drop reason says "netfilter" and no more. So a dropped packet's tuple is put into a set
//! of a table of our own, whose chains stand in front of all others and do nothing but to say
//! `meta nftrace set 1`; when the packet comes again (a SYN does after a second), nftables tells each
//! rule that it meets. Nothing is decided there, and without such packets there is no table at all.
//!
//! Rules of iptables-nft are rules of nftables. Those of iptables-legacy are not: then the hook is told
//! behind whose nftables chains the packet was lost.
//!
//! All of it happens on a thread of its own: `nft` is run, and records wait a moment for what is told.

mod nft;
mod watch;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use parsers::netlink::{Messages, nftrace};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use rustix::time::Timespec;

use crate::clock::Monotonic;
use crate::record::{Record, Sink};
use watch::{Action, Watch};

pub use nft::cleanup;

/// Records that wait for the thread; what finds no room goes on at once.
const QUEUE: usize = 256;
/// How long the thread looks at what nftables tells before it looks at its queue again.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};
/// `1 << (NFNLGRP_NFTRACE - 1)`: what nftables tells of packets.
const TRACE_GROUP: u32 = 1 << 8;
/// Bytes of one message; a packet's headers are a few dozen.
const MESSAGE_BYTES: usize = 8192;

/// Asks which rules drop packets. Dropped, it ends its thread and removes its table.
pub struct Tracer {
    queue: Option<SyncSender<Record>>,
    thread: Option<JoinHandle<()>>,
    trouble: Arc<Mutex<Option<String>>>,
    sink: Arc<dyn Sink>,
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer")
            .field("trouble", &self.trouble())
            .finish_non_exhaustive()
    }
}

impl Tracer {
    /// Starts; records go to `sink`, with the rule as far as it is known.
    pub fn start(sink: &Arc<dyn Sink>) -> std::io::Result<Self> {
        let (queue, records) = sync_channel(QUEUE);
        let trouble = Arc::new(Mutex::new(None));
        let mut thread = Thread {
            sink: Arc::clone(sink),
            trouble: Arc::clone(&trouble),
            watch: Watch::default(),
            table: None,
        };
        let thread = std::thread::Builder::new()
            .name("netfilter".to_owned())
            .spawn(move || thread.run(&records))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            trouble,
            sink: Arc::clone(sink),
        })
    }

    /// Takes the record of a packet that netfilter has dropped on this node.
    pub fn tell(&self, record: Record) {
        let Some(queue) = &self.queue else { return };
        if let Err(refused) = queue.try_send(record) {
            let (TrySendError::Full(record) | TrySendError::Disconnected(record)) = refused;
            self.sink.record(&record);
        }
    }

    /// What keeps rules from being found.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(Err(_panicked)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that asks netfilter has panicked");
        }
    }
}

struct Thread {
    sink: Arc<dyn Sink>,
    trouble: Arc<Mutex<Option<String>>>,
    watch: Watch,
    /// What nftables tells, while the table is there.
    table: Option<OwnedFd>,
}

impl Thread {
    fn run(&mut self, records: &Receiver<Record>) {
        // What an agent that was killed has left.
        let _gone = nft::remove();
        loop {
            let is_open = if self.table.is_some() {
                self.listen();
                self.take_all(records)
            } else {
                let record = records.recv();
                record.map(|record| self.take(record)).is_ok()
            };
            self.settle();
            if !is_open {
                break;
            }
        }
        self.watch.release(|record| self.sink.record(record));
        let _gone = nft::remove();
    }

    /// Takes what waits; false when nobody can send more.
    fn take_all(&mut self, records: &Receiver<Record>) -> bool {
        loop {
            match records.try_recv() {
                Ok(record) => self.take(record),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn take(&mut self, record: Record) {
        match self.watch.take(record, Monotonic::now()) {
            Action::Hold => {}
            Action::Tell(record) => self.sink.record(&record),
            Action::Ask(record, tuple) => {
                // The packet is told at once; what comes again is asked about.
                self.sink.record(&record);
                let asked = self.open().and_then(|()| nft::select(&tuple));
                let failed = asked.err().map(|error| {
                    self.watch.forget(&tuple);
                    format!("rules of netfilter cannot be found: {error}")
                });
                *self.trouble.lock() = failed;
            }
        }
    }

    fn open(&mut self) -> Result<(), nft::Error> {
        if self.table.is_some() {
            return Ok(());
        }
        let socket = listener().map_err(nft::Error::Socket)?;
        nft::set_up()?;
        self.table = Some(socket);
        Ok(())
    }

    /// Waits a moment for what nftables tells.
    fn listen(&mut self) {
        let Some(socket) = &self.table else { return };
        let mut asked = [PollFd::new(socket, PollFlags::IN)];
        if !poll(&mut asked, Some(&LOOK)).is_ok_and(|ready| ready > 0) {
            return;
        }
        let mut room = vec![0; MESSAGE_BYTES];
        loop {
            match rustix::net::recv(socket, &mut *room, RecvFlags::DONTWAIT) {
                Ok((read, _)) => {
                    let told = Messages::new(room.get(..read).unwrap_or_default());
                    let steps = told.map_while(|message| nftrace::step(&message.ok()?).ok());
                    for step in steps.flatten() {
                        self.watch.follow(&step, nft::rule);
                    }
                }
                // Some messages found no room: the packet comes again.
                Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(_nothing_more) => return,
            }
        }
    }

    /// Tells what has waited long enough, and removes the table when nothing is asked any more.
    fn settle(&mut self) {
        let sink = &self.sink;
        self.watch
            .settle(Monotonic::now(), |record| sink.record(record));
        let is_over = self.watch.is_idle() && self.table.take().is_some();
        if is_over && let Err(error) = nft::remove() {
            tracing::warn!(%error, "the table that asks netfilter stays");
        }
    }
}

fn listener() -> Result<OwnedFd, Errno> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(NETFILTER),
    )?;
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, TRACE_GROUP))?;
    Ok(socket)
}
