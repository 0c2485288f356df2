//! Reassembly: segments of a known stream in any order, overlapping, repeated, some lost. The bytes
//! are right, a gap is where nothing came, and what waits keeps its bound.

use parsers::Direction;
use parsers::packet::{Tcp, TcpFlags};
use parsers::reassembly::{Piece, Reassembly, ReassemblyLimits};

const STREAM: usize = 4096;
const WAITING_BYTES: usize = 1024;

/// The byte at an offset of the stream.
fn byte(at: usize) -> u8 {
    u8::try_from((at * 31 + at / 251) % 255).unwrap_or(0)
}

struct Receiver {
    next: usize,
    has_come: Vec<bool>,
    ends: [usize; 2],
}

impl Receiver {
    fn ends_of(&mut self, direction: Direction) -> &mut usize {
        let [server, client] = &mut self.ends;
        match direction {
            Direction::ToServer => server,
            Direction::ToClient => client,
        }
    }

    fn take(&mut self, direction: Direction, piece: Piece<'_>) {
        match (direction, piece) {
            (direction, Piece::End) => *self.ends_of(direction) += 1,
            (Direction::ToClient, piece) => {
                assert_eq!(piece, Piece::Bytes(b""), "nothing was said");
            }
            (Direction::ToServer, Piece::Bytes(bytes)) => {
                assert_eq!(*self.ends_of(Direction::ToServer), 0, "bytes after the end");
                for got in bytes {
                    assert_eq!(*got, byte(self.next), "at {}", self.next);
                    assert_eq!(self.has_come.get(self.next), Some(&true), "invented");
                    self.next += 1;
                }
            }
            (Direction::ToServer, Piece::Gap(bytes)) => {
                assert!(bytes > 0, "an empty gap");
                let end = self.next + usize::try_from(bytes).unwrap_or(usize::MAX);
                let lost = self.has_come.get(self.next..end);
                let is_lost = lost.is_some_and(|lost| !lost.contains(&true));
                assert!(is_lost, "{} to {end} had come", self.next);
                self.next = end;
            }
        }
    }
}

fn segment(sequence: u32, acknowledged: u32, flags: TcpFlags, payload: &[u8]) -> Tcp<'_> {
    Tcp {
        source_port: 40000,
        destination_port: 80,
        sequence,
        acknowledged,
        flags,
        window: 0,
        payload,
        missing: 0,
    }
}

/// The first four bytes are the first sequence number; then three bytes for each segment.
pub(crate) fn holds(data: &[u8]) {
    let Some((start, script)) = data.split_first_chunk() else {
        return;
    };
    let start = u32::from_be_bytes(*start);
    let stream: Vec<u8> = (0..STREAM).map(byte).collect();
    let limits = ReassemblyLimits {
        bytes: WAITING_BYTES,
        segments: 16,
    };
    let mut reassembly = Reassembly::new(limits);
    let mut receiver = Receiver {
        next: 0,
        has_come: vec![false; STREAM],
        ends: [0; 2],
    };
    let syn = segment(start.wrapping_sub(1), 0, TcpFlags::SYN, b"");
    reassembly.handle_segment(Direction::ToServer, &syn, &mut |direction, piece| {
        receiver.take(direction, piece);
    });
    let mut acknowledged = 0;
    for [high, low, length] in script.as_chunks::<3>().0 {
        let from = usize::from(u16::from_be_bytes([*high, *low])) % STREAM;
        let sequence = start.wrapping_add(u32::try_from(from).unwrap_or(0));
        // Lengths of three are acknowledgements of the other side, all others are payload.
        if *length == 3 {
            acknowledged = acknowledged.max(from);
            let answer = segment(1, sequence, TcpFlags::ACK, b"");
            let mut sink = |direction, piece: Piece<'_>| receiver.take(direction, piece);
            reassembly.handle_segment(Direction::ToClient, &answer, &mut sink);
        } else {
            let end = (from + usize::from(*length)).min(STREAM);
            let payload = stream.get(from..end).unwrap_or_default();
            if let Some(come) = receiver.has_come.get_mut(from..end) {
                come.fill(true);
            }
            let mut sink = |direction, piece: Piece<'_>| receiver.take(direction, piece);
            let piece = segment(sequence, 0, TcpFlags::ACK, payload);
            reassembly.handle_segment(Direction::ToServer, &piece, &mut sink);
        }
        assert!(reassembly.waiting_bytes() <= 2 * WAITING_BYTES, "bound");
    }
    reassembly.close(&mut |direction, piece| receiver.take(direction, piece));
    assert_eq!(receiver.ends, [1, 1], "each direction ends once");
    assert_eq!(reassembly.conflicts(), 0, "no two copies differ");
    // What the other side acknowledged is known to exist, though it never came.
    let last = receiver.has_come.iter().rposition(|come| *come);
    let come = last.map_or(0, |last| last + 1);
    assert!(receiver.next >= come, "all that came is told");
    assert!(
        receiver.next <= come.max(acknowledged),
        "what is not known is no gap"
    );
}
