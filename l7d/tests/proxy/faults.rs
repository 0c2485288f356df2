//! Faults of the proxy itself: a panic ends one connection, and a thread that is held up shows.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::enforce::{GET, OK};
use crate::policed::plan;
use crate::world::{HANG, Plan, Server, World};

#[test]
fn a_panic_ends_its_connection_and_no_other() {
    let server = Server::once(|mut peer| {
        peer.expect(GET);
        peer.send(OK);
        peer.expect(GET);
        peer.send(OK);
    });
    let world = World::start(Plan {
        // The second connection that is asked about.
        panics_at: Some(2),
        ..plan(server.address)
    });
    let mut good = world.connect();
    good.send(GET);
    good.expect(OK);
    let mut bad = world.connect();
    bad.send(GET);
    let (said, _) = bad.rest();
    assert_eq!(said, Vec::<u8>::new());
    good.send(GET);
    good.expect(OK);
    let stats = world.stats();
    assert_eq!(stats.panicked.load(Ordering::Relaxed), 1);
    drop(good);
    drop(bad);
    world.records(4);
    assert_eq!(stats.active.load(Ordering::Relaxed), 0);
}

#[test]
fn a_worker_that_is_held_up_shows() {
    let server = Server::once(|mut peer| {
        peer.expect(GET);
        peer.send(OK);
    });
    let (release, held) = std::sync::mpsc::sync_channel(0);
    let world = World::start(Plan {
        hold: std::sync::Mutex::new(Some(held)),
        ..plan(server.address)
    });
    // Gone before the world, which waits for its worker, also where this test fails.
    let release = release;
    let mut client = world.connect();
    client.send(GET);
    let began = Instant::now();
    while world.still_for() < Duration::from_millis(500) {
        assert!(began.elapsed() < HANG, "nobody notices");
        std::thread::yield_now();
    }
    release.send(()).unwrap();
    client.expect(OK);
    while world.still_for() > Duration::from_millis(400) {
        assert!(began.elapsed() < HANG, "it does not move again");
        std::thread::yield_now();
    }
}

/// Everybody is there when the worker begins, who is alone behind all others.
#[test]
fn a_worker_that_is_held_up_lets_who_is_alone_pass_a_crowd() {
    const CROWD: usize = 100;
    // What is refused needs no answer: connections wait in the backlog.
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (release, held) = std::sync::mpsc::sync_channel(0);
    let world = World::start(Plan {
        hold: std::sync::Mutex::new(Some(held)),
        elsewhere_at: Some(CROWD + 1),
        ..plan(server.local_addr().unwrap())
    });
    // Gone before the world, which waits for its worker, also where this test fails.
    let release = release;
    let ask = |path: &str| {
        let mut client = world.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        client
    };
    let crowd: Vec<_> = (0..CROWD).map(|_| ask("/crowd")).collect();
    let alone = ask("/alone");
    release.send(()).unwrap();
    let records = world.records(CROWD + 1);
    let place = records.iter().position(|line| line.contains("/alone"));
    let place = place.expect("it was told");
    assert!(place < CROWD / 2, "{place}: {records:?}");
    drop((crowd, alone));
}
