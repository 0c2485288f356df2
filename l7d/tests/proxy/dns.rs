//! DNS over TCP on an enforced port: message by message, however the bytes come.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use l7d::policy::Live;
use l7d::record::{IdentityNumber, Party};

use crate::policed::{compiled, plan};
use crate::world::{End, Peer, Plan, Server, World};

const POLICY: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: names, namespace: shop }
spec:
  endpointSelector: { matchLabels: { app: web } }
  egress:
  - toEntities: [ world ]
    toPorts:
    - ports: [ { port: "80", protocol: ANY } ]
      rules: { dns: [ { matchPattern: "*.ok" } ] }
"#;

fn asking(server: SocketAddr) -> Plan {
    let plan = plan(server);
    let source = Party {
        addr: plan.source.addr,
        ..plan.destination.clone()
    };
    Plan {
        live: Arc::new(Live::new(compiled(POLICY, 1))),
        source,
        destination: Party::unnamed(plan.destination.addr, IdentityNumber::WORLD),
        ..plan
    }
}

/// A message with its length in front: the flags, and a question for `label.top`.
fn message(id: u8, flags: u16, label: &str, top: &str) -> Vec<u8> {
    let mut message = vec![0, id];
    message.extend(flags.to_be_bytes());
    message.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    for label in [label, top] {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    let mut framed = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    framed.append(&mut message);
    framed
}

fn query(id: u8, label: &str, top: &str) -> Vec<u8> {
    message(id, 0x0100, label, top)
}

fn answer(id: u8, label: &str, top: &str) -> Vec<u8> {
    message(id, 0x8180, label, top)
}

fn refusal(id: u8, label: &str, top: &str) -> Vec<u8> {
    message(id, 0x8185, label, top)
}

/// What a client reads: messages, in whatever order they come.
fn messages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = 2 + usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        let (message, after) = rest.split_at(length);
        all.push(message.to_vec());
        rest = after;
    }
    all.sort();
    all
}

#[test]
fn any_split_of_queries_gives_the_same_answers() {
    let asked = [
        query(1, "a", "ok"),
        query(2, "b", "no"),
        query(3, "c", "ok"),
    ]
    .concat();
    for size in [1, 2, 7, 13, asked.len()] {
        let server = Server::once(move |mut peer: Peer| {
            peer.expect(&[query(1, "a", "ok"), query(3, "c", "ok")].concat());
            // In another order, and cut in the middle of a message.
            let answers = [answer(3, "c", "ok"), answer(1, "a", "ok")].concat();
            let (front, rest) = answers.split_at(5);
            peer.send(front);
            peer.send(rest);
            assert_eq!(peer.rest(), (Vec::new(), End::Closed));
        });
        let world = World::start(asking(server.address));
        let mut client = world.connect();
        for piece in asked.chunks(size) {
            client.send(piece);
        }
        client.half_close();
        let (bytes, end) = client.rest();
        assert_eq!(end, End::Closed);
        let mut expected = vec![
            answer(1, "a", "ok"),
            refusal(2, "b", "no"),
            answer(3, "c", "ok"),
        ];
        expected.sort();
        assert_eq!(messages(&bytes), expected, "{size} bytes at a time");
        server.join();
        let mut records = world.records(5);
        records.sort();
        assert_eq!(
            records,
            [
                "answer a.ok. 0 Forwarded",
                "answer c.ok. 0 Forwarded",
                "query a.ok. 0 Forwarded names",
                "query b.no. 0 Dropped policy_denied nearest rule names spec.egress[0].toPorts[0].rules.dns[0]: \
                 name b.no is not *.ok names",
                "query c.ok. 0 Forwarded names",
            ]
        );
    }
}

#[test]
fn a_query_that_is_never_ended_ends_the_connection() {
    let server = Server::once(|mut peer| {
        peer.rest();
    });
    let world = World::start(Plan {
        head_timeout: Duration::from_millis(50),
        ..asking(server.address)
    });
    let mut client = world.connect();
    let whole = query(1, "a", "ok");
    client.send(&whole[..whole.len() - 1]);
    client.rest();
    world.wait_for("a query took too long");
}

#[test]
fn what_is_no_message_ends_the_connection_and_reaches_nobody() {
    let server = Server::once(|mut peer| {
        assert!(peer.rest().0.is_empty());
    });
    let world = World::start(asking(server.address));
    let mut client = world.connect();
    client.send(&[0, 5, 1, 2, 3, 4, 5]);
    client.rest();
    world.wait_for("dns-length-too-small");
    server.join();
}

#[test]
fn a_response_that_a_client_sends_has_no_answer_and_harms_no_other() {
    let server = Server::once(|mut peer| {
        peer.expect(&query(2, "b", "ok"));
        peer.send(&answer(2, "b", "ok"));
    });
    let world = World::start(asking(server.address));
    let mut client = world.connect();
    client.send(&answer(1, "a", "ok"));
    client.send(&query(2, "b", "ok"));
    client.expect(&answer(2, "b", "ok"));
    world.wait_for("dns-response-as-query");
}

/// More than a task reads in one turn, faster than it is judged: 18 MB.
#[test]
fn a_client_that_never_pauses_leaves_its_worker_to_others() {
    let server = Server::each(2, |mut peer| {
        let asked = peer.take(query(2, "b", "ok").len());
        assert_eq!(asked, query(2, "b", "ok"));
        peer.send(&answer(2, "b", "ok"));
        peer.rest();
    });
    let world = World::start(asking(server.address));
    let mut other = world.connect();
    let mut client = world.connect();
    // Nobody answers them.
    let mut response = answer(1, "a", "ok").split_off(2);
    response.resize(500, 0);
    let mut framed = 500_u16.to_be_bytes().to_vec();
    framed.append(&mut response);
    let many = framed.repeat(1000);
    for _ in 0..36 {
        client.send(&many);
    }
    other.send(&query(2, "b", "ok"));
    other.expect(&answer(2, "b", "ok"));
    client.send(&query(2, "b", "ok"));
    client.expect(&answer(2, "b", "ok"));
}
