//! Identities that somebody has.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy_l7::identity::Numbering;
use policy_l7::{Identity, Labels};

use crate::record::IdentityNumber;

/// Sets of labels with their numbers, each kept once, as long as anybody has it.
#[derive(Debug, Default)]
pub(super) struct InUse {
    numbering: Numbering,
    held: BTreeMap<u32, Held>,
    has_changed: bool,
}

#[derive(Debug)]
struct Held {
    shared: Shared,
    users: usize,
}

/// An identity, with what all who have it share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) number: IdentityNumber,
    pub(super) labels: Labels,
    /// The labels as flows tell them.
    pub(super) texts: Arc<[String]>,
}

/// Who is numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    /// All nodes agree on the number.
    Cluster,
    /// It means something on this node only.
    Node,
}

impl InUse {
    /// Somebody more has these labels.
    pub(super) fn acquire(&mut self, labels: Labels, range: Range) -> Shared {
        let number = match range {
            Range::Cluster => self.numbering.number(&labels),
            Range::Node => self.numbering.node_number(&labels),
        };
        let held = self.held.entry(number).or_insert_with(|| {
            self.has_changed = true;
            let texts = labels.iter().map(|label| label.to_string()).collect();
            Held {
                shared: Shared {
                    number: IdentityNumber(number),
                    labels: labels.clone(),
                    texts,
                },
                users: 0,
            }
        });
        held.users += 1;
        // All numbers are taken: the number of nobody is no identity that anything is known of.
        if held.shared.labels == labels {
            held.shared.clone()
        } else {
            let texts = labels.iter().map(|label| label.to_string()).collect();
            Shared {
                number: IdentityNumber(number),
                labels,
                texts,
            }
        }
    }

    /// Somebody no longer has that identity.
    pub(super) fn release(&mut self, number: IdentityNumber) {
        let Some(held) = self.held.get_mut(&number.0) else {
            return;
        };
        held.users -= 1;
        if held.users == 0 {
            self.held.remove(&number.0);
            self.numbering.release(number.0);
            self.has_changed = true;
        }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = Identity> {
        self.held.iter().map(|(number, held)| Identity {
            number: *number,
            labels: held.shared.labels.clone(),
        })
    }

    /// Whether any has come or gone since this was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }
}
