//! HTTP/2 (RFC 9113): one connection, both directions, as somebody reads it who looks on.
//!
//! ```text
//!   bytes ──▶ frame ──▶ HEADERS + CONTINUATION ──▶ hpack ──▶ headers ──▶ Request, Response, …
//!               │                                                            │
//!               ├─ DATA: told as it comes, never kept                     streams
//!               └─ SETTINGS: table sizes of the other direction, from their acknowledgement on
//! ```
//!
//! [`Connection`] is lenient: a malformed message (§8.1.1) is told with its fault, and only what ends
//! a connection (§5.4.1) ends a direction. [`frame`], [`Head`] and [`crate::hpack`] stand alone, for
//! a middlebox that judges and writes frames itself.

mod connection;
pub mod frame;
mod headers;
pub(crate) mod resync;
mod side;
mod streams;
mod strict;
mod upgrade;

pub use connection::Connection;
pub use frame::{Flags, Frame, FrameHeader, Kind, Priority, Scope, Settings, Violation};
pub use headers::{Findings, Head, Role};
pub use strict::check_request;

use crate::error::{Error, Fault};

/// What a client sends first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Largest payload of a frame unless settings say otherwise, in bytes (RFC 9113 §4.2).
pub const DEFAULT_FRAME_BYTES: u32 = 1 << 14;
/// Largest payload that a frame can have, in bytes (RFC 9113 §4.2).
pub const MAX_FRAME_BYTES: u32 = (1 << 24) - 1;

/// Why a stream or a connection ends (RFC 9113 §7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// The code that says which rule was broken, for GOAWAY or `RST_STREAM`.
    pub fn of(error: &Error) -> Self {
        match error.rule {
            "frame-of-wrong-size" | "frame-too-large" => Self::FRAME_SIZE_ERROR,
            "bad-initial-window-size" => Self::FLOW_CONTROL_ERROR,
            "stream-number-used" => Self::STREAM_CLOSED,
            _ if error.fault == Fault::TooLarge => Self::ENHANCE_YOUR_CALM,
            _ if error.section.starts_with("RFC 7541") => Self::COMPRESSION_ERROR,
            _ => Self::PROTOCOL_ERROR,
        }
    }

    /// No error.
    pub const NO_ERROR: Self = Self(0x0);
    /// The other side broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    /// Our own fault.
    pub const INTERNAL_ERROR: Self = Self(0x2);
    /// More payload than there was room for.
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    /// Settings were not acknowledged.
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    /// A frame on a stream that ended.
    pub const STREAM_CLOSED: Self = Self(0x5);
    /// A frame of a wrong size.
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    /// Not looked at: may be tried again.
    pub const REFUSED_STREAM: Self = Self(0x7);
    /// No longer needed.
    pub const CANCEL: Self = Self(0x8);
    /// The tables are out of step.
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    /// The connection behind CONNECT broke.
    pub const CONNECT_ERROR: Self = Self(0xa);
    /// Too much of something.
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    /// TLS is too weak.
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    /// To be tried with HTTP/1.1.
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);

    /// Its name in the registry, if it has one.
    pub fn name(self) -> Option<&'static str> {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        let number = usize::try_from(self.0).ok()?;
        NAMES.get(number).copied()
    }
}

/// One step through the bytes of a direction.
pub type Step<'c> = crate::Step<Event<'c>>;

/// What was found.
#[derive(Debug)]
pub enum Event<'c> {
    /// The client's first bytes.
    Preface,
    /// A request begins.
    Request {
        /// Its stream.
        stream: u32,
        /// The deprecated priority fields, if it has them.
        priority: Option<Priority>,
        /// Its fields.
        head: Head<'c>,
    },
    /// A response begins, or is an interim one ([`Head::is_interim`]).
    Response {
        /// Its stream.
        stream: u32,
        /// Its fields.
        head: Head<'c>,
    },
    /// The fields after a payload.
    Trailers {
        /// Their stream.
        stream: u32,
        /// The fields.
        head: Head<'c>,
    },
    /// The server announces the answer to a request that it made up.
    Push {
        /// The stream of the request that led to it.
        stream: u32,
        /// The stream that the response will come on.
        promised: u32,
        /// The fields of the request.
        head: Head<'c>,
    },
    /// A run of payload, padding left out. May be empty.
    Data {
        /// Its stream.
        stream: u32,
        /// The payload.
        bytes: &'c [u8],
        /// Whether the message is complete.
        is_last: bool,
        /// What is wrong with the message: told with the piece that shows it, and once.
        fault: Option<Error>,
    },
    /// A stream ended at once.
    Reset {
        /// The stream.
        stream: u32,
        /// Why.
        code: ErrorCode,
    },
    /// No new streams.
    GoAway {
        /// The last stream that was or will be looked at.
        last_stream: u32,
        /// Why.
        code: ErrorCode,
        /// For people.
        debug: &'c [u8],
    },
    /// How the sender wants to be spoken to.
    Settings(Settings<'c>),
    /// A frame that tells nothing of a message: PING, `WINDOW_UPDATE`, PRIORITY, an acknowledgement,
    /// an extension, or a piece of a header block before the last. Of a long extension, the payload
    /// may come later, as [`Event::Skipped`].
    Frame {
        /// Its header.
        header: FrameHeader,
        /// What is wrong with it.
        fault: Option<Error>,
    },
    /// A run of a payload that is not looked at.
    Skipped,
    /// Bytes that could not be read as frames, after a gap or at the start of a capture.
    Lost,
}

/// What was missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// A part of the payload of a DATA frame; reading goes on as if it had been seen.
    Data {
        /// Its stream.
        stream: u32,
        /// Payload bytes among those missing.
        bytes: u64,
        /// Whether the message is complete.
        is_last: bool,
        /// What is wrong with the message: told with the piece that shows it, and once.
        fault: Option<Error>,
    },
    /// A part of a frame that is not looked at.
    Frame,
    /// Maybe more than one frame: the direction is looked through for the next, and fields that it
    /// may have defined are unknown.
    Frames,
}

/// What the end of a direction meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// Between frames; streams may still be open ([`Connection::open_streams`]).
    Clean,
    /// Inside a frame or a header block.
    Truncates,
}

#[cfg(test)]
mod tests;
