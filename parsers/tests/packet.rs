//! Each link type and tunnel leads to the same packet; broken frames lead to errors, never to a panic.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]

use std::net::Ipv4Addr;

use parsers::packet::{
    Encapsulation, FragmentLimits, Frames, Packet, Transport, Tunnel, TunnelKind,
};
use proptest::prelude::*;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PAYLOAD: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const ETHERNET: u32 = 1;
const RAW: u32 = 101;

fn tcp() -> Vec<u8> {
    let ports = [0x9c, 0x40, 0, 80];
    let numbers = [0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x18, 1, 0, 0, 0, 0, 0];
    [&ports[..], &numbers, PAYLOAD].concat()
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 8).unwrap();
    let [a, b] = port.to_be_bytes();
    let [c, d] = length.to_be_bytes();
    [&[0x9c, 0x40, a, b, c, d, 0, 0][..], payload].concat()
}

/// An IPv4 packet; `place` are the flags and the fragment offset.
fn v4_at(place: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 20).unwrap().to_be_bytes();
    let place = place.to_be_bytes();
    let head = [
        &[0x45, 0][..],
        &length,
        &[0, 1],
        &place,
        &[64, protocol, 0, 0],
        &CLIENT.octets(),
        &SERVER.octets(),
    ];
    [&head.concat()[..], payload].concat()
}

fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    v4_at(0, protocol, payload)
}

fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [
        &[0x60, 0, 0, 0][..],
        &length,
        &[next, 64],
        &CLIENT.to_ipv6_mapped().octets(),
        &SERVER.to_ipv6_mapped().octets(),
    ];
    [&head.concat()[..], payload].concat()
}

fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &kind.to_be_bytes(), payload].concat()
}

fn frames() -> Frames {
    Frames::new(FragmentLimits::default())
}

/// Reads one frame, which must be the packet.
fn assert_is_the_packet(link_type: u32, frame: &[u8]) -> (Option<Tunnel>, Option<String>) {
    let mut frames = frames();
    let packet = match frames.read(link_type, frame, 0) {
        Ok(Some(packet)) => packet,
        other => panic!("link type {link_type}: {other:?}"),
    };
    assert_packet(&packet);
    let Encapsulation { tunnel, vlan } = packet.encapsulation;
    (tunnel, vlan.map(|vlan| vlan.to_string()))
}

fn assert_packet(packet: &Packet<'_>) {
    assert!(packet.source == CLIENT || packet.source == CLIENT.to_ipv6_mapped());
    assert!(packet.destination == SERVER || packet.destination == SERVER.to_ipv6_mapped());
    let Transport::Tcp(tcp) = packet.transport else {
        panic!("{packet:?}");
    };
    assert_eq!((tcp.source_port, tcp.destination_port), (40000, 80));
    assert_eq!((tcp.sequence, tcp.acknowledged, tcp.missing), (7, 9, 0));
    assert_eq!(tcp.payload, PAYLOAD);
}

#[test]
fn every_link_type_leads_to_the_packet() {
    let ip = v4(6, &tcp());
    let with = |head: &[u8]| [head, &ip].concat();
    let llc = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    let wifi = [&[0x88, 0x03][..], &[0; 30], &llc].concat();
    let radio = [&[0, 0, 12, 0][..], &[0; 8], &[0x08, 0x02], &[0; 22], &llc].concat();
    let log = [
        &[2, 0, 0, 0][..],
        &[5, 0, 10, 0, 1, 0, 0, 0],
        &[u8::try_from(ip.len() + 4).unwrap(), 0, 9, 0],
    ]
    .concat();
    let mut cooked = [0; 16];
    cooked[14] = 8;
    let mut cooked_2 = [0; 20];
    cooked_2[0] = 8;
    for (link_type, head) in [
        (ETHERNET, &ethernet(0x0800, &[])[..]),
        (ETHERNET, &[&[2; 12][..], &[0, 46], &llc].concat()),
        (0, &[2, 0, 0, 0]),
        (0, &[0, 0, 0, 2]),
        (108, &[0, 0, 0, 2]),
        (7, &[1, 2, 0xf0]),
        (7, &[1, 2, 0xd4, 0, 0, 9]),
        (7, &[1, 2, 0xd4, 0xff, 0xff, 0xff, 0xd4, 0, 0, 9]),
        (9, &[0xff, 3, 0, 0x21]),
        (9, &[0x21]),
        (51, &[0x11, 0, 0, 1, 0, 60, 0, 0x21]),
        (RAW, &[]),
        (228, &[]),
        (104, &[0x0f, 0, 8, 0]),
        (105, &wifi),
        (113, &cooked),
        (127, &radio),
        (129, &[1, 2, 0, 0, 0xf0]),
        (129, &[1, 2, 0, 0, 0xd4, 0, 0, 9]),
        (149, &tap(1, 101)),
        (258, &tap(1, 101)),
        (192, &[0, 0, 8, 0, 101, 0, 0, 0]),
        (239, &log),
        (276, &cooked_2),
    ] {
        assert_is_the_packet(link_type, &with(head));
    }
}

/// Apple's PKTAP: what follows, and its link type.
fn tap(follows: u8, link_type: u8) -> Vec<u8> {
    let numbers = [108, 0, 0, 0, follows, 0, 0, 0, link_type, 0, 0, 0];
    [&numbers[..], b"en0", &[0; 93]].concat()
}

#[test]
fn a_tap_without_a_packet_or_in_a_tap_leads_to_none() {
    for head in [tap(0, 101), tap(1, 2), [tap(1, 149), tap(1, 101)].concat()] {
        let frame = [head, v4(6, &tcp())].concat();
        assert_eq!(frames().read(258, &frame, 0), Ok(None));
    }
}

/// A piece of a packet on ARCNET, with its split flag.
fn piece(sequence: u8, flag: u8, payload: &[u8]) -> Vec<u8> {
    [&[1, 2, 0xd4, flag, 0, sequence][..], payload].concat()
}

#[test]
fn pieces_on_arcnet_make_a_packet_and_stray_ones_make_none() {
    let ip = v4(6, &tcp());
    let (a, b, c) = (
        piece(7, 3, &ip[..20]),
        piece(7, 2, &ip[20..40]),
        piece(7, 4, &ip[40..]),
    );
    let mut frames = frames();
    // Captures repeat; pieces of nothing are nothing.
    for frame in [&b, &a, &a, &b, &b] {
        assert_eq!(frames.read(7, frame, 0), Ok(None));
    }
    assert_packet(&frames.read(7, &c, 0).unwrap().unwrap());
    assert_eq!(frames.lost_datagrams(), 0);
    let stray = piece(8, 2, &ip[20..40]);
    for frame in [&a, &c, &a, &stray, &a, &b, &a, &b] {
        assert_eq!(frames.read(7, frame, 0), Ok(None));
    }
    assert_eq!(frames.lost_datagrams(), 3);
}

#[test]
fn a_packet_of_pieces_is_bounded() {
    let mut frames = frames();
    assert_eq!(
        frames.read(7, &piece(7, 0xfd, &vec![0x45; 40_000]), 0),
        Ok(None)
    );
    assert_eq!(frames.read(7, &piece(7, 2, &vec![0; 40_000]), 0), Ok(None));
    assert_eq!(frames.lost_datagrams(), 1);
}

/// `IPComp`'s header, and DEFLATE that compresses nothing: one stored block (RFC 1951 §3.2.4).
fn compressed(next: u8, number: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut packet = vec![next, 0];
    packet.extend(number.to_be_bytes());
    packet.push(1);
    packet.extend(length.to_le_bytes());
    packet.extend((!length).to_le_bytes());
    packet.extend(payload);
    packet
}

#[test]
fn compressed_payload_is_inflated() {
    let tcp = tcp();
    let ip = v4(6, &tcp);
    let authentic = |next: u8, payload: &[u8]| {
        let numbers = [next, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1];
        [&numbers[..], &[7; 12], payload].concat()
    };
    for number in [2, 0xeed1] {
        for packet in [
            v4(108, &compressed(6, number, &tcp)),
            v6(108, &compressed(6, number, &tcp)),
            v4(108, &compressed(4, number, &ip)),
            v4(51, &authentic(108, &compressed(6, number, &tcp))),
            v6(
                51,
                &authentic(108, &compressed(51, number, &authentic(6, &tcp))),
            ),
            // Twice is allowed to nobody and hurts nobody.
            v4(108, &compressed(108, number, &compressed(6, 2, &tcp))),
        ] {
            assert_is_the_packet(RAW, &packet);
        }
    }
    assert_is_the_packet(RAW, &v4(51, &authentic(6, &tcp)));
}

#[test]
fn what_does_not_inflate_or_to_too_much_stays_compressed() {
    let mut bomb =
        flate2::write::DeflateEncoder::new(vec![6, 0, 0, 2], flate2::Compression::best());
    std::io::Write::write_all(&mut bomb, &vec![0; 1 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 2000, "{}", bomb.len());
    let whole = compressed(6, 2, &tcp());
    let mut broken = whole.clone();
    broken[4] = 7;
    for payload in [
        bomb,
        broken,
        [&whole[..], &[0]].concat(),
        whole[..whole.len() - 1].to_vec(),
        // LZS has a number of its own.
        compressed(6, 3, &tcp()),
        vec![6, 0],
    ] {
        let packet = v4(108, &payload);
        let mut frames = frames();
        let packet = frames.read(RAW, &packet, 0).unwrap().unwrap();
        assert_eq!(packet.transport, Transport::Other(108));
    }
}

#[test]
fn tags_and_labels_are_passed() {
    let ip = v4(6, &tcp());
    for (tags, expected) in [
        (&[0x20, 5, 8, 0][..], Some("5")),
        (&[0x20, 5, 0x81, 0, 0, 6, 8, 0], Some("5.6")),
        // A priority is no VLAN.
        (&[0x20, 0, 0x81, 0, 0, 6, 8, 0], Some("6")),
        (&[0x20, 0, 8, 0], None),
    ] {
        let tagged = ethernet(0x88a8, &[tags, &ip].concat());
        let (_, vlan) = assert_is_the_packet(ETHERNET, &tagged);
        assert_eq!(vlan.as_deref(), expected);
    }
    let labels = ethernet(0x8847, &[&[0, 1, 0, 64, 0, 2, 1, 64][..], &ip].concat());
    assert_is_the_packet(ETHERNET, &labels);
}

#[test]
fn every_tunnel_is_named_and_leads_to_the_packet() {
    let ip = v4(6, &tcp());
    let frame = ethernet(0x0800, &ip);
    let vni = [0, 0, 42, 0];
    let vxlan = udp(4789, &[&[8, 0, 0, 0][..], &vni, &frame].concat());
    let geneve = udp(
        6081,
        &[&[1, 0, 0x65, 0x58][..], &vni, &[0; 4], &frame].concat(),
    );
    let gtp = udp(
        2152,
        &[&[0x32, 0xff, 0, 60, 0, 0, 0, 42, 0, 1, 0, 0][..], &ip].concat(),
    );
    let gre = [&[0x20, 0, 8, 0, 0, 0, 0, 42][..], &ip].concat();
    let pptp = [
        &[0x30, 1, 0x88, 0x0b, 0, 0, 0, 42, 0, 0, 0, 1, 0x21][..],
        &ip,
    ]
    .concat();
    let erspan = [
        &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 42, 0, 0, 0, 0][..],
        &frame,
    ]
    .concat();
    let erspan_3 = [
        &[0x10, 0, 0x22, 0xeb, 0, 0, 0, 1, 0x20, 0, 0, 42][..],
        &[0; 8],
        &frame,
    ]
    .concat();
    let ether_ip = [&[0x30, 0][..], &frame].concat();
    let mpls = [&[0, 2, 1, 64][..], &ip].concat();
    for (protocol, payload, kind, id, port) in [
        (17, &vxlan, TunnelKind::Vxlan, 42, Some(4789)),
        (17, &geneve, TunnelKind::Geneve, 42, Some(6081)),
        (17, &gtp, TunnelKind::GtpU, 42, Some(2152)),
        (47, &gre, TunnelKind::Gre, 42, None),
        (47, &pptp, TunnelKind::Gre, 42, None),
        (47, &erspan, TunnelKind::Erspan, 42, None),
        (47, &erspan_3, TunnelKind::Erspan, 42, None),
        (4, &ip, TunnelKind::IpIp, 0, None),
        (97, &ether_ip, TunnelKind::EtherIp, 0, None),
        (137, &mpls, TunnelKind::MplsIp, 0, None),
    ] {
        for outer in [v4(protocol, payload), v6(protocol, payload)] {
            let tunnel = assert_is_the_packet(RAW, &outer).0.unwrap();
            assert_eq!((tunnel.kind, tunnel.id), (kind, id));
            assert_eq!(tunnel.source.to_canonical(), CLIENT);
            assert_eq!(tunnel.destination.to_canonical(), SERVER);
            assert_eq!(tunnel.ports, port.map(|port| (40000, port)));
        }
    }
}

#[test]
fn a_datagram_at_the_port_of_a_tunnel_that_holds_none_stays_one() {
    let datagram = v4(17, &udp(8472, b"just some words"));
    let mut frames = frames();
    let packet = frames.read(RAW, &datagram, 0).unwrap().unwrap();
    assert!(matches!(packet.transport, Transport::Udp(udp) if udp.payload == b"just some words"));
}

#[test]
fn extension_headers_are_passed_and_padding_is_cut() {
    let options = [&[60, 1][..], &[0; 14], &[6, 0], &[0; 6], &tcp()].concat();
    assert_is_the_packet(RAW, &v6(0, &options));
    let padded = [v4(6, &tcp()), vec![0xee; 9]].concat();
    assert_is_the_packet(RAW, &padded);
}

#[test]
fn what_the_snap_length_cut_off_is_counted() {
    let whole = v4(6, &tcp());
    let mut frames = frames();
    let packet = frames.read(RAW, &whole[..whole.len() - 5], 0).unwrap();
    let Some(Transport::Tcp(tcp)) = packet.map(|packet| packet.transport) else {
        panic!("a segment");
    };
    assert_eq!((tcp.payload.len(), tcp.missing), (PAYLOAD.len() - 5, 5));
}

#[test]
fn fragments_make_a_datagram_in_any_order_and_overlaps_make_none() {
    const MORE: u16 = 0x2000;
    let tcp = tcp();
    let (a, b, c) = (
        v4_at(MORE, 6, &tcp[..16]),
        v4_at(MORE | 2, 6, &tcp[16..32]),
        v4_at(4, 6, &tcp[32..]),
    );
    for order in [[&a, &b, &c], [&c, &a, &b], [&b, &c, &a]] {
        let mut frames = frames();
        assert_eq!(frames.read(RAW, order[0], 0), Ok(None));
        // The same again: networks and captures repeat.
        assert_eq!(frames.read(RAW, order[0], 0), Ok(None));
        assert_eq!(frames.read(RAW, order[1], 0), Ok(None));
        assert_packet(&frames.read(RAW, order[2], 0).unwrap().unwrap());
    }
    let mut frames = frames();
    let overlapping = v4_at(MORE | 1, 6, &tcp[8..24]);
    for fragment in [&a, &overlapping, &b, &c] {
        assert_eq!(frames.read(RAW, fragment, 0), Ok(None));
    }
    assert_eq!(frames.lost_datagrams(), 1);
}

#[test]
fn fragments_of_a_tunnel_and_in_it_are_put_together() {
    let inner = [v4_at(0x2000, 6, &tcp()[..16]), v4_at(2, 6, &tcp()[16..])];
    let mut frames = frames();
    for (id, packet) in (10..).zip(inner) {
        let outer = v4(4, &packet);
        let payload = outer[20..].to_vec();
        // Each outer packet is one of its own.
        for (place, part) in [(0x2000, &payload[..24]), (3, &payload[24..])] {
            let mut fragment = v4_at(place, 4, part);
            fragment[5] = id;
            if let Some(packet) = frames.read(RAW, &fragment, 0).unwrap() {
                assert_packet(&packet);
                return;
            }
        }
    }
    panic!("no packet");
}

#[test]
fn unfinished_datagrams_are_bounded() {
    let limits = FragmentLimits {
        datagrams: 10,
        ..FragmentLimits::default()
    };
    let mut frames = Frames::new(limits);
    for id in 0..1000_u16 {
        let mut fragment = v4_at(0x2000, 17, &[0; 8]);
        fragment[4..6].copy_from_slice(&id.to_be_bytes());
        assert_eq!(frames.read(RAW, &fragment, u64::from(id)), Ok(None));
    }
    assert_eq!(frames.lost_datagrams(), 990);
}

#[test]
fn packets_packed_too_deep_are_refused() {
    let mut packet = v4(6, &tcp());
    for _ in 0..40 {
        packet = v4(4, &packet);
    }
    let error = frames().read(RAW, &packet, 0).unwrap_err();
    assert_eq!(error.rule, "packed-too-deep");
}

#[test]
fn what_an_error_quotes_is_no_traffic() {
    let quote = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &v4(6, &tcp())].concat();
    let error = v4(1, &quote);
    let mut frames = frames();
    let packet = frames.read(RAW, &error, 0).unwrap().unwrap();
    assert_eq!(packet.transport, Transport::Icmp { kind: 3, code: 1 });
}

proptest! {
    #[test]
    fn broken_frames_do_not_panic(
        link_type in prop::sample::select(vec![0, 1, 7, 9, 51, 101, 104, 105, 113, 127, 129, 149, 192, 239, 258, 276]),
        tunnel in 0..7_usize,
        cut: prop::sample::Index,
        at: prop::sample::Index,
        byte: u8,
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let ip = v4(6, &tcp());
        let frame = ethernet(0x0800, &ip);
        let packed = match tunnel {
            6 => v4(108, &compressed(6, 2, &tcp())),
            0 => v4(17, &udp(4789, &[&[8, 0, 0, 0, 0, 0, 1, 0][..], &frame].concat())),
            1 => v4(17, &udp(6081, &[&[1, 0, 0x65, 0x58, 0, 0, 1, 0, 0, 0, 0, 0][..], &frame].concat())),
            2 => v4(47, &[&[0x20, 0, 8, 0, 0, 0, 0, 1][..], &ip].concat()),
            3 => v6(44, &[&[6, 0, 0, 1, 0, 0, 0, 1][..], &tcp()].concat()),
            4 => v4(17, &udp(2152, &[&[0x36, 0xff, 0, 60, 0, 0, 0, 1, 0, 1, 0, 0x85, 1, 0, 0, 0][..], &ip].concat())),
            _ => noise,
        };
        let mut frame = if link_type == 1 { ethernet(0x0800, &packed) } else { packed };
        if !frame.is_empty() {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        frame.truncate(cut.index(frame.len() + 1));
        let _seen = frames().read(link_type, &frame, 0).map(|packet| packet.is_some());
    }
}
