//! What is known of the following.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::failure::Failure;
use crate::clock::Timestamp;
use crate::host::cluster::Kind;

/// How the following of a cluster goes: written by those who follow, read by anybody.
#[derive(Debug)]
pub struct Board {
    server: String,
    entries: [Entry; Kind::ALL.len()],
    pub(crate) writes: WriteCounts,
}

/// How the reading of one kind goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Of what.
    pub kind: Kind,
    /// What is being done.
    pub state: State,
    /// Objects that the server has.
    pub objects: u64,
    /// Lists that were begun.
    pub lists: u64,
    /// Watches that were begun.
    pub watches: u64,
    /// Changes that were told.
    pub events: u64,
    /// Times that the server knew a version no longer (410).
    pub expired: u64,
    /// Requests that failed in another way.
    pub failures: u64,
    /// Objects that were left out as they make no sense; each is logged.
    pub malformed: u64,
}

/// What is being done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// All objects are being read.
    Listing,
    /// Changes are told as they come.
    Following,
    /// The cluster has no such resource; it is waited for.
    Absent,
    /// The server cannot be asked; what was known last is in force.
    Away {
        /// Since when.
        since: SystemTime,
        /// What the last attempt failed by.
        why: String,
    },
}

/// What was written to the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Writes {
    /// Conditions in the status of policies.
    pub statuses: u64,
    /// Events about policies.
    pub events: u64,
    /// Writes that failed.
    pub failures: u64,
}

#[derive(Debug, Default)]
pub(crate) struct WriteCounts {
    pub(crate) statuses: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// One kind, for who follows it.
#[derive(Debug)]
pub(crate) struct Entry {
    state: Mutex<State>,
    pub(crate) objects: AtomicU64,
    pub(crate) lists: AtomicU64,
    pub(crate) watches: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) malformed: AtomicU64,
    /// All objects have been told once.
    pub(crate) is_told: AtomicBool,
}

/// One more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Entry {
    pub(crate) const fn new() -> Self {
        Self {
            state: Mutex::new(State::Listing),
            objects: AtomicU64::new(0),
            lists: AtomicU64::new(0),
            watches: AtomicU64::new(0),
            events: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
        }
    }

    /// Something else is done now. True when the server was away before.
    pub(crate) fn set(&self, state: State) -> bool {
        let former = std::mem::replace(&mut *self.state.lock(), state);
        matches!(former, State::Away { .. })
    }

    /// A request has failed. True when it is the first one.
    pub(crate) fn away(&self, failure: &Failure) -> bool {
        let why = failure.to_string();
        let mut state = self.state.lock();
        if let State::Away { why: former, .. } = &mut *state {
            *former = why;
            return false;
        }
        *state = State::Away {
            since: UNIX_EPOCH + Duration::from_nanos(Timestamp::now().0),
            why,
        };
        true
    }

    /// Whether changes are told as they come.
    pub(crate) fn is_following(&self) -> bool {
        *self.state.lock() == State::Following
    }

    /// An object less.
    pub(crate) fn forget(&self) {
        let less = |objects: u64| Some(objects.saturating_sub(1));
        let _always = self
            .objects
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Whether requests have failed since one last worked.
    pub(crate) fn is_away(&self) -> bool {
        matches!(*self.state.lock(), State::Away { .. })
    }
}

impl Board {
    pub(crate) fn new(server: String) -> Self {
        Self {
            server,
            entries: [const { Entry::new() }; Kind::ALL.len()],
            writes: WriteCounts::default(),
        }
    }

    /// Whether all kinds have been told to their end once.
    pub(crate) fn is_whole(&self) -> bool {
        let mut entries = self.entries.iter();
        entries.all(|entry| entry.is_told.load(Ordering::Relaxed))
    }

    /// The API server's URL.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// How the reading of each kind goes, in the order of [`Kind::ALL`].
    pub fn readings(&self) -> Vec<Reading> {
        let kinds = Kind::ALL.iter().zip(&self.entries);
        let readings = kinds.map(|(kind, entry)| Reading {
            kind: *kind,
            state: entry.state.lock().clone(),
            objects: read(&entry.objects),
            lists: read(&entry.lists),
            watches: read(&entry.watches),
            events: read(&entry.events),
            expired: read(&entry.expired),
            failures: read(&entry.failures),
            malformed: read(&entry.malformed),
        });
        readings.collect()
    }

    /// What was written to the cluster.
    pub fn writes(&self) -> Writes {
        Writes {
            statuses: read(&self.writes.statuses),
            events: read(&self.writes.events),
            failures: read(&self.writes.failures),
        }
    }

    pub(crate) fn entry(&self, kind: Kind) -> &Entry {
        let kinds = Kind::ALL.iter().zip(&self.entries);
        let mut fitting = kinds.filter(|(of, _)| **of == kind);
        let [first, ..] = &self.entries;
        fitting.next().map_or(first, |(_, entry)| entry)
    }
}
