//! Messages as they were parsed, for who wants more of them than a record holds: `l7d replay -o
//! messages`.

use parsers::Direction as Way;
use parsers::http1::{RequestHead, ResponseHead};
use parsers::http2::{ErrorCode, Head};

use super::Ends;

/// Takes messages. Called where bytes are read: it must be quick.
pub trait Messages {
    /// A message that goes `way` between these ends.
    fn message(&self, ends: &Ends, way: Way, message: &Message<'_>);
}

/// A message.
#[derive(Debug, Clone, Copy)]
pub enum Message<'m> {
    /// The head of an HTTP/1 request.
    Http1Request(&'m RequestHead<'m>),
    /// The head of an HTTP/1 response, interim ones included.
    Http1Response(&'m ResponseHead<'m>),
    /// Fields on an HTTP/2 stream.
    Http2Head {
        /// What they begin or end.
        kind: Http2Kind,
        /// The stream.
        stream: u32,
        /// The fields.
        head: &'m Head<'m>,
    },
    /// A stream was reset.
    Http2Reset {
        /// The stream.
        stream: u32,
        /// Why.
        code: ErrorCode,
    },
    /// No new streams.
    Http2GoAway {
        /// The last stream that was looked at.
        last_stream: u32,
        /// Why.
        code: ErrorCode,
    },
    /// A DNS message.
    Dns {
        /// The message.
        message: &'m parsers::dns::Message<'m>,
        /// Whether it came by UDP.
        is_datagram: bool,
    },
    /// A message of a gRPC call.
    Grpc {
        /// Its stream.
        stream: u32,
        /// Its bytes as sent, without the prefix.
        length: u32,
        /// Whether they are compressed.
        is_compressed: bool,
    },
}

/// What fields on an HTTP/2 stream are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http2Kind {
    /// They begin a request.
    Request,
    /// They begin a response, or are an interim one.
    Response,
    /// They end a message.
    Trailers,
    /// They announce an answer to a request that the server made up; the number is its stream.
    Push(u32),
}
