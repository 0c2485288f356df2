//! Which exports there are, and how they fare.

use std::sync::Arc;

use parking_lot::Mutex;

use super::meter::Meter;
use crate::clock::Timestamp;
use crate::config;
use crate::record::{Ledger, Place, Tally};

/// All exports, for whoever asks.
#[derive(Debug, Default)]
pub struct Board(Mutex<Exports>);

#[derive(Debug, Default)]
struct Exports {
    present: Vec<Entry>,
    /// Those that are no longer configured; some may still deliver what they have.
    former: Vec<Arc<Meter>>,
    /// What those have counted that have ended.
    gone: Tally,
    changes: Changes,
}

#[derive(Debug)]
struct Entry {
    name: String,
    target: String,
    meter: Arc<Meter>,
}

/// What has changed so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Changes {
    pub(super) added: u64,
    pub(super) updated: u64,
    pub(super) removed: u64,
    /// Distinguishes what is configured from what was.
    pub(super) hash: u32,
    /// When that was applied; 0 where nothing ever was.
    pub(super) applied: Timestamp,
}

/// How an export fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Its name.
    pub name: String,
    /// Where it goes.
    pub target: String,
    /// Whether it goes on.
    pub is_active: bool,
    /// Why nothing goes out, where that is so.
    pub trouble: Option<String>,
    /// What became of what it has seen.
    pub tally: Tally,
    /// Bytes delivered.
    pub bytes: u64,
}

impl Board {
    /// Makes the ledger ask it.
    pub(super) fn count_in(self: &Arc<Self>, ledger: &Ledger) {
        let board = Arc::clone(self);
        ledger.ask(Place::Exports, move || board.tally());
    }

    fn tally(&self) -> Tally {
        let exports = self.0.lock();
        let present = exports.present.iter().map(|entry| &entry.meter);
        let all = present.chain(&exports.former);
        all.fold(exports.gone, |sum, meter| sum + meter.tally())
    }

    /// Those that are configured, in their order.
    pub fn list(&self) -> Vec<Reading> {
        let exports = self.0.lock();
        let each = exports.present.iter().map(|entry| Reading {
            name: entry.name.clone(),
            target: entry.target.clone(),
            is_active: !entry.meter.has_ended(),
            trouble: entry.meter.trouble(),
            tally: entry.meter.tally(),
            bytes: entry.meter.bytes(),
        });
        each.collect()
    }

    pub(super) fn changes(&self) -> Changes {
        self.0.lock().changes
    }

    /// Notes what is configured from now on.
    pub(super) fn configure(&self, settings: &[&config::Export]) {
        let mut exports = self.0.lock();
        exports.changes.hash = crc32fast::hash(format!("{settings:?}").as_bytes());
        exports.changes.applied = Timestamp::now();
    }

    /// An export begins; another one of this name ends.
    pub(super) fn add(&self, settings: &config::Export, meter: &Arc<Meter>) {
        let mut exports = self.0.lock();
        let entry = Entry {
            name: settings.name.clone(),
            target: settings.target.to_string(),
            meter: Arc::clone(meter),
        };
        let same = |present: &&mut Entry| present.name == entry.name;
        if let Some(present) = exports.present.iter_mut().find(same) {
            let former = std::mem::replace(present, entry);
            exports.changes.updated += 1;
            exports.leave(former.meter);
        } else {
            exports.changes.added += 1;
            exports.present.push(entry);
        }
    }

    /// An export ends.
    pub(super) fn remove(&self, name: &str) {
        let mut exports = self.0.lock();
        if let Some(at) = exports.present.iter().position(|entry| entry.name == name) {
            let former = exports.present.remove(at);
            exports.changes.removed += 1;
            exports.leave(former.meter);
        }
    }
}

impl Exports {
    fn leave(&mut self, meter: Arc<Meter>) {
        self.former.push(meter);
        let (ended, open) = self.former.drain(..).partition(|meter| meter.has_ended());
        self.former = open;
        let ended: Vec<Arc<Meter>> = ended;
        self.gone = ended
            .iter()
            .fold(self.gone, |sum, meter| sum + meter.tally());
    }
}
