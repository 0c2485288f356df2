//! What two implementations could read differently: one rule per function. Each is refused on
//! enforced ports, since a request that the server reads differently was never judged.

use super::body::BodyKind;
use super::head::{Framing, RequestHead, after_scheme, is_chunked, parse_length};
use crate::detect::is_host_byte;
use crate::error::{Error, Fault};

/// All rules.
pub(super) fn check_request(head: &RequestHead<'_>, framing: &Framing<'_>) -> Result<(), Error> {
    line_ends(head.bytes())?;
    length_and_coding(framing)?;
    several_lengths(framing)?;
    bad_length(framing)?;
    tunnel_with_body(head)?;
    coding_in_old_version(head, framing)?;
    unknown_coding(framing)?;
    host_count(head, framing)?;
    bad_host(framing)?;
    target_form(head)?;
    target_characters(head)?;
    host_against_target(head, framing)
}

const fn ambiguous(rule: &'static str, section: &'static str) -> Error {
    Error::new(Fault::Ambiguous, rule, section)
}

/// Some end a line at LF, some at CRLF only; some read a lone CR as a blank. A line that starts with a
/// blank continues the one before, or is a field, or ends the head.
fn line_ends(bytes: &[u8]) -> Result<(), Error> {
    let mut lines = 0;
    let mut is_folded = false;
    for end in memchr::memchr_iter(b'\n', bytes) {
        if end.checked_sub(1).and_then(|before| bytes.get(before)) != Some(&b'\r') {
            return Err(ambiguous("bare-lf", "RFC 9112 §2.2"));
        }
        is_folded |= matches!(bytes.get(end + 1), Some(b' ' | b'\t'));
        lines += 1;
    }
    // Each line end has its own; another stands alone.
    if memchr::memchr_iter(b'\r', bytes).count() != lines {
        return Err(ambiguous("bare-cr", "RFC 9112 §2.2"));
    }
    if is_folded {
        return Err(ambiguous("folded-line", "RFC 9112 §5.2"));
    }
    Ok(())
}

/// The classic of request smuggling: which of the two ends the body?
fn length_and_coding(framing: &Framing<'_>) -> Result<(), Error> {
    if framing.length.is_some() && framing.coding.is_some() {
        return Err(ambiguous(
            "content-length-with-transfer-encoding",
            "RFC 9112 §6.1",
        ));
    }
    Ok(())
}

/// First, last, or the sum?
fn several_lengths(framing: &Framing<'_>) -> Result<(), Error> {
    if framing.lengths > 1 {
        return Err(ambiguous("several-content-lengths", "RFC 9112 §6.3"));
    }
    Ok(())
}

/// `+5`, `5, 5`, `0x5`: what a lenient number reader makes of it differs.
fn bad_length(framing: &Framing<'_>) -> Result<(), Error> {
    match framing.length.map(parse_length) {
        Some(None) => Err(Error::new(
            Fault::Malformed,
            "bad-content-length",
            "RFC 9110 §8.6",
        )),
        Some(Some(_)) | None => Ok(()),
    }
}

/// What follows such a head is the tunnel's, or a body: readers differ.
fn tunnel_with_body(head: &RequestHead<'_>) -> Result<(), Error> {
    if head.is_connect() && head.body() != BodyKind::None {
        return Err(ambiguous("connect-with-body", "RFC 9110 §9.3.6"));
    }
    Ok(())
}

/// A server of that version does not know the field and sees a body that ends elsewhere.
fn coding_in_old_version(head: &RequestHead<'_>, framing: &Framing<'_>) -> Result<(), Error> {
    if head.version() == 10 && framing.coding.is_some() {
        return Err(ambiguous("transfer-encoding-in-http-1.0", "RFC 9112 §6.1"));
    }
    Ok(())
}

/// Anything but a single `chunked`: `xchunked`, `chunked, identity`, `gzip, chunked`.
fn unknown_coding(framing: &Framing<'_>) -> Result<(), Error> {
    let Some(coding) = framing.coding else {
        return Ok(());
    };
    if framing.codings > 1 {
        return Err(ambiguous("several-transfer-encodings", "RFC 9112 §6.1"));
    }
    if coding.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    if is_chunked(coding) {
        return Err(Error::new(
            Fault::Unsupported,
            "transfer-coding-list",
            "RFC 9112 §6.1",
        ));
    }
    Err(ambiguous("chunked-is-not-last", "RFC 9112 §6.1"))
}

/// Two hosts are two sites; none is anybody's guess.
fn host_count(head: &RequestHead<'_>, framing: &Framing<'_>) -> Result<(), Error> {
    match (framing.hosts, head.version()) {
        (0, 11) => Err(Error::new(Fault::Malformed, "no-host", "RFC 9112 §3.2")),
        (0 | 1, _) => Ok(()),
        _ => Err(ambiguous("several-hosts", "RFC 9112 §3.2")),
    }
}

/// A host with a path, a user or a blank in it is read in as many ways as there are readers.
fn bad_host(framing: &Framing<'_>) -> Result<(), Error> {
    match framing.host {
        Some(host) if !host.iter().all(|byte| is_host_byte(*byte)) => {
            Err(ambiguous("bad-host", "RFC 9110 §7.2"))
        }
        Some(_) | None => Ok(()),
    }
}

/// RFC 9112 §3.2: each form goes with its methods.
fn target_form(head: &RequestHead<'_>) -> Result<(), Error> {
    let target = head.target();
    let is_fit = match target.first() {
        Some(b'/') => !head.is_connect(),
        Some(b'*') => target.len() == 1 && head.method() == b"OPTIONS",
        Some(_) if head.is_connect() => memchr::memchr(b'/', target).is_none(),
        Some(_) => {
            let scheme = target.get(..7).unwrap_or_default();
            scheme.eq_ignore_ascii_case(b"http://")
        }
        None => false,
    };
    if is_fit {
        Ok(())
    } else {
        Err(ambiguous("bad-target-form", "RFC 9112 §3.2"))
    }
}

/// A fragment is no part of a target; servers cut it, or do not (CVE-2021-32779).
fn target_characters(head: &RequestHead<'_>) -> Result<(), Error> {
    let is_fit = |byte: &u8| (0x21..0x7f).contains(byte) && *byte != b'#';
    if head.target().iter().all(is_fit) {
        return Ok(());
    }
    Err(ambiguous("bad-target-character", "RFC 9112 §3.2"))
}

/// The target's authority replaces Host (RFC 9112 §3.2.2), but not everybody does so.
fn host_against_target(head: &RequestHead<'_>, framing: &Framing<'_>) -> Result<(), Error> {
    let (Some(host), Some(_)) = (framing.host, after_scheme(head.target())) else {
        return Ok(());
    };
    match head.authority() {
        Some(authority) if authority.eq_ignore_ascii_case(host) => Ok(()),
        Some(_) | None => Err(ambiguous("host-differs-from-target", "RFC 9112 §3.2.2")),
    }
}
