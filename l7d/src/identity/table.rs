//! One moment's knowledge of addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ahash::AHashMap;
use ipnet::IpNet;

use crate::record::{
    Endpoint, EndpointId, IdentityNumber, Party, Service, canonical, canonical_ip,
};

/// Who is behind which address: endpoints by address, CIDR identities by longest prefix, service
/// addresses, and the two entities that need no configuration, host and world.
#[derive(Debug)]
pub struct Table {
    by_address: AHashMap<IpAddr, Arc<Endpoint>>,
    /// Longest prefix first.
    prefixes: Vec<(IpNet, Arc<Endpoint>)>,
    services: AHashMap<(IpAddr, u16), Arc<Service>>,
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
    /// Host-side interface, where it has one.
    pub interface: Option<String>,
}

impl Table {
    /// Names an address. What nobody has named is the world.
    pub fn party(&self, addr: SocketAddr) -> Party {
        let addr = canonical(addr);
        let endpoint = self.endpoint(addr.ip());
        let service = self
            .services
            .get(&(addr.ip(), addr.port()))
            .or_else(|| self.services.get(&(addr.ip(), 0)))
            .cloned();
        Party {
            addr,
            identity: endpoint.identity,
            endpoint: Some(endpoint),
            service,
        }
    }

    /// The endpoint or entity behind an address.
    pub fn endpoint(&self, ip: IpAddr) -> Arc<Endpoint> {
        if let Some(endpoint) = self.by_address.get(&ip) {
            return Arc::clone(endpoint);
        }
        let covering = self
            .prefixes
            .iter()
            .find(|(prefix, _)| prefix.contains(&ip));
        Arc::clone(covering.map_or(&self.world, |(_, endpoint)| endpoint))
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
        self.by_address.iter().map(|(ip, endpoint)| (*ip, endpoint))
    }

    /// Every prefix that has an identity of its own, longest first.
    pub fn prefixes(&self) -> impl Iterator<Item = (IpNet, &Arc<Endpoint>)> {
        self.prefixes
            .iter()
            .map(|(prefix, endpoint)| (*prefix, endpoint))
    }

    /// Service addresses, without ports and without repetition; order is not defined.
    pub fn service_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let mut addresses: Vec<IpAddr> = self.services.keys().map(|(ip, _)| *ip).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.into_iter()
    }
}

/// Collects what is known, then freezes it.
#[derive(Debug, Default)]
pub struct TableBuilder {
    by_address: AHashMap<IpAddr, Arc<Endpoint>>,
    prefixes: Vec<(IpNet, Arc<Endpoint>)>,
    services: AHashMap<(IpAddr, u16), Arc<Service>>,
    local: Vec<LocalEndpoint>,
}

impl TableBuilder {
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

    /// Names one address that is not an endpoint of this node; endpoints of this node win.
    pub fn address(&mut self, ip: IpAddr, endpoint: Arc<Endpoint>) {
        self.by_address.entry(canonical_ip(ip)).or_insert(endpoint);
    }

    /// Gives a prefix an identity.
    pub fn prefix(&mut self, prefix: IpNet, endpoint: Arc<Endpoint>) {
        self.prefixes.push((prefix, endpoint));
    }

    /// Names a service address; port 0 stands for every port of it.
    pub fn service(&mut self, ip: IpAddr, port: u16, service: Arc<Service>) {
        self.services.insert((canonical_ip(ip), port), service);
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
        labels: vec![label.to_owned()],
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
            labels: vec![format!("k8s:app={name}")],
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
        builder.service(vip, 0, Arc::new(all));
        builder.service(vip, 80, Arc::new(web));
        let table = builder.build();
        let name = |addr: &str| party(&table, addr).service.map(|s| s.name.clone());
        assert_eq!(name("10.96.0.1:80").as_deref(), Some("web"));
        assert_eq!(name("10.96.0.1:81").as_deref(), Some("all"));
        assert_eq!(name("10.96.0.2:80"), None);
    }
}
