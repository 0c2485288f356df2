//! However a stream is cut, mixed up and repeated, the same bytes come out; what was lost is a gap of
//! exactly that size.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::indexing_slicing, reason = "the test makes its own bounds")]

use parsers::Direction;
use parsers::packet::{Tcp, TcpFlags};
use parsers::reassembly::{Piece, Reassembly, ReassemblyLimits};
use proptest::prelude::*;

/// Where a gap's bytes are, as no stream here has this byte.
const LOST: u8 = 0;

fn segment(sequence: u32, flags: TcpFlags, payload: &[u8]) -> Tcp<'_> {
    Tcp {
        source_port: 40000,
        destination_port: 80,
        sequence,
        acknowledged: 0,
        flags,
        window: 0,
        payload,
        missing: 0,
    }
}

/// The stream as it comes out, lost bytes as zeros.
fn reassemble(start: u32, stream: &[u8], cuts: &[(usize, usize)]) -> Vec<u8> {
    let limits = ReassemblyLimits {
        bytes: 1 << 20,
        segments: 1 << 16,
    };
    let mut reassembly = Reassembly::new(limits);
    let mut out = Vec::new();
    let mut ends = 0;
    let mut sink = |_, piece: Piece<'_>| match piece {
        Piece::Bytes(bytes) => out.extend_from_slice(bytes),
        Piece::Gap(bytes) => out.resize(out.len() + usize::try_from(bytes).unwrap(), LOST),
        Piece::End => ends += 1,
    };
    let syn = segment(start.wrapping_sub(1), TcpFlags::SYN, b"");
    reassembly.handle_segment(Direction::ToServer, &syn, &mut sink);
    for (from, to) in cuts {
        let sequence = start.wrapping_add(u32::try_from(*from).unwrap());
        let piece = segment(sequence, TcpFlags::ACK, &stream[*from..*to]);
        reassembly.handle_segment(Direction::ToServer, &piece, &mut sink);
    }
    reassembly.close(&mut sink);
    assert_eq!(ends, 2, "each direction ends once");
    assert_eq!(reassembly.conflicts(), 0);
    out
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1..=255_u8, 1..2000)
}

proptest! {
    #[test]
    fn any_order_with_repetitions_gives_the_same_bytes(
        start: u32,
        stream in stream(),
        marks in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
        extra in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 0..20),
        seed in any::<prop::sample::Index>(),
    ) {
        let mut marks: Vec<usize> = marks.iter().map(|mark| mark.index(stream.len())).collect();
        marks.extend([0, stream.len()]);
        marks.sort_unstable();
        let mut cuts: Vec<(usize, usize)> = marks.windows(2).map(|pair| (pair[0], pair[1])).collect();
        for (a, b) in extra {
            let (a, b) = (a.index(stream.len()), b.index(stream.len()));
            cuts.insert(a % (cuts.len() + 1), (a.min(b), a.max(b)));
        }
        let turn = seed.index(cuts.len());
        cuts.rotate_left(turn);
        cuts.reverse();
        prop_assert_eq!(reassemble(start, &stream, &cuts), stream);
    }

    #[test]
    fn what_is_lost_is_a_gap_of_its_size(
        start: u32,
        stream in stream(),
        lost in prop::collection::btree_set(0..100_usize, 0..30),
    ) {
        let size = stream.len().div_ceil(100);
        let cuts: Vec<(usize, usize)> = (0..100)
            .filter(|number| !lost.contains(number))
            .map(|number| (number * size, (number + 1) * size))
            .map(|(from, to)| (from.min(stream.len()), to.min(stream.len())))
            .filter(|(from, to)| from < to)
            .collect();
        let mut expected = vec![LOST; cuts.last().map_or(0, |(_, to)| *to)];
        for (from, to) in &cuts {
            expected[*from..*to].copy_from_slice(&stream[*from..*to]);
        }
        prop_assert_eq!(reassemble(start, &stream, &cuts), expected);
    }
}
