//! What became of policies, written to them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use apiserver_double::{Double, Misbehaviour, On, Verb};
use l7d::host::cluster::{Kind, Name, Outcome, Outcomes};
use serde_json::{Value, json};

use crate::cluster::{Following, define_all, policy};

const PLURAL: &str = "CiliumNetworkPolicy";

fn filled() -> anyhow::Result<Double> {
    let double = Double::start()?;
    define_all(&double)?;
    for name in ["good", "bad", "idle"] {
        double.put(&policy(name))?;
    }
    double.put(&json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": { "name": "plain", "namespace": "default" }, "spec": { "podSelector": {} },
    }))?;
    double.put(&json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": { "name": "wide" }, "spec": { "endpointSelector": {}, "ingress": [{}] },
    }))?;
    Ok(double)
}

fn outcomes(double: &Double) -> Arc<Outcomes> {
    let refused = Outcome::Refused(vec!["spec.ingres: unknown field".to_owned()]);
    let (kind, wide) = (
        Kind::CiliumNetworkPolicy,
        Kind::CiliumClusterwideNetworkPolicy,
    );
    let all = [
        (kind, "default", "good", Outcome::Accepted),
        (kind, "default", "bad", refused.clone()),
        (kind, "default", "idle", Outcome::SelectsNothing),
        (Kind::NetworkPolicy, "default", "plain", refused.clone()),
        (wide, "", "wide", refused),
    ];
    let all = all.into_iter();
    let outcomes =
        all.map(|(kind, namespace, name, outcome)| about(double, kind, namespace, name, outcome));
    Arc::new(outcomes.collect())
}

/// These are refused.
pub(crate) fn refusals(double: &Double, which: &[(Kind, &str, &str)]) -> Arc<Outcomes> {
    let outcomes = which.iter().map(|(kind, namespace, name)| {
        let outcome = Outcome::Refused(vec!["spec.ingres: unknown field".to_owned()]);
        about(double, *kind, namespace, name, outcome)
    });
    Arc::new(outcomes.collect())
}

type About = ((Kind, Name), (String, i64, Outcome));

fn about(double: &Double, kind: Kind, namespace: &str, name: &str, outcome: Outcome) -> About {
    let object = double.object(kind.name(), namespace, name);
    let object = object.unwrap_or_default();
    let at = |pointer: &str| object.pointer(pointer);
    let uid = at("/metadata/uid").and_then(Value::as_str);
    let generation = at("/metadata/generation").and_then(Value::as_i64);
    let version = (
        uid.unwrap_or_default().to_owned(),
        generation.unwrap_or_default(),
        outcome,
    );
    ((kind, Name::new(namespace, name)), version)
}

fn condition(double: &Double, name: &str) -> Option<Value> {
    let object = double.object(PLURAL, "default", name)?;
    let conditions = object.pointer("/status/conditions")?.as_array()?.clone();
    conditions.into_iter().find(|one| one["type"] == "Valid")
}

fn events(double: &Double) -> Vec<String> {
    let events = double.objects("Event");
    let mut events: Vec<String> = events
        .iter()
        .map(|event| {
            let text = |at: &str| event.pointer(at).and_then(Value::as_str).unwrap_or("-");
            format!(
                "{} {} {} {}",
                text("/type"),
                text("/reason"),
                text("/involvedObject/kind"),
                text("/involvedObject/name")
            )
        })
        .collect();
    events.sort();
    events
}

const EVENTS: [&str; 4] = [
    "Normal SelectsNothing CiliumNetworkPolicy idle",
    "Warning Refused CiliumClusterwideNetworkPolicy wide",
    "Warning Refused CiliumNetworkPolicy bad",
    "Warning Refused NetworkPolicy plain",
];

#[tokio::test]
async fn several_agents_tell_it_once() -> anyhow::Result<()> {
    let double = filled()?;
    let mut agents = [Following::start(&double)?, Following::start(&double)?];
    for agent in &mut agents {
        agent.until_whole().await?;
        agent.outcomes.send_replace(outcomes(&double));
    }
    let is_told = || {
        let conditions = ["good", "bad", "idle"].map(|name| condition(&double, name));
        (conditions.iter().all(Option::is_some) && events(&double).len() == 4).then_some(())
    };
    double.until(is_told).await.expect("statuses and Events");
    assert_eq!(events(&double), EVENTS);
    let good = condition(&double, "good").expect("a condition");
    assert_eq!(
        (&good["status"], &good["reason"]),
        (&json!("True"), &json!("Accepted"))
    );
    let bad = condition(&double, "bad").expect("a condition");
    assert_eq!(bad["status"], "False");
    let message = bad["message"].as_str().expect("a message");
    assert!(message.contains("spec.ingres: unknown field"), "{message}");
    let wide = double.object("CiliumClusterwideNetworkPolicy", "", "wide");
    assert_eq!(
        wide.expect("it is there")["status"]["conditions"][0]["status"],
        "False"
    );

    // Whoever comes later finds it said.
    double.forget_asked();
    let mut late = Following::start(&double)?;
    late.until_whole().await?;
    late.outcomes.send_replace(outcomes(&double));
    double
        .until(|| {
            let asked = double.asked();
            let mut tries = asked
                .iter()
                .filter(|asked| asked.verb == Some(Verb::Create));
            tries.next().map(|_| ())
        })
        .await
        .expect("the Event about what has no status is tried");
    let asked = double.asked();
    assert!(asked.iter().all(|asked| asked.verb != Some(Verb::Patch)));
    assert_eq!(events(&double), EVENTS);
    assert_eq!(late.board().writes().failures, 0);
    Ok(())
}

#[tokio::test]
async fn conditions_of_others_stay() -> anyhow::Result<()> {
    let double = filled()?;
    let mut object = policy("good");
    object["status"] = json!({ "conditions": [
        { "type": "Other", "status": "True" },
        { "type": "Valid", "status": "True", "message": "Policy validation succeeded" },
    ] });
    double.put(&object)?;
    let mut object = policy("bad");
    object["status"] = object_status();
    double.put(&object)?;
    let mut agent = Following::start(&double)?;
    agent.until_whole().await?;
    agent.outcomes.send_replace(outcomes(&double));
    let is_told = || (condition(&double, "bad")?["status"] == "False").then_some(());
    double.until(is_told).await.expect("it is refused");
    let bad = double
        .object(PLURAL, "default", "bad")
        .expect("it is there");
    let conditions = bad["status"]["conditions"].as_array().expect("conditions");
    assert_eq!(conditions.len(), 2, "{conditions:?}");
    let is_told = || condition(&double, "idle").map(|_| ());
    double.until(is_told).await.expect("the others are told");
    let good = condition(&double, "good").expect("a condition");
    assert_eq!(
        good["message"], "Policy validation succeeded",
        "it says the same"
    );
    Ok(())
}

fn object_status() -> Value {
    json!({ "conditions": [{ "type": "Other", "status": "True" }, { "type": "Valid", "status": "True" }] })
}

#[tokio::test]
async fn a_policy_of_that_name_that_is_another_one_is_left_alone() -> anyhow::Result<()> {
    let double = filled()?;
    let mut agent = Following::start(&double)?;
    agent.until_whole().await?;
    let told = outcomes(&double);
    double.remove(PLURAL, "default", "bad");
    double.put(&policy("bad"))?;
    agent.outcomes.send_replace(told);
    let is_told = || condition(&double, "idle").map(|_| ());
    double.until(is_told).await.expect("the others are told");
    assert_eq!(condition(&double, "bad"), None);
    Ok(())
}

#[tokio::test]
async fn nothing_is_written_where_that_is_not_wanted() -> anyhow::Result<()> {
    let double = filled()?;
    let mut agent = Following::silent(&double)?;
    agent.until_whole().await?;
    agent.outcomes.send_replace(outcomes(&double));
    double.put(&policy("another"))?;
    let kind = Kind::CiliumNetworkPolicy;
    agent
        .until(|told| told.names(kind).contains(&"another"))
        .await?;
    let asked = double.asked();
    let is_read = |verb| matches!(verb, None | Some(Verb::List | Verb::Watch));
    assert!(asked.iter().all(|asked| is_read(asked.verb)));
    Ok(())
}

#[tokio::test]
async fn what_is_known_before_everything_is_told_when_everything_is() -> anyhow::Result<()> {
    let double = filled()?;
    let late = Misbehaviour::Delay(Duration::from_millis(500));
    double.misbehave(On::of(Verb::List, "pods"), late, Some(1));
    let mut agent = Following::start(&double)?;
    agent.outcomes.send_replace(outcomes(&double));
    agent
        .until(|told| told.lists(Kind::CiliumNetworkPolicy) > 0)
        .await?;
    assert_eq!(
        condition(&double, "good"),
        None,
        "whom it selects is not known"
    );
    agent.until_whole().await?;
    let is_told = || condition(&double, "good").map(|_| ());
    double.until(is_told).await.context("it is told")
}
