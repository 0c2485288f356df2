//! Who reads the ring now, and what became of what they were to see.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::record::{Counters, Tally};

/// A client that reads now.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Where it comes from; empty where that is not known.
    pub peer: Arc<str>,
    /// Whether it goes on with what comes.
    pub is_following: bool,
    /// What became of what it was to see.
    pub tally: Tally,
}

#[derive(Debug, Default)]
struct Present {
    next: u64,
    open: BTreeMap<u64, (Arc<str>, bool, Arc<Counters>)>,
    gone: Tally,
}

/// All clients.
#[derive(Debug, Default)]
pub struct Clients(Mutex<Present>);

/// A client's place among them, until it is dropped.
#[derive(Debug)]
pub struct Client {
    clients: Arc<Clients>,
    number: u64,
    meter: Arc<Counters>,
}

impl Clients {
    /// A client comes.
    pub fn join(self: &Arc<Self>, peer: &str, is_following: bool) -> Client {
        let meter = Arc::new(Counters::default());
        let mut present = self.0.lock();
        let number = present.next;
        present.next += 1;
        let place = (Arc::from(peer), is_following, Arc::clone(&meter));
        present.open.insert(number, place);
        Client {
            clients: Arc::clone(self),
            number,
            meter,
        }
    }

    /// What all of them have seen, those that have left too.
    pub fn tally(&self) -> Tally {
        let present = self.0.lock();
        let open = present.open.values();
        open.fold(present.gone, |sum, (_, _, meter)| sum + meter.tally())
    }

    /// Those that read now.
    pub fn list(&self) -> Vec<Reading> {
        let present = self.0.lock();
        let each = present.open.values();
        each.map(|(peer, is_following, meter)| Reading {
            peer: Arc::clone(peer),
            is_following: *is_following,
            tally: meter.tally(),
        })
        .collect()
    }
}

impl Client {
    /// Its counters.
    pub(super) fn meter(&self) -> &Counters {
        &self.meter
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let mut present = self.clients.0.lock();
        if present.open.remove(&self.number).is_some() {
            present.gone = present.gone + self.meter.tally();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_left_still_counts() {
        let clients = Arc::new(Clients::default());
        let client = clients.join("unix", true);
        let tally = Tally {
            seen: 5,
            delivered: 2,
            filtered: 1,
            lost: 2,
        };
        client.meter().add(tally);
        assert_eq!(clients.list().len(), 1);
        drop(client);
        assert!(clients.list().is_empty());
        assert_eq!(clients.tally(), tally);
    }
}
