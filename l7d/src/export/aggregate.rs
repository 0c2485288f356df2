//! Flows that are equal in some fields become one, with numbers of them by direction (as Hubble's
//! exporter since 1.19).

use std::collections::HashMap;
use std::time::Duration;

use prost::Message as _;
use proto::flow::{Aggregate, Flow};

use crate::clock::Monotonic;
use crate::flow::view::{Mask, NodeView, timestamp};
use crate::record::{Direction, Record};

/// Most groups: when there are so many, all of them are told at once.
const GROUPS_MAX: usize = 16_384;

/// What was gathered.
pub(super) struct Groups {
    mask: Mask,
    interval: Duration,
    began: Option<Monotonic>,
    /// Places in `told` by the encoded fields in which flows are equal.
    places: HashMap<Vec<u8>, usize, ahash::RandomState>,
    /// In the order of their first flows.
    told: Vec<Group>,
    scratch: Vec<u8>,
}

struct Group {
    key: Vec<u8>,
    /// Of its first flow.
    time: proto::Timestamp,
    counts: Aggregate,
}

impl Groups {
    pub(super) fn new(mask: Mask, interval: Duration) -> Self {
        Self {
            mask,
            interval,
            began: None,
            places: HashMap::default(),
            told: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, node: &NodeView, record: &Record) {
        self.began.get_or_insert_with(Monotonic::now);
        self.scratch.clear();
        let flow = node.flow(record).encode_to_vec();
        self.mask.copy(&flow, &mut self.scratch);
        let place = if let Some(place) = self.places.get(&self.scratch) {
            *place
        } else {
            self.places.insert(self.scratch.clone(), self.told.len());
            self.told.push(Group {
                key: self.scratch.clone(),
                time: timestamp(record.time),
                counts: Aggregate::default(),
            });
            self.told.len() - 1
        };
        if let Some(group) = self.told.get_mut(place) {
            let count = match record.direction {
                Direction::Ingress => &mut group.counts.ingress_flow_count,
                Direction::Egress => &mut group.counts.egress_flow_count,
                Direction::Unknown => &mut group.counts.unknown_direction_flow_count,
            };
            *count = count.saturating_add(1);
        }
    }

    /// In how long they are to be told; `None` where there is nothing.
    pub(super) fn due(&self) -> Option<Duration> {
        if self.told.len() >= GROUPS_MAX {
            return Some(Duration::ZERO);
        }
        let passed = Monotonic::now().nanos_since(self.began?);
        Some(self.interval.saturating_sub(Duration::from_nanos(passed)))
    }

    /// Takes everything, in the order of the first flows: each group as a flow, and how many it stands
    /// for.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Flow, u64)> {
        self.began = None;
        self.places.clear();
        std::mem::take(&mut self.told).into_iter().map(Group::tell)
    }
}

impl Group {
    fn tell(self) -> (Flow, u64) {
        let counts = self.counts;
        let count = u64::from(counts.ingress_flow_count)
            + u64::from(counts.egress_flow_count)
            + u64::from(counts.unknown_direction_flow_count);
        // The bytes are pieces of what was encoded here.
        let flow = Flow::decode(self.key.as_slice()).unwrap_or_default();
        let flow = Flow {
            time: Some(self.time),
            aggregate: Some(counts),
            ..flow
        };
        (flow, count)
    }
}
