//! How an input is cut, and how one input holds both directions of a conversation.
//!
//! Cuts come from the bytes themselves, so that any file of any corpus is an input as it is.

use parsers::Direction;

/// Between what the client and what the server said.
pub const TURN: &[u8] = b"\n--turn--\n";

/// What a reader made of the bytes it was given.
pub(crate) enum Outcome {
    /// It wants more.
    NeedMore,
    /// It told something that ends after so many bytes.
    Consumed(usize),
    /// It gave up.
    Failed,
}

/// Both sides of a conversation; an input without [`TURN`] is what the client said.
pub(crate) fn sides(data: &[u8]) -> [(Direction, &[u8]); 2] {
    let at = data.windows(TURN.len()).position(|window| window == TURN);
    let (client, server) = match at {
        Some(at) => (&data.get(..at), &data.get(at + TURN.len()..)),
        None => (&Some(data), &None),
    };
    [
        (Direction::ToServer, client.unwrap_or_default()),
        (Direction::ToClient, server.unwrap_or_default()),
    ]
}

/// Some places, the same for the same bytes, in ascending order.
pub(crate) fn some(data: &[u8]) -> Vec<usize> {
    let mut state = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut cuts: Vec<usize> = (0..state % 9)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % (data.len() as u64 + 1)).unwrap_or(0)
        })
        .collect();
    cuts.sort_unstable();
    cuts
}

/// Ways to cut these bytes, to be compared with no cut at all.
pub(crate) fn ways(data: &[u8]) -> Vec<Vec<usize>> {
    // Each step may look at all that waits: cutting everywhere is for short inputs.
    const EVERYWHERE_MAX: usize = 600;
    let mut ways = vec![some(data)];
    if data.len() <= EVERYWHERE_MAX {
        ways.push((0..data.len()).collect());
    }
    ways
}

/// One of them, from 1; 0 is no cut.
pub(crate) fn way(data: &[u8], number: usize) -> Vec<usize> {
    let mut ways = std::iter::once(Vec::new()).chain(ways(data));
    ways.nth(number).unwrap_or_default()
}

/// Gives `data` to `step`, which keeps to the contract of the parsers, with more bytes at each cut.
pub(crate) fn feed(data: &[u8], cuts: &[usize], mut step: impl FnMut(&[u8]) -> Outcome) {
    // An event need not consume bytes, but a run of such events has an end.
    const IDLE_MAX: usize = 16;
    let mut start = 0;
    for end in cuts.iter().copied().chain([data.len()]) {
        let mut idle = 0;
        loop {
            let waiting = data.get(start..end).unwrap_or_default();
            match step(waiting) {
                Outcome::NeedMore => break,
                Outcome::Failed => return,
                Outcome::Consumed(bytes) => {
                    assert!(bytes <= waiting.len(), "more consumed than given");
                    idle = if bytes == 0 { idle + 1 } else { 0 };
                    assert!(idle <= IDLE_MAX, "events without bytes go on for ever");
                    start += bytes;
                }
            }
        }
    }
}
