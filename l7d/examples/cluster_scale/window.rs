//! How long after a change at the API server packets are judged by it: datagrams are sent all the time, and
//! the first that meets another fate tells.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use l7d::clock::Monotonic;
use testbed::Host;

/// Between two datagrams: how exact a figure is.
const SPACING: Duration = Duration::from_micros(200);
/// So many that did not come were not lost by chance.
const UNHEARD: u64 = 100;
const PATIENCE_NS: u64 = 20_000_000_000;

/// A pause that waits for nothing but time.
pub(super) fn pause(time: Duration) {
    let (_never, wait) = std::sync::mpsc::sync_channel::<()>(1);
    let _elapsed = wait.recv_timeout(time);
}

/// Datagrams from one host to another, as a connection of their own.
pub(super) struct Stream {
    state: Arc<State>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    is_over: AtomicBool,
    /// Datagrams that were sent.
    sent: AtomicU64,
    /// The last one that came, and when it was sent.
    heard: AtomicU64,
    heard_at: AtomicU64,
    /// When the first one that came was sent.
    first_at: AtomicU64,
}

impl State {
    fn hear(&self, datagram: [u8; 16]) {
        let [number, at] = [0, 8].map(|from| {
            let bytes = datagram[from..from + 8].try_into();
            bytes.map_or(0, u64::from_le_bytes)
        });
        let first = &self.first_at;
        let _later = first.compare_exchange(0, at, Ordering::Relaxed, Ordering::Relaxed);
        self.heard_at.store(at, Ordering::Relaxed);
        self.heard.store(number, Ordering::Relaxed);
    }
}

impl Stream {
    pub(super) fn start(from: &Host, to: &Host, address: &str) -> anyhow::Result<Self> {
        let receiver = to.inside(|| Ok(UdpSocket::bind((address, 0))?))?;
        receiver.set_read_timeout(Some(Duration::from_millis(20)))?;
        let sender = from.inside(|| Ok(UdpSocket::bind(("0.0.0.0", 0))?))?;
        sender.connect(receiver.local_addr()?)?;
        let state = Arc::new(State::default());
        let (sending, hearing) = (Arc::clone(&state), Arc::clone(&state));
        let send = move || {
            while !sending.is_over.load(Ordering::Relaxed) {
                let number = sending.sent.fetch_add(1, Ordering::Relaxed) + 1;
                let mut datagram = [0; 16];
                datagram[..8].copy_from_slice(&number.to_le_bytes());
                datagram[8..].copy_from_slice(&Monotonic::now().0.to_le_bytes());
                // What is refused is not heard, and counts so.
                let _refused = sender.send(&datagram);
                pause(SPACING);
            }
        };
        let hear = move || {
            let mut datagram = [0; 16];
            while !hearing.is_over.load(Ordering::Relaxed) {
                if receiver.recv(&mut datagram).is_ok() {
                    hearing.hear(datagram);
                }
            }
        };
        Ok(Self {
            state,
            threads: vec![std::thread::spawn(send), std::thread::spawn(hear)],
        })
    }

    fn until(&self, is_so: impl Fn(&State) -> bool, what: &str) -> anyhow::Result<()> {
        let began = Monotonic::now();
        while !is_so(&self.state) {
            let waited = Monotonic::now().nanos_since(began);
            ensure!(waited < PATIENCE_NS, "after 20 s datagrams are not {what}");
            pause(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Waits until one comes; when it was sent.
    pub(super) fn until_heard(&self) -> anyhow::Result<Monotonic> {
        self.until(|state| state.heard.load(Ordering::Relaxed) > 0, "heard")?;
        Ok(Monotonic(self.state.first_at.load(Ordering::Relaxed)))
    }

    /// Waits until none comes any more; when the last one that came was sent.
    pub(super) fn until_unheard(&self) -> anyhow::Result<Monotonic> {
        let is_unheard = |state: &State| {
            let heard = state.heard.load(Ordering::Relaxed);
            state.sent.load(Ordering::Relaxed) >= heard + UNHEARD
        };
        self.until(is_unheard, "unheard")?;
        Ok(Monotonic(self.state.heard_at.load(Ordering::Relaxed)))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

/// Median, 99th percentile and most, in nanoseconds.
pub(super) fn shares(mut times: Vec<u64>) -> anyhow::Result<serde_json::Value> {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() - 1) * share / 1000).copied();
    let most = times.last().context("a time")?;
    Ok(serde_json::json!({
        "times": times.len(), "p50_ns": at(500), "p99_ns": at(990), "max_ns": most,
    }))
}
