//! Interfaces and their addresses, of this network namespace and of those at the other ends of its
//! pairs: the kernel tells them by a number that it gives to a namespace which an interface leads to.
//!
//! ```text
//!   this namespace          │ a pod's, number 7 here
//!   2 veth1a2b3 ────────────┼── 5 eth0: 10.244.1.10
//!     link 5, namespace 7   │
//! ```
//!
//! Numbers of messages and attributes are those of the kernel's `linux/rtnetlink.h`, `linux/if_link.h`
//! and `linux/if_addr.h`.

use std::net::IpAddr;

use super::Message;
use super::attributes::{self, Attribute, Attributes};
use crate::error::{Error, Fault};

const SECTION: &str = "linux/rtnetlink.h";

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
/// `NLMSG_DONE`: a list is at its end.
const DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const LIST: u16 = 0x301;

const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_TARGET_NETNSID: u16 = 10;

/// `struct ifinfomsg`.
const LINK_BYTES: usize = 16;
/// `struct ifaddrmsg`.
const ADDRESS_BYTES: usize = 8;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index here.
    pub index: u32,
    /// Its name here.
    pub name: String,
    /// What it is (`veth`, `bridge`, …); empty of devices.
    pub kind: String,
    /// Its other end, where that is in another namespace.
    pub peer: Option<Peer>,
}

/// The other end of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The number that its namespace has here.
    pub namespace: i32,
    /// Its index there.
    pub index: u32,
}

/// An address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Index of the interface.
    pub index: u32,
    /// The address itself, of a point-to-point link the near one.
    pub ip: IpAddr,
}

/// What the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// An interface is there, or has changed.
    Link(Link),
    /// An interface is gone; its index.
    Gone(u32),
    /// An address.
    Address(Address),
    /// Nothing more is on the list.
    End,
}

/// Writes the question for all interfaces of this namespace.
pub fn ask_links(out: &mut Vec<u8>, sequence: u32) {
    request(out, RTM_GETLINK, sequence, |out| {
        out.extend_from_slice(&[0; LINK_BYTES]);
    });
}

/// Writes the question for all addresses in the namespace that has that number here. The socket must
/// ask for strict checks (`NETLINK_GET_STRICT_CHK`), or the number is not read (before 4.20 neither).
pub fn ask_addresses(out: &mut Vec<u8>, namespace: i32, sequence: u32) {
    request(out, RTM_GETADDR, sequence, |out| {
        out.extend_from_slice(&[0; ADDRESS_BYTES]);
        attributes::write(out, IFA_TARGET_NETNSID, &namespace.to_ne_bytes());
    });
}

/// Reads a message; `None` where it says something else.
///
/// # Errors
/// It is cut short, or what is in it is.
pub fn told(message: &Message<'_>) -> Result<Option<Told>, Error> {
    match message.kind {
        RTM_NEWLINK => link(message.payload).map(|link| Some(Told::Link(link))),
        RTM_DELLINK => link(message.payload).map(|link| Some(Told::Gone(link.index))),
        RTM_NEWADDR => address(message.payload).map(|address| address.map(Told::Address)),
        DONE => Ok(Some(Told::End)),
        _ => Ok(None),
    }
}

fn link(payload: &[u8]) -> Result<Link, Error> {
    let (head, rest) = payload.split_first_chunk::<LINK_BYTES>().ok_or(SHORT)?;
    let [_, _, _, _, i0, i1, i2, i3, ..] = *head;
    let mut link = Link {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        name: String::new(),
        kind: String::new(),
        peer: None,
    };
    let (mut index, mut namespace) = (None, None);
    for attribute in Attributes::new(rest) {
        let attribute = attribute?;
        match attribute.kind {
            IFLA_IFNAME => link.name = text(&attribute),
            IFLA_LINK => index = Some(u32::from_ne_bytes(attribute.array()?)),
            IFLA_LINK_NETNSID => namespace = Some(i32::from_ne_bytes(attribute.array()?)),
            IFLA_LINKINFO => {
                for inside in attribute.nested() {
                    let inside = inside?;
                    if inside.kind == IFLA_INFO_KIND {
                        link.kind = text(&inside);
                    }
                }
            }
            _ => {}
        }
    }
    // A namespace that has no number cannot be asked about.
    let namespace = namespace.filter(|namespace| *namespace >= 0);
    link.peer = namespace
        .zip(index)
        .map(|(namespace, index)| Peer { namespace, index });
    Ok(link)
}

fn address(payload: &[u8]) -> Result<Option<Address>, Error> {
    let (head, rest) = payload.split_first_chunk::<ADDRESS_BYTES>().ok_or(SHORT)?;
    let [_, _, _, _, i0, i1, i2, i3] = *head;
    let (mut near, mut any) = (None, None);
    for attribute in Attributes::new(rest) {
        let attribute = attribute?;
        match attribute.kind {
            IFA_LOCAL => near = ip(&attribute),
            IFA_ADDRESS => any = ip(&attribute),
            _ => {}
        }
    }
    // Of IPv6 only the latter is told.
    Ok(near.or(any).map(|ip| Address {
        index: u32::from_ne_bytes([i0, i1, i2, i3]),
        ip,
    }))
}

fn ip(attribute: &Attribute<'_>) -> Option<IpAddr> {
    let v4 = attribute.array::<4>().map(IpAddr::from);
    v4.or_else(|_long| attribute.array::<16>().map(IpAddr::from))
        .ok()
}

/// A text that a zero ends.
fn text(attribute: &Attribute<'_>) -> String {
    let bytes = attribute.value.split(|byte| *byte == 0).next();
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

const SHORT: Error = Error::new(Fault::Malformed, "route-header", SECTION);

fn request(out: &mut Vec<u8>, kind: u16, sequence: u32, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(&LIST.to_ne_bytes());
    out.extend_from_slice(&sequence.to_ne_bytes());
    out.extend_from_slice(&[0; 4]);
    payload(out);
    let length = u32::try_from(out.len().saturating_sub(start)).unwrap_or(u32::MAX);
    if let Some(room) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
        *room = length.to_ne_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{HEADER_BYTES, Messages};

    fn message(kind: u16, payload: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        request(&mut bytes, kind, 1, payload);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Option<Told>, Error> {
        told(&Messages::new(bytes).next().expect("one")?)
    }

    fn veth(namespace: Option<i32>) -> Vec<u8> {
        message(RTM_NEWLINK, |out| {
            let mut head = [0; LINK_BYTES];
            head[4] = 9;
            out.extend(head);
            attributes::write(out, IFLA_IFNAME, b"veth1\0");
            attributes::write(out, IFLA_LINK, &5_u32.to_ne_bytes());
            attributes::nest(out, IFLA_LINKINFO, |out| {
                attributes::write(out, IFLA_INFO_KIND, b"veth\0");
            });
            if let Some(namespace) = namespace {
                attributes::write(out, IFLA_LINK_NETNSID, &namespace.to_ne_bytes());
            }
        })
    }

    #[test]
    fn a_link_tells_its_other_end() {
        let Ok(Some(Told::Link(link))) = read(&veth(Some(7))) else {
            panic!("a link");
        };
        assert_eq!((link.index, &*link.name, &*link.kind), (9, "veth1", "veth"));
        let peer = Peer {
            namespace: 7,
            index: 5,
        };
        assert_eq!(link.peer, Some(peer));
        for namespace in [None, Some(-1)] {
            let Ok(Some(Told::Link(link))) = read(&veth(namespace)) else {
                panic!("a link");
            };
            assert_eq!(
                link.peer, None,
                "in this namespace, or in one without a number"
            );
        }
    }

    #[test]
    fn the_near_address_is_the_one() {
        let of = |attributes: &[(u16, &[u8])]| {
            let bytes = message(RTM_NEWADDR, |out| {
                out.extend([0, 0, 0, 0, 5, 0, 0, 0]);
                for (kind, value) in attributes {
                    attributes::write(out, *kind, value);
                }
            });
            match read(&bytes) {
                Ok(Some(Told::Address(address))) => Some((address.index, address.ip.to_string())),
                _ => None,
            }
        };
        let point: [(u16, &[u8]); 2] = [(IFA_ADDRESS, &[10, 0, 0, 1]), (IFA_LOCAL, &[10, 0, 0, 2])];
        assert_eq!(of(&point), Some((5, "10.0.0.2".to_owned())));
        let long: [(u16, &[u8]); 1] = [(IFA_ADDRESS, &[0xfd; 16])];
        let long = of(&long).expect("an address").1;
        assert_eq!(long, "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd");
        assert_eq!(of(&[(IFA_LOCAL, &[1, 2])]), None);
    }

    #[test]
    fn questions_are_lists_and_lists_end() {
        let mut bytes = Vec::new();
        ask_links(&mut bytes, 3);
        ask_addresses(&mut bytes, 7, 4);
        let asked: Vec<_> = Messages::new(&bytes)
            .collect::<Result<_, _>>()
            .expect("whole");
        assert_eq!((asked[0].kind, asked[0].sequence), (RTM_GETLINK, 3));
        assert_eq!((asked[1].kind, asked[1].payload.len()), (RTM_GETADDR, 16));
        assert_eq!(read(&message(DONE, |_| {})), Ok(Some(Told::End)));
        assert_eq!(read(&message(40, |_| {})), Ok(None));
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let whole = veth(Some(7));
        for kept in HEADER_BYTES..whole.len() {
            let mut cut = whole.get(..kept).expect("shorter").to_vec();
            cut[..4].copy_from_slice(&u32::try_from(kept).expect("short").to_ne_bytes());
            if let Ok(Some(Told::Link(link))) = read(&cut) {
                // Between two attributes nothing says that more was to come.
                assert!(
                    kept >= HEADER_BYTES + LINK_BYTES && link.index == 9,
                    "{kept}"
                );
            }
        }
    }
}
