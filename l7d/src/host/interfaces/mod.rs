//! Interfaces of pods, found by the pods' addresses, whatever network plug-in made them: the kernel tells
//! which namespace each end of a pair leads to, and which addresses there are in it.
//!
//! Where two namespaces have the same address, the one whose pair was made last has it: a pod's
//! namespace may linger after its address was given to another.

mod socket;
mod uplinks;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parsers::netlink::route::{Address, Link};

pub use socket::Changes;
use socket::Socket;
pub use uplinks::uplinks;

/// What was found out about a namespace is asked again after this long: addresses come without a word.
const AGES: Duration = Duration::from_secs(5);

/// Which interfaces lead to which addresses.
#[derive(Debug)]
pub struct Interfaces {
    socket: Socket,
    /// Addresses in namespaces, and when they were asked for.
    namespaces: BTreeMap<i32, (Instant, Vec<Address>)>,
    links: Vec<Link>,
    by_address: HashMap<IpAddr, Vec<Place>>,
    /// Names of the ends here, by the namespaces that they lead to.
    leading: HashMap<i32, Vec<String>>,
}

/// Where an address was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// Of the end here.
    index: u32,
    namespace: i32,
}

impl Interfaces {
    /// Opens a socket; asking about other namespaces needs `CAP_NET_ADMIN`.
    ///
    /// # Errors
    /// The kernel cannot be asked (before 4.20).
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            socket: Socket::open()?,
            namespaces: BTreeMap::new(),
            links: Vec::new(),
            by_address: HashMap::new(),
            leading: HashMap::new(),
        })
    }

    /// Looks at all interfaces, and at the addresses of namespaces that are new, that one of `missed` may
    /// be in, or that were not looked at for long.
    ///
    /// # Errors
    /// The kernel does not tell; what was known stays.
    pub fn look(&mut self, missed: bool) -> io::Result<()> {
        let links = self.socket.links()?;
        let now = Instant::now();
        let led_to: BTreeSet<i32> = links.iter().filter_map(namespace_of).collect();
        let known = &self.links;
        let is_new = |namespace: i32| {
            let mut here = links
                .iter()
                .filter(|link| namespace_of(link) == Some(namespace));
            !here.all(|link| known.contains(link))
        };
        let mut asked = BTreeMap::new();
        for namespace in led_to {
            let former = self.namespaces.remove(&namespace);
            let is_good = |(at, addresses): &(Instant, Vec<Address>)| {
                let is_old = missed || addresses.is_empty() || now.duration_since(*at) > AGES;
                !is_old && !is_new(namespace)
            };
            let addresses = match former.filter(is_good) {
                Some(former) => former,
                // One that has just gone has none.
                None => (now, self.socket.addresses(namespace).unwrap_or_default()),
            };
            asked.insert(namespace, addresses);
        }
        self.by_address = places(&links, &asked);
        self.leading = leading(&links);
        (self.links, self.namespaces) = (links, asked);
        Ok(())
    }

    /// Names of the pairs that lead to namespaces in which none of these interfaces ends.
    pub fn beyond(&self, known: &BTreeSet<&str>) -> Vec<&str> {
        let is_known = |link: &&Link| known.contains(&*link.name);
        let spaces = self.links.iter().filter(is_known).filter_map(namespace_of);
        let spaces: BTreeSet<i32> = spaces.collect();
        let is_beyond = |link: &&Link| namespace_of(link).is_some_and(|at| !spaces.contains(&at));
        let beyond = self.links.iter().filter(is_beyond);
        beyond.map(|link| &*link.name).collect()
    }

    /// Names of the interfaces that lead to the namespace in which any of these addresses is: all of them,
    /// as a pod's second interface is the pod's, whether or not anybody tells of its address.
    pub fn of(&self, addresses: &[IpAddr]) -> Vec<&str> {
        let places = addresses.iter().filter_map(|ip| self.by_address.get(ip));
        let latest = places.flatten().max_by_key(|place| place.index);
        let leading = latest.and_then(|place| self.leading.get(&place.namespace));
        leading.into_iter().flatten().map(String::as_str).collect()
    }
}

/// The namespace that a pair leads to. Of what else leads elsewhere (`macvlan`, `ipvlan`), packets do not
/// pass here.
fn namespace_of(link: &Link) -> Option<i32> {
    let is_pair = matches!(&*link.kind, "veth" | "netkit");
    link.peer.filter(|_| is_pair).map(|peer| peer.namespace)
}

fn places(
    links: &[Link],
    namespaces: &BTreeMap<i32, (Instant, Vec<Address>)>,
) -> HashMap<IpAddr, Vec<Place>> {
    let mut places: HashMap<IpAddr, Vec<Place>> = HashMap::new();
    for link in links {
        let Some(peer) = link.peer.filter(|_| namespace_of(link).is_some()) else {
            continue;
        };
        let addresses = namespaces.get(&peer.namespace);
        let addresses = addresses.into_iter().flat_map(|(_, addresses)| addresses);
        for address in addresses.filter(|address| address.index == peer.index) {
            places.entry(address.ip).or_default().push(Place {
                index: link.index,
                namespace: peer.namespace,
            });
        }
    }
    places
}

fn leading(links: &[Link]) -> HashMap<i32, Vec<String>> {
    let mut leading: HashMap<i32, Vec<String>> = HashMap::new();
    for link in links {
        if let Some(namespace) = namespace_of(link) {
            let names = leading.entry(namespace).or_default();
            names.push(link.name.clone());
        }
    }
    leading
}

#[cfg(test)]
mod tests {
    use parsers::netlink::route::Peer;

    use super::*;

    fn link(index: u32, kind: &str, peer: Option<(i32, u32)>) -> Link {
        Link {
            index,
            name: format!("link{index}"),
            kind: kind.to_owned(),
            peer: peer.map(|(namespace, index)| Peer { namespace, index }),
        }
    }

    fn address(index: u32, ip: &str) -> Address {
        Address {
            index,
            ip: ip.parse().expect("an address"),
        }
    }

    fn found(links: Vec<Link>, namespaces: &[(i32, Vec<Address>)]) -> Interfaces {
        let now = Instant::now();
        let namespaces: BTreeMap<_, _> = namespaces
            .iter()
            .map(|(number, addresses)| (*number, (now, addresses.clone())))
            .collect();
        Interfaces {
            socket: Socket::open().expect("a socket"),
            by_address: places(&links, &namespaces),
            leading: leading(&links),
            namespaces,
            links,
        }
    }

    fn of<'f>(found: &'f Interfaces, addresses: &[&str]) -> Vec<&'f str> {
        let addresses: Vec<IpAddr> = addresses
            .iter()
            .map(|ip| ip.parse().expect("an address"))
            .collect();
        found.of(&addresses)
    }

    #[test]
    fn a_pod_may_have_several_interfaces_and_addresses() {
        let links = vec![
            link(1, "", None),
            link(7, "veth", Some((0, 2))),
            link(8, "netkit", Some((0, 3))),
            link(9, "veth", Some((1, 2))),
            link(10, "macvlan", Some((1, 3))),
        ];
        let first = vec![
            address(1, "127.0.0.1"),
            address(2, "10.0.0.1"),
            address(2, "fd00::1"),
            address(3, "10.9.0.1"),
        ];
        let second = vec![address(2, "10.0.0.2"), address(3, "192.0.2.2")];
        let found = found(links, &[(0, first), (1, second)]);
        for known in [&["10.0.0.1", "fd00::1"], &["10.9.0.1", "10.0.0.1"]] {
            assert_eq!(of(&found, known), ["link7", "link8"], "of one namespace");
        }
        assert_eq!(of(&found, &["10.9.0.1"]), ["link7", "link8"]);
        assert_eq!(of(&found, &["10.0.0.2"]), ["link9"]);
        let nobody: [&str; 0] = [];
        for ip in ["127.0.0.1", "192.0.2.2", "10.0.0.3"] {
            assert_eq!(of(&found, &[ip]), nobody, "{ip}");
        }
    }

    #[test]
    fn the_latest_of_two_that_have_an_address_has_it() {
        let links = vec![
            link(7, "veth", Some((0, 2))),
            link(9, "veth", Some((1, 2))),
            link(10, "veth", Some((1, 3))),
        ];
        let lingering = vec![address(2, "10.0.0.1")];
        let fresh = vec![address(2, "10.0.0.1"), address(3, "10.0.0.2")];
        let found = found(links, &[(0, lingering), (1, fresh)]);
        assert_eq!(of(&found, &["10.0.0.1"]), ["link9", "link10"]);
        assert_eq!(of(&found, &["10.0.0.1", "10.0.0.2"]), ["link9", "link10"]);
    }
}
