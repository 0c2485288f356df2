//! Frames (RFC 9113 §4, §6): headers, typed views of payloads, and the writing of both.

#![deny(clippy::arithmetic_side_effects)]

mod payload;
mod write;

pub use payload::{Frame, Priority, Settings};

use super::ErrorCode;
use crate::error::{Error, Fault};

/// What a frame is (RFC 9113 §11.2 and the registry it made).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Payload of a message.
    Data,
    /// Begins a message, or is its trailers.
    Headers,
    /// Deprecated.
    Priority,
    /// Ends a stream at once.
    RstStream,
    /// How its sender wants to be spoken to.
    Settings,
    /// A request that the server makes up.
    PushPromise,
    /// A question for life.
    Ping,
    /// No new streams.
    GoAway,
    /// Room for more payload.
    WindowUpdate,
    /// Goes on with a header block.
    Continuation,
    /// An extension such as ALTSVC (10), ORIGIN (12) or `PRIORITY_UPDATE` (16).
    Unknown(u8),
}

impl From<u8> for Kind {
    fn from(number: u8) -> Self {
        match number {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::RstStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            other => Self::Unknown(other),
        }
    }
}

impl From<Kind> for u8 {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Data => 0,
            Kind::Headers => 1,
            Kind::Priority => 2,
            Kind::RstStream => 3,
            Kind::Settings => 4,
            Kind::PushPromise => 5,
            Kind::Ping => 6,
            Kind::GoAway => 7,
            Kind::WindowUpdate => 8,
            Kind::Continuation => 9,
            Kind::Unknown(number) => number,
        }
    }
}

/// The flags of a frame; which of them mean something depends on its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Acknowledges SETTINGS or PING.
    pub const ACK: Self = Self(0x1);
    /// The sender's last frame of the stream with payload or fields.
    pub const END_STREAM: Self = Self(0x1);
    /// The header block ends here.
    pub const END_HEADERS: Self = Self(0x4);
    /// A length of padding stands in front, the padding at the end.
    pub const PADDED: Self = Self(0x8);
    /// HEADERS with the deprecated priority fields.
    pub const PRIORITY: Self = Self(0x20);

    /// Whether any of those is set.
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// With those set too.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    /// With those cleared.
    #[must_use]
    pub const fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }
}

/// The nine bytes in front of a payload (RFC 9113 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameHeader {
    /// Payload bytes, below 2²⁴.
    pub length: u32,
    /// What the payload is.
    pub kind: Kind,
    /// Flags as sent.
    pub flags: Flags,
    /// Stream identifier without the reserved bit; zero is the connection.
    pub stream: u32,
}

impl FrameHeader {
    /// Length of a frame header.
    pub const BYTES: usize = 9;

    /// Reads the header at the front; `None` if it is not complete.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes.first_chunk::<{ Self::BYTES }>()?;
        Some(Self {
            length: u32::from_be_bytes([0, l0, l1, l2]),
            kind: Kind::from(kind),
            flags: Flags(flags),
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & STREAM_MASK,
        })
    }

    /// Appends the header. A length of 2²⁴ or more is cut: callers split before.
    pub fn write(&self, out: &mut Vec<u8>) {
        let [_, l0, l1, l2] = self.length.to_be_bytes();
        let [s0, s1, s2, s3] = (self.stream & STREAM_MASK).to_be_bytes();
        let kind = u8::from(self.kind);
        out.extend_from_slice(&[l0, l1, l2, kind, self.flags.0, s0, s1, s2, s3]);
    }

    /// Payload bytes as a number of the machine.
    pub fn payload_bytes(&self) -> usize {
        self.length as usize
    }

    /// Header and payload together.
    pub fn frame_bytes(&self) -> usize {
        self.payload_bytes().saturating_add(Self::BYTES)
    }

    /// Checks what the header alone tells: that the kind may stand on that stream, and fixed sizes.
    ///
    /// # Errors
    /// Names the rule; [`Kind::Unknown`] is never wrong (RFC 9113 §5.5).
    pub fn check(&self) -> Result<(), Violation> {
        use Kind as K;
        let needs_stream = match self.kind {
            K::Data
            | K::Headers
            | K::Priority
            | K::RstStream
            | K::PushPromise
            | K::Continuation => Some(true),
            K::Settings | K::Ping | K::GoAway => Some(false),
            K::WindowUpdate | K::Unknown(_) => None,
        };
        if needs_stream.is_some_and(|needed| needed != (self.stream != 0)) {
            let section = self.section();
            return Err(Violation::connection(
                ErrorCode::PROTOCOL_ERROR,
                "frame-on-wrong-stream",
                section,
            ));
        }
        let is_good_size = match self.kind {
            K::Priority => self.length == 5,
            K::RstStream | K::WindowUpdate => self.length == 4,
            K::Settings if self.flags.has(Flags::ACK) => self.length == 0,
            K::Settings => self.length.is_multiple_of(6),
            K::Ping => self.length == 8,
            K::GoAway => self.length >= 8,
            K::Data | K::Headers | K::PushPromise | K::Continuation | K::Unknown(_) => true,
        };
        if is_good_size {
            return Ok(());
        }
        let violation = if self.kind == K::Priority {
            Violation::stream
        } else {
            Violation::connection
        };
        Err(violation(
            ErrorCode::FRAME_SIZE_ERROR,
            "frame-of-wrong-size",
            self.section(),
        ))
    }

    /// Checks the length against what the receiver allows, in bytes of payload.
    ///
    /// # Errors
    /// When it is longer. RFC 9113 §4.2 lets a receiver reset only the stream of a DATA frame; all
    /// that matter end the connection.
    pub fn check_length(&self, most: u32) -> Result<(), Violation> {
        if self.length <= most {
            return Ok(());
        }
        Err(Violation::connection(
            ErrorCode::FRAME_SIZE_ERROR,
            "frame-too-large",
            "RFC 9113 §4.2",
        ))
    }

    /// Where RFC 9113 defines the frame.
    pub fn section(&self) -> &'static str {
        match self.kind {
            Kind::Data => "RFC 9113 §6.1",
            Kind::Headers => "RFC 9113 §6.2",
            Kind::Priority => "RFC 9113 §6.3",
            Kind::RstStream => "RFC 9113 §6.4",
            Kind::Settings => "RFC 9113 §6.5",
            Kind::PushPromise => "RFC 9113 §6.6",
            Kind::Ping => "RFC 9113 §6.7",
            Kind::GoAway => "RFC 9113 §6.8",
            Kind::WindowUpdate => "RFC 9113 §6.9",
            Kind::Continuation => "RFC 9113 §6.10",
            Kind::Unknown(_) => "RFC 9113 §5.5",
        }
    }
}

pub(super) const STREAM_MASK: u32 = 0x7fff_ffff;

/// How far a violation reaches (RFC 9113 §5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The connection ends.
    Connection,
    /// The stream is reset; the connection goes on.
    Stream,
}

/// A frame that breaks a rule, and what its receiver does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Violation {
    /// What GOAWAY or `RST_STREAM` says.
    pub code: ErrorCode,
    /// Which of them it is.
    pub scope: Scope,
    /// The rule.
    pub error: Error,
}

impl Violation {
    pub(super) const fn connection(
        code: ErrorCode,
        rule: &'static str,
        section: &'static str,
    ) -> Self {
        Self {
            code,
            scope: Scope::Connection,
            error: Error::new(Fault::Malformed, rule, section),
        }
    }

    pub(super) const fn stream(code: ErrorCode, rule: &'static str, section: &'static str) -> Self {
        Self {
            code,
            scope: Scope::Stream,
            error: Error::new(Fault::Malformed, rule, section),
        }
    }
}
