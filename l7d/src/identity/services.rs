//! Which service an address and port belong to.

use std::net::IpAddr;
use std::sync::Arc;

use ahash::AHashMap;

use crate::record::{Service, canonical_ip};

/// Services by their addresses and ports. Several may share an address, and a port of it in different
/// protocols.
#[derive(Debug, Clone, Default)]
pub struct Services {
    by_address: AHashMap<(IpAddr, u16), Ports>,
    /// Ports that every node listens on.
    by_node_port: AHashMap<u16, Ports>,
}

/// The services of one port.
#[derive(Debug, Clone, Default)]
struct Ports {
    /// By IP protocol number; 0 stands for any.
    by_protocol: Vec<(u8, Arc<Service>)>,
}

impl Ports {
    fn add(&mut self, protocol: u8, service: Arc<Service>) {
        match self.by_protocol.iter_mut().find(|(of, _)| *of == protocol) {
            Some((_, known)) => *known = service,
            None => self.by_protocol.push((protocol, service)),
        }
    }

    /// The service of a protocol; the first one where the protocol is not known.
    fn find(&self, protocol: Option<u8>) -> Option<&Arc<Service>> {
        let mut all = self.by_protocol.iter();
        match protocol {
            None => all.next(),
            Some(protocol) => all.find(|(of, _)| *of == 0 || *of == protocol),
        }
        .map(|(_, service)| service)
    }
}

impl Services {
    /// Names an address; port 0 stands for every port of it, protocol 0 for every protocol.
    pub fn add(&mut self, ip: IpAddr, port: u16, protocol: u8, service: Arc<Service>) {
        let ports = self.by_address.entry((canonical_ip(ip), port)).or_default();
        ports.add(protocol, service);
    }

    /// Names a port of every node.
    pub fn add_node_port(&mut self, port: u16, protocol: u8, service: Arc<Service>) {
        let ports = self.by_node_port.entry(port).or_default();
        ports.add(protocol, service);
    }

    /// The service of an address and port, in any protocol where that is not known.
    pub fn find(&self, ip: IpAddr, port: u16, protocol: Option<u8>) -> Option<&Arc<Service>> {
        let of = |port| self.by_address.get(&(ip, port));
        of(port)
            .and_then(|ports| ports.find(protocol))
            .or_else(|| of(0).and_then(|ports| ports.find(protocol)))
    }

    /// The service of a port of every node.
    pub fn find_node_port(&self, port: u16, protocol: Option<u8>) -> Option<&Arc<Service>> {
        self.by_node_port.get(&port)?.find(protocol)
    }

    /// Their addresses, without repetition, sorted.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = self.by_address.keys().map(|(ip, _)| *ip).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}
