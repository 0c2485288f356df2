//! The classic format: a file header, then a record header before each packet.

use crate::error::{Error, Fault};
use crate::reader::{Meta, bytes_of};
use crate::source::Source;

/// How one file is to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pcap {
    is_big_endian: bool,
    nanos_per_fraction: u64,
    link_type: u32,
    /// Bytes of a record header beyond the usual sixteen.
    extra_bytes: usize,
}

const RECORD_BYTES: usize = 16;
/// Bytes that some variant has beyond them.
const EXTRA_MAX: usize = 8;

/// Reads the file header, or says that the bytes begin no such file.
pub(crate) fn open(source: &mut Source, magic: [u8; 4]) -> Result<Option<Pcap>, Error> {
    let is_big_endian = matches!(magic, [0xa1, ..]);
    let mut ordered = magic;
    if !is_big_endian {
        ordered.reverse();
    }
    let (nanos_per_fraction, extra_bytes) = match ordered {
        [0xa1, 0xb2, 0xc3, 0xd4] => (1000, 0),
        [0xa1, 0xb2, 0x3c, 0x4d] => (1, 0),
        // Kuznetzov's: interface, protocol and packet type follow in each record.
        [0xa1, 0xb2, 0xcd, 0x34] => (1000, EXTRA_MAX),
        _ => return Ok(None),
    };
    let rest: [u8; 20] = source.array("the file header")?;
    let [.., a, b, c, d] = rest;
    let network = number(is_big_endian, [a, b, c, d]);
    Ok(Some(Pcap {
        is_big_endian,
        nanos_per_fraction,
        // The upper bits tell of a frame check sequence, not of the link.
        link_type: network & 0x0fff_ffff,
        extra_bytes,
    }))
}

fn number(is_big_endian: bool, bytes: [u8; 4]) -> u32 {
    if is_big_endian {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    }
}

impl Pcap {
    /// Reads one packet into `data`.
    pub(crate) fn read(
        self,
        source: &mut Source,
        data: &mut Vec<u8>,
    ) -> Result<Option<Meta>, Error> {
        if source.is_at_end()? {
            return Ok(None);
        }
        let header: [u8; RECORD_BYTES] = source.array("a packet's header")?;
        let word = |at: usize| {
            let bytes = header.get(at..at + 4).and_then(|word| word.try_into().ok());
            number(self.is_big_endian, bytes.unwrap_or_default())
        };
        let (seconds, fraction, captured, original) = (word(0), word(4), word(8), word(12));
        let mut extra = [0; EXTRA_MAX];
        if let Some(extra) = extra.get_mut(..self.extra_bytes) {
            source.fill(extra, "a packet's header")?;
        }
        bytes_of(source, data, captured, "a packet")?;
        // A fraction of a second or more happens in broken files: it is added, like everybody does.
        let nanos = u64::from(fraction) * self.nanos_per_fraction;
        Ok(Some(Meta {
            time_ns: u64::from(seconds) * 1_000_000_000 + nanos,
            link_type: self.link_type,
            original_bytes: original.max(captured),
        }))
    }
}

/// Names of variants that are known and not read.
pub(crate) fn known_variant(magic: [u8; 4]) -> Option<Fault> {
    match magic {
        [0x52, 0x54, 0x53, 0x53] => Some(Fault::Variant("a NetXray or Sniffer capture")),
        [b's', b'n', b'o', b'o'] => Some(Fault::Variant("a snoop capture")),
        _ => None,
    }
}
