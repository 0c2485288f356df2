//! One request and its response.
//!
//! The request's method and URL are written once and kept until the response names them again. An
//! exchange's memory is used again for the next one.

use std::io::Write as _;

use parsers::http1::{Header, RequestHead, ResponseHead};

use crate::clock::Monotonic;
use crate::record::{Event, Http, HttpKind, Outcome, Party, Record, Span, Text};
use crate::session::Redaction;

/// A request that has no answer yet.
#[derive(Debug, Default)]
pub struct Exchange {
    text: Text,
    method: Span,
    url: Span,
    headers: Span,
    version: u8,
    began: Monotonic,
}

impl Exchange {
    /// Notes a request to `server`.
    pub fn open(&mut self, head: &RequestHead<'_>, server: &Party, redaction: &Redaction) {
        self.text.clear();
        self.began = Monotonic::now();
        self.version = head.version();
        self.method = self.text.push(head.method());
        let mark = self.text.mark();
        if head.is_connect() {
            self.text.push(head.target());
        } else {
            self.text.push(b"http://");
            match head.authority() {
                Some(authority) if !authority.is_empty() => {
                    redaction.write_authority(&mut self.text, authority);
                }
                Some(_) | None => {
                    let mut address = [0; 64];
                    self.text.push(written(&mut address, server));
                }
            }
            redaction.write_path(&mut self.text, head.path());
        }
        self.url = self.text.since(mark);
        self.headers = write_headers(&mut self.text, head.headers(), redaction);
    }

    /// Notes a request that could not be read: all that is known is whom it was for.
    pub fn open_unreadable(&mut self, server: &Party) {
        self.text.clear();
        self.began = Monotonic::now();
        self.version = 11;
        self.method = self.text.push(b"?");
        self.headers = Span::default();
        let mark = self.text.mark();
        self.text.push(b"http://");
        let mut address = [0; 64];
        self.text.push(written(&mut address, server));
        self.url = self.text.since(mark);
    }

    /// Writes the request into a record.
    pub fn write_request(&mut self, record: &mut Record, outcome: Outcome, detail: &str) {
        let http = self.http(record, HttpKind::Request, outcome);
        let headers = record.text.push(self.text.slice(self.headers));
        let detail = record.text.push(detail.as_bytes());
        record.event = Event::Http(Http {
            headers,
            detail,
            ..http
        });
    }

    /// Writes the answer into a record; code 0 is none.
    pub fn write_response(
        &mut self,
        record: &mut Record,
        code: u16,
        outcome: Outcome,
        head: Option<&ResponseHead<'_>>,
        redaction: &Redaction,
    ) {
        let http = self.http(record, HttpKind::Response, outcome);
        let headers = head.map_or_else(Span::default, |head| {
            write_headers(&mut record.text, head.headers(), redaction)
        });
        let latency_ns = Monotonic::now().nanos_since(self.began);
        record.event = Event::Http(Http {
            code,
            headers,
            latency_ns,
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
        }
    }
}

#[expect(single_use_lifetimes, reason = "`impl Trait` cannot leave it out yet")]
fn write_headers<'h>(
    text: &mut Text,
    headers: impl Iterator<Item = Header<'h>>,
    redaction: &Redaction,
) -> Span {
    if !redaction.keeps_headers() {
        return Span::default();
    }
    let mark = text.mark();
    for header in headers {
        redaction.write_header(text, header.name, header.value);
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
