//! Frames of every link type: nothing is told that is not in them, and the same frames give the same
//! packets.

use parsers::packet::{FragmentLimits, Frames, Transport};

use crate::cuts;

const LINK_TYPES: [u32; 23] = [
    0, 1, 9, 11, 12, 14, 50, 51, 101, 104, 105, 108, 109, 113, 117, 119, 127, 192, 239, 276, 7,
    129, 258,
];
/// Longest datagram, with what its last fragment may begin with.
const DATAGRAM_MAX: usize = 65_535 + 8;

fn read(frames: &mut Frames, link_type: u32, frame: &[u8], time_ns: u64) -> String {
    match frames.read(link_type, frame, time_ns) {
        Err(error) => format!("{error:?}"),
        Ok(None) => String::new(),
        Ok(Some(packet)) => {
            let payload = match &packet.transport {
                Transport::Tcp(tcp) => tcp.payload.len(),
                Transport::Udp(udp) => udp.payload.len(),
                _ => 0,
            };
            assert!(payload <= frame.len().max(DATAGRAM_MAX));
            format!("{packet:?}")
        }
    }
}

/// The input's first byte is the link type of all frames, or none of ours: then each is tried.
pub(crate) fn holds(data: &[u8]) {
    let Some((first, frames)) = data.split_first() else {
        return;
    };
    let chosen = LINK_TYPES.get(usize::from(*first));
    for link_type in chosen.map_or(&LINK_TYPES[..], std::slice::from_ref) {
        let limits = FragmentLimits {
            datagrams: 4,
            fragments: 8,
            ..FragmentLimits::default()
        };
        let (mut one, mut other) = (Frames::new(limits), Frames::new(limits));
        for (time_ns, frame) in (0..).zip(split(frames)) {
            let told = read(&mut one, *link_type, frame, time_ns);
            assert_eq!(told, read(&mut other, *link_type, frame, time_ns));
        }
        assert_eq!(one.lost_datagrams(), other.lost_datagrams());
    }
}

/// Frames lie side by side with [`cuts::TURN`] between them.
fn split(data: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    let mut rest = data;
    while let Some(at) = rest
        .windows(cuts::TURN.len())
        .position(|window| window == cuts::TURN)
    {
        let (frame, after) = rest.split_at(at);
        frames.push(frame);
        rest = after.get(cuts::TURN.len()..).unwrap_or_default();
    }
    frames.push(rest);
    frames
}
