//! Whose turn it is: connections of one endpoint wait for each other, and hold up no other endpoint's.
//!
//! A runtime polls tasks in the order in which they were woken. When a thousand connections of one endpoint
//! come, speak or go at once, everybody else's next byte would wait behind all of them. So the connections
//! of an endpoint stand in one line. Until the line has had its time they are polled as they come; then
//! they wait for the next round, which begins when everybody who was ready has been polled and the kernel
//! was asked who else is. In a round a line's waiting connections are called one by one, so that they take
//! turns with those of other lines.
//!
//! ```text
//!   woken ─▶ InTurn ──the line has time left──▶ the relay, on the clock ──┐
//!              │ waits                                                    │ calls the next one
//!              ▼                                                          ▼
//!            Line ◀── call() ◀── Turns::keep_calling, round by round ◀── its time is over
//! ```
//!
//! Time is by the clock, not what the thread took of it: whoever waits, waits for the rest as well, such as
//! a server that the kernel runs in between.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use ahash::AHashMap;
use tokio::sync::Notify;

use crate::record::EndpointId;

/// The time that all lines that wait have in a round together.
const ROUND: Duration = Duration::from_micros(100);
/// The same where one line alone has had turns for [`QUIET_ROUNDS`]: a round costs as much as a tenth of a
/// request, and nobody gains by it.
const ROUND_ALONE: Duration = Duration::from_micros(300);
const QUIET_ROUNDS: u64 = 64;
/// The time of one of many: what is read at once and what comes of it is not divided.
const SHARE_MIN: Duration = Duration::from_micros(20);
/// What is done for a connection behind its last turn: a socket is closed, and packets go through the whole
/// stack.
const END: Duration = Duration::from_micros(20);

thread_local! {
    /// The line whose turn it is on this thread, and since when.
    static CURRENT: RefCell<Option<(Rc<Line>, Instant)>> = const { RefCell::new(None) };
}

/// The lines of a worker.
#[derive(Debug, Default)]
pub(super) struct Turns {
    lines: RefCell<AHashMap<EndpointId, Weak<Line>>>,
    rounds: Rc<Rounds>,
}

/// What lines share.
#[derive(Debug)]
struct Rounds {
    clock: fn() -> Instant,
    now: Cell<u64>,
    /// What each line may take in this round.
    share: Cell<Duration>,
    /// The line that had the last turn, by its address, which is only compared.
    last: Cell<*const Line>,
    /// The last round in which another line had a turn than the one before it.
    mixed: Cell<u64>,
    /// Lines that wait for the next round.
    crowded: RefCell<Vec<Weak<Line>>>,
    wanted: Notify,
    /// Nobody waits any more.
    is_open: Cell<bool>,
}

/// The connections of an endpoint.
#[derive(Debug)]
struct Line {
    rounds: Rc<Rounds>,
    /// The round that `taken` belongs to.
    round: Cell<u64>,
    taken: Cell<Duration>,
    /// Those that wait, by their tickets; none of those that are gone.
    waiting: RefCell<VecDeque<Option<Waker>>>,
    /// The first ticket that has not been called.
    next: Cell<u64>,
    /// One that was called has not come yet.
    is_calling: Cell<bool>,
    is_crowded: Cell<bool>,
}

/// A connection's future, polled when it is its turn.
pub(super) struct InTurn<F> {
    line: Rc<Line>,
    ticket: Option<u64>,
    inner: F,
}

/// While it lives, it is a line's turn.
struct Turn;

impl Default for Rounds {
    fn default() -> Self {
        Self {
            clock: Instant::now,
            now: Cell::default(),
            share: Cell::new(ROUND),
            last: Cell::new(std::ptr::null()),
            mixed: Cell::default(),
            crowded: RefCell::default(),
            wanted: Notify::default(),
            is_open: Cell::default(),
        }
    }
}

impl Turns {
    /// `inner`, which is pinned, in its endpoint's line.
    pub(super) fn in_turn<F: Future + Unpin>(&self, endpoint: EndpointId, inner: F) -> InTurn<F> {
        InTurn {
            line: self.line(endpoint),
            ticket: None,
            inner,
        }
    }

    fn line(&self, endpoint: EndpointId) -> Rc<Line> {
        let mut lines = self.lines.borrow_mut();
        if let Some(line) = lines.get(&endpoint).and_then(Weak::upgrade) {
            return line;
        }
        // Endpoints come and go; there are no more than a node's at a time.
        lines.retain(|_endpoint, line| line.strong_count() > 0);
        let line = Rc::new(Line::new(Rc::clone(&self.rounds)));
        lines.insert(endpoint, Rc::downgrade(&line));
        line
    }

    /// Begins a round whenever a line waits for one; never returns.
    pub(super) async fn keep_calling(&self) {
        loop {
            self.rounds.wanted.notified().await;
            // Back when everybody who was ready has been polled, and the kernel was asked who else is.
            tokio::task::yield_now().await;
            // Servers and clients, of those who are alone too, may wait for this core.
            std::thread::yield_now();
            self.rounds.begin();
        }
    }

    /// From now on nobody waits: all have something to do that cannot be put off.
    pub(super) fn open(&self) {
        self.rounds.is_open.set(true);
        self.rounds.begin();
    }
}

impl Rounds {
    fn begin(&self) {
        self.now.set(self.now.get().wrapping_add(1));
        let crowded = self.crowded.take();
        let lines = u32::try_from(crowded.len()).unwrap_or(u32::MAX);
        let is_alone = self.now.get().wrapping_sub(self.mixed.get()) > QUIET_ROUNDS;
        let round = if is_alone { ROUND_ALONE } else { ROUND };
        self.share.set((round / lines.max(1)).max(SHARE_MIN));
        for line in crowded.iter().filter_map(Weak::upgrade) {
            line.is_crowded.set(false);
            line.call();
        }
    }

    /// A line has a turn.
    fn note(&self, line: &Rc<Line>) {
        let line = Rc::as_ptr(line);
        if self.last.replace(line) != line {
            self.mixed.set(self.now.get());
        }
    }
}

impl Line {
    fn new(rounds: Rc<Rounds>) -> Self {
        Self {
            round: Cell::new(rounds.now.get()),
            rounds,
            taken: Cell::default(),
            waiting: RefCell::default(),
            next: Cell::new(0),
            is_calling: Cell::new(false),
            is_crowded: Cell::new(false),
        }
    }

    /// Whether it has had its time, this having passed of the turn that is not over.
    fn has_had_its_time(&self, passed: Duration) -> bool {
        let now = self.rounds.now.get();
        if self.round.replace(now) != now {
            self.taken.set(Duration::ZERO);
        }
        self.taken.get().saturating_add(passed) >= self.rounds.share.get()
            && !self.rounds.is_open.get()
    }

    fn take(&self, time: Duration) {
        self.taken.set(self.taken.get().saturating_add(time));
    }

    /// Whether who comes unasked may go on at once.
    fn is_free(&self) -> bool {
        !self.has_had_its_time(Duration::ZERO) && self.waiting.borrow().is_empty()
    }

    /// The ticket of who waits from now on.
    fn wait(self: &Rc<Self>, waker: &Waker) -> u64 {
        let ticket = {
            let mut waiting = self.waiting.borrow_mut();
            waiting.push_back(Some(waker.clone()));
            let last = u64::try_from(waiting.len()).unwrap_or(u64::MAX) - 1;
            self.next.get().wrapping_add(last)
        };
        self.call();
        ticket
    }

    fn is_called(&self, ticket: u64) -> bool {
        self.place(ticket).is_none()
    }

    /// Where it stands among those that wait.
    fn place(&self, ticket: u64) -> Option<usize> {
        let place = usize::try_from(ticket.wrapping_sub(self.next.get())).ok()?;
        (place < self.waiting.borrow().len()).then_some(place)
    }

    /// Puts this at the place of who waits.
    fn replace(&self, ticket: u64, waker: Option<&Waker>) {
        if let Some(place) = self.place(ticket)
            && let Some(waiting) = self.waiting.borrow_mut().get_mut(place)
        {
            *waiting = waker.cloned();
        }
    }

    /// Calls the next one that waits, if one may be called.
    fn call(self: &Rc<Self>) {
        if self.is_calling.get() {
            return;
        }
        let has_had_its_time = self.has_had_its_time(Duration::ZERO);
        let mut waiting = self.waiting.borrow_mut();
        while let Some(first) = waiting.front() {
            if first.is_some() && has_had_its_time {
                drop(waiting);
                return self.want_a_round();
            }
            let called = waiting.pop_front().flatten();
            self.next.set(self.next.get().wrapping_add(1));
            if let Some(waker) = called {
                self.is_calling.set(true);
                return waker.wake();
            }
        }
    }

    fn want_a_round(self: &Rc<Self>) {
        if !self.is_crowded.replace(true) {
            let mut crowded = self.rounds.crowded.borrow_mut();
            crowded.push(Rc::downgrade(self));
            self.rounds.wanted.notify_one();
        }
    }

    /// Who was called has been here, or will not come.
    fn is_served(self: &Rc<Self>) {
        self.is_calling.set(false);
        self.call();
    }
}

impl Turn {
    fn of(line: &Rc<Line>) -> Self {
        line.rounds.note(line);
        let began = (line.rounds.clock)();
        CURRENT.set(Some((Rc::clone(line), began)));
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((line, began)) = CURRENT.take() {
            line.take((line.rounds.clock)().saturating_duration_since(began));
        }
    }
}

impl<F: Future + Unpin> Future for InTurn<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        match this.ticket {
            None if this.line.is_free() => {}
            None => {
                this.ticket = Some(this.line.wait(context.waker()));
                return Poll::Pending;
            }
            Some(ticket) if this.line.is_called(ticket) => {}
            Some(ticket) => {
                this.line.replace(ticket, Some(context.waker()));
                return Poll::Pending;
            }
        }
        let turn = Turn::of(&this.line);
        let polled = Pin::new(&mut this.inner).poll(context);
        if polled.is_ready() {
            this.line.take(END);
        }
        drop(turn);
        if this.ticket.take().is_some() {
            this.line.is_served();
        }
        polled
    }
}

impl<F> Drop for InTurn<F> {
    fn drop(&mut self) {
        match self.ticket {
            Some(ticket) if self.line.is_called(ticket) => self.line.is_served(),
            Some(ticket) => self.line.replace(ticket, None),
            None => {}
        }
    }
}

/// Ends the turn of who goes on for long: returns in the next one, if the line has had its time.
pub(super) async fn pause() {
    let mut has_paused = false;
    std::future::poll_fn(|context| {
        let is_over = CURRENT.with_borrow(|current| {
            current.as_ref().is_some_and(|(line, began)| {
                let passed = (line.rounds.clock)().saturating_duration_since(*began);
                line.has_had_its_time(passed)
            })
        });
        if is_over && !has_paused {
            has_paused = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

#[cfg(test)]
mod tests;
