//! Watches.

use std::time::Duration;

use apiserver_double::{Double, Misbehaviour, On, Verb};
use l7d::host::cluster::Kind;
use l7d::kube::State;
use serde_json::json;

use crate::cluster::{Following, given_or_start, pod, quick_bookmarks, timeouts};

const WATCH: On = On::of(Verb::Watch, "pods");

async fn following(double: &Double) -> anyhow::Result<Following> {
    double.put(&pod("a", "1"))?;
    let mut following = Following::start(double)?;
    following.until_whole().await?;
    following
        .until_reading(Kind::Pod, |reading| {
            reading.watches > 0 && reading.state == State::Following
        })
        .await?;
    Ok(following)
}

#[tokio::test]
async fn changes_are_told_as_they_come() -> anyhow::Result<()> {
    let double = given_or_start()?;
    let mut following = following(&double).await?;
    double.put(&pod("b", "1"))?;
    double.put(&pod("a", "2"))?;
    following
        .until(|told| told.version("a") == Some("2"))
        .await?;
    assert_eq!(following.told.names(Kind::Pod), ["a", "b"]);
    double.remove("Pod", "default", "b");
    following
        .until(|told| told.names(Kind::Pod) == ["a"])
        .await?;
    let reading = following.reading(Kind::Pod);
    assert_eq!(reading.lists, 1);
    if !double.is_given() {
        assert_eq!((reading.objects, reading.events), (1, 3));
    }
    Ok(())
}

/// Ends the watch of pods.
fn end_watch(double: &Double) {
    double.misbehave(WATCH, Misbehaviour::CloseWatch(0), Some(1));
}

#[tokio::test]
async fn bookmarks_keep_a_watch_from_growing_too_old() -> anyhow::Result<()> {
    let double = quick_bookmarks()?;
    let mut following = following(&double).await?;
    let change = |value: &str| {
        double.put(&json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "other", "namespace": "default" }, "data": { "v": value },
        }))
    };
    change("1")?;
    let revision = double.revision();
    double.forget_asked();
    // Pods have not changed, and yet the watch knows that it is of now.
    let has_moved_on = || {
        let asked = double.asked();
        let mut watches = asked
            .iter()
            .filter(|asked| asked.verb == Some(Verb::Watch) && asked.resource == "pods");
        let now = format!("resourceVersion={revision}&");
        watches
            .any(|asked| asked.query.contains(&now))
            .then_some(())
    };
    while has_moved_on().is_none() {
        end_watch(&double);
        // Time for a bookmark.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    double.compact();
    double.stop();
    double.resume()?;
    double.put(&pod("a", "2"))?;
    following
        .until(|told| told.version("a") == Some("2"))
        .await?;
    let reading = following.reading(Kind::Pod);
    assert_eq!((reading.expired, reading.lists), (0, 1), "{reading:?}");
    Ok(())
}

#[tokio::test]
async fn a_version_that_is_forgotten_means_a_new_list() -> anyhow::Result<()> {
    let double = Double::start()?;
    let mut following = following(&double).await?;
    double.put(&pod("b", "1"))?;
    following
        .until(|told| told.names(Kind::Pod) == ["a", "b"])
        .await?;
    double.stop();
    double.remove("Pod", "default", "a");
    double.put(&pod("c", "1"))?;
    double.compact();
    double.resume()?;
    following.until(|told| told.lists(Kind::Pod) == 2).await?;
    assert_eq!(following.told.names(Kind::Pod), ["b", "c"]);
    assert_eq!(following.reading(Kind::Pod).expired, 1);
    Ok(())
}

#[tokio::test]
async fn a_watch_that_is_refused_as_too_old_means_a_new_list() -> anyhow::Result<()> {
    let double = Double::start()?;
    let mut following = following(&double).await?;
    // The answer's own status says so, before any event.
    double.misbehave(WATCH, Misbehaviour::Refuse, Some(1));
    end_watch(&double);
    double.put(&pod("b", "1"))?;
    following.until(|told| told.lists(Kind::Pod) == 2).await?;
    assert_eq!(following.told.names(Kind::Pod), ["a", "b"]);
    let reading = following.reading(Kind::Pod);
    assert_eq!((reading.expired, reading.failures), (1, 0), "{reading:?}");
    Ok(())
}

#[tokio::test]
async fn a_watch_that_ends_or_breaks_is_gone_on_with() -> anyhow::Result<()> {
    let double = Double::start()?;
    let mut following = following(&double).await?;
    let mut version = 1;
    for how in [
        Misbehaviour::CloseWatch(1),
        Misbehaviour::BreakWatch(1),
        Misbehaviour::Drop,
        Misbehaviour::InternalError,
        Misbehaviour::TooManyRequests(0),
    ] {
        double.misbehave(WATCH, how, Some(1));
        end_watch(&double);
        for _ in 0..3 {
            version += 1;
            let version = version.to_string();
            double.put(&pod("a", &version))?;
            let is_told = |told: &crate::cluster::Model| told.version("a") == Some(&version);
            following.until(is_told).await?;
        }
    }
    let reading = following.reading(Kind::Pod);
    assert_eq!((reading.lists, reading.expired), (1, 0), "{reading:?}");
    assert!(reading.watches > 5);
    Ok(())
}

#[tokio::test]
async fn a_watch_that_makes_no_sense_means_a_new_list() -> anyhow::Result<()> {
    let double = Double::start()?;
    let mut following = following(&double).await?;
    for (lists, how) in [
        (2, Misbehaviour::GarbleWatch(1)),
        (3, Misbehaviour::Expire(1)),
    ] {
        double.misbehave(WATCH, how, Some(1));
        for version in ["2", "3", "4"] {
            double.put(&pod("a", &format!("{lists}-{version}")))?;
        }
        following
            .until(|told| told.lists(Kind::Pod) == lists)
            .await?;
        let last = format!("{lists}-4");
        following
            .until(|told| told.version("a") == Some(&last))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_that_is_silent_for_too_long_is_dead() -> anyhow::Result<()> {
    let double = Double::start()?;
    double.put(&pod("a", "1"))?;
    double.misbehave(WATCH, Misbehaviour::SilenceWatch(0), Some(1));
    let mut timeouts = timeouts();
    timeouts.watch = (Duration::from_secs(1), Duration::from_secs(1));
    let mut following = Following::with(&double, None, timeouts)?;
    following.until_whole().await?;
    double.put(&pod("a", "2"))?;
    following
        .until(|told| told.version("a") == Some("2"))
        .await?;
    assert_eq!(following.reading(Kind::Pod).lists, 1);
    assert!(following.reading(Kind::Pod).failures > 0);
    Ok(())
}

#[tokio::test]
async fn who_takes_updates_late_loses_none() -> anyhow::Result<()> {
    let double = Double::start()?;
    let mut following = following(&double).await?;
    // Far more than queues and sockets hold.
    let filling = "x".repeat(4000);
    for index in 0..5000 {
        let mut object = pod(&format!("p{index}"), "1");
        object["metadata"]["annotations"] = json!({ "note": filling });
        double.put(&object)?;
    }
    let reading = following.reading(Kind::Pod);
    assert!(reading.events < 5000, "the watch waits: {reading:?}");
    following
        .until(|told| told.names(Kind::Pod).len() == 5001)
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_event_that_is_too_large_is_refused_and_the_rest_is_known() -> anyhow::Result<()> {
    let double = Double::start()?;
    let mut following = following(&double).await?;
    let mut large = pod("large", "1");
    large["metadata"]["annotations"] = json!({ "note": "x".repeat(5 << 20) });
    double.put(&large)?;
    double.put(&pod("b", "1"))?;
    following
        .until(|told| told.names(Kind::Pod) == ["a", "b", "large"])
        .await?;
    let reading = following.reading(Kind::Pod);
    assert_eq!((reading.malformed, reading.lists), (1, 2));
    Ok(())
}
