//! What a `ClientHello` must keep so that its name may decide: two readers could take different ones.

use std::collections::BTreeSet;

use super::{ClientHello, extensions, read_vector16};
use crate::error::{Error, Fault};

const fn ambiguous(rule: &'static str, section: &'static str) -> Error {
    Error::new(Fault::Ambiguous, rule, section)
}

const TWICE: Error = ambiguous("tls-extension-twice", "RFC 8446 §4.2");
const BROKEN: Error = ambiguous("bad-tls-extensions", "RFC 8446 §4.2");
const NAMES: Error = ambiguous("bad-server-name-list", "RFC 6066 §3");

impl ClientHello {
    /// The one name that the client asks for, as sent; none where it asks for none.
    ///
    /// # Errors
    /// When another reader could find another name, or find one where this one does not: an
    /// extension twice, several names, bytes behind a list.
    pub fn sole_server_name(&self) -> Result<Option<&[u8]>, Error> {
        let mut seen = BTreeSet::new();
        let mut length = 0_usize;
        let mut name = None;
        for (kind, body) in extensions(&self.extensions) {
            const HEADER: usize = 4;
            length = length.saturating_add(body.len()).saturating_add(HEADER);
            if !seen.insert(kind) {
                return Err(TWICE);
            }
            if kind == Self::SERVER_NAME {
                name = Some(sole_name(body).ok_or(NAMES)?);
            }
        }
        if self.is_exact && length == self.extensions.len() {
            Ok(name)
        } else {
            Err(BROKEN)
        }
    }
}

/// The name in a list of one.
fn sole_name(list: &[u8]) -> Option<&[u8]> {
    let (list, b"") = read_vector16(list)? else {
        return None;
    };
    let (0, rest) = list.split_first().map(|(kind, rest)| (*kind, rest))? else {
        return None;
    };
    let (name, b"") = read_vector16(rest)? else {
        return None;
    };
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(body: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(body.len()).expect("short").to_be_bytes();
        [&[high, low][..], body].concat()
    }

    fn extension(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[0, kind][..], &vector(body)].concat()
    }

    fn names(names: &[(u8, &str)]) -> Vec<u8> {
        let one = |(kind, name): &(u8, &str)| [&[*kind][..], &vector(name.as_bytes())].concat();
        vector(&names.iter().flat_map(one).collect::<Vec<u8>>())
    }

    fn hello(extensions: &[u8], behind: &[u8]) -> ClientHello {
        let start = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
        let message = [&start, &vector(extensions), behind].concat();
        ClientHello::read(&message).expect("a hello")
    }

    #[test]
    fn one_name_is_the_name() {
        let list = extension(0, &names(&[(0, "a.example")]));
        let other = extension(16, b"");
        let hello_with = hello(&[other.clone(), list].concat(), b"");
        assert_eq!(hello_with.sole_server_name(), Ok(Some(&b"a.example"[..])));
        assert_eq!(hello(&other, b"").sole_server_name(), Ok(None));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let one = extension(0, &names(&[(0, "a.example")]));
        let cases = [
            (hello(&[one.clone(), one.clone()].concat(), b""), TWICE),
            (
                hello(&extension(0, &names(&[(0, "a"), (0, "b")])), b""),
                NAMES,
            ),
            (
                hello(&extension(0, &names(&[(1, "x"), (0, "b")])), b""),
                NAMES,
            ),
            (hello(&extension(0, &names(&[(0, "")])), b""), NAMES),
            (hello(&extension(0, b""), b""), NAMES),
            (
                hello(&extension(0, &[names(&[(0, "a")]), vec![0]].concat()), b""),
                NAMES,
            ),
            (hello(&[&one[..], b"\0"].concat(), b""), BROKEN),
            (hello(&one, b"\0"), BROKEN),
        ];
        for (hello, expected) in cases {
            assert_eq!(hello.sole_server_name(), Err(expected), "{hello:?}");
        }
    }
}
