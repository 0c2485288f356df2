//! Calls at fixed times.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::MESSAGE;
use crate::client::{Answered, Chat, Connections, Shape, call, open};

/// Not counted: connections and caches get warm.
const WARM_UP: Duration = Duration::from_millis(300);
/// Messages of a stream that wait for their answer; more means that the rate cannot be held.
const WAITING_MAX: usize = 4096;

/// The kernel's timer: the runtime's own counts milliseconds.
struct Ticks {
    timer: AsyncFd<OwnedFd>,
    interval: Duration,
    /// When the next one is due.
    next: Instant,
}

impl Ticks {
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe, for descriptors that somebody else may close"
    )]
    fn new(rate: u32) -> anyhow::Result<Self> {
        let interval = Duration::from_secs(1) / rate;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let every = Timespec::try_from(interval)?;
        let spec = Itimerspec {
            it_interval: every,
            it_value: every,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(Self {
            timer: AsyncFd::new(timer)?,
            interval,
            next: Instant::now() + interval,
        })
    }

    /// Waits until some are due, and gives how many.
    async fn due(&mut self) -> anyhow::Result<u64> {
        loop {
            let mut ready = self.timer.readable().await?;
            let mut count = [0; 8];
            match rustix::io::read(ready.get_inner(), &mut count) {
                Ok(_) => return Ok(u64::from_ne_bytes(count)),
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Calls, or messages on open streams, at a rate per second.
pub(crate) async fn run(
    connections: Connections,
    shape: Shape,
    time: Duration,
    rate: u32,
) -> anyhow::Result<Answered> {
    let answered = Rc::new(RefCell::new(Answered::new()));
    match shape {
        Shape::Unary => calls(connections, time, rate, &answered).await?,
        Shape::Stream => messages(connections, time, rate, &answered).await?,
    }
    Ok(answered.take())
}

async fn calls(
    connections: Connections,
    time: Duration,
    rate: u32,
    answered: &Rc<RefCell<Answered>>,
) -> anyhow::Result<()> {
    let mut open = JoinSet::new();
    let mut senders = connections.senders.iter().cycle();
    let mut ticks = Ticks::new(rate)?;
    let (counted, end) = (ticks.next + WARM_UP, ticks.next + WARM_UP + time);
    while ticks.next < end {
        for _ in 0..ticks.due().await? {
            let due = ticks.next;
            ticks.next += ticks.interval;
            let sender = senders.next().context("a connection")?.clone();
            let uri = connections.uri.clone();
            let answered = Rc::clone(answered);
            open.spawn_local(async move {
                call(sender, uri).await?;
                if due > counted {
                    answered.borrow_mut().push(due.elapsed());
                }
                anyhow::Ok(())
            });
        }
        while let Some(done) = open.try_join_next() {
            done??;
        }
    }
    while let Some(done) = open.join_next().await {
        done??;
    }
    Ok(())
}

async fn messages(
    connections: Connections,
    time: Duration,
    rate: u32,
    answered: &Rc<RefCell<Answered>>,
) -> anyhow::Result<()> {
    let mut readers = JoinSet::new();
    let mut streams = Vec::new();
    for sender in &connections.senders {
        for _ in 0..connections.streams {
            let Chat {
                asking,
                mut answers,
            } = open(sender.clone(), connections.uri.clone()).await?;
            // When each message that has no answer was due; none for those that are not counted.
            let (tell, mut told) = mpsc::channel::<Option<Instant>>(WAITING_MAX);
            let answered = Rc::clone(answered);
            readers.spawn_local(async move {
                while let Some(due) = told.recv().await {
                    answers.next().await?;
                    answered.borrow_mut().extend(due.map(|due| due.elapsed()));
                }
                answers.end().await
            });
            streams.push((asking, tell));
        }
    }
    let mut ticks = Ticks::new(rate)?;
    let (counted, end) = (ticks.next + WARM_UP, ticks.next + WARM_UP + time);
    let mut turn = 0;
    while ticks.next < end {
        for _ in 0..ticks.due().await? {
            let due = ticks.next;
            ticks.next += ticks.interval;
            let count = streams.len();
            let (asking, tell) = streams.get_mut(turn % count).context("a stream")?;
            turn += 1;
            asking.send_data(MESSAGE, false)?;
            tell.try_send((due > counted).then_some(due))
                .context("the rate cannot be held")?;
        }
    }
    for (mut asking, _tell) in streams {
        asking.send_data(crate::Bytes::new(), true)?;
    }
    while let Some(done) = readers.join_next().await {
        done??;
    }
    Ok(())
}
