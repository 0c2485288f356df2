//! One moment's knowledge of addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ahash::AHashMap;
use ipnet::IpNet;

use super::layered::Layered;
use super::services::Services;
use crate::record::{
    Endpoint, EndpointId, IdentityNumber, Party, Service, canonical, canonical_ip,
};

/// Who is behind which address: endpoints by address, CIDR identities by longest prefix, service
/// addresses, and the two entities that need no configuration, host and world.
#[derive(Debug)]
pub struct Table {
    by_address: Layered,
    /// Addresses that only have names, which nobody in `by_address` has.
    named: AHashMap<IpAddr, Arc<Endpoint>>,
    /// Longest prefix first.
    prefixes: Vec<(IpNet, Arc<Endpoint>)>,
    services: Arc<Services>,
    local: Vec<LocalEndpoint>,
    world: Arc<Endpoint>,
}

/// An endpoint of this node, with the addresses it is reached by.
#[derive(Debug, Clone)]
pub struct LocalEndpoint {
    /// Who it is.
    pub endpoint: Arc<Endpoint>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Host-side interface; none where those are meant at whose other end its addresses are.
    pub interface: Option<String>,
}

impl Table {
    /// Names an address. What nobody has named is the world.
    pub fn party(&self, addr: SocketAddr) -> Party {
        self.named(addr, None)
    }

    /// The same where the protocol is known, by its IANA number: services may share a port.
    pub fn party_of(&self, addr: SocketAddr, protocol: u8) -> Party {
        self.named(addr, Some(protocol))
    }

    fn named(&self, addr: SocketAddr, protocol: Option<u8>) -> Party {
        let addr = canonical(addr);
        let endpoint = self.endpoint(addr.ip());
        let service = self.services.find(addr.ip(), addr.port(), protocol);
        let service = service.or_else(|| {
            let service = self.services.find_node_port(addr.port(), protocol);
            service.filter(|_| is_node(&endpoint))
        });
        Party {
            addr,
            identity: endpoint.identity,
            service: service.cloned(),
            endpoint: Some(endpoint),
        }
    }

    /// The endpoint or entity behind an address.
    pub fn endpoint(&self, ip: IpAddr) -> Arc<Endpoint> {
        if let Some(endpoint) = self.at(&ip) {
            return Arc::clone(endpoint);
        }
        let covering = self
            .prefixes
            .iter()
            .find(|(prefix, _)| prefix.contains(&ip));
        Arc::clone(covering.map_or(&self.world, |(_, endpoint)| endpoint))
    }

    fn at(&self, ip: &IpAddr) -> Option<&Arc<Endpoint>> {
        self.by_address.get(ip).or_else(|| self.named.get(ip))
    }

    /// Endpoints of this node, sorted by namespace and name.
    pub fn local(&self) -> &[LocalEndpoint] {
        &self.local
    }

    /// The endpoint of this node with that number.
    pub fn local_by_id(&self, id: EndpointId) -> Option<&LocalEndpoint> {
        self.local.iter().find(|local| local.endpoint.id == id)
    }

    /// Every address that is named, with who it is; order is not defined.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, &Arc<Endpoint>)> {
        let named = self.named.iter();
        let named = named.map(|(ip, endpoint)| (*ip, endpoint));
        self.by_address.iter().chain(named)
    }

    /// Every prefix that has an identity of its own, longest first.
    pub fn prefixes(&self) -> impl Iterator<Item = (IpNet, &Arc<Endpoint>)> {
        self.prefixes
            .iter()
            .map(|(prefix, endpoint)| (*prefix, endpoint))
    }

    /// Service addresses, without ports and without repetition; nodes' own are not among them.
    pub fn service_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let addresses = self.services.addresses().into_iter();
        addresses.filter(|ip| self.at(ip).is_none())
    }
}

/// Whether it is this node or another one.
fn is_node(endpoint: &Endpoint) -> bool {
    let mut labels = endpoint.labels.iter();
    labels.any(|label| label == "reserved:host" || label == "reserved:remote-node")
}

/// Collects what is known, then freezes it.
#[derive(Debug, Default)]
pub struct TableBuilder {
    by_address: Layered,
    named: AHashMap<IpAddr, Arc<Endpoint>>,
    prefixes: Vec<(IpNet, Arc<Endpoint>)>,
    services: Arc<Services>,
    local: Vec<LocalEndpoint>,
}

impl TableBuilder {
    /// Begins with what is shared with former tables: who has addresses, services, and the endpoints of
    /// this node, whose addresses are among those.
    pub fn over(by_address: Layered, services: Arc<Services>, local: Vec<LocalEndpoint>) -> Self {
        Self {
            by_address,
            services,
            local,
            ..Self::default()
        }
    }

    /// Adds an endpoint of this node.
    pub fn local(
        &mut self,
        endpoint: Arc<Endpoint>,
        addresses: Vec<IpAddr>,
        interface: Option<String>,
    ) {
        for ip in &addresses {
            self.by_address
                .insert(canonical_ip(*ip), Arc::clone(&endpoint));
        }
        self.local.push(LocalEndpoint {
            endpoint,
            addresses,
            interface,
        });
    }

    /// Names one address that nobody in the cluster has.
    pub fn address(&mut self, ip: IpAddr, endpoint: Arc<Endpoint>) {
        let ip = canonical_ip(ip);
        if self.by_address.get(&ip).is_none() {
            self.named.entry(ip).or_insert(endpoint);
        }
    }

    /// Gives a prefix an identity.
    pub fn prefix(&mut self, prefix: IpNet, endpoint: Arc<Endpoint>) {
        self.prefixes.push((prefix, endpoint));
    }

    /// Names a service address; port 0 stands for every port of it, protocol 0 for every protocol.
    pub fn service(&mut self, ip: IpAddr, port: u16, protocol: u8, service: Arc<Service>) {
        Arc::make_mut(&mut self.services).add(ip, port, protocol, service);
    }

    /// The finished table.
    pub fn build(mut self) -> Table {
        self.prefixes
            .sort_by(|(a, _), (b, _)| b.prefix_len().cmp(&a.prefix_len()).then_with(|| a.cmp(b)));
        self.local.sort_by(|a, b| {
            (&a.endpoint.namespace, &a.endpoint.name)
                .cmp(&(&b.endpoint.namespace, &b.endpoint.name))
        });
        Table {
            by_address: self.by_address,
            named: self.named,
            prefixes: self.prefixes,
            services: self.services,
            local: self.local,
            world: Arc::new(reserved(IdentityNumber::WORLD, "reserved:world")),
        }
    }
}

/// An entity such as `reserved:host`: no namespace, no name, one label.
pub fn reserved(identity: IdentityNumber, label: &str) -> Endpoint {
    Endpoint {
        id: EndpointId(0),
        identity,
        cluster: String::new(),
        namespace: String::new(),
        name: String::new(),
        labels: [label.to_owned()].into(),
        workload: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, id: u16) -> Arc<Endpoint> {
        Arc::new(Endpoint {
            id: EndpointId(id),
            identity: IdentityNumber(300 + u32::from(id)),
            cluster: String::new(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            labels: [format!("k8s:app={name}")].into(),
            workload: None,
        })
    }

    fn party(table: &Table, addr: &str) -> Party {
        table.party(addr.parse().expect("an address"))
    }

    #[test]
    fn an_unnamed_address_is_the_world() {
        let table = TableBuilder::default().build();
        let party = party(&table, "192.0.2.1:443");
        assert_eq!(party.identity, IdentityNumber::WORLD);
        assert_eq!(party.labels(), ["reserved:world"]);
    }

    #[test]
    fn an_endpoint_beats_a_prefix_and_the_longest_prefix_wins() {
        let mut builder = TableBuilder::default();
        builder.local(named("web", 1), vec!["10.0.0.5".parse().expect("ip")], None);
        builder.prefix("10.0.0.0/8".parse().expect("net"), named("wide", 2));
        builder.prefix("10.0.0.0/24".parse().expect("net"), named("narrow", 3));
        let table = builder.build();
        assert_eq!(party(&table, "10.0.0.5:80").name(), "web");
        assert_eq!(party(&table, "10.0.0.6:80").name(), "narrow");
        assert_eq!(party(&table, "10.9.0.6:80").name(), "wide");
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        let mut builder = TableBuilder::default();
        builder.local(named("web", 1), vec!["10.0.0.5".parse().expect("ip")], None);
        let table = builder.build();
        let party = party(&table, "[::ffff:10.0.0.5]:80");
        assert_eq!(party.name(), "web");
        assert_eq!(party.addr, "10.0.0.5:80".parse().expect("addr"));
    }

    #[test]
    fn a_service_port_beats_the_services_address() {
        let mut builder = TableBuilder::default();
        let all = Service {
            name: "all".to_owned(),
            namespace: "shop".to_owned(),
        };
        let web = Service {
            name: "web".to_owned(),
            namespace: "shop".to_owned(),
        };
        let vip: IpAddr = "10.96.0.1".parse().expect("ip");
        builder.service(vip, 0, 0, Arc::new(all));
        builder.service(vip, 80, 6, Arc::new(web));
        let table = builder.build();
        let name = |addr: &str| party(&table, addr).service.map(|s| s.name.clone());
        assert_eq!(name("10.96.0.1:80").as_deref(), Some("web"));
        assert_eq!(name("10.96.0.1:81").as_deref(), Some("all"));
        assert_eq!(name("10.96.0.2:80"), None);
    }

    #[test]
    fn services_share_an_address_by_ports_and_a_port_by_protocols() {
        let service = |name: &str| {
            Arc::new(Service {
                name: name.to_owned(),
                namespace: "shop".to_owned(),
            })
        };
        let mut builder = TableBuilder::default();
        let (node, other): (IpAddr, IpAddr) = (
            "192.0.2.1".parse().expect("ip"),
            "192.0.2.9".parse().expect("ip"),
        );
        builder.address(
            node,
            Arc::new(reserved(IdentityNumber::HOST, "reserved:host")),
        );
        builder.service(other, 53, 17, service("dns"));
        builder.service(other, 53, 6, service("dns-tcp"));
        builder.service(other, 443, 6, service("web"));
        Arc::make_mut(&mut builder.services).add_node_port(30_443, 6, service("web"));
        let table = builder.build();
        let name = |addr: &str, protocol| {
            let party = table.party_of(addr.parse().expect("an address"), protocol);
            party.service.map(|service| service.name.clone())
        };
        assert_eq!(name("192.0.2.9:53", 17).as_deref(), Some("dns"));
        assert_eq!(name("192.0.2.9:53", 6).as_deref(), Some("dns-tcp"));
        assert_eq!(name("192.0.2.9:443", 6).as_deref(), Some("web"));
        assert_eq!(name("192.0.2.9:443", 17), None);
        assert_eq!(name("192.0.2.1:30443", 6).as_deref(), Some("web"));
        assert_eq!(name("192.0.2.9:30443", 6), None, "no node's address");
        assert_eq!(table.service_addresses().collect::<Vec<_>>(), [other]);
    }
}
