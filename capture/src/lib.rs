//! Reads packet captures by streaming: pcap and pcapng in every byte order and resolution,
//! compressed (gzip, lz4, zstd) or not, many of them merged by time.
//!
//! ```text
//!   file or standard input ─▶ Source (compressed?) ─▶ pcap | pcapng ─▶ Reader ─┐
//!                                              ⋮                        ├─▶ Merge ─▶ Packet
//!                                                              Reader ─┘
//! ```
//!
//! Existing readers were looked at and not taken: a damaged file must give every packet up to the
//! damage and then say where the damage is, in bytes of the file, and a packet must be borrowed from
//! a buffer that is used again.

#![forbid(unsafe_code)]

mod error;
mod merge;
mod pcap;
mod pcapng;
mod reader;
mod source;
mod writer;

pub use error::{Error, Fault};
pub use merge::Merge;
pub use reader::{Packet, Reader};
pub use writer::Writer;
