//! The flow ring: the last records, for whoever asks.
//!
//! Many writers, many readers. Each slot has a lock of its own, held for one copy; a writer never
//! waits for a reader that is elsewhere. A slot keeps the memory of its text, so that recording
//! allocates nothing once the ring is warm. A reader that was overtaken learns by how much.

pub mod filter;
pub mod ingest;
pub mod reader;
pub mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::record::{Ledger, Record, Sink};

/// Text longer than this gives its memory back when its slot is used again.
const TEXT_KEPT_BYTES: usize = 4096;

/// The last records.
pub struct FlowRing {
    slots: Vec<Mutex<Slot>>,
    /// Position of the next record; never wraps.
    next: AtomicU64,
    /// The last time stamp given out: stamps are unique, since clients tell rows apart by them.
    last_time: AtomicU64,
    ledger: Arc<Ledger>,
    news: watch::Sender<()>,
    started: Timestamp,
}

#[derive(Default)]
struct Slot {
    /// Position of the record in it, from 1; 0 is none.
    position: u64,
    record: Option<Record>,
}

/// What is at a position.
#[derive(Debug)]
pub enum Read {
    /// The record.
    Record(Box<Record>),
    /// The record was overwritten; this is the oldest position that is left.
    Overtaken(u64),
    /// Nothing yet.
    Nothing,
}

impl FlowRing {
    /// A ring of `capacity` records.
    pub fn new(capacity: usize, ledger: Arc<Ledger>) -> Self {
        let (news, _) = watch::channel(());
        Self {
            slots: (0..capacity.max(1)).map(|_| Mutex::default()).collect(),
            next: AtomicU64::new(0),
            last_time: AtomicU64::new(0),
            ledger,
            news,
            started: Timestamp::now(),
        }
    }

    /// Most records kept.
    pub fn capacity(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Records kept.
    pub fn len(&self) -> u64 {
        self.end().min(self.capacity())
    }

    /// Whether nothing was recorded yet.
    pub fn is_empty(&self) -> bool {
        self.end() == 0
    }

    /// Position after the newest record: how many there ever were.
    pub fn end(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Oldest position that is left.
    pub fn start(&self) -> u64 {
        self.end().saturating_sub(self.capacity())
    }

    /// When the ring was made.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// The counters that this ring keeps.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Tells when records are added.
    pub fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// The record at a position.
    pub fn read(&self, position: u64) -> Read {
        let Some(slot) = self.slot(position) else {
            return Read::Nothing;
        };
        let slot = slot.lock();
        match (&slot.record, slot.position.checked_sub(1)) {
            (Some(record), Some(at)) if at == position => Read::Record(Box::new(record.clone())),
            (Some(_), Some(at)) if at > position => Read::Overtaken(self.start()),
            _ => Read::Nothing,
        }
    }

    fn slot(&self, position: u64) -> Option<&Mutex<Slot>> {
        let index = position.checked_rem(self.capacity())?;
        self.slots.get(usize::try_from(index).ok()?)
    }

    /// A time stamp that no other record has.
    fn stamp(&self, wanted: Timestamp) -> Timestamp {
        let unique = |last: u64| Some(wanted.0.max(last.saturating_add(1)));
        let last = self
            .last_time
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, unique);
        Timestamp(last.map_or(wanted.0, |last| wanted.0.max(last.saturating_add(1))))
    }
}

impl Sink for FlowRing {
    fn record(&self, record: &Record) {
        let time = self.stamp(record.time);
        let position = self.next.fetch_add(1, Ordering::AcqRel);
        if let Some(slot) = self.slot(position) {
            let mut slot = slot.lock();
            match &mut slot.record {
                Some(kept) if kept.text.capacity() <= TEXT_KEPT_BYTES => kept.copy_from(record),
                kept => *kept = Some(record.clone()),
            }
            if let Some(kept) = &mut slot.record {
                kept.time = time;
            }
            slot.position = position.saturating_add(1);
        }
        self.ledger.saw();
        if self.news.receiver_count() > 0 {
            self.news.send_replace(());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::{DropReason, Event, IdentityNumber, Party};

    pub(crate) fn dropped(port: u16) -> Record {
        let party = |port| Party::unnamed(([10, 0, 0, 1], port).into(), IdentityNumber(300));
        let event = Event::Drop {
            reason: DropReason::POLICY_DENIED,
        };
        Record::new(Timestamp(1000), party(port), party(80), event)
    }

    fn port(read: Read) -> Option<u16> {
        match read {
            Read::Record(record) => Some(record.source.addr.port()),
            Read::Overtaken(_) | Read::Nothing => None,
        }
    }

    #[test]
    fn keeps_the_last_records_and_says_what_is_gone() {
        let ring = FlowRing::new(3, Arc::default());
        for number in 1..=5 {
            ring.record(&dropped(number));
        }
        assert_eq!((ring.start(), ring.end(), ring.len()), (2, 5, 3));
        assert!(matches!(ring.read(0), Read::Overtaken(2)));
        assert_eq!(port(ring.read(2)), Some(3));
        assert_eq!(port(ring.read(4)), Some(5));
        assert!(matches!(ring.read(5), Read::Nothing));
        assert_eq!(ring.ledger().snapshot().seen, 5);
    }

    #[test]
    fn time_stamps_are_unique_and_rise() {
        let ring = FlowRing::new(7, Arc::default());
        for number in 1..=5 {
            ring.record(&dropped(number));
        }
        let times: Vec<u64> = (0..5)
            .filter_map(|position| match ring.read(position) {
                Read::Record(record) => Some(record.time.0),
                Read::Overtaken(_) | Read::Nothing => None,
            })
            .collect();
        assert_eq!(times, [1000, 1001, 1002, 1003, 1004]);
    }

    #[test]
    fn writers_of_many_threads_lose_nothing() {
        let ring = Arc::new(FlowRing::new(8191, Arc::default()));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| ring.record(&dropped(1))));
            }
        });
        assert_eq!(ring.len(), 4000);
        assert!((0..4000).all(|position| port(ring.read(position)) == Some(1)));
    }
}
