//! The transparent proxy: where a connection lives.
//!
//! Each worker is one thread with one current-thread runtime and its own listeners; the kernel
//! spreads connections over them, and a connection never changes worker. An accepted connection
//! takes one of two doors: `watch`, which looks and cannot refuse, or `enforce`, which judges
//! every request before its bytes go on.

mod crowd;
mod enforce;
mod forward;
mod listener;
mod refuse;
mod splice;
mod transparent;
mod upstream;
mod watch;

use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parsers::Limits;
use parsers::http1::Reading;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch as signal};

pub use listener::Family;

use crate::config::Marks;
use crate::policy::Door;
use crate::record::{Outcome, Sink};
use crate::session::{Ends, Recorder, Redaction, Session};

/// What the proxy is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Threads.
    pub workers: usize,
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
    /// What is hidden before anything is recorded.
    pub redaction: Redaction,
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

/// Answers what the proxy must know about a connection.
pub trait Directory: Send + Sync {
    /// Who is there, and which door. `original` is the accepted socket's own address: where the
    /// client wanted to go. `None` closes the connection: nobody redirected it.
    fn admit(&self, client: SocketAddr, original: SocketAddr) -> Option<Admission>;

    /// Tells of each policy change.
    fn changes(&self) -> signal::Receiver<u64>;
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
    /// A thread cannot be started.
    #[error("proxy worker: {0}")]
    Worker(std::io::Error),
}

/// Counters of the proxy, summed over workers.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections open now.
    pub active: AtomicU64,
    /// Connections closed because nobody had redirected them.
    pub strays: AtomicU64,
    /// Requests refused, for whatever reason.
    pub refused: AtomicU64,
    /// Servers that could not be reached.
    pub upstream_failures: AtomicU64,
}

/// The running proxy.
#[derive(Debug)]
pub struct Proxy {
    listeners: Vec<(Family, RawFd)>,
    port: u16,
    stats: Arc<Stats>,
    stop: signal::Sender<bool>,
    threads: Vec<std::thread::JoinHandle<()>>,
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

    /// Port of the listeners on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Counters.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Lets connections end, no longer than [`Settings::drain`], and waits for the workers.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a proxy worker had panicked");
            }
        }
    }
}

/// Starts the workers.
///
/// # Errors
/// When listeners or threads cannot be made.
pub fn start(
    settings: &Settings,
    directory: &Arc<dyn Directory>,
    sink: &Arc<dyn Sink>,
) -> Result<Proxy, Error> {
    let stats = Arc::new(Stats::default());
    let crowd = Arc::new(crowd::Crowd::new(settings.connections_per_endpoint));
    let (stop, stopped) = signal::channel(false);
    let mut port = 0;
    let mut listeners = Vec::new();
    let mut threads = Vec::new();
    for number in 0..settings.workers.max(1) {
        let pair = listener::bind_both(port, settings.marks.reply)?;
        port = pair.port;
        if number == 0 {
            listeners = vec![(Family::V4, pair.v4.as_raw_fd())];
            let v6 = pair.v6.as_ref().map(AsRawFd::as_raw_fd);
            listeners.extend(v6.map(|v6| (Family::V6, v6)));
        }
        let worker = WorkerSeed {
            settings: settings.clone(),
            directory: Arc::clone(directory),
            sink: Arc::clone(sink),
            stats: Arc::clone(&stats),
            crowd: Arc::clone(&crowd),
            stopped: stopped.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("l7d-proxy-{number}"))
            .spawn(move || worker.run([Some(pair.v4), pair.v6].into_iter().flatten().collect()))
            .map_err(Error::Worker)?;
        threads.push(thread);
    }
    Ok(Proxy {
        listeners,
        port,
        stats,
        stop,
        threads,
    })
}

/// What a worker thread is made of.
struct WorkerSeed {
    settings: Settings,
    directory: Arc<dyn Directory>,
    sink: Arc<dyn Sink>,
    stats: Arc<Stats>,
    crowd: Arc<crowd::Crowd>,
    stopped: signal::Receiver<bool>,
}

/// What the connections of a worker share.
struct Worker {
    settings: Settings,
    directory: Arc<dyn Directory>,
    stats: Arc<Stats>,
    recorder: Rc<Recorder>,
    crowd: Arc<crowd::Crowd>,
    pool: forward::Pool,
    /// Told when connections are to end.
    stopped: signal::Receiver<bool>,
    open: Cell<usize>,
    /// Told when the last connection has ended.
    emptied: Notify,
}

impl WorkerSeed {
    fn run(self, listeners: Vec<std::net::TcpListener>) {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "a proxy worker cannot start");
                return;
            }
        };
        let mut stopped = self.stopped;
        let worker = Rc::new(Worker {
            pool: forward::Pool::new(self.settings.limits.head_bytes),
            recorder: Rc::new(Recorder::new(self.sink, self.settings.redaction.clone())),
            settings: self.settings,
            directory: self.directory,
            stats: self.stats,
            crowd: self.crowd,
            stopped: stopped.clone(),
            open: Cell::new(0),
            emptied: Notify::new(),
        });
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async move {
            for listener in listeners {
                match TcpListener::from_std(listener) {
                    Ok(listener) => {
                        tokio::task::spawn_local(accept(Rc::clone(&worker), listener));
                    }
                    Err(error) => tracing::error!(%error, "a listener cannot be used"),
                }
            }
            // An error means that the proxy was dropped: there is nobody who waits.
            match stopped.wait_for(|stop| *stop).await {
                Ok(_) => worker.drain().await,
                Err(error) => tracing::debug!(%error, "stopping"),
            }
        });
    }
}

async fn accept(worker: Rc<Worker>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                worker.stats.accepted.fetch_add(1, Ordering::Relaxed);
                tokio::task::spawn_local(Rc::clone(&worker).serve(stream, client));
            }
            Err(error) => {
                // Out of descriptors or memory: whoever is connected goes on; give it time.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Worker {
    async fn serve(self: Rc<Self>, mut client: TcpStream, from: SocketAddr) {
        self.stats.active.fetch_add(1, Ordering::Relaxed);
        self.open.set(self.open.get() + 1);
        let admission = client
            .local_addr()
            .ok()
            .and_then(|original| self.directory.admit(from, original));
        match admission {
            Some(admission) => self.relay(&mut client, admission).await,
            None => {
                self.stats.strays.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.stats.active.fetch_sub(1, Ordering::Relaxed);
        self.open.set(self.open.get() - 1);
        if self.open.get() == 0 {
            self.emptied.notify_one();
        }
    }

    /// Waits until the last connection has ended, or they have had their time. New ones are taken
    /// meanwhile: nobody else would.
    async fn drain(&self) {
        let all_ended = async {
            while self.open.get() > 0 {
                self.emptied.notified().await;
            }
        };
        if tokio::time::timeout(self.settings.drain, all_ended)
            .await
            .is_err()
        {
            tracing::debug!(connections = self.open.get(), "cut by the stop");
        }
    }

    async fn relay(&self, client: &mut TcpStream, admission: Admission) {
        let Admission {
            ends,
            door,
            upstream,
        } = admission;
        let place = match door {
            Door::Watch => None,
            Door::Enforce(_) => match self.crowd.enter(ends.judged()) {
                Some(place) => Some(place),
                None => return self.turn_away(client, ends),
            },
        };
        let reading = match door {
            Door::Watch => Reading::Lenient,
            Door::Enforce(_) => Reading::Strict,
        };
        // What is needed for a moment only is boxed, and what differs by door: an idle connection
        // has room for no more than its own door.
        let connected = Box::pin(upstream::connect(&upstream, &self.settings.marks)).await;
        let recorder = Rc::clone(&self.recorder);
        let mut session = Session::new(recorder, ends, self.settings.limits, reading);
        let mut server = match connected {
            Ok(server) => server,
            Err(error) => {
                tracing::debug!(%error, server = %upstream.server, "the server is not reached");
                self.stats.upstream_failures.fetch_add(1, Ordering::Relaxed);
                session.finish(Outcome::UpstreamRefused);
                forward::reset(client);
                return;
            }
        };
        forward::no_delay(client);
        forward::no_delay(&server);
        // Blocks that capture, since the arguments of an async function take their room twice.
        match door {
            Door::Watch => {
                let watch = async move {
                    let end = self
                        .watch_until_enforced(client, &mut server, &mut session, &upstream)
                        .await;
                    forward::finish(end, client, &server, &mut session);
                };
                Box::pin(watch).await;
            }
            Door::Enforce(judge) => {
                let relay = enforce::Relay::new(self, judge, session);
                let enforce = async move { relay.run(client, &mut server).await };
                Box::pin(enforce).await;
            }
        }
        drop(place);
    }

    /// An endpoint with too many connections: the new one is reset, and a record says why.
    fn turn_away(&self, client: &TcpStream, ends: Ends) {
        self.stats.refused.fetch_add(1, Ordering::Relaxed);
        let recorder = Rc::clone(&self.recorder);
        let mut session = Session::new(recorder, ends, self.settings.limits, Reading::Strict);
        session.give_up("too many connections");
        session.finish(Outcome::Limit);
        forward::reset(client);
    }

    /// Watches, unless the policy changes so that the connection must be judged: then it is cut,
    /// and the client's next one is.
    async fn watch_until_enforced(
        &self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        session: &mut Session,
        upstream: &Upstream,
    ) -> Result<(), forward::Broken> {
        let mut changes = self.directory.changes();
        let from = client.peer_addr();
        let to_be_judged = async {
            while changes.changed().await.is_ok() {
                let Ok(from) = from else { continue };
                let admission = self.directory.admit(from, upstream.server);
                if admission.is_some_and(|admission| matches!(admission.door, Door::Enforce(_))) {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            end = watch::relay(client, server, session, &self.pool) => end,
            () = to_be_judged => Err(forward::Broken::Policy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of a future, which is never made.
    fn size_of_future<A, F: Future>(_make: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_is_small() {
        let watch = size_of_future(|(worker, client, server, session, upstream)| {
            Worker::watch_until_enforced(worker, client, server, session, upstream)
        });
        let enforce =
            size_of_future(|(relay, client, server)| enforce::Relay::run(relay, client, server));
        let serve = size_of_future(|(worker, client, from)| Worker::serve(worker, client, from));
        let relay = size_of::<enforce::Relay<'_>>();
        let session = size_of::<Session>();
        assert!(
            watch <= 1280 && enforce <= 2048 && serve <= 1024 && relay <= 640 && session <= 528,
            "watch {watch} enforce {enforce} serve {serve} relay {relay} session {session}"
        );
    }
}
