//! Every format gives the same packets, and a damaged file gives those before the damage.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{Cursor, Write as _};

use capture::{Error, Fault, Merge, Reader, Writer};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;

/// Time, link type and bytes of a packet.
type Seen = (u64, u32, Vec<u8>);

/// What a capture holds, and how it ended.
fn read(bytes: Vec<u8>) -> (Vec<Seen>, Option<Error>) {
    let mut packets = Vec::new();
    let mut reader = match Reader::new("test.pcap", Cursor::new(bytes)) {
        Ok(reader) => reader,
        Err(error) => return (packets, Some(error)),
    };
    loop {
        match reader.advance() {
            Ok(true) => {
                let packet = reader.packet().unwrap();
                assert_eq!(packet.number, packets.len() as u64 + 1);
                packets.push((packet.time_ns, packet.link_type, packet.data.to_vec()));
            }
            Ok(false) => return (packets, None),
            Err(error) => return (packets, Some(error)),
        }
    }
}

fn written(packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), 1).unwrap();
    for (time, data) in packets {
        writer.write(*time, data).unwrap();
    }
    writer.into_inner()
}

/// A classic file of one packet with these three bytes, in the given byte order.
fn classic(magic: u32, is_big_endian: bool, extra: usize) -> Vec<u8> {
    let word = |word: u32| {
        if is_big_endian {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        }
    };
    let mut bytes = [
        word(magic),
        word(0x0002_0004),
        word(0),
        word(0),
        word(65535),
        word(101),
    ]
    .concat();
    bytes.extend([word(7), word(5), word(3), word(9)].concat());
    bytes.resize(bytes.len() + extra, 0xee);
    bytes.extend(b"abc");
    bytes
}

#[test]
fn every_classic_variant_is_read() {
    for (magic, extra, nanos) in [
        (0xa1b2_c3d4, 0, 5000),
        (0xa1b2_3c4d, 0, 5),
        (0xa1b2_cd34, 8, 5000),
    ] {
        for is_big_endian in [true, false] {
            let (packets, error) = read(classic(magic, is_big_endian, extra));
            assert!(error.is_none(), "{error:?}");
            assert_eq!(packets, [(7 * SECOND + nanos, 101, b"abc".to_vec())]);
        }
    }
}

/// A block with its two lengths.
fn block(is_big_endian: bool, kind: u32, body: &[u8]) -> Vec<u8> {
    let word = |word: u32| {
        if is_big_endian {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        }
    };
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let length = u32::try_from(body.len()).unwrap() + 12;
    [&word(kind)[..], &word(length), &body, &word(length)].concat()
}

/// A section in one byte order, with an interface that counts in 1/1024 s and starts at 100 s, and an
/// enhanced, an obsolete and a simple packet.
fn section(is_big_endian: bool) -> Vec<u8> {
    let word = |word: u32| {
        if is_big_endian {
            word.to_be_bytes().to_vec()
        } else {
            word.to_le_bytes().to_vec()
        }
    };
    let half = |half: u16| {
        if is_big_endian {
            half.to_be_bytes().to_vec()
        } else {
            half.to_le_bytes().to_vec()
        }
    };
    let offset = if is_big_endian {
        100_i64.to_be_bytes()
    } else {
        100_i64.to_le_bytes()
    };
    let head = [word(0x1a2b_3c4d), word(0x0001_0000), vec![0xff; 8]].concat();
    let interface = [
        half(113),
        half(0),
        word(2),
        half(9),
        half(1),
        vec![0x8a, 0, 0, 0],
        half(14),
        half(8),
        offset.to_vec(),
        word(0),
    ]
    .concat();
    let enhanced = [
        word(0),
        word(0),
        word(512),
        word(3),
        word(3),
        b"one".to_vec(),
    ]
    .concat();
    let obsolete = [
        half(0),
        half(9),
        word(0),
        word(1024),
        word(3),
        word(8),
        b"two".to_vec(),
    ]
    .concat();
    let simple = [word(8), b"th".to_vec()].concat();
    let e = is_big_endian;
    [
        block(e, 0x0a0d_0d0a, &head),
        block(e, 1, &interface),
        block(e, 5, b"statistics"),
        block(e, 6, &enhanced),
        block(e, 2, &obsolete),
        block(e, 3, &simple),
    ]
    .concat()
}

#[test]
fn blocks_are_read_in_both_byte_orders_also_in_one_file() {
    let expected = [
        (100 * SECOND + SECOND / 2, 113, b"one".to_vec()),
        (101 * SECOND, 113, b"two".to_vec()),
        (0, 113, b"th".to_vec()),
    ];
    for is_big_endian in [true, false] {
        let (packets, error) = read(section(is_big_endian));
        assert!(error.is_none(), "{error:?}");
        assert_eq!(packets, expected);
    }
    let (packets, error) = read([section(true), section(false)].concat());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(packets, [expected.clone(), expected].concat());
}

#[test]
fn damage_is_named_with_its_place() {
    let mut bytes = section(false);
    let place = bytes.len() as u64;
    bytes.extend([6, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    let (packets, error) = read(bytes);
    assert_eq!(packets.len(), 3);
    let error = error.unwrap();
    assert_eq!(error.offset, place + 8);
    assert!(matches!(error.fault, Fault::Length { .. }), "{error}");
    let (_, error) = read(b"GET / HTTP/1.1\r\n".to_vec());
    let error = error.unwrap().to_string();
    assert!(
        error.starts_with("test.pcap: at byte 0: not a capture"),
        "{error}"
    );
}

#[test]
fn captures_are_merged_by_time() {
    let first = written(&[(1, b"a".to_vec()), (5, b"d".to_vec())]);
    let second = written(&[(2, b"b".to_vec()), (3, b"c".to_vec()), (9, b"e".to_vec())]);
    let readers = [first, second].map(|bytes| Reader::new("f", Cursor::new(bytes)).unwrap());
    let mut merge = Merge::new(readers.into());
    let mut seen = Vec::new();
    while merge.advance() {
        let packet = merge.packet().unwrap();
        seen.extend_from_slice(packet.data);
        assert_eq!(packet.number, seen.len() as u64);
    }
    assert_eq!(seen, b"abcde");
    assert!(merge.errors().is_empty());
}

fn packets() -> impl Strategy<Value = Vec<(u64, Vec<u8>)>> {
    let time = 0..u64::from(u32::MAX) * SECOND;
    prop::collection::vec((time, prop::collection::vec(any::<u8>(), 0..200)), 0..12)
}

#[test]
fn a_length_that_ends_a_block_may_be_anything() {
    for length in [0, 13, u32::MAX] {
        let mut bytes = section(true);
        let end = bytes.len() - 4;
        bytes[end..].copy_from_slice(&u32::to_be_bytes(length));
        let error = read(bytes).1.expect("the last block is damaged");
        assert!(matches!(error.fault, Fault::Damaged(_)), "{error}");
    }
}

proptest! {
    #[test]
    fn what_was_written_is_read(packets in packets(), is_compressed: bool) {
        let mut bytes = written(&packets);
        if is_compressed {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&bytes).unwrap();
            bytes = encoder.finish().unwrap();
        }
        let (seen, error) = read(bytes);
        prop_assert!(error.is_none());
        let expected: Vec<_> = packets.into_iter().map(|(time, data)| (time, 1, data)).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn a_file_that_was_cut_gives_all_before_the_cut(packets in packets(), cut: prop::sample::Index) {
        let bytes = written(&packets);
        let cut = cut.index(bytes.len());
        let mut whole = 0;
        let mut end = 24;
        while let Some((_, data)) = packets.get(whole) && end + 16 + data.len() <= cut {
            end += 16 + data.len();
            whole += 1;
        }
        let (seen, error) = read(bytes[..cut].to_vec());
        prop_assert_eq!(seen.len(), whole);
        prop_assert_eq!(error.is_some(), cut != end || cut < 24);
    }

    #[test]
    fn damaged_files_do_not_panic(mut bytes in Just(section(true)), at: prop::sample::Index, byte: u8) {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        read(bytes);
    }
}
