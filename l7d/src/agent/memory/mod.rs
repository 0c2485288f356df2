//! The memory budget: what the process and its maps in the kernel take, and what is given up when that is
//! too much (`docs/budgets.md`).

mod ebb;
mod heap;
mod pressure;

use std::sync::atomic::Ordering;

use crate::config::{Aggregation, AggregationLevel};
use crate::datapath::MapMemory;
use crate::record::Relief;
use crate::server::MemoryStatus;

use super::{Agent, Error};
use ebb::Ebb;
pub(super) use heap::keep_large_apart;
use pressure::Pressure;

/// Of the flow ring's bytes, so much is left where they are given up.
const RING_SHARE: u64 = 4;

/// Who keeps the account.
#[derive(Debug)]
pub(super) struct Account {
    maps: MapMemory,
    pressure: Pressure,
    /// Of connections through the proxy.
    ebb: Ebb,
    /// Bytes of the process and of the maps, at the last look.
    taken: [u64; 2],
    /// Steps that were given up since the start.
    steps: u64,
}

impl Account {
    /// With maps that are there.
    pub(super) fn open() -> Self {
        let maps = MapMemory::find();
        Self {
            taken: [resident(), maps.bytes()],
            maps,
            pressure: Pressure::default(),
            ebb: Ebb::default(),
            steps: 0,
        }
    }
}

/// What of the process's memory is its own: pages of files can be had again, and those of the kernel's
/// rings are counted as maps.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    let kib = number.and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

impl Agent {
    /// Looks how much is taken, gives up or takes back what that asks for, and gives back what a flood of
    /// connections has left.
    pub(super) fn keep_budget(&mut self) -> Result<(), Error> {
        let account = &mut self.account;
        let open = self.proxy.stats().active.load(Ordering::Relaxed);
        if account.ebb.look(open) {
            tracing::debug!("a flood of connections has gone: its memory is given back");
            heap::trim();
        }
        account.maps.look();
        account.taken = [resident(), account.maps.bytes()];
        let used = account.taken.iter().sum();
        let budget = self.world.config().memory_budget;
        let former = account.pressure.relief();
        let Some(relief) = account.pressure.look(used, budget) else {
            return Ok(());
        };
        let told = relief.told();
        if relief > former {
            account.steps += 1;
            tracing::warn!(used, budget, "memory is short: {told}");
        } else {
            tracing::info!(used, budget, "memory: {told}");
        }
        self.world.thrift().set(relief);
        let most = self.world.config().flows.ring_bytes;
        self.ring.set_most_bytes(if relief >= Relief::FlowRing {
            most / RING_SHARE
        } else {
            most
        });
        self.datapath.set_aggregation(self.aggregation())?;
        heap::trim();
        Ok(())
    }

    /// What of packets is told now: as configured, or less.
    pub(super) fn aggregation(&self) -> Aggregation {
        let configured = self.world.config().flows.aggregation;
        if self.world.thrift().relief() >= Relief::Packets {
            Aggregation {
                level: AggregationLevel::Maximum,
                ..configured
            }
        } else {
            configured
        }
    }

    /// What is given up, where anything is.
    pub(super) fn given_up(&self) -> Option<String> {
        let relief = self.account.pressure.relief();
        let is_any = relief > Relief::Nothing;
        is_any.then(|| format!("memory is short (memoryBudget): {}", relief.told()))
    }

    /// For the status.
    pub(super) fn memory(&self) -> MemoryStatus {
        let [process, maps] = self.account.taken;
        let relief = self.account.pressure.relief();
        MemoryStatus {
            budget: self.world.config().memory_budget,
            process,
            maps,
            given_up: relief.as_str().to_owned(),
            step: u64::from(relief.number()),
            steps: self.account.steps,
        }
    }
}
