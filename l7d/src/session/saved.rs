//! A session as it goes to another process: what it has read so far, and what waits for an answer.
//!
//! Who is at both ends is not part of it: the other process asks for itself.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use parking_lot::Mutex;
use parsers::http1::{Connection, Reading};
use parsers::socks::Handshake;
use serde::{Deserialize, Serialize};

use super::http2::Http2;
use super::{Ends, Recorder, RequestVerdict, Roles, Seen, Session, State, Upgrade, Whole, dns};
use crate::clock::Monotonic;
use crate::exchange::Exchange;
use crate::record::Network;

/// Everything of a session but its ends and the way of its records.
#[derive(Serialize, Deserialize)]
pub struct SavedSession {
    /// The kernel's number of the connection.
    number: u64,
    network: Network,
    http: Connection,
    http2: Option<Box<Http2>>,
    dns: Option<dns::SavedStream>,
    upgrade: Option<Box<Upgrade>>,
    state: SavedState,
    is_strict: bool,
    seen: Seen,
    roles: Roles,
    broken_heads: u32,
    unread: Option<String>,
    carry: [Vec<u8>; 2],
    exchanges: VecDeque<Exchange>,
    opened: Monotonic,
    bytes: [u64; 2],
    server: Option<Box<str>>,
    judged: Option<RequestVerdict>,
    asked_tcp: Monotonic,
}

#[derive(Serialize, Deserialize)]
enum SavedState {
    Unbegun,
    Detecting(String),
    Http1,
    Http2,
    Dns,
    Socks(Handshake),
    Tls { is_told: bool },
    Opaque(String),
}

impl From<State> for SavedState {
    fn from(state: State) -> Self {
        match state {
            State::Unbegun => Self::Unbegun,
            State::Detecting(note) => Self::Detecting(note.to_owned()),
            State::Http1 => Self::Http1,
            State::Http2 => Self::Http2,
            State::Dns => Self::Dns,
            State::Socks(handshake) => Self::Socks(handshake),
            State::Tls { is_told } => Self::Tls { is_told },
            State::Opaque(note) => Self::Opaque(note.to_owned()),
        }
    }
}

impl From<SavedState> for State {
    fn from(saved: SavedState) -> Self {
        match saved {
            SavedState::Unbegun => Self::Unbegun,
            SavedState::Detecting(text) => Self::Detecting(note(&text)),
            SavedState::Http1 => Self::Http1,
            SavedState::Http2 => Self::Http2,
            SavedState::Dns => Self::Dns,
            SavedState::Socks(handshake) => Self::Socks(handshake),
            SavedState::Tls { is_told } => Self::Tls { is_told },
            SavedState::Opaque(text) => Self::Opaque(note(&text)),
        }
    }
}

/// A note that another process made. Notes are a few dozen texts of the program's own, kept for good.
fn note(text: &str) -> &'static str {
    /// More come from nobody.
    const NOTES_MAX: usize = 256;
    static NOTES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut notes = NOTES.lock();
    if let Some(known) = notes.get(text) {
        return known;
    }
    if notes.len() >= NOTES_MAX {
        return "not followed";
    }
    let kept: &'static str = Box::leak(text.to_owned().into_boxed_str());
    notes.insert(kept);
    kept
}

impl Session {
    /// Takes everything out for another process; nothing is told of it here any more.
    pub fn save(mut self) -> SavedSession {
        self.is_finished = true;
        let reading = if self.is_strict {
            Reading::Strict
        } else {
            Reading::Lenient
        };
        let fresh = Connection::new(*self.http.limits(), reading);
        let whole = self.whole.take().unwrap_or_default();
        SavedSession {
            number: self.ends.connection(),
            network: self.ends.network(),
            http: std::mem::replace(&mut self.http, fresh),
            http2: self.http2.take(),
            dns: self.dns.take().map(|dns| dns.save()),
            upgrade: self.upgrade.take(),
            state: self.state.into(),
            is_strict: self.is_strict,
            seen: self.seen,
            roles: self.roles,
            broken_heads: self.broken_heads,
            unread: self.unread.map(str::to_owned),
            carry: std::mem::take(&mut self.carry),
            exchanges: std::mem::take(&mut self.exchanges),
            opened: self.opened,
            bytes: self.bytes,
            server: whole.server,
            judged: whole.judged,
            asked_tcp: self.asked_tcp,
        }
    }

    /// Goes on where another process stopped. `ends` are who this one takes them for.
    pub fn restore(saved: SavedSession, recorder: Rc<Recorder>, ends: Ends) -> Self {
        let mut ends = ends.with_connection(saved.number);
        if saved.roles == Roles::Turned {
            ends.turn();
        }
        ends.set_network(saved.network);
        let (server, judged) = (saved.server, saved.judged);
        let has_whole = server.is_some() || judged.is_some();
        Self {
            recorder,
            ends,
            http: saved.http,
            http2: saved.http2,
            dns: saved.dns.map(|dns| Box::new(dns::Stream::restore(dns))),
            upgrade: saved.upgrade,
            state: saved.state.into(),
            is_strict: saved.is_strict,
            seen: saved.seen,
            roles: saved.roles,
            broken_heads: saved.broken_heads,
            unread: saved.unread.as_deref().map(note),
            carry: saved.carry,
            exchanges: saved.exchanges,
            opened: saved.opened,
            bytes: saved.bytes,
            whole: has_whole.then(|| Box::new(Whole { server, judged })),
            is_finished: false,
            asked_tcp: saved.asked_tcp,
        }
    }
}

impl SavedSession {
    /// Whether requests were judged before their bytes got to it.
    pub fn is_strict(&self) -> bool {
        self.is_strict
    }
}
