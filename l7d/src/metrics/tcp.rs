//! How TCP connections fare, by pairs of endpoints.
//!
//! A connection is counted when it ends. What it had to repeat, and windows that closed, are counted as
//! soon as a record tells of them: connections of days would tell nothing until they end otherwise.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;

use super::Budget;
use super::family::{Family, Moment, Shape, Value as _};
use super::histogram::{Histogram, NETWORK};
use super::pair::{self, PairRef};
use super::table;
use crate::config::PairLabels;
use crate::record::{ConnState, Direct, EndedBy, Event, L4, Record, TcpHealth, Trace, Why};

/// Connections whose repetitions were counted before their end; of more, all are counted at the end.
const AHEAD_MAX: usize = 65_536;

/// Ways to end, in the order of their slots.
const ENDS: [EndedBy; 7] = [
    EndedBy::Closed,
    EndedBy::ResetByClient,
    EndedBy::ResetByServer,
    EndedBy::Refused,
    EndedBy::NoAnswer,
    EndedBy::Idle,
    EndedBy::Replaced,
];
/// Both ways of a connection, by who sends.
const SENDERS: [&str; 2] = ["client", "server"];
/// Lines that a pair may take: ways to end, three histograms, two counters for each sender, and
/// overflows.
pub(super) const LINES: usize = ENDS.len() + 3 * NETWORK.lines() + 2 * SENDERS.len() + 1;

/// What is known of the connections between two.
#[derive(Debug)]
struct Pair {
    ends: [AtomicU64; ENDS.len()],
    handshakes: Histogram,
    round_trips: [Histogram; 2],
    retransmits: [AtomicU64; 2],
    zero_windows: [AtomicU64; 2],
    listen_overflows: AtomicU64,
}

/// What a direction of a connection did more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Repeated {
    segments: u32,
    closed_windows: u32,
}

impl Repeated {
    fn of(health: &TcpHealth) -> Self {
        Self {
            segments: health.retransmits,
            closed_windows: health.zero_windows,
        }
    }

    fn since(self, former: Self) -> Self {
        Self {
            segments: self.segments.saturating_sub(former.segments),
            closed_windows: self.closed_windows.saturating_sub(former.closed_windows),
        }
    }
}

/// All pairs.
#[derive(Debug)]
pub(super) struct Connections {
    labels: PairLabels,
    pairs: Family<Pair>,
    /// What was counted of connections that have not ended.
    ahead: Mutex<HashMap<u64, [Repeated; 2], ahash::RandomState>>,
}

impl Pair {
    fn new() -> Self {
        Self {
            ends: Default::default(),
            handshakes: Histogram::new(&NETWORK),
            round_trips: [Histogram::new(&NETWORK), Histogram::new(&NETWORK)],
            retransmits: Default::default(),
            zero_windows: Default::default(),
            listen_overflows: AtomicU64::default(),
        }
    }

    fn add(&self, at: usize, fresh: Repeated) {
        add(&self.retransmits, at, u64::from(fresh.segments));
        add(&self.zero_windows, at, u64::from(fresh.closed_windows));
    }

    fn observe_round_trip(&self, at: usize, health: &TcpHealth) {
        if let Some(times) = self.round_trips.get(at).filter(|_| health.srtt_us > 0) {
            times.observe(health.srtt_us.into());
        }
    }
}

fn add(counters: &[AtomicU64], at: usize, count: u64) {
    if let Some(counter) = counters.get(at).filter(|_| count > 0) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

impl Connections {
    pub(super) fn new(labels: PairLabels, budget: &Arc<Budget>) -> Self {
        let shape = Shape {
            name: "l7d_tcp",
            help: "",
            unit: None,
            labels: pair::labels(labels),
        };
        Self {
            labels,
            pairs: Family::new(shape, budget, LINES, Pair::new),
            ahead: Mutex::default(),
        }
    }

    /// Counts what a record tells.
    pub(super) fn note(&self, record: &Record, moment: &Moment) {
        match &record.event {
            Event::End(end) if is_tcp(record) => {
                self.end(record, moment, end.how, [&end.sent, &end.received]);
            }
            Event::Trace(trace) if is_tcp(record) => self.trace(record, moment, trace),
            Event::Drop {
                kernel: Some(kernel),
                ..
            } if kernel.queue.is_some() => {
                let pair = PairRef::of(&record.source, &record.destination, self.labels);
                self.with(moment, pair, |series| {
                    series.listen_overflows.fetch_add(1, Ordering::Relaxed);
                });
            }
            Event::Dns(_)
            | Event::Drop { .. }
            | Event::End(_)
            | Event::Http(_)
            | Event::Opaque(_)
            | Event::PolicyVerdict { .. }
            | Event::Trace(_) => {}
        }
    }

    fn end(&self, record: &Record, moment: &Moment, how: EndedBy, ways: [&Direct; 2]) {
        let fresh = self.rest(record.connection, ways.map(|way| &way.health));
        let pair = PairRef::of(&record.source, &record.destination, self.labels);
        self.with(moment, pair, |series| {
            if let Some(slot) = ENDS.iter().position(|end| *end == how) {
                add(&series.ends, slot, 1);
            }
            let handshake = ways.iter().map(|way| way.health.handshake_us).max();
            if let Some(time) = handshake.filter(|time| *time > 0) {
                series.handshakes.observe(time.into());
            }
            for (at, way) in ways.iter().enumerate() {
                series.observe_round_trip(at, &way.health);
            }
            for (at, fresh) in fresh.into_iter().enumerate() {
                series.add(at, fresh);
            }
        });
    }

    /// A connection that goes on.
    fn trace(&self, record: &Record, moment: &Moment, trace: &Trace) {
        let health = &trace.health;
        let is_due = trace.why == Why::Interval && health.srtt_us > 0;
        let is_reply = trace.state == ConnState::Reply;
        let at = usize::from(is_reply);
        let fresh = self.ahead(record.connection, at, health);
        if fresh == Repeated::default() && !is_due {
            return;
        }
        let (client, server) = if is_reply {
            (&record.destination, &record.source)
        } else {
            (&record.source, &record.destination)
        };
        let pair = PairRef::of(client, server, self.labels);
        self.with(moment, pair, |series| {
            if is_due {
                series.observe_round_trip(at, health);
            }
            series.add(at, fresh);
        });
    }

    /// What a direction of an open connection has repeated since that was last counted.
    fn ahead(&self, connection: u64, at: usize, health: &TcpHealth) -> Repeated {
        let now = Repeated::of(health);
        if now == Repeated::default() {
            return now;
        }
        let mut ahead = self.ahead.lock();
        if ahead.len() >= AHEAD_MAX && !ahead.contains_key(&connection) {
            // Counted at its end, all at once.
            return Repeated::default();
        }
        let told = ahead.entry(connection).or_default();
        let former = told.get_mut(at).map(|told| std::mem::replace(told, now));
        now.since(former.unwrap_or_default())
    }

    /// What both directions of a connection that has ended repeated since that was last counted.
    fn rest(&self, connection: u64, health: [&TcpHealth; 2]) -> [Repeated; 2] {
        let [sent, received] = health.map(Repeated::of);
        if sent == Repeated::default() && received == Repeated::default() {
            return [sent, received];
        }
        let told = self.ahead.lock().remove(&connection);
        let [sent_before, received_before] = told.unwrap_or_default();
        [sent.since(sent_before), received.since(received_before)]
    }

    /// Adds to the series of a pair, or of others where there is no room for it.
    fn with(&self, moment: &Moment, pair: PairRef<'_>, add: impl FnOnce(&Pair)) {
        self.pairs.with(moment, |key| pair.write(key), add);
    }

    /// Drops pairs of which nothing was heard since that moment.
    pub(super) fn sweep(&self, before: u64) {
        self.pairs.sweep(before);
    }

    /// Drops pairs whose labels have these values.
    pub(super) fn forget(&self, wanted: &[(&str, &str)]) {
        self.pairs.forget(wanted);
    }
}

fn is_tcp(record: &Record) -> bool {
    matches!(record.l4, L4::Tcp { .. })
}

type Series = table::Series<Pair>;

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.pairs.all();
        let mut family = encoder.encode_descriptor(
            "l7d_tcp_connections",
            "TCP connections that have ended, by how",
            None,
            MetricType::Counter,
        )?;
        for series in &all {
            for (end, count) in ENDS.iter().zip(&series.value.ends) {
                self.count_line(&mut family, series, Some(("ended", end.as_str())), count)?;
            }
        }
        let mut family = encoder.encode_descriptor(
            "l7d_tcp_handshake",
            "Time from the first SYN to the client's first ACK",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for series in &all {
            self.time_lines(&mut family, series, None, &series.value.handshakes)?;
        }
        let mut family = encoder.encode_descriptor(
            "l7d_tcp_rtt",
            "Smoothed time from a segment to its ACK, seen from this node, by who sends",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        for series in &all {
            for (sender, times) in SENDERS.iter().zip(&series.value.round_trips) {
                self.time_lines(&mut family, series, Some(("sender", sender)), times)?;
            }
        }
        self.encode_repeated(&mut encoder, &all)
    }
}

impl Connections {
    fn encode_repeated(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        all: &[Arc<Series>],
    ) -> fmt::Result {
        for (name, help, of) in [
            (
                "l7d_tcp_retransmits",
                "Segments that repeated what had been seen already, by who sent them",
                (|pair| &pair.retransmits) as fn(&Pair) -> &[AtomicU64; 2],
            ),
            (
                "l7d_tcp_zero_windows",
                "How often a side closed its window, by who did",
                |pair| &pair.zero_windows,
            ),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for series in all {
                for (sender, count) in SENDERS.iter().zip(of(&series.value)) {
                    self.count_line(&mut family, series, Some(("sender", sender)), count)?;
                }
            }
        }
        let mut family = encoder.encode_descriptor(
            "l7d_tcp_listen_overflows",
            "SYNs dropped since the server's queue of connections was full",
            None,
            MetricType::Counter,
        )?;
        for series in all {
            self.count_line(&mut family, series, None, &series.value.listen_overflows)?;
        }
        Ok(())
    }

    /// A line, where there is anything to tell.
    fn count_line(
        &self,
        family: &mut MetricEncoder<'_>,
        series: &Series,
        more: Option<(&str, &str)>,
        count: &AtomicU64,
    ) -> fmt::Result {
        let count = count.load(Ordering::Relaxed);
        if count == 0 {
            return Ok(());
        }
        let labels = self.pairs.labels(series, more);
        ConstCounter::new(count).encode(family.encode_family(&labels)?)
    }

    fn time_lines(
        &self,
        family: &mut MetricEncoder<'_>,
        series: &Series,
        more: Option<(&str, &str)>,
        times: &Histogram,
    ) -> fmt::Result {
        if times.count() == 0 {
            return Ok(());
        }
        let labels = self.pairs.labels(series, more);
        times.encode(family.encode_family(&labels)?)
    }
}
