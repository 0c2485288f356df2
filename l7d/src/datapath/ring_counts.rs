//! What the programs made for a ring, and what of it found no room: counted by each CPU.

use aya::Ebpf;
use aya::maps::{Map, MapData, MapError, PerCpuArray};
use l7d_ebpf::records::{RingCount, Scratch};

use super::Error;

/// The counters of one ring.
pub struct RingCounts {
    /// Those of programs that judge packets, which count in memory that they have at hand.
    passages: Option<PerCpuArray<MapData, Scratch>>,
    /// Those of others.
    others: PerCpuArray<MapData, RingCount>,
}

impl std::fmt::Debug for RingCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RingCounts").field(&self.by_cpu()).finish()
    }
}

pub(super) fn take<M>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, Error>
where
    M: TryFrom<Map, Error = MapError>,
{
    let map = ebpf.take_map(name).ok_or(Error::NoMap(name))?;
    M::try_from(map).map_err(|cause| Error::Map { map: name, cause })
}

impl RingCounts {
    /// Those of the ring of records.
    pub(super) fn of_records(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            passages: Some(take(ebpf, "PASSAGE")?),
            others: take(ebpf, "RECORDS")?,
        })
    }

    /// Those of the ring of tapped bytes.
    pub(super) fn of_segments(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            passages: None,
            others: take(ebpf, "TAP_RECORDS")?,
        })
    }

    /// What each CPU has made and lost.
    pub fn by_cpu(&self) -> Vec<RingCount> {
        let mut cpus: Vec<RingCount> = Vec::new();
        let mut add = |cpu: usize, count: &RingCount| {
            if cpus.len() <= cpu {
                cpus.resize(cpu + 1, RingCount::default());
            }
            if let Some(sum) = cpus.get_mut(cpu) {
                sum.made += count.made;
                sum.lost += count.lost;
            }
        };
        let passages = self.passages.as_ref().and_then(|map| map.get(&0, 0).ok());
        for (cpu, scratch) in passages.iter().flat_map(|cpus| cpus.iter().enumerate()) {
            scratch.counts.iter().for_each(|count| add(cpu, count));
        }
        for index in 0..self.others.len() {
            let counts = self.others.get(&index, 0);
            for (cpu, count) in counts.iter().flat_map(|cpus| cpus.iter().enumerate()) {
                add(cpu, count);
            }
        }
        cpus
    }

    /// What all of them have.
    pub fn total(&self) -> RingCount {
        let mut total = RingCount::default();
        for count in self.by_cpu() {
            total.made += count.made;
            total.lost += count.lost;
        }
        total
    }
}
