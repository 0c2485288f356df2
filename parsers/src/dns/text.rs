//! Bytes as master files write them.

#![deny(clippy::arithmetic_side_effects)]

use std::fmt::{self, Write};

/// A buffer that is written to as text.
pub(super) struct Room<'t> {
    room: &'t mut [u8],
    length: usize,
}

impl<'t> Room<'t> {
    pub(super) fn new(room: &'t mut [u8]) -> Self {
        Self { room, length: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn push(&mut self, byte: u8) -> fmt::Result {
        let place = self.room.get_mut(self.length).ok_or(fmt::Error)?;
        *place = byte;
        self.length = self.length.saturating_add(1);
        Ok(())
    }

    /// A label and a dot.
    pub(super) fn label(&mut self, label: &[u8]) -> fmt::Result {
        if !is_plain(label) {
            write_label(self, label)?;
            return self.push(b'.');
        }
        let end = self.length.saturating_add(label.len());
        let place = self.room.get_mut(self.length..=end).ok_or(fmt::Error)?;
        let (dot, text) = place.split_last_mut().ok_or(fmt::Error)?;
        text.copy_from_slice(label);
        *dot = b'.';
        self.length = end.saturating_add(1);
        Ok(())
    }

    /// The text in lower case.
    pub(super) fn into_lower(self) -> Option<&'t str> {
        let text = self.room.get_mut(..self.length)?;
        text.make_ascii_lowercase();
        std::str::from_utf8(text).ok()
    }
}

impl Write for Room<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length.checked_add(text.len()).ok_or(fmt::Error)?;
        let place = self.room.get_mut(self.length..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Whether a label can be written as it is, as those of hosts can.
fn is_plain(label: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    label.iter().all(is_plain)
}

/// A label: what separates, quotes or comments in a master file gets a backslash, what cannot be
/// seen its number (RFC 1035 §5.1).
pub(super) fn write_label(out: &mut impl Write, label: &[u8]) -> fmt::Result {
    if is_plain(label)
        && let Ok(text) = std::str::from_utf8(label)
    {
        return out.write_str(text);
    }
    for &byte in label {
        match byte {
            b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                out.write_char('\\')?;
                out.write_char(char::from(byte))?;
            }
            0x21..=0x7e => out.write_char(char::from(byte))?,
            _ => write!(out, "\\{byte:03}")?,
        }
    }
    Ok(())
}

/// A character-string in quotes: only the quote and the backslash are special there.
pub(super) fn write_quoted(out: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    out.write_char('"')?;
    for &byte in bytes {
        write_quotable(out, byte)?;
    }
    out.write_char('"')
}

/// One byte of a quoted string.
pub(super) fn write_quotable(out: &mut impl Write, byte: u8) -> fmt::Result {
    match byte {
        b'"' | b'\\' => {
            out.write_char('\\')?;
            out.write_char(char::from(byte))
        }
        0x20..=0x7e => out.write_char(char::from(byte)),
        _ => write!(out, "\\{byte:03}"),
    }
}

pub(super) fn write_hex(out: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02X}"))
}

/// RFC 4648 §4, padded.
pub(super) fn write_base64(out: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        write_digits(out, group, 6, 4, DIGITS)?;
        for _ in group.len()..3 {
            out.write_char('=')?;
        }
    }
    Ok(())
}

/// RFC 4648 §7 without padding, as RFC 5155 §3.3 wants it.
pub(super) fn write_base32(out: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";
    bytes
        .chunks(5)
        .try_for_each(|group| write_digits(out, group, 5, 8, DIGITS))
}

/// As many of a group's `most` digits of `width` bits as its bytes reach into.
fn write_digits(
    out: &mut impl Write,
    group: &[u8],
    width: u32,
    most: u32,
    digits: &[u8],
) -> fmt::Result {
    let mut padded = [0; 8];
    for (place, byte) in padded.iter_mut().zip(group) {
        *place = *byte;
    }
    let mut bits = u64::from_be_bytes(padded);
    let filled = u32::try_from(group.len()).unwrap_or(0).saturating_mul(8);
    for _ in 0..filled.div_ceil(width).min(most) {
        bits = bits.rotate_left(width);
        let index = usize::try_from(bits & !(u64::MAX << width)).unwrap_or(0);
        bits &= u64::MAX << width;
        out.write_char(digits.get(index).copied().map_or('?', char::from))?;
    }
    Ok(())
}
