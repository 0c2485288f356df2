//! Frames → bytes.

#![deny(clippy::arithmetic_side_effects)]

use super::payload::{Frame, Priority, Settings};
use super::{Flags, FrameHeader, Kind, STREAM_MASK};

impl Frame<'_> {
    /// Appends a whole frame. Flags that say what the payload holds (PADDED, PRIORITY) are set as
    /// it does; the others are taken as given.
    pub fn write(&self, stream: u32, flags: Flags, out: &mut Vec<u8>) {
        let start = out.len();
        let flags = flags.with(self.shape());
        let mut header = FrameHeader {
            length: 0,
            kind: self.kind(),
            flags,
            stream,
        };
        header.write(out);
        self.write_payload(out);
        let written = out.len().saturating_sub(start);
        let length = written.saturating_sub(FrameHeader::BYTES);
        header.length = u32::try_from(length).unwrap_or(u32::MAX);
        if let [_, l0, l1, l2] = header.length.to_be_bytes()
            && let Some(place) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut)
        {
            *place = [l0, l1, l2];
        }
    }

    /// The type that says how to read it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Data { .. } => Kind::Data,
            Self::Headers { .. } => Kind::Headers,
            Self::Priority(_) => Kind::Priority,
            Self::RstStream(_) => Kind::RstStream,
            Self::Settings(_) => Kind::Settings,
            Self::PushPromise { .. } => Kind::PushPromise,
            Self::Ping(_) => Kind::Ping,
            Self::GoAway { .. } => Kind::GoAway,
            Self::WindowUpdate(_) => Kind::WindowUpdate,
            Self::Continuation { .. } => Kind::Continuation,
            Self::Unknown { kind, .. } => Kind::Unknown(*kind),
        }
    }

    fn shape(&self) -> Flags {
        match self {
            Self::Data { padding, .. } | Self::PushPromise { padding, .. } => padded(*padding),
            Self::Headers {
                priority, padding, ..
            } => {
                let priority = if priority.is_some() {
                    Flags::PRIORITY
                } else {
                    Flags::NONE
                };
                padded(*padding).with(priority)
            }
            Self::Priority(_)
            | Self::RstStream(_)
            | Self::Settings(_)
            | Self::Ping(_)
            | Self::GoAway { .. }
            | Self::WindowUpdate(_)
            | Self::Continuation { .. }
            | Self::Unknown { .. } => Flags::NONE,
        }
    }

    fn write_payload(&self, out: &mut Vec<u8>) {
        let front = |padding: Option<&[u8]>, out: &mut Vec<u8>| {
            if let Some(padding) = padding {
                out.push(u8::try_from(padding.len()).unwrap_or(u8::MAX));
            }
        };
        let back = |padding: Option<&[u8]>, out: &mut Vec<u8>| {
            let padding = padding.unwrap_or_default();
            let most = usize::from(u8::MAX).min(padding.len());
            out.extend_from_slice(padding.get(..most).unwrap_or_default());
        };
        match self {
            Self::Data { data, padding } => {
                front(*padding, out);
                out.extend_from_slice(data);
                back(*padding, out);
            }
            Self::Headers {
                priority,
                fragment,
                padding,
            } => {
                front(*padding, out);
                if let Some(priority) = priority {
                    priority.write(out);
                }
                out.extend_from_slice(fragment);
                back(*padding, out);
            }
            Self::PushPromise {
                promised,
                fragment,
                padding,
            } => {
                front(*padding, out);
                out.extend_from_slice(&(promised & STREAM_MASK).to_be_bytes());
                out.extend_from_slice(fragment);
                back(*padding, out);
            }
            Self::Priority(priority) => priority.write(out),
            Self::RstStream(code) => out.extend_from_slice(&code.0.to_be_bytes()),
            Self::Settings(Settings(payload))
            | Self::Continuation { fragment: payload }
            | Self::Unknown { payload, .. } => out.extend_from_slice(payload),
            Self::Ping(data) => out.extend_from_slice(data),
            Self::GoAway {
                last_stream,
                code,
                debug,
            } => {
                out.extend_from_slice(&(last_stream & STREAM_MASK).to_be_bytes());
                out.extend_from_slice(&code.0.to_be_bytes());
                out.extend_from_slice(debug);
            }
            Self::WindowUpdate(increment) => {
                out.extend_from_slice(&(increment & STREAM_MASK).to_be_bytes());
            }
        }
    }

    /// Appends a header block as HEADERS and as many CONTINUATION frames as it takes, none longer
    /// than `most` bytes of payload. Of `flags` only `END_STREAM` is taken.
    pub fn write_header_block(
        stream: u32,
        flags: Flags,
        block: &[u8],
        most: usize,
        out: &mut Vec<u8>,
    ) {
        Self::write_request_block(stream, flags, None, block, most, out);
    }

    /// The same with the deprecated priority fields.
    pub fn write_request_block(
        stream: u32,
        flags: Flags,
        priority: Option<Priority>,
        block: &[u8],
        most: usize,
        out: &mut Vec<u8>,
    ) {
        let most = most.saturating_sub(priority.map_or(0, |_| Priority::BYTES));
        let (first, mut rest) = block.split_at(block.len().min(most.max(1)));
        let end = |rest: &[u8]| {
            if rest.is_empty() {
                Flags::END_HEADERS
            } else {
                Flags::NONE
            }
        };
        let headers = Frame::Headers {
            priority,
            fragment: first,
            padding: None,
        };
        let flags = Flags(flags.0 & Flags::END_STREAM.0).with(end(rest));
        headers.write(stream, flags, out);
        while !rest.is_empty() {
            let (fragment, after) = rest.split_at(rest.len().min(most.max(1)));
            rest = after;
            let frame = Frame::Continuation { fragment };
            frame.write(stream, end(rest), out);
        }
    }
}

impl Priority {
    fn write(self, out: &mut Vec<u8>) {
        let exclusive = if self.is_exclusive { !STREAM_MASK } else { 0 };
        let word = self.dependency & STREAM_MASK | exclusive;
        out.extend_from_slice(&word.to_be_bytes());
        out.push(self.weight);
    }
}

fn padded(padding: Option<&[u8]>) -> Flags {
    match padding {
        Some(_) => Flags::PADDED,
        None => Flags::NONE,
    }
}
