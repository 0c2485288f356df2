//! Namespaces that had flows. The ring may hold the flows of seconds, and what is asked for are
//! those of an hour: they are noted as flows come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use proto::observer::Namespace;

use crate::clock::Monotonic;
use crate::flow::{FlowRing, Read};
use crate::record::Party;

/// Namespaces are forgotten so long after their last flow.
const KEPT_NS: u64 = 3_600_000_000_000;
/// How often is looked for new ones.
const LOOK: Duration = Duration::from_secs(1);
/// Flows looked at before clients get their turn.
const BATCH: u64 = 1024;

/// What has been seen.
pub(super) struct Namespaces {
    ring: Arc<FlowRing>,
    /// The first position that was not looked at.
    position: AtomicU64,
    seen: Mutex<Seen>,
}

/// When each namespace of each cluster was seen last.
type Seen = BTreeMap<String, BTreeMap<String, Monotonic>>;

impl Namespaces {
    /// Of the flows of a ring.
    pub(super) fn of(ring: &Arc<FlowRing>) -> Self {
        Self {
            ring: Arc::clone(ring),
            position: AtomicU64::new(0),
            seen: Mutex::default(),
        }
    }

    /// Looks again and again.
    pub(super) async fn keep_looking(&self) {
        loop {
            self.look().await;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Looks at what has come since the last time.
    async fn look(&self) {
        while !self.look_at(BATCH, Monotonic::now()) {
            tokio::task::yield_now().await;
        }
    }

    /// Looks at some flows; whether that was all of them.
    fn look_at(&self, most: u64, now: Monotonic) -> bool {
        let mut seen = self.seen.lock();
        let end = self.ring.end();
        let mut position = self.position.load(Ordering::Relaxed);
        let stop = end.min(position.saturating_add(most));
        while position < stop {
            match self.ring.read(position) {
                Read::Record(record) => {
                    note(&mut seen, &record.source, now);
                    note(&mut seen, &record.destination, now);
                    position += 1;
                }
                Read::Overtaken(start) => position = start.max(position + 1),
                // Written at this moment: next time.
                Read::Nothing => break,
            }
        }
        self.position.fetch_max(position, Ordering::Relaxed);
        position == end || position < stop
    }

    /// All that had flows within the hour, sorted.
    pub(super) async fn list(&self) -> Vec<Namespace> {
        self.look().await;
        self.list_at(Monotonic::now())
    }

    fn list_at(&self, now: Monotonic) -> Vec<Namespace> {
        let mut seen = self.seen.lock();
        for namespaces in seen.values_mut() {
            namespaces.retain(|_, last| now.nanos_since(*last) < KEPT_NS);
        }
        let each = seen.iter().flat_map(|(cluster, namespaces)| {
            namespaces.keys().map(|namespace| Namespace {
                cluster: cluster.clone(),
                namespace: namespace.clone(),
            })
        });
        each.collect()
    }
}

fn note(seen: &mut Seen, party: &Party, now: Monotonic) {
    let Some(endpoint) = party.endpoint.as_deref() else {
        return;
    };
    if endpoint.namespace.is_empty() {
        return;
    }
    let known = seen.get_mut(&endpoint.cluster);
    let last = known.and_then(|namespaces| namespaces.get_mut(&endpoint.namespace));
    if let Some(last) = last {
        *last = now;
    } else {
        let namespaces = seen.entry(endpoint.cluster.clone()).or_default();
        namespaces.insert(endpoint.namespace.clone(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tests::dropped;
    use crate::record::{Endpoint, EndpointId, IdentityNumber, Record, Sink as _};

    fn of(namespace: &str) -> Record {
        let mut record = dropped(1);
        record.source.endpoint = Some(Arc::new(Endpoint {
            id: EndpointId(0),
            identity: IdentityNumber(300),
            cluster: "default".to_owned(),
            namespace: namespace.to_owned(),
            name: "web".to_owned(),
            labels: [].into(),
            workload: None,
        }));
        record
    }

    fn names(namespaces: &Namespaces, now: u64) -> Vec<String> {
        let list = namespaces.list_at(Monotonic(now)).into_iter();
        list.map(|found| format!("{}/{}", found.cluster, found.namespace))
            .collect()
    }

    #[test]
    fn a_namespace_stays_when_the_ring_has_forgotten_its_flows_and_goes_after_an_hour() {
        let ring = Arc::new(FlowRing::new(3, Arc::default()));
        let namespaces = Namespaces::of(&ring);
        ring.record(&of("shop"));
        assert!(namespaces.look_at(BATCH, Monotonic(1)));
        for _ in 0..5 {
            ring.record(&of("bank"));
        }
        ring.record(&of(""));
        assert!(namespaces.look_at(BATCH, Monotonic(5)));
        assert_eq!(names(&namespaces, 10), ["default/bank", "default/shop"]);
        assert_eq!(names(&namespaces, KEPT_NS + 1), ["default/bank"]);
    }

    #[test]
    fn many_flows_are_looked_at_in_pieces() {
        let ring = Arc::new(FlowRing::new(15, Arc::default()));
        let namespaces = Namespaces::of(&ring);
        for number in 0..10 {
            ring.record(&of(&format!("n{number}")));
        }
        assert!(!namespaces.look_at(4, Monotonic(1)));
        assert_eq!(names(&namespaces, 1).len(), 4);
        assert!(namespaces.look_at(20, Monotonic(1)));
        assert_eq!(names(&namespaces, 1).len(), 10);
    }
}
