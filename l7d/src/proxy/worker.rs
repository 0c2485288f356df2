//! One worker: a thread, its runtime, and the connections that it has accepted.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parsers::http1::Reading;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch as signal};

use super::{
    Admission, Directory, Settings, Stats, Upstream, crowd, dns, enforce, forward, network,
    upstream, watch,
};
use crate::config::Transport;
use crate::nat::Clients;
use crate::policy::{Door, Expected, Judge};
use crate::record::{Outcome, Sink};
use crate::session::{Ends, Recorder, Session};

/// What a worker thread is made of.
pub(super) struct WorkerSeed {
    pub(super) settings: Settings,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) stats: Arc<Stats>,
    pub(super) crowd: Arc<crowd::Crowd>,
    pub(super) stopped: signal::Receiver<bool>,
}

/// What the connections of a worker share.
pub(super) struct Worker {
    pub(super) settings: Settings,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) stats: Arc<Stats>,
    pub(super) recorder: Rc<Recorder>,
    /// Of connections that are only looked at: it may tell what would have been denied.
    pub(super) watcher: Rc<Recorder>,
    pub(super) crowd: Arc<crowd::Crowd>,
    pub(super) pool: forward::Pool,
    /// Told when connections are to end.
    pub(super) stopped: signal::Receiver<bool>,
    pub(super) open: Cell<usize>,
    /// Told when the last connection has ended.
    pub(super) emptied: Notify,
}

impl WorkerSeed {
    /// Runs until the proxy is stopped.
    pub(super) fn run(
        self,
        listeners: Vec<std::net::TcpListener>,
        datagrams: [Option<dns::Sockets>; 2],
    ) {
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
        let recorder = |clients| {
            Recorder::new(Arc::clone(&self.sink), self.settings.redaction.clone())
                .with_names(Arc::clone(&self.settings.names))
                .with_translations(Arc::clone(&self.settings.translations), clients)
        };
        let watcher = match self.directory.auditor() {
            Some(auditor) => recorder(Clients::Named).with_verdicts(auditor),
            None => recorder(Clients::Named),
        };
        let worker = Rc::new(Worker {
            pool: forward::Pool::new(self.settings.limits.head_bytes),
            recorder: Rc::new(recorder(Clients::AsJudged)),
            watcher: Rc::new(watcher),
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
            if let Err(error) = dns::serve(&worker, datagrams) {
                tracing::error!(%error, "datagrams cannot be taken");
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
            .and_then(|original| self.admit(from, original));
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

    /// Who is there, which door, and what the kernel calls it.
    fn admit(&self, from: SocketAddr, original: SocketAddr) -> Option<Admission> {
        let admission = self.directory.admit(Transport::Tcp, from, original)?;
        let number = self.directory.number(from, admission.upstream.server);
        let ends = admission.ends.with_connection(number);
        Some(Admission { ends, ..admission })
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
            mut ends,
            door,
            upstream,
        } = admission;
        let place = match door {
            Door::Watch => None,
            Door::Enforce(_) => match self.crowd.enter(&ends) {
                Ok(place) => Some(place),
                Err(full) => return self.turn_away(client, ends, full),
            },
        };
        let reading = match door {
            Door::Watch => Reading::Lenient,
            Door::Enforce(_) => Reading::Strict,
        };
        // What is needed for a moment only is boxed, and what differs by door: an idle connection
        // has room for no more than its own door.
        let connected = Box::pin(upstream::connect(&upstream, &self.settings.marks)).await;
        let mut server = match connected {
            Ok(server) => server,
            Err(error) => {
                tracing::debug!(%error, server = %upstream.server, "the server is not reached");
                self.stats.upstream_failures.fetch_add(1, Ordering::Relaxed);
                let mut session = self.session(ends, reading);
                if let Some(event) = network::unreached(&error) {
                    session.note_tcp(event);
                }
                session.finish(Outcome::UpstreamRefused);
                forward::reset(client);
                return;
            }
        };
        forward::no_delay(client);
        forward::no_delay(&server);
        ends.set_network(network::ask(client, &server));
        // Blocks that capture, since the arguments of an async function take their room twice.
        match door {
            Door::Watch => {
                let mut session = self.session(ends, reading);
                let watch = async move {
                    let end = self
                        .watch_until_enforced(client, &mut server, &mut session, &upstream)
                        .await;
                    forward::finish(end, client, &server, &mut session);
                };
                Box::pin(watch).await;
            }
            Door::Enforce(judge) => {
                Box::pin(self.enforce(judge, ends, client, &mut server)).await;
            }
        }
        drop(place);
    }

    /// Relays what is judged in the protocol that policy speaks of.
    async fn enforce(
        &self,
        judge: Judge,
        ends: Ends,
        client: &mut TcpStream,
        server: &mut TcpStream,
    ) {
        let is_tls = match judge.expected() {
            Expected::Dns => {
                let relay = enforce::DnsRelay::new(self, judge, ends);
                return Box::pin(async move { relay.run(client, server).await }).await;
            }
            Expected::Http => false,
            Expected::HttpOrTls => enforce::begins_with_tls(client, server).await,
            Expected::Tls => true,
        };
        if is_tls {
            let session = self.session(ends, Reading::Lenient);
            let relay = enforce::TlsRelay::new(self, judge, session);
            Box::pin(relay.run(client, server)).await;
        } else {
            let session = self.session(ends, Reading::Strict);
            let relay = enforce::Relay::new(self, judge, session);
            Box::pin(async move { relay.run(client, server).await }).await;
        }
    }

    /// Returns when connections are to end, maybe never. One that begins while others end is not
    /// sent away, since it would only come back.
    pub(super) async fn told_to_end(&self) {
        let mut stopped = self.stopped.clone();
        if stopped.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn session(&self, ends: Ends, reading: Reading) -> Session {
        let recorder = match reading {
            Reading::Lenient => &self.watcher,
            Reading::Strict => &self.recorder,
        };
        let recorder = Rc::clone(recorder);
        Session::new(recorder, ends, self.settings.limits, reading)
    }

    /// An endpoint with too many connections: the new one is reset, and a record says why.
    fn turn_away(&self, client: &TcpStream, ends: Ends, full: crowd::Full) {
        self.stats.refused.fetch_add(1, Ordering::Relaxed);
        let mut session = self.session(ends, Reading::Strict);
        session.give_up(full.why());
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
                let admission = self.directory.admit(Transport::Tcp, from, upstream.server);
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
