//! One capture, packet by packet.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Fault};
use crate::pcap::{self, Pcap};
use crate::pcapng::{self, Pcapng};
use crate::source::Source;

/// A captured packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'b> {
    /// Nanoseconds since 1970; 0 where the file has none.
    pub time_ns: u64,
    /// What the bytes begin with (<https://www.tcpdump.org/linktypes.html>).
    pub link_type: u32,
    /// Length on the wire in bytes.
    pub original_bytes: u32,
    /// Place in the file, from 1.
    pub number: u64,
    /// What was captured of it.
    pub data: &'b [u8],
}

/// What a file says of a packet beside its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    pub(crate) time_ns: u64,
    pub(crate) link_type: u32,
    pub(crate) original_bytes: u32,
}

enum Format {
    Pcap(Pcap),
    Pcapng(Box<Pcapng>),
}

/// One capture. The last packet read stays until the next one is.
pub struct Reader {
    source: Source,
    format: Format,
    data: Vec<u8>,
    present: Option<Meta>,
    number: u64,
}

/// Larger packets are damage: the largest snap length that programs accept is 256 KiB, and some
/// virtual interfaces hand over more.
const PACKET_MAX: u32 = 16 << 20;

impl Reader {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// When it cannot be opened or is no capture.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        if path.as_os_str() == "-" {
            return Self::new("standard input", std::io::stdin());
        }
        match File::open(path) {
            Ok(file) => Self::new(&name, file),
            Err(error) => Err(Error {
                file: name,
                offset: 0,
                fault: error.into(),
            }),
        }
    }

    /// Reads from anything; `name` is its name in errors.
    ///
    /// # Errors
    /// When it is no capture.
    pub fn new(name: &str, from: impl Read + Send + 'static) -> Result<Self, Error> {
        let mut source = Source::new(name.to_owned(), from)?;
        let magic: [u8; 4] = source.array("the file header")?;
        let format = if magic == [0x0a, 0x0d, 0x0d, 0x0a] {
            Format::Pcapng(Box::new(pcapng::open(&mut source)?))
        } else if let Some(pcap) = pcap::open(&mut source, magic)? {
            Format::Pcap(pcap)
        } else {
            let fault = pcap::known_variant(magic).unwrap_or(Fault::NotACapture(magic));
            return Err(Error {
                file: name.to_owned(),
                offset: 0,
                fault,
            });
        };
        Ok(Self {
            source,
            format,
            data: Vec::new(),
            present: None,
            number: 0,
        })
    }

    /// Reads the next packet; false at the end of the file.
    ///
    /// # Errors
    /// Where the file is damaged or ends too early. There is nothing to be read after that.
    pub fn advance(&mut self) -> Result<bool, Error> {
        self.present = None;
        let read = match &mut self.format {
            Format::Pcap(pcap) => pcap.read(&mut self.source, &mut self.data),
            Format::Pcapng(pcapng) => pcapng.read(&mut self.source, &mut self.data),
        };
        self.present = read?;
        self.number += u64::from(self.present.is_some());
        Ok(self.present.is_some())
    }

    /// The packet read last.
    pub fn packet(&self) -> Option<Packet<'_>> {
        let Meta {
            time_ns,
            link_type,
            original_bytes,
        } = self.present?;
        Some(Packet {
            time_ns,
            link_type,
            original_bytes,
            number: self.number,
            data: &self.data,
        })
    }

    /// Name of the file.
    pub fn file(&self) -> &str {
        self.source.file()
    }

    /// Bytes read so far, after decompression.
    pub fn offset(&self) -> u64 {
        self.source.offset()
    }
}

/// Reads the bytes of a packet.
pub(crate) fn bytes_of(
    source: &mut Source,
    data: &mut Vec<u8>,
    length: u32,
    what: &'static str,
) -> Result<(), Error> {
    if length > PACKET_MAX {
        let length = u64::from(length);
        return Err(source.error(Fault::Length { what, length }));
    }
    data.resize(length as usize, 0);
    source.fill(data, what)
}
