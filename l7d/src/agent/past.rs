//! Flows of this agent, on their way into the ring of its successor.

use std::sync::Arc;

use crate::flow::{FlowRing, Read};
use crate::proxy::{FLOWS_FORMAT, Hello, Link, LinkBroken};
use crate::record::Record;

/// Records that go at a time.
const BATCH: usize = 256;

/// What has gone there so far.
pub(super) struct Past {
    ring: Arc<FlowRing>,
    position: u64,
    /// Whether the successor reads them.
    is_wanted: bool,
}

impl Past {
    /// Nothing, so far.
    pub(super) fn new(ring: &Arc<FlowRing>, hello: &Hello) -> Self {
        Self {
            ring: Arc::clone(ring),
            position: ring.start(),
            is_wanted: hello.flows == FLOWS_FORMAT,
        }
    }

    /// Gives what has come since.
    pub(super) fn give(&mut self, link: &Link) -> Result<(), LinkBroken> {
        let end = self.ring.end();
        while self.is_wanted && self.position < end {
            let flows = self.next();
            // One is being written at this moment.
            if flows.is_empty() {
                break;
            }
            link.give_flows(&flows)?;
        }
        Ok(())
    }

    /// The next of them.
    fn next(&mut self) -> Vec<Arc<Record>> {
        let mut flows = Vec::with_capacity(BATCH);
        while flows.len() < BATCH {
            match self.ring.read(self.position) {
                Read::Record(record) => {
                    flows.push(record);
                    self.position += 1;
                }
                Read::Overtaken(start) => self.position = start,
                Read::Nothing => break,
            }
        }
        flows
    }
}
