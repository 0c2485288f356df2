//! Whatever is switched on and off: it renders, or is refused with a reason, and what is rendered is what
//! Kubernetes takes.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use charts::{Document, Helm, Refused, Switch, every, faults, pairwise};
use serde_json::{Value, json};

use crate::names::inconsistencies;

/// Who makes certificates but helm, whose keys take a second; `secrets` of one's own, all of them named.
fn providers() -> Vec<Value> {
    let named = json!({ "agent": "a", "relayClient": "b", "relayServer": "c", "client": "d" });
    let provider = |name: &str, secrets: &Value| json!({ "provider": name, "secrets": secrets });
    vec![
        provider("certManager", &json!({})),
        provider("secrets", &named),
        json!({ "enabled": false }),
    ]
}

/// Those on which most of the templates depend.
fn important() -> Vec<Switch> {
    vec![
        Switch::new("tls", providers()),
        Switch::boolean("relay.enabled"),
        Switch::boolean("metrics.enabled"),
        Switch::boolean("metrics.podMonitor.enabled"),
        Switch::boolean("rbac.create"),
        Switch::boolean("relay.ui.enabled"),
        Switch::boolean("relay.ui.exposed"),
    ]
}

/// All of them.
fn all() -> Vec<Switch> {
    [of_agents(), of_relays(), of_what_watches()].concat()
}

fn of_agents() -> Vec<Switch> {
    let account = |name: &str| json!({ "name": name, "create": false });
    vec![
        Switch::new("tls", {
            let mut providers = providers();
            providers.push(json!({ "provider": "helm", "clientCertificates": true }));
            providers.push(
                json!({ "provider": "certManager", "clientCertificates": true,
                "certManager": { "issuerRef": { "name": "ours", "kind": "ClusterIssuer" } } }),
            );
            providers
        }),
        Switch::new("listenAddress", [json!("0.0.0.0"), json!("[::]")]),
        Switch::new("fullnameOverride", [json!(""), json!("net")]),
        Switch::new("commonLabels", [json!({}), json!({ "team": "net" })]),
        Switch::new("commonAnnotations", [json!({}), json!({ "owner": "net" })]),
        Switch::new(
            "imagePullSecrets",
            [json!([]), json!([{ "name": "registry" }])],
        ),
        Switch::new(
            "image.digest",
            [
                json!(""),
                json!("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
            ],
        ),
        Switch::new(
            "config.host",
            [
                json!({}),
                json!({ "ports": [ { "port": 53, "protocol": "UDP" } ] }),
            ],
        ),
        Switch::boolean("config.kubernetes.status"),
        Switch::boolean("agent.restartOnChange"),
        Switch::boolean("agent.cleanup"),
        Switch::new(
            "agent.extraEnv",
            [json!([]), json!([{ "name": "A", "value": "1" }])],
        ),
        Switch::new(
            "agent.extraVolumes",
            [json!([]), json!([{ "name": "log", "emptyDir": {} }])],
        ),
        Switch::new(
            "agent.appArmorProfile",
            [json!({}), json!({ "type": "Unconfined" })],
        ),
        Switch::new(
            "agent.seLinuxOptions",
            [json!({}), json!({ "type": "spc_t" })],
        ),
        Switch::new(
            "agent.affinity",
            [json!({}), json!({ "podAntiAffinity": {} })],
        ),
        Switch::new("agent.serviceAccount", [json!({}), account("theirs")]),
    ]
}

fn of_relays() -> Vec<Switch> {
    let account = |name: &str| json!({ "name": name, "create": false });
    vec![
        Switch::boolean("rbac.create"),
        Switch::boolean("relay.enabled"),
        Switch::new("relay.serviceAccount", [json!({}), account("")]),
        Switch::new(
            "relay.extraArgs",
            [json!([]), json!(["--sort-buffer-size=16"])],
        ),
        Switch::new(
            "relay.extraVolumes",
            [json!([]), json!([{ "name": "x", "emptyDir": {} }])],
        ),
        Switch::new("relay.priorityClassName", [json!(""), json!("high")]),
        Switch::new(
            "relay.topologySpreadConstraints",
            [
                json!([]),
                json!([
                    { "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway" }
                ]),
            ],
        ),
        Switch::boolean("relay.ui.enabled"),
        Switch::boolean("relay.ui.exposed"),
        Switch::new("relay.ui.existingSecret", [json!(""), json!("token")]),
        Switch::boolean("relay.podDisruptionBudget.enabled"),
        Switch::boolean("relay.autoscaling.enabled"),
        Switch::boolean("relay.networkPolicy.enabled"),
        Switch::new(
            "relay.networkPolicy.from",
            [json!([]), json!([{ "namespaceSelector": {} }])],
        ),
    ]
}

fn of_what_watches() -> Vec<Switch> {
    vec![
        Switch::boolean("metrics.enabled"),
        Switch::boolean("metrics.tls.enabled"),
        Switch::boolean("metrics.tls.clientCertificates"),
        Switch::boolean("metrics.annotations"),
        Switch::boolean("metrics.podMonitor.enabled"),
        Switch::new(
            "metrics.podMonitor.metricRelabelings",
            [
                json!([]),
                json!([
                    { "action": "drop", "sourceLabels": ["__name__"], "regex": "grpc_.*" }
                ]),
            ],
        ),
        Switch::boolean("metrics.prometheusRule.enabled"),
        Switch::new(
            "metrics.prometheusRule.disabled",
            [json!([]), json!(["L7dWarnings"])],
        ),
        Switch::boolean("metrics.dashboards.enabled"),
        Switch::new(
            "metrics.dashboards.namespace",
            [json!(""), json!("monitoring")],
        ),
        Switch::boolean("hubbleUi.enabled"),
        Switch::boolean("hubbleUi.networkPolicy.enabled"),
        Switch::boolean("tests.enabled"),
    ]
}

/// Reasons for which the chart refuses combinations that make no sense.
const REASONS: [&str; 2] = [
    "hubbleUi.enabled asks the relay: set relay.enabled as well",
    "metrics.tls.enabled takes the agents' certificate: set tls.enabled as well",
];

#[test]
fn every_combination_of_the_important_switches_is_what_kubernetes_takes() {
    let values = every(&important());
    assert_eq!(values.len(), 192);
    assert_eq!(judge(&values), values.len());
}

#[test]
fn any_two_choices_together_are_what_kubernetes_takes_or_refused_with_a_reason() {
    let all = all();
    let values = pairwise(&all);
    let good = judge(&values);
    assert!(good * 3 > values.len(), "{good} of {}", values.len());
    // Those that are refused cover nothing: once more without what they are refused for.
    let kept = all.into_iter().map(|switch| {
        switch.without(&[
            ("metrics.tls.enabled", json!(true)),
            ("relay.enabled", json!(false)),
        ])
    });
    let values = pairwise(&kept.collect::<Vec<_>>());
    assert_eq!(judge(&values), values.len());
}

/// How many of them render; each must, and well, or be refused for one of [`REASONS`].
fn judge(values: &[Value]) -> usize {
    let helm = Helm::find().expect("helm");
    let next = AtomicUsize::new(0);
    let good = AtomicUsize::new(0);
    let faults = Mutex::new(BTreeSet::new());
    let work = || {
        while let Some(values) = values.get(next.fetch_add(1, Ordering::Relaxed)) {
            match helm.template(values).expect("helm runs") {
                Ok(documents) => {
                    good.fetch_add(1, Ordering::Relaxed);
                    faults.lock().expect("lock").extend(wrong(&documents));
                }
                Err(Refused(said)) if REASONS.iter().any(|reason| said.contains(reason)) => {}
                Err(Refused(said)) => panic!("{values}: {said}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(work);
        }
    });
    let faults = faults.into_inner().expect("lock");
    assert!(faults.is_empty(), "{faults:#?}");
    good.into_inner()
}

fn wrong(documents: &[Document]) -> Vec<String> {
    let mut all: Vec<String> = documents.iter().flat_map(faults).collect();
    all.extend(inconsistencies(documents));
    all
}
