//! A server that goes, and one that comes back as it was before.

use apiserver_double::Double;
use l7d::host::cluster::Kind;
use l7d::kube::State;

use crate::cluster::{Following, given_or_start, pod};

fn is_away(state: &State) -> bool {
    matches!(state, State::Away { .. })
}

#[tokio::test]
async fn what_is_known_stays_while_the_server_is_away() -> anyhow::Result<()> {
    let double = given_or_start()?;
    for name in ["a", "b"] {
        double.put(&pod(name, "1"))?;
    }
    let mut following = Following::start(&double)?;
    following.until_whole().await?;
    let told = following.told.updates;
    double.stop();
    double.remove("Pod", "default", "a");
    double.put(&pod("b", "2"))?;
    for kind in Kind::ALL {
        if following.reading(kind).state != State::Absent {
            following
                .until_reading(kind, |reading| {
                    is_away(&reading.state) && reading.failures > 3
                })
                .await?;
        }
    }
    assert_eq!(following.told.updates, told, "nothing is told meanwhile");
    let State::Away { why, .. } = following.reading(Kind::Pod).state else {
        panic!("away");
    };
    assert!(why.contains("refused"), "{why}");
    double.resume()?;
    following
        .until(|told| told.names(Kind::Pod) == ["b"])
        .await?;
    following
        .until(|told| told.version("b") == Some("2"))
        .await?;
    let reading = following.reading(Kind::Pod);
    assert_eq!((reading.state, reading.lists), (State::Following, 1));
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() -> anyhow::Result<()> {
    let double = given_or_start()?;
    double.put(&pod("a", "1"))?;
    double.stop();
    let mut following = Following::start(&double)?;
    for kind in Kind::ALL {
        following
            .until_reading(kind, |reading| is_away(&reading.state))
            .await?;
    }
    assert_eq!(following.told.updates, 0);
    double.resume()?;
    following.until_whole().await?;
    assert_eq!(following.told.names(Kind::Pod), ["a"]);
    Ok(())
}

#[tokio::test]
async fn a_cluster_that_went_back_to_a_backup_is_known_as_it_is() -> anyhow::Result<()> {
    let double = Double::start()?;
    for name in ["a", "b"] {
        double.put(&pod(name, "1"))?;
    }
    let backup = double.snapshot();
    double.put(&pod("a", "2"))?;
    double.put(&pod("c", "1"))?;
    double.remove("Pod", "default", "b");
    let mut following = Following::start(&double)?;
    following.until_whole().await?;
    assert_eq!(following.told.names(Kind::Pod), ["a", "c"]);
    double.restore(backup)?;
    following
        .until(|told| told.names(Kind::Pod) == ["a", "b"])
        .await?;
    assert_eq!(following.told.version("a"), Some("1"));
    double.put(&pod("a", "3"))?;
    following
        .until(|told| told.version("a") == Some("3"))
        .await?;
    assert_eq!(following.reading(Kind::Pod).lists, 2);
    Ok(())
}
