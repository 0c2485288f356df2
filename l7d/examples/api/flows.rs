//! Records as an agent makes them: requests and answers, look-ups, packets, verdicts.

use std::net::SocketAddr;
use std::sync::Arc;

use l7d::clock::Timestamp;
use l7d::record::{
    ConnState, Direction, DropReason, Endpoint, EndpointId, Event, Http, HttpKind, IdentityNumber,
    L4, Network, Outcome, Party, Record, TcpHealth, Text, Trace, TracePoint, Verdict, Why,
    Workload,
};

const PODS: u16 = 200;

fn pod(number: u16) -> Arc<Endpoint> {
    let app = format!("app-{}", number % 40);
    Arc::new(Endpoint {
        id: EndpointId(number),
        identity: IdentityNumber(1000 + u32::from(number % 40)),
        cluster: "default".to_owned(),
        namespace: format!("team-{}", number % 10),
        name: format!("{app}-7d5f9c8b6-{number:05}"),
        labels: [
            format!("k8s:app={app}"),
            "k8s:io.cilium.k8s.policy.cluster=default".to_owned(),
            "k8s:io.cilium.k8s.policy.serviceaccount=default".to_owned(),
            format!("k8s:io.kubernetes.pod.namespace=team-{}", number % 10),
        ]
        .into(),
        workload: Some(Workload {
            kind: "Deployment".to_owned(),
            name: app,
        }),
    })
}

/// Makes records, one like the other every hundred or so.
pub(crate) struct Source {
    pods: Vec<Arc<Endpoint>>,
    made: u16,
}

impl Source {
    pub(crate) fn new() -> Self {
        Self {
            pods: (0..PODS).map(pod).collect(),
            made: 0,
        }
    }

    fn party(&self, number: u16, port: u16) -> Party {
        let number = number % PODS;
        let [high, low] = number.to_be_bytes();
        let endpoint = self.pods.get(usize::from(number)).cloned();
        Party {
            addr: SocketAddr::from(([10, 244, high, low], port)),
            identity: endpoint
                .as_ref()
                .map_or(IdentityNumber::WORLD, |endpoint| endpoint.identity),
            endpoint,
            service: None,
        }
    }

    /// The next record, of this moment.
    pub(crate) fn next(&mut self) -> Record {
        self.made = self.made.wrapping_add(1);
        let number = self.made;
        let (client, server) = (
            self.party(number, 30_000 + number % 20_000),
            self.party(number / 7, 8080),
        );
        let time = Timestamp::now();
        let mut record = match number % 8 {
            0 | 1 => http(time, (client, server), HttpKind::Request, number),
            2 | 3 => http(time, (server, client), HttpKind::Response, number),
            4 => {
                let event = Event::PolicyVerdict {
                    match_type: 2,
                    reason: None,
                };
                Record::new(time, client, server, event)
            }
            5 => {
                let event = Event::Drop {
                    reason: DropReason::POLICY_DENIED,
                    kernel: None,
                };
                let mut record = Record::new(time, client, server, event);
                record.verdict = Verdict::Dropped;
                record
            }
            _ => trace(time, (client, server)),
        };
        record.connection = u64::from(number) << 20 | 0xabc;
        record.direction = Direction::Egress;
        record
    }
}

fn http(time: Timestamp, ends: (Party, Party), kind: HttpKind, number: u16) -> Record {
    let mut text = Text::default();
    let headers: &[u8] = if kind == HttpKind::Request {
        b"host: cart.team-1.svc\r\nuser-agent: curl/8.5.0\r\naccept: */*\r\nx-request-id: 5b3b6a52-6c1d-4a3b-9d6d-2f9f4b4c1a11\r\n"
    } else {
        b"content-type: application/json\r\ncontent-length: 512\r\nserver: envoy\r\ndate: Wed, 04 Mar 2026 09:15:27 GMT\r\n"
    };
    let is_answer = kind == HttpKind::Response;
    let event = Event::Http(Http {
        kind,
        version: 11,
        code: if is_answer { 200 } else { 0 },
        method: text.push(b"GET"),
        url: text.push(format!("http://cart.team-1.svc:8080/items/{number}?full=1").as_bytes()),
        headers: text.push(headers),
        latency_ns: if is_answer { 7_000_812 } else { 0 },
        outcome: Outcome::Passed,
        detail: text.push(b""),
        grpc: None,
        network: Network::default(),
        trace: None,
    });
    let mut record = Record::new(time, ends.0, ends.1, event);
    record.text = text;
    record.reply = Some(is_answer);
    record
}

fn trace(time: Timestamp, ends: (Party, Party)) -> Record {
    let event = Event::Trace(Trace {
        point: TracePoint::ToEndpoint,
        state: ConnState::New,
        why: Why::First,
        packets: 1,
        bytes: 60,
        health: TcpHealth::default(),
    });
    let mut record = Record::new(time, ends.0, ends.1, event);
    record.l4 = L4::Tcp { flags: 0x02 };
    record.reply = Some(false);
    record.interface = 7;
    record
}
