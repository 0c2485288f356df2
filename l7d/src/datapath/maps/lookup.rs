//! What the kernel knows of one connection.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use aya::maps::{HashMap, Map, MapData};
use l7d_ebpf::maps::{Connection, Tuple};

use crate::config::Transport;
use crate::datapath::Error;

const MAP: &str = "CONNTRACK";

/// The kernel's table of connections, asked for one at a time: a system call of a microsecond.
#[derive(Debug)]
pub struct ConnectionTable(HashMap<MapData, Tuple, Connection>);

impl ConnectionTable {
    /// Opens the table that is pinned in `folder`.
    pub(in crate::datapath) fn open(folder: &Path) -> Result<Self, Error> {
        let fault = |cause| Error::Map { map: MAP, cause };
        let data = MapData::from_pin(folder.join(MAP)).map_err(fault)?;
        let map = HashMap::try_from(Map::LruHashMap(data)).map_err(fault)?;
        Ok(Self(map))
    }

    /// The number of the connection between these two, whoever began it.
    pub fn number(
        &self,
        transport: Transport,
        client: SocketAddr,
        server: SocketAddr,
    ) -> Option<u64> {
        let entry = self.0.get(&tuple(transport, client, server), 0).ok()?;
        Some(entry.id)
    }
}

/// The key that the programs make (`steps/conntrack.rs`): the smaller end first.
fn tuple(transport: Transport, left: SocketAddr, right: SocketAddr) -> Tuple {
    let (left_ip, right_ip) = (mapped(left.ip()), mapped(right.ip()));
    let is_left_first = is_smaller(&left_ip, &right_ip).unwrap_or(left.port() <= right.port());
    let (a, a_port, b, b_port) = if is_left_first {
        (left_ip, left.port(), right_ip, right.port())
    } else {
        (right_ip, right.port(), left_ip, left.port())
    };
    Tuple {
        a,
        b,
        a_port,
        b_port,
        protocol: transport.number(),
        reserved: [0; 3],
    }
}

fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// As the programs compare: words of four bytes, the last one first.
fn is_smaller(left: &[u8; 16], right: &[u8; 16]) -> Option<bool> {
    let words = |bytes: &[u8; 16]| {
        let mut words = [0; 4];
        let (fours, _none_left) = bytes.as_chunks::<4>();
        for (word, four) in words.iter_mut().rev().zip(fours) {
            *word = u32::from_ne_bytes(*four);
        }
        words
    };
    let order = words(left).cmp(&words(right));
    order.is_ne().then_some(order.is_lt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_have_one_key() {
        let ends = [
            ("10.0.0.1:4000", "10.0.0.2:80"),
            ("10.0.1.1:4000", "10.0.0.2:80"),
            ("10.0.0.1:80", "10.0.0.1:4000"),
            ("[fd00::1]:4000", "[fd01::1]:80"),
        ];
        for (left, right) in ends {
            let (left, right) = (left.parse().unwrap(), right.parse().unwrap());
            let key = tuple(Transport::Tcp, left, right);
            assert_eq!(key, tuple(Transport::Tcp, right, left));
            assert_ne!(key, tuple(Transport::Udp, left, right));
        }
    }
}
