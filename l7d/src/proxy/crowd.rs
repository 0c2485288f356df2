//! How many enforced connections each endpoint has: one endpoint's flood must not take the memory
//! of the others. Watched connections are not counted, since they cannot be refused.

use std::sync::Arc;

use ahash::AHashMap;
use parking_lot::Mutex;

use crate::record::EndpointId;

/// Enforced connections by endpoint, shared by all workers.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    open: Mutex<AHashMap<EndpointId, usize>>,
}

/// A connection's place; dropping it makes room for another one.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Arc<Crowd>,
    endpoint: EndpointId,
}

impl Crowd {
    /// At most `most` connections of an endpoint.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            open: Mutex::default(),
        }
    }

    /// A place for one more connection, if there is one.
    pub(super) fn enter(self: &Arc<Self>, endpoint: EndpointId) -> Option<Place> {
        let mut open = self.open.lock();
        let count = open.entry(endpoint).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place {
            crowd: Arc::clone(self),
            endpoint,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.crowd.open.lock();
        if let Some(count) = open.get_mut(&self.endpoint) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.endpoint);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_endpoint_lets_nobody_in_until_somebody_leaves() {
        let crowd = Arc::new(Crowd::new(2));
        let first = crowd.enter(EndpointId(1)).expect("a place");
        let _second = crowd.enter(EndpointId(1)).expect("a place");
        assert!(crowd.enter(EndpointId(1)).is_none());
        assert!(
            crowd.enter(EndpointId(2)).is_some(),
            "another endpoint has its own"
        );
        drop(first);
        assert!(crowd.enter(EndpointId(1)).is_some());
    }
}
