//! One worker: a thread, its runtime, and the connections that it has accepted.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch as signal};

use super::handover::Belongings;
use super::pulse::Pulse;
use super::turns::Turns;
use super::{Directory, Phase, Settings, Stats, crowd, dns, forward};
use crate::nat::Clients;
use crate::record::Sink;
use crate::session::Recorder;

/// What is ready in the kernel is asked for so much at once.
const EVENTS: usize = 4096;
/// So many connections are taken before others have their turn: some 50 µs.
const IN_A_ROW: u32 = 4;

/// What a worker thread is made of.
pub(super) struct WorkerSeed {
    pub(super) settings: Settings,
    pub(super) directory: Arc<dyn Directory>,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) stats: Arc<Stats>,
    pub(super) crowd: Arc<crowd::Crowd>,
    pub(super) phase: signal::Receiver<Phase>,
    /// What another process gave up.
    pub(super) belongings: Belongings,
    /// Shows that the thread moves.
    pub(super) pulse: Arc<Pulse>,
    /// Where to give up everything.
    pub(super) heir: std::sync::mpsc::SyncSender<Belongings>,
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
    pub(super) turns: Turns,
    pub(super) pool: forward::Pool,
    pub(super) phase: signal::Receiver<Phase>,
    /// Told when everything is to go on in another process.
    leaving: Notify,
    /// What has been given up so far.
    pub(super) given_up: RefCell<Belongings>,
    /// Connections, from the moment that they are taken.
    pub(super) open: Cell<usize>,
    /// Tasks that take connections or datagrams.
    takers: Cell<usize>,
    /// Told when the last connection has ended.
    pub(super) emptied: Notify,
}

impl WorkerSeed {
    /// Runs until the proxy is stopped, or another process has everything.
    pub(super) fn run(self) {
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Who is alone must not wait for a flood to be read out of the kernel first.
            .max_io_events_per_tick(EVENTS)
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "a proxy worker cannot start");
                return;
            }
        };
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
            turns: Turns::default(),
            phase: self.phase,
            leaving: Notify::new(),
            given_up: RefCell::default(),
            open: Cell::new(0),
            takers: Cell::new(0),
            emptied: Notify::new(),
        });
        let (belongings, heir, pulse) = (self.belongings, self.heir, self.pulse);
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async move {
            worker.begin(belongings);
            tokio::task::spawn_local(Rc::clone(&worker).beat(pulse));
            tokio::task::spawn_local(Rc::clone(&worker).keep_calling());
            worker.run(&heir).await;
        });
    }
}

async fn accept(worker: Rc<Worker>, listener: TcpListener) {
    let mut in_a_row = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            () = worker.told_to_leave() => break,
        };
        match accepted {
            Ok((stream, client)) => {
                worker.stats.accepted.fetch_add(1, Ordering::Relaxed);
                let stay = worker.enter();
                tokio::task::spawn_local(Rc::clone(&worker).serve(stream, client, stay));
                in_a_row += 1;
                if in_a_row == IN_A_ROW {
                    in_a_row = 0;
                    tokio::task::yield_now().await;
                }
            }
            Err(error) => {
                // Out of descriptors or memory: whoever is connected goes on; give it time.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    match listener.into_std() {
        Ok(listener) => worker.given_up.borrow_mut().listeners.push(listener),
        Err(error) => tracing::error!(%error, "a listener cannot be given up"),
    }
    worker.end_taking();
}

/// A connection that a worker has; dropped however its task ends, also by a panic, which ends nothing
/// else.
pub(super) struct Stay(Rc<Worker>);

impl Drop for Stay {
    fn drop(&mut self) {
        let Self(worker) = self;
        if std::thread::panicking() {
            worker.stats.panicked.fetch_add(1, Ordering::Relaxed);
        }
        worker.stats.active.fetch_sub(1, Ordering::Relaxed);
        worker.open.set(worker.open.get() - 1);
        if worker.open.get() == 0 {
            worker.emptied.notify_one();
        }
    }
}

impl Worker {
    /// Takes up what another process gave up, and listens.
    fn begin(self: &Rc<Self>, belongings: Belongings) {
        let Belongings {
            listeners,
            datagrams,
            connections,
        } = belongings;
        for moved in connections {
            let stay = self.enter();
            tokio::task::spawn_local(Rc::clone(self).adopt(moved, stay));
        }
        for listener in listeners {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    self.begin_taking();
                    tokio::task::spawn_local(accept(Rc::clone(self), listener));
                }
                Err(error) => tracing::error!(%error, "a listener cannot be used"),
            }
        }
        for datagrams in datagrams {
            if let Err(error) = dns::serve(self, datagrams) {
                tracing::error!(%error, "datagrams cannot be taken");
            }
        }
    }

    /// Says now and then that this thread moves, until it ends.
    async fn beat(self: Rc<Self>, pulse: Arc<Pulse>) {
        let mut ticks = tokio::time::interval(Pulse::PERIOD);
        loop {
            ticks.tick().await;
            pulse.beat();
        }
    }

    async fn keep_calling(self: Rc<Self>) {
        self.turns.keep_calling().await;
    }

    async fn run(&self, heir: &std::sync::mpsc::SyncSender<Belongings>) {
        let mut phase = self.phase.clone();
        let changed = phase.wait_for(|phase| *phase != Phase::Running).await;
        // An error means that the proxy was dropped: there is nobody who waits.
        let Ok(now) = changed.map(|phase| *phase) else {
            return tracing::debug!("stopping");
        };
        if now == Phase::Leaving {
            self.leave(heir).await;
        }
        self.drain().await;
    }

    /// Gives everything up that can be given up within a moment.
    async fn leave(&self, heir: &std::sync::mpsc::SyncSender<Belongings>) {
        /// What takes longer ends here.
        const PATIENCE: Duration = Duration::from_millis(300);
        self.leaving.notify_waiters();
        self.turns.open();
        let all_left = async {
            while self.open.get() + self.takers.get() > 0 {
                self.emptied.notified().await;
            }
        };
        if tokio::time::timeout(PATIENCE, all_left).await.is_err() {
            tracing::debug!(connections = self.open.get(), "stay to their end");
        }
        if heir.send(self.given_up.take()).is_err() {
            tracing::error!("nobody takes what the proxy gives up");
        }
    }

    /// Returns when everything is to go on in another process, maybe never.
    pub(super) async fn told_to_leave(&self) {
        let told = self.leaving.notified();
        if *self.phase.borrow() != Phase::Leaving {
            told.await;
        }
    }

    /// The same, for who waits for a server. It is left a moment to answer: who comes back to it later
    /// would be another client to it.
    pub(super) async fn told_to_leave_unconnected(&self) {
        const PATIENCE: Duration = Duration::from_millis(150);
        self.told_to_leave().await;
        tokio::time::sleep(PATIENCE).await;
    }

    /// The same, for who cannot leave while it is busy.
    pub(super) async fn told_to_leave_unless(&self, is_busy: &Cell<bool>) {
        self.told_to_leave().await;
        if is_busy.get() {
            std::future::pending::<()>().await;
        }
    }

    /// Somebody begins to take connections or datagrams, who has to give up what they come from.
    pub(super) fn begin_taking(&self) {
        self.takers.set(self.takers.get() + 1);
    }

    /// They have given it up.
    pub(super) fn end_taking(&self) {
        self.takers.set(self.takers.get() - 1);
        if self.takers.get() == 0 {
            self.emptied.notify_one();
        }
    }

    /// A connection is there. Counted before its task begins: it may be told to leave before that.
    fn enter(self: &Rc<Self>) -> Stay {
        self.stats.active.fetch_add(1, Ordering::Relaxed);
        self.open.set(self.open.get() + 1);
        Stay(Rc::clone(self))
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

    /// Whether connections are to end.
    pub(super) fn is_ending(&self) -> bool {
        *self.phase.borrow() == Phase::Ending
    }

    /// Returns when connections are to end, maybe never. One that begins while others end is not
    /// sent away, since it would only come back.
    pub(super) async fn told_to_end(&self) {
        let mut phase = self.phase.clone();
        let told = phase.wait_for(|phase| *phase == Phase::Ending).await;
        if told.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
