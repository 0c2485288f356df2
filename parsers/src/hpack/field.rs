//! Fields as numbers: where their text is, and what HTTP/2 makes of their name.
//!
//! The name and value of a field are looked at once, when they are read as text. A field that comes
//! again as an index carries what was found, which is what makes header-heavy traffic cheap.

/// A piece of text: in the static table's or the dynamic table's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Span {
    /// Marked with [`Span::STATIC`] for the static table's.
    pub(super) start: u32,
    pub(super) length: u32,
}

impl Span {
    pub(super) const STATIC: u32 = 1 << 31;
}

/// A field of a list or a table.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct FieldRef {
    pub(super) name: Span,
    pub(super) value: Span,
    pub(crate) class: Class,
    pub(crate) marks: Marks,
}

impl FieldRef {
    /// The size of an entry (RFC 7541 §4.1).
    #[inline]
    pub(super) fn entry_bytes(&self) -> usize {
        const OVERHEAD: usize = 32;
        (self.name.length as usize)
            .saturating_add(self.value.length as usize)
            .saturating_add(OVERHEAD)
    }
}

/// What was noted of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Marks(u8);

impl Marks {
    pub(crate) const NONE: Self = Self(0);
    /// The name holds what no name may (RFC 9113 §8.2.1).
    pub(crate) const BAD_NAME: Self = Self(1);
    /// The value holds what no value may (RFC 9113 §8.2.1).
    pub(crate) const BAD_VALUE: Self = Self(2);
    /// To be passed on as a literal that is never indexed (RFC 7541 §6.2.3).
    pub(crate) const NEVER_INDEXED: Self = Self(4);
    /// The name is in a table entry from before the capture.
    pub(crate) const UNKNOWN_NAME: Self = Self(8);
    /// So is the value.
    pub(crate) const UNKNOWN_VALUE: Self = Self(16);

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    #[inline]
    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a name means to HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Class {
    Regular,
    Authority,
    Method,
    Path,
    /// RFC 8441 §4.
    Protocol,
    Scheme,
    Status,
    UnknownPseudo,
    /// RFC 9113 §8.2.2.
    ConnectionSpecific,
    ContentLength,
    Host,
    Te,
    /// The name is not known.
    Unknown,
}

/// What a name means.
pub(super) const fn classify(name: &[u8]) -> Class {
    match name {
        b":authority" => Class::Authority,
        b":method" => Class::Method,
        b":path" => Class::Path,
        b":protocol" => Class::Protocol,
        b":scheme" => Class::Scheme,
        b":status" => Class::Status,
        [b':', ..] => Class::UnknownPseudo,
        b"te" => Class::Te,
        b"host" => Class::Host,
        b"content-length" => Class::ContentLength,
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
            Class::ConnectionSpecific
        }
        _ => Class::Regular,
    }
}

/// Names are tokens in lower case, after the colon of a pseudo-header (RFC 9113 §8.2.1).
pub(super) fn name_marks(name: &[u8]) -> Marks {
    let rest = name.strip_prefix(b":").unwrap_or(name);
    let is_good = rest.iter().fold(!rest.is_empty(), |is_good, byte| {
        is_good & is_name_byte(*byte)
    });
    if is_good {
        Marks::NONE
    } else {
        Marks::BAD_NAME
    }
}

#[inline]
fn is_name_byte(byte: u8) -> bool {
    /// A bit per byte value.
    static NAME_BYTES: [u64; 4] = name_bytes();
    let word = NAME_BYTES.get(usize::from(byte >> 6));
    word.is_some_and(|word| word >> (byte & 63) & 1 == 1)
}

#[expect(clippy::indexing_slicing, reason = "evaluated while compiling")]
const fn name_bytes() -> [u64; 4] {
    let mut words = [0; 4];
    let token = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz";
    let mut at = 0;
    while at < token.len() {
        let byte = token[at];
        words[(byte >> 6) as usize] |= 1 << (byte & 63);
        at += 1;
    }
    words
}

/// Values hold no NUL, CR or LF and no white space around them (RFC 9113 §8.2.1).
pub(super) fn value_marks(value: &[u8]) -> Marks {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    // Without an early end the compiler looks at many bytes at once.
    let has_control = value.iter().fold(false, |found, byte| {
        found | matches!(byte, b'\0' | b'\r' | b'\n')
    });
    if has_control || is_blank(value.first()) || is_blank(value.last()) {
        Marks::BAD_VALUE
    } else {
        Marks::NONE
    }
}

/// gRPC implementations that have agreed on it in their settings send binary metadata as it is, after
/// a NUL, where RFC 9113 would have base64 (gRPC proposal G1).
pub(super) fn is_grpc_binary(name: &[u8], value: &[u8]) -> bool {
    name.ends_with(b"-bin") && value.first() == Some(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_names_and_values_that_http2_refuses() {
        for name in [&b""[..], b":", b"Name", b"na me", b"na\0", b"a:b", b"n\xc3"] {
            assert!(name_marks(name).has(Marks::BAD_NAME), "{name:?}");
        }
        for name in [&b":path"[..], b"x-1", b"sec-ch-ua~"] {
            assert_eq!(name_marks(name), Marks::NONE, "{name:?}");
        }
        for value in [&b" a"[..], b"a\t", b"a\nb", b"\r", b"\0"] {
            assert!(value_marks(value).has(Marks::BAD_VALUE), "{value:?}");
        }
        for value in [&b""[..], b"a b", b"\xff"] {
            assert_eq!(value_marks(value), Marks::NONE, "{value:?}");
        }
    }
}
