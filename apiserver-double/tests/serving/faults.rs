//! Misbehaviour on command, as a client meets it.

use std::time::{Duration, Instant};

use apiserver_double::{Double, Misbehaviour, On, Verb};

use crate::client::{Answer, config_map, get, send, watch};

const MAPS: &str = "/api/v1/configmaps";
const LIST: On = On::of(Verb::List, "configmaps");
const WATCH: On = On::of(Verb::Watch, "configmaps");

fn filled() -> anyhow::Result<Double> {
    let double = Double::start()?;
    for name in ["a", "b", "c"] {
        double.put(&config_map(name, "1"))?;
    }
    Ok(double)
}

fn watch_all(double: &Double) -> anyhow::Result<Answer> {
    watch(
        double,
        &format!("{MAPS}?watch=true&allowWatchBookmarks=true"),
    )
}

#[test]
fn refusals_come_as_often_as_said() -> anyhow::Result<()> {
    let double = filled()?;
    double.misbehave(LIST, Misbehaviour::TooManyRequests(7), Some(1));
    double.misbehave(LIST, Misbehaviour::InternalError, Some(1));
    double.misbehave(LIST, Misbehaviour::Expire(0), Some(1));
    let throttled = send(&double, "GET", MAPS, &[], "")?;
    assert!(
        throttled.code == 429 && throttled.headers.contains("retry-after: 7"),
        "{}",
        throttled.headers
    );
    assert_eq!(send(&double, "GET", MAPS, &[], "")?.code, 500);
    assert_eq!(send(&double, "GET", MAPS, &[], "")?.code, 410);
    get(&double, MAPS)?;
    double.misbehave(
        LIST,
        Misbehaviour::Delay(Duration::from_millis(200)),
        Some(1),
    );
    let began = Instant::now();
    get(&double, MAPS)?;
    assert!(
        began.elapsed() >= Duration::from_millis(200),
        "it waits at least that long"
    );
    double.misbehave(LIST, Misbehaviour::Drop, Some(1));
    assert!(send(&double, "GET", MAPS, &[], "").is_err());
    Ok(())
}

#[test]
fn a_list_breaks_off_in_the_middle() -> anyhow::Result<()> {
    let double = filled()?;
    double.misbehave(LIST, Misbehaviour::BreakList(2), Some(1));
    let answer = send(&double, "GET", MAPS, &[], "")?;
    assert_eq!(answer.code, 200);
    assert!(answer.body().is_err());
    get(&double, MAPS)?;
    Ok(())
}

#[test]
fn watches_are_closed_cut_off_garbled_and_expired() -> anyhow::Result<()> {
    let double = filled()?;
    double.misbehave(WATCH, Misbehaviour::CloseWatch(2), Some(1));
    let mut closed = watch_all(&double)?;
    assert_eq!(
        (closed.told()?, closed.told()?, closed.line()?),
        ("ADDED a".to_owned(), "ADDED b".to_owned(), None)
    );

    double.misbehave(WATCH, Misbehaviour::BreakWatch(1), Some(1));
    let mut broken = watch_all(&double)?;
    assert_eq!(broken.told()?, "ADDED a");
    assert!(broken.line().is_err());

    double.misbehave(WATCH, Misbehaviour::Expire(3), Some(1));
    let mut expired = watch_all(&double)?;
    for expected in ["ADDED a", "ADDED b", "ADDED c"] {
        assert_eq!(expired.told()?, expected);
    }
    let (kind, status) = expired.event()?;
    assert_eq!((kind.as_str(), &status["code"]), ("ERROR", &410.into()));
    assert_eq!(expired.line()?, None);

    double.misbehave(WATCH, Misbehaviour::GarbleWatch(1), Some(1));
    let mut garbled = watch_all(&double)?;
    assert_eq!(garbled.told()?, "ADDED a");
    assert!(garbled.event().is_err());
    assert_eq!(garbled.told()?, "ADDED b");
    Ok(())
}

#[test]
fn a_silenced_watch_tells_nothing_while_another_one_does() -> anyhow::Result<()> {
    let double = filled()?;
    let mut silent = watch_all(&double)?;
    for _ in 0..3 {
        silent.told()?;
    }
    double.misbehave(WATCH, Misbehaviour::SilenceWatch(1), Some(1));
    double.put(&config_map("d", "1"))?;
    assert_eq!(silent.told()?, "ADDED d");
    let now = double.revision();
    let mut other = watch(&double, &format!("{MAPS}?watch=true&resourceVersion={now}"))?;
    double.put(&config_map("e", "1"))?;
    assert_eq!(other.told()?, "ADDED e");
    assert!(silent.is_silent()?);
    Ok(())
}

#[test]
fn the_server_goes_and_comes_back_on_its_port_with_its_state() -> anyhow::Result<()> {
    let double = filled()?;
    let mut former = watch_all(&double)?;
    for _ in 0..3 {
        former.told()?;
    }
    double.stop();
    assert!(former.line().is_err());
    assert!(send(&double, "GET", MAPS, &[], "").is_err());
    double.put(&config_map("d", "1"))?;
    double.resume()?;
    let list = get(&double, MAPS)?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(4));
    Ok(())
}

#[test]
fn a_restored_server_has_a_former_version() -> anyhow::Result<()> {
    let double = filled()?;
    let backup = double.snapshot();
    let former = double.revision();
    double.remove("ConfigMap", "default", "a");
    double.put(&config_map("e", "1"))?;
    double.restore(backup)?;
    assert_eq!(double.revision(), former);
    assert_eq!(
        get(&double, MAPS)?["items"].as_array().map(Vec::len),
        Some(3)
    );
    Ok(())
}
