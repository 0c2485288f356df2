//! Why a capture cannot be read on.

use std::io;

/// Why a capture cannot be read on; everything before it was.
#[derive(Debug, thiserror::Error)]
#[error("{file}: at byte {offset}: {fault}")]
pub struct Error {
    /// The file, as the user named it.
    pub file: String,
    /// Where, in bytes from the beginning; of a compressed file, in what it holds.
    pub offset: u64,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The file cannot be opened or read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The first bytes are those of no capture.
    #[error("not a capture: a pcap or pcapng file begins otherwise (found {0:02x?})")]
    NotACapture([u8; 4]),
    /// The file ends inside of something.
    #[error("the file ends inside of {0}: it was cut off here")]
    CutOff(&'static str),
    /// A length that cannot be.
    #[error("{what} of {length} bytes: more than any program writes, so the file is damaged here")]
    Length {
        /// What has that length.
        what: &'static str,
        /// Bytes.
        length: u64,
    },
    /// A block that contradicts itself.
    #[error("{0}: the file is damaged here")]
    Damaged(&'static str),
    /// A variant that is known and not read.
    #[error("{0} is not read: convert it with `editcap -F pcapng`")]
    Variant(&'static str),
}
