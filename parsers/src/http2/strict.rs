//! What a server could read differently than the judge, though HTTP/2 has no rule against it: many
//! servers pass a request on as HTTP/1 (RFC 9113 §10.3).

use super::headers::Head;
use crate::detect::{is_host_byte, is_token};
use crate::error::{Error, Fault};
use crate::grpc;

/// Checks a request beyond [`Head::fault`]. For enforced ports.
///
/// # Errors
/// Names the rule.
pub fn check_request(head: &Head<'_>) -> Result<(), Error> {
    if let Some(fault) = head.fault() {
        return Err(fault);
    }
    bad_method(head)?;
    bad_scheme(head)?;
    bad_host(head)?;
    target_characters(head)?;
    binary_values(head)
}

const fn ambiguous(rule: &'static str, section: &'static str) -> Error {
    Error::new(Fault::Ambiguous, rule, section)
}

/// A blank in a method ends the request line early, for a server behind the server (CVE-2023-27491).
fn bad_method(head: &Head<'_>) -> Result<(), Error> {
    match head.method() {
        Some(method) if !method.is_empty() && method.iter().all(|byte| is_token(*byte)) => Ok(()),
        Some(_) | None => Err(ambiguous("bad-method", "RFC 9110 §9.1")),
    }
}

/// `http://other/` in front of the path, for who builds a target of its parts.
fn bad_scheme(head: &Head<'_>) -> Result<(), Error> {
    let is_fit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    match head.scheme() {
        Some(scheme) if scheme.is_empty() || !scheme.iter().all(is_fit) => {
            Err(ambiguous("bad-scheme", "RFC 3986 §3.1"))
        }
        Some(_) | None => Ok(()),
    }
}

/// A host with a path, a user or a blank in it is read in as many ways as there are readers.
fn bad_host(head: &Head<'_>) -> Result<(), Error> {
    match head.authority() {
        Some(host) if host.is_empty() || !host.iter().all(|byte| is_host_byte(*byte)) => {
            Err(ambiguous("bad-host", "RFC 9110 §7.2"))
        }
        Some(_) => Ok(()),
        None => Err(Error::new(Fault::Malformed, "no-host", "RFC 9113 §8.3.1")),
    }
}

/// Blanks end a target, a fragment is cut or not, and bytes beyond ASCII are anything.
fn target_characters(head: &Head<'_>) -> Result<(), Error> {
    let is_fit = |byte: &u8| byte.is_ascii_graphic() && *byte != b'#';
    match head.path() {
        Some(path) if !path.iter().all(is_fit) => {
            Err(ambiguous("bad-target-character", "RFC 9112 §3.2"))
        }
        Some(_) | None => Ok(()),
    }
}

/// gRPC sends raw bytes behind a NUL in fields of a certain name, which no other protocol may; who
/// passes them on writes them as text ([`Field::raw_value`](crate::hpack::Field::raw_value)).
fn binary_values(head: &Head<'_>) -> Result<(), Error> {
    let has_raw = head.headers().any(|field| field.raw_value().is_some());
    let is_grpc = || head.header(b"content-type").is_some_and(grpc::is_grpc);
    if has_raw && !is_grpc() {
        return Err(ambiguous("bad-header-value", "RFC 9113 §8.2.1"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
    use crate::hpack::{Decoder, Encoder, Field};
    use crate::http2::{Findings, Role};

    fn rule_of(changed: (&[u8], &[u8])) -> Option<&'static str> {
        let usual: [(&[u8], &[u8]); 4] = [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", b"web"),
            (b":path", b"/x?y=z"),
        ];
        let mut fields: Vec<(&[u8], &[u8])> = usual.to_vec();
        match fields.iter_mut().find(|(name, _)| *name == changed.0) {
            Some(field) => field.1 = changed.1,
            None => fields.push(changed),
        }
        let fields: Vec<_> = fields
            .iter()
            .filter(|(_, value)| *value != b"none")
            .map(|(name, value)| Field::new(name, value))
            .collect();
        let mut block = Vec::new();
        Encoder::new(4096).encode(fields, &mut block);
        let mut decoder = Decoder::new(&Limits::default());
        decoder.decode(&block).unwrap();
        let findings = Findings::new(&decoder.list(), Role::Request, true);
        let head = Head::new(decoder.list(), &findings);
        check_request(&head).err().map(|error| error.rule)
    }

    #[test]
    fn what_a_server_could_read_differently_is_named() {
        for (name, value, expected) in [
            (&b"accept"[..], &b"*/*"[..], None),
            (b":method", b"PROPFIND", None),
            (b":method", b"GET /admin HTTP/1.1", Some("bad-method")),
            (b":method", b"", Some("bad-method")),
            (b":scheme", b"http://admin/?", Some("bad-scheme")),
            (b":authority", b"web/admin", Some("bad-host")),
            (b":authority", b"user@web", Some("bad-host")),
            (b":authority", b"", Some("bad-host")),
            (b":authority", b"none", Some("no-host")),
            (b":path", b"/a HTTP/1.1", Some("bad-target-character")),
            (b":path", b"/a#b", Some("bad-target-character")),
            (b":path", b"/\xff", Some("bad-target-character")),
            (b":path", b"admin", Some("bad-path")),
            (b"trace-bin", b"\0\r\nx", Some("bad-header-value")),
            (b"host", b"other", Some("host-differs-from-authority")),
            (
                b"transfer-encoding",
                b"chunked",
                Some("connection-specific-field"),
            ),
        ] {
            assert_eq!(rule_of((name, value)), expected, "{name:?} {value:?}");
        }
    }
}
