//! Policies change under load: each request meets the policy of its moment, on connections that stay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use l7d::policy::Live;

use crate::policed::{compiled, plan};
use crate::world::{Peer, Plan, Server, World};

/// `/both` is allowed by both versions, `/even` and `/odd` by one of them each.
fn version(number: u64) -> String {
    let own = if number.is_multiple_of(2) {
        "/even"
    } else {
        "/odd"
    };
    format!(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{ name: p, namespace: shop }}\n\
         spec:\n  endpointSelector: {{ matchLabels: {{ app: web }} }}\n  ingress:\n  \
         - fromEndpoints: [ {{ matchLabels: {{ app: client }} }} ]\n    toPorts:\n    \
         - ports: [ {{ port: \"80\", protocol: TCP }} ]\n      \
         rules: {{ http: [ {{ method: GET, path: \"/both.*\" }}, {{ method: GET, path: \"{own}.*\" }} ] }}\n"
    )
}

/// How many changes are made: `cargo xtask soak policies` makes more.
fn changes() -> u64 {
    let text = std::env::var("L7D_TEST_POLICY_CHANGES").ok();
    text.map_or(1000, |text| text.parse().unwrap())
}

/// What is asked, and what it was answered: 200 or 403.
fn ask(peer: &mut Peer, path: &str) -> bool {
    peer.send(format!("GET {path} HTTP/1.1\r\nHost: web\r\n\r\n").as_bytes());
    let head = String::from_utf8(peer.take(12)).unwrap();
    let is_allowed = match head.as_str() {
        "HTTP/1.1 200" => true,
        "HTTP/1.1 403" => false,
        other => panic!("{path}: {other:?}"),
    };
    let rest = if is_allowed { ALLOWED } else { DENIED };
    assert_eq!(peer.take(rest.len()), rest.as_bytes(), "{path}");
    is_allowed
}

const ALLOWED: &str = " OK\r\nContent-Length: 2\r\n\r\nok";
const DENIED: &str =
    " Forbidden\r\ncontent-type: text/plain\r\ncontent-length: 15\r\n\r\nAccess denied\r\n";

/// What a client has seen.
#[derive(Default)]
struct Seen {
    /// Requests that one version alone was in force for: denied, and allowed.
    judged: [u64; 2],
    /// What passed.
    allowed: Vec<String>,
}

fn ask_until(mut peer: Peer, client: u64, epoch: &AtomicU64, is_over: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    for (number, kind) in (0..).zip(["both", "even", "odd"].into_iter().cycle()) {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        let path = format!("/{kind}/{client}/{number}");
        let before = epoch.load(Ordering::SeqCst);
        let is_allowed = ask(&mut peer, &path);
        let is_settled = before.is_multiple_of(2) && epoch.load(Ordering::SeqCst) == before;
        if kind == "both" {
            assert!(is_allowed, "what both versions allow is refused: {path}");
        } else if is_settled {
            let is_even = before.is_multiple_of(4);
            assert_eq!(is_allowed, is_even == (kind == "even"), "{path} {before}");
            seen.judged[usize::from(is_allowed)] += 1;
        }
        if is_allowed {
            seen.allowed.push(path);
        }
    }
    seen
}

/// Answers whatever comes, and says what came.
fn serve(mut peer: Peer, log: &parking_lot::Mutex<BTreeMap<String, u64>>) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = peer.take(1);
            if byte.is_empty() {
                return;
            }
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        *log.lock().entry(path).or_default() += 1;
        peer.send(format!("HTTP/1.1 200{ALLOWED}").as_bytes());
    }
}

#[test]
fn each_request_meets_the_policy_of_its_moment() {
    const CLIENTS: u64 = 4;
    let heard = Arc::new(parking_lot::Mutex::new(BTreeMap::new()));
    let log = Arc::clone(&heard);
    let server = Server::each(usize::try_from(CLIENTS).unwrap(), move |peer| {
        serve(peer, &log);
    });
    let versions = [0, 1].map(|number| compiled(&version(number), number + 1));
    let [even, odd] = &versions;
    let live = Arc::new(Live::new(Arc::clone(even)));
    let world = World::start(Plan {
        live: Arc::clone(&live),
        ..plan(server.address)
    });
    // Even while a version is in force, odd while it is being replaced; by fours, since there are two.
    let epoch = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let mut judged = [0_u64; 2];
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (peer, epoch, is_over) = (world.connect(), &epoch, &is_over);
                scope.spawn(move || ask_until(peer, client, epoch, is_over))
            })
            .collect();
        for change in 1..=changes() {
            epoch.fetch_add(1, Ordering::SeqCst);
            live.store(Arc::clone(if change.is_multiple_of(2) {
                even
            } else {
                odd
            }));
            epoch.fetch_add(1, Ordering::SeqCst);
            // Long enough for a few requests, sometimes.
            std::thread::park_timeout(Duration::from_micros(change % 7 * 500));
        }
        is_over.store(true, Ordering::SeqCst);
        let mut all = BTreeMap::new();
        for client in clients {
            let of_client = client.join().unwrap();
            for (all, of_client) in judged.iter_mut().zip(of_client.judged) {
                *all += of_client;
            }
            all.extend(of_client.allowed.into_iter().map(|path| (path, 1)));
        }
        // Whatever the server has heard was answered by it, once, and nothing else.
        assert_eq!(*heard.lock(), all);
    });
    assert!(
        judged.iter().all(|count| *count > 10),
        "denied, allowed: {judged:?}"
    );
}
