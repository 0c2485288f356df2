//! Port ranges → blocks that a longest-prefix map can hold.

use crate::rule::{PortRange, Ports};

/// Protocol and a power-of-two block of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Prefix {
    pub(crate) protocol: u8,
    pub(crate) port: u16,
    pub(crate) bits: u8,
}

pub(super) fn prefixes(ports: &Ports, named: &impl Fn(&str) -> Vec<u16>) -> Vec<Prefix> {
    let blocks = match &ports.range {
        PortRange::Any => vec![(0, 0)],
        PortRange::Between(first, last) => blocks(*first, *last),
        PortRange::Named(name) => named(name).into_iter().map(|port| (port, 16)).collect(),
    };
    let protocols: &[u8] = match &ports.protocol {
        Some(protocol) => std::slice::from_ref(protocol),
        // Never ICMP, not even on every port: that takes a rule of its own.
        None => &[6, 17, 132],
    };
    let pairs = protocols.iter().flat_map(|protocol| {
        blocks.iter().map(move |(port, bits)| Prefix {
            protocol: *protocol,
            port: *port,
            bits: *bits,
        })
    });
    pairs.collect()
}

/// A range as the fewest blocks of 2^n aligned ports: at most thirty.
fn blocks(first: u16, last: u16) -> Vec<(u16, u8)> {
    let (mut next, last) = (u32::from(first), u32::from(last));
    let mut blocks = Vec::new();
    while next <= last {
        let mut size = 1_u32;
        let mut bits = 16_u8;
        while bits > 0 && next % (size * 2) == 0 && next + size * 2 - 1 <= last {
            size *= 2;
            bits -= 1;
        }
        blocks.push((u16::try_from(next).unwrap_or(u16::MAX), bits));
        next += size;
    }
    blocks
}

impl Prefix {
    /// Every port of every protocol.
    pub(super) const EVERYTHING: Self = Self {
        protocol: 0,
        port: 0,
        bits: 0,
    };

    /// Every block that holds this one, itself included.
    pub(super) fn covering(self) -> impl Iterator<Item = Self> {
        let of_protocol = (0..=self.bits).map(move |bits| Self {
            port: self.port & mask(bits),
            bits,
            ..self
        });
        std::iter::once(Self::EVERYTHING).chain(of_protocol.filter(move |_| self.protocol != 0))
    }

    /// Whether everything in `other` is in this one.
    pub(crate) fn covers(self, other: Self) -> bool {
        if self.protocol == 0 {
            return true;
        }
        let mask = mask(self.bits);
        self.protocol == other.protocol
            && self.bits <= other.bits
            && self.port & mask == other.port & mask
    }
}

/// The leading bits of a port.
fn mask(bits: u8) -> u16 {
    u16::MAX.checked_shl(16 - u32::from(bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_becomes_few_blocks() {
        assert_eq!(blocks(80, 80), [(80, 16)]);
        assert_eq!(
            blocks(1024, 65535),
            [
                (1024, 6),
                (2048, 5),
                (4096, 4),
                (8192, 3),
                (16384, 2),
                (32768, 1)
            ]
        );
        assert_eq!(blocks(0, 65535), [(0, 0)]);
        let blocks = blocks(1, 65534);
        assert_eq!(blocks.len(), 30);
        let covered: u32 = blocks.iter().map(|(_, bits)| 1_u32 << (16 - bits)).sum();
        assert_eq!(covered, 65534);
    }

    #[test]
    fn a_prefix_covers_what_it_holds() {
        let at = |protocol, port, bits| Prefix {
            protocol,
            port,
            bits,
        };
        assert!(at(0, 0, 0).covers(at(6, 80, 16)));
        assert!(at(6, 0, 0).covers(at(6, 80, 16)));
        assert!(!at(6, 0, 0).covers(at(17, 80, 16)));
        assert!(at(6, 1024, 6).covers(at(6, 1500, 16)));
        assert!(!at(6, 1024, 6).covers(at(6, 2048, 16)));
    }
}
