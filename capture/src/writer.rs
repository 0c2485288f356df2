//! Writes the classic format, with nanoseconds.

use std::io::{self, Write};

/// Writes packets of one link type.
#[derive(Debug)]
pub struct Writer<W> {
    to: W,
}

const MAGIC_NANOS: u32 = 0xa1b2_3c4d;
const SNAP_BYTES: u32 = 256 << 10;

impl<W: Write> Writer<W> {
    /// Writes the file header.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(mut to: W, link_type: u32) -> io::Result<Self> {
        to.write_all(&MAGIC_NANOS.to_le_bytes())?;
        to.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
        to.write_all(&SNAP_BYTES.to_le_bytes())?;
        to.write_all(&link_type.to_le_bytes())?;
        Ok(Self { to })
    }

    /// Writes a packet that was captured whole.
    ///
    /// # Errors
    /// When it cannot be written, or is larger than any packet.
    pub fn write(&mut self, time_ns: u64, data: &[u8]) -> io::Result<()> {
        let too_large = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let seconds = u32::try_from(time_ns / 1_000_000_000).unwrap_or(u32::MAX);
        let nanos = u32::try_from(time_ns % 1_000_000_000).unwrap_or_default();
        let length = u32::try_from(data.len()).map_err(too_large)?;
        for word in [seconds, nanos, length, length] {
            self.to.write_all(&word.to_le_bytes())?;
        }
        self.to.write_all(data)
    }

    /// Gives back what was written to.
    pub fn into_inner(self) -> W {
        self.to
    }
}
