//! Who talked to whom, as labels.

use super::family::Label;
use super::key::Key;
use crate::config::PairLabels;
use crate::record::{IdentityNumber, Party};

/// One end, borrowed from a record.
#[derive(Debug, Clone, Copy)]
struct End<'r> {
    namespace: &'r str,
    workload: &'r str,
    pod: Option<&'r str>,
}

/// Client and server, borrowed from a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct PairRef<'r> {
    source: End<'r>,
    destination: End<'r>,
}

/// Names of the labels of a pair.
pub(super) fn labels(labels: PairLabels) -> Vec<Label> {
    let names: &[&str] = match labels {
        PairLabels::Pod => &[
            "source_namespace",
            "source_workload",
            "source_pod",
            "destination_namespace",
            "destination_workload",
            "destination_pod",
        ],
        PairLabels::Workload => &[
            "source_namespace",
            "source_workload",
            "destination_namespace",
            "destination_workload",
        ],
    };
    names.iter().copied().map(Label::open).collect()
}

impl<'r> End<'r> {
    fn of(party: &'r Party, labels: PairLabels) -> Self {
        Self {
            namespace: party.namespace(),
            workload: workload(party),
            pod: (labels == PairLabels::Pod).then(|| party.name()),
        }
    }

    fn write(&self, key: &mut Key) {
        key.push(self.namespace);
        key.push(self.workload);
        if let Some(pod) = self.pod {
            key.push(pod);
        }
    }
}

/// The name of who owns an end; who has no owner is called by its own name, or by the one of its
/// reserved identity.
pub(super) fn workload(party: &Party) -> &str {
    let owner = party
        .endpoint
        .as_deref()
        .and_then(|endpoint| endpoint.workload.as_ref());
    owner.map_or_else(|| stand_in(party), |owner| owner.name.as_str())
}

fn stand_in(party: &Party) -> &str {
    if !party.name().is_empty() {
        return party.name();
    }
    let mut labels = party.labels().iter();
    if let Some(reserved) = labels.find_map(|label| label.strip_prefix("reserved:")) {
        return reserved;
    }
    match party.identity {
        IdentityNumber::HOST => "host",
        IdentityNumber::WORLD => "world",
        _ => "unknown",
    }
}

impl<'r> PairRef<'r> {
    /// Of who began a connection, and the other.
    pub(super) fn of(client: &'r Party, server: &'r Party, labels: PairLabels) -> Self {
        Self {
            source: End::of(client, labels),
            destination: End::of(server, labels),
        }
    }

    /// Writes the values of the labels.
    pub(super) fn write(&self, key: &mut Key) {
        self.source.write(key);
        self.destination.write(key);
    }
}
