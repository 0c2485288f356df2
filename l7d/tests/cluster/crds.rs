//! Cilium's resources, which need not be there.

use apiserver_double::Double;
use l7d::host::cluster::Kind;
use l7d::kube::State;
use serde_json::json;

use crate::cluster::{Following, define_all, definition, policy};

const POLICY: Kind = Kind::CiliumNetworkPolicy;

#[tokio::test]
async fn what_is_absent_is_told_as_empty_and_waited_for() -> anyhow::Result<()> {
    let double = Double::start()?;
    let mut following = Following::start(&double)?;
    following.until_whole().await?;
    assert_eq!(following.reading(POLICY).state, State::Absent);
    double.forget_asked();
    let looks = |path: &str| {
        let asked = double.asked();
        asked.iter().filter(|asked| asked.path == path).count()
    };
    let five = || (looks("/apis/cilium.io/v2") >= 5).then_some(());
    double.until(five).await.expect("it is looked for");
    assert_eq!(
        looks("/apis/cilium.io/v2alpha1"),
        0,
        "one request tells all"
    );
    assert!(
        double
            .asked()
            .iter()
            .all(|asked| !asked.resource.starts_with("cilium"))
    );

    let plural = "ciliumnetworkpolicies";
    double.put(&definition(plural, "CiliumNetworkPolicy", true, "v2"))?;
    double.put(&policy("web"))?;
    following
        .until(|told| told.names(POLICY) == ["web"])
        .await?;
    assert_eq!(following.reading(POLICY).state, State::Following);
    let group = Kind::CiliumCidrGroup;
    assert_eq!(following.reading(group).state, State::Absent);

    double.remove(
        "CustomResourceDefinition",
        "",
        "ciliumnetworkpolicies.cilium.io",
    );
    following
        .until(|told| told.names(POLICY).is_empty())
        .await?;
    following
        .until_reading(POLICY, |reading| reading.state == State::Absent)
        .await?;
    double.put(&definition(plural, "CiliumNetworkPolicy", true, "v2"))?;
    double.put(&policy("web"))?;
    following
        .until(|told| told.names(POLICY) == ["web"])
        .await?;
    Ok(())
}

#[tokio::test]
async fn groups_of_prefixes_are_found_in_their_former_version() -> anyhow::Result<()> {
    let double = Double::start()?;
    let plural = "ciliumnetworkpolicies";
    double.put(&definition(plural, "CiliumNetworkPolicy", true, "v2"))?;
    double.put(&definition(
        "ciliumcidrgroups",
        "CiliumCIDRGroup",
        false,
        "v2alpha1",
    ))?;
    double.put(&json!({
        "apiVersion": "cilium.io/v2alpha1", "kind": "CiliumCIDRGroup",
        "metadata": { "name": "office" }, "spec": { "externalCIDRs": ["192.0.2.0/24"] },
    }))?;
    let mut following = Following::start(&double)?;
    following.until_whole().await?;
    assert_eq!(following.told.names(Kind::CiliumCidrGroup), ["office"]);
    Ok(())
}

#[tokio::test]
async fn nobody_looks_for_what_is_there() -> anyhow::Result<()> {
    let double = Double::start()?;
    define_all(&double)?;
    let mut following = Following::start(&double)?;
    following.until_whole().await?;
    let looks = double.asked();
    let looks = looks
        .iter()
        .filter(|asked| asked.path.starts_with("/apis/cilium.io/v2") && asked.resource.is_empty());
    assert_eq!(looks.count(), 1);
    assert!(following.is_following());
    Ok(())
}
