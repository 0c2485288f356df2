//! UDP headers, for datagrams that leave by a raw socket with somebody else's address and port.

use std::net::{IpAddr, SocketAddr};

/// Bytes of the header.
pub(super) const HEADER: usize = 8;
/// IANA protocol number.
const UDP: u16 = 17;

/// The header of a datagram (RFC 768) with its checksum, which IPv6 demands (RFC 8200 §8.1). `None` of
/// one that is too long for UDP.
pub(super) fn header(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Option<[u8; HEADER]> {
    let length = u16::try_from(payload.len().checked_add(HEADER)?).ok()?;
    let mut sum = Sum::default();
    sum.address(from.ip());
    sum.address(to.ip());
    for word in [UDP, length, from.port(), to.port(), length] {
        sum.word(word);
    }
    sum.bytes(payload);
    let words = [from.port(), to.port(), length, sum.finish()];
    let mut header = [0; HEADER];
    for (place, byte) in header
        .iter_mut()
        .zip(words.into_iter().flat_map(u16::to_be_bytes))
    {
        *place = byte;
    }
    Some(header)
}

/// The Internet checksum (RFC 1071): words added with the carry brought round.
#[derive(Default)]
struct Sum(u64);

impl Sum {
    fn word(&mut self, word: u16) {
        self.0 += u64::from(word);
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.bytes(&v4.octets()),
            IpAddr::V6(v6) => self.bytes(&v6.octets()),
        }
    }

    /// An odd byte at the end counts as if a zero followed.
    fn bytes(&mut self, bytes: &[u8]) {
        let mut quads = bytes.chunks_exact(4);
        for quad in &mut quads {
            if let [a, b, c, d] = *quad {
                self.0 += u64::from(u32::from_be_bytes([a, b, c, d]));
            }
        }
        let mut rest = [0; 4];
        for (to, from) in rest.iter_mut().zip(quads.remainder()) {
            *to = *from;
        }
        self.0 += u64::from(u32::from_be_bytes(rest));
    }

    /// Zero would mean that there is none, so it is sent as its other form.
    fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        match u16::try_from(sum) {
            Ok(0xffff) | Err(_) => 0xffff,
            Ok(sum) => !sum,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// A receiver adds everything up, the checksum included, and gets all ones.
    fn is_right(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> bool {
        let header = header(from, to, payload).expect("short enough");
        let mut sum = Sum::default();
        sum.address(from.ip());
        sum.address(to.ip());
        sum.word(UDP);
        sum.word(u16::from_be_bytes([header[4], header[5]]));
        sum.bytes(&header);
        sum.bytes(payload);
        let mut sum = sum.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum == 0xffff
    }

    #[test]
    fn a_known_datagram_has_its_known_checksum() {
        // A query for `a`, summed up by another program.
        let header = header(
            address("10.0.0.1:40000"),
            address("10.0.0.2:53"),
            &[
                0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1,
            ],
        );
        assert_eq!(header, Some([0x9c, 0x40, 0, 53, 0, 27, 0x38, 0xaa]));
    }

    #[test]
    fn receivers_of_both_families_find_it_right_at_every_length() {
        let payload: Vec<u8> = (0..300_u16).map(|at| at.to_be_bytes()[1] ^ 0xa5).collect();
        for length in 0..payload.len() {
            let payload = &payload[..length];
            assert!(is_right(
                address("10.1.2.3:1"),
                address("192.0.2.1:65535"),
                payload
            ));
            assert!(is_right(
                address("[2001:db8::1]:53"),
                address("[fd00::2]:9"),
                payload
            ));
        }
    }

    #[test]
    fn what_is_too_long_for_udp_has_no_header() {
        let at = address("10.0.0.1:1");
        assert!(header(at, at, &vec![0; 65_527]).is_some());
        assert!(header(at, at, &vec![0; 65_528]).is_none());
    }
}
