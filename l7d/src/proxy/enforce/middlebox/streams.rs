//! What the client's streams are: permitted, refused, and whether it has more to say on them.

use std::collections::BTreeMap;

use super::reply::Answer;
use crate::policy::Permit;

/// Streams that the client opened, by number.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Streams {
    known: BTreeMap<u32, Stream>,
    /// Entries at which the table is swept.
    sweep_at: usize,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Stream {
    /// None of a stream that the server does not know.
    #[serde(with = "inherited")]
    permit: Option<Permit>,
    /// The client has said all.
    is_done: bool,
    /// What a refused request is answered once its body has come.
    held: Option<Held>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Held {
    answer: Answer,
    /// Payload so far, in bytes.
    swallowed: usize,
}

/// Permits as they go to another process: that they are there.
mod inherited {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::policy::Permit;

    #[expect(clippy::ref_option, reason = "what serde calls")]
    pub(super) fn serialize<S: Serializer>(
        permit: &Option<Permit>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        permit.is_some().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Permit>, D::Error> {
        let is_there = bool::deserialize(deserializer)?;
        Ok(is_there.then(Permit::inherited))
    }
}

/// What the client is told when payload of a refused stream has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// It may go on to the end of its body.
    More,
    /// Its answer: the body has come whole, or is longer than was said.
    Answer(Answer),
    /// It was told all.
    Nothing,
}

/// What is known of a stream.
pub(super) enum Known<'s> {
    /// Its frames go on.
    Permitted(&'s Permit),
    /// Its frames are swallowed.
    Refused,
    /// Permitted, and the client has said that it has no more payload.
    Done(&'s Permit),
    /// Ended long ago, or not opened yet.
    Unknown,
}

/// The longest body of a refused request that is waited for, in bytes.
pub(super) const HELD_BYTES: usize = 64 << 10;
/// Ended streams that are remembered, since frames of theirs may still be under way.
const REMEMBERED: u32 = 1024;
const SWEEP_MIN: usize = 128;

impl Default for Streams {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            sweep_at: SWEEP_MIN,
        }
    }
}

impl Streams {
    /// A request was judged; without a permit it is refused.
    pub(super) fn open(&mut self, stream: u32, permit: Option<Permit>, is_done: bool) {
        let known = Stream {
            permit,
            is_done,
            held: None,
        };
        self.known.insert(stream, known);
    }

    /// The answer to a refused request waits for its body, as it would at a server: some clients take
    /// an answer before that for a failure.
    pub(super) fn hold(&mut self, stream: u32, answer: Answer) {
        if let Some(stream) = self.known.get_mut(&stream) {
            stream.held = Some(Held {
                answer,
                swallowed: 0,
            });
        }
    }

    /// Payload of a refused stream has come, and maybe its end.
    pub(super) fn swallow(&mut self, stream: u32, bytes: usize, is_last: bool) -> Heard {
        let Some(stream) = self.known.get_mut(&stream) else {
            return Heard::Nothing;
        };
        stream.is_done |= is_last;
        let Some(held) = &mut stream.held else {
            return Heard::Nothing;
        };
        held.swallowed = held.swallowed.saturating_add(bytes);
        if !is_last && held.swallowed <= HELD_BYTES {
            return Heard::More;
        }
        let answer = held.answer;
        stream.held = None;
        Heard::Answer(answer)
    }

    pub(super) fn state(&self, stream: u32) -> Known<'_> {
        match self.known.get(&stream) {
            None => Known::Unknown,
            Some(Stream { permit: None, .. }) => Known::Refused,
            Some(Stream {
                permit: Some(permit),
                is_done,
                ..
            }) => {
                if *is_done {
                    Known::Done(permit)
                } else {
                    Known::Permitted(permit)
                }
            }
        }
    }

    /// Whether the server knows the stream.
    pub(super) fn is_permitted(&self, stream: u32) -> bool {
        matches!(self.state(stream), Known::Permitted(_) | Known::Done(_))
    }

    /// The client has said all on the stream.
    pub(super) fn end(&mut self, stream: u32) {
        if let Some(stream) = self.known.get_mut(&stream) {
            stream.is_done = true;
            stream.held = None;
        }
    }

    /// Whatever follows on the stream is swallowed; tells whether the server knows it.
    pub(super) fn revoke(&mut self, stream: u32) -> bool {
        let stream = self.known.get_mut(&stream);
        stream.is_some_and(|stream| stream.permit.take().is_some())
    }

    /// Forgets streams that are over, now and then: a connection may live for days.
    pub(super) fn sweep(&mut self, is_open: impl Fn(u32) -> bool) {
        if self.known.len() < self.sweep_at {
            return;
        }
        let newest = self.known.last_key_value().map_or(0, |(newest, _)| *newest);
        self.known.retain(|number, stream| {
            is_open(*number) || (!stream.is_done && number.saturating_add(REMEMBERED) > newest)
        });
        self.sweep_at = SWEEP_MIN.max(self.known.len().saturating_mul(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_lives_for_days_remembers_no_more_streams() {
        let mut streams = Streams::default();
        let long = 1;
        streams.open(long, None, false);
        let mut most = 0;
        for number in 1..200_000 {
            streams.open(2 * number + 1, None, number % 2 == 0);
            streams.sweep(|stream| stream == long);
            most = most.max(streams.known.len());
        }
        assert!(most <= 2 * REMEMBERED as usize, "{most}");
        assert!(matches!(streams.state(long), Known::Refused));
        assert!(matches!(streams.state(3), Known::Unknown));
    }
}
