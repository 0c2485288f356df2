//! What netfilter makes of a connection's addresses on its way.

use std::net::SocketAddr;

use super::{Party, Record};

/// A connection whose addresses are others behind this node's netfilter than in front of it: a
/// service's address became a backend's, or a pod's became the node's.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Translation {
    /// The client, by the address that it has itself.
    pub source: Party,
    /// The address by which the server knows it.
    pub source_after: SocketAddr,
    /// What the client asks; where that is a service's address, its service is named.
    pub destination: Party,
    /// Who serves.
    pub destination_after: Party,
}

/// Where a record stands to the translation of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// It tells of what the client sends, not of what comes back.
    pub is_forward: bool,
    /// Its server is who serves, not what the client asks.
    pub is_behind: bool,
    /// Its client has the address by which the server knows it, and another one itself.
    pub is_masked: bool,
}

impl Translation {
    /// Whether the server knows the client by another address than the client's own.
    pub fn has_other_source(&self) -> bool {
        self.source.addr != self.source_after
    }

    /// Whether the client asks another address than the one that serves.
    pub fn has_other_destination(&self) -> bool {
        self.destination.addr != self.destination_after.addr
    }

    /// Where a record with these two ends stands; `None` where they are not of this connection.
    pub fn stand(&self, source: SocketAddr, destination: SocketAddr) -> Option<Stand> {
        let of = |client: SocketAddr, server: SocketAddr, is_forward| {
            let is_client = client == self.source.addr || client == self.source_after;
            let is_asked = server == self.destination.addr;
            let serves = server == self.destination_after.addr;
            (is_client && (is_asked || serves)).then_some(Stand {
                is_forward,
                is_behind: serves && !is_asked,
                is_masked: client != self.source.addr,
            })
        };
        of(source, destination, true).or_else(|| of(destination, source, false))
    }
}

impl Record {
    /// The translation of its connection, and where it stands to it.
    pub fn translated(&self) -> Option<(&Translation, Stand)> {
        let translation = self.translation.as_deref()?;
        let stand = translation.stand(self.source.addr, self.destination.addr)?;
        Some((translation, stand))
    }

    /// The address by which the server knows who sent this, where that is another than the
    /// sender's own.
    pub fn source_after(&self) -> Option<SocketAddr> {
        let (translation, stand) = self.translated()?;
        let is_told = stand.is_forward && translation.has_other_source();
        is_told.then_some(translation.source_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::IdentityNumber;

    fn party(addr: &str) -> Party {
        Party::unnamed(addr.parse().expect("an address"), IdentityNumber(300))
    }

    #[test]
    fn a_record_knows_on_which_side_of_the_translation_it_is() {
        let translation = Translation {
            source: party("10.0.0.1:4000"),
            source_after: "10.0.0.254:61000".parse().expect("an address"),
            destination: party("10.96.0.1:80"),
            destination_after: party("10.0.0.1:8080"),
        };
        let stand = |source: &str, destination: &str| {
            let addr = |text: &str| text.parse().expect("an address");
            translation
                .stand(addr(source), addr(destination))
                .map(|s| (s.is_forward, s.is_behind, s.is_masked))
        };
        let front = ("10.0.0.1:4000", "10.96.0.1:80");
        let behind = ("10.0.0.254:61000", "10.0.0.1:8080");
        let named = ("10.0.0.1:4000", "10.0.0.1:8080");
        assert_eq!(stand(front.0, front.1), Some((true, false, false)));
        assert_eq!(stand(front.1, front.0), Some((false, false, false)));
        assert_eq!(stand(behind.0, behind.1), Some((true, true, true)));
        assert_eq!(stand(behind.1, behind.0), Some((false, true, true)));
        assert_eq!(stand(named.0, named.1), Some((true, true, false)));
        assert_eq!(stand(named.1, named.0), Some((false, true, false)));
        assert_eq!(stand("10.0.0.9:1", "10.96.0.1:80"), None);
    }
}
