//! A server whose machine is gone without a word.

use std::net::TcpListener;

use anyhow::Context as _;
use apiserver_double::{Bind, Double, Options};
use l7d::host::cluster::Kind;
use l7d::kube::State;
use testbed::{Host, World};

use crate::cluster::{Following, pod};

fn listen(host: &Host, port: u16) -> std::io::Result<TcpListener> {
    let listener = host.inside(|| Ok(TcpListener::bind(("192.0.2.2", port))?));
    listener.map_err(std::io::Error::other)
}

#[test]
fn a_silent_connection_is_found_dead_long_before_its_watch_ends() -> anyhow::Result<()> {
    let world = World::new()?;
    let outside = world.outside();
    let server = outside.clone();
    let double = Double::with(Options {
        bind: Bind::by(0, move |port| listen(&server, port)),
        ..Options::default()
    })?;
    double.put(&pod("a", "1"))?;
    // Connections are made by the thread that follows.
    world.node().inside(|| follow(&double, &outside))
}

fn follow(double: &Double, outside: &Host) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut following = Following::start(double)?;
        following.until_whole().await?;
        let watched = |reading: &l7d::kube::Reading| reading.watches > 0;
        following.until_reading(Kind::Pod, watched).await?;
        // No packet comes or goes any more, and nobody hears of it.
        outside.ip("link set eth0 down")?;
        let away = |reading: &l7d::kube::Reading| matches!(reading.state, State::Away { .. });
        following.until_reading(Kind::Pod, away).await?;
        outside.ip("link set eth0 up")?;
        double.put(&pod("a", "2"))?;
        let is_told = |told: &crate::cluster::Model| told.version("a") == Some("2");
        following.until(is_told).await.context("it is back")?;
        assert_eq!(following.reading(Kind::Pod).lists, 1);
        Ok(())
    })
}
