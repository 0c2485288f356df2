use std::pin::pin;

use tokio::task::{LocalSet, yield_now};

use super::*;

const MANY: EndpointId = EndpointId(1);
const ALONE: EndpointId = EndpointId(2);

/// What each turn of these tests takes.
const TURN: Duration = Duration::from_micros(5);
/// So many of them are a round's.
const SHARE: usize = (ROUND.as_micros() / TURN.as_micros()) as usize;

thread_local! {
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A clock that goes on with [`work`] alone.
fn now() -> Instant {
    let now = NOW.get().unwrap_or_else(Instant::now);
    NOW.set(Some(now));
    now
}

fn work(time: Duration) {
    NOW.set(Some(now() + time));
}

/// Runs until `body` returns, with somebody who calls.
fn run<T>(body: impl AsyncFnOnce(Rc<Turns>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let rounds = Rounds {
        clock: now,
        ..Rounds::default()
    };
    let turns = Rc::new(Turns {
        rounds: Rc::new(rounds),
        ..Turns::default()
    });
    LocalSet::new().block_on(&runtime, async {
        let caller = Rc::clone(&turns);
        tokio::task::spawn_local(async move { caller.keep_calling().await });
        body(turns).await
    })
}

/// Something of this endpoint that goes on for so many turns; each is noted.
fn spawn(
    turns: &Rc<Turns>,
    endpoint: EndpointId,
    count: u32,
    seen: &Rc<RefCell<Vec<EndpointId>>>,
) -> tokio::task::JoinHandle<()> {
    let (turns, seen) = (Rc::clone(turns), Rc::clone(seen));
    tokio::task::spawn_local(async move {
        let work = pin!(async {
            for _ in 0..count {
                work(TURN);
                seen.borrow_mut().push(endpoint);
                yield_now().await;
            }
        });
        turns.in_turn(endpoint, work).await;
    })
}

#[test]
fn who_is_alone_waits_for_no_more_than_the_share_of_others() {
    let seen = Rc::new(RefCell::default());
    run(async |turns| {
        let mut tasks: Vec<_> = (0..1000).map(|_| spawn(&turns, MANY, 5, &seen)).collect();
        tasks.push(spawn(&turns, ALONE, 20, &seen));
        for task in tasks {
            task.await.expect("no panic");
        }
    });
    let seen = seen.take();
    assert_eq!(seen.len(), 5020, "everybody has had every turn");
    let own: Vec<usize> = (0..seen.len()).filter(|at| seen[*at] == ALONE).collect();
    let between = own.windows(2).map(|pair| pair[1] - pair[0] - 1).max();
    // One turn of who is alone may fall behind two rounds of others.
    let most = 2 * SHARE;
    assert!(
        own[0] <= most && between <= Some(most),
        "{} {between:?}",
        own[0]
    );
}

#[test]
fn a_line_goes_on_when_those_it_called_are_gone() {
    let seen = Rc::new(RefCell::default());
    run(async |turns| {
        let tasks: Vec<_> = (0..300).map(|_| spawn(&turns, MANY, 3, &seen)).collect();
        yield_now().await;
        // Of those that wait, that are called, and that have had a turn.
        for task in tasks.iter().step_by(2) {
            task.abort();
            yield_now().await;
        }
        for (number, task) in tasks.into_iter().enumerate() {
            assert!(task.await.is_ok() || number % 2 == 0);
        }
    });
    assert!(seen.borrow().len() >= 450);
}

#[test]
fn a_panic_in_a_turn_ends_no_line() {
    let seen = Rc::new(RefCell::default());
    run(async |turns| {
        let broken: Vec<_> = (0..100)
            .map(|_| {
                let turns = Rc::clone(&turns);
                tokio::task::spawn_local(async move {
                    let work = pin!(async { panic!("on purpose") });
                    turns.in_turn(MANY, work).await;
                })
            })
            .collect();
        let whole = spawn(&turns, MANY, 3, &seen);
        for task in broken {
            assert!(task.await.is_err());
        }
        whole.await.expect("no panic");
    });
    assert_eq!(seen.take(), [MANY; 3]);
}

#[test]
fn who_never_pauses_by_itself_leaves_others_their_turn() {
    let seen = Rc::new(RefCell::<Vec<EndpointId>>::default());
    run(async |turns| {
        let greedy = Rc::clone(&turns);
        let also = Rc::clone(&seen);
        let greedy = tokio::task::spawn_local(async move {
            let work = pin!(async {
                for _ in 0..1000 {
                    pause().await;
                    work(4 * TURN);
                    also.borrow_mut().push(MANY);
                }
            });
            greedy.in_turn(MANY, work).await;
        });
        spawn(&turns, ALONE, 3, &seen).await.expect("no panic");
        // A round for each turn of who is alone, and for its beginning and end.
        assert!(seen.borrow().len() <= 8 * SHARE / 4);
        greedy.await.expect("no panic");
    });
    assert_eq!(seen.borrow().len(), 1003);
}

#[test]
fn rounds_are_longer_where_one_line_is_alone() {
    let rounds = |endpoints: [EndpointId; 2]| {
        let seen = Rc::new(RefCell::default());
        run(async |turns| {
            let of = endpoints.into_iter().cycle().take(100);
            let tasks: Vec<_> = of.map(|of| spawn(&turns, of, 100, &seen)).collect();
            for task in tasks {
                task.await.expect("no panic");
            }
            turns.rounds.now.get()
        })
    };
    let turns = u64::try_from(100 * 100 / SHARE).expect("a few");
    let (alone, mixed) = (rounds([MANY; 2]), rounds([MANY, ALONE]));
    assert!(alone < turns / 2 && mixed >= turns, "{alone} {mixed}");
}

#[test]
fn nobody_waits_when_all_have_to_leave() {
    let seen = Rc::new(RefCell::default());
    run(async |turns| {
        let tasks: Vec<_> = (0..500).map(|_| spawn(&turns, MANY, 1, &seen)).collect();
        yield_now().await;
        assert!(seen.borrow().len() < 500, "some wait");
        turns.open();
        for _ in 0..500 {
            yield_now().await;
        }
        assert_eq!(seen.borrow().len(), 500);
        for task in tasks {
            task.await.expect("no panic");
        }
    });
}

#[test]
fn lines_of_endpoints_that_are_gone_are_forgotten() {
    let turns = Turns::default();
    for number in 0..100 {
        let line = turns.line(EndpointId(number));
        assert!(Rc::ptr_eq(&line, &turns.line(EndpointId(number))));
    }
    assert_eq!(turns.lines.borrow().len(), 1);
}
