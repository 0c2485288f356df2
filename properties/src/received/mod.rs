//! A frame as the stack of a Linux host reads it, written without a look at the kernel programs: what
//! they decide is held against it.
//!
//! Where the stack may be set up to take more or less (checksums, source routes, options of extension
//! headers), this one takes more: it must never call harmless what some receiver takes in.

mod headers;
mod reassembly;

use std::net::IpAddr;

pub use reassembly::Reassembly;

/// What a frame is to a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// Nothing that it takes in, and why.
    Refused(&'static str),
    /// A part of a datagram.
    Fragment(Fragment),
    /// A datagram.
    Whole(Datagram),
}

/// A part of a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Fragments with the same are of one datagram.
    pub key: (IpAddr, IpAddr, u8, u32),
    /// Where its bytes belong.
    pub offset: usize,
    /// Whether there is more behind it.
    pub has_more: bool,
    /// What its bytes begin with, where they are the first.
    pub protocol: u8,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// Who sent it.
    pub source: IpAddr,
    /// Who is to get it.
    pub destination: IpAddr,
    /// What it carries.
    pub transport: Transport,
}

/// What a datagram carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Source port, destination port, flags.
    Tcp(u16, u16, u8),
    /// Source port, destination port.
    Udp(u16, u16),
    /// Source port, destination port.
    Sctp(u16, u16),
    /// Type, code, and what stands where an echo has its identifier.
    Icmp(u8, u8, u16),
    /// The same of ICMP for IPv6.
    IcmpV6(u8, u8, u16),
    /// Any other protocol.
    Other(u8),
}

impl Transport {
    /// Protocol number.
    pub fn protocol(self) -> u8 {
        match self {
            Self::Icmp(..) => 1,
            Self::Tcp(..) => 6,
            Self::Udp(..) => 17,
            Self::IcmpV6(..) => 58,
            Self::Sctp(..) => 132,
            Self::Other(number) => number,
        }
    }

    /// Where there are any: ports of the sender and of the receiver.
    pub fn ports(self) -> Option<(u16, u16)> {
        match self {
            Self::Tcp(source, destination, _)
            | Self::Udp(source, destination)
            | Self::Sctp(source, destination) => Some((source, destination)),
            Self::Icmp(..) | Self::IcmpV6(..) | Self::Other(_) => None,
        }
    }
}

/// Reads an Ethernet frame. Behind tags of VLANs there is a receiver as well.
pub fn read(frame: &[u8]) -> Received {
    headers::read(frame)
}

/// Whether a frame has tags of VLANs in front of what it carries.
pub fn is_tagged(frame: &[u8]) -> bool {
    headers::ethertype(frame).is_some_and(|kind| headers::TAGS.contains(&kind))
}

/// How many extension headers an IPv6 packet has in front of what it carries, fragments' ones among
/// them.
pub fn extensions(frame: &[u8]) -> usize {
    headers::extensions(frame)
}
