//! One request and its response.
//!
//! The request's method and URL are written once and kept until the response names them again. An
//! exchange's memory is used again for the next one.

use std::io::Write as _;

use crate::clock::Monotonic;
use crate::record::{
    Event, Grpc, Http, HttpKind, Network, Outcome, Party, Record, Span, Text, TraceParent,
};
use crate::session::Redaction;

/// A request that has no answer yet.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Exchange {
    text: Text,
    method: Span,
    url: Span,
    headers: Span,
    /// What of the target is not shown; it is never written into a record.
    hidden: [Span; 2],
    version: u8,
    trace: Option<TraceParent>,
    began: Monotonic,
}

/// What is known of a request, from whatever version it came in.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'h> {
    /// Method as sent.
    pub method: &'h [u8],
    /// `http` or `https`; empty for CONNECT, whose target is all there is.
    pub scheme: &'h [u8],
    /// Authority as sent; without one the server's address stands there.
    pub authority: Option<&'h [u8]>,
    /// Path and query; the target of CONNECT.
    pub path: &'h [u8],
    /// 10, 11 or 20.
    pub version: u8,
}

/// Name and value of a header field.
pub type Field<'h> = (&'h [u8], &'h [u8]);

/// What an answer adds.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// Status; 0 is none.
    pub code: u16,
    /// How it went.
    pub outcome: Outcome,
    /// A response, or a report of a call that runs.
    pub kind: HttpKind,
    /// What is known of the gRPC call.
    pub grpc: Option<Grpc>,
}

impl Exchange {
    /// Notes a request to `server`.
    pub fn open<'h>(
        &mut self,
        asked: &Asked<'h>,
        headers: impl Iterator<Item = Field<'h>>,
        server: &Party,
        redaction: &Redaction,
        now: Monotonic,
    ) {
        self.text.clear();
        self.began = now;
        self.version = asked.version;
        self.method = self.text.push(asked.method);
        let mark = self.text.mark();
        if asked.scheme.is_empty() {
            redaction.write_authority(&mut self.text, asked.path);
        } else {
            self.text.push(asked.scheme);
            self.text.push(b"://");
            match asked.authority {
                Some(authority) if !authority.is_empty() => {
                    redaction.write_authority(&mut self.text, authority);
                }
                Some(_) | None => self.push_address(server),
            }
            redaction.write_path(&mut self.text, asked.path);
        }
        self.url = self.text.since(mark);
        let mut trace = None;
        let headers = headers.inspect(|(name, value)| {
            if name.eq_ignore_ascii_case(b"traceparent") {
                trace = TraceParent::parse(value);
            }
        });
        self.headers = if redaction.keeps_headers() {
            write_headers(&mut self.text, headers, redaction)
        } else {
            headers.for_each(drop);
            Span::default()
        };
        self.trace = trace;
        let authority = asked.authority.unwrap_or_default();
        self.hidden = redaction
            .hidden(authority, asked.path)
            .map(|secret| self.text.push(secret));
    }

    /// Notes a request of which only is known whom it was for: it could not be read (`?`), or it was
    /// not seen (`unknown`).
    pub fn open_without_head(&mut self, method: &str, version: u8, server: &Party, now: Monotonic) {
        self.text.clear();
        self.began = now;
        self.version = version;
        self.method = self.text.push(method.as_bytes());
        self.headers = Span::default();
        self.trace = None;
        self.hidden = [Span::default(); 2];
        self.trace = None;
        let mark = self.text.mark();
        self.text.push(b"http://");
        self.push_address(server);
        self.url = self.text.since(mark);
    }

    fn push_address(&mut self, server: &Party) {
        let mut address = [0; 64];
        self.text.push(written(&mut address, server));
    }

    /// Writes the request into a record.
    pub fn write_request(&mut self, record: &mut Record, outcome: Outcome, detail: &str) {
        let http = self.http(record, HttpKind::Request, outcome);
        let headers = record.text.push(self.text.slice(self.headers));
        let hidden = self.hidden.map(|span| self.text.slice(span));
        let detail = Redaction::without(detail, hidden);
        let detail = record.text.push(detail.as_bytes());
        record.event = Event::Http(Http {
            headers,
            detail,
            ..http
        });
    }

    /// Writes the answer into a record. Text that its gRPC part points into is there already.
    #[expect(single_use_lifetimes, reason = "`impl Trait` cannot leave it out yet")]
    pub fn write_response<'h>(
        &self,
        record: &mut Record,
        answered: Answered,
        headers: impl Iterator<Item = Field<'h>>,
        redaction: &Redaction,
        now: Monotonic,
    ) {
        let http = self.http(record, answered.kind, answered.outcome);
        let headers = write_headers(&mut record.text, headers, redaction);
        let latency_ns = now.nanos_since(self.began);
        record.event = Event::Http(Http {
            code: answered.code,
            headers,
            latency_ns,
            grpc: answered.grpc,
            ..http
        });
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.text.capacity()
    }

    fn http(&self, record: &mut Record, kind: HttpKind, outcome: Outcome) -> Http {
        Http {
            kind,
            version: self.version,
            code: 0,
            method: record.text.push(self.text.slice(self.method)),
            url: record.text.push(self.text.slice(self.url)),
            headers: Span::default(),
            latency_ns: 0,
            outcome,
            detail: Span::default(),
            grpc: None,
            network: Network::default(),
            trace: self.trace,
        }
    }
}

#[expect(single_use_lifetimes, reason = "`impl Trait` cannot leave it out yet")]
fn write_headers<'h>(
    text: &mut Text,
    headers: impl Iterator<Item = Field<'h>>,
    redaction: &Redaction,
) -> Span {
    if !redaction.keeps_headers() {
        return Span::default();
    }
    let mark = text.mark();
    for (name, value) in headers {
        redaction.write_header(text, name, value);
    }
    text.since(mark)
}

/// The server's address, for requests that name no host.
fn written<'b>(buffer: &'b mut [u8; 64], server: &Party) -> &'b [u8] {
    let mut left = buffer.as_mut_slice();
    let room = left.len();
    let used = match write!(left, "{}", server.addr) {
        Ok(()) => room - left.len(),
        Err(_) => 0,
    };
    buffer.get(..used).unwrap_or_default()
}
