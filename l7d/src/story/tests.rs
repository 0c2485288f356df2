use super::*;
use crate::record::TcpEvent;

const MILLIS: u64 = 1_000_000;

/// A fact of node `n1` about client `10.0.0.1:PORT` and server `10.0.0.2:80`.
fn fact(millis: u64, port: u16, way: Way, what: What) -> Fact {
    let peer = |addr: SocketAddr, name: &str| Peer {
        addr,
        name: name.into(),
    };
    let client = peer(([10, 0, 0, 1], port).into(), "shop/web");
    let server = peer(([10, 0, 0, 2], 80).into(), "shop/cart");
    let (source, destination) = match way {
        Way::ToServer => (client, server),
        Way::ToClient => (server, client),
    };
    Fact {
        time: Timestamp(millis * MILLIS),
        node: "n1".into(),
        number: 0,
        protocol: TCP,
        source,
        destination,
        translated: None,
        is_reply: None,
        what,
    }
}

fn numbered(number: u64, fact: Fact) -> Fact {
    Fact { number, ..fact }
}

fn seen_by(node: &str, fact: Fact) -> Fact {
    Fact {
        node: node.into(),
        ..fact
    }
}

fn packet(point: &'static str, flags: u8) -> What {
    What::Packet(Packet {
        point,
        flags,
        summary: String::new(),
        is_again: false,
        is_window_closed: false,
        packets: 1,
        bytes: 60,
        health: TcpHealth::default(),
    })
}

fn judged(verdict: Verdict) -> Judged {
    Judged {
        verdict,
        direction: Direction::Egress,
        reason: "Policy denied".to_owned(),
        policies: vec!["CiliumNetworkPolicy shop/web-egress".to_owned()],
        detail: String::new(),
        flags: SYN,
    }
}

fn message(kind: MessageKind, text: &str, millis: u64) -> Message {
    Message {
        kind,
        text: text.to_owned(),
        verdict: Verdict::Forwarded,
        policies: Vec::new(),
        outcome: Outcome::Passed,
        detail: String::new(),
        code: 0,
        grpc: None,
        latency_ns: millis * MILLIS,
        network: Network::default(),
        addresses: Vec::new(),
    }
}

fn said(kind: MessageKind, text: &str, millis: u64) -> What {
    What::Message(Box::new(message(kind, text, millis)))
}

fn stories(facts: impl IntoIterator<Item = Fact>) -> Vec<Story> {
    let mut stories = Stories::new(Limits::default());
    let mut told = Vec::new();
    for fact in facts {
        stories.take(fact, |story| told.push(story));
    }
    stories.finish(|story| told.push(story));
    told
}

fn only(facts: Vec<Fact>) -> Story {
    let mut told = stories(facts);
    assert_eq!(told.len(), 1, "{told:#?}");
    told.remove(0)
}

fn lines(story: &Story) -> Vec<String> {
    let line = |event: Event| {
        let arrow = match event.way {
            Some(Way::ToServer) => "> ",
            Some(Way::ToClient) => "< ",
            None => "",
        };
        format!("{arrow}{}", event.text)
    };
    story.events().into_iter().map(line).collect()
}

fn ending(story: &Story) -> (How, String) {
    let ending = story.ending(story.last);
    (ending.how, ending.text)
}

/// An exchange as the kernel and the tap of one node tell it, and its end.
fn exchange(start: u64, port: u16, number: u64) -> Vec<Fact> {
    use Way::{ToClient, ToServer};
    let facts = [
        (0, ToServer, What::Verdict(judged(Verdict::Forwarded))),
        (0, ToServer, packet("to-stack", SYN)),
        (0, ToServer, packet("to-endpoint", SYN)),
        (1, ToClient, packet("to-stack", SYN | ACK)),
        (1, ToClient, packet("to-endpoint", SYN | ACK)),
        (2, ToServer, said(MessageKind::Request, "GET /", 0)),
        (9, ToClient, said(MessageKind::Response, "200 to GET /", 7)),
        (10, ToServer, packet("to-stack", FIN | ACK)),
        (11, ToClient, packet("to-stack", FIN | ACK)),
    ];
    let facts = facts.into_iter().map(|(at, way, what)| {
        let number = if matches!(what, What::Verdict(_)) {
            0
        } else {
            number
        };
        numbered(number, fact(start + at, port, way, what))
    });
    facts.collect()
}

#[test]
fn what_two_places_see_is_one_line() {
    let story = only(exchange(100, 4000, 7));
    assert_eq!(
        lines(&story),
        [
            "> allowed at egress by CiliumNetworkPolicy shop/web-egress",
            "> SYN",
            "< SYN ACK",
            "> GET /",
            "< 200 to GET /",
            "> FIN ACK",
            "< FIN ACK",
        ]
    );
    let places = story.events().into_iter().nth(1).unwrap().seen;
    let places: Vec<_> = places.iter().map(|sight| sight.point).collect();
    assert_eq!(places, ["to-stack", "to-endpoint"]);
    let closed = "closed by the client after 11.0 ms".to_owned();
    assert_eq!(ending(&story), (How::Closed, closed));
    assert_eq!(story.numbers.values().collect::<Vec<_>>(), [&7]);
}

#[test]
fn the_servers_time_is_told_apart_from_the_networks() {
    let timing = only(exchange(100, 4000, 7)).timing();
    assert_eq!(timing.connect_ns, Some(MILLIS));
    let slowest = Some(("200 to GET /".to_owned(), 7 * MILLIS, Some(MILLIS)));
    assert_eq!(timing.exchanges.slowest, slowest);
}

#[test]
fn a_measure_of_tcp_counts_more_than_packets_that_were_seen() {
    let mut facts = exchange(100, 4000, 7);
    let mut response = message(MessageKind::Response, "200 to GET /b", 8);
    response.network = Network {
        client_rtt_us: 40,
        server_rtt_us: 300,
        ..Network::default()
    };
    let what = What::Message(Box::new(response));
    facts.push(numbered(7, fact(110, 4000, Way::ToClient, what)));
    let timing = only(facts).timing();
    assert_eq!(timing.server_rtt_ns, Some(300_000));
    assert_eq!(timing.client_rtt_ns, Some(40_000));
    let (_, latency, network) = timing.exchanges.slowest.unwrap();
    assert_eq!((latency, network), (8 * MILLIS, Some(300_000)));
}

#[test]
fn two_nodes_that_measure_one_answer_tell_what_is_between_them() {
    let at_client = exchange(100, 4000, 7);
    let mut at_server = vec![
        fact(
            103,
            4000,
            Way::ToServer,
            said(MessageKind::Request, "GET /", 0),
        ),
        fact(
            107,
            4000,
            Way::ToClient,
            said(MessageKind::Response, "200 to GET /", 4),
        ),
    ];
    at_server = at_server
        .into_iter()
        .map(|fact| seen_by("n2", numbered(9, fact)))
        .collect();
    let mut facts: Vec<Fact> = at_client.into_iter().chain(at_server).collect();
    // The handshake of this connection says nothing: one SYN came twice.
    facts.push(numbered(
        7,
        fact(300, 4000, Way::ToServer, packet("to-network", SYN)),
    ));
    let story = only(facts);
    assert_eq!(story.numbers.len(), 2);
    let (_, latency, network) = story.timing().exchanges.slowest.unwrap();
    assert_eq!((latency, network), (7 * MILLIS, Some(3 * MILLIS)));
    assert_eq!(
        lines(&story)
            .iter()
            .filter(|line| line.contains("GET /"))
            .count(),
        2
    );
}

#[test]
fn a_drop_names_its_policy_and_how_often_it_was_tried() {
    let denied = |at| {
        [
            fact(
                at,
                4000,
                Way::ToServer,
                What::Verdict(judged(Verdict::Dropped)),
            ),
            fact(
                at,
                4000,
                Way::ToServer,
                What::Drop(judged(Verdict::Dropped)),
            ),
        ]
    };
    let story = only([0, 1000, 3000].into_iter().flat_map(denied).collect());
    assert_eq!(story.events().len(), 3, "{:?}", lines(&story));
    let (how, text) = ending(&story);
    assert_eq!(how, How::Dropped);
    assert_eq!(
        text,
        "dropped at egress: Policy denied by CiliumNetworkPolicy shop/web-egress of shop/web; 3 SYNs in 3.00 s"
    );
}

#[test]
fn an_attempt_is_one_story_also_where_each_syn_has_a_number() {
    let denied = |at, number| {
        let what = What::Drop(judged(Verdict::Dropped));
        numbered(number, fact(at, 4000, Way::ToServer, what))
    };
    let story = only(vec![denied(0, 1), denied(1000, 2), denied(3000, 3)]);
    assert!(ending(&story).1.ends_with("3 SYNs in 3.00 s"));
    let mut facts = vec![denied(0, 1)];
    facts.extend(exchange(1000, 4000, 2));
    assert_eq!(ending(&only(facts)).0, How::Closed);
}

#[test]
fn a_drop_that_was_got_over_is_not_the_end() {
    let mut facts = vec![fact(
        0,
        4000,
        Way::ToServer,
        What::Drop(judged(Verdict::Dropped)),
    )];
    facts.extend(exchange(1000, 4000, 7));
    let story = only(facts);
    assert_eq!(ending(&story).0, How::Closed);
    assert_eq!(
        lines(&story)[0],
        "> SYN dropped at egress: Policy denied by CiliumNetworkPolicy shop/web-egress"
    );
}

#[test]
fn a_reset_instead_of_an_answer_is_a_refusal() {
    let story = only(vec![
        fact(0, 4000, Way::ToServer, packet("to-stack", SYN)),
        fact(1, 4000, Way::ToClient, packet("to-endpoint", RST | ACK)),
    ]);
    assert_eq!(ending(&story).0, How::Refused);
}

#[test]
fn who_does_not_answer_is_said_with_how_far_the_syn_got() {
    let syn = |at, point| fact(at, 4000, Way::ToServer, packet(point, SYN));
    let story = only(vec![
        syn(0, "to-stack"),
        syn(0, "to-endpoint"),
        syn(1000, "to-stack"),
    ]);
    let (how, text) = ending(&story);
    assert_eq!(how, How::NoAnswer);
    let expected =
        "no answer: 2 SYNs in 1.00 s, and nothing came back; it was delivered to shop/cart:80";
    assert_eq!(text, expected);
    let one = only(vec![syn(0, "to-network")]);
    assert_eq!(one.ending(Timestamp(10 * MILLIS)).how, How::Open);
    assert_eq!(one.ending(Timestamp(2000 * MILLIS)).how, How::NoAnswer);
}

#[test]
fn a_request_without_an_answer_says_what_tcp_saw() {
    let mut facts = exchange(0, 4000, 7);
    facts.truncate(6);
    let mut none = message(MessageKind::Response, "no answer to GET /", 3);
    none.outcome = Outcome::UpstreamReset;
    none.verdict = Verdict::Error;
    none.network.event = Some(TcpEvent::ResetByServer);
    facts.push(fact(5, 4000, Way::ToClient, What::Message(Box::new(none))));
    facts.push(fact(5, 4000, Way::ToClient, packet("to-endpoint", RST)));
    let (how, text) = ending(&only(facts));
    assert_eq!(how, How::ResetByServer);
    assert_eq!(text, "not answered: GET /: reset by server");
}

#[test]
fn a_port_that_is_used_again_begins_a_story() {
    let mut facts = exchange(0, 4000, 0);
    facts.extend(exchange(20, 4000, 0));
    assert_eq!(stories(facts).len(), 2);
    let mut facts = exchange(0, 4000, 7);
    facts.truncate(7);
    facts.extend(exchange(20, 4000, 8));
    let told = stories(facts);
    let verdicts = |story: &Story| {
        lines(story)
            .iter()
            .filter(|l| l.contains("allowed"))
            .count()
    };
    assert_eq!(told.iter().map(verdicts).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn what_a_client_had_asked_dns_for_is_told() {
    let mut answer = message(MessageKind::Answer, "DNS answer 10.0.0.2 to A cart.", 2);
    answer.addresses = vec![[10, 0, 0, 2].into()];
    let answer = Fact {
        protocol: UDP,
        source: Peer {
            addr: ([10, 0, 0, 53], 53).into(),
            name: "".into(),
        },
        ..fact(99, 5000, Way::ToClient, What::Message(Box::new(answer)))
    };
    let mut facts = exchange(100, 4000, 7);
    facts.push(answer);
    let told = stories(facts);
    let lookup = told.iter().find_map(|story| story.lookup.clone()).unwrap();
    assert_eq!((lookup.before_ns, lookup.latency_ns), (MILLIS, 2 * MILLIS));
    assert_eq!(
        told.iter().filter(|story| story.lookup.is_some()).count(),
        1
    );
}

#[test]
fn memory_is_bounded_however_long_it_goes_on() {
    let limits = Limits {
        stories: 100,
        lookups: 10,
    };
    let mut stories = Stories::new(limits);
    let mut handed_out = 0;
    for number in 0..10_000_u64 {
        let port = u16::try_from(number % 60_000).unwrap();
        let syn = fact(number, port, Way::ToServer, packet("to-stack", SYN));
        stories.take(syn, |_| handed_out += 1);
    }
    let mut left = 0;
    stories.finish(|_| left += 1);
    assert_eq!(handed_out + left, 10_000);
    assert!(left <= 100, "{left}");
    let many =
        (0..5000).map(|at| fact(at, 1, Way::ToServer, said(MessageKind::Request, "GET /", 0)));
    let story = only(many.collect());
    assert_eq!(story.events().len() as u64 + story.left_out, 5000);
    assert!(story.events().len() <= 512);
}

#[test]
fn what_is_over_is_handed_out_when_it_is_quiet() {
    let mut stories = Stories::new(Limits::default());
    let mut told = 0;
    let open = exchange(0, 4001, 8).into_iter().take(7);
    for fact in exchange(0, 4000, 7).into_iter().chain(open) {
        stories.take(fact, |_| told += 1);
    }
    stories.sweep(Timestamp(500 * MILLIS), 800 * MILLIS, |_| told += 1);
    assert_eq!(told, 0, "what else is said of it may still come");
    stories.sweep(Timestamp(900 * MILLIS), 800 * MILLIS, |_| told += 1);
    assert_eq!(told, 1, "the other one goes on");
}

mod laws {
    use proptest::prelude::*;

    use super::*;

    /// Facts of one connection, of one of several kinds.
    fn connection(kind: usize, start: u64, port: u16, number: u64) -> Vec<Fact> {
        let mut facts = exchange(start, port, number);
        match kind {
            0 => {}
            1 => facts.truncate(5),
            2 => facts.truncate(3),
            _ => {
                let denied = What::Drop(judged(Verdict::Dropped));
                facts = vec![fact(start, port, Way::ToServer, denied)];
            }
        }
        facts
    }

    fn interleaved(queues: &[Vec<Fact>], picks: &[usize]) -> Vec<Fact> {
        let mut queues: Vec<std::collections::VecDeque<Fact>> =
            queues.iter().map(|queue| queue.clone().into()).collect();
        let mut facts = Vec::new();
        let mut picks = picks.iter().cycle();
        while queues.iter().any(|queue| !queue.is_empty()) {
            let pick = picks.next().copied().unwrap_or(0) % queues.len();
            let at = (0..queues.len())
                .map(|offset| (pick + offset) % queues.len())
                .find(|at| !queues[*at].is_empty());
            facts.extend(at.and_then(|at| queues[at].pop_front()));
        }
        facts
    }

    proptest! {
        #[test]
        fn stories_do_not_depend_on_how_connections_lie_between_each_other(
            kinds in prop::collection::vec((0_usize..4, 0_u64..50, any::<bool>()), 1..8),
            picks in prop::collection::vec(0_usize..8, 1..64),
        ) {
            let queues: Vec<Vec<Fact>> = kinds
                .iter()
                .zip(0_u16..)
                .map(|((kind, start, is_numbered), at)| {
                    let number = if *is_numbered { u64::from(at) + 1 } else { 0 };
                    connection(*kind, *start, 4000 + at, number)
                })
                .collect();
            let in_turn = stories(queues.concat());
            prop_assert_eq!(in_turn.len(), queues.len());
            prop_assert_eq!(stories(interleaved(&queues, &picks)), in_turn);
        }
    }
}
