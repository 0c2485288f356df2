//! Socket addresses and control messages as the kernel lays them out (`struct sockaddr_in`,
//! `sockaddr_in6`, `cmsghdr`), read and written as bytes.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes of the longer one, `sockaddr_in6`.
pub(super) const ADDRESS: usize = 28;
/// The families as they stand in an address.
const IPV4: u16 = 2;
const IPV6: u16 = 10;
/// Bytes of `cmsghdr`: length, level, kind.
const CONTROL_HEADER: usize = 16;

/// Reads a socket address.
pub(super) fn read(bytes: &[u8]) -> Option<SocketAddr> {
    let (family, rest) = bytes.split_first_chunk()?;
    let (port, rest) = rest.split_first_chunk()?;
    let port = u16::from_be_bytes(*port);
    match u16::from_ne_bytes(*family) {
        IPV4 => {
            let (address, _) = rest.split_first_chunk::<4>()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(*address), port).into())
        }
        IPV6 => {
            let (flow, rest) = rest.split_first_chunk()?;
            let (address, rest) = rest.split_first_chunk::<16>()?;
            let (scope, _) = rest.split_first_chunk()?;
            let address = Ipv6Addr::from(*address);
            let (flow, scope) = (u32::from_be_bytes(*flow), u32::from_ne_bytes(*scope));
            Some(SocketAddrV6::new(address, port, flow, scope).into())
        }
        _ => None,
    }
}

/// Writes the address that a raw socket sends to, without the port, which is in the UDP header.
/// Returns how many bytes it has.
pub(super) fn write(to: SocketAddr, room: &mut [u8; ADDRESS]) -> u32 {
    room.fill(0);
    let mut put = |at: usize, bytes: &[u8]| {
        for (to, from) in room.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
    };
    match to {
        SocketAddr::V4(v4) => {
            put(0, &IPV4.to_ne_bytes());
            put(4, &v4.ip().octets());
            16
        }
        SocketAddr::V6(v6) => {
            put(0, &IPV6.to_ne_bytes());
            put(8, &v6.ip().octets());
            put(24, &v6.scope_id().to_ne_bytes());
            28
        }
    }
}

/// Control messages in the order they stand: level, kind, and data.
pub(super) fn controls(bytes: &[u8]) -> impl Iterator<Item = (i32, i32, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk()?;
        let (level, after) = after.split_first_chunk()?;
        let (kind, _) = after.split_first_chunk()?;
        let length = usize::from_ne_bytes(*length);
        let data = rest.get(CONTROL_HEADER..length)?;
        rest = rest.get(length.next_multiple_of(8)..).unwrap_or_default();
        Some((i32::from_ne_bytes(*level), i32::from_ne_bytes(*kind), data))
    })
}

/// Control messages to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Controls {
    /// Words, so that headers are aligned.
    words: [u64; 9],
    length: usize,
}

impl Controls {
    /// Where a datagram says that it is from, and the mark of its packets.
    pub(super) fn new(from: SocketAddr, mark: u32) -> Self {
        let mut controls = Self {
            words: [0; 9],
            length: 0,
        };
        match from {
            SocketAddr::V4(v4) => {
                // struct in_pktinfo: interface, source, destination.
                let [a, b, c, d] = v4.ip().octets();
                let info = [0, 0, 0, 0, a, b, c, d, 0, 0, 0, 0];
                controls.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            SocketAddr::V6(v6) => {
                // struct in6_pktinfo: source, interface.
                let mut info = [0; 20];
                for (to, from) in info.iter_mut().zip(v6.ip().octets()) {
                    *to = from;
                }
                controls.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
        controls.push(libc::SOL_SOCKET, libc::SO_MARK, &mark.to_ne_bytes());
        controls
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let length = CONTROL_HEADER + data.len();
        let header = length.to_ne_bytes().into_iter();
        let bytes = header
            .chain(level.to_ne_bytes())
            .chain(kind.to_ne_bytes())
            .chain(data.iter().copied());
        for (at, byte) in (self.length..).zip(bytes) {
            if let Some(word) = self.words.get_mut(at / 8) {
                let mut bytes = word.to_ne_bytes();
                if let Some(place) = bytes.get_mut(at % 8) {
                    *place = byte;
                }
                *word = u64::from_ne_bytes(bytes);
            }
        }
        self.length += length.next_multiple_of(8);
    }

    /// As the kernel wants them: begin and length in bytes.
    pub(super) fn parts(&mut self) -> (*mut u64, usize) {
        (self.words.as_mut_ptr(), self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(controls: &Controls) -> Vec<u8> {
        let all = controls.words.iter().flat_map(|word| word.to_ne_bytes());
        all.take(controls.length).collect()
    }

    #[test]
    fn controls_are_read_as_they_were_written() {
        for from in ["192.0.2.1:53", "[2001:db8::53]:53"] {
            let controls_of = Controls::new(from.parse().expect("an address"), 0x1000);
            let bytes = bytes(&controls_of);
            let read: Vec<_> = controls(&bytes).collect();
            assert_eq!(read.len(), 2, "{from}");
            let (level, kind, mark) = read[1];
            assert_eq!((level, kind), (libc::SOL_SOCKET, libc::SO_MARK));
            assert_eq!(mark, 0x1000_u32.to_ne_bytes());
        }
    }

    #[test]
    fn broken_controls_end_the_list() {
        let written = bytes(&Controls::new(
            "192.0.2.1:53".parse().expect("an address"),
            1,
        ));
        for length in 0..written.len() {
            assert!(controls(&written[..length]).count() <= 2);
        }
        assert_eq!(controls(&[0; 64]).count(), 0, "a length of 0 is no header");
        assert_eq!(controls(&[0xff; 64]).count(), 0);
    }

    #[test]
    fn an_address_is_read_as_it_was_written_but_for_the_port() {
        for text in ["192.0.2.1:0", "[fe80::1%7]:0", "[2001:db8::1]:0"] {
            let address: SocketAddr = text.parse().expect("an address");
            let mut room = [0; ADDRESS];
            let length = write(address, &mut room);
            let length = usize::try_from(length).expect("small");
            assert_eq!(read(&room[..length]), Some(address));
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[0xff; 28]), None);
    }
}
