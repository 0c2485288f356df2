//! What arrives at a collector.

use std::net::SocketAddr;
use std::sync::Mutex;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::super::super::{Stopper, stop};
use super::*;
use crate::config::{ExportTarget, Signal};
use crate::flow::FlowRing;
use crate::flow::filter::Filters;
use crate::record::{Sink as _, Tally};

/// A collector of our own: what it got, and what it says.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Received>>);

#[derive(Default)]
struct Received {
    ports: Vec<i64>,
    requests: usize,
    lost: i64,
    tokens: Vec<String>,
    /// Says this to the next requests instead of taking them, last one first.
    refusals: Vec<Status>,
    rejects: i64,
}

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let token = request.metadata().get("authorization");
        let token = token
            .and_then(|token| token.to_str().ok())
            .unwrap_or_default();
        let mut received = self.0.lock().expect("a lock");
        received.tokens.push(token.to_owned());
        received.requests += 1;
        if let Some(refusal) = received.refusals.pop() {
            return Err(refusal);
        }
        for resource in &request.get_ref().resource_logs {
            for log in resource
                .scope_logs
                .iter()
                .flat_map(|scope| &scope.log_records)
            {
                if let Some(lost) = number(&log.attributes, "l7d.lost.count") {
                    received.lost += lost;
                } else {
                    received
                        .ports
                        .extend(number(&log.attributes, "source.port"));
                }
            }
        }
        let partial_success = (received.rejects > 0).then(|| ExportLogsPartialSuccess {
            rejected_log_records: received.rejects,
            error_message: "not all of them".to_owned(),
        });
        Ok(Response::new(ExportLogsServiceResponse { partial_success }))
    }
}

impl Receiver {
    /// Listens, from now on, where it is asked to.
    async fn listen(&self, address: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tonic::transport::Server::builder()
            .add_service(LogsServiceServer::new(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        address
    }

    fn with<T>(&self, look: impl FnOnce(&mut Received) -> T) -> T {
        look(&mut self.0.lock().expect("a lock"))
    }
}

struct World {
    ring: Arc<FlowRing>,
    meter: Arc<Meter>,
    stopper: Stopper,
    export: tokio::task::JoinHandle<()>,
}

/// An export of a ring of this size to a collector, in a task of this runtime.
fn world(address: SocketAddr, capacity: usize) -> World {
    let ring = Arc::new(FlowRing::new(capacity, Arc::default()));
    let meter = Arc::new(Meter::default());
    let (stopper, stop) = stop();
    let yaml = format!(
        "exports: [ {{ name: a, otlp: {{ endpoint: \"http://{address}\", headers: {{ Authorization: \
         Bearer x }} }} }} ]"
    );
    let config = crate::config::read_config("test", &yaml).expect("a configuration");
    let ExportTarget::Otlp(settings) = config.exports[0].target.clone() else {
        panic!("no collector");
    };
    assert_eq!(settings.signal, Signal::Logs);
    let collector = Collector {
        name: "a".to_owned(),
        settings,
        form: Form::Logs,
        intake: Intake::new(
            Arc::clone(&ring),
            Filters::default(),
            (0, None),
            Arc::clone(&meter),
        ),
        view: view(),
        untold: Untold::new(Some(ring.losses().follow())),
        meter: Arc::clone(&meter),
    };
    World {
        ring,
        meter,
        stopper,
        export: tokio::spawn(collector.run(stop)),
    }
}

impl World {
    /// Waits until everything has arrived.
    async fn settled(&self) -> Tally {
        loop {
            let tally = self.meter.tally();
            if tally.seen == self.ring.end() && tally.waiting() == 0 {
                return tally;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn stop(self) -> Tally {
        self.stopper.stop_at(self.ring.end());
        self.export.await.expect("it ends");
        self.meter.tally()
    }
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let limited = async { tokio::time::timeout(Duration::from_mins(1), work).await };
    runtime
        .expect("a runtime")
        .block_on(limited)
        .expect("in time")
}

#[test]
fn every_flow_arrives_once_with_the_credentials() {
    run(async {
        let receiver = Receiver::default();
        let world = world(receiver.listen(ANY).await, 16_383);
        (0..10_000).for_each(|number| world.ring.record(&dropped(number)));
        let tally = world.settled().await;
        assert_eq!((tally.delivered, tally.lost), (10_000, 0));
        receiver.with(|received| {
            received.ports.sort_unstable();
            assert_eq!(received.ports, (0..10_000).collect::<Vec<i64>>());
            assert!(received.requests < 40, "{}", received.requests);
            assert!(received.tokens.iter().all(|token| token == "Bearer x"));
        });
        assert_eq!(world.stop().await.waiting(), 0);
    });
}

#[test]
fn a_collector_that_is_not_there_yet_gets_what_was_not_overwritten() {
    run(async {
        // A port of which is known that nobody listens.
        let address = Receiver::default().listen(ANY).await;
        let free = TcpListener::bind(ANY).await.expect("a port");
        let later = free.local_addr().expect("an address");
        drop(free);
        assert_ne!(address, later);
        let world = world(later, 1023);
        while world.meter.trouble().is_none() {
            (0..3000).for_each(|number| world.ring.record(&dropped(number)));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let receiver = Receiver::default();
        receiver.listen(later).await;
        let tally = world.settled().await;
        assert!(tally.delivered > 1000 && tally.lost > 0, "{tally:?}");
        assert_eq!(tally.delivered + tally.lost, world.ring.end());
        assert_eq!(world.meter.trouble(), None);
        let lost = tally.lost;
        world.stop().await;
        receiver.with(|received| {
            assert_eq!(received.ports.len() as u64, tally.delivered);
            assert_eq!(u64::try_from(received.lost), Ok(lost));
        });
    });
}

#[test]
fn what_a_collector_cannot_take_now_is_sent_again_and_what_it_never_will_is_lost() {
    run(async {
        let receiver = Receiver::default();
        let address = receiver.listen(ANY).await;
        receiver.with(|received| received.refusals = vec![Status::unavailable("busy")]);
        let world = world(address, 1023);
        world.ring.record(&dropped(1));
        assert_eq!(world.settled().await.delivered, 1);
        assert_eq!(receiver.with(|received| received.requests), 2);
        receiver.with(|received| received.refusals = vec![Status::invalid_argument("what")]);
        world.ring.record(&dropped(2));
        assert_eq!(world.settled().await.lost, 1);
        assert_eq!(
            world.meter.trouble().as_deref(),
            Some("InvalidArgument: what")
        );
        receiver.with(|received| received.refusals = vec![Status::unknown("a bug")]);
        world.ring.record(&dropped(2));
        assert_eq!(world.settled().await.lost, 2);
        receiver.with(|received| received.rejects = 2);
        for number in 3..8 {
            world.ring.record(&dropped(number));
        }
        let tally = world.settled().await;
        assert_eq!((tally.delivered, tally.lost), (4, 4));
        assert_eq!(world.meter.trouble().as_deref(), Some("not all of them"));
        receiver.with(|received| received.rejects = 0);
        world.ring.record(&dropped(8));
        world.settled().await;
        assert_eq!(world.meter.trouble(), None);
    });
}

#[test]
fn an_export_that_is_told_to_stop_gives_up_a_collector_that_does_not_answer() {
    run(async {
        // It accepts, and says nothing.
        let silent = TcpListener::bind(ANY).await.expect("a port");
        let world = world(silent.local_addr().expect("an address"), 1023);
        (0..100).for_each(|number| world.ring.record(&dropped(number)));
        let tally = world.stop().await;
        assert_eq!((tally.seen, tally.delivered, tally.lost), (100, 0, 100));
    });
}
