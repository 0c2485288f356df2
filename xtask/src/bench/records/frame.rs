//! Packets as a program gets them, made by hand.

use std::net::{Ipv4Addr, SocketAddrV4};

/// Of the kernel's `struct __sk_buff`: where the fields are that a test run may set.
const INGRESS_INTERFACE: usize = 36;
const INTERFACE: usize = 40;
const SKB_BYTES: usize = 192;

const ACK: u8 = 0x10;

/// What is in the packet.
#[derive(Clone, Copy)]
pub(super) enum Payload {
    /// TCP without data: an acknowledgement.
    Ack,
    /// UDP with so many bytes.
    Datagram(u16),
    /// TCP with so many bytes.
    Segment(u16),
}

/// An Ethernet frame of IPv4. Checksums are zero: no program looks at them.
pub(super) fn ipv4(source: SocketAddrV4, destination: SocketAddrV4, payload: Payload) -> Vec<u8> {
    let (protocol, header, data) = match payload {
        Payload::Ack => (6, tcp(source, destination), 0),
        Payload::Segment(bytes) => (6, tcp(source, destination), bytes),
        Payload::Datagram(bytes) => (17, udp(source, destination, bytes), bytes),
    };
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0x00]);
    frame.extend(header_v4(
        *source.ip(),
        *destination.ip(),
        protocol,
        header.len(),
        data,
    ));
    frame.extend(header);
    frame.resize(frame.len() + usize::from(data), b'x');
    frame
}

fn header_v4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    header: usize,
    data: u16,
) -> Vec<u8> {
    let length = u16::try_from(20 + header).unwrap_or_default() + data;
    let mut bytes = vec![0x45, 0];
    bytes.extend(length.to_be_bytes());
    // Identification, "don't fragment", 64 hops.
    bytes.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes
}

fn tcp(source: SocketAddrV4, destination: SocketAddrV4) -> Vec<u8> {
    let mut bytes = ports(source, destination);
    // Sequence and acknowledgement numbers, header length, flags, window, checksum, urgent pointer.
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, ACK, 0xff, 0xff, 0, 0, 0, 0]);
    bytes
}

fn udp(source: SocketAddrV4, destination: SocketAddrV4, data: u16) -> Vec<u8> {
    let mut bytes = ports(source, destination);
    bytes.extend((8 + data).to_be_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn ports(source: SocketAddrV4, destination: SocketAddrV4) -> Vec<u8> {
    [
        source.port().to_be_bytes(),
        destination.port().to_be_bytes(),
    ]
    .concat()
}

/// The context of a packet that stands at an interface, and came in by another one.
pub(super) fn context(interface: u32, came_in_by: u32) -> Vec<u8> {
    let mut bytes = vec![0; SKB_BYTES];
    for (place, value) in [(INTERFACE, interface), (INGRESS_INTERFACE, came_in_by)] {
        for (byte, value) in bytes.iter_mut().skip(place).zip(value.to_ne_bytes()) {
            *byte = value;
        }
    }
    bytes
}
