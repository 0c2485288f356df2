//! The flow ring: the last records, for whoever asks.
//!
//! Many writers, many readers. Each slot has a lock of its own, held while a pointer is taken or a record
//! is copied; a writer never waits for a reader that is elsewhere, and readers share the record itself. A
//! slot keeps the memory of its record, so that recording allocates nothing once the ring is warm. A reader
//! that was overtaken learns by how much.
//!
//! The ring is bounded twice: by a number of records, as Hubble's, and by the bytes that they hold. Where
//! the second bound is met first, the oldest records go early.

pub mod agent_events;
pub mod clients;
pub mod filter;
pub mod ingest;
mod news;
pub mod reader;
pub mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::record::{Ledger, Losses, Place, Record, Sink};

use clients::Clients;
use filter::Filters;
use news::News;

/// Text longer than this gives its memory back when its slot is used again.
const TEXT_KEPT_BYTES: usize = 4096;

/// The last records.
pub struct FlowRing {
    slots: Box<[Mutex<Slot>]>,
    /// Most bytes that the records may hold.
    most_bytes: AtomicU64,
    /// What is kept at all.
    wanted: Option<Filters>,
    /// Position of the next record; never wraps.
    next: AtomicU64,
    /// Positions before this one were emptied, since the records held too many bytes.
    emptied: AtomicU64,
    /// Bytes that the records hold.
    bytes: AtomicU64,
    /// The last time stamp given out: stamps are unique, since clients tell rows apart by them.
    last_time: AtomicU64,
    ledger: Arc<Ledger>,
    losses: Losses,
    clients: Arc<Clients>,
    news: News,
    started: Timestamp,
}

#[derive(Default)]
struct Slot {
    /// Position of the record that was written here last, from 1; 0 is none.
    position: u64,
    /// The record, until it has to go.
    record: Option<Arc<Record>>,
    /// Bytes that it holds.
    bytes: u64,
}

/// What is at a position.
#[derive(Debug)]
pub enum Read {
    /// The record.
    Record(Arc<Record>),
    /// The record is gone; this is the oldest position that is left.
    Overtaken(u64),
    /// Nothing yet.
    Nothing,
}

impl FlowRing {
    /// A ring of `capacity` records, however large they are.
    pub fn new(capacity: usize, ledger: Arc<Ledger>) -> Self {
        let clients = Arc::new(Clients::default());
        let counted = Arc::clone(&clients);
        ledger.ask(Place::Clients, move || counted.tally());
        Self {
            slots: (0..capacity.max(1)).map(|_| Mutex::default()).collect(),
            most_bytes: AtomicU64::new(u64::MAX),
            wanted: None,
            next: AtomicU64::new(0),
            emptied: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            last_time: AtomicU64::new(0),
            ledger,
            losses: Losses::default(),
            clients,
            news: News::default(),
            started: Timestamp::now(),
        }
    }

    /// Lets the oldest records go while all of them hold more than `bytes`; the newest one stays in any
    /// case.
    #[must_use]
    pub fn bounded(self, bytes: u64) -> Self {
        Self {
            most_bytes: AtomicU64::new(bytes),
            ..self
        }
    }

    /// The same while it is in use: what is too much goes at once.
    pub fn set_most_bytes(&self, bytes: u64) {
        self.most_bytes.store(bytes, Ordering::Relaxed);
        self.make_room();
    }

    /// Keeps only what passes `wanted`; the ledger counts the others as filtered.
    #[must_use]
    pub fn keeping(self, wanted: Filters) -> Self {
        let wanted = (!wanted.is_empty()).then_some(wanted);
        Self { wanted, ..self }
    }

    /// Most records kept.
    pub fn capacity(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Records kept.
    pub fn len(&self) -> u64 {
        self.end().saturating_sub(self.start())
    }

    /// Whether nothing was recorded yet.
    pub fn is_empty(&self) -> bool {
        self.end() == 0
    }

    /// Bytes that the records hold, and the most that they may.
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes.load(Ordering::Relaxed), self.most_bytes())
    }

    fn most_bytes(&self) -> u64 {
        self.most_bytes.load(Ordering::Relaxed)
    }

    /// Position after the newest record: how many there ever were.
    pub fn end(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Oldest position that is left.
    pub fn start(&self) -> u64 {
        let overwritten = self.end().saturating_sub(self.capacity());
        overwritten.max(self.emptied.load(Ordering::Acquire))
    }

    /// When the ring was made.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// The counters that this ring keeps.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// What was lost on the way here, for those who follow.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Who reads it.
    pub fn clients(&self) -> &Arc<Clients> {
        &self.clients
    }

    /// The position of the first record that is not older than `time`: the end where all are. Times
    /// rise from record to record.
    pub fn position_at(&self, time: Timestamp) -> u64 {
        let (mut low, mut high) = (self.start(), self.end());
        while low < high {
            let middle = low + (high - low) / 2;
            let is_older = match self.read(middle) {
                Read::Record(record) => record.time < time,
                Read::Overtaken(_) => true,
                // Written at this moment.
                Read::Nothing => false,
            };
            if is_older {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Records per second over the last `span_ns`, or as far back as the ring goes.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn rate(&self, span_ns: u64) -> f64 {
        let now = Timestamp::now();
        let since = Timestamp(now.0.saturating_sub(span_ns));
        let (start, from) = (self.start(), self.position_at(since));
        let began = match self.read(start) {
            // All that is left is younger than that, and what was before is not known.
            Read::Record(oldest) if from == start && start > 0 => oldest.time,
            // What was inherited is older than the ring.
            Read::Record(oldest) => oldest.time.min(self.started),
            Read::Overtaken(_) | Read::Nothing => self.started,
        };
        let count = self.end().saturating_sub(from);
        match now.0.saturating_sub(began.max(since).0) {
            0 => 0.0,
            age => count as f64 * 1e9 / age as f64,
        }
    }

    /// Waits until there is something at a position.
    pub async fn wait_for(&self, position: u64) {
        let is_there = || !matches!(self.read(position), Read::Nothing);
        self.news.wait_until(is_there).await;
    }

    /// The record at a position.
    pub fn read(&self, position: u64) -> Read {
        let Some(slot) = self.slot(position) else {
            return Read::Nothing;
        };
        let slot = slot.lock();
        let Some(at) = slot.position.checked_sub(1).filter(|at| *at >= position) else {
            return Read::Nothing;
        };
        match &slot.record {
            Some(record) if at == position => Read::Record(Arc::clone(record)),
            Some(_) | None => {
                drop(slot);
                Read::Overtaken(self.start().max(position + 1))
            }
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

    /// Puts a copy of a record into a slot.
    fn write(&self, slot: &Mutex<Slot>, position: u64, record: &Record, time: Timestamp) {
        let mut slot = slot.lock();
        // A writer that was held up for a whole round of the ring comes too late.
        if slot.position > position {
            return;
        }
        let mut kept = slot.record.take();
        let own = kept.as_mut().and_then(Arc::get_mut);
        match own.filter(|own| own.text.capacity() <= TEXT_KEPT_BYTES) {
            Some(own) => own.copy_from(record),
            None => kept = Some(Arc::new(record.clone())),
        }
        if let Some(own) = kept.as_mut().and_then(Arc::get_mut) {
            own.time = time;
            let late_us = time.0.saturating_sub(record.time.0) / 1000;
            own.late_us = u32::try_from(late_us).unwrap_or(u32::MAX);
        }
        let bytes = kept.as_ref().map_or(0, |record| record.footprint() as u64);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_sub(slot.bytes, Ordering::Relaxed);
        *slot = Slot {
            position: position.saturating_add(1),
            record: kept,
            bytes,
        };
    }

    /// Empties the oldest slots until the bound in bytes is kept.
    fn make_room(&self) {
        while self.bytes.load(Ordering::Relaxed) > self.most_bytes() {
            let oldest = self.start();
            if oldest.saturating_add(1) >= self.end() {
                return;
            }
            if let Some(slot) = self.slot(oldest) {
                let mut slot = slot.lock();
                if slot.position == oldest.saturating_add(1) {
                    slot.record = None;
                    let bytes = std::mem::take(&mut slot.bytes);
                    self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                }
            }
            self.emptied
                .fetch_max(oldest.saturating_add(1), Ordering::AcqRel);
        }
    }

    /// Takes over what another ring has kept until now: nothing of it is counted again.
    pub fn inherit(&self, mut record: Record) {
        if !self.is_wanted(&record) {
            return;
        }
        // Its own time, from before it got a place in the other ring.
        let late_ns = u64::from(std::mem::take(&mut record.late_us)) * 1000;
        record.time = Timestamp(record.time.0.saturating_sub(late_ns));
        record.is_inherited = true;
        self.keep(&record);
    }

    fn is_wanted(&self, record: &Record) -> bool {
        self.wanted
            .as_ref()
            .is_none_or(|wanted| wanted.pass(record))
    }

    fn keep(&self, record: &Record) {
        let time = self.stamp(record.time);
        let position = self.next.fetch_add(1, Ordering::AcqRel);
        if let Some(slot) = self.slot(position) {
            self.write(slot, position, record, time);
        }
        if self.bytes.load(Ordering::Relaxed) > self.most_bytes() {
            self.make_room();
        }
        self.news.tell();
    }
}

impl Sink for FlowRing {
    fn record(&self, record: &Record) {
        self.ledger.see(Place::FlowRing, 1);
        if !self.is_wanted(record) {
            return self.ledger.filter(Place::FlowRing, 1);
        }
        self.keep(record);
        self.ledger.deliver(Place::FlowRing, 1);
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
            kernel: None,
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
        assert_eq!(ring.ledger().tally(Place::FlowRing).seen, 5);
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
    fn what_is_inherited_keeps_its_time_and_is_not_counted_again() {
        let former = FlowRing::new(7, Arc::default());
        former.record(&Record {
            time: Timestamp(9_000_000),
            ..dropped(1)
        });
        // Late: it gets its place behind the other one.
        former.record(&Record {
            time: Timestamp(2_000_000),
            ..dropped(2)
        });
        let ring = FlowRing::new(7, Arc::default());
        for position in 0..2 {
            let Read::Record(record) = former.read(position) else {
                panic!("a record");
            };
            ring.inherit(Record::clone(&record));
        }
        let kept = |position| match ring.read(position) {
            Read::Record(record) => (record.source.addr.port(), record.time.0, record.late_us),
            Read::Overtaken(_) | Read::Nothing => (0, 0, 0),
        };
        assert_eq!(kept(0), (1, 9_000_000, 0));
        assert_eq!(kept(1), (2, 9_000_001, 7000));
        assert_eq!(ring.ledger().tally(Place::FlowRing).seen, 0);
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

    /// A record with so many bytes of text.
    fn long(port: u16, bytes: usize) -> Record {
        let mut record = dropped(port);
        record.text.push(&vec![b'a'; bytes]);
        record
    }

    #[test]
    fn the_oldest_go_when_all_hold_too_many_bytes() {
        let ring = FlowRing::new(1023, Arc::default()).bounded(100_000);
        for number in 1..=100 {
            ring.record(&long(number, 9000));
            let (bytes, most) = ring.bytes();
            assert!(bytes <= most, "{bytes} after {number}");
        }
        assert!((8..=11).contains(&ring.len()), "{}", ring.len());
        assert!(matches!(ring.read(3), Read::Overtaken(start) if start == ring.start()));
        assert_eq!(
            port(ring.read(ring.start())),
            u16::try_from(ring.start() + 1).ok()
        );
        for number in 1..=2000 {
            ring.record(&dropped(number));
        }
        assert!(ring.len() > 100, "{}", ring.len());
        let tally = ring.ledger().tally(Place::FlowRing);
        assert_eq!((tally.seen, tally.delivered), (2100, 2100));
    }

    #[test]
    fn a_smaller_bound_holds_at_once_and_a_larger_one_from_then_on() {
        let ring = FlowRing::new(1023, Arc::default()).bounded(100_000);
        for number in 1..=20 {
            ring.record(&long(number, 9000));
        }
        ring.set_most_bytes(25_000);
        assert!(ring.bytes().0 <= 25_000);
        assert!((1..=2).contains(&ring.len()), "{}", ring.len());
        ring.set_most_bytes(100_000);
        for number in 21..=40 {
            ring.record(&long(number, 9000));
        }
        assert!((8..=11).contains(&ring.len()), "{}", ring.len());
    }

    #[test]
    fn a_record_larger_than_the_bound_is_kept_alone() {
        let ring = FlowRing::new(7, Arc::default()).bounded(1000);
        ring.record(&dropped(1));
        ring.record(&long(2, 50_000));
        assert_eq!((ring.start(), ring.len()), (1, 1));
        assert_eq!(port(ring.read(1)), Some(2));
        ring.record(&dropped(3));
        assert_eq!(port(ring.read(ring.start())), Some(3));
    }

    #[test]
    fn a_record_that_somebody_still_reads_is_not_written_over() {
        let ring = FlowRing::new(1, Arc::default());
        ring.record(&dropped(1));
        let Read::Record(held) = ring.read(0) else {
            panic!("no record");
        };
        ring.record(&dropped(2));
        assert_eq!(held.source.addr.port(), 1);
        assert_eq!(port(ring.read(1)), Some(2));
    }

    #[test]
    fn what_is_not_wanted_is_counted_as_filtered() {
        let node = Arc::new(view::NodeView::default());
        let deny = proto::flow::FlowFilter {
            source_port: vec!["3".to_owned()],
            ..proto::flow::FlowFilter::default()
        };
        let wanted = Filters::new(&[], &[deny], &node).expect("a filter");
        let ring = FlowRing::new(7, Arc::default()).keeping(wanted);
        for number in 1..=5 {
            ring.record(&dropped(number));
        }
        let tally = ring.ledger().tally(Place::FlowRing);
        assert_eq!((tally.seen, tally.delivered, tally.filtered), (5, 4, 1));
        assert_eq!(
            (0..4)
                .filter_map(|at| port(ring.read(at)))
                .collect::<Vec<_>>(),
            [1, 2, 4, 5]
        );
    }
}
