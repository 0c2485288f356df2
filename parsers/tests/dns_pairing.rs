//! Responses find their queries, whatever comes between.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::VecDeque;

use parsers::dns::{Message, Pairing, PairingLimits, Query};
use proptest::prelude::*;

const LIMITS: PairingLimits = PairingLimits {
    queries: 4,
    timeout_ns: 100,
};

fn message(id: u16, flags: u8, name: &str) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    let questions = u8::from(!name.is_empty());
    bytes.extend([flags, 0, 0, questions, 0, 0, 0, 0, 0, 0]);
    if !name.is_empty() {
        bytes.push(u8::try_from(name.len()).unwrap());
        bytes.extend(name.as_bytes());
        bytes.extend([0, 0, 1, 0, 1]);
    }
    bytes
}

fn ask(table: &mut Pairing<u64, ()>, flow: u64, id: u16, name: &str, now: u64) -> Query<u64, ()> {
    let bytes = message(id, 1, name);
    table.handle_query(flow, &Message::read(&bytes).unwrap(), now, ())
}

/// Latency since the first and since the last query, and how often it was repeated.
fn answer(
    table: &mut Pairing<u64, ()>,
    flow: u64,
    id: u16,
    name: &str,
    now: u64,
) -> Option<(u64, u64, u32)> {
    let bytes = message(id, 0x81, name);
    let matched = table.handle_response(flow, &Message::read(&bytes).unwrap(), now)?;
    Some((
        matched.latency_ns,
        matched.last_latency_ns,
        matched.query.repeats,
    ))
}

const NEW: Query<u64, ()> = Query::New { evicted: None };

#[test]
fn a_response_finds_its_query_by_flow_id_and_question() {
    let mut table = Pairing::new(LIMITS);
    assert_eq!(ask(&mut table, 1, 7, "a", 10), NEW);
    assert_eq!(ask(&mut table, 1, 7, "b", 11), NEW);
    assert_eq!(ask(&mut table, 2, 7, "a", 12), NEW);
    assert_eq!(answer(&mut table, 1, 8, "a", 20), None);
    assert_eq!(answer(&mut table, 3, 7, "a", 20), None);
    assert_eq!(answer(&mut table, 1, 7, "c", 20), None);
    assert_eq!(answer(&mut table, 1, 7, "B", 20), Some((9, 9, 0)));
    assert_eq!(answer(&mut table, 1, 7, "a", 20), Some((10, 10, 0)));
    assert_eq!(answer(&mut table, 1, 7, "a", 20), None, "answered once");
    assert_eq!(table.len(), 1);
}

#[test]
fn a_query_asked_again_is_the_same_query() {
    let mut table = Pairing::new(LIMITS);
    ask(&mut table, 1, 7, "a", 10);
    assert_eq!(ask(&mut table, 1, 7, "A", 60), Query::Repeated(1));
    assert_eq!(ask(&mut table, 1, 7, "a", 90), Query::Repeated(2));
    assert_eq!(table.deadline_ns(), Some(190));
    assert!(table.expire(189).is_none());
    assert_eq!(answer(&mut table, 1, 7, "a", 100), Some((90, 10, 2)));
    assert!(table.is_empty());
}

#[test]
fn what_is_never_answered_is_told_oldest_first() {
    let mut table = Pairing::new(LIMITS);
    ask(&mut table, 1, 1, "a", 10);
    ask(&mut table, 1, 2, "b", 20);
    ask(&mut table, 1, 1, "a", 30);
    let mut told = Vec::new();
    while let Some(query) = table.expire(125) {
        told.push((query.id, query.repeats));
    }
    assert_eq!(told, [(2, 0)]);
    assert_eq!(
        table.take().map(|query| (query.id, query.repeats)),
        Some((1, 1))
    );
    assert!(table.take().is_none());
}

#[test]
fn a_full_table_forgets_the_oldest_and_counts_it() {
    let mut table = Pairing::new(LIMITS);
    for id in 0..4 {
        assert_eq!(ask(&mut table, 1, id, "a", u64::from(id)), NEW);
    }
    let Query::New { evicted: Some(old) } = ask(&mut table, 1, 9, "a", 50) else {
        unreachable!("the table is full");
    };
    assert_eq!((old.id, table.evicted(), table.len()), (0, 1, 4));
}

#[test]
fn many_questions_with_one_id_are_bounded() {
    let mut table = Pairing::new(PairingLimits {
        queries: 100,
        ..LIMITS
    });
    for at in 0..20_u8 {
        ask(&mut table, 1, 0, &format!("n{at}"), u64::from(at));
    }
    assert_eq!((table.len(), table.evicted()), (8, 12));
    assert_eq!(answer(&mut table, 1, 0, "n11", 30), None);
    assert_eq!(answer(&mut table, 1, 0, "n12", 30), Some((18, 18, 0)));
}

#[test]
fn a_response_without_a_question_answers_by_id() {
    let mut table = Pairing::new(LIMITS);
    ask(&mut table, 1, 7, "a", 10);
    assert_eq!(answer(&mut table, 1, 7, "", 15), Some((5, 5, 0)));
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Ask(u64, u16, u8),
    Answer(u64, u16, u8),
    Wait(u64),
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        4 => (0..3_u64, 0..3_u16, 0..4_u8).prop_map(|(f, i, n)| Verb::Ask(f, i, n)),
        2 => (0..3_u64, 0..3_u16, 0..4_u8).prop_map(|(f, i, n)| Verb::Answer(f, i, n)),
        1 => (0..60_u64).prop_map(Verb::Wait),
    ]
}

/// (flow, id, name) of a query, when it was first and last asked.
type Model = VecDeque<((u64, u16, u8), u64, u64)>;

proptest! {
    #[test]
    fn the_table_does_what_a_list_would_do(verbs in prop::collection::vec(verb(), 0..200)) {
        let mut table = Pairing::new(PairingLimits { queries: 6, timeout_ns: 100 });
        let mut list = Model::new();
        let mut now = 0;
        for verb in verbs {
            now += 1;
            match verb {
                Verb::Ask(flow, id, name) => {
                    let key = (flow, id, name);
                    let seen = ask(&mut table, flow, id, &format!("n{name}"), now);
                    let place = list.iter().position(|(known, ..)| *known == key);
                    if let Some((key, first, _)) = place.and_then(|place| list.remove(place)) {
                        prop_assert!(matches!(seen, Query::Repeated(_)));
                        list.push_back((key, first, now));
                    } else {
                        let evicted = if list.len() == 6 { list.pop_front() } else { None };
                        let Query::New { evicted: told } = seen else { unreachable!() };
                        prop_assert_eq!(told.map(|query| query.last_ns), evicted.map(|(.., last)| last));
                        list.push_back((key, now, now));
                    }
                }
                Verb::Answer(flow, id, name) => {
                    let seen = answer(&mut table, flow, id, &format!("N{name}"), now);
                    let place = list.iter().position(|(known, ..)| *known == (flow, id, name));
                    let expected = place.and_then(|place| list.remove(place));
                    let expected = expected.map(|(_, first, last)| (now - first, now - last));
                    prop_assert_eq!(seen.map(|(first, last, _)| (first, last)), expected);
                }
                Verb::Wait(time) => {
                    now += time;
                    while let Some(query) = table.expire(now) {
                        let expected = list.pop_front().map(|((_, id, _), first, last)| (id, first, last));
                        prop_assert_eq!(Some((query.id, query.first_ns, query.last_ns)), expected);
                    }
                    prop_assert!(list.iter().all(|(.., last)| now - last < 100));
                }
            }
            prop_assert_eq!(table.len(), list.len());
        }
    }
}
