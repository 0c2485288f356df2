//! The core with netfilter played by the test.

use std::net::SocketAddr;

use parking_lot::Mutex;
use parsers::netlink::Messages;
use parsers::netlink::conntrack::{self, Connection, Tuple};

use super::*;
use crate::clock::Timestamp;
use crate::identity::TableBuilder;
use crate::record::{
    ConnState, Direction, Endpoint, EndpointId, Event, IdentityNumber, L4, Party, Service,
    TcpHealth, Trace, TracePoint, Why,
};

const CLIENT: &str = "10.0.0.1:4000";
const ASKED: &str = "10.96.0.1:80";
const BACKEND: &str = "10.0.0.2:8080";
const NODE: &str = "192.0.2.1:61000";

/// What was told, in order.
#[derive(Default)]
struct Told(Mutex<Vec<Record>>);

impl Sink for Told {
    fn record(&self, record: &Record) {
        self.0.lock().push(record.clone());
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn identities() -> Identities {
    let pod = |name: &str, id| {
        Arc::new(Endpoint {
            id: EndpointId(id),
            identity: IdentityNumber(300 + u32::from(id)),
            cluster: String::new(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            labels: [].into(),
            workload: None,
        })
    };
    let mut table = TableBuilder::default();
    table.local(pod("web", 1), vec![addr(CLIENT).ip()], None);
    table.local(pod("api-1", 2), vec![addr(BACKEND).ip()], None);
    let service = Service {
        name: "api".to_owned(),
        namespace: "shop".to_owned(),
    };
    table.service(addr(ASKED).ip(), 80, 6, Arc::new(service));
    Identities::new(table.build())
}

fn trace(source: &str, destination: &str, direction: Direction, state: ConnState) -> Record {
    let identities = identities();
    let event = Event::Trace(Trace {
        point: match (direction, state) {
            (Direction::Egress, ConnState::Reply) | (Direction::Ingress, ConnState::New) => {
                TracePoint::ToEndpoint
            }
            _ => TracePoint::ToStack,
        },
        state,
        why: Why::First,
        packets: 1,
        bytes: 60,
        health: TcpHealth::default(),
    });
    let parties = (
        identities.party(addr(source)),
        identities.party(addr(destination)),
    );
    let mut record = Record::new(Timestamp(1), parties.0, parties.1, event);
    record.l4 = L4::Tcp { flags: 2 };
    record.direction = direction;
    record.reply = Some(state == ConnState::Reply);
    record
}

/// One asker, and who asks it.
struct World {
    asker: Asker,
    translations: Translations,
    questions: std::sync::mpsc::Receiver<Asked>,
    told: Arc<Told>,
    now: Monotonic,
}

impl World {
    fn new() -> Self {
        let (asking, questions) = sync_channel(QUEUE);
        let translations = Translations {
            questions: Some(asking),
            ..Translations::default()
        };
        let asker = Asker::new(
            Arc::clone(&translations.table),
            Arc::clone(&translations.counters),
            identities(),
        );
        Self {
            asker,
            translations,
            questions,
            told: Arc::default(),
            now: Monotonic::now(),
        }
    }

    fn tell(&mut self, mut record: Record) {
        let sink: Arc<dyn Sink> = Arc::clone(&self.told) as Arc<dyn Sink>;
        self.translations.tell(&mut record, Clients::Named, &sink);
        for question in self.questions.try_iter() {
            self.asker.take(question, self.now);
        }
    }

    /// Lets netfilter answer everything that is due by what it knows; gives back what was asked.
    fn answer(&mut self, known: &[Connection]) -> Vec<Tuple> {
        let mut asked = Vec::new();
        while self.asker.is_due(self.now) {
            let mut datagram = Vec::new();
            self.asker.write(&mut datagram);
            for message in Messages::new(&datagram) {
                let message = message.expect("a message");
                let tuple = conntrack::question(&message).expect("read").expect("asked");
                asked.push(tuple);
                let connection = known
                    .iter()
                    .find(|known| known.original == tuple || known.reply == tuple);
                let mut answer = Vec::new();
                match connection {
                    Some(connection) => conntrack::tell(&mut answer, connection, message.sequence),
                    None => conntrack::refuse(&mut answer, 2, message.sequence),
                }
                self.asker.read(&answer, self.now);
            }
            assert!(!self.asker.awaits());
        }
        asked
    }

    fn told(&self) -> Vec<Record> {
        self.told.0.lock().clone()
    }
}

/// The client's connection to the service, as netfilter has it.
fn connection(server_sees: &str) -> Connection {
    Connection {
        original: Tuple::new(6, addr(CLIENT), addr(ASKED)),
        reply: Tuple::new(6, addr(BACKEND), addr(server_sees)),
    }
}

fn shown(record: &Record) -> (String, String, Option<String>) {
    let service = |party: &Party| party.service.as_ref().map(|service| service.name.clone());
    (
        record.source.addr.to_string(),
        record.destination.addr.to_string(),
        service(&record.source).or_else(|| service(&record.destination)),
    )
}

#[test]
fn both_sides_of_a_connection_are_told_by_one_question() {
    let mut world = World::new();
    world.tell(trace(CLIENT, ASKED, Direction::Egress, ConnState::New));
    assert!(world.told().is_empty(), "it waits");
    let asked = world.answer(&[connection(CLIENT)]);
    assert_eq!(asked, [connection(CLIENT).original]);
    world.tell(trace(CLIENT, BACKEND, Direction::Ingress, ConnState::New));
    world.tell(trace(BACKEND, CLIENT, Direction::Ingress, ConnState::Reply));
    world.tell(trace(ASKED, CLIENT, Direction::Egress, ConnState::Reply));
    let told = world.told();
    assert_eq!(told.len(), 4, "none of these waits");
    for record in &told {
        let (translation, _) = record.translated().expect("a translation");
        assert_eq!(translation.destination_after.name(), "api-1");
        assert_eq!(shown(record).2.as_deref(), Some("api"));
    }
    assert_eq!(world.translations.counts().translated, 1);
}

#[test]
fn both_sides_that_wait_at_once_are_told_by_one_question() {
    let mut world = World::new();
    world.tell(trace(CLIENT, BACKEND, Direction::Ingress, ConnState::New));
    world.tell(trace(CLIENT, ASKED, Direction::Egress, ConnState::New));
    assert_eq!(
        world.answer(&[connection(CLIENT)]),
        [connection(CLIENT).original]
    );
    let told = world.told();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|record| record.translation.is_some()));
    assert_eq!(world.translations.counts().translated, 1);
}

#[test]
fn a_client_behind_the_nodes_address_is_told_by_its_own() {
    let mut world = World::new();
    world.tell(trace(NODE, BACKEND, Direction::Ingress, ConnState::New));
    let asked = world.answer(&[connection(NODE)]);
    assert_eq!(asked, [connection(NODE).reply]);
    world.tell(trace(BACKEND, NODE, Direction::Ingress, ConnState::Reply));
    let told = world.told();
    assert_eq!(told[0].source.name(), "web");
    assert_eq!(told[0].source_after(), Some(addr(NODE)));
    assert_eq!(told[1].destination.name(), "web");
    assert_eq!(told[1].source_after(), None, "the sender is who serves");
}

#[test]
fn what_policy_judged_keeps_the_ends_that_it_saw() {
    let mut world = World::new();
    let mut denied = trace(NODE, BACKEND, Direction::Ingress, ConnState::New);
    denied.event = Event::PolicyVerdict {
        match_type: 0,
        reason: None,
    };
    world.tell(denied);
    world.answer(&[connection(NODE)]);
    let told = world.told();
    assert_eq!(told[0].source.addr, addr(NODE));
    let (translation, stand) = told[0].translated().expect("a translation");
    assert_eq!((translation.source.name(), stand.is_masked), ("web", true));
}

#[test]
fn a_packet_that_netfilter_has_not_seen_yet_is_asked_for_again() {
    let mut world = World::new();
    world.tell(trace(CLIENT, ASKED, Direction::Egress, ConnState::New));
    let sent = connection(CLIENT).original;
    assert_eq!(world.answer(&[]), [sent, sent.reversed()]);
    assert!(world.told().is_empty());
    // What comes later of the same connection stays behind it.
    world.tell(trace(ASKED, CLIENT, Direction::Egress, ConnState::Reply));
    world.now = world.asker.next_due().expect("another try");
    assert_eq!(world.answer(&[connection(CLIENT)]), [sent]);
    let told: Vec<_> = world.told().iter().map(shown).collect();
    assert_eq!(told[0].0, CLIENT);
    assert_eq!(told[1].0, ASKED);
}

#[test]
fn a_record_does_not_wait_for_ever() {
    let mut world = World::new();
    world.tell(trace(CLIENT, ASKED, Direction::Egress, ConnState::New));
    let start = world.now;
    world.answer(&[]);
    while let Some(due) = world.asker.next_due() {
        world.now = due;
        world.answer(&[]);
    }
    assert!(world.now.nanos_since(start) < 40_000_000);
    assert_eq!(world.told().len(), 1);
    assert!(world.told()[0].translation.is_none());
    assert_eq!(world.translations.counts().unknown, 1);
}

#[test]
fn where_nothing_is_tracked_nothing_waits() {
    let mut world = World::new();
    world.asker.set_idle(true);
    world.tell(trace(CLIENT, ASKED, Direction::Egress, ConnState::New));
    world.answer(&[]);
    assert_eq!((world.told().len(), world.asker.next_due()), (1, None));
    assert_eq!(world.translations.counts().unknown, 0);
}

#[test]
fn an_answer_that_never_comes_is_not_waited_for() {
    let mut world = World::new();
    world.tell(trace(CLIENT, ASKED, Direction::Egress, ConnState::New));
    assert!(world.asker.is_due(world.now));
    let mut datagram = Vec::new();
    world.asker.write(&mut datagram);
    assert!(world.asker.awaits());
    world.asker.give_up_asked(world.now);
    assert_eq!(world.told().len(), 1);
}

#[test]
fn pods_that_reach_each_other_as_they_are_ask_nothing() {
    let mut world = World::new();
    world.tell(trace(CLIENT, BACKEND, Direction::Egress, ConnState::New));
    world.tell(trace(CLIENT, BACKEND, Direction::Ingress, ConnState::New));
    world.tell(trace(BACKEND, CLIENT, Direction::Ingress, ConnState::Reply));
    assert_eq!(world.told().len(), 3);
    assert!(world.answer(&[]).is_empty());
}

#[test]
fn a_pod_that_reaches_itself_by_its_service_is_both_ends() {
    let mut world = World::new();
    let own = "10.0.0.1:8080";
    let hairpin = Connection {
        original: Tuple::new(6, addr(CLIENT), addr(ASKED)),
        reply: Tuple::new(6, addr(own), addr(NODE)),
    };
    world.tell(trace(CLIENT, ASKED, Direction::Egress, ConnState::New));
    world.answer(&[hairpin]);
    world.tell(trace(NODE, own, Direction::Ingress, ConnState::New));
    let told = world.told();
    assert_eq!(
        shown(&told[0]),
        (CLIENT.into(), ASKED.into(), Some("api".into()))
    );
    assert_eq!(
        shown(&told[1]),
        (CLIENT.into(), own.into(), Some("api".into()))
    );
}
