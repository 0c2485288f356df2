use super::*;
use Direction::{ToClient, ToServer};

fn segment(sequence: u32, flags: u8, payload: &[u8]) -> Tcp<'_> {
    Tcp {
        source_port: 1,
        destination_port: 2,
        sequence,
        acknowledged: 0,
        flags: TcpFlags(flags),
        window: 0,
        payload,
        missing: 0,
    }
}

fn acknowledging(acknowledged: u32) -> Tcp<'static> {
    Tcp {
        acknowledged,
        ..segment(900, TcpFlags::ACK.0, b"")
    }
}

/// What came out: bytes as they are, a gap as its size in braces, the end as a full stop.
#[derive(Default)]
struct Out(String);

impl Out {
    fn take(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Bytes(bytes) => self.0.push_str(&String::from_utf8_lossy(bytes)),
            Piece::Gap(bytes) => self.0.extend(["{", &bytes.to_string(), "}"]),
            Piece::End => self.0.push('.'),
        }
    }
}

/// Plays segments to the server and, where there are no bytes, acknowledgements of the server.
fn play(segments: &[Tcp<'_>]) -> String {
    let mut reassembly = Reassembly::new(ReassemblyLimits::default());
    let mut out = Out::default();
    let mut sink = |direction, piece: Piece<'_>| {
        if direction == ToServer {
            out.take(piece);
        }
    };
    for segment in segments {
        let is_answer = segment.sequence == 900;
        let direction = if is_answer { ToClient } else { ToServer };
        reassembly.handle_segment(direction, segment, &mut sink);
    }
    reassembly.close(&mut sink);
    assert_eq!(reassembly.waiting_bytes(), 0);
    out.0
}

#[test]
fn bytes_come_out_in_order_however_they_come_in() {
    let syn = segment(99, TcpFlags::SYN.0, b"");
    let (a, b, c) = (
        segment(100, 0, b"abc"),
        segment(103, 0, b"def"),
        segment(106, TcpFlags::FIN.0, b"g"),
    );
    for order in [
        [a, b, c],
        [a, c, b],
        [b, a, c],
        [b, c, a],
        [c, a, b],
        [c, b, a],
    ] {
        let mut segments = vec![syn];
        segments.extend(order);
        assert_eq!(play(&segments), "abcdefg.");
    }
}

#[test]
fn retransmissions_and_overlaps_count_once_and_the_first_copy_wins() {
    let played = play(&[
        segment(99, TcpFlags::SYN.0, b""),
        segment(100, 0, b"abc"),
        segment(100, 0, b"XYZ"),
        segment(106, 0, b"ghi"),
        segment(102, 0, b"CdefGH"),
        segment(107, 0, b"hijk"),
    ]);
    assert_eq!(played, "abcdefghijk.");
}

#[test]
fn copies_that_differ_are_counted() {
    let mut reassembly = Reassembly::new(ReassemblyLimits::default());
    let mut sink = |_, _: Piece<'_>| {};
    for segment in [
        segment(99, TcpFlags::SYN.0, b""),
        segment(103, 0, b"def"),
        segment(104, 0, b"EF"),
    ] {
        reassembly.handle_segment(ToServer, &segment, &mut sink);
    }
    assert_eq!(reassembly.conflicts(), 2);
}

#[test]
fn a_hole_that_was_acknowledged_is_told_when_it_stays_one() {
    let mut segments = vec![segment(99, TcpFlags::SYN.0, b""), segment(100, 0, b"abc")];
    segments.push(segment(110, 0, b"xyz"));
    for _ in 0..=PATIENCE_SEGMENTS {
        segments.push(acknowledging(113));
    }
    segments.push(segment(113, 0, b"!"));
    assert_eq!(play(&segments), "abc{7}xyz!.");
}

#[test]
fn a_neighbour_that_comes_late_fills_the_hole() {
    let played = play(&[
        segment(99, TcpFlags::SYN.0, b""),
        segment(103, 0, b"def"),
        acknowledging(106),
        segment(100, 0, b"abc"),
    ]);
    assert_eq!(played, "abcdef.");
}

#[test]
fn bytes_that_the_capture_cut_off_are_a_gap() {
    let cut = Tcp {
        missing: 4,
        ..segment(100, 0, b"abc")
    };
    let late = Tcp {
        missing: 2,
        ..segment(110, 0, b"xyz")
    };
    let played = play(&[
        segment(99, TcpFlags::SYN.0, b""),
        cut,
        late,
        segment(107, 0, b"uvw"),
    ]);
    assert_eq!(played, "abc{4}uvwxyz{2}.");
}

#[test]
fn a_connection_seen_from_its_middle_begins_where_its_peer_expects_it() {
    assert_eq!(play(&[acknowledging(5000), segment(5000, 0, b"hi")]), "hi.");
    // Captured the wrong way round, and a probe.
    assert_eq!(
        play(&[
            acknowledging(5000),
            segment(4999, 0, b"x"),
            segment(4990, 0, b"0123456789"),
        ]),
        "0123456789."
    );
}

#[test]
fn numbers_wrap() {
    let played = play(&[
        segment(u32::MAX - 2, TcpFlags::SYN.0, b""),
        segment(1, 0, b"cd"),
        segment(u32::MAX - 1, 0, b"ab!"),
        segment(3, 0, b"e"),
    ]);
    assert_eq!(played, "ab!cde.");
}

#[test]
fn what_waits_is_bounded() {
    let limits = ReassemblyLimits {
        bytes: 1000,
        segments: 16,
    };
    let mut reassembly = Reassembly::new(limits);
    let mut gaps = 0;
    let bytes = [0; 100];
    reassembly.handle_segment(ToServer, &segment(99, TcpFlags::SYN.0, b""), &mut |_, _| {});
    for number in 0..1000 {
        let far = segment(200 + number * 200, 0, &bytes);
        reassembly.handle_segment(ToServer, &far, &mut |_, piece| {
            gaps += u32::from(matches!(piece, Piece::Gap(_)));
        });
        assert!(reassembly.waiting_bytes() <= limits.bytes);
    }
    assert!(gaps > 900, "{gaps}");
}

#[test]
fn a_reset_ends_both_directions() {
    let mut reassembly = Reassembly::new(ReassemblyLimits::default());
    let mut ends = 0;
    let reset = segment(100, TcpFlags::RST.0, b"");
    reassembly.handle_segment(ToServer, &reset, &mut |_, piece| {
        ends += u32::from(piece == Piece::End);
    });
    assert_eq!(ends, 2);
    assert!(reassembly.is_over());
}
