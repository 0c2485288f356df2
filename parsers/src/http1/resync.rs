//! Finding the next message where bytes are missing: after a gap, or in a capture that began late.

use crate::Direction;

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

/// Request lines longer than this are none, however their bytes come.
const LINE_MAX: usize = 8 << 10;

/// No method of [`METHODS`] is longer.
const METHOD_MAX: usize = 10;

/// Looks for a start line behind a line end or a byte that stands in no text; `before` is the byte in
/// front of `bytes`, if it is known. Where a segment began plays no part: any cut finds the same.
pub(super) fn find_head(direction: Direction, before: Option<u8>, bytes: &[u8]) -> Find {
    let first = match direction {
        Direction::ToServer => u8::is_ascii_uppercase,
        Direction::ToClient => |byte: &u8| *byte == b'H',
    };
    let mut previous = before.unwrap_or(b'\n');
    let mut line = LineEnd::default();
    for (start, byte) in bytes.iter().enumerate() {
        let is_boundary = !matches!(previous, b' '..=b'~' | b'\t');
        previous = *byte;
        if !is_boundary || !first(byte) {
            continue;
        }
        let rest = bytes.get(start..).unwrap_or_default();
        let verdict = match direction {
            Direction::ToServer => request_line(rest, || line.behind(start, bytes)),
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

/// Methods of the registry that clients use (RFC 9110 §9, RFC 4918, RFC 3253, RFC 5789). Only these: the
/// end of a method is a method by its form, too.
const METHODS: [&[u8]; 22] = [
    b"GET",
    b"POST",
    b"PUT",
    b"HEAD",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"CONNECT",
    b"TRACE",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"CHECKOUT",
    b"MERGE",
    b"MKACTIVITY",
    b"QUERY",
];

/// Where the present line ends. Looked for once a line: a line may hold thousands of methods.
#[derive(Default)]
struct LineEnd {
    /// Bytes up to here were looked through.
    seen: usize,
    at: Option<usize>,
}

impl LineEnd {
    /// How far behind `start` the line ends, if it does.
    fn behind(&mut self, start: usize, bytes: &[u8]) -> Option<usize> {
        if start >= self.seen {
            let rest = bytes.get(start..).unwrap_or_default();
            self.at = memchr::memchr(b'\n', rest).map(|end| start + end);
            self.seen = self.at.map_or(bytes.len(), |end| end + 1);
        }
        self.at.map(|end| end - start)
    }
}

/// A known method, a target, and the version before the end of the line.
fn request_line(bytes: &[u8], line_end: impl FnOnce() -> Option<usize>) -> Verdict {
    let start = bytes.get(..=METHOD_MAX).unwrap_or(bytes);
    let method = memchr::memchr(b' ', start).map(|end| start.get(..end).unwrap_or_default());
    let Some(method) = method else {
        let may_become_one = METHODS.iter().any(|known| known.starts_with(start));
        return if may_become_one {
            Verdict::Open
        } else {
            Verdict::Other
        };
    };
    if !METHODS.contains(&method) {
        return Verdict::Other;
    }
    let Some(end) = line_end() else {
        return if bytes.len() <= LINE_MAX {
            Verdict::Open
        } else {
            Verdict::Other
        };
    };
    if end > LINE_MAX {
        return Verdict::Other;
    }
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
            (ToServer, b"\x04\0GET /x HTTP/1.1\r\n", Find::At(2)),
            (ToServer, b"forGET /x HTTP/1.1\r\n", Find::Open(20)),
            (ToClient, b"< HTTP/1.1 200 OK\r\n", Find::Open(19)),
        ] {
            assert_eq!(find_head(direction, None, bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_long_line_is_no_request_whether_its_end_is_there_or_not() {
        let mut line = b"GET /".to_vec();
        line.resize(LINE_MAX + 1, b'x');
        assert_eq!(
            find_head(ToServer, None, &line),
            Find::Open(line.len()),
            "without its end"
        );
        line.extend_from_slice(b" HTTP/1.1\r\nGET / HTTP/1.1\r\n");
        let next = line.len() - b"GET / HTTP/1.1\r\n".len();
        assert_eq!(find_head(ToServer, None, &line), Find::At(next));
    }

    #[test]
    fn methods_in_one_line_share_its_end() {
        let line = b"GET \0POST \0GET /x HTTP/1.1\nno";
        assert_eq!(find_head(ToServer, None, line), Find::At(0));
        let mut ends = LineEnd::default();
        assert_eq!(ends.behind(0, line), Some(26));
        assert_eq!(ends.behind(5, line), Some(21));
        assert_eq!(ends.behind(27, line), None);
    }
}
