//! The proxy of a test, or one proxy after another.
//!
//! With `L7D_TEST_HANDOVER_MS` in the environment everything is handed to another proxy so often, in
//! every test: what holds for a proxy holds for one that is replaced all the time.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use l7d::proxy::{self, Belongings, Directory, Link, Proxy, Settings, Stats};
use l7d::record::Sink;

/// What proxies of a test are made of, and the one that is there now.
pub(crate) struct Running(Option<Arc<Inner>>, Option<JoinHandle<()>>);

struct Inner {
    settings: Settings,
    directory: Arc<dyn Directory>,
    sink: Arc<dyn Sink>,
    now: Mutex<Option<Proxy>>,
    /// Those before, which may still have something to do.
    former: Mutex<Vec<JoinHandle<()>>>,
    is_over: AtomicBool,
}

impl Running {
    pub(crate) fn start(
        settings: Settings,
        directory: Arc<dyn Directory>,
        sink: Arc<dyn Sink>,
    ) -> Self {
        let period = std::env::var("L7D_TEST_HANDOVER_MS").ok();
        let period: Option<u64> = period.map(|text| text.parse().unwrap());
        let settings = match period {
            Some(_) => Settings {
                drain: settings.drain.max(Duration::from_secs(2)),
                ..settings
            },
            None => settings,
        };
        let first = proxy::start(&settings, &directory, &sink, Belongings::default()).unwrap();
        let inner = Arc::new(Inner {
            settings,
            directory,
            sink,
            now: Mutex::new(Some(first)),
            former: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let restless = period.map(|period| {
            let inner = Arc::clone(&inner);
            std::thread::spawn(move || {
                while !inner.is_over.load(Ordering::Relaxed) {
                    inner.hand_over();
                    std::thread::park_timeout(Duration::from_millis(period));
                }
            })
        });
        Self(Some(inner), restless)
    }

    pub(crate) fn take(&mut self) -> Self {
        Self(self.0.take(), self.1.take())
    }

    pub(crate) fn port(&self) -> u16 {
        let inner = self.0.as_ref().unwrap();
        inner.now.lock().unwrap().as_ref().unwrap().port()
    }

    pub(crate) fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.0.as_ref().unwrap().settings.stats)
    }

    pub(crate) fn still_for(&self) -> Duration {
        let inner = self.0.as_ref().unwrap();
        inner.now.lock().unwrap().as_ref().unwrap().still_for()
    }

    pub(crate) fn hand_over(&self) {
        self.0.as_ref().unwrap().hand_over();
    }

    pub(crate) fn stop(mut self) {
        let Some(inner) = self.0.take() else {
            return;
        };
        inner.is_over.store(true, Ordering::Relaxed);
        if let Some(restless) = self.1.take() {
            restless.thread().unpark();
            restless.join().unwrap();
        }
        let last = inner.now.lock().unwrap().take();
        last.unwrap().stop();
        for former in std::mem::take(&mut *inner.former.lock().unwrap()) {
            former.join().unwrap();
        }
    }
}

impl Inner {
    fn hand_over(&self) {
        let mut now = self.now.lock().unwrap();
        let Some(former) = now.take() else {
            return;
        };
        let (one, other) = UnixStream::pair().unwrap();
        let (giving, taking) = (Link::new(one).unwrap(), Link::new(other).unwrap());
        let belongings = former.leave().wait();
        let given = std::thread::scope(|scope| {
            scope.spawn(|| giving.give(&belongings).unwrap());
            let taken = taking.take(drop).unwrap();
            taking.confirm().unwrap();
            taken
        });
        drop(belongings);
        let next = proxy::start(&self.settings, &self.directory, &self.sink, given).unwrap();
        *now = Some(next);
        let ending = std::thread::spawn(move || former.stop());
        self.former.lock().unwrap().push(ending);
    }
}
