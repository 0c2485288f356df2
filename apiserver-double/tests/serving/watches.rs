//! Watches: where they begin, what they tell, how they end.

use std::time::Duration;

use apiserver_double::{Double, Options};

use crate::client::{POLICIES, at, config_map, definition, get, pod, policy, send, watch};

const MAPS: &str = "/api/v1/configmaps";

#[test]
fn every_change_behind_a_version_is_told_once_and_in_order() -> anyhow::Result<()> {
    let double = Double::start()?;
    double.put(&config_map("before", "1"))?;
    let version = at(&get(&double, MAPS)?, "/metadata/resourceVersion").to_owned();
    double.put(&config_map("a", "1"))?;
    double.put(&config_map("a", "2"))?;
    let mut watch = watch(
        &double,
        &format!("{MAPS}?watch=true&resourceVersion={version}"),
    )?;
    assert_eq!(watch.told()?, "ADDED a");
    let (kind, object) = watch.event()?;
    assert_eq!(
        (kind.as_str(), &object["data"]["value"]),
        ("MODIFIED", &"2".into())
    );
    assert_eq!(object["kind"], "ConfigMap");
    double.remove("ConfigMap", "default", "a");
    let (kind, object) = watch.event()?;
    assert_eq!(
        (kind.as_str(), &object["data"]["value"]),
        ("DELETED", &"2".into())
    );
    assert_eq!(
        at(&object, "/metadata/resourceVersion"),
        double.revision().to_string()
    );
    Ok(())
}

#[test]
fn an_object_that_fits_no_longer_is_deleted_for_who_asked_for_fitting_ones() -> anyhow::Result<()> {
    let double = Double::start()?;
    let revision = double.revision();
    let by_label =
        format!("/api/v1/pods?watch=1&resourceVersion={revision}&labelSelector=app%3Dweb");
    let by_node =
        format!("/api/v1/pods?watch=1&resourceVersion={revision}&fieldSelector=spec.nodeName%3Dn1");
    let (mut by_label, mut by_node) = (watch(&double, &by_label)?, watch(&double, &by_node)?);
    double.put(&pod("a", "web", ""))?;
    double.put(&pod("a", "web", "n1"))?;
    double.put(&pod("a", "api", "n1"))?;
    double.remove("Pod", "default", "a");
    for expected in ["ADDED a", "MODIFIED a"] {
        assert_eq!(by_label.told()?, expected);
    }
    let (kind, object) = by_label.event()?;
    assert_eq!(
        (kind.as_str(), at(&object, "/metadata/labels/app")),
        ("DELETED", "web"),
        "as it last fitted"
    );
    for expected in ["ADDED a", "MODIFIED a", "DELETED a"] {
        assert_eq!(by_node.told()?, expected);
    }
    Ok(())
}

#[test]
fn a_watch_from_nowhere_begins_with_what_there_is() -> anyhow::Result<()> {
    let double = Double::start()?;
    double.put(&config_map("a", "1"))?;
    for query in ["watch=true", "watch=true&resourceVersion=0"] {
        let mut watch = watch(&double, &format!("{MAPS}?{query}"))?;
        assert_eq!(watch.told()?, "ADDED a", "{query}");
    }
    let streaming = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut streaming = watch(&double, &format!("{MAPS}?{streaming}"))?;
    assert_eq!(streaming.told()?, "ADDED a");
    let (kind, object) = streaming.event()?;
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(
        object["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(
        at(&object, "/metadata/resourceVersion"),
        double.revision().to_string()
    );
    double.put(&config_map("b", "1"))?;
    assert_eq!(streaming.told()?, "ADDED b");
    let refused = send(
        &double,
        "GET",
        &format!("{MAPS}?watch=true&sendInitialEvents=true"),
        &[],
        "",
    )?;
    assert_eq!(refused.code, 422);
    Ok(())
}

#[test]
fn a_forgotten_version_is_an_error_in_the_stream() -> anyhow::Result<()> {
    let double = Double::start()?;
    let former = double.revision();
    double.put(&config_map("a", "1"))?;
    double.compact();
    let mut from_then = watch(
        &double,
        &format!("{MAPS}?watch=true&resourceVersion={former}"),
    )?;
    let (kind, status) = from_then.event()?;
    assert_eq!(kind, "ERROR");
    assert_eq!(
        (&status["code"], &status["reason"]),
        (&410.into(), &"Expired".into())
    );
    assert_eq!(from_then.line()?, None);
    let now = double.revision();
    let mut from_now = watch(&double, &format!("{MAPS}?watch=true&resourceVersion={now}"))?;
    double.put(&config_map("b", "1"))?;
    assert_eq!(from_now.told()?, "ADDED b");
    Ok(())
}

#[test]
fn bookmarks_tell_how_far_a_silent_watch_has_come() -> anyhow::Result<()> {
    let double = Double::with(Options {
        bookmarks: Duration::from_millis(50),
        ..Options::default()
    })?;
    let revision = double.revision();
    let quiet =
        format!("/api/v1/secrets?watch=true&resourceVersion={revision}&allowWatchBookmarks=true");
    let mut quiet = watch(&double, &quiet)?;
    double.put(&config_map("a", "1"))?;
    let expected = double.revision().to_string();
    loop {
        let (kind, object) = quiet.event()?;
        assert_eq!(kind, "BOOKMARK");
        if at(&object, "/metadata/resourceVersion") == expected {
            return Ok(());
        }
    }
}

#[test]
fn a_watch_ends_when_its_time_is_over() -> anyhow::Result<()> {
    let double = Double::start()?;
    let path = format!(
        "{MAPS}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion={}",
        double.revision()
    );
    let mut watch = watch(&double, &path)?;
    assert_eq!(watch.event()?.0, "BOOKMARK");
    assert_eq!(watch.line()?, None);
    Ok(())
}

#[test]
fn a_kind_is_served_while_its_definition_is_there() -> anyhow::Result<()> {
    let double = Double::start()?;
    let absent = send(&double, "GET", POLICIES, &[], "")?;
    assert_eq!(absent.code, 404);
    assert_eq!(absent.body()?, "404 page not found\n");
    double.put(&definition())?;
    double.put(&policy("p"))?;
    let mut watch = watch(&double, &format!("{POLICIES}?watch=true"))?;
    assert_eq!(watch.told()?, "ADDED p");
    let path =
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ciliumnetworkpolicies.cilium.io";
    assert_eq!(
        get(&double, path)?["status"]["conditions"][1]["type"],
        "Established"
    );
    assert_eq!(send(&double, "DELETE", path, &[], "")?.code, 200);
    assert_eq!(watch.told()?, "DELETED p");
    assert_eq!(watch.line()?, None);
    assert_eq!(send(&double, "GET", POLICIES, &[], "")?.code, 404);
    Ok(())
}

#[test]
fn a_client_that_reads_slowly_holds_up_nobody_and_learns_that_it_is_late() -> anyhow::Result<()> {
    let double = Double::start()?;
    let mut slow = watch(
        &double,
        &format!("{MAPS}?watch=true&resourceVersion={}", double.revision()),
    )?;
    let large = "x".repeat(20_000);
    for number in 0..30_000 {
        // Small objects once the sockets are full.
        let value = if number < 1_000 {
            format!("{number}{large}")
        } else {
            number.to_string()
        };
        double.put(&config_map("a", &value))?;
    }
    let mut events = 0;
    loop {
        let (kind, status) = slow.event()?;
        if kind == "ERROR" {
            assert_eq!(status["code"], 410);
            assert!(events < 30_000);
            return Ok(());
        }
        events += 1;
    }
}
