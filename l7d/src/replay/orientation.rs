//! Who of two is the client, where the start of their connection was not captured.

use parsers::Direction as Way;
use parsers::detect::{self, Protocol};
use parsers::packet::{Tcp, TcpFlags};

/// Whether this segment, the first one seen, comes from the client.
pub(crate) fn is_from_client(tcp: &Tcp<'_>) -> bool {
    if tcp.flags.has(TcpFlags::SYN) {
        return !tcp.flags.has(TcpFlags::ACK);
    }
    let reads_as = |way| {
        let detected = detect::detect(way, tcp.payload);
        matches!(detected, Some(Protocol::Http1 | Protocol::Http2))
    };
    match (reads_as(Way::ToServer), reads_as(Way::ToClient)) {
        // A response's start is longer than what any word at the front of other bytes looks like.
        (_, true) => false,
        (true, false) if tcp.payload.contains(&b'\n') => true,
        // Servers listen on the lower port, nearly always.
        _ => tcp.source_port > tcp.destination_port,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_from_client_of(ports: (u16, u16), flags: u8, payload: &[u8]) -> bool {
        is_from_client(&Tcp {
            source_port: ports.0,
            destination_port: ports.1,
            sequence: 0,
            acknowledged: 0,
            flags: TcpFlags(flags),
            window: 0,
            payload,
            missing: 0,
        })
    }

    #[test]
    fn the_client_is_known_by_its_first_segment_its_words_or_its_port() {
        let (up, down) = ((40000, 80), (80, 40000));
        assert!(is_from_client_of(down, 0x02, b""));
        assert!(!is_from_client_of(up, 0x12, b""));
        assert!(is_from_client_of(down, 0x10, b"GET / HTTP/1.1\r\n"));
        assert!(!is_from_client_of(up, 0x10, b"HTTP/1.1 200 OK\r\n"));
        assert!(is_from_client_of(up, 0x10, b"\x00\x01"));
        assert!(!is_from_client_of(down, 0x10, b"\x00\x01"));
    }
}
