//! Integers with a prefix (RFC 7541 §5.1).

#![deny(clippy::arithmetic_side_effects)]

use crate::error::{Error, Fault};

const TOO_LARGE: Error = Error::new(Fault::Malformed, "integer-too-large", "RFC 7541 §5.1");
pub(super) const TRUNCATED: Error =
    Error::new(Fault::Malformed, "truncated-header-block", "RFC 7541 §3");

/// Reads an integer whose prefix is the bits of `mask` in `first`; gives back what follows it.
#[inline]
pub(super) fn read(first: u8, mask: u8, rest: &[u8]) -> Result<(u32, &[u8]), Error> {
    let prefix = first & mask;
    if prefix < mask {
        Ok((u32::from(prefix), rest))
    } else {
        read_long(u32::from(mask), rest)
    }
}

/// Five bytes hold more than any limit allows; a sixth would only hide a value.
fn read_long(prefix: u32, bytes: &[u8]) -> Result<(u32, &[u8]), Error> {
    let mut value = u64::from(prefix);
    let mut rest = bytes;
    for shift in [0_u32, 7, 14, 21, 28] {
        let (byte, after) = rest.split_first().ok_or(TRUNCATED)?;
        rest = after;
        value = value.saturating_add(u64::from(byte & 0x7f) << shift);
        if byte & 0x80 == 0 {
            // Kept below 2³¹, so that places in a text can be marked.
            return match u32::try_from(value) {
                Ok(value) if value <= u32::MAX >> 1 => Ok((value, rest)),
                Ok(_) | Err(_) => Err(TOO_LARGE),
            };
        }
    }
    Err(TOO_LARGE)
}

/// Appends an integer with a prefix of the bits of `mask`; `pattern` fills the bits above it.
pub(super) fn write(pattern: u8, mask: u8, value: usize, out: &mut Vec<u8>) {
    let Some(mut left) = value.checked_sub(usize::from(mask)) else {
        out.push(pattern | u8::try_from(value).unwrap_or(mask));
        return;
    };
    out.push(pattern | mask);
    while left >= 0x80 {
        out.push(0x80 | u8::try_from(left & 0x7f).unwrap_or_default());
        left >>= 7;
    }
    out.push(u8::try_from(left).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_examples_of_the_rfc() {
        assert_eq!(read(0b0110_1010, 31, &[]), Ok((10, &[][..])));
        assert_eq!(read(0b1111_1111, 31, &[154, 10, 7]), Ok((1337, &[7][..])));
        assert_eq!(read(42, 255, &[1]), Ok((42, &[1][..])));
    }

    #[test]
    fn refuses_what_does_not_fit_or_does_not_end() {
        for bytes in [
            &[0xff, 0xff, 0xff, 0xff, 0x0f][..],
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
            &[0xff, 0xff, 0xff, 0xff, 0x7f],
        ] {
            assert_eq!(read(31, 31, bytes), Err(TOO_LARGE), "{bytes:?}");
        }
        assert_eq!(read(31, 31, &[0x80, 0x80]), Err(TRUNCATED));
    }

    #[test]
    fn what_is_written_is_read() {
        for mask in [15, 31, 63, 127] {
            for value in [0, 14, 15, 30, 31, 127, 128, 255, 1337, 65_536, 0x7fff_ffff] {
                let mut out = Vec::new();
                write(0, mask, value, &mut out);
                let (first, rest) = out.split_first().expect("a byte");
                let (read, rest) = read(*first, mask, rest).expect("own integer");
                assert_eq!((read as usize, rest), (value, &[][..]));
            }
        }
    }
}
