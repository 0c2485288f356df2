use std::time::Duration;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn names() -> Names {
    Names::new(config::Dns {
        min_ttl: Duration::from_secs(10),
        grace: Duration::from_secs(5),
        addresses_per_name: 3,
        names_per_endpoint: 4,
        ..config::Dns::default()
    })
}

fn learn(names: &Names, client: &str, name: &str, answers: &[&str], at: u64) -> bool {
    let mut answers = answers.iter().map(|answer| (ip(answer), 30));
    names.learn(ip(client), (name, true), &mut answers, secs(at))
}

fn secs(at: u64) -> Monotonic {
    Monotonic(at * 1_000_000_000)
}

fn of(names: &Names, client: &str, address: &str) -> Vec<String> {
    let list = names.of(ip(client), ip(address)).unwrap_or_default();
    list.0.iter().map(ToString::to_string).collect()
}

#[test]
fn an_address_has_the_names_that_the_client_asked_for() {
    let names = names();
    learn(&names, "10.0.0.1", "a.test.", &["192.0.2.1"], 0);
    learn(&names, "10.0.0.1", "b.test.", &["192.0.2.1"], 0);
    learn(&names, "10.0.0.2", "c.test.", &["192.0.2.1"], 0);
    assert_eq!(of(&names, "10.0.0.1", "192.0.2.1"), ["a.test", "b.test"]);
    assert_eq!(of(&names, "10.0.0.2", "192.0.2.1"), ["c.test"]);
    assert!(of(&names, "10.0.0.3", "192.0.2.1").is_empty());
    let _moment = names.each_address(|address, names| {
        assert_eq!((address, names.count()), (ip("192.0.2.1"), 3));
    });
}

#[test]
fn policies_hear_of_a_name_until_they_know_it() {
    let names = names();
    let ask = |client: &str, name: &str| learn(&names, client, name, &["192.0.2.1"], 0);
    assert!(ask("10.0.0.1", "a.test."));
    assert!(ask("10.0.0.2", "a.test."), "nobody has applied it yet");
    let moment = names.each_address(|_, _| {});
    assert!(ask("10.0.0.1", "b.test."));
    names.set_applied(moment);
    assert!(ask("10.0.0.2", "b.test."), "it came after that moment");
    names.set_applied(names.each_address(|_, _| {}));
    assert!(!ask("10.0.0.2", "a.test.") && !ask("10.0.0.2", "b.test."));
    assert!(ask("10.0.0.2", "c.test."), "another name");
    let known = names.known(ip("10.0.0.2"), "c.test.");
    assert_eq!(known.len(), 1);
    assert_eq!((&*known[0].name, known[0].until), ("c.test", secs(30)));
}

#[test]
fn what_was_learnt_ages_after_its_life_and_grace() {
    let names = names();
    learn(&names, "10.0.0.1", "a.test.", &["192.0.2.1"], 0);
    assert!(!names.expire(secs(34)), "30 s of life, 5 of grace");
    learn(&names, "10.0.0.1", "a.test.", &["192.0.2.1"], 10);
    assert!(!names.expire(secs(44)), "asked again");
    assert!(names.expire(secs(46)));
    assert!(names.list().is_empty());
    assert!(of(&names, "10.0.0.1", "192.0.2.1").is_empty());
    let _moment = names.each_address(|address, _| panic!("{address} has a name"));
}

#[test]
fn a_short_life_is_prolonged_to_the_floor() {
    let names = names();
    let mut answers = [(ip("192.0.2.1"), 0)].into_iter();
    names.learn(ip("10.0.0.1"), ("a.test.", false), &mut answers, secs(0));
    assert!(!names.expire(secs(14)));
    assert!(names.expire(secs(16)));
}

#[test]
fn a_client_that_asks_for_ever_new_names_keeps_a_few() {
    let names = names();
    for number in 0..100 {
        let name = format!("n{number}.test.");
        learn(&names, "10.0.0.1", &name, &["192.0.2.1"], number);
    }
    assert_eq!(names.list().len(), 4);
    assert_eq!(names.evicted(), 96);
    assert!(of(&names, "10.0.0.1", "192.0.2.1").contains(&"n99.test".to_owned()));
    for number in 0..100_u8 {
        let address = format!("192.0.2.{number}");
        learn(
            &names,
            "10.0.0.2",
            "a.test.",
            &[&address],
            u64::from(number),
        );
    }
    let kept = names
        .list()
        .into_iter()
        .filter(|known| known.client == ip("10.0.0.2"));
    let kept: Vec<String> = kept.map(|known| known.address.to_string()).collect();
    assert_eq!(kept, ["192.0.2.97", "192.0.2.98", "192.0.2.99"]);
}

#[test]
fn mapped_addresses_are_the_ipv4_addresses() {
    let names = names();
    learn(
        &names,
        "::ffff:10.0.0.1",
        "a.test.",
        &["::ffff:192.0.2.1"],
        0,
    );
    assert_eq!(of(&names, "10.0.0.1", "192.0.2.1"), ["a.test"]);
}
