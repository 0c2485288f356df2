//! Netlink: what a process and the kernel tell each other in messages of attributes. Numbers are in
//! the host's byte order, but for those that netfilter marks as the network's.
//!
//! ```text
//!   length:u32 kind:u16 flags:u16 sequence:u32 port:u32 │ payload, to a multiple of four
//!   attribute: length:u16 kind:u16 │ value, to a multiple of four
//! ```
//!
//! The layout is that of the kernel's `linux/netlink.h`.

#![deny(clippy::arithmetic_side_effects)]

mod attributes;
pub mod conntrack;
pub mod nftrace;
pub mod route;

pub use attributes::{Attribute, Attributes};

use crate::error::{Error, Fault};

const SECTION: &str = "linux/netlink.h";
const HEADER_BYTES: usize = 16;
const NLMSG_ERROR: u16 = 2;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'b> {
    /// What it is: below 16 netlink's own, else the family's.
    pub kind: u16,
    /// `NLM_F_*` bits.
    pub flags: u16,
    /// Number of the request that it answers.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'b [u8],
}

impl Message<'_> {
    /// The error number (positive, as in `errno.h`) of a message that says that a request failed; 0
    /// acknowledges one. `None` of any other message.
    pub fn error(&self) -> Option<u32> {
        let number = self
            .payload
            .first_chunk()
            .filter(|_| self.kind == NLMSG_ERROR)?;
        Some(i32::from_ne_bytes(*number).unsigned_abs())
    }
}

/// The messages of a datagram, one after the other; nothing follows a fault.
#[derive(Debug, Clone)]
pub struct Messages<'b>(&'b [u8]);

impl<'b> Messages<'b> {
    /// Reads a datagram.
    pub fn new(datagram: &'b [u8]) -> Self {
        Self(datagram)
    }

    fn read(&mut self) -> Option<Message<'b>> {
        let length: &[u8; 4] = self.0.first_chunk()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        let whole = self.0.get(..length)?;
        let (header, payload) = whole.split_first_chunk::<HEADER_BYTES>()?;
        let [_, _, _, _, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        // The last message may lack its padding.
        self.0 = self.0.get(padded(length)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            payload,
        })
    }
}

impl<'b> Iterator for Messages<'b> {
    type Item = Result<Message<'b>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let message = self.read();
        if message.is_none() {
            self.0 = &[];
        }
        Some(message.ok_or(Error::new(Fault::Malformed, "netlink-length", SECTION)))
    }
}

/// Up to the next multiple of four.
fn padded(length: usize) -> usize {
    length.checked_next_multiple_of(4).unwrap_or(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_BYTES.saturating_add(payload.len())).expect("short");
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(0_u16.to_ne_bytes());
        bytes.extend(7_u32.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn messages_of_a_datagram_come_one_by_one() {
        let mut datagram = message(2, &(-2_i32).to_ne_bytes());
        datagram.extend(message(3, b"abcde"));
        let read: Vec<_> = Messages::new(&datagram)
            .collect::<Result<_, _>>()
            .expect("whole");
        assert_eq!((read[0].error(), read[0].sequence), (Some(2), 7));
        assert_eq!((read[1].error(), read[1].payload), (None, &b"abcde"[..]));
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn a_length_that_is_none_ends_the_reading() {
        for length in [0_u32, 15, 21, u32::MAX] {
            let mut datagram = message(3, &[0; 4]);
            datagram[..4].copy_from_slice(&length.to_ne_bytes());
            let read: Vec<_> = Messages::new(&datagram).collect();
            let error = read[0].expect_err("a fault");
            assert_eq!((read.len(), error.rule), (1, "netlink-length"), "{length}");
        }
    }
}
