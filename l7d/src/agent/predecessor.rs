//! The agent that runs already, and everything that it gives to this one.
//!
//! ```text
//!   this one                                the former one
//!   knows its world ──── Hello ───────────▶
//!   fills its ring  ◀─── flows ──────────── stops accepting, freezes connections
//!                   ◀─── sockets, states ── beats on, so that the programs know of a proxy
//!   relays on       ──── Taken ───────────▶ forgets them
//!   loads programs, fills maps, hooks
//!                   ──── Done ────────────▶ closes its listeners
//!                   ◀─── flows ──────────── that it has seen meanwhile
//!   listens         ◀─── Gone ─────────────
//! ```

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::Error;
use crate::config::Config;
use crate::flow::FlowRing;
use crate::proxy::{Belongings, Link};

/// Where an agent waits for the one that takes over from it.
pub(super) fn socket_path(config: &Config) -> PathBuf {
    config.runtime_dir.join("successor.sock")
}

/// The agent that runs already.
pub(super) struct Predecessor(Link);

impl Predecessor {
    /// Looks for it.
    pub(super) fn find(config: &Config) -> Result<Option<Self>, Error> {
        let path = socket_path(config);
        let socket = match UnixStream::connect(&path) {
            Ok(socket) => socket,
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(cause) => {
                return Err(Error::Predecessor {
                    path,
                    cause: cause.into(),
                });
            }
        };
        match Link::new(socket) {
            Ok(link) => Ok(Some(Self(link))),
            Err(cause) => Err(Error::Predecessor { path, cause }),
        }
    }

    /// Takes everything it has, its flows into the ring. From then on nobody else accepts connections.
    pub(super) fn take(&self, config: &Config, ring: &FlowRing) -> Result<Belongings, Error> {
        let take = || {
            self.0.ask()?;
            let belongings = self.0.take(|flow| ring.inherit(flow))?;
            self.0.confirm()?;
            Ok(belongings)
        };
        take().map_err(|cause| Error::Predecessor {
            path: socket_path(config),
            cause,
        })
    }

    /// Sends it away: everything is done here now.
    pub(super) fn dismiss(self, ring: &FlowRing) {
        if let Err(error) = self.0.finish(|flow| ring.inherit(flow)) {
            tracing::warn!(%error, "the former agent may still be there");
        }
    }
}
