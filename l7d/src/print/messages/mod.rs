//! Parsed messages, one JSON object per line, so that l7d can be compared with other dissectors.
//!
//! `k` is the kind (`http1.request`, `http1.response`, `http2.request`, `http2.response`,
//! `http2.trailers`, `http2.push`, `http2.rst`, `http2.goaway`, `grpc.message`, `dns.query`,
//! `dns.response`), `src`, `dst` and `l4`
//! say between whom; the other keys are those of the kind. Bytes that are no UTF-8 are written as
//! Latin-1, what a late capture cannot know as `<unknown>`.

mod dns;

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::net::SocketAddr;

use parsers::Direction as Way;
use parsers::http1::{RequestHead, ResponseHead};
use parsers::http2::{ErrorCode, Head};

use crate::session::{Ends, Http2Kind, Message, Messages};

/// Writes messages to `out`.
pub struct MessageLines<W: Write> {
    out: RefCell<W>,
    line: RefCell<Vec<u8>>,
    failed: Cell<Option<io::Error>>,
    written: RefCell<std::collections::BTreeMap<&'static str, u64>>,
}

impl<W: Write> MessageLines<W> {
    /// Nothing written yet.
    pub fn new(out: W) -> Self {
        Self {
            out: RefCell::new(out),
            line: RefCell::new(Vec::new()),
            failed: Cell::new(None),
            written: RefCell::default(),
        }
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// The first that happened since the last call.
    pub fn flush(&self) -> io::Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.out.borrow_mut().flush(),
        }
    }

    /// Messages written, by kind.
    pub fn written(&self) -> std::collections::BTreeMap<&'static str, u64> {
        self.written.borrow().clone()
    }
}

impl<W: Write> Messages for std::rc::Rc<MessageLines<W>> {
    fn message(&self, ends: &Ends, way: Way, message: &Message<'_>) {
        let line = &mut *self.line.borrow_mut();
        line.clear();
        let (from, to) = match way {
            Way::ToServer => (&ends.client, &ends.server),
            Way::ToClient => (&ends.server, &ends.client),
        };
        let kind = kind(message);
        let mut object = Object::begin(line, kind);
        object.address("src", from.addr);
        object.address("dst", to.addr);
        let is_datagram = matches!(
            message,
            Message::Dns {
                is_datagram: true,
                ..
            }
        );
        object.text("l4", if is_datagram { b"udp" } else { b"tcp" });
        let ports = [from.addr.port(), to.addr.port()];
        if let Some(variant) = variant(ports).filter(|_| is_datagram) {
            object.text("proto", variant);
        }
        write(&mut object, message);
        object.end();
        *self.written.borrow_mut().entry(kind).or_default() += 1;
        if let Err(error) = self.out.borrow_mut().write_all(line) {
            self.failed.set(Some(error));
        }
    }
}

/// Stands for what was defined before the capture began.
const UNKNOWN: &[u8] = b"<unknown>";

fn kind(message: &Message<'_>) -> &'static str {
    match message {
        Message::Http1Request(_) => "http1.request",
        Message::Http1Response(_) => "http1.response",
        Message::Http2Head { kind, .. } => match kind {
            Http2Kind::Request => "http2.request",
            Http2Kind::Response => "http2.response",
            Http2Kind::Trailers => "http2.trailers",
            Http2Kind::Push(_) => "http2.push",
        },
        Message::Http2Reset { .. } => "http2.rst",
        Message::Http2GoAway { .. } => "http2.goaway",
        Message::Grpc { .. } => "grpc.message",
        Message::Dns { message, .. } if message.header().is_response() => "dns.response",
        Message::Dns { .. } => "dns.query",
    }
}

fn write(object: &mut Object<'_>, message: &Message<'_>) {
    match message {
        Message::Http1Request(head) => request(object, head),
        Message::Http1Response(head) => response(object, head),
        Message::Http2Head { kind, stream, head } => {
            object.number("sid", (*stream).into());
            if let Http2Kind::Push(promised) = kind {
                object.number("promised", (*promised).into());
            }
            http2(object, head);
        }
        Message::Http2Reset { stream, code } => {
            object.number("sid", (*stream).into());
            error(object, *code);
        }
        Message::Http2GoAway { last_stream, code } => {
            object.number("last", (*last_stream).into());
            error(object, *code);
        }
        Message::Grpc {
            stream,
            length,
            is_compressed,
        } => {
            object.number("sid", (*stream).into());
            object.number("len", (*length).into());
            object.flag("compressed", *is_compressed);
        }
        Message::Dns { message, .. } => dns::write(object, message),
    }
}

/// Ports whose messages are told apart from those of unicast DNS.
fn variant(ports: [u16; 2]) -> Option<&'static [u8]> {
    match ports {
        // Responders ask and answer from there, and are asked from anywhere.
        [_, 5353] | [5353, (1024..)] => Some(b"mdns"),
        [_, 5355] | [5355, _] => Some(b"llmnr"),
        _ => None,
    }
}

fn version(version: u8) -> &'static [u8] {
    if version == 10 {
        b"HTTP/1.0"
    } else {
        b"HTTP/1.1"
    }
}

fn request(object: &mut Object<'_>, head: &RequestHead<'_>) {
    object.text("method", head.method());
    object.text("uri", head.target());
    object.text("version", version(head.version()));
    if let Some(host) = head.header(b"host") {
        object.text("host", host);
    }
    object.pairs(head.headers().map(|header| (header.name, header.value)));
}

fn response(object: &mut Object<'_>, head: &ResponseHead<'_>) {
    object.number("status", head.code().into());
    object.text("reason", head.reason());
    object.text("version", version(head.version()));
    object.pairs(head.headers().map(|header| (header.name, header.value)));
}

fn http2(object: &mut Object<'_>, head: &Head<'_>) {
    for (key, value) in [
        ("method", head.method()),
        ("scheme", head.scheme()),
        ("authority", head.authority()),
        ("path", head.path()),
        ("host", head.header(b"host")),
        ("content_type", head.header(b"content-type")),
        ("grpc_status", head.header(b"grpc-status")),
        ("grpc_message", head.header(b"grpc-message")),
        ("grpc_encoding", head.header(b"grpc-encoding")),
    ] {
        if let Some(value) = value {
            object.text(key, value);
        }
    }
    if let Some(status) = head.status() {
        object.number("status", status.into());
    }
    let is_grpc = head.header(b"grpc-status").is_some()
        || head
            .header(b"content-type")
            .is_some_and(parsers::grpc::is_grpc);
    object.flag("grpc", is_grpc);
    object.flag("end_stream", head.is_last());
    object.pairs(head.list().iter().map(|field| {
        let known = |text: &'static [u8], of| {
            let is_missing = field.is_unknown && <[u8]>::is_empty(of);
            if is_missing { text } else { of }
        };
        (known(UNKNOWN, field.name), known(UNKNOWN, field.value))
    }));
}

fn error(object: &mut Object<'_>, code: ErrorCode) {
    match code.name() {
        Some(name) => object.text("error", name.as_bytes()),
        None => object.number("error", code.0.into()),
    }
}

/// A JSON object that is written key by key.
struct Object<'l> {
    line: &'l mut Vec<u8>,
}

impl<'l> Object<'l> {
    fn begin(line: &'l mut Vec<u8>, kind: &str) -> Self {
        line.extend_from_slice(b"{\"k\":\"");
        line.extend_from_slice(kind.as_bytes());
        line.push(b'"');
        Self { line }
    }

    fn key(&mut self, key: &str) {
        self.line.extend_from_slice(b",\"");
        self.line.extend_from_slice(key.as_bytes());
        self.line.extend_from_slice(b"\":");
    }

    fn text(&mut self, key: &str, bytes: &[u8]) {
        self.key(key);
        string(self.line, bytes);
    }

    fn number(&mut self, key: &str, number: u64) {
        self.key(key);
        // Writing to memory does not fail.
        let _infallible = write!(self.line, "{number}");
    }

    fn flag(&mut self, key: &str, flag: bool) {
        self.key(key);
        let word: &[u8] = if flag { b"true" } else { b"false" };
        self.line.extend_from_slice(word);
    }

    fn address(&mut self, key: &str, address: SocketAddr) {
        self.key(key);
        let _infallible = write!(self.line, "\"{address}\"");
    }

    fn pairs<'b>(&mut self, pairs: impl Iterator<Item = (&'b [u8], &'b [u8])>) {
        self.key("headers");
        self.line.push(b'[');
        for (number, (name, value)) in pairs.enumerate() {
            if number > 0 {
                self.line.push(b',');
            }
            self.line.push(b'[');
            string(self.line, name);
            self.line.push(b',');
            string(self.line, value);
            self.line.push(b']');
        }
        self.line.push(b']');
    }

    fn list<T>(
        &mut self,
        key: &str,
        items: impl Iterator<Item = T>,
        write: impl Fn(&mut Vec<u8>, T),
    ) {
        self.key(key);
        self.line.push(b'[');
        for (number, item) in items.enumerate() {
            if number > 0 {
                self.line.push(b',');
            }
            write(self.line, item);
        }
        self.line.push(b']');
    }

    fn end(self) {
        self.line.extend_from_slice(b"}\n");
    }
}

/// A JSON string of bytes: UTF-8, or else Latin-1.
fn string(line: &mut Vec<u8>, bytes: &[u8]) {
    line.push(b'"');
    if std::str::from_utf8(bytes).is_ok() {
        // Runs without anything to escape go as they are; nearly all text is one.
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| needs_escape(*byte)) {
            let (run, tail) = rest.split_at(end);
            line.extend_from_slice(run);
            if let Some((byte, after)) = tail.split_first() {
                character(line, char::from(*byte));
                rest = after;
            }
        }
        line.extend_from_slice(rest);
    } else {
        for byte in bytes {
            character(line, char::from(*byte));
        }
    }
    line.push(b'"');
}

fn needs_escape(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..=0x1f)
}

fn character(line: &mut Vec<u8>, c: char) {
    match c {
        '"' => line.extend_from_slice(b"\\\""),
        '\\' => line.extend_from_slice(b"\\\\"),
        '\0'..='\x1f' => {
            let _infallible = write!(line, "\\u{:04x}", u32::from(c));
        }
        _ => {
            let mut room = [0; 4];
            line.extend_from_slice(c.encode_utf8(&mut room).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_json_strings() {
        for (bytes, expected) in [
            (&b"plain"[..], "\"plain\""),
            (b"a\"b\\c\n", "\"a\\\"b\\\\c\\u000a\""),
            ("gr\u{fc}n".as_bytes(), "\"gr\u{fc}n\""),
            (b"gr\xfcn", "\"gr\u{fc}n\""),
        ] {
            let mut line = Vec::new();
            string(&mut line, bytes);
            assert_eq!(String::from_utf8_lossy(&line), expected);
        }
    }
}
