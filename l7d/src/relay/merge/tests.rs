//! Nodes of which it is known what they do, on a virtual clock.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
/// The wall clock when the monotonic one stands at 0.
const EPOCH: u64 = 1_700_000_000_000 * MS;

const SETTINGS: Settings = Settings {
    pace: Pace::Finite,
    patience: Duration::from_secs(1),
    settle: Duration::from_millis(200),
    bytes: 1 << 20,
};

fn live(has_history: bool) -> Settings {
    Settings {
        pace: Pace::Live { has_history },
        ..SETTINGS
    }
}

/// At so many milliseconds.
fn at(ms: u64) -> Moment {
    Moment {
        at: Monotonic(ms * MS),
        wall: Timestamp(EPOCH + ms * MS),
    }
}

/// What a node does at a moment.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// It says an item of this time, in milliseconds by the wall clock.
    Say(i64),
    /// Nothing more comes.
    End,
}

/// An item that went out: its node, its time, when it came and when it left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Out {
    node: usize,
    time: i64,
    came: u64,
    left: u64,
}

/// Lets nodes act, in milliseconds since the start; gives what went out until `end`.
fn play(settings: Settings, nodes: usize, acts: &[(u64, usize, Act)], end: u64) -> Vec<Out> {
    let mut merge = Merge::new(settings);
    let ids: Vec<StreamId> = (0..nodes).map(|_| merge.join(at(0))).collect();
    let mut acts = acts.to_vec();
    acts.sort_by_key(|(when, _, _)| *when);
    let mut out = Vec::new();
    let mut acts = acts.into_iter().peekable();
    let mut now = 0;
    while now <= end {
        while let Some((came, node, act)) = acts.next_if(|(when, _, _)| *when <= now) {
            match act {
                Act::Say(time) => {
                    let stamp = Timestamp(EPOCH.saturating_add_signed(time * MS.cast_signed()));
                    merge.handle_item(ids[node], stamp, 10, (node, time, came), at(now));
                }
                Act::End => merge.handle_end(ids[node]),
            }
        }
        while let Some((node, time, came)) = merge.poll_item(at(now)) {
            out.push(Out {
                node,
                time,
                came,
                left: now,
            });
        }
        let timer = merge.deadline().map(|deadline| deadline.0.div_ceil(MS));
        let next = acts.peek().map(|(when, _, _)| *when);
        now = match (timer, next) {
            (Some(a), Some(b)) => a.min(b).max(now + 1),
            (Some(a), None) | (None, Some(a)) => a.max(now + 1),
            (None, None) => break,
        };
    }
    out
}

fn times(out: &[Out]) -> Vec<i64> {
    out.iter().map(|item| item.time).collect()
}

fn is_sorted(out: &[Out]) -> bool {
    out.is_sorted_by_key(|item| item.time)
}

#[test]
fn streams_that_end_are_merged_by_time() {
    let acts = [
        (1, 0, Act::Say(10)),
        (1, 0, Act::Say(30)),
        (2, 0, Act::End),
        (40, 1, Act::Say(5)),
        (41, 1, Act::Say(20)),
        (500, 1, Act::Say(40)),
        (500, 1, Act::End),
    ];
    let out = play(SETTINGS, 2, &acts, 5000);
    assert_eq!(times(&out), [5, 10, 20, 30, 40]);
    assert_eq!(out[3].left, 500, "30 waits for what the other says next");
}

#[test]
fn a_node_that_hangs_costs_one_patience_in_all() {
    let mut acts = vec![(1, 1, Act::Say(1))];
    acts.extend((0..100).map(|n: i64| (n.unsigned_abs() * 100, 0, Act::Say(n * 100))));
    acts.push((9950, 0, Act::End));
    let out = play(SETTINGS, 2, &acts, 20_000);
    assert_eq!(out.len(), 101);
    let late: Vec<u64> = out.iter().map(|item| item.left - item.came).collect();
    assert!(late.iter().all(|late| *late <= 1001), "{late:?}");
    assert!(late[20..].iter().all(|late| *late == 0), "{late:?}");
}

#[test]
fn a_live_item_rests_only_as_long_as_somebody_may_be_before_it() {
    let acts = [
        (0, 0, Act::Say(0)),
        (10, 0, Act::Say(10)),
        (50, 1, Act::Say(5)),
        (60, 1, Act::Say(60)),
        (100, 1, Act::Say(61)),
    ];
    let out = play(live(false), 2, &acts, 5000);
    assert_eq!(times(&out), [0, 5, 10, 60, 61]);
    assert_eq!(out[2].left, 60, "both are beyond 10");
    assert_eq!(
        (out[3].left, out[4].left),
        (260, 300),
        "nobody else is beyond them"
    );
}

#[test]
fn a_clock_that_is_ahead_holds_up_nobody_and_is_held_up_by_nobody() {
    let hour = 3_600_000;
    let mut acts = Vec::new();
    for n in 0..500_u32 {
        let when = u64::from(n) * 10;
        acts.push((when, 0, Act::Say(when.cast_signed())));
        acts.push((when + 1, 1, Act::Say(when.cast_signed() + hour)));
        acts.push((when + 2, 2, Act::Say(when.cast_signed() - hour)));
        acts.push((when + 3, 3, Act::Say(when.cast_signed() - 2 * hour)));
    }
    let out = play(live(false), 4, &acts, 100_000);
    assert_eq!(out.len(), 2000);
    for item in &out {
        assert!(item.left <= item.came + 201, "{item:?}");
    }
    let honest: Vec<Out> = out.into_iter().filter(|item| item.node == 0).collect();
    assert!(is_sorted(&honest));
}

#[test]
fn a_node_that_says_a_word_of_the_past_now_and_then_is_given_up() {
    let mut acts = vec![(0, 0, Act::Say(0)), (0, 0, Act::End)];
    acts.extend((0..100).map(|n: i64| (n.unsigned_abs() * 900, 1, Act::Say(n - 1_000_000))));
    let out = play(SETTINGS, 2, &acts, 100_000);
    let honest = out.iter().find(|item| item.node == 0).expect("an item");
    assert!(honest.left <= 11_000, "{honest:?}");
}

#[test]
fn the_past_of_a_live_view_is_in_order_though_nodes_are_not_equally_fast() {
    let mut acts = Vec::new();
    for n in 0..1000_i64 {
        acts.push((1, 0, Act::Say(n - 5000)));
        acts.push((1 + n.unsigned_abs(), 1, Act::Say(n - 5000)));
    }
    let out = play(live(true), 2, &acts, 20_000);
    assert_eq!(out.len(), 2000);
    assert!(is_sorted(&out));
}

#[test]
fn nobody_waits_for_the_past_of_a_stream_that_broke_off() {
    let mut merge = Merge::new(live(true));
    let steady = merge.join(at(0));
    merge.handle_item(steady, at(0).wall, 10, 1, at(0));
    assert_eq!(merge.poll_item(at(0)), Some(1));
    let again = merge.rejoin(at(1000));
    merge.handle_item(steady, at(1000).wall, 10, 2, at(1000));
    assert_eq!(merge.poll_item(at(1000)), None);
    assert_eq!(merge.deadline(), Some(at(1200).at), "a rest, no patience");
    merge.handle_item(again, at(500).wall, 10, 3, at(1100));
    assert_eq!(merge.poll_item(at(1100)), Some(3));
    assert_eq!(merge.poll_item(at(1100)), None);
    assert_eq!(merge.poll_item(at(1200)), Some(2));
}

#[test]
fn what_goes_on_does_not_rest_beyond_the_bound_in_bytes() {
    let settings = Settings {
        bytes: 1000,
        ..live(false)
    };
    let mut merge = Merge::new(settings);
    let busy = merge.join(at(0));
    let _silent = merge.join(at(0));
    for n in 0..1000 {
        merge.handle_item(busy, Timestamp(EPOCH + n), 10, n, at(0));
        while merge.poll_item(at(0)).is_some() {}
        assert!(merge.bytes() <= 1000);
    }
    let tally = merge.tally();
    assert_eq!((tally.released, tally.hurried, tally.late), (900, 900, 0));
}

#[test]
fn what_ends_is_not_read_on_while_its_items_wait() {
    let settings = Settings {
        bytes: 1000,
        ..SETTINGS
    };
    let mut merge = Merge::new(settings);
    let (fast, slow) = (merge.join(at(0)), merge.join(at(0)));
    let mut said = 0;
    while merge.wants(fast) {
        merge.handle_item(fast, Timestamp(EPOCH + said), 10, said, at(0));
        said += 1;
    }
    assert_eq!(said, 100);
    assert!(merge.wants(slow), "the one that is waited for is read");
    assert_eq!(merge.poll_item(at(0)), None);
    merge.handle_end(slow);
    assert_eq!(merge.poll_item(at(0)), Some(0));
    assert!(merge.wants(fast));
}

/// Nodes with items at rising times, and how long each item is on its way.
fn nodes(most_late: u64) -> impl Strategy<Value = Vec<Vec<(u64, u64)>>> {
    let steps = prop::collection::vec((0..300_u64, 0..=most_late), 0..40);
    let node = steps.prop_map(|steps| {
        let mut time = 0;
        let rise = |(step, late)| {
            time += step;
            (time, late)
        };
        steps.into_iter().map(rise).collect()
    });
    prop::collection::vec(node, 1..6)
}

/// Acts of nodes, a node's in the order in which it said them.
fn acts(nodes: &[Vec<(u64, u64)>], offset: impl Fn(usize) -> i64) -> Vec<(u64, usize, Act)> {
    let mut acts = Vec::new();
    for (node, items) in nodes.iter().enumerate() {
        let mut arrival = 0;
        for (time, late) in items {
            arrival = arrival.max(time + late);
            acts.push((arrival, node, Act::Say(time.cast_signed() + offset(node))));
        }
    }
    acts
}

/// How often each item was there.
fn counted(items: impl IntoIterator<Item = (usize, i64)>) -> BTreeMap<(usize, i64), usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}

fn said(acts: &[(u64, usize, Act)]) -> BTreeMap<(usize, i64), usize> {
    counted(acts.iter().filter_map(|(_, node, act)| match act {
        Act::Say(time) => Some((*node, *time)),
        Act::End => None,
    }))
}

fn heard(out: &[Out]) -> BTreeMap<(usize, i64), usize> {
    counted(out.iter().map(|item| (item.node, item.time)))
}

proptest! {
    /// Whatever the times and the ways, as long as nobody is silent for a patience.
    #[test]
    fn all_that_ends_comes_out_in_order(nodes in nodes(500), past in 0..10_000_i64) {
        let mut acts = acts(&nodes, |_| -past);
        for node in 0..nodes.len() {
            let last = acts.iter().filter(|(_, of, _)| *of == node).map(|(when, _, _)| *when);
            acts.push((last.max().unwrap_or(0), node, Act::End));
        }
        let out = play(SETTINGS, nodes.len(), &acts, u64::MAX / MS);
        prop_assert_eq!(heard(&out), said(&acts));
        prop_assert!(is_sorted(&out), "{:?}", out);
    }

    /// Items that are on their way for less than they rest come out in order, and have rested no
    /// longer; somebody who says nothing changes none of it.
    #[test]
    fn what_is_live_comes_out_in_order_and_soon(nodes in nodes(190), silent in 0..3_usize) {
        let acts = acts(&nodes, |_| 0);
        let out = play(live(false), nodes.len() + silent, &acts, u64::MAX / MS);
        prop_assert_eq!(heard(&out), said(&acts));
        prop_assert!(is_sorted(&out), "{:?}", out);
        for item in &out {
            prop_assert!(item.left <= item.came + 200, "{:?}", item);
        }
    }

    /// The same beside nodes whose clocks are wrong by up to an hour: their items go out as soon, and
    /// those of the others stay in order.
    #[test]
    fn wrong_clocks_are_the_trouble_of_their_nodes(
        honest in nodes(90),
        wrong in nodes(90),
        offsets in prop::collection::vec(-3_600_000..3_600_000_i64, 6),
    ) {
        let count = honest.len();
        let all: Vec<_> = honest.into_iter().chain(wrong).collect();
        let acts = acts(&all, |node| node.checked_sub(count).map_or(0, |wrong| offsets[wrong]));
        let out = play(live(false), all.len(), &acts, u64::MAX / MS);
        prop_assert_eq!(heard(&out), said(&acts));
        for item in &out {
            prop_assert!(item.left <= item.came + 200, "{:?}", item);
        }
        let honest: Vec<Out> = out.into_iter().filter(|item| item.node < count).collect();
        prop_assert!(is_sorted(&honest), "{:?}", honest);
    }

    /// However long nodes are silent, and whatever they say: nothing is lost, or said twice, and no node
    /// is waited for longer than all the patience that there is for each.
    #[test]
    fn nothing_is_lost_whatever_nodes_do(
        says in prop::collection::vec((0..100_000_u64, 0..5_usize, -1_000_000..1_000_000_i64), 0..100),
        pace in prop_oneof![
            Just(Pace::Finite),
            Just(Pace::Live { has_history: true }),
            Just(Pace::Live { has_history: false }),
        ],
        bytes in 0..500_usize,
    ) {
        let acts: Vec<_> = says.iter().map(|(when, node, time)| (*when, *node, Act::Say(*time))).collect();
        let settings = Settings { pace, bytes, ..SETTINGS };
        let out = play(settings, 5, &acts, u64::MAX / MS);
        prop_assert_eq!(heard(&out), said(&acts));
        let most = 5 * u64::from(TOTAL + 1) * 1000 + 201;
        for item in &out {
            prop_assert!(item.left <= item.came + most, "{:?}", item);
        }
    }
}
