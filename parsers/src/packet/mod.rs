//! A captured frame, seen as what it carries: addresses, ports and payload of the innermost packet.
//!
//! ```text
//!   link ─▶ VLAN, MPLS, PPP… ─▶ IP ─▶ transport ─▶ Packet
//!    ▲                          │ │
//!    └── tunnel: VXLAN, GRE… ◀──┘ └─▶ fragment ─▶ kept until the datagram is whole
//! ```
//!
//! Everything is borrowed from the frame; only the datagrams of fragments are put together in
//! memory, and that is bounded.

mod bytes;
mod encapsulation;
mod fragments;
mod ip;
mod link;
mod transport;
mod tunnel;

use std::net::IpAddr;

pub use encapsulation::{Encapsulation, Tunnel, TunnelKind, Vlan};
pub use fragments::FragmentLimits;
use fragments::{Fragment, Fragments};
use ip::Header;
pub use transport::{Sctp, Tcp, TcpFlags, Transport, Udp};

use crate::error::{Error, Fault};

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'b> {
    /// Who sent it.
    pub source: IpAddr,
    /// Who is to get it.
    pub destination: IpAddr,
    /// What is in it.
    pub transport: Transport<'b>,
    /// What it came packed in.
    pub encapsulation: Encapsulation,
}

/// What was passed on the way to the innermost packet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Way {
    encapsulation: Encapsulation,
    /// Headers passed: no packet is packed deeper than [`DEPTH_MAX`].
    depth: u8,
}

const DEPTH_MAX: u8 = 16;

impl Way {
    fn deeper(mut self) -> Result<Self, Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Error::new(
                Fault::TooLarge,
                "packed-too-deep",
                "RFC 2473 §4.1.1",
            ));
        }
        Ok(self)
    }
}

/// What one look at a frame gave.
enum Look<'b> {
    Packet(Packet<'b>),
    Fragment(Fragment<'b>),
    /// Well-formed, and no IP packet.
    Nothing,
}

/// Reads frames; keeps fragments until their datagrams are whole.
#[derive(Debug)]
pub struct Frames {
    fragments: Fragments,
    datagram: Vec<u8>,
}

impl Frames {
    /// Nothing read yet.
    pub fn new(limits: FragmentLimits) -> Self {
        Self {
            fragments: Fragments::new(limits),
            datagram: Vec::new(),
        }
    }

    /// Reads a frame that begins as `link_type` says
    /// (<https://www.tcpdump.org/linktypes.html>), captured at `time_ns`. Gives nothing for what is no
    /// IP packet, and for fragments that do not make a datagram whole.
    ///
    /// # Errors
    /// When a header is broken or cut off.
    pub fn read<'b>(
        &'b mut self,
        link_type: u32,
        frame: &'b [u8],
        time_ns: u64,
    ) -> Result<Option<Packet<'b>>, Error> {
        let fragment = match link::look(link_type, frame)? {
            Look::Packet(packet) => return Ok(Some(packet)),
            Look::Nothing => return Ok(None),
            Look::Fragment(fragment) => fragment,
        };
        let Some(header) = self.complete(&fragment, time_ns)? else {
            return Ok(None);
        };
        match ip::look_behind(&header, &self.datagram, 0)? {
            Look::Packet(packet) => Ok(Some(packet)),
            Look::Nothing | Look::Fragment(_) => Ok(None),
        }
    }

    /// Puts a datagram together in `self.datagram`, if this is its last missing fragment. What was in
    /// a tunnel may have been fragmented once more.
    fn complete(&mut self, fragment: &Fragment<'_>, time_ns: u64) -> Result<Option<Header>, Error> {
        let added = self.fragments.add(fragment, time_ns, &mut self.datagram);
        let Some(mut header) = added else {
            return Ok(None);
        };
        while let Look::Fragment(inner) = ip::look_behind(&header, &self.datagram, 0)? {
            let mut whole = Vec::new();
            match self.fragments.add(&inner, time_ns, &mut whole) {
                None => return Ok(None),
                Some(next) => header = next,
            }
            self.datagram = whole;
        }
        Ok(Some(header))
    }

    /// Datagrams whose fragments were given up: too old, too many, or overlapping.
    pub fn lost_datagrams(&self) -> u64 {
        self.fragments.lost()
    }
}
