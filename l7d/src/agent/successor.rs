//! The agent that takes over from this one: it connects to a socket that only root can.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::predecessor::socket_path;
use super::{Agent, Error, tell};
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
    Replaced(Link),
}

/// How far a successor has come.
enum Handover {
    /// It does everything.
    Done(Link),
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
    ) -> Result<Option<Link>, Error> {
        let (asked, link) = blocking(move || (link.wait_until_asked(), link)).await?;
        let hello = match asked {
            Ok(hello) => hello,
            Err(error) => {
                tracing::warn!(%error, "a successor has not asked for anything");
                return Ok(None);
            }
        };
        self.world.learnt.save();
        let belongings = self.give_up(&hello);
        let count = belongings.connections();
        tell(&format!(
            "handing over {count} connections to l7d {}",
            hello.version
        ));
        let handover = self.beat_until(ring, give(link, belongings)).await?;
        let (left, error, is_lost) = match handover {
            Handover::Done(link) => {
                tell("handed over");
                return Ok(Some(link));
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

    fn give_up(&mut self, hello: &Hello) -> Belongings {
        let mut belongings = self.proxy.leave();
        if hello.format != FORMAT {
            let cut = belongings.take_unreadable();
            tell(&format!(
                "l7d {} cannot read the state of connections that are judged: {cut} are cut, and watched ones go on unread",
                hello.version
            ));
        }
        belongings
    }

    /// Keeps the programs sure of a proxy meanwhile. Nothing else in the kernel is touched: the successor
    /// writes there.
    async fn beat_until(
        &mut self,
        ring: &mut Ring,
        handover: oneshot::Receiver<Handover>,
    ) -> Result<Handover, Error> {
        let mut heartbeat = interval(HEARTBEAT_PERIOD);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut handover = handover;
        loop {
            tokio::select! {
                biased;
                _ = heartbeat.tick() => self.datapath.beat()?,
                done = &mut handover => {
                    return done.map_err(|_gone| Error::Runtime(io::ErrorKind::BrokenPipe.into()));
                }
                read = ring.read(BATCH, |bytes| self.handle(bytes)) => {
                    read.map_err(Error::Runtime)?;
                }
            }
        }
    }
}

/// Gives everything to the other side, on a thread of its own: it may be slow.
fn give(link: Link, belongings: Belongings) -> oneshot::Receiver<Handover> {
    let (teller, told) = oneshot::channel();
    let give = move || {
        let end = give_and_wait(link, belongings);
        // Nobody waits when the agent was ended meanwhile.
        let _told = teller.send(end);
    };
    tokio::task::spawn_blocking(give);
    told
}

fn give_and_wait(link: Link, mut belongings: Belongings) -> Handover {
    if let Err(error) = link.give(&belongings) {
        return Handover::Refused(belongings, error);
    }
    // The successor relays; closing our copies of the sockets changes nothing.
    belongings.forget_connections();
    if let Err(error) = link.wait_until_done() {
        return Handover::Lost(belongings, error);
    }
    Handover::Done(link)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Runtime(io::Error::other(error)))
}
