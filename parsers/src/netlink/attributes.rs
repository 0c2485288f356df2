//! Attributes: a kind and a value, which may be attributes again.

use super::{SECTION, padded};
use crate::error::{Error, Fault};

const HEADER_BYTES: usize = 4;
/// `NLA_F_NESTED`: the value is attributes.
const NESTED: u16 = 0x8000;
/// `NLA_TYPE_MASK`: what is left of a kind without its flags.
const KIND_MASK: u16 = 0x3fff;

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'b> {
    /// What it is, without the bits that tell of its value.
    pub kind: u16,
    /// The value.
    pub value: &'b [u8],
}

impl<'b> Attribute<'b> {
    /// The attributes that it holds.
    pub fn nested(&self) -> Attributes<'b> {
        Attributes::new(self.value)
    }

    /// A value of exactly so many bytes.
    pub fn array<const BYTES: usize>(&self) -> Result<[u8; BYTES], Error> {
        let fault = Error::new(Fault::Malformed, "attribute-size", SECTION);
        self.value.try_into().map_err(|_short| fault)
    }
}

/// Attributes one after the other; nothing follows a fault.
#[derive(Debug, Clone)]
pub struct Attributes<'b>(&'b [u8]);

impl<'b> Attributes<'b> {
    /// Reads attributes.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    fn read(&mut self) -> Option<Attribute<'b>> {
        let [l0, l1, k0, k1] = *self.0.first_chunk::<HEADER_BYTES>()?;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = self.0.get(HEADER_BYTES..length)?;
        self.0 = self.0.get(padded(length)..).unwrap_or_default();
        Some(Attribute {
            kind: u16::from_ne_bytes([k0, k1]) & KIND_MASK,
            value,
        })
    }
}

impl<'b> Iterator for Attributes<'b> {
    type Item = Result<Attribute<'b>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let attribute = self.read();
        if attribute.is_none() {
            self.0 = &[];
        }
        Some(attribute.ok_or(Error::new(Fault::Malformed, "attribute-length", SECTION)))
    }
}

/// Writes an attribute.
pub(super) fn write(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    framed(out, kind, |out| out.extend_from_slice(value));
}

/// Writes an attribute whose value is attributes.
pub(super) fn nest(out: &mut Vec<u8>, kind: u16, inside: impl FnOnce(&mut Vec<u8>)) {
    framed(out, kind | NESTED, inside);
}

/// The length is known when the value is there. Values are those of this crate: far below 64 KiB.
fn framed(out: &mut Vec<u8>, kind: u16, value: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&kind.to_ne_bytes());
    value(out);
    let length = u16::try_from(out.len().saturating_sub(start)).unwrap_or(u16::MAX);
    if let Some(room) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
        *room = length.to_ne_bytes();
    }
    out.resize(padded(out.len()), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut bytes = Vec::new();
        write(&mut bytes, 3, &[6]);
        nest(&mut bytes, 1, |out| write(out, 2, b"abcd"));
        assert_eq!(bytes.len() % 4, 0);
        let read: Vec<_> = Attributes::new(&bytes)
            .collect::<Result<_, _>>()
            .expect("whole");
        assert_eq!((read[0].kind, read[0].array()), (3, Ok([6])));
        let inside: Vec<_> = read[1].nested().collect::<Result<_, _>>().expect("whole");
        assert_eq!(
            (read[1].kind, inside[0].kind, inside[0].value),
            (1, 2, &b"abcd"[..])
        );
        assert!(inside[0].array::<3>().is_err());
    }

    #[test]
    fn a_length_that_is_none_ends_the_reading() {
        for length in [0_u16, 3, 9, u16::MAX] {
            let mut bytes = Vec::new();
            write(&mut bytes, 1, b"abcd");
            bytes[..2].copy_from_slice(&length.to_ne_bytes());
            let read: Vec<_> = Attributes::new(&bytes).collect();
            assert_eq!(read.len(), 1, "{length}");
            assert_eq!(read[0].expect_err("a fault").rule, "attribute-length");
        }
    }
}
