//! The last agent events, for whoever asks. They are few: one lock serves all.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::clients::Client;
use super::reader::Window;
use crate::clock::Timestamp;
use crate::record::{AgentEvent, Tally};

/// Events kept: an agent that starts with thousands of addresses tells each of them.
pub const KEPT: usize = 8192;

/// An event and when it happened.
pub type Told = (Timestamp, Arc<AgentEvent>);

/// The last events.
#[derive(Debug)]
pub struct AgentEvents {
    kept: Mutex<VecDeque<Told>>,
    most: usize,
    /// How many there ever were.
    count: watch::Sender<u64>,
}

impl Default for AgentEvents {
    fn default() -> Self {
        Self::keeping(KEPT)
    }
}

impl AgentEvents {
    /// Keeps so many.
    pub fn keeping(most: usize) -> Self {
        Self {
            kept: Mutex::default(),
            most: most.max(1),
            count: watch::Sender::new(0),
        }
    }

    /// Tells of events that happened at this moment.
    pub fn tell(&self, time: Timestamp, events: impl IntoIterator<Item = AgentEvent>) {
        let mut kept = self.kept.lock();
        let mut told = 0;
        for event in events {
            if kept.len() == self.most {
                kept.pop_front();
            }
            kept.push_back((time, Arc::new(event)));
            told += 1;
        }
        if told > 0 {
            // Within the lock: whoever sees the count finds the events.
            self.count.send_modify(|count| *count += told);
        }
    }

    /// Where a request begins to read.
    pub fn read(self: &Arc<Self>, window: Window, client: Client) -> AgentEventReader {
        let kept = self.kept.lock();
        let end = *self.count.borrow();
        let start = end - kept.len() as u64;
        let before = |time: Timestamp| kept.partition_point(|(at, _)| *at < time) as u64;
        let position = match (window.since, window.first) {
            (Some(since), _) => start + before(since),
            (None, false) if window.number != 0 => end.saturating_sub(window.number).max(start),
            (None, false) if window.follow => end,
            (None, _) => start,
        };
        let is_capped = window.number != 0 && !window.follow;
        AgentEventReader {
            events: Arc::clone(self),
            window,
            client,
            position,
            left: is_capped.then_some(window.number),
            end,
            count: self.count.subscribe(),
        }
    }
}

/// A reader's place among the events.
#[derive(Debug)]
pub struct AgentEventReader {
    events: Arc<AgentEvents>,
    window: Window,
    client: Client,
    position: u64,
    /// Events that may still be given; none is no bound.
    left: Option<u64>,
    /// How many there were when the request came: where one that does not follow ends.
    end: u64,
    count: watch::Receiver<u64>,
}

impl AgentEventReader {
    /// The next event; none at the end of what was asked for.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            if self.left == Some(0) || (!self.window.follow && self.position >= self.end) {
                return None;
            }
            match self.take() {
                Some((time, _)) if self.window.until.is_some_and(|until| time > until) => {
                    self.left = Some(0);
                    return None;
                }
                Some(told) => {
                    self.left = self.left.map(|left| left - 1);
                    return Some(told);
                }
                None => {
                    let position = self.position;
                    // The sender lives as long as the events do.
                    self.count.wait_for(|count| *count > position).await.ok()?;
                }
            }
        }
    }

    /// The event at its place, or the oldest one where that is gone.
    fn take(&mut self) -> Option<Told> {
        let kept = self.events.kept.lock();
        let end = *self.events.count.borrow();
        let start = end - kept.len() as u64;
        let lost = start.saturating_sub(self.position);
        let at = usize::try_from(self.position.max(start) - start).ok()?;
        let told = kept.get(at)?.clone();
        self.position = self.position.max(start) + 1;
        self.client.meter().add(Tally {
            seen: lost + 1,
            delivered: 1,
            filtered: 0,
            lost,
        });
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::super::clients::Clients;
    use super::*;

    fn started(at: u64) -> AgentEvent {
        AgentEvent::Started { at: Timestamp(at) }
    }

    fn events(most: usize, times: std::ops::Range<u64>) -> Arc<AgentEvents> {
        let events = Arc::new(AgentEvents::keeping(most));
        times.for_each(|at| events.tell(Timestamp(at), [started(at)]));
        events
    }

    fn reader(events: &Arc<AgentEvents>, window: Window) -> AgentEventReader {
        let clients = Arc::new(Clients::default());
        events.read(window, clients.join("test", window.follow))
    }

    /// Times of what there is now, and whether that was the end.
    fn now(reader: &mut AgentEventReader) -> (Vec<u64>, bool) {
        let mut times = Vec::new();
        loop {
            match reader.next().now_or_never() {
                Some(Some((time, _))) => times.push(time.0),
                Some(None) => return (times, true),
                None => return (times, false),
            }
        }
    }

    #[test]
    fn windows_mean_what_they_mean_for_flows() {
        let window = Window::default();
        let (since, until) = (Some(Timestamp(8)), Some(Timestamp(8)));
        for (window, expected, ends) in [
            (window, vec![6, 7, 8, 9], true),
            (
                Window {
                    number: 2,
                    ..window
                },
                vec![8, 9],
                true,
            ),
            (
                Window {
                    number: u64::MAX,
                    ..window
                },
                vec![6, 7, 8, 9],
                true,
            ),
            (
                Window {
                    number: 2,
                    first: true,
                    ..window
                },
                vec![6, 7],
                true,
            ),
            (
                Window {
                    follow: true,
                    ..window
                },
                vec![],
                false,
            ),
            (
                Window {
                    follow: true,
                    number: 1,
                    ..window
                },
                vec![9],
                false,
            ),
            (Window { since, ..window }, vec![8, 9], true),
            (
                Window {
                    since,
                    number: 1,
                    ..window
                },
                vec![8],
                true,
            ),
            (Window { until, ..window }, vec![6, 7, 8], true),
            (
                Window {
                    until,
                    number: 3,
                    ..window
                },
                vec![7, 8],
                true,
            ),
        ] {
            let mut reader = reader(&events(4, 1..10), window);
            assert_eq!(now(&mut reader), (expected, ends), "{window:?}");
        }
    }

    #[test]
    fn who_follows_sees_what_comes_and_counts_what_was_missed() {
        let events = events(3, 1..3);
        let window = Window {
            follow: true,
            ..Window::default()
        };
        let clients = Arc::new(Clients::default());
        let mut reader = events.read(window, clients.join("test", true));
        assert_eq!(now(&mut reader), (vec![], false));
        events.tell(Timestamp(3), [started(3)]);
        assert_eq!(now(&mut reader), (vec![3], false));
        (4..9).for_each(|at| events.tell(Timestamp(at), [started(at)]));
        assert_eq!(now(&mut reader), (vec![6, 7, 8], false));
        let tally = clients.tally();
        assert_eq!((tally.seen, tally.delivered, tally.lost), (6, 4, 2));
    }

    #[test]
    fn who_waits_is_woken() {
        let events = events(3, 0..0);
        let window = Window {
            follow: true,
            ..Window::default()
        };
        let mut reader = reader(&events, window);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let told = runtime.block_on(async {
            let (told, ()) = tokio::join!(reader.next(), async {
                tokio::task::yield_now().await;
                events.tell(Timestamp(1), [started(1)]);
            });
            told
        });
        assert_eq!(told.map(|(time, _)| time), Some(Timestamp(1)));
    }
}
