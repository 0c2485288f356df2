//! Listeners and live connections, on their way to another process.
//!
//! ```text
//!   worker ── told to leave ──▶ accept loops end, relays are dropped at their awaits
//!     │
//!     └─▶ Belongings ─▶ wire ─▶ a unix socket ─▶ wire ─▶ Belongings ─▶ a worker that begins
//! ```
//!
//! A relay keeps what it has under way outside of the futures that move bytes, so that nothing is lost
//! when these are dropped. Its state goes along in a form with a version ([`FORMAT`]); where the other
//! process cannot read it, what was only watched goes on unread, and what was judged has to end first.

mod moved;
mod wire;

use std::net::TcpListener;

use serde::{Deserialize, Serialize};

pub(super) use moved::{Addresses, Moved};
pub use wire::{Broken, Hello, Link};

use super::dns::{self, SavedQueries};
use super::enforce::{SavedDns, SavedRelay, SavedTls};
use super::lane::SavedLane;
use crate::session::SavedSession;

/// Version of the form of connections' states. It changes whenever a state that one version writes would
/// mean something else to another; fields may come and go without it, as serde has it.
pub const FORMAT: u16 = 1;

/// The same of flows.
pub const FLOWS_FORMAT: u16 = 1;

/// What a proxy gives up, or is begun with.
#[derive(Debug, Default)]
pub struct Belongings {
    /// Listeners, with the connections that nobody has accepted yet.
    pub(super) listeners: Vec<TcpListener>,
    /// Sockets for datagrams, of one worker each.
    pub(super) datagrams: Vec<Datagrams>,
    /// Connections.
    pub(super) connections: Vec<Moved>,
}

/// Sockets for datagrams of one family, and queries that wait for their answers.
pub(super) struct Datagrams {
    pub(super) sockets: dns::Sockets,
    pub(super) queries: SavedQueries,
}

impl std::fmt::Debug for Datagrams {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Datagrams").finish_non_exhaustive()
    }
}

/// What has been done for a connection, and what is left to do.
#[derive(Serialize, Deserialize)]
pub(super) enum SavedConnection {
    /// Nothing has been done: the server has not been reached.
    Accepted,
    /// The server is there, and nothing has been read.
    Connected,
    /// It is watched.
    Watched {
        session: Box<SavedSession>,
        lanes: [SavedLane; 2],
    },
    /// It is watched, and nothing is known of what was read.
    Unread { lanes: [SavedLane; 2] },
    /// Its requests are judged.
    Judged(Box<SavedRelay>),
    /// It is judged by the name in its hello.
    Tls(Box<SavedTls>),
    /// Its queries are judged.
    Dns(Box<SavedDns>),
}

impl SavedConnection {
    /// Whether policy judges what is said on it.
    pub(super) fn is_judged(&self) -> bool {
        match self {
            Self::Accepted | Self::Watched { .. } | Self::Unread { .. } => false,
            Self::Connected | Self::Judged(_) | Self::Tls(_) | Self::Dns(_) => true,
        }
    }
}

impl Belongings {
    /// Puts what another worker has behind what is there.
    pub fn append(&mut self, mut other: Self) {
        self.listeners.append(&mut other.listeners);
        self.datagrams.append(&mut other.datagrams);
        self.connections.append(&mut other.connections);
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Leaves listeners and sockets for datagrams.
    pub fn forget_connections(&mut self) {
        self.connections.clear();
    }

    /// Takes out the connections that were judged, whose state a process that reads none of this version
    /// could not go on with.
    pub fn take_unreadable(&mut self) -> usize {
        let before = self.connections.len();
        self.connections.retain(|moved| !moved.is_judged);
        before - self.connections.len()
    }
}
