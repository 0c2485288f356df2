//! The agent that takes over from this one: it connects to a socket that only root can.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::past::Past;
use super::predecessor::{Predecessor, socket_path};
use super::{Agent, Error, fd_store, tell};
use crate::config::Config;
use crate::datapath::{HEARTBEAT_PERIOD, Ring};
use crate::proxy::{Belongings, FORMAT, Hello, Link, LinkBroken};

/// Kernel records handled before the next heartbeat is looked at.
const BATCH: usize = 512;

/// Where a successor is waited for.
pub(super) struct Door(UnixListener);

impl Door {
    /// Opens it, in the place of a former agent's.
    pub(super) fn open(config: &Config) -> Result<Self, Error> {
        let path = socket_path(config);
        bind(&path).map(Self).map_err(|cause| Error::Predecessor {
            path,
            cause: cause.into(),
        })
    }

    /// Waits for somebody who may take over.
    pub(super) async fn next(&self) -> Link {
        loop {
            match self.accept().await {
                Ok(Some(link)) => return link,
                Ok(None) => tracing::warn!("somebody without the right to would take over"),
                Err(error) => tracing::warn!(%error, "a successor cannot be heard"),
            }
        }
    }

    async fn accept(&self) -> Result<Option<Link>, LinkBroken> {
        let (socket, _) = self.0.accept().await?;
        let peer = socket_peercred(&socket).map_err(io::Error::from)?;
        let may_take_over = peer.uid == geteuid() || peer.uid.is_root();
        let link = Link::new(socket.into_std()?)?;
        Ok(may_take_over.then_some(link))
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// How the agent's loop ended.
pub(super) enum End {
    /// It was told to stop.
    Stopped,
    /// Another agent does everything; it waits to hear that nothing is in its way.
    Replaced(Link, Past),
}

/// How far a successor has come.
enum Handover {
    /// It does everything.
    Done(Link, Past),
    /// It never had anything: all is still here.
    Refused(Belongings, LinkBroken),
    /// It is gone, and what it had with it.
    Lost(Belongings, LinkBroken),
}

impl Agent {
    /// Gives everything to a successor. `None` where that has failed, and this agent goes on.
    pub(super) async fn hand_over(
        &mut self,
        link: Link,
        ring: &mut Ring,
    ) -> Result<Option<(Link, Past)>, Error> {
        let asked = blocking(move || (link.wait_until_asked(), link));
        let (asked, link) = self.beat_until(ring, asked).await?;
        let hello = match asked {
            Ok(hello) => hello,
            Err(error) => {
                tracing::warn!(%error, "a successor has not asked for anything");
                return Ok(None);
            }
        };
        // What there is by now, while connections go on; the few that come until they stand go with them.
        let mut past = Past::new(&self.ring, &hello);
        let given = blocking(move || (past.give(&link), link, past));
        let (given, link, past) = self.beat_until(ring, given).await?;
        if let Err(error) = given {
            tracing::warn!(%error, "a successor has not taken the flows; nothing is lost");
            return Ok(None);
        }
        self.world.learnt.save();
        let leaving = self.proxy.leave();
        let belongings = self.beat_until(ring, blocking(|| leaving.wait())).await?;
        let belongings = readable_to(&hello, belongings);
        let count = belongings.connections();
        tell(&format!(
            "handing over {count} connections to l7d {}",
            hello.version
        ));
        let handover = self
            .beat_until(ring, blocking(|| give(link, past, belongings)))
            .await?;
        let (left, error, is_lost) = match handover {
            Handover::Done(link, past) => {
                tell("handed over");
                return Ok(Some((link, past)));
            }
            Handover::Refused(left, error) => (left, error, false),
            Handover::Lost(left, error) => (left, error, true),
        };
        let what = if is_lost {
            "connections that it had are cut"
        } else {
            "nothing is lost"
        };
        tell(&format!(
            "the successor has failed: {error}; going on, {what}"
        ));
        self.take_back(left)?;
        Ok(None)
    }

    /// Leaves everything with the service manager, for the agent that it starts next. Where that cannot be,
    /// connections end as they do when an agent is stopped.
    pub(super) async fn end_for_a_restart(&mut self, ring: &mut Ring) -> Result<End, Error> {
        let leaving = self.proxy.leave();
        let belongings = self.beat_until(ring, blocking(|| leaving.wait())).await?;
        let count = belongings.connections();
        let left = blocking(|| (fd_store::leave(&belongings), belongings));
        let (left, belongings) = self.beat_until(ring, left).await?;
        match left {
            Ok(()) => {
                self.datapath.beat()?;
                tell(&format!(
                    "left {count} connections with the service manager"
                ));
            }
            Err(error) => {
                tell(&format!(
                    "connections cannot outlive this agent: {error}; it is stopped instead"
                ));
                self.take_back(belongings)?;
            }
        }
        Ok(End::Stopped)
    }

    /// Keeps the programs sure of a proxy meanwhile. Nothing else in the kernel is touched: the successor
    /// writes there.
    async fn beat_until<T>(
        &mut self,
        ring: &mut Ring,
        work: oneshot::Receiver<T>,
    ) -> Result<T, Error> {
        let mut heartbeat = interval(HEARTBEAT_PERIOD);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut work = work;
        loop {
            tokio::select! {
                biased;
                _ = heartbeat.tick() => self.datapath.beat()?,
                done = &mut work => return done.map_err(|_gone| gone()),
                read = ring.read(BATCH, |bytes| self.handle(bytes)) => {
                    read.map_err(Error::Runtime)?;
                }
            }
        }
    }

    /// Sends the agent away that ran before.
    pub(super) async fn dismiss(
        &mut self,
        former: Predecessor,
        ring: &mut Ring,
    ) -> Result<(), Error> {
        let flows = Arc::clone(&self.ring);
        let dismissed = blocking(move || former.dismiss(&flows));
        self.beat_until(ring, dismissed).await?;
        tell("took over from the agent that ran before");
        Ok(())
    }
}

/// What the other agent can go on with.
fn readable_to(hello: &Hello, mut belongings: Belongings) -> Belongings {
    if hello.format != FORMAT {
        let cut = belongings.take_unreadable();
        tell(&format!(
            "l7d {} cannot read the state of connections that are judged: {cut} are cut, and watched ones go on unread",
            hello.version
        ));
    }
    belongings
}

/// Gives everything to the other side.
fn give(link: Link, mut past: Past, mut belongings: Belongings) -> Handover {
    if let Err(error) = past.give(&link).and_then(|()| link.give(&belongings)) {
        return Handover::Refused(belongings, error);
    }
    // The successor relays; closing our copies of the sockets changes nothing.
    belongings.forget_connections();
    if let Err(error) = link.wait_until_done() {
        return Handover::Lost(belongings, error);
    }
    Handover::Done(link, past)
}

/// Does something that may take its time on a thread of its own.
fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (teller, told) = oneshot::channel();
    tokio::task::spawn_blocking(move || {
        // Nobody waits when the agent was ended meanwhile.
        let _told = teller.send(work());
    });
    told
}

fn gone() -> Error {
    Error::Runtime(io::ErrorKind::BrokenPipe.into())
}
