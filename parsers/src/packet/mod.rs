//! A captured frame, seen as what it carries: addresses, ports and payload of the innermost packet.
//!
//! ```text
//!   link ─▶ VLAN, MPLS, PPP… ─▶ IP ─▶ transport ─▶ Packet
//!    ▲                          │ │
//!    └── tunnel: VXLAN, GRE… ◀──┘ ├─▶ fragment ─▶ kept until the datagram is whole
//!                                 └─▶ IPComp ─▶ inflated
//! ```
//!
//! Everything is borrowed from the frame; only what was cut into fragments or compressed is put
//! together in memory, and that is bounded.

mod arcnet;
mod bytes;
mod encapsulation;
mod fragments;
mod ip;
mod ipcomp;
mod link;
mod transport;
mod tunnel;

use std::net::IpAddr;

pub use encapsulation::{Encapsulation, Tunnel, TunnelKind, Vlan};
pub use fragments::FragmentLimits;
use fragments::{Fragment, Fragments};
use ip::Header;
use ipcomp::Inflater;
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
    Compressed(ipcomp::Compressed<'b>),
    Fragment(Fragment<'b>),
    /// Of a packet that the link layer has cut.
    Piece(arcnet::Piece<'b>),
    /// Well-formed, and no IP packet.
    Nothing,
}

/// Reads frames; keeps fragments until their datagrams are whole.
#[derive(Debug)]
pub struct Frames {
    pieces: arcnet::Pieces,
    /// A packet made of pieces.
    joined: Vec<u8>,
    unpacking: Unpacking,
    /// What was unpacked.
    datagram: Vec<u8>,
}

impl Frames {
    /// Nothing read yet.
    pub fn new(limits: FragmentLimits) -> Self {
        Self {
            pieces: arcnet::Pieces::default(),
            joined: Vec::new(),
            unpacking: Unpacking {
                fragments: Fragments::new(limits),
                inflater: Inflater::default(),
            },
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
        let look = match link::look(link_type, frame)? {
            Look::Piece(piece) => match self.pieces.add(&piece, &mut self.joined) {
                Some(protocol) => arcnet::look_behind(protocol, &self.joined)?,
                None => return Ok(None),
            },
            look => look,
        };
        if let Look::Packet(packet) = look {
            return Ok(Some(packet));
        }
        let datagram = &mut self.datagram;
        let Some(header) = self.unpacking.unpack_all(&look, time_ns, datagram)? else {
            return Ok(None);
        };
        match ip::look_behind(&header, datagram, 0)? {
            Look::Packet(packet) => Ok(Some(packet)),
            _ => Ok(None),
        }
    }

    /// Datagrams whose fragments were given up: too old, too many, or overlapping.
    pub fn lost_datagrams(&self) -> u64 {
        self.unpacking.fragments.lost() + self.pieces.lost()
    }
}

/// What makes packets of fragments and of compressed payload.
#[derive(Debug)]
struct Unpacking {
    fragments: Fragments,
    inflater: Inflater,
}

impl Unpacking {
    /// Writes to `datagram` what such a packet carries, if all of it is there. What was in a tunnel may
    /// have been fragmented or compressed once more.
    fn unpack_all(
        &mut self,
        look: &Look<'_>,
        time_ns: u64,
        datagram: &mut Vec<u8>,
    ) -> Result<Option<Header>, Error> {
        let Some(mut header) = self.unpack(look, time_ns, datagram) else {
            return Ok(None);
        };
        loop {
            let look = ip::look_behind(&header, datagram, 0)?;
            if matches!(look, Look::Packet(_)) {
                return Ok(Some(header));
            }
            let mut inner = Vec::new();
            match self.unpack(&look, time_ns, &mut inner) {
                None => return Ok(None),
                Some(next) => header = next,
            }
            *datagram = inner;
        }
    }

    fn unpack(&mut self, look: &Look<'_>, time_ns: u64, datagram: &mut Vec<u8>) -> Option<Header> {
        match look {
            Look::Compressed(compressed) => Some(self.inflater.inflate(compressed, datagram)),
            Look::Fragment(fragment) => self.fragments.add(fragment, time_ns, datagram),
            Look::Nothing | Look::Packet(_) | Look::Piece(_) => None,
        }
    }
}
