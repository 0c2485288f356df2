//! What pods may do: in the kernel, on the node, and at the API server.

use std::collections::BTreeSet;
use std::path::PathBuf;

use charts::Document;
use serde_json::{Value, json};

use crate::rendering::{items, one, refused, rendered_without_keys, texts};

fn page(name: &str) -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name);
    std::fs::read_to_string(file).expect("a page")
}

/// Everything that the chart can make.
fn everything() -> Vec<Document> {
    rendered_without_keys(&json!({
        "hubbleUi": { "enabled": true },
        "relay": { "ui": { "exposed": true } },
        "config": { "host": { "ports": [ { "port": 53, "protocol": "UDP" } ] } },
    }))
}

#[test]
fn no_container_is_privileged_and_all_are_confined() {
    for document in everything() {
        let Some((_, spec)) = document.pod() else {
            continue;
        };
        let name = document.name();
        for container in items(&spec["containers"]) {
            let context = &container["securityContext"];
            assert_ne!(context["privileged"], true, "{name}");
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(texts(&context["capabilities"]["drop"]), ["ALL"], "{name}");
            let seccomp = [
                &context["seccompProfile"],
                &spec["securityContext"]["seccompProfile"],
            ];
            assert!(
                seccomp.iter().any(|of| of["type"] == "RuntimeDefault"),
                "{name}"
            );
            if document.kind() != "DaemonSet" {
                let root = [
                    &context["runAsNonRoot"],
                    &spec["securityContext"]["runAsNonRoot"],
                ];
                assert!(root.contains(&&json!(true)), "{name}");
                assert_eq!(context["capabilities"]["add"], Value::Null, "{name}");
            }
        }
        for of in ["hostPID", "hostIPC", "shareProcessNamespace"] {
            assert_ne!(spec[of], true, "{name}: {of}");
        }
        assert_eq!(
            spec["hostNetwork"] == true,
            document.kind() == "DaemonSet",
            "{name}"
        );
    }
}

#[test]
fn the_agent_has_the_capabilities_that_the_page_on_rights_lists() {
    let page = page("rights.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `CAP_"));
    let known: BTreeSet<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let needed = BTreeSet::from(["BPF", "NET_ADMIN", "PERFMON"]);
    let documents = everything();
    let (_, spec) = one(&documents, "DaemonSet", "l7d-agent")
        .pod()
        .expect("a pod");
    let added = texts(&spec["containers"][0]["securityContext"]["capabilities"]["add"]);
    let added: BTreeSet<&str> = added.into_iter().collect();
    // DNS over UDP through the proxy is on.
    assert_eq!(added, &needed | &BTreeSet::from(["NET_RAW"]));
    assert!(added.is_subset(&known), "{known:?}");
    // What may be given is exactly what the page knows.
    let schema = std::fs::read_to_string(charts::folder().join("values.schema.json"));
    let schema: Value = serde_json::from_str(&schema.expect("a schema")).expect("JSON");
    let of = &schema["properties"]["agent"]["properties"]["capabilities"]["items"]["enum"];
    assert_eq!(texts(of).into_iter().collect::<BTreeSet<_>>(), known);
    let give = |capabilities: Value| json!({ "agent": { "capabilities": capabilities } });
    let said = refused(&give(json!(["BPF", "NET_ADMIN", "PERFMON", "SYS_ADMIN"])));
    assert!(said.contains("must be one of"), "{said}");
    let said = refused(&give(json!(["BPF", "NET_ADMIN"])));
    assert!(said.contains("PERFMON"), "{said}");
}

/// Rules as sets: group, resource, verb.
fn rules(value: &Value) -> BTreeSet<(String, String, String)> {
    let mut all = BTreeSet::new();
    for rule in items(value) {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    all.insert((group.to_owned(), resource.to_owned(), verb.to_owned()));
                }
            }
        }
    }
    all
}

/// The blocks of rules of the page, in their order: reading, telling, the relay's.
fn documented() -> Vec<BTreeSet<(String, String, String)>> {
    let page = page("kubernetes.md");
    let blocks = page.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|block| block.split("```").next());
    let blocks = blocks.map(|text| {
        let value: Value = serde_saphyr::from_str(text).expect("YAML");
        rules(value.get("rules").unwrap_or(&value))
    });
    blocks.collect()
}

#[test]
fn rights_at_the_api_server_are_those_that_the_page_lists() {
    let [reading, telling, relay] = &documented()[..] else {
        panic!("three blocks of rules");
    };
    assert!(!reading.is_empty() && !telling.is_empty() && !relay.is_empty());
    let documents = rendered_without_keys(&json!({}));
    let role = one(&documents, "ClusterRole", "l7d-system:l7d-agent");
    assert_eq!(rules(role.at("/rules")), reading | telling);
    let role = one(&documents, "Role", "l7d-relay");
    assert_eq!(rules(role.at("/rules")), *relay);
    let documents =
        rendered_without_keys(&json!({ "config": { "kubernetes": { "status": false } } }));
    let role = one(&documents, "ClusterRole", "l7d-system:l7d-agent");
    assert_eq!(rules(role.at("/rules")), *reading);
    let documents = rendered_without_keys(&json!({ "rbac": { "create": false } }));
    let is_role = |document: &Document| document.source.contains("role");
    assert!(!documents.iter().any(is_role));
}

#[test]
fn of_the_node_the_agent_has_four_folders_and_the_cgroups_where_they_are_needed() {
    let folders = |values: Value| -> Vec<String> {
        let documents = rendered_without_keys(&values);
        let (_, spec) = one(&documents, "DaemonSet", "l7d-agent")
            .pod()
            .expect("a pod");
        let paths = items(&spec["volumes"]).filter_map(|volume| {
            let path = volume["hostPath"]["path"].as_str()?;
            Some(path.to_owned())
        });
        paths.collect()
    };
    assert_eq!(
        folders(json!({})),
        ["/run/l7d", "/var/lib/l7d", "/sys/fs/bpf", "/proc/sys/net"]
    );
    let processes = json!({ "config": { "host": { "ports": [ { "port": 80 } ] } } });
    assert_eq!(
        folders(processes),
        [
            "/run/l7d",
            "/var/lib/l7d",
            "/sys/fs/bpf",
            "/proc/sys/net",
            "/sys/fs/cgroup"
        ]
    );
    for document in everything() {
        let volumes = document.pod().map(|(_, spec)| items(&spec["volumes"]));
        let has_folders =
            volumes.is_some_and(|mut of| of.any(|volume| !volume["hostPath"].is_null()));
        assert_eq!(
            has_folders,
            document.kind() == "DaemonSet",
            "{}",
            document.name()
        );
    }
}
