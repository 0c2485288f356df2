//! Request targets: the path as sent and as servers may read it.

use std::borrow::Cow;

/// A path in both readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normalised<'t> {
    /// Path after RFC 3986 §6.2.2 normalisation and merging of slashes, with the query as sent.
    pub path: Cow<'t, [u8]>,
    /// Holds an encoded slash or backslash, a NUL, a raw backslash, or a percent sign that begins no
    /// escape: some servers read another path than the normalised one, and none can be foreseen.
    pub is_ambiguous: bool,
}

/// Normalises path and query of an origin-form target: unreserved characters decoded, dot segments
/// removed, runs of slashes merged. Borrows when nothing changes.
pub fn normalise(target: &[u8]) -> Normalised<'_> {
    let end = target
        .iter()
        .position(|byte| matches!(byte, b'?' | b'#'))
        .unwrap_or(target.len());
    let (path, query) = target.split_at(end);
    let is_ambiguous = has_ambiguity(path) || query.first() == Some(&b'#');
    if !needs_work(path) {
        return Normalised {
            path: Cow::Borrowed(target),
            is_ambiguous,
        };
    }
    let mut clean = remove_dots(&decode_unreserved(path));
    clean.extend_from_slice(query);
    Normalised {
        path: Cow::Owned(clean),
        is_ambiguous,
    }
}

fn has_ambiguity(path: &[u8]) -> bool {
    path.iter().any(|byte| matches!(byte, b'\\' | 0))
        || has_broken_escape(path)
        || path.windows(3).any(|window| match window {
            [b'%', high, low] => matches!(
                (high, low.to_ascii_lowercase()),
                (b'2', b'f') | (b'5', b'c') | (b'0', b'0')
            ),
            _ => false,
        })
}

/// Such a percent sign may become an escape once what follows it is decoded: `%%341` is `%41`, which
/// is `A` to whoever decodes again.
fn has_broken_escape(path: &[u8]) -> bool {
    memchr::memchr_iter(b'%', path).any(|at| {
        let digits = path.get(at.saturating_add(1)..at.saturating_add(3));
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn needs_work(path: &[u8]) -> bool {
    memchr::memchr(b'%', path).is_some()
        || memchr::memmem::find(path, b"//").is_some()
        || memchr::memmem::find(path, b"/.").is_some()
}

/// Decodes `%41` and the like; other escapes stay, in upper case (RFC 3986 §6.2.2.1, §6.2.2.2).
fn decode_unreserved(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        if let (b'%', Some(([high, low], after))) = (*first, tail.split_first_chunk::<2>())
            && let (Some(high_value), Some(low_value)) = (hex(*high), hex(*low))
        {
            let byte = high_value << 4 | low_value;
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                decoded.push(byte);
            } else {
                decoded.extend([b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
            }
            rest = after;
            continue;
        }
        decoded.push(*first);
        rest = tail;
    }
    decoded
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// RFC 3986 §5.2.4, empty segments dropped too.
fn remove_dots(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut ends_open = true;
    for segment in path.split(|byte| *byte == b'/') {
        ends_open = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    let mut clean = Vec::with_capacity(path.len());
    for segment in &segments {
        clean.push(b'/');
        clean.extend_from_slice(segment);
    }
    if ends_open {
        clean.push(b'/');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_sign_that_begins_no_escape_is_ambiguous() {
        for target in ["/%%341", "/%", "/a%4", "/%zz", "/%4/1"] {
            assert!(normalise(target.as_bytes()).is_ambiguous, "{target}");
        }
        assert!(!normalise(b"/%41%7e?%%341").is_ambiguous);
    }

    fn path(target: &str) -> String {
        String::from_utf8(normalise(target.as_bytes()).path.into_owned()).expect("text")
    }

    #[test]
    fn normalises_as_servers_do() {
        for (raw, clean) in [
            ("/", "/"),
            ("/a/b?c=d", "/a/b?c=d"),
            ("/a/../b", "/b"),
            ("/a/./b/", "/a/b/"),
            ("//a///b", "/a/b"),
            ("/%61dmin", "/admin"),
            ("/a/%2e%2e/b", "/b"),
            ("/a%2fb", "/a%2Fb"),
            ("/../..", "/"),
            ("/a?x=/../y", "/a?x=/../y"),
            ("/a/..", "/"),
            ("/100%", "/100%"),
        ] {
            assert_eq!(path(raw), clean, "{raw}");
        }
    }

    #[test]
    fn flags_what_servers_read_differently() {
        for raw in ["/a%2fb", "/a%5cb", "/a\\b", "/a%00", "/a#b"] {
            assert!(normalise(raw.as_bytes()).is_ambiguous, "{raw}");
        }
        assert!(!normalise(b"/a%20b?x=%2f").is_ambiguous);
    }

    #[test]
    fn borrows_what_is_clean() {
        assert!(matches!(normalise(b"/users/1?x=y").path, Cow::Borrowed(_)));
    }
}
