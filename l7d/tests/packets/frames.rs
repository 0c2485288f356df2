//! Frames written header by header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const OWN_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub(crate) const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);

/// Where in its datagram a frame's payload belongs: offset in bytes, whether there is more, number.
pub(crate) type Place = (usize, bool, u32);

/// What goes in front of a payload.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) tags: Vec<u16>,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// Of the payload.
    pub(crate) protocol: u8,
    /// IPv4: bytes of options, a multiple of four up to 40.
    pub(crate) options: usize,
    /// IPv6: extension headers in front of a fragment header, by number and units of eight bytes behind
    /// the first.
    pub(crate) extensions: Vec<(u8, u8)>,
    pub(crate) place: Option<Place>,
    /// Bytes behind the packet, as short frames have them.
    pub(crate) padding: usize,
}

impl Head {
    pub(crate) fn new(source: IpAddr, destination: IpAddr, protocol: u8) -> Self {
        Self {
            tags: Vec::new(),
            source,
            destination,
            protocol,
            options: 0,
            extensions: Vec::new(),
            place: None,
            padding: 0,
        }
    }

    /// The frame with this payload.
    pub(crate) fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for tag in &self.tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, 5]);
        }
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                frame.extend([0x08, 0x00]);
                self.v4(source, destination, payload, &mut frame);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                frame.extend([0x86, 0xdd]);
                self.v6(source, destination, payload, &mut frame);
            }
            _ => panic!("addresses of two families"),
        }
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    fn v4(&self, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8], frame: &mut Vec<u8>) {
        let header = 20 + self.options;
        let (offset, has_more, id) = self.place.unwrap_or((0, false, 0));
        let place = low(offset / 8) | if has_more { 0x2000 } else { 0 };
        let at = frame.len();
        frame.push(0x40 | u8::try_from(header / 4).expect("four bits"));
        frame.push(0);
        frame.extend(low(header + payload.len()).to_be_bytes());
        frame.extend(low(usize::try_from(id).expect("small")).to_be_bytes());
        frame.extend(place.to_be_bytes());
        frame.extend([64, self.protocol, 0, 0]);
        frame.extend(source.octets());
        frame.extend(destination.octets());
        // "No operation", as often as there is room.
        frame.resize(at + header, 1);
        let sum = checksum(&frame[at..at + header]);
        frame[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
        frame.extend(payload);
    }

    fn v6(&self, source: Ipv6Addr, destination: Ipv6Addr, payload: &[u8], frame: &mut Vec<u8>) {
        let mut chain: Vec<(u8, Vec<u8>)> = Vec::new();
        for (kind, units) in &self.extensions {
            let mut body = vec![0, *units];
            // Routing: of type 0 with nothing left. Options: one that pads.
            let length = 8 + usize::from(*units) * 8;
            if *kind != 43 {
                body.extend([1, u8::try_from(length - 4).unwrap_or(u8::MAX)]);
            }
            body.resize(length, 0);
            chain.push((*kind, body));
        }
        if let Some((offset, has_more, id)) = self.place {
            let place = low(offset) | u16::from(has_more);
            let [a, b] = place.to_be_bytes();
            let mut body = vec![0, 0, a, b];
            body.extend(id.to_be_bytes());
            chain.push((44, body));
        }
        let kinds: Vec<u8> = chain.iter().map(|(kind, _)| *kind).collect();
        let behind = kinds.iter().skip(1).copied().chain([self.protocol]);
        for ((_, body), next) in chain.iter_mut().zip(behind) {
            body[0] = next;
        }
        let length: usize = chain.iter().map(|(_, body)| body.len()).sum();
        frame.extend([0x60, 0, 0, 0]);
        frame.extend(low(length + payload.len()).to_be_bytes());
        frame.extend([kinds.first().copied().unwrap_or(self.protocol), 64]);
        frame.extend(source.octets());
        frame.extend(destination.octets());
        for (_, body) in chain {
            frame.extend(body);
        }
        frame.extend(payload);
    }
}

fn low(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// A segment; `words` is its header's length in words of four bytes.
pub(crate) fn tcp(source: u16, destination: u16, flags: u8, words: u8, behind: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(source.to_be_bytes());
    bytes.extend(destination.to_be_bytes());
    bytes.extend([
        0,
        0,
        0,
        9,
        0,
        0,
        0,
        0,
        words << 4,
        flags,
        0x20,
        0,
        0,
        0,
        0,
        0,
    ]);
    bytes.resize(usize::from(words.max(5)) * 4 + behind, 1);
    bytes
}

/// A datagram that says it is `length` bytes long.
pub(crate) fn udp(source: u16, destination: u16, length: Option<u16>, behind: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(source.to_be_bytes());
    bytes.extend(destination.to_be_bytes());
    bytes.extend(length.unwrap_or(low(8 + behind)).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.resize(8 + behind, 1);
    bytes
}

pub(crate) fn sctp(source: u16, destination: u16, behind: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(source.to_be_bytes());
    bytes.extend(destination.to_be_bytes());
    bytes.resize(12 + behind, 1);
    bytes
}

/// A message with `quoted` behind its header.
pub(crate) fn icmp(kind: u8, code: u8, id: u16, quoted: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, code, 0, 0];
    bytes.extend(id.to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(quoted);
    bytes
}
