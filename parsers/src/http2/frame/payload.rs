//! Payloads: one view per frame type, one section of RFC 9113 §6 each.

#![deny(clippy::arithmetic_side_effects)]

use super::{Flags, FrameHeader, Kind, STREAM_MASK, Violation};
use crate::http2::ErrorCode;

/// A whole frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'b> {
    /// RFC 9113 §6.1.
    Data {
        /// Payload of the message.
        data: &'b [u8],
        /// Padding after it, if the frame is padded.
        padding: Option<&'b [u8]>,
    },
    /// RFC 9113 §6.2.
    Headers {
        /// The deprecated priority fields.
        priority: Option<Priority>,
        /// The header block, or its first piece.
        fragment: &'b [u8],
        /// Padding after it, if the frame is padded.
        padding: Option<&'b [u8]>,
    },
    /// RFC 9113 §6.3.
    Priority(Priority),
    /// RFC 9113 §6.4.
    RstStream(ErrorCode),
    /// RFC 9113 §6.5.
    Settings(Settings<'b>),
    /// RFC 9113 §6.6.
    PushPromise {
        /// The stream that the response will come on.
        promised: u32,
        /// The header block of the request, or its first piece.
        fragment: &'b [u8],
        /// Padding after it, if the frame is padded.
        padding: Option<&'b [u8]>,
    },
    /// RFC 9113 §6.7.
    Ping([u8; 8]),
    /// RFC 9113 §6.8.
    GoAway {
        /// The last stream that was or will be looked at.
        last_stream: u32,
        /// Why.
        code: ErrorCode,
        /// For people.
        debug: &'b [u8],
    },
    /// RFC 9113 §6.9; in bytes.
    WindowUpdate(u32),
    /// RFC 9113 §6.10.
    Continuation {
        /// The next piece of a header block.
        fragment: &'b [u8],
    },
    /// RFC 9113 §5.5.
    Unknown {
        /// The number of its type.
        kind: u8,
        /// Its payload.
        payload: &'b [u8],
    },
}

/// What a stream depends on (RFC 9113 §5.3.2, deprecated).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Priority {
    /// The stream it depends on.
    pub dependency: u32,
    /// Whether it is the only one to.
    pub is_exclusive: bool,
    /// One less than the weight, as sent.
    pub weight: u8,
}

/// Identifiers and values, in order (RFC 9113 §6.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings<'b>(pub(super) &'b [u8]);

impl<'b> Settings<'b> {
    /// `SETTINGS_HEADER_TABLE_SIZE`, in bytes.
    pub const HEADER_TABLE_SIZE: u16 = 1;
    /// `SETTINGS_ENABLE_PUSH`.
    pub const ENABLE_PUSH: u16 = 2;
    /// `SETTINGS_MAX_CONCURRENT_STREAMS`.
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    /// `SETTINGS_INITIAL_WINDOW_SIZE`, in bytes.
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    /// `SETTINGS_MAX_FRAME_SIZE`, in bytes of payload.
    pub const MAX_FRAME_SIZE: u16 = 5;
    /// `SETTINGS_MAX_HEADER_LIST_SIZE`, in bytes.
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    /// `SETTINGS_ENABLE_CONNECT_PROTOCOL` (RFC 8441 §3).
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;

    /// The payload of a SETTINGS frame. Bytes after the last whole setting are not read.
    pub fn new(payload: &'b [u8]) -> Self {
        Self(payload)
    }

    /// Pairs of identifier and value.
    pub fn iter(&self) -> impl Iterator<Item = (u16, u32)> + Clone + use<'b> {
        let (settings, _) = self.0.as_chunks::<6>();
        settings.iter().map(|setting| {
            let [i0, i1, v0, v1, v2, v3] = *setting;
            (
                u16::from_be_bytes([i0, i1]),
                u32::from_be_bytes([v0, v1, v2, v3]),
            )
        })
    }

    /// The value that counts: of several, the last.
    pub fn value(&self, identifier: u16) -> Option<u32> {
        let values = self.iter().filter(|(known, _)| *known == identifier);
        values.last().map(|(_, value)| value)
    }

    /// Settings in the payload.
    pub fn len(&self) -> usize {
        self.0.len() / 6
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// RFC 9113 §6.5.2.
    fn check(self) -> Result<(), Violation> {
        const SECTION: &str = "RFC 9113 §6.5.2";
        let bad = |code, rule| Err(Violation::connection(code, rule, SECTION));
        for (identifier, value) in self.iter() {
            match (identifier, value) {
                (Self::ENABLE_PUSH, 2..) => {
                    return bad(ErrorCode::PROTOCOL_ERROR, "bad-enable-push");
                }
                (Self::INITIAL_WINDOW_SIZE, 0x8000_0000..) => {
                    return bad(ErrorCode::FLOW_CONTROL_ERROR, "bad-initial-window-size");
                }
                (Self::MAX_FRAME_SIZE, 0..0x4000 | 0x0100_0000..) => {
                    return bad(ErrorCode::PROTOCOL_ERROR, "bad-max-frame-size");
                }
                (Self::ENABLE_CONNECT_PROTOCOL, 2..) => {
                    return Err(Violation::connection(
                        ErrorCode::PROTOCOL_ERROR,
                        "bad-enable-connect-protocol",
                        "RFC 8441 §3",
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Priority {
    pub(super) const BYTES: usize = 5;

    fn read(bytes: [u8; Self::BYTES]) -> Self {
        let [d0, d1, d2, d3, weight] = bytes;
        let word = u32::from_be_bytes([d0, d1, d2, d3]);
        Self {
            dependency: word & STREAM_MASK,
            is_exclusive: word & !STREAM_MASK != 0,
            weight,
        }
    }

    /// RFC 7540 §5.3.1; RFC 9113 keeps no more than the fields.
    fn check(self, stream: u32) -> Result<(), Violation> {
        if self.dependency == stream {
            return Err(Violation::stream(
                ErrorCode::PROTOCOL_ERROR,
                "stream-depends-on-itself",
                "RFC 7540 §5.3.1",
            ));
        }
        Ok(())
    }
}

impl<'b> Frame<'b> {
    /// Reads a whole payload: the bytes that [`FrameHeader::length`] counts.
    ///
    /// # Errors
    /// When it breaks a rule of its section. A stream's violation still has been read whole.
    pub fn read(header: FrameHeader, payload: &'b [u8]) -> Result<Self, Violation> {
        header.check()?;
        let short = || {
            let section = header.section();
            Violation::connection(ErrorCode::FRAME_SIZE_ERROR, "frame-of-wrong-size", section)
        };
        Ok(match header.kind {
            Kind::Data => {
                let (data, padding) = unpad(header, payload)?;
                Self::Data { data, padding }
            }
            Kind::Headers => read_headers(header, payload)?,
            Kind::Priority => {
                let priority = Priority::read(*payload.first_chunk().ok_or_else(short)?);
                priority.check(header.stream)?;
                Self::Priority(priority)
            }
            Kind::RstStream => Self::RstStream(ErrorCode(word(payload).ok_or_else(short)?)),
            Kind::Settings => {
                let settings = Settings(payload);
                settings.check()?;
                Self::Settings(settings)
            }
            Kind::PushPromise => read_push_promise(header, payload)?,
            Kind::Ping => Self::Ping(*payload.first_chunk().ok_or_else(short)?),
            Kind::GoAway => {
                let (head, debug) = payload.split_at_checked(8).ok_or_else(short)?;
                Self::GoAway {
                    last_stream: word(head).ok_or_else(short)? & STREAM_MASK,
                    code: ErrorCode(head.get(4..).and_then(word).ok_or_else(short)?),
                    debug,
                }
            }
            Kind::WindowUpdate => {
                let increment = word(payload).ok_or_else(short)? & STREAM_MASK;
                check_increment(header.stream, increment)?;
                Self::WindowUpdate(increment)
            }
            Kind::Continuation => Self::Continuation { fragment: payload },
            Kind::Unknown(kind) => Self::Unknown { kind, payload },
        })
    }
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_be_bytes)
}

pub(super) const fn too_much_padding(section: &'static str) -> Violation {
    Violation::connection(ErrorCode::PROTOCOL_ERROR, "too-much-padding", section)
}

/// Takes the padding off, its length in front too.
fn unpad(header: FrameHeader, payload: &[u8]) -> Result<(&[u8], Option<&[u8]>), Violation> {
    if !header.flags.has(Flags::PADDED) {
        return Ok((payload, None));
    }
    let section = header.section();
    let (length, rest) = payload.split_first().ok_or(Violation::connection(
        ErrorCode::FRAME_SIZE_ERROR,
        "frame-of-wrong-size",
        section,
    ))?;
    let end = rest.len().checked_sub(usize::from(*length));
    let (inner, padding) = end
        .and_then(|end| rest.split_at_checked(end))
        .ok_or(too_much_padding(section))?;
    Ok((inner, Some(padding)))
}

fn read_headers(header: FrameHeader, payload: &[u8]) -> Result<Frame<'_>, Violation> {
    let (inner, padding) = unpad(header, payload)?;
    if !header.flags.has(Flags::PRIORITY) {
        return Ok(Frame::Headers {
            priority: None,
            fragment: inner,
            padding,
        });
    }
    let (priority, fragment) = inner.split_first_chunk().ok_or(Violation::connection(
        ErrorCode::FRAME_SIZE_ERROR,
        "frame-of-wrong-size",
        header.section(),
    ))?;
    // That the stream does not depend on itself is not checked: the block must be read anyway.
    Ok(Frame::Headers {
        priority: Some(Priority::read(*priority)),
        fragment,
        padding,
    })
}

fn read_push_promise(header: FrameHeader, payload: &[u8]) -> Result<Frame<'_>, Violation> {
    let (inner, padding) = unpad(header, payload)?;
    let section = header.section();
    let (promised, fragment) = inner.split_first_chunk().ok_or(Violation::connection(
        ErrorCode::FRAME_SIZE_ERROR,
        "frame-of-wrong-size",
        section,
    ))?;
    let promised = u32::from_be_bytes(*promised) & STREAM_MASK;
    // Streams of the server have even numbers (RFC 9113 §5.1.1).
    if promised == 0 || promised & 1 == 1 {
        return Err(Violation::connection(
            ErrorCode::PROTOCOL_ERROR,
            "bad-promised-stream",
            section,
        ));
    }
    Ok(Frame::PushPromise {
        promised,
        fragment,
        padding,
    })
}

fn check_increment(stream: u32, increment: u32) -> Result<(), Violation> {
    if increment != 0 {
        return Ok(());
    }
    let violation = if stream == 0 {
        Violation::connection
    } else {
        Violation::stream
    };
    Err(violation(
        ErrorCode::PROTOCOL_ERROR,
        "window-update-of-zero",
        "RFC 9113 §6.9",
    ))
}
