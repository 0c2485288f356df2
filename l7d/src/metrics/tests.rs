//! What records become in metrics.

use std::sync::Arc;

use super::exposition::Format;
use super::{Counting, Exposition, Sources, Wanted};
use crate::clock::Timestamp;
use crate::config::{self, PairLabels};
use crate::flow::FlowRing;
use crate::flow::filter::Filters;
use crate::record::{
    ConnState, Direct, DropReason, End, EndedBy, Endpoint, EndpointId, Event, IdentityNumber,
    Ledger, Party, Place, Record, Sink as _, TcpHealth, Trace, TracePoint, Why, Workload,
};
use crate::server::{AgentStatus, ClusterStatus};

pub(super) struct Bench {
    ring: Arc<FlowRing>,
    pub(super) counting: Counting,
}

impl Bench {
    pub(super) fn new(settings: &config::Metrics) -> Self {
        let ring = Arc::new(FlowRing::new(7, Arc::new(Ledger::default())));
        let counting = Counting::new(settings, &ring, Arc::clone(&ring) as Arc<_>);
        Self { ring, counting }
    }

    /// With these of Hubble's metrics.
    pub(super) fn counting(hubble: &str) -> Self {
        let bench = Self::new(&config::Metrics::default());
        bench.set_hubble(hubble);
        bench
    }

    /// Takes over other ones of Hubble's metrics.
    pub(super) fn set_hubble(&self, hubble: &str) {
        let wanted = hubble.split_whitespace().map(wanted);
        let settings = config::Metrics::default();
        self.counting.set(&settings, wanted.collect());
    }

    pub(super) fn scrape(&self) -> String {
        let registry = self.counting.registry(&Sources {
            ring: Arc::clone(&self.ring),
            status: Arc::new(|| AgentStatus {
                cluster: Some(ClusterStatus::default()),
                ..AgentStatus::default()
            }),
            kernel_drops: None,
            calls: Arc::default(),
        });
        let exposition = Exposition::new(registry);
        exposition.text(Format::Open).expect("text")
    }

    /// Lines of a family with values.
    pub(super) fn lines(&self, family: &str) -> Vec<String> {
        let text = self.scrape();
        let lines = text.lines().filter(|line| line.starts_with(family));
        lines.map(str::to_owned).collect()
    }
}

pub(super) fn party(name: &str, workload: Option<&str>) -> Party {
    Party {
        endpoint: Some(Arc::new(Endpoint {
            id: EndpointId(1),
            identity: IdentityNumber(300),
            cluster: String::new(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            labels: [].into(),
            workload: workload.map(|name| Workload {
                kind: "Deployment".to_owned(),
                name: name.to_owned(),
            }),
        })),
        ..Party::unnamed(([10, 0, 0, 1], 1).into(), IdentityNumber(300))
    }
}

fn health(retransmits: u32, srtt_us: u32) -> TcpHealth {
    TcpHealth {
        handshake_us: 900,
        srtt_us,
        retransmits,
        ..TcpHealth::default()
    }
}

fn ended(how: EndedBy, sent: TcpHealth, received: TcpHealth) -> Event {
    let way = |health| Direct {
        health,
        ..Direct::default()
    };
    Event::End(End {
        point: TracePoint::ToEndpoint,
        how,
        duration_ns: 1,
        sent: way(sent),
        received: way(received),
    })
}

pub(super) fn record(event: Event) -> Record {
    let (client, server) = (party("web-1", Some("web")), party("db-0", None));
    let mut record = Record::new(Timestamp(1), client, server, event);
    record.connection = 7;
    record
}

const PAIR: &str = "source_namespace=\"shop\",source_workload=\"web\",destination_namespace=\"shop\",\
                    destination_workload=\"db-0\"";

#[test]
fn a_connection_is_counted_at_its_end() {
    let bench = Bench::new(&config::Metrics::default());
    let end = ended(EndedBy::ResetByServer, health(3, 400), health(0, 0));
    bench.counting.record(&record(end));
    assert_eq!(
        bench.lines("l7d_tcp_connections_total"),
        [format!(
            "l7d_tcp_connections_total{{{PAIR},ended=\"reset_by_server\"}} 1"
        )]
    );
    assert_eq!(
        bench.lines("l7d_tcp_retransmits_total"),
        [format!(
            "l7d_tcp_retransmits_total{{{PAIR},sender=\"client\"}} 3"
        )]
    );
    let handshake = bench.lines("l7d_tcp_handshake_seconds_sum");
    assert_eq!(
        handshake,
        [format!("l7d_tcp_handshake_seconds_sum{{{PAIR}}} 0.0009")]
    );
    let rtt = bench.lines("l7d_tcp_rtt_seconds_count");
    assert_eq!(
        rtt,
        [format!(
            "l7d_tcp_rtt_seconds_count{{{PAIR},sender=\"client\"}} 1"
        )]
    );
}

#[test]
fn what_a_long_connection_repeats_is_counted_once_and_at_once() {
    let bench = Bench::new(&config::Metrics::default());
    let trace = |retransmits| {
        Event::Trace(Trace {
            point: TracePoint::ToEndpoint,
            state: ConnState::Established,
            why: Why::Interval,
            packets: 1,
            bytes: 1,
            health: health(retransmits, 0),
        })
    };
    let retransmits = || bench.lines("l7d_tcp_retransmits_total").join("\n");
    for (told, counted) in [(2, 2), (2, 2), (5, 5)] {
        bench.counting.record(&record(trace(told)));
        assert!(
            retransmits().ends_with(&format!(" {counted}")),
            "{}",
            retransmits()
        );
    }
    let end = ended(EndedBy::Closed, health(6, 0), health(1, 0));
    bench.counting.record(&record(end));
    let lines = retransmits();
    assert!(lines.contains("sender=\"client\"} 6"), "{lines}");
    assert!(lines.contains("sender=\"server\"} 1"), "{lines}");
}

#[test]
fn pairs_beyond_the_bound_are_counted_together_and_told_in_the_ledger() {
    let settings = config::Metrics {
        labels: PairLabels::Pod,
        max_series: 3 * super::tcp::LINES,
        ..config::Metrics::default()
    };
    let bench = Bench::new(&settings);
    for number in 0..50_usize {
        let mut record = record(ended(EndedBy::Closed, health(0, 0), health(0, 0)));
        record.source = party(&format!("web-{number}"), Some("web"));
        bench.counting.record(&record);
    }
    let lines = bench.lines("l7d_tcp_connections_total");
    assert_eq!(lines.len(), 4, "{lines:?}");
    let others = lines.iter().find(|line| line.contains("(others)"));
    assert!(
        others.is_some_and(|line| line.ends_with(" 47")),
        "{lines:?}"
    );
    let tally = bench.ring.ledger().tally(Place::Series);
    assert_eq!((tally.seen, tally.delivered, tally.lost), (50, 3, 47));
    assert_eq!(bench.counting.folded(), 47);
    assert!(bench.scrape().lines().count() < 3 * super::tcp::LINES + 200);
}

#[test]
fn a_pair_of_which_nothing_is_heard_makes_room() {
    let settings = config::Metrics {
        max_series: super::tcp::LINES,
        idle: std::time::Duration::ZERO,
        ..config::Metrics::default()
    };
    let bench = Bench::new(&settings);
    let end = || record(ended(EndedBy::Closed, health(0, 0), health(0, 0)));
    bench.counting.record(&end());
    // The coarse clock moves on within some milliseconds.
    let is_gone = || {
        bench.counting.sweep();
        bench.lines("l7d_tcp_connections_total").is_empty()
    };
    while !is_gone() {
        std::thread::yield_now();
    }
    let mut other = end();
    other.source = party("new", None);
    bench.counting.record(&other);
    let lines = bench.lines("l7d_tcp_connections_total");
    assert!(
        lines.len() == 1 && lines[0].contains("source_workload=\"new\""),
        "{lines:?}"
    );
}

#[test]
fn drops_have_hubbles_reason_and_losses_hubbles_sources() {
    let bench = Bench::new(&config::Metrics::default());
    let drop = Event::Drop {
        reason: DropReason::POLICY_DENIED,
        kernel: None,
    };
    bench.counting.record(&record(drop));
    assert_eq!(
        bench.lines("l7d_drops_total"),
        ["l7d_drops_total{reason=\"POLICY_DENIED\",kernel_reason=\"\",direction=\"unknown\"} 1"]
    );
    bench.ring.ledger().lose(Place::KernelRing, 5);
    bench.ring.ledger().lose(Place::Decode, 2);
    assert_eq!(
        bench.lines("hubble_lost_events_total"),
        [
            "hubble_lost_events_total{source=\"hubble_ring_buffer\"} 0",
            "hubble_lost_events_total{source=\"observer_events_queue\"} 2",
            "hubble_lost_events_total{source=\"perf_event_ring_buffer\"} 5",
        ]
    );
}

#[test]
fn every_family_is_documented_under_its_name() {
    let kinds = config::RetinaKind::NAMES.map(|(name, _)| format!("{{ metricName: {name} }}"));
    let text = format!(
        "metrics: {{ retina: {{ node: true, contextOptions: [ {} ] }} }}",
        kinds.join(", ")
    );
    let settings = config::read_config("l7d.yaml", &text).expect("a configuration");
    let page = include_str!("../../../docs/metrics.md");
    let mut shown = 0;
    for http in ["http", "httpV2"] {
        let bench = Bench::new(&settings.metrics);
        let others = config::HubblePlugin::NAMES
            .into_iter()
            .filter(|(name, _)| !name.starts_with("http"));
        let wanted = others.map(|(name, _)| name).chain([http]).map(wanted);
        bench.counting.set(&settings.metrics, wanted.collect());
        let text = bench.scrape();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap_or_default();
            let end = if kind == "counter" { "_total" } else { "" };
            assert!(
                page.contains(&format!("`{name}{end}`")),
                "{name}{end} is not in docs/metrics.md"
            );
            shown += 1;
        }
        assert!(text.ends_with("# EOF\n"));
    }
    assert!(shown > 100, "{shown}");
}

fn wanted(metric: &str) -> Wanted {
    Wanted {
        metric: config::HubbleMetric::parse(metric).expect("a metric"),
        filters: Filters::default(),
    }
}
