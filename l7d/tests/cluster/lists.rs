//! Lists.

use anyhow::Context as _;
use apiserver_double::{Double, Misbehaviour, On, Verb};
use l7d::host::cluster::Kind;
use serde_json::json;

use crate::cluster::{Following, given_or_start, pod};

const LIST: On = On::of(Verb::List, "pods");

/// More than two pages of them.
fn many(double: &Double) -> anyhow::Result<()> {
    for index in 0..1203 {
        double.put(&pod(&format!("p{index:04}"), "1"))?;
    }
    Ok(())
}

fn pages(double: &Double) -> usize {
    let asked = double.asked();
    let lists = asked.iter().filter(|asked| {
        asked.verb == Some(Verb::List)
            && asked.resource == "pods"
            && asked.query.contains("limit=500")
    });
    lists.count()
}

/// No more is taken: the queue is full within the second page, and the third is not asked for.
async fn stand_in_the_second_page(
    double: &Double,
    following: &mut Following,
) -> anyhow::Result<()> {
    following
        .until(|told| told.names(Kind::Pod).len() == 100)
        .await?;
    let is_there = double.until(|| (pages(double) == 2).then_some(())).await;
    is_there.context("two pages")
}

#[tokio::test]
async fn everything_is_read_in_pages() -> anyhow::Result<()> {
    let double = Double::start()?;
    many(&double)?;
    let mut following = Following::start(&double)?;
    following.until_whole().await?;
    assert_eq!(following.told.names(Kind::Pod).len(), 1203);
    assert_eq!(pages(&double), 3);
    let reading = following.reading(Kind::Pod);
    assert_eq!((reading.objects, reading.lists), (1203, 1));
    Ok(())
}

#[tokio::test]
async fn a_list_that_expires_on_the_way_begins_anew() -> anyhow::Result<()> {
    let double = Double::start()?;
    many(&double)?;
    let mut following = Following::start(&double)?;
    stand_in_the_second_page(&double, &mut following).await?;
    double.remove("Pod", "default", "p0000");
    double.put(&pod("later", "1"))?;
    double.compact();
    following.until_whole().await?;
    let names = following.told.names(Kind::Pod);
    assert_eq!((names.len(), names[0]), (1203, "later"));
    let reading = following.reading(Kind::Pod);
    assert_eq!(
        (reading.lists, reading.expired, reading.failures),
        (2, 1, 0)
    );
    Ok(())
}

#[tokio::test]
async fn refused_and_broken_pages_are_asked_for_again() -> anyhow::Result<()> {
    let double = Double::start()?;
    many(&double)?;
    double.misbehave(LIST, Misbehaviour::TooManyRequests(0), Some(1));
    double.misbehave(LIST, Misbehaviour::InternalError, Some(1));
    double.misbehave(LIST, Misbehaviour::BreakList(100), Some(2));
    double.misbehave(LIST, Misbehaviour::Drop, Some(1));
    double.misbehave(LIST, Misbehaviour::Hang, Some(1));
    let mut following = Following::start(&double)?;
    following.until_whole().await?;
    assert_eq!(following.told.names(Kind::Pod).len(), 1203);
    let reading = following.reading(Kind::Pod);
    assert_eq!(reading.failures, 6, "{reading:?}");
    Ok(())
}

#[tokio::test]
async fn a_page_that_fails_does_not_lose_those_before_it() -> anyhow::Result<()> {
    let double = Double::start()?;
    many(&double)?;
    let mut following = Following::start(&double)?;
    stand_in_the_second_page(&double, &mut following).await?;
    double.misbehave(LIST, Misbehaviour::InternalError, Some(2));
    following.until_whole().await?;
    let reading = following.reading(Kind::Pod);
    assert_eq!((reading.lists, reading.failures), (1, 2));
    assert_eq!(pages(&double), 5);
    Ok(())
}

#[tokio::test]
async fn who_is_busy_is_asked_when_it_says() -> anyhow::Result<()> {
    let double = Double::start()?;
    double.misbehave(LIST, Misbehaviour::TooManyRequests(1), Some(1));
    let began = std::time::Instant::now();
    let mut following = Following::start(&double)?;
    following.until_whole().await?;
    assert!(began.elapsed() >= std::time::Duration::from_secs(1));
    Ok(())
}

#[tokio::test]
async fn what_makes_no_sense_is_left_out_and_counted() -> anyhow::Result<()> {
    let double = Double::start()?;
    let mut bad = pod("bad", "1");
    bad["status"]["podIP"] = json!("10.0.0");
    double.put(&bad)?;
    double.put(&pod("good", "1"))?;
    let mut following = Following::start(&double)?;
    following.until_whole().await?;
    assert_eq!(following.told.names(Kind::Pod), ["good"]);
    assert_eq!(following.reading(Kind::Pod).malformed, 1);
    double.put(&pod("bad", "2"))?;
    following
        .until(|told| told.version("bad") == Some("2"))
        .await?;
    Ok(())
}

#[tokio::test]
async fn every_kind_is_reduced_to_what_matters() -> anyhow::Result<()> {
    let double = given_or_start()?;
    let mut of_host = pod("of-host", "1");
    of_host["spec"]["hostNetwork"] = json!(true);
    let mut ended = pod("ended", "1");
    ended["status"]["phase"] = json!("Succeeded");
    let slice = |name: &str, by: &str| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "name": name, "namespace": "default", "labels": {
                "kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": by,
            } },
            "addressType": "IPv4", "endpoints": [{ "addresses": ["203.0.113.7"] }], "ports": [],
        })
    };
    for object in [
        of_host,
        ended,
        pod("own", "1"),
        json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "here" },
            "status": { "addresses": [{ "type": "InternalIP", "address": "192.0.2.1" }, { "type": "Hostname", "address": "here" }] } }),
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web", "namespace": "default" },
            "spec": { "ports": [{ "port": 80 }] } }),
        slice("db", "me"),
        slice("web", "endpointslice-controller.k8s.io"),
        json!({ "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": { "name": "deny", "namespace": "default" }, "spec": { "podSelector": {} } }),
    ] {
        double.put(&object)?;
    }
    let mut following = Following::start(&double)?;
    following.until_whole().await?;
    let told = &following.told;
    assert_eq!(told.names(Kind::Pod), ["own"]);
    assert_eq!(told.names(Kind::Node), ["here"]);
    assert!(told.names(Kind::Service).contains(&"web"));
    let slices = told.names(Kind::EndpointSlice);
    assert!(
        slices.contains(&"db") && !slices.contains(&"web"),
        "{slices:?}"
    );
    assert_eq!(told.names(Kind::NetworkPolicy), ["deny"]);
    assert!(told.names(Kind::Namespace).contains(&"default"));
    let ended = &mut pod("own", "2");
    ended["status"]["phase"] = json!("Failed");
    double.put(ended)?;
    following
        .until(|told| told.names(Kind::Pod).is_empty())
        .await?;
    Ok(())
}
