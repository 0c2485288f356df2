//! Identities: sets of security-relevant labels, and their numbers.
//!
//! A number is a stable hash of the sorted labels in the cluster's range, so all nodes agree
//! without a coordinator; two sets that meet are told apart by probing. Reserved numbers are
//! Cilium's.

use std::collections::BTreeMap;

use crate::labels::{Label, Labels};

/// A set of labels and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Number.
    pub number: u32,
    /// Labels.
    pub labels: Labels,
}

/// This node.
pub const HOST: u32 = 1;
/// Anything outside the cluster.
pub const WORLD: u32 = 2;
/// Pods that nobody knows yet.
pub const INIT: u32 = 5;

const RESERVED: [(u32, &[&str]); 8] = [
    (1, &["host"]),
    (2, &["world"]),
    (3, &["unmanaged"]),
    (4, &["health"]),
    (5, &["init"]),
    (6, &["remote-node"]),
    // It is on a node as well: what is said of nodes holds for it.
    (7, &["kube-apiserver", "remote-node"]),
    (8, &["ingress"]),
];

/// First number of label sets, and how many there are.
const CLUSTER: (u32, u32) = (256, 65_280);
/// First number of CIDR identities, which mean something on this node only.
const CIDR: (u32, u32) = (1 << 24, 65_536);
/// First number of identities of other nodes, which mean something on this node only.
const NODE: (u32, u32) = (2 << 24, 65_536);

/// The reserved identities.
pub fn reserved() -> Vec<Identity> {
    RESERVED
        .iter()
        .map(|(number, names)| Identity {
            number: *number,
            labels: names.iter().map(|name| reserved_label(name)).collect(),
        })
        .collect()
}

pub(crate) fn reserved_label(name: &str) -> Label {
    Label {
        source: "reserved".to_owned(),
        key: name.to_owned(),
        value: String::new(),
    }
}

/// Gives label sets their numbers and remembers them.
#[derive(Debug, Default)]
pub struct Numbering {
    taken: BTreeMap<u32, Labels>,
}

impl Numbering {
    /// The number of a label set.
    pub fn number(&mut self, labels: &Labels) -> u32 {
        self.assign(labels, CLUSTER)
    }

    /// The number of another node's labels.
    pub fn node_number(&mut self, labels: &Labels) -> u32 {
        self.assign(labels, NODE)
    }

    /// The number of a set that stands for addresses outside.
    pub(crate) fn cidr_number(&mut self, labels: &Labels) -> u32 {
        self.assign(labels, CIDR)
    }

    /// Nobody has the number any more.
    pub fn release(&mut self, number: u32) {
        self.taken.remove(&number);
    }

    fn assign(&mut self, labels: &Labels, (first, count): (u32, u32)) -> u32 {
        let start = hash(labels) % count;
        for step in 0..count {
            let number = first + (start + step) % count;
            match self.taken.get(&number) {
                Some(holder) if holder != labels => {}
                Some(_) => return number,
                None => {
                    self.taken.insert(number, labels.clone());
                    return number;
                }
            }
        }
        // More label sets than numbers: unknown, which no selector matches, so it fails closed.
        0
    }
}

/// FNV-1a over the labels' text: stable across versions and machines.
fn hash(labels: &Labels) -> u32 {
    labels
        .iter()
        .flat_map(|label| format!("{label};").into_bytes())
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        [text.parse().expect("a label")].into_iter().collect()
    }

    #[test]
    fn numbers_are_stable_and_never_meet() {
        let mut one = Numbering::default();
        let mut other = Numbering::default();
        assert_eq!(
            one.number(&labels("app=web")),
            other.number(&labels("app=web"))
        );
        let mut seen = std::collections::HashSet::new();
        for app in 0..3000 {
            assert!(seen.insert(one.number(&labels(&format!("app=a{app}")))));
        }
        assert!(seen.iter().all(|number| (256..65_536).contains(number)));
    }
}
