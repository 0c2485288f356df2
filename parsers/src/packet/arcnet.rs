//! ARCNET: packets as they are (RFC 1051), and those that are cut into pieces (RFC 1201).

use std::collections::HashMap;

use super::bytes::{u8_at, u16_at};
use super::{Look, Way, ip};
use crate::error::{Error, Fault};

const SHORT: Error = Error::new(Fault::Truncated, "short-arcnet-header", "RFC 1201 §2");

/// How a capture has the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As on the wire: source, destination, protocol (`LINKTYPE_ARCNET_BSD`).
    Wire,
    /// With two bytes of an offset before the protocol (`LINKTYPE_ARCNET_LINUX`).
    Linux,
}

/// A piece of a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'b> {
    /// Who sent it; a sender sends one packet after the other.
    source: u8,
    protocol: u8,
    sequence: u16,
    place: Place,
    payload: &'b [u8],
}

/// What the split flag says (RFC 1201 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The first of so many.
    First(u8),
    /// One behind, counted from 2.
    Further(u8),
}

/// Looks at a frame.
pub(super) fn look(frame: &[u8], form: Form) -> Result<Look<'_>, Error> {
    /// In front of the header that counts there is one more, of frames that would be too short for
    /// their kind (RFC 1201 §3).
    const EXCEPTION: u8 = 0xff;
    let source = u8_at(frame, 0).ok_or(SHORT)?;
    let at = match form {
        Form::Wire => 2,
        Form::Linux => 4,
    };
    let soft = frame.get(at..).ok_or(SHORT)?;
    let protocol = u8_at(soft, 0).ok_or(SHORT)?;
    if is_rfc_1051(protocol) {
        return look_behind(protocol, soft.get(1..).ok_or(SHORT)?);
    }
    let soft = match u8_at(soft, 1).ok_or(SHORT)? {
        EXCEPTION => soft.get(4..).ok_or(SHORT)?,
        _ => soft,
    };
    let flag = u8_at(soft, 1).ok_or(SHORT)?;
    let sequence = u16_at(soft, 2).ok_or(SHORT)?;
    let payload = soft.get(4..).ok_or(SHORT)?;
    let place = match flag {
        0 => return look_behind(protocol, payload),
        flag if flag & 1 == 1 => Place::First(flag / 2 + 2),
        flag => Place::Further(flag / 2 + 1),
    };
    Ok(Look::Piece(Piece {
        source,
        protocol,
        sequence,
        place,
        payload,
    }))
}

/// Its IP and ARP are numbered below and have no header of RFC 1201.
fn is_rfc_1051(protocol: u8) -> bool {
    matches!(protocol, 0xf0 | 0xf1)
}

/// Looks at a whole packet of a protocol (RFC 1051, RFC 1201 §4, RFC 2497 §4).
pub(super) fn look_behind(protocol: u8, packet: &[u8]) -> Result<Look<'_>, Error> {
    match protocol {
        0xf0 | 0xd4 | 0xc4 => ip::look(packet, Way::default()),
        _ => Ok(Look::Nothing),
    }
}

/// Longest packet, in bytes: 129 pieces are no more.
const PACKET_MAX: usize = 65_535;

/// Packets of which pieces came, one of each sender of a ring; there are 256 at most.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    unfinished: HashMap<u8, Unfinished>,
    lost: u64,
}

#[derive(Debug)]
struct Unfinished {
    protocol: u8,
    sequence: u16,
    /// The piece that comes next, and the last.
    next: u8,
    last: u8,
    bytes: Vec<u8>,
}

impl Pieces {
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes a piece. When it makes its packet whole, that is written to `whole` and its protocol
    /// given back.
    pub(super) fn add(&mut self, piece: &Piece<'_>, whole: &mut Vec<u8>) -> Option<u8> {
        match piece.place {
            Place::First(last) => {
                self.begin(piece, last);
                None
            }
            Place::Further(number) => self.go_on(piece, number, whole),
        }
    }

    fn begin(&mut self, piece: &Piece<'_>, last: u8) {
        let Piece {
            protocol, sequence, ..
        } = *piece;
        if piece.payload.len() > PACKET_MAX {
            return;
        }
        let begun = Unfinished {
            protocol,
            sequence,
            next: 2,
            last,
            bytes: piece.payload.to_vec(),
        };
        let former = self.unfinished.insert(piece.source, begun);
        // Networks and captures repeat.
        if former.is_some_and(|former| former.sequence != sequence || former.next > 2) {
            self.lost += 1;
        }
    }

    /// Pieces come in order; one that does not fit ends what was begun.
    fn go_on(&mut self, piece: &Piece<'_>, number: u8, whole: &mut Vec<u8>) -> Option<u8> {
        let unfinished = self.unfinished.get_mut(&piece.source)?;
        let is_of_it =
            unfinished.protocol == piece.protocol && unfinished.sequence == piece.sequence;
        if is_of_it && number < unfinished.next {
            return None;
        }
        let length = unfinished.bytes.len() + piece.payload.len();
        if !is_of_it || number > unfinished.next || number > unfinished.last || length > PACKET_MAX
        {
            self.unfinished.remove(&piece.source);
            self.lost += 1;
            return None;
        }
        unfinished.bytes.extend_from_slice(piece.payload);
        unfinished.next = number.saturating_add(1);
        if number < unfinished.last {
            return None;
        }
        let finished = self.unfinished.remove(&piece.source)?;
        *whole = finished.bytes;
        Some(finished.protocol)
    }
}
