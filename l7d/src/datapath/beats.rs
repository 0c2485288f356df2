//! Signs of life for a proxy that is there before the rest of the kernel's side is: it has the sockets of
//! the agent before it, and the programs of that agent still run.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};

use aya::maps::{Array, Map, MapData};

use super::{HEARTBEAT_PERIOD, pinned_maps};
use crate::clock::Monotonic;

const MAP: &str = "HEARTBEAT";

/// Beats until it is dropped.
#[derive(Debug)]
pub struct Beats(#[expect(dead_code, reason = "its drop ends the thread")] SyncSender<()>);

impl Beats {
    /// For programs of this version, if they are pinned below that folder; others know nothing of sockets
    /// that this agent could have been given.
    pub fn begin(pin_dir: &Path) -> Option<Self> {
        let mut map = open(&pinned_maps(pin_dir).join(MAP))?;
        let (stop, stopped) = sync_channel(0);
        let beat = move || {
            loop {
                if let Err(error) = map.set(0, Monotonic::now().0, 0) {
                    tracing::warn!(%error, "the kernel programs cannot be told of the proxy");
                }
                if stopped.recv_timeout(HEARTBEAT_PERIOD) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("l7d-beats".to_owned());
        match thread.spawn(beat) {
            Ok(_ends_by_itself) => Some(Self(stop)),
            Err(error) => {
                tracing::warn!(%error, "who connects waits until all programs are loaded");
                None
            }
        }
    }
}

fn open(pin: &Path) -> Option<Array<MapData, u64>> {
    let data = MapData::from_pin(pin).ok()?;
    Array::try_from(Map::Array(data)).ok()
}
