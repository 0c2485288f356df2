//! Bytes of a file, decompressed if need be, with the position kept.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;
use ruzstd::decoding::StreamingDecoder;

use crate::error::{Error, Fault};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const LZ4: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BUFFER_BYTES: usize = 256 << 10;

/// Bytes of one capture.
pub(crate) struct Source {
    file: String,
    from: Box<dyn BufRead + Send>,
    offset: u64,
}

fn buffered(from: impl Read + Send + 'static) -> Box<dyn BufRead + Send> {
    Box::new(BufReader::with_capacity(BUFFER_BYTES, from))
}

impl Source {
    pub(crate) fn new(file: String, from: impl Read + Send + 'static) -> Result<Self, Error> {
        let mut from = BufReader::with_capacity(BUFFER_BYTES, from);
        let start = from.fill_buf().map_err(|error| Error {
            file: file.clone(),
            offset: 0,
            fault: error.into(),
        })?;
        let from: Box<dyn BufRead + Send> = if start.starts_with(&GZIP) {
            buffered(MultiGzDecoder::new(from))
        } else if start.starts_with(&LZ4) {
            buffered(FrameDecoder::new(from))
        } else if start.starts_with(&ZSTD) {
            let decoder = StreamingDecoder::new(from).map_err(|error| Error {
                file: file.clone(),
                offset: 0,
                fault: io::Error::other(error).into(),
            })?;
            buffered(decoder)
        } else {
            Box::new(from)
        };
        Ok(Self {
            file,
            from,
            offset: 0,
        })
    }

    /// Name of the file.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Bytes read so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// An error at this place.
    pub(crate) fn error(&self, fault: impl Into<Fault>) -> Error {
        Error {
            file: self.file.clone(),
            offset: self.offset,
            fault: fault.into(),
        }
    }

    /// Whether the file has ended.
    pub(crate) fn is_at_end(&mut self) -> Result<bool, Error> {
        match self.from.fill_buf() {
            Ok(bytes) => Ok(bytes.is_empty()),
            Err(error) => Err(self.error(error)),
        }
    }

    /// Exactly `N` bytes of `what`.
    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    /// Fills `into` with bytes of `what`.
    pub(crate) fn fill(&mut self, into: &mut [u8], what: &'static str) -> Result<(), Error> {
        match self.from.read_exact(into) {
            Ok(()) => {
                self.offset += into.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.error(Fault::CutOff(what)))
            }
            Err(error) => Err(self.error(error)),
        }
    }
}
