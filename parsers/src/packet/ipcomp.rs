//! Payload compressed by `IPComp` (RFC 3173) with DEFLATE (RFC 2394).

use flate2::{Decompress, FlushDecompress, Status};

use super::Look;
use super::bytes::{u8_at, u16_at};
use super::ip::Header;
use crate::error::Error;

/// `IPComp`'s number among the IP protocols.
pub(super) const PROTOCOL: u8 = 108;
/// Largest payload that is inflated, in bytes: what an IP packet can hold. A kilobyte of zeros
/// deflated is a megabyte.
const INFLATED_MAX: usize = 65_535;
/// The number of DEFLATE (RFC 2394 §2).
const DEFLATE: u16 = 2;
/// From here on, both ends agree on what a number stands for (RFC 3173 §3.3).
const NEGOTIATED: u16 = 256;

/// Payload that is to be inflated.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compressed<'b> {
    /// Its packet's header, with `IPComp` as the protocol.
    header: Header,
    /// The protocol of what is compressed.
    next: u8,
    payload: &'b [u8],
}

/// Looks at what an IP packet carries, if it is compressed in a way that can be read.
pub(super) fn look<'b>(
    header: &Header,
    payload: &'b [u8],
    missing: usize,
) -> Result<Option<Look<'b>>, Error> {
    if header.protocol != PROTOCOL || missing > 0 {
        return Ok(None);
    }
    let (Some(next), Some(number), Some(payload)) =
        (u8_at(payload, 0), u16_at(payload, 2), payload.get(4..))
    else {
        return Ok(None);
    };
    if number != DEFLATE && number < NEGOTIATED {
        return Ok(None);
    }
    let mut header = *header;
    header.way = header.way.deeper()?;
    Ok(Some(Look::Compressed(Compressed {
        header,
        next,
        payload,
    })))
}

/// Inflates payloads. Its memory, some 40 KiB, is there from the first one on.
#[derive(Debug, Default)]
pub(super) struct Inflater(Option<Box<Decompress>>);

impl Inflater {
    /// Writes what was compressed to `inflated` and gives the header in front of it. What is not
    /// DEFLATE from its first to its last byte, or longer than a packet, stays what it was: a packet of
    /// `IPComp`, of whose payload nothing is told.
    pub(super) fn inflate(
        &mut self,
        compressed: &Compressed<'_>,
        inflated: &mut Vec<u8>,
    ) -> Header {
        let Compressed {
            mut header,
            next,
            payload,
        } = *compressed;
        let decompress = self
            .0
            .get_or_insert_with(|| Box::new(Decompress::new(false)));
        decompress.reset(false);
        // It fills the room there is, and makes none.
        inflated.clear();
        inflated.reserve_exact(INFLATED_MAX);
        let status = decompress.decompress_vec(payload, inflated, FlushDecompress::Finish);
        let is_all = usize::try_from(decompress.total_in()) == Ok(payload.len());
        if matches!(status, Ok(Status::StreamEnd)) && is_all && inflated.len() <= INFLATED_MAX {
            header.protocol = next;
        } else {
            inflated.clear();
        }
        header
    }
}
