//! Request and status lines and their fields, read by httparse and then borrowed.

mod lenient;

use std::mem::MaybeUninit;

use super::body::BodyKind;
use super::{Reading, strict};
use crate::error::{Error, Fault};
use crate::limits::Limits;

/// One header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'b> {
    /// Name as sent.
    pub name: &'b [u8],
    /// Value without surrounding white space.
    pub value: &'b [u8],
}

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'b> {
    bytes: &'b [u8],
    fields: &'b [u8],
    method: &'b [u8],
    target: &'b [u8],
    version: u8,
    framing: Framing<'b>,
}

/// The head of a response.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHead<'b> {
    bytes: &'b [u8],
    fields: &'b [u8],
    code: u16,
    version: u8,
    body: BodyKind,
    is_switching: bool,
}

/// What the fields say about framing and the connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Framing<'b> {
    pub(super) host: Option<&'b [u8]>,
    pub(super) hosts: usize,
    pub(super) length: Option<&'b [u8]>,
    pub(super) lengths: usize,
    pub(super) coding: Option<&'b [u8]>,
    pub(super) codings: usize,
    pub(super) upgrade: Option<&'b [u8]>,
    pub(super) expects_continue: bool,
}

impl<'b> RequestHead<'b> {
    /// The head as sent, its empty line included.
    pub fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// Method as sent; methods are case-sensitive (RFC 9110 §9.1).
    pub fn method(&self) -> &'b [u8] {
        self.method
    }

    /// Request target as sent.
    pub fn target(&self) -> &'b [u8] {
        self.target
    }

    /// Path and query: the origin form, or that part of an absolute target.
    pub fn path(&self) -> &'b [u8] {
        let Some(rest) = after_scheme(self.target) else {
            return self.target;
        };
        let path = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
        path.and_then(|start| rest.get(start..)).unwrap_or(b"/")
    }

    /// 10 or 11.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Who is asked: the target's authority if it has one, else Host (RFC 9112 §3.2.2).
    pub fn authority(&self) -> Option<&'b [u8]> {
        if self.is_connect() {
            return Some(self.target);
        }
        let of_target = after_scheme(self.target).map(|rest| {
            let end = rest
                .iter()
                .position(|byte| matches!(byte, b'/' | b'?' | b'#'));
            rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
        });
        of_target.or(self.framing.host)
    }

    /// Header fields, in order.
    pub fn headers(&self) -> impl Iterator<Item = Header<'b>> + Clone + use<'b> {
        fields(self.fields)
    }

    /// The first field of that name.
    pub fn header(&self, name: &[u8]) -> Option<&'b [u8]> {
        self.headers()
            .find(|header| header.name.eq_ignore_ascii_case(name))
            .map(|h| h.value)
    }

    /// Whether it asks for a tunnel.
    pub fn is_connect(&self) -> bool {
        self.method == b"CONNECT"
    }

    /// Protocols that it offers to change to.
    pub fn upgrade(&self) -> Option<&'b [u8]> {
        self.framing.upgrade
    }

    /// Whether the client waits for 100 Continue before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.framing.expects_continue
    }

    /// How long its body is.
    pub fn body(&self) -> BodyKind {
        let Framing { coding, length, .. } = self.framing;
        if coding.is_some_and(is_chunked) {
            return BodyKind::Chunked;
        }
        match length.and_then(parse_length) {
            Some(0) | None => BodyKind::None,
            Some(length) => BodyKind::Length(length),
        }
    }
}

impl<'b> ResponseHead<'b> {
    /// The head as sent, its empty line included.
    pub fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// Status code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// What stands behind the code; not to be acted upon (RFC 9112 §4).
    pub fn reason(&self) -> &'b [u8] {
        let line = self.bytes.split(|byte| *byte == b'\n').next();
        let line = line.unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        line.splitn(3, |byte| *byte == b' ')
            .nth(2)
            .unwrap_or_default()
    }

    /// 10 or 11.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Header fields, in order.
    pub fn headers(&self) -> impl Iterator<Item = Header<'b>> + Clone + use<'b> {
        fields(self.fields)
    }

    /// Whether another response to the same request follows (RFC 9110 §15.2).
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.code) && self.code != 101
    }

    /// Whether the connection is no longer HTTP after it: 101, or 2xx to CONNECT.
    pub fn is_switching(&self) -> bool {
        self.is_switching
    }

    /// How long its body is.
    pub fn body(&self) -> BodyKind {
        self.body
    }
}

/// Reads a complete head.
pub(super) fn read_request<'b>(
    bytes: &'b [u8],
    limits: &Limits,
    reading: Reading,
) -> Result<RequestHead<'b>, Error> {
    match parse_request(bytes, limits, reading) {
        Err(error) if reading == Reading::Lenient && error.fault != Fault::TooLarge => {
            lenient::request(bytes).ok_or(error)
        }
        read => read,
    }
}

fn parse_request<'b>(
    bytes: &'b [u8],
    limits: &Limits,
    reading: Reading,
) -> Result<RequestHead<'b>, Error> {
    let mut room = [const { MaybeUninit::uninit() }; Limits::HEADERS_MAX];
    let room = room
        .get_mut(..limits.headers.min(Limits::HEADERS_MAX))
        .unwrap_or_default();
    let mut request = httparse::Request::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config
        .parse_request_with_uninit_headers(&mut request, bytes, room)
        .map_err(|error| fault_of(error, reading))?;
    let (Some(method), Some(target), Some(minor), true) = (
        request.method,
        request.path,
        request.version,
        status.is_complete(),
    ) else {
        return Err(Error::new(
            Fault::Malformed,
            "bad-request-line",
            "RFC 9112 §3",
        ));
    };
    let mut framing = Framing::default();
    for header in request.headers.iter() {
        framing.see(header.name.as_bytes(), header.value);
    }
    let head = RequestHead {
        bytes,
        fields: after_first_line(bytes),
        method: method.as_bytes(),
        target: target.as_bytes(),
        version: 10 + minor,
        framing,
    };
    match reading {
        Reading::Strict => strict::check_request(&head, &head.framing)?,
        Reading::Lenient => {}
    }
    Ok(head)
}

/// What must be known of a request to read its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Asked {
    pub(super) is_head: bool,
    pub(super) is_connect: bool,
    /// Answered by the caller: the server does not see it.
    pub(super) is_refused: bool,
}

/// Reads a complete response head that answers `asked`.
pub(super) fn read_response<'b>(
    bytes: &'b [u8],
    limits: &Limits,
    asked: Option<Asked>,
    reading: Reading,
) -> Result<ResponseHead<'b>, Error> {
    match parse_response(bytes, limits, asked) {
        Err(error) if reading == Reading::Lenient && error.fault != Fault::TooLarge => {
            lenient::response(bytes, asked).ok_or(error)
        }
        read => read,
    }
}

fn parse_response<'b>(
    bytes: &'b [u8],
    limits: &Limits,
    asked: Option<Asked>,
) -> Result<ResponseHead<'b>, Error> {
    let mut room = [const { MaybeUninit::uninit() }; Limits::HEADERS_MAX];
    let room = room
        .get_mut(..limits.headers.min(Limits::HEADERS_MAX))
        .unwrap_or_default();
    let mut response = httparse::Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    config.allow_spaces_after_header_name_in_responses(true);
    config.allow_obsolete_multiline_headers_in_responses(true);
    let status = config
        .parse_response_with_uninit_headers(&mut response, bytes, room)
        .map_err(|error| fault_of(error, Reading::Lenient))?;
    let (Some(code), Some(minor), true) = (response.code, response.version, status.is_complete())
    else {
        return Err(Error::new(
            Fault::Malformed,
            "bad-status-line",
            "RFC 9112 §4",
        ));
    };
    let mut framing = Framing::default();
    for header in response.headers.iter() {
        framing.see(header.name.as_bytes(), header.value);
    }
    let is_tunnel = asked.is_some_and(|asked| asked.is_connect) && (200..300).contains(&code);
    Ok(ResponseHead {
        bytes,
        fields: after_first_line(bytes),
        code,
        version: 10 + minor,
        body: response_body(code, &framing, asked),
        is_switching: code == 101 || is_tunnel,
    })
}

/// RFC 9112 §6.3, in its order.
fn response_body(code: u16, framing: &Framing<'_>, asked: Option<Asked>) -> BodyKind {
    let is_head = asked.is_some_and(|asked| asked.is_head);
    if is_head || code < 200 || code == 204 || code == 304 {
        return BodyKind::None;
    }
    if let Some(coding) = framing.coding {
        return if is_chunked(coding) {
            BodyKind::Chunked
        } else {
            BodyKind::UntilClose
        };
    }
    match framing.length.and_then(parse_length) {
        Some(0) => BodyKind::None,
        Some(length) => BodyKind::Length(length),
        None => BodyKind::UntilClose,
    }
}

impl<'b> Framing<'b> {
    fn see(&mut self, name: &'b [u8], value: &'b [u8]) {
        // The length decides first: nearly all fields are none of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.host = self.host.or(Some(value));
                self.hosts += 1;
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = Some(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.length = self.length.or(Some(value));
                self.lengths += 1;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                // The last one is the outermost coding.
                self.coding = Some(value);
                self.codings += 1;
            }
            _ => {}
        }
    }
}

fn fault_of(error: httparse::Error, reading: Reading) -> Error {
    match error {
        httparse::Error::TooManyHeaders => {
            Error::new(Fault::TooLarge, "too-many-headers", "RFC 6585 §5")
        }
        httparse::Error::Version => Error::new(Fault::Unsupported, "bad-version", "RFC 9112 §2.3"),
        httparse::Error::Token if reading == Reading::Lenient => {
            Error::new(Fault::NotThisProtocol, "not-http", "RFC 9112 §2.1")
        }
        httparse::Error::HeaderName => {
            Error::new(Fault::Malformed, "bad-header-name", "RFC 9110 §5.1")
        }
        httparse::Error::HeaderValue => {
            Error::new(Fault::Malformed, "bad-header-value", "RFC 9110 §5.5")
        }
        httparse::Error::Token | httparse::Error::NewLine | httparse::Error::Status => {
            Error::new(Fault::Malformed, "bad-head", "RFC 9112 §2.1")
        }
    }
}

/// Whether chunked is the last coding of a list.
pub(super) fn is_chunked(coding: &[u8]) -> bool {
    let last = coding
        .rsplit(|byte| *byte == b',')
        .next()
        .unwrap_or_default();
    last.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

/// Digits only: no sign, no blank, no list.
pub(super) fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// What follows `http://`, for absolute-form targets.
pub(super) fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    if target.first() == Some(&b'/') {
        return None;
    }
    let colon = memchr::memmem::find(target, b"://")?;
    target.get(colon + 3..)
}

fn after_first_line(bytes: &[u8]) -> &[u8] {
    memchr::memchr(b'\n', bytes)
        .and_then(|end| bytes.get(end + 1..))
        .unwrap_or_default()
}

/// Splits the lines behind the first; a line that begins with a blank goes on with the value before
/// it (RFC 9112 §5.2), line end and all.
fn fields<'b>(lines: &'b [u8]) -> impl Iterator<Item = Header<'b>> + Clone {
    let mut rest = lines;
    let lines = std::iter::from_fn(move || {
        let mut end = 0;
        loop {
            let more = rest.get(end..)?;
            let line = memchr::memchr(b'\n', more).map_or(more.len(), |line| line + 1);
            end += line;
            if !matches!(rest.get(end), Some(b' ' | b'\t')) || line == 0 {
                break;
            }
        }
        let (line, after) = rest.split_at_checked(end)?;
        rest = after;
        (!line.is_empty()).then_some(line)
    });
    lines.filter_map(|line: &'b [u8]| {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = line.split_at(colon);
        Some(Header {
            name: name.trim_ascii_end(),
            value: value.get(1..).unwrap_or_default().trim_ascii(),
        })
    })
}
