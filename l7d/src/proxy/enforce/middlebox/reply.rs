//! What the client is told in the place of the server, between the server's frames.

use parsers::grpc;
use parsers::hpack::{Encoder, Field};
use parsers::http2::{ErrorCode, Flags, Frame};

/// One frame or two of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Reply {
    /// A request is answered. Without a body: its bytes would come off the window that the client
    /// gives the server.
    Answer {
        stream: u32,
        answer: Answer,
        /// The client has more to say, and need not (RFC 9113 §8.1).
        is_unfinished: bool,
    },
    /// Window of a refused stream is given back, in bytes.
    Window { stream: u32, bytes: usize },
    /// A stream ends.
    Reset { stream: u32, code: ErrorCode },
}

/// What people are told with a status of gRPC.
const DENIED: &str = "Access denied";

/// What a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum Answer {
    /// A status of HTTP.
    Status(u16),
    /// A status of gRPC, in a response that is its own trailers.
    Grpc(u32),
}

impl Answer {
    /// The statuses that records show.
    pub(super) fn statuses(self) -> (u16, Option<grpc::Status<'static>>) {
        match self {
            Self::Status(code) => (code, None),
            Self::Grpc(code) => {
                let message = DENIED.as_bytes().into();
                (200, Some(grpc::Status { code, message }))
            }
        }
    }
}

/// What waits for a place between the server's frames.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(in crate::proxy::enforce) struct Replies {
    waiting: Vec<Reply>,
    /// Window of the connection that swallowed payload is given back to, in bytes.
    window: u32,
    #[serde(skip)]
    goodbye: Option<(u32, ErrorCode, &'static str)>,
}

/// More are not kept: the client's next frames wait.
const REPLIES_MAX: usize = 1024;

impl Replies {
    pub(super) fn push(&mut self, reply: Reply) {
        self.waiting.push(reply);
    }

    /// Payload was swallowed: the client's window for the connection grows by it again, since the
    /// server cannot give back what it never got.
    pub(super) fn give_back(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.window = self.window.saturating_add(bytes);
    }

    /// The last words on the connection.
    pub(in crate::proxy::enforce) fn say_goodbye(
        &mut self,
        last_stream: u32,
        code: ErrorCode,
        why: &'static str,
    ) {
        self.goodbye = Some((last_stream, code, why));
    }

    pub(in crate::proxy::enforce) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.window == 0 && self.goodbye.is_none()
    }

    pub(in crate::proxy::enforce) fn is_full(&self) -> bool {
        self.waiting.len() >= REPLIES_MAX
    }

    /// Writes all that waits. `update` is the table size that the next header block to the client
    /// has to begin with, if it must begin with one.
    pub(in crate::proxy::enforce) fn write(&mut self, update: Option<usize>, out: &mut Vec<u8>) {
        for reply in self.waiting.drain(..) {
            reply.write(update, out);
        }
        if self.window > 0 {
            Frame::WindowUpdate(std::mem::take(&mut self.window)).write(0, Flags::NONE, out);
        }
        if let Some((last_stream, code, why)) = self.goodbye.take() {
            let frame = Frame::GoAway {
                last_stream,
                code,
                debug: why.as_bytes(),
            };
            frame.write(0, Flags::NONE, out);
        }
    }
}

impl Reply {
    fn write(self, update: Option<usize>, out: &mut Vec<u8>) {
        match self {
            Self::Reset { stream, code } => {
                Frame::RstStream(code).write(stream, Flags::NONE, out);
            }
            Self::Window { bytes: 0, .. } => {}
            Self::Window { stream, bytes } => {
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                Frame::WindowUpdate(bytes).write(stream, Flags::NONE, out);
            }
            Self::Answer {
                stream,
                answer,
                is_unfinished,
            } => {
                let mut block = Vec::with_capacity(64);
                answer.write(update, &mut block);
                let headers = Frame::Headers {
                    priority: None,
                    fragment: &block,
                    padding: None,
                };
                headers.write(stream, Flags::END_STREAM.with(Flags::END_HEADERS), out);
                if is_unfinished {
                    Frame::RstStream(ErrorCode::NO_ERROR).write(stream, Flags::NONE, out);
                }
            }
        }
    }
}

impl Answer {
    fn write(self, update: Option<usize>, block: &mut Vec<u8>) {
        match self {
            Self::Status(code) => {
                let code = code.to_string();
                let fields = [
                    Field::new(b":status", code.as_bytes()),
                    Field::new(b"content-length", b"0"),
                ];
                Encoder::encode_apart(fields, update, block);
            }
            Self::Grpc(code) => {
                let code = code.to_string();
                let fields = [
                    Field::new(b":status", b"200"),
                    Field::new(b"content-type", b"application/grpc"),
                    Field::new(b"grpc-status", code.as_bytes()),
                    Field::new(b"grpc-message", DENIED.as_bytes()),
                ];
                Encoder::encode_apart(fields, update, block);
            }
        }
    }
}
