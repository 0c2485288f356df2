//! A place in a message, and the end it may not pass.

#![deny(clippy::arithmetic_side_effects)]

use super::name::Name;
use crate::error::{Error, Fault};

/// The message, or a part with a length of its own, ends before the field does.
pub(super) const CUT: Error = Error::new(Fault::Truncated, "dns-cut-short", "RFC 1035 §4.1");

/// Reads forward through a message. Names may point back to anywhere before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'b> {
    message: &'b [u8],
    at: usize,
    end: usize,
}

impl<'b> Reader<'b> {
    /// From `at` to `end`, or to the end of the message if that is nearer.
    pub(super) fn new(message: &'b [u8], at: usize, end: usize) -> Self {
        Self {
            message,
            at,
            end: end.min(message.len()),
        }
    }

    /// Offset in the message.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.end
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'b [u8], Error> {
        let stop = self.at.saturating_add(count);
        if stop > self.end {
            return Err(CUT);
        }
        let bytes = self.message.get(self.at..stop).ok_or(CUT)?;
        self.at = stop;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.take(N)?;
        bytes.first_chunk().copied().ok_or(CUT)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    /// What is left.
    pub(super) fn rest(&mut self) -> &'b [u8] {
        let rest = self.message.get(self.at..self.end).unwrap_or_default();
        self.at = self.end;
        rest
    }

    /// The message up to here.
    pub(super) fn behind(&self) -> &'b [u8] {
        self.message.get(..self.at).unwrap_or_default()
    }

    /// A `<character-string>` (RFC 1035 §3.3): a length byte and that many bytes.
    pub(super) fn string(&mut self) -> Result<&'b [u8], Error> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A name that was not looked at before.
    pub(super) fn name(&mut self) -> Result<Name<'b>, Error> {
        let (name, after) = Name::read(self.message, self.at)?;
        if after > self.end {
            return Err(CUT);
        }
        self.at = after;
        Ok(name)
    }

    /// A name that [`Reader::name`] took before.
    pub(super) fn known_name(&mut self) -> Result<Name<'b>, Error> {
        let (name, after) = Name::known(self.message, self.at).ok_or(CUT)?;
        self.at = after;
        Ok(name)
    }
}
