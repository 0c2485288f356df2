//! A server whose ring is fed while clients follow.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use l7d::flow::FlowRing;
use l7d::flow::view::{Interfaces, NodeView};
use l7d::metrics::CallsLayer;
use l7d::record::{Place, Sink as _};
use l7d::server::{AgentStatus, Peers, Sources, start_on};
use rustix::time::ClockId;
use serde_json::json;
use tokio::sync::watch;

use crate::cpu_seconds;
use crate::flows::Source;

/// Serves a ring of so many records until standard input ends. A line `RATE SECONDS` there has it fed so
/// many records a second for so long, and figures printed.
pub(crate) fn run(socket: PathBuf, records: u64) {
    let capacity = usize::try_from(records).expect("a number of records");
    let ring = Arc::new(FlowRing::new(capacity, Arc::default()));
    let mut source = Source::new();
    (0..records).for_each(|_| ring.record(&source.next()));
    let (stop, stopped) = watch::channel(false);
    let (teller, started) = sync_channel(1);
    let sources = sources(Arc::clone(&ring));
    // As the agent has it: one thread for all clients.
    let api = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let served = start_on(Some(&socket), None, &sources, &stopped).await;
            served.expect("the API");
            teller.send(()).expect("somebody waits");
            let mut stop = stopped.clone();
            stop.wait_for(|stop| *stop)
                .await
                .expect("somebody stops it");
        });
    });
    started.recv().expect("the API serves");
    say("serving");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let mut words = line.split(' ').filter_map(|word| word.parse().ok());
        if let (Some(rate), Some(seconds)) = (words.next(), words.next()) {
            say(&feed(&ring, &mut source, rate, seconds));
        }
    }
    stop.send_replace(true);
    api.join().expect("the API ends");
}

fn say(text: &str) {
    println!("{text}");
    std::io::stdout().flush().expect("standard output");
}

fn sources(ring: Arc<FlowRing>) -> Sources {
    let interfaces = Interfaces::default();
    interfaces.learn(7, "eth0");
    Sources {
        ring,
        events: Arc::default(),
        node: Arc::new(NodeView {
            name: "node-1".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: 1,
            interfaces,
            ..NodeView::default()
        }),
        status: Arc::new(AgentStatus::default),
        names: Arc::new(Vec::new),
        audits: Arc::new(Vec::new),
        peers: watch::Sender::new(Arc::new(Peers::default())).subscribe(),
        calls: CallsLayer::default(),
    }
}

/// Records come as a node's do: a few at a time, all the time.
fn feed(ring: &FlowRing, source: &mut Source, rate: u64, seconds: u64) -> String {
    let (began, cpu) = (Instant::now(), cpu_seconds(ClockId::ProcessCPUTime));
    let own = cpu_seconds(ClockId::ThreadCPUTime);
    let all = rate * seconds;
    let mut fed = 0;
    let mut slowest = Duration::ZERO;
    while fed < all {
        let elapsed = began.elapsed();
        let due = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX) / 1000 * rate / 1_000_000;
        let due = due.min(all);
        let start = Instant::now();
        (fed..due).for_each(|_| ring.record(&source.next()));
        slowest = slowest.max(start.elapsed());
        fed = due.max(fed);
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let feeder = cpu_seconds(ClockId::ThreadCPUTime) - own;
    let tally = ring.ledger().tally(Place::Clients);
    json!({
        "fed": fed,
        "seconds": began.elapsed().as_secs_f64(),
        "cpu": cpu_seconds(ClockId::ProcessCPUTime) - cpu - feeder,
        "feeder": feeder,
        "slowest_ms": slowest.as_secs_f64() * 1e3,
        "followers": ring.clients().list().len(),
        "delivered": tally.delivered,
        "lost": tally.lost,
    })
    .to_string()
}
