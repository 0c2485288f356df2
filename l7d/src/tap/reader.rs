//! The thread that reads the tap's ring.
//!
//! While bytes come it looks every [`PAUSE_NS`], so that nobody pays for waking it, and what came
//! meanwhile is read at once. When nothing came for a while it tells the kernel to wake it, looks once
//! more behind a pause (a program that had not read that yet has ended by then), and waits.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Measures, Order, Settings, Stats, Tap};
use crate::clock::Monotonic;
use crate::datapath::{TapRing, decode};
use crate::identity::Identities;
use crate::nat::Clients;
use crate::record::{Ledger, Place, Sink};
use crate::session::Recorder;

/// How long records gather before they are read.
const PAUSE_NS: u64 = 2_000_000;
/// So many looks at an empty ring, and the reader goes to sleep.
const EMPTY_LOOKS: u32 = 25;
/// How often quiet connections and the clock are looked at.
const HOUSEKEEPING_NS: u64 = 1_000_000_000;
/// Records read before anything else gets its turn.
const BATCH: usize = 256;

/// The running reader.
#[derive(Debug)]
pub struct Handle {
    stop: UnixStream,
    stats: Arc<Stats>,
    measures: Arc<Measures>,
    thread: std::thread::JoinHandle<()>,
}

impl Handle {
    /// Counters.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.stats
    }

    /// Where it looks for what the kernel measures of connections.
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    /// Ends it: connections that are open end with it.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the tap's reader had panicked");
        }
    }
}

/// Starts the reader.
///
/// # Errors
/// When there is no thread for it.
pub fn start(
    ring: TapRing,
    settings: Settings,
    sink: Arc<dyn Sink>,
    identities: Identities,
    ledger: Arc<Ledger>,
) -> std::io::Result<Handle> {
    let (stop, stopped) = UnixStream::pair()?;
    let stats = Arc::new(Stats::default());
    let counted = Arc::clone(&stats);
    let measures = Arc::clone(&settings.measures);
    let thread = std::thread::Builder::new()
        .name("l7d-tap".to_owned())
        .spawn(move || {
            let recorder = Recorder::tapping(sink, settings.redaction.clone())
                .with_names(Arc::clone(&settings.names))
                .with_translations(Arc::clone(&settings.translations), Clients::Named);
            let tap = Tap::new(settings, Rc::new(recorder), identities, counted);
            let reader = Reader {
                ring,
                tap,
                ledger,
                stopped,
                empty_looks: 0,
                is_asleep: false,
                swept: Monotonic::now(),
            };
            reader.run();
        })?;
    Ok(Handle {
        stop,
        stats,
        measures,
        thread,
    })
}

struct Reader {
    ring: TapRing,
    tap: Tap,
    ledger: Arc<Ledger>,
    /// Readable when the other end is gone.
    stopped: UnixStream,
    /// Looks in a row that found nothing.
    empty_looks: u32,
    is_asleep: bool,
    swept: Monotonic,
}

impl Reader {
    fn run(mut self) {
        let mut is_stopped = false;
        while !is_stopped {
            let count = self.read();
            self.keep_house();
            is_stopped = if count == BATCH {
                // Who wants this core does not wait for a flood of segments.
                std::thread::yield_now();
                is_ready(&[&self.stopped], 0)
            } else {
                self.wait(count == 0)
            };
        }
        self.tap.finish();
    }

    /// Reads what is there.
    fn read(&mut self) -> usize {
        let Self {
            ring, tap, ledger, ..
        } = self;
        let mut orders = Vec::new();
        let count = ring.drain(BATCH, |bytes| {
            ledger.deliver(Place::TapRing, 1);
            let read = decode::counted(ledger, decode::decode_segment(bytes));
            orders.extend(read.and_then(|(segment, payload)| tap.handle(&segment, payload)));
        });
        for order in orders {
            match order {
                Order::StopCopying(connection) => ring.stop_copying(connection),
                Order::Forget(connection) => ring.forget(connection),
            }
        }
        count
    }

    fn keep_house(&mut self) {
        let now = Monotonic::now();
        if now.nanos_since(self.swept) >= HOUSEKEEPING_NS {
            self.swept = now;
            self.tap.sweep(now);
        }
    }

    /// Waits until it is time to look again. Whether the reader is to end.
    fn wait(&mut self, was_empty: bool) -> bool {
        self.empty_looks = if was_empty { self.empty_looks + 1 } else { 0 };
        let is_tired = self.empty_looks >= EMPTY_LOOKS;
        if is_tired == self.is_asleep && is_tired {
            return is_ready(&[&self.stopped, &self.ring], HOUSEKEEPING_NS);
        }
        if is_tired != self.is_asleep {
            self.is_asleep = is_tired;
            self.ring.set_asleep(is_tired);
        }
        is_ready(&[&self.stopped], PAUSE_NS)
    }
}

/// Waits until one of these is readable, not longer than so long. Whether the first one is.
fn is_ready(watched: &[&dyn AsFd], most_ns: u64) -> bool {
    let mut fds: Vec<PollFd<'_>> = watched
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN))
        .collect();
    let most = Timespec {
        tv_sec: i64::try_from(most_ns / 1_000_000_000).unwrap_or_default(),
        tv_nsec: i64::try_from(most_ns % 1_000_000_000).unwrap_or_default(),
    };
    // A signal ends the wait early, which is as good as its end.
    let _count = poll(&mut fds, Some(&most));
    fds.first().is_some_and(|first| !first.revents().is_empty())
}
