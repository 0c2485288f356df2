//! One copy of each tunnel and VLAN, shared by the records of all packets that came in it.

use std::collections::HashSet;
use std::sync::Arc;

use crate::record::Encapsulation;

/// Encapsulations remembered; beyond, copies are made anew. Senders of VXLAN take another port for
/// every flow.
const KNOWN_MAX: usize = 1 << 16;

/// What packets of a capture came packed in.
#[derive(Debug, Default)]
pub(super) struct Encapsulations {
    known: HashSet<Arc<Encapsulation>, ahash::RandomState>,
}

impl Encapsulations {
    /// The shared copy; none where a packet came as it is. Allocates at the first sight only.
    pub(super) fn share(&mut self, encapsulation: &Encapsulation) -> Option<Arc<Encapsulation>> {
        if encapsulation.is_none() {
            return None;
        }
        if let Some(known) = self.known.get(encapsulation) {
            return Some(Arc::clone(known));
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let shared = Arc::new(*encapsulation);
        self.known.insert(Arc::clone(&shared));
        Some(shared)
    }
}

#[cfg(test)]
mod tests {
    use parsers::packet::Vlan;

    use super::*;

    fn of_vlan(outer: u16) -> Encapsulation {
        Encapsulation {
            tunnel: None,
            vlan: Some(Vlan { outer, inner: None }),
        }
    }

    #[test]
    fn packets_of_one_vlan_share_what_is_told_of_it() {
        let mut encapsulations = Encapsulations::default();
        assert_eq!(encapsulations.share(&Encapsulation::default()), None);
        let (a, b) = (
            encapsulations.share(&of_vlan(5)),
            encapsulations.share(&of_vlan(5)),
        );
        assert!(Arc::ptr_eq(&a.expect("a VLAN"), &b.expect("a VLAN")));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut encapsulations = Encapsulations::default();
        for outer in 0..=u16::MAX {
            let _shared = encapsulations.share(&of_vlan(outer));
        }
        let tagged_twice = Encapsulation {
            tunnel: None,
            vlan: Some(Vlan {
                outer: 1,
                inner: Some(2),
            }),
        };
        assert!(encapsulations.share(&tagged_twice).is_some());
        assert_eq!(encapsulations.known.len(), 1);
    }
}
