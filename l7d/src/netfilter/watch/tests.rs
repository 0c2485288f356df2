use super::*;
use crate::clock::Timestamp;
use crate::record::{DropReason, DropSite, IdentityNumber, Party};

const SECOND: u64 = 1_000_000_000;

fn dropped(port: u16) -> Record {
    let party = |ip, port| Party::unnamed(SocketAddr::new(ip, port), IdentityNumber::WORLD);
    let event = Event::Drop {
        reason: DropReason::UNKNOWN,
        kernel: Some(Arc::new(KernelDrop {
            reason: Arc::from("NETFILTER_DROP"),
            place: Arc::from("nf_hook_slow"),
            meaning: "".into(),
            site: DropSite::Node,
            bytes: 60,
            queue: None,
            netfilter: None,
        })),
    };
    let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let mut record = Record::new(
        Timestamp(1),
        party(from.into(), port),
        party(to.into(), 80),
        event,
    );
    record.l4 = L4::Tcp { flags: 2 };
    record
}

fn rule(record: &Record) -> Option<&str> {
    match &record.event {
        Event::Drop {
            kernel: Some(said), ..
        } => said.netfilter.as_deref(),
        _ => None,
    }
}

/// The headers of the packets above.
fn headers(port: u16) -> (Vec<u8>, Vec<u8>) {
    let mut network = vec![0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6, 0, 0];
    network.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    let mut transport = Vec::from(port.to_be_bytes());
    transport.extend(80_u16.to_be_bytes());
    (network, transport)
}

fn step<'b>(table: &'b str, chain: &'b str, by: By, is_drop: bool) -> Step<'b> {
    Step {
        family: 1,
        packet: 5,
        table,
        chain,
        by,
        is_drop,
        network: None,
        transport: None,
    }
}

/// A packet passes our own chain in front of `forward`.
fn enters(watch: &mut Watch, port: u16) {
    let (network, transport) = headers(port);
    let first = Step {
        network: Some(&network),
        transport: Some(&transport),
        ..step(TABLE, "select", By::Rule(5), false)
    };
    watch.follow(&first, |_, _, _, _| None);
    let passed = step(TABLE, "forward", By::Policy, false);
    watch.follow(&passed, |_, _, _, _| None);
}

fn told(watch: &mut Watch, now: u64) -> Vec<Option<String>> {
    let mut told = Vec::new();
    watch.settle(Monotonic(now), |record| {
        told.push(rule(record).map(str::to_owned));
    });
    told
}

#[test]
fn the_second_packet_names_the_rule_and_later_ones_do_at_once() {
    let mut watch = Watch::default();
    let first = watch.take(dropped(4000), Monotonic(SECOND));
    assert!(matches!(first, Action::Ask(record, _) if rule(&record).is_none()));
    enters(&mut watch, 4000);
    let end = step("filter", "forward", By::Rule(7), true);
    watch.follow(&end, |family, table, chain, handle| {
        assert_eq!(
            (family, table, chain, handle),
            ("inet", "filter", "forward", 7)
        );
        Some("ip daddr 10.0.0.2 drop".to_owned())
    });
    let second = watch.take(dropped(4000), Monotonic(2 * SECOND));
    assert!(matches!(second, Action::Hold));
    let name = "inet filter forward handle 7: ip daddr 10.0.0.2 drop";
    assert_eq!(told(&mut watch, 2 * SECOND), [Some(name.to_owned())]);
    let other = watch.take(dropped(4001), Monotonic(3 * SECOND));
    assert!(matches!(other, Action::Tell(record) if rule(&record) == Some(name)));
    let mut late = dropped(4000);
    late.l4 = L4::Tcp { flags: 0x10 };
    assert!(matches!(
        watch.take(late, Monotonic(3 * SECOND)),
        Action::Hold
    ));
}

#[test]
fn what_nftables_did_not_drop_is_told_with_the_hook() {
    let mut watch = Watch::default();
    watch.take(dropped(4000), Monotonic(SECOND));
    enters(&mut watch, 4000);
    watch.take(dropped(4000), Monotonic(2 * SECOND));
    assert!(told(&mut watch, 2 * SECOND).is_empty(), "it waits");
    let told = told(&mut watch, 2 * SECOND + PATIENCE_NS);
    let text = told[0].as_deref().expect("a hook");
    assert!(
        text.starts_with("hook forward: no rule of nftables"),
        "{text}"
    );
}

#[test]
fn what_nobody_saw_again_is_told_as_it_is() {
    let mut watch = Watch::default();
    watch.take(dropped(4000), Monotonic(SECOND));
    watch.take(dropped(4000), Monotonic(2 * SECOND));
    assert_eq!(told(&mut watch, 3 * SECOND), [None]);
    assert!(!watch.is_idle());
    told(&mut watch, 11 * SECOND);
    assert!(watch.is_idle());
}

#[test]
fn no_more_is_asked_than_nftables_has_room_for() {
    let mut watch = Watch::default();
    for port in 0..100 {
        let action = watch.take(dropped(4000 + port), Monotonic(SECOND));
        let is_asked = matches!(action, Action::Ask(..));
        assert_eq!(is_asked, usize::from(port) < SELECTED_MAX, "{port}");
    }
}

#[test]
fn a_policy_is_told_as_one() {
    let mut watch = Watch::default();
    watch.take(dropped(4000), Monotonic(SECOND));
    enters(&mut watch, 4000);
    let end = step("filter", "forward", By::Policy, true);
    watch.follow(&end, |_, _, _, _| None);
    watch.take(dropped(4000), Monotonic(SECOND));
    let name = "inet filter forward: policy drop".to_owned();
    assert_eq!(told(&mut watch, SECOND), [Some(name)]);
}
