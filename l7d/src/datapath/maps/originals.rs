//! Where processes of this host wanted to connect.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use l7d_ebpf::maps::{Client, Original};

use crate::config::Transport;
use crate::datapath::Error;

/// Where processes of this host wanted to connect before they were redirected.
#[derive(Debug)]
pub struct Originals(HashMap<MapData, Client, Original>);

impl Originals {
    pub(in crate::datapath) fn new(ebpf: &mut Ebpf) -> Result<Self, Error> {
        let map = ebpf.take_map("CLIENTS").ok_or(Error::NoMap("CLIENTS"))?;
        HashMap::try_from(map)
            .map(Self)
            .map_err(|cause| Error::Map {
                map: "CLIENTS",
                cause,
            })
    }

    /// The address that the process asked for whose socket is `client`.
    pub fn look_up(&self, transport: Transport, client: SocketAddr) -> Option<SocketAddr> {
        let address = match client.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let key = Client {
            address,
            port: client.port(),
            protocol: transport.number(),
            reserved: [0; 5],
        };
        let original = self.0.get(&key, 0).ok()?;
        let ip = IpAddr::V6(Ipv6Addr::from(original.address)).to_canonical();
        Some(SocketAddr::new(ip, original.port))
    }
}
