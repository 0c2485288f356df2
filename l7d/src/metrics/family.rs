//! A family of series, bounded.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::Budget;
use super::key::Key;
use super::table::{Series, Table};

/// Most series of a family that are kept beyond the bound: combinations of values of labels that have
/// few.
const OTHERS_MAX: usize = 256;

/// A label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) name: &'static str,
    /// Whether it may have any value; others have a few.
    pub(super) is_open: bool,
}

impl Label {
    /// A label that may have any value.
    pub(super) const fn open(name: &'static str) -> Self {
        Self {
            name,
            is_open: true,
        }
    }

    /// A label that has one of a few values.
    pub(super) const fn few(name: &'static str) -> Self {
        Self {
            name,
            is_open: false,
        }
    }
}

/// What a family is called.
#[derive(Debug)]
pub(super) struct Shape {
    /// As it is encoded: counters without `_total`, others without their unit.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Option<Unit>,
    pub(super) labels: Vec<Label>,
}

/// What a series counts.
pub(super) trait Value {
    /// Its kind.
    const TYPE: MetricType;

    /// Writes it.
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result;
}

/// A family, whatever it counts.
pub(super) trait AnyFamily {
    /// Writes all series.
    fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result;

    /// Drops series to which nothing was added since that moment.
    fn sweep(&self, before: u64);

    /// Drops series of whose labels these have these values.
    fn forget(&self, wanted: &[(&str, &str)]);
}

impl<V: Value> AnyFamily for Family<V> {
    fn write(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.encode(encoder)
    }

    fn sweep(&self, before: u64) {
        self.sweep(before);
    }

    fn forget(&self, wanted: &[(&str, &str)]) {
        self.forget(wanted);
    }
}

/// The moment of a record, and how many measurements it led to.
#[derive(Debug)]
pub(super) struct Moment {
    now: u64,
    own: Cell<u64>,
    folded: Cell<u64>,
}

impl Moment {
    /// By the monotonic clock.
    pub(super) fn new(now: u64) -> Self {
        Self {
            now,
            own: Cell::new(0),
            folded: Cell::new(0),
        }
    }

    /// The monotonic clock.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// Tells the ledger of the measurements.
    pub(super) fn tell(&self, budget: &Budget) {
        budget.count(self.own.get(), self.folded.get());
    }

    fn note(&self, is_own: bool) {
        let count = if is_own { &self.own } else { &self.folded };
        count.set(count.get() + 1);
    }
}

/// Series that differ in the values of their labels.
#[derive(Debug)]
pub(super) struct Family<V> {
    shape: Shape,
    /// Nothing where all labels have few values.
    budget: Option<Arc<Budget>>,
    make: fn() -> V,
    /// Lines of each series that count.
    lines: usize,
    series: Table<V>,
    /// Everything beyond the bound, by labels that have few values.
    others: Table<V>,
    changing: Mutex<()>,
}

thread_local! {
    /// Where keys are written, and keys beyond the bound.
    static SCRATCH: RefCell<(Key, Key)> = RefCell::default();
}

impl<V> Family<V> {
    /// Nothing was counted yet. Each series takes so many lines of the budget, unless all labels have few
    /// values.
    pub(super) fn new(shape: Shape, budget: &Arc<Budget>, lines: usize, make: fn() -> V) -> Self {
        let is_open = shape.labels.iter().any(|label| label.is_open);
        let mut family = Self::few(shape, make);
        if is_open {
            family.budget = Some(Arc::clone(budget));
            family.lines = lines;
        }
        family
    }

    /// A family whose labels all have few values.
    pub(super) fn few(shape: Shape, make: fn() -> V) -> Self {
        Self {
            shape,
            budget: None,
            make,
            lines: 0,
            series: Table::default(),
            others: Table::default(),
            changing: Mutex::default(),
        }
    }

    /// Adds to the series whose values of labels `write` writes, or to that of others where there is no
    /// room for it.
    pub(super) fn with(&self, moment: &Moment, write: impl FnOnce(&mut Key), add: impl FnOnce(&V)) {
        SCRATCH.with_borrow_mut(|(key, folded)| {
            key.clear();
            write(key);
            debug_assert_eq!(key.values().count(), self.shape.labels.len());
            let hash = self.series.hash(key);
            if let Some(shard) = self.series.shard(hash)
                && let Some(series) = shard.find(hash, key)
            {
                series.touch(moment.now);
                moment.note(true);
                return add(&series.value);
            }
            let own = self.make_own(hash, key, moment.now);
            moment.note(own.is_some());
            let series = own.unwrap_or_else(|| self.other(key, folded, moment.now));
            series.touch(moment.now);
            add(&series.value);
        });
    }

    /// A series of its own, while there is room. Labels that have few values need none.
    fn make_own(&self, hash: u64, key: &Key, now: u64) -> Option<Arc<Series<V>>> {
        let budget = self.budget.as_deref();
        if budget.is_some_and(|budget| !budget.has_room(self.lines)) {
            return None;
        }
        let _changing = self.changing.lock();
        if let Some(series) = self.series.shard(hash)?.find(hash, key) {
            return Some(Arc::clone(series));
        }
        if budget.is_some_and(|budget| !budget.take(self.lines)) {
            return None;
        }
        let series = Arc::new(Series::new(key, (self.make)(), now));
        self.series.insert(hash, Arc::clone(&series));
        Some(series)
    }

    /// The series of others.
    fn other(&self, key: &Key, folded: &mut Key, now: u64) -> Arc<Series<V>> {
        let is_open = |at: usize| self.shape.labels.get(at).is_none_or(|label| label.is_open);
        folded.fold(key, is_open);
        let found = |folded: &Key| {
            let hash = self.others.hash(folded);
            let shard = self.others.shard(hash)?;
            shard.find(hash, folded).map(Arc::clone)
        };
        if let Some(series) = found(folded) {
            return series;
        }
        let _changing = self.changing.lock();
        if self.others.len() >= OTHERS_MAX {
            folded.fold(key, |_| true);
        }
        if let Some(series) = found(folded) {
            return series;
        }
        let series = Arc::new(Series::new(folded, (self.make)(), now));
        let hash = self.others.hash(folded);
        self.others.insert(hash, Arc::clone(&series));
        series
    }

    /// Drops series to which nothing was added since that moment.
    pub(super) fn sweep(&self, before: u64) {
        let _changing = self.changing.lock();
        self.give(self.series.remove_idle(before));
    }

    /// Gives the room of so many series back.
    fn give(&self, series: usize) {
        if let Some(budget) = &self.budget {
            budget.give(series * self.lines);
        }
    }

    /// Drops series of whose labels these have these values.
    pub(super) fn forget(&self, wanted: &[(&str, &str)]) {
        let place = |name: &str| {
            let mut labels = self.shape.labels.iter();
            labels.position(|label| label.name == name)
        };
        let places = wanted
            .iter()
            .map(|(name, value)| Some((place(name)?, *value)));
        let Some(places) = places.collect::<Option<Vec<_>>>() else {
            return;
        };
        let _changing = self.changing.lock();
        let gone = self.series.remove(|series| {
            let has = |(at, value): &(usize, &str)| series.key.values().nth(*at) == Some(*value);
            places.iter().all(has)
        });
        self.give(gone);
    }

    /// All series in the order of their labels, the others at last.
    pub(super) fn all(&self) -> Vec<Arc<Series<V>>> {
        let mut all = self.series.all();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        let mut others = self.others.all();
        others.sort_by(|a, b| a.key.cmp(&b.key));
        // Where no label may have any value, a series and its other one are called alike.
        others.retain(|other| {
            all.binary_search_by(|series| series.key.cmp(&other.key))
                .is_err()
        });
        all.extend(others);
        all
    }

    /// Names and values of a series' labels, and of more.
    pub(super) fn labels<'s>(
        &'s self,
        series: &'s Series<V>,
        more: Option<(&'s str, &'s str)>,
    ) -> Vec<(&'s str, &'s str)> {
        let names = self.shape.labels.iter().map(|label| label.name);
        names.zip(series.key.values()).chain(more).collect()
    }
}

impl<V: Value> Family<V> {
    /// Writes all series.
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Shape {
            name, help, unit, ..
        } = &self.shape;
        let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), V::TYPE)?;
        for series in self.all() {
            let labels = self.labels(&series, None);
            series.value.encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl<V> Drop for Family<V> {
    fn drop(&mut self) {
        self.give(self.series.len());
    }
}
