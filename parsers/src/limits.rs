//! Every bound, and the attack it stops.

/// Bounds of the parsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest head in bytes, request or status line included: memory per connection.
    pub head_bytes: usize,
    /// Most header fields in a head: time per head. At most [`Limits::HEADERS_MAX`].
    pub headers: usize,
    /// Most requests without an answer: memory per pipelining connection.
    pub pipelined: usize,
    /// Longest chunk size line with its extensions, in bytes: time per byte of payload.
    pub chunk_line_bytes: usize,
    /// Longest trailer section in bytes.
    pub trailer_bytes: usize,
}

impl Limits {
    /// Room for header fields while a head is read.
    pub const HEADERS_MAX: usize = 256;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 << 10,
            headers: 128,
            pipelined: 1024,
            chunk_line_bytes: 4 << 10,
            trailer_bytes: 16 << 10,
        }
    }
}
