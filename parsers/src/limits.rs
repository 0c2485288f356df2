//! Every bound, and the attack it stops.

/// Bounds of the parsers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
    /// Most bytes of the header fields of an HTTP/2 message, as `SETTINGS_MAX_HEADER_LIST_SIZE`
    /// counts them: memory per connection. Fields beyond are left out, and the message says so.
    pub header_list_bytes: usize,
    /// Longest HTTP/2 header block, compressed, in bytes: memory of a CONTINUATION flood.
    pub header_block_bytes: usize,
    /// Most CONTINUATION frames of a header block: time spent on empty ones.
    pub continuations: usize,
    /// Largest HPACK table that is kept for a sender, in bytes.
    pub hpack_table_bytes: usize,
    /// Most HTTP/2 streams that are followed at once; the oldest goes for a new one.
    pub streams: usize,
    /// Most SETTINGS frames without an acknowledgement: memory of a flood of them.
    pub unacknowledged_settings: usize,
    /// Longest TLS `ClientHello` in bytes: memory before the protocol is known.
    pub client_hello_bytes: usize,
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
            header_list_bytes: 64 << 10,
            header_block_bytes: 64 << 10,
            continuations: 64,
            hpack_table_bytes: 64 << 10,
            streams: 1024,
            unacknowledged_settings: 32,
            client_hello_bytes: 64 << 10,
        }
    }
}
