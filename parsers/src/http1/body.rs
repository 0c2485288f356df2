//! How long a body is, and where its chunks are.

#![deny(clippy::arithmetic_side_effects)]

use super::extension::Extension;
use crate::error::{Error, Fault};
use crate::limits::Limits;

/// How the end of a body is known (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// There is no body.
    None,
    /// As many bytes as Content-Length says.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Until the server closes.
    UntilClose,
}

/// Where in a chunked body we are (RFC 9112 §7.1). One byte at a time: any split is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Chunks {
    place: Place,
    /// Bytes of the present line, or of the whole trailer section.
    line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Place {
    /// In the size, before any extension; how many digits there were.
    Size { value: u64, digits: u8 },
    /// In an extension; where, if it is read strictly.
    Extension { value: u64, at: Extension },
    /// After the carriage return of a size line.
    SizeEnd { value: u64 },
    /// In the data.
    Data { left: u64 },
    /// At the carriage return after the data.
    DataEnd,
    /// At the line feed after the data.
    DataEnded,
    /// At the start of a trailer line, or of the last, empty one.
    TrailerStart,
    /// In a trailer line.
    Trailer,
    /// After the carriage return of a trailer line.
    TrailerEnd,
    /// After the carriage return of the last line.
    LastEnd,
    /// The body is complete.
    Done,
}

/// What one run over a chunked body found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    /// Bytes read, framing included.
    pub(super) consumed: usize,
    /// Payload bytes among them.
    pub(super) data: u64,
    /// Whether the body is complete.
    pub(super) is_last: bool,
}

impl Chunks {
    pub(super) const START: Self = Self {
        place: Place::Size {
            value: 0,
            digits: 0,
        },
        line: 0,
    };

    /// Reads on.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        is_strict: bool,
    ) -> Result<Run, Error> {
        let mut consumed: usize = 0;
        let mut data: u64 = 0;
        while let Some(rest) = bytes.get(consumed..) {
            if let Place::Data { left } = self.place {
                let here = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(left);
                if here == 0 {
                    break;
                }
                data = data.saturating_add(here);
                consumed = consumed.saturating_add(usize::try_from(here).unwrap_or(usize::MAX));
                let left = left.saturating_sub(here);
                self.place = if left == 0 {
                    Place::DataEnd
                } else {
                    Place::Data { left }
                };
                continue;
            }
            let Some(byte) = rest.first() else { break };
            consumed = consumed.saturating_add(1);
            self.line = self.line.saturating_add(1);
            self.place = self.next(*byte, is_strict)?;
            self.check_line(limits)?;
            if self.place == Place::Done {
                return Ok(Run {
                    consumed,
                    data,
                    is_last: true,
                });
            }
        }
        Ok(Run {
            consumed,
            data,
            is_last: false,
        })
    }

    fn check_line(&mut self, limits: &Limits) -> Result<(), Error> {
        let limit = match self.place {
            Place::Data { .. } | Place::DataEnd | Place::DataEnded => {
                self.line = 0;
                return Ok(());
            }
            Place::Size { .. } | Place::Extension { .. } | Place::SizeEnd { .. } => {
                limits.chunk_line_bytes
            }
            Place::TrailerStart
            | Place::Trailer
            | Place::TrailerEnd
            | Place::LastEnd
            | Place::Done => limits.trailer_bytes,
        };
        if self.line > limit {
            return Err(Error::new(
                Fault::TooLarge,
                "chunk-line-too-long",
                "RFC 9112 §7.1.1",
            ));
        }
        Ok(())
    }

    fn next(self, byte: u8, is_strict: bool) -> Result<Place, Error> {
        const BAD: Error = Error::new(Fault::Malformed, "bad-chunk", "RFC 9112 §7.1");
        const BAD_EXTENSION: Error =
            Error::new(Fault::Ambiguous, "bad-chunk-extension", "RFC 9112 §7.1.1");
        const BEGIN: Extension = Extension::BeforeName;
        const BARE_LF: Error = Error::new(Fault::Ambiguous, "bare-lf-in-chunk", "RFC 9112 §2.2");
        let bare = |place| if is_strict { Err(BARE_LF) } else { Ok(place) };
        match (self.place, byte) {
            (Place::Size { digits: 0, .. }, b'\r' | b'\n' | b';')
            | (Place::TrailerStart | Place::Trailer, 0) => Err(BAD),
            (Place::Extension { at, .. }, b'\r') if is_strict && !at.may_end() => {
                Err(BAD_EXTENSION)
            }
            (Place::Size { value, .. } | Place::Extension { value, .. }, b'\r') => {
                Ok(Place::SizeEnd { value })
            }
            (Place::Size { value, .. } | Place::Extension { value, .. }, b'\n') => {
                bare(after_size(value))
            }
            (Place::Size { value, .. }, b';') => Ok(Place::Extension { value, at: BEGIN }),
            (Place::Size { value, digits }, b' ' | b'\t') if digits > 0 && !is_strict => {
                Ok(Place::Extension { value, at: BEGIN })
            }
            (Place::Size { value, digits }, digit) => size_digit(value, digits, digit),
            (Place::Extension { value, at }, _) if is_strict => {
                let at = at.next(byte).ok_or(BAD_EXTENSION)?;
                Ok(Place::Extension { value, at })
            }
            (Place::Extension { .. }, _) => Ok(self.place),
            (Place::TrailerStart, b' ' | b'\t') if is_strict => Err(BAD),
            (Place::SizeEnd { value }, b'\n') => Ok(after_size(value)),
            (Place::DataEnd, b'\r') => Ok(Place::DataEnded),
            (Place::DataEnd, b'\n') => bare(Self::START.place),
            (Place::DataEnded, b'\n') => Ok(Self::START.place),
            (Place::TrailerStart, b'\r') => Ok(Place::LastEnd),
            (Place::TrailerStart, b'\n') => bare(Place::Done),
            (Place::Trailer, b'\r') => Ok(Place::TrailerEnd),
            (Place::Trailer, b'\n') => bare(Place::TrailerStart),
            (Place::TrailerStart | Place::Trailer, _) => Ok(Place::Trailer),
            (Place::TrailerEnd, b'\n') => Ok(Place::TrailerStart),
            (Place::LastEnd, b'\n') => Ok(Place::Done),
            (
                Place::SizeEnd { .. }
                | Place::DataEnd
                | Place::DataEnded
                | Place::TrailerEnd
                | Place::LastEnd
                | Place::Data { .. }
                | Place::Done,
                _,
            ) => Err(BAD),
        }
    }
}

/// Sixteen digits fill 64 bits; a seventeenth would wrap in somebody's parser.
fn size_digit(value: u64, digits: u8, digit: u8) -> Result<Place, Error> {
    const BAD: Error = Error::new(Fault::Malformed, "bad-chunk-size", "RFC 9112 §7.1");
    let digit = char::from(digit).to_digit(16).ok_or(BAD)?;
    if digits >= 16 {
        return Err(BAD);
    }
    let value = value
        .checked_mul(16)
        .and_then(|value| value.checked_add(u64::from(digit)));
    Ok(Place::Size {
        value: value.ok_or(BAD)?,
        digits: digits.saturating_add(1),
    })
}

fn after_size(value: u64) -> Place {
    if value == 0 {
        Place::TrailerStart
    } else {
        Place::Data { left: value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(input: &[u8], is_strict: bool) -> Result<(usize, u64, bool), Error> {
        let mut chunks = Chunks::START;
        let run = chunks.read(input, &Limits::default(), is_strict)?;
        Ok((run.consumed, run.data, run.is_last))
    }

    #[test]
    fn reads_chunks_extensions_and_trailers() {
        let body = b"5;name=value\r\nhello\r\n1\r\n!\r\n0\r\nx-sum: 1\r\n\r\nGET";
        assert_eq!(read_all(body, true), Ok((body.len() - 3, 6, true)));
    }

    #[test]
    fn strict_refuses_what_lenient_reads() {
        for body in [&b"5\nhello\r\n0\r\n\r\n"[..], b"5 \r\nhello\r\n0\r\n\r\n"] {
            assert!(read_all(body, true).is_err(), "{body:?}");
            assert!(read_all(body, false).is_ok_and(|(_, data, last)| data == 5 && last));
        }
    }

    #[test]
    fn strict_refuses_extensions_that_are_none() {
        for line in ["5;", "5; ", "5;a=", "5;a=\"b", "5;a\0", "5;a b"] {
            let body = format!("{line}\r\nhello\r\n0\r\n\r\n");
            let refused = read_all(body.as_bytes(), true).expect_err("a refusal");
            assert_eq!(refused.rule, "bad-chunk-extension", "{line}");
            assert_eq!(read_all(body.as_bytes(), false), Ok((body.len(), 5, true)));
        }
    }

    #[test]
    fn no_reading_accepts_bad_sizes() {
        for body in [
            &b"\r\n"[..],
            b"-1\r\n",
            b"0x5\r\n",
            b"+5\r\n",
            b"11111111111111111\r\n",
            b"5\r\nhelloX",
        ] {
            assert!(read_all(body, false).is_err(), "{body:?}");
        }
    }
}
