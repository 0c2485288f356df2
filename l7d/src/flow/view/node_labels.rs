//! Labels of the node, which a cluster may tell late and change.

use std::sync::Arc;

use arc_swap::ArcSwap;

/// As `key=value`, sorted. Copies share them.
#[derive(Debug, Clone, Default)]
pub struct NodeLabels(Arc<ArcSwap<Vec<String>>>);

impl NodeLabels {
    /// The labels of this moment.
    pub fn get(&self) -> Arc<Vec<String>> {
        self.0.load_full()
    }

    /// Replaces them.
    pub fn set(&self, labels: Vec<String>) {
        if **self.0.load() != labels {
            self.0.store(Arc::new(labels));
        }
    }
}

impl From<Vec<String>> for NodeLabels {
    fn from(labels: Vec<String>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(labels)))
    }
}
