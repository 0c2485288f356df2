//! The settings that an HTTP/1.1 request carries when it offers h2c (RFC 7540 §3.2.1).

/// Base64url without padding (RFC 4648 §5); padding is put up with.
pub(super) fn decode_base64url(text: &[u8]) -> Option<Vec<u8>> {
    let unpadded = text.trim_ascii_end();
    let end = unpadded.iter().rposition(|byte| *byte != b'=');
    let digits = unpadded.get(..end.map_or(0, |end| end + 1))?;
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut word, mut have) = (0_u32, 0_u32);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        word = word << 6 | u32::from(value);
        have += 6;
        if have >= 8 {
            have -= 8;
            bytes.push(u8::try_from(word >> have & 0xff).ok()?);
        }
    }
    // One digit alone is no byte.
    (have < 6).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_base64url_with_and_without_padding() {
        assert_eq!(
            decode_base64url(b"AAMAAABkAAQAAP__"),
            Some(b"\0\x03\0\0\0\x64\0\x04\0\0\xff\xff".to_vec())
        );
        assert_eq!(decode_base64url(b"TQ=="), Some(b"M".to_vec()));
        assert_eq!(decode_base64url(b""), Some(Vec::new()));
        for bad in [&b"A"[..], b"AA!A", b"AAAAA"] {
            assert_eq!(decode_base64url(bad), None, "{bad:?}");
        }
    }
}
