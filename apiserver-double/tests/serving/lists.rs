//! Lists: pages, versions, selectors and forms.

use apiserver_double::Double;
use serde_json::{Value, json};

use crate::client::{at, config_map, definition, get, pod, policy, send};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    items
        .iter()
        .map(|item| at(item, "/metadata/name"))
        .collect()
}

fn filled() -> anyhow::Result<Double> {
    let double = Double::start()?;
    for name in ["a", "b", "c", "d", "e"] {
        double.put(&config_map(name, "1"))?;
    }
    Ok(double)
}

#[test]
fn pages_are_of_one_version_until_that_is_forgotten() -> anyhow::Result<()> {
    let double = filled()?;
    let first = get(&double, &format!("{MAPS}?limit=2"))?;
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    double.remove("ConfigMap", "default", "c");
    double.put(&config_map("d", "2"))?;
    let resume = at(&first, "/metadata/continue").to_owned();
    let second = get(&double, &format!("{MAPS}?limit=2&continue={resume}"))?;
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second["items"][1]["data"]["value"], "1");
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );

    double.compact();
    let resume = at(&second, "/metadata/continue");
    let gone = send(
        &double,
        "GET",
        &format!("{MAPS}?limit=2&continue={resume}"),
        &[],
        "",
    )?;
    assert_eq!(gone.code, 410);
    let gone = gone.json()?;
    assert_eq!(gone["reason"], "Expired");
    let rest = get(
        &double,
        &format!("{MAPS}?continue={}", at(&gone, "/metadata/continue")),
    )?;
    assert_eq!(names(&rest), ["e"]);
    Ok(())
}

#[test]
fn a_version_is_met_exactly_or_at_least_or_not_at_all() -> anyhow::Result<()> {
    let double = filled()?;
    let former = double.revision();
    double.remove("ConfigMap", "default", "a");
    let exact = get(
        &double,
        &format!("{MAPS}?resourceVersion={former}&resourceVersionMatch=Exact"),
    )?;
    assert_eq!(names(&exact), ["a", "b", "c", "d", "e"]);
    assert_eq!(at(&exact, "/metadata/resourceVersion"), former.to_string());
    for least in ["0".to_owned(), former.to_string()] {
        let list = get(
            &double,
            &format!("{MAPS}?resourceVersion={least}&resourceVersionMatch=NotOlderThan"),
        )?;
        assert_eq!(names(&list), ["b", "c", "d", "e"]);
    }
    let of_the_cache = get(&double, &format!("{MAPS}?resourceVersion=0&limit=1"))?;
    assert_eq!(names(&of_the_cache).len(), 4, "pages are not of the cache");

    let future = double.revision() + 10;
    let answer = send(
        &double,
        "GET",
        &format!("{MAPS}?resourceVersion={future}"),
        &[],
        "",
    )?;
    assert_eq!(answer.code, 504);
    assert!(
        answer.headers.contains("retry-after: 1"),
        "{}",
        answer.headers
    );
    let status = answer.json()?;
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );

    double.compact();
    for (query, code) in [
        (
            format!("resourceVersion={former}&resourceVersionMatch=Exact"),
            410,
        ),
        ("resourceVersionMatch=Exact".to_owned(), 422),
        (
            "resourceVersion=0&resourceVersionMatch=Exact".to_owned(),
            422,
        ),
        ("resourceVersion=x".to_owned(), 400),
        ("continue=nonsense".to_owned(), 400),
        ("fieldSelector=spec.nodeName%3Dx".to_owned(), 400),
    ] {
        assert_eq!(
            send(&double, "GET", &format!("{MAPS}?{query}"), &[], "")?.code,
            code,
            "{query}"
        );
    }
    Ok(())
}

#[test]
fn selectors_choose_by_labels_and_fields() -> anyhow::Result<()> {
    let double = Double::start()?;
    for (name, app, node) in [("a", "web", "n1"), ("b", "web", "n2"), ("c", "api", "n1")] {
        double.put(&pod(name, app, node))?;
    }
    for (query, expected) in [
        ("labelSelector=app%3Dweb", vec!["a", "b"]),
        ("labelSelector=app+in+(web,api),!tier", vec!["a", "b", "c"]),
        ("fieldSelector=spec.nodeName%3Dn1", vec!["a", "c"]),
        (
            "fieldSelector=spec.nodeName%3Dn1,metadata.name!%3Da",
            vec!["c"],
        ),
        (
            "fieldSelector=status.phase%3DRunning&labelSelector=app%3Dapi",
            vec!["c"],
        ),
        ("fieldSelector=metadata.namespace%3Dother", vec![]),
    ] {
        let list = get(&double, &format!("/api/v1/pods?{query}"))?;
        assert_eq!(names(&list), expected, "{query}");
    }
    Ok(())
}

#[test]
fn objects_in_lists_say_their_kind_only_where_it_is_defined() -> anyhow::Result<()> {
    let double = filled()?;
    double.put(&definition())?;
    double.put(&policy("p"))?;
    let built_in = get(&double, MAPS)?;
    assert_eq!(built_in["kind"], "ConfigMapList");
    assert!(built_in["items"][0].get("kind").is_none());
    let defined = get(&double, "/apis/cilium.io/v2/ciliumnetworkpolicies")?;
    assert_eq!(defined["items"][0]["kind"], "CiliumNetworkPolicy");
    assert_eq!(defined["items"][0]["apiVersion"], "cilium.io/v2");
    Ok(())
}

#[test]
fn tables_and_metadata_are_given_to_those_who_ask() -> anyhow::Result<()> {
    let double = filled()?;
    double.put(&definition())?;
    let mut valid = policy("p");
    valid["status"] = json!({ "conditions": [{ "type": "Valid", "status": "True" }] });
    double.put(&valid)?;
    let table = [(
        "Accept",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    )];
    let shown = send(
        &double,
        "GET",
        "/apis/cilium.io/v2/ciliumnetworkpolicies",
        &table,
        "",
    )?
    .json()?;
    let columns: Vec<&str> = (0..3)
        .map(|n| at(&shown, &format!("/columnDefinitions/{n}/name")))
        .collect();
    assert_eq!(columns, ["Name", "Valid", "Age"]);
    assert_eq!(shown["rows"][0]["cells"][1], "True");
    let metadata = [(
        "Accept",
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    )];
    let shown = send(&double, "GET", MAPS, &metadata, "")?.json()?;
    assert_eq!(shown["items"][0]["kind"], "PartialObjectMetadata");
    assert!(shown["items"][0].get("data").is_none());
    Ok(())
}
