//! Finding the next message where bytes are missing: after a gap, or in a capture that began late.

use crate::Direction;
use crate::detect::is_token;

/// What looking through bytes found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Find {
    /// A head begins there.
    At(usize),
    /// None before that place; from there on it takes more bytes to tell.
    Open(usize),
}

enum Verdict {
    Head,
    Open,
    Other,
}

/// Request lines longer than this are not waited for.
const LINE_MAX: usize = 8 << 10;
const METHOD_MAX: usize = 24;

/// Looks for a start line, at the front and behind each line end.
pub(super) fn find_head(direction: Direction, bytes: &[u8]) -> Find {
    let ends = memchr::memchr_iter(b'\n', bytes).map(|at| at + 1);
    for start in std::iter::once(0).chain(ends) {
        let rest = bytes.get(start..).unwrap_or_default();
        let verdict = match direction {
            Direction::ToServer => request_line(rest),
            Direction::ToClient => status_line(rest),
        };
        match verdict {
            Verdict::Head => return Find::At(start),
            Verdict::Open => return Find::Open(start),
            Verdict::Other => {}
        }
    }
    Find::Open(bytes.len())
}

/// `HTTP/1.1 200`, and a space or the end of the line.
fn status_line(bytes: &[u8]) -> Verdict {
    const PATTERN: &[u8; 13] = b"HTTP/1.? ### ";
    for (index, class) in PATTERN.iter().enumerate() {
        let Some(byte) = bytes.get(index) else {
            return Verdict::Open;
        };
        let fits = match class {
            b'?' => matches!(byte, b'0' | b'1'),
            b'#' => byte.is_ascii_digit(),
            b' ' if index == 12 => matches!(byte, b' ' | b'\r' | b'\n'),
            class => byte == class,
        };
        if !fits {
            return Verdict::Other;
        }
    }
    Verdict::Head
}

/// A method in capitals, a target, and the version before the end of the line.
fn request_line(bytes: &[u8]) -> Verdict {
    let method = bytes
        .iter()
        .take_while(|byte| is_token(**byte) && !byte.is_ascii_lowercase())
        .count();
    match bytes.get(method) {
        None if method <= METHOD_MAX => return Verdict::Open,
        Some(b' ') if (1..=METHOD_MAX).contains(&method) => {}
        Some(_) | None => return Verdict::Other,
    }
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return if bytes.len() <= LINE_MAX {
            Verdict::Open
        } else {
            Verdict::Other
        };
    };
    let line = bytes.get(..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0") {
        Verdict::Head
    } else {
        Verdict::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{ToClient, ToServer};

    #[test]
    fn start_lines_are_found_in_the_middle_of_other_bytes() {
        for (direction, bytes, expected) in [
            (ToClient, &b"HTTP/1.1 200 OK\r\n"[..], Find::At(0)),
            (ToClient, b"of a body\r\nHTTP/1.0 404\r\n", Find::At(11)),
            (ToClient, b"of a body\nHTTP/1.", Find::Open(10)),
            (ToClient, b"HTTP/1.1 is a protocol\n", Find::Open(23)),
            (ToServer, b"a=b&c=d\r\nGET /x HTTP/1.1\r\n", Find::At(9)),
            (ToServer, b"GET /x of the shelf\nPOST ", Find::Open(20)),
            (ToServer, b"get /x HTTP/1.1\r\n", Find::Open(17)),
        ] {
            assert_eq!(find_head(direction, bytes), expected, "{bytes:?}");
        }
    }
}
