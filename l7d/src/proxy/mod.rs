//! The transparent proxy: where a connection lives.
//!
//! Each worker is one thread with one current-thread runtime and its own listeners; the kernel
//! spreads connections over them, and a connection never changes worker. An accepted connection
//! takes one of two doors: `watch`, which looks and cannot refuse, or `enforce`, which judges
//! every request before its bytes go on.

mod connection;
mod crowd;
mod dns;
mod door;
mod enforce;
mod forward;
mod handover;
mod lane;
mod listener;
mod network;
mod pulse;
mod refuse;
mod share;
mod splice;
mod transparent;
mod turns;
mod upstream;
mod watch;
mod worker;

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use parsers::Limits;
use parsers::dns::Rcode;
use tokio::sync::{oneshot, watch as signal};

pub use dns::DatagramSockets;
pub use handover::{Belongings, Broken as LinkBroken, FLOWS_FORMAT, FORMAT, Hello, Link};
pub use listener::{Family, Sharing};
use worker::WorkerSeed;

use crate::clock::Monotonic;
use crate::config::{Marks, Transport};
use crate::identity::Names;
use crate::nat::Translations;
use crate::policy::Door;
use crate::record::{Party, Sink};
use crate::session::{Ends, Redaction, Verdicts};

/// What the proxy is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Threads.
    pub workers: usize,
    /// How they come to their connections.
    pub sharing: Sharing,
    /// Bounds of heads on enforced ports.
    pub limits: Limits,
    /// How long a client may take for one head on an enforced port.
    pub head_timeout: Duration,
    /// How long connections may go on after a stop.
    pub drain: Duration,
    /// Most connections of one endpoint through enforced ports.
    pub connections_per_endpoint: usize,
    /// Marks of the proxy's packets.
    pub marks: Marks,
    /// How DNS queries are refused.
    pub dns_refusal: Rcode,
    /// What is hidden before anything is recorded.
    pub redaction: Redaction,
    /// What DNS has said so far.
    pub names: Arc<Names>,
    /// What netfilter makes of connections' addresses.
    pub translations: Arc<Translations>,
    /// Counters, which go on when a proxy is started again.
    pub stats: Arc<Stats>,
}

/// Who is at both ends of an accepted connection, and what is to be done with it.
#[derive(Debug)]
pub struct Admission {
    /// Both ends, and whose view is recorded.
    pub ends: Ends,
    /// Watch or enforce.
    pub door: Door,
    /// Where to connect.
    pub upstream: Upstream,
}

/// How to connect to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upstream {
    /// The server.
    pub server: SocketAddr,
    /// The client, whose address the server is to see; `None` for processes of this host that came
    /// through the socket hooks.
    pub client: Option<SocketAddr>,
    /// The server is inside the cluster: its packets are not to be translated.
    pub is_inside: bool,
}

impl Upstream {
    /// Mark of the packets towards the server.
    fn mark(&self, marks: &Marks) -> u32 {
        if self.is_inside {
            marks.upstream_local
        } else {
            marks.upstream
        }
    }
}

/// Answers what the proxy must know about a connection.
pub trait Directory: Send + Sync {
    /// Who is there, and which door. `original` is the accepted socket's own address: where the
    /// client wanted to go. `None` closes the connection: nobody redirected it.
    fn admit(
        &self,
        transport: Transport,
        client: SocketAddr,
        original: SocketAddr,
    ) -> Option<Admission>;

    /// Of a connection that another process had accepted: who is there now, and which door. One that was
    /// judged there is judged here.
    fn readmit(
        &self,
        client: SocketAddr,
        server: SocketAddr,
        was_judged: bool,
    ) -> Option<Admission>;

    /// The kernel's number of the connection between these two, 0 where it has none. Asked once, when
    /// the connection is accepted.
    fn number(&self, _client: SocketAddr, _server: SocketAddr) -> u64 {
        0
    }

    /// Takes the addresses that DNS gave a name of which `client` was told, in lower case with its
    /// last dot, with their times to live in seconds.
    fn learn(
        &self,
        client: &Party,
        name: &str,
        answers: &mut dyn Iterator<Item = (IpAddr, u32)>,
    ) -> Learnt;

    /// Who tells what policies that are only audited would have denied of what has gone on.
    fn auditor(&self) -> Option<Box<dyn Verdicts>> {
        None
    }

    /// Tells of each policy change.
    fn changes(&self) -> signal::Receiver<u64>;
}

/// What is to be done before an answer goes on.
#[derive(Debug)]
pub enum Learnt {
    /// Nothing: policies know its addresses, or do not speak of its name.
    Known,
    /// Wait, but not for long: policies are about to learn that they are allowed.
    Pending(oneshot::Receiver<()>),
}

/// Why the proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A listener cannot be made.
    #[error("the proxy's listener on {address}: {cause}; transparent sockets need CAP_NET_ADMIN")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// A socket for datagrams cannot be made.
    #[error(
        "the proxy's socket for datagrams at {address}: {cause}; raw and transparent sockets need CAP_NET_RAW and CAP_NET_ADMIN"
    )]
    Datagrams {
        /// Where.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("proxy worker: {0}")]
    Worker(std::io::Error),
}

impl Error {
    fn is_for_want_of_rights(&self) -> bool {
        match self {
            Self::Datagrams { cause, .. } => cause.kind() == std::io::ErrorKind::PermissionDenied,
            Self::Listen { .. } | Self::Worker(_) => false,
        }
    }
}

/// Counters of the proxy, summed over workers.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections taken over from another process.
    pub adopted: AtomicU64,
    /// Those of them that go on unread, since their state could not be.
    pub demoted: AtomicU64,
    /// Connections that could not be given to another process, and were cut.
    pub cut_by_handover: AtomicU64,
    /// Connections whose task has panicked: a fault of the proxy's own, which ended nothing else.
    pub panicked: AtomicU64,
    /// Connections open now.
    pub active: AtomicU64,
    /// Connections closed because nobody had redirected them.
    pub strays: AtomicU64,
    /// Datagrams that came, those that the kernel had no room for among them.
    pub datagrams_seen: AtomicU64,
    /// Datagrams passed on, or answered.
    pub datagrams: AtomicU64,
    /// Datagrams that nobody had redirected, or that are not worth an answer.
    pub datagrams_left: AtomicU64,
    /// Datagrams lost here: the kernel had no room for them, or would not send them.
    pub datagrams_lost: AtomicU64,
    /// Requests refused, for whatever reason.
    pub refused: AtomicU64,
    /// Servers that could not be reached.
    pub upstream_failures: AtomicU64,
}

/// What the workers are to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Give everything to another process.
    Leaving,
    /// Let connections end.
    Ending,
}

/// The running proxy.
#[derive(Debug)]
pub struct Proxy {
    listeners: Vec<(Family, RawFd)>,
    datagrams: Vec<[Option<DatagramSockets>; 2]>,
    port: u16,
    stats: Arc<Stats>,
    phase: signal::Sender<Phase>,
    /// Where workers give up what they have.
    estate: Arc<Mutex<std::sync::mpsc::Receiver<Belongings>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
    pulses: Vec<Arc<pulse::Pulse>>,
    limitation: Option<String>,
}

impl Proxy {
    /// The listeners that the portal hands connections to, one per family; the kernel spreads
    /// connections over the workers behind them.
    pub fn listener(&self, family: Family) -> Option<impl AsRawFd + use<>> {
        self.listeners
            .iter()
            .find(|(of, _)| *of == family)
            .map(|(_, fd)| *fd)
    }

    /// The sockets that redirected datagrams are handed to: of each worker those for IPv4, and for IPv6
    /// where there is any.
    pub fn datagrams(&self) -> &[[Option<DatagramSockets>; 2]] {
        &self.datagrams
    }

    /// What does not work for want of rights.
    pub fn limitation(&self) -> Option<&String> {
        self.limitation.as_ref()
    }

    /// Port of the listeners on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Counters.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// For how long the worker that has moved least has not moved.
    pub fn still_for(&self) -> Duration {
        let now = Monotonic::recent();
        let all = self.pulses.iter().map(|pulse| pulse.still_for(now));
        all.max().unwrap_or_default()
    }

    /// Lets connections end, no longer than [`Settings::drain`], and waits for the workers.
    pub fn stop(self) {
        self.phase.send_if_modified(|phase| {
            let is_running = *phase == Phase::Running;
            if is_running {
                *phase = Phase::Ending;
            }
            is_running
        });
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a proxy worker had panicked");
            }
        }
    }

    /// Begins to give everything up: no connection is accepted any more, and those that are open are
    /// frozen where they are. What cannot be given up within a moment goes on here until [`Proxy::stop`]
    /// has waited for it.
    pub fn leave(&self) -> Leaving {
        self.phase.send_replace(Phase::Leaving);
        Leaving {
            estate: Arc::clone(&self.estate),
            workers: self.threads.len(),
        }
    }
}

/// What workers are about to give up.
#[derive(Debug)]
pub struct Leaving {
    estate: Arc<Mutex<std::sync::mpsc::Receiver<Belongings>>>,
    workers: usize,
}

impl Leaving {
    /// Waits for it, less than a second where workers move.
    pub fn wait(self) -> Belongings {
        /// Workers give up after less.
        const PATIENCE: Duration = Duration::from_secs(2);
        let estate = self.estate.lock();
        let mut all = Belongings::default();
        for _worker in 0..self.workers {
            match estate.recv_timeout(PATIENCE) {
                Ok(belongings) => all.append(belongings),
                Err(error) => tracing::error!(%error, "a proxy worker gives nothing up"),
            }
        }
        all
    }
}

/// Starts the workers, with what another process gave up where there is any.
///
/// # Errors
/// When listeners or threads cannot be made.
pub fn start(
    settings: &Settings,
    directory: &Arc<dyn Directory>,
    sink: &Arc<dyn Sink>,
    belongings: Belongings,
) -> Result<Proxy, Error> {
    let stats = Arc::clone(&settings.stats);
    let crowd = Arc::new(crowd::Crowd::new(settings.connections_per_endpoint));
    let (phase, phases) = signal::channel(Phase::Running);
    let (heir, estate) = std::sync::mpsc::sync_channel(settings.workers.max(1));
    let shares = share::out(belongings, settings)?;
    let mut threads = Vec::new();
    let mut pulses = Vec::new();
    for (number, belongings) in shares.workers.into_iter().enumerate() {
        let pulse = Arc::new(pulse::Pulse::new());
        pulses.push(Arc::clone(&pulse));
        let worker = WorkerSeed {
            settings: settings.clone(),
            directory: Arc::clone(directory),
            sink: Arc::clone(sink),
            stats: Arc::clone(&stats),
            crowd: Arc::clone(&crowd),
            phase: phases.clone(),
            belongings,
            pulse: Arc::clone(&pulse),
            heir: heir.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("l7d-proxy-{number}"))
            .spawn(move || worker.run())
            .map_err(Error::Worker)?;
        threads.push(thread);
    }
    Ok(Proxy {
        listeners: shares.listeners,
        datagrams: shares.datagrams,
        port: shares.port,
        stats,
        phase,
        estate: Arc::new(Mutex::new(estate)),
        threads,
        pulses,
        limitation: shares.limitation,
    })
}
