//! The streams that are open (RFC 9113 §5.1), as far as reading needs them.

use super::headers::{Findings, Role};
use crate::Direction;
use crate::error::{Error, Fault};

/// Open streams, in the order of their numbers.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Streams {
    open: Vec<Stream>,
    limit: usize,
    evicted: u64,
}

#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
struct Stream {
    number: u32,
    halves: [Half; 2],
    /// The request was HEAD: its response has no payload, whatever it says (RFC 9110 §9.3.2).
    is_head: bool,
}

/// One direction of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Half {
    /// The message has not begun.
    Idle,
    /// The message has begun; `left` payload bytes were announced and have not come.
    Open { left: Option<u64> },
    /// The message is complete.
    Done,
}

pub(super) fn index(direction: Direction) -> usize {
    match direction {
        Direction::ToServer => 0,
        Direction::ToClient => 1,
    }
}

const BAD_LENGTH: Error = Error::new(
    Fault::Malformed,
    "content-length-differs",
    "RFC 9113 §8.1.1",
);

impl Streams {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            open: Vec::new(),
            limit: limit.max(1),
            evicted: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) fn is_open(&self, number: u32) -> bool {
        self.place(number).is_ok()
    }

    /// Opens a stream if it is not open; beyond the limit, the oldest is no longer followed.
    pub(super) fn open(&mut self, number: u32) {
        let Err(place) = self.place(number) else {
            return;
        };
        let stream = Stream {
            number,
            halves: [Half::Idle; 2],
            is_head: false,
        };
        self.open.insert(place, stream);
        if self.open.len() > self.limit {
            self.open.remove(0);
            self.evicted = self.evicted.saturating_add(1);
        }
    }

    /// What a header block is, by what came before it on its stream; `None` if nothing did.
    pub(super) fn role(&self, direction: Direction, number: u32) -> Option<Role> {
        let stream = self.open.get(self.place(number).ok()?)?;
        Some(match (stream.half(direction), direction) {
            (Half::Idle, Direction::ToServer) => Role::Request,
            (Half::Idle, Direction::ToClient) => Role::Response,
            (Half::Open { .. } | Half::Done, _) => Role::Trailers,
        })
    }

    /// Notes a header block.
    pub(super) fn handle_head(
        &mut self,
        direction: Direction,
        number: u32,
        role: Role,
        findings: &mut Findings,
        is_last: bool,
    ) {
        let Some(stream) = self.stream(number) else {
            return;
        };
        match role {
            Role::Request | Role::Response if findings.is_interim() => {}
            Role::Request => {
                stream.is_head = findings.is_head;
                let left = findings.expected_bytes();
                stream.set(direction, Half::Open { left });
            }
            Role::Response => {
                let is_head = stream.is_head;
                let left = findings.expected_bytes().filter(|_| !is_head);
                stream.set(direction, Half::Open { left });
            }
            Role::Trailers => {}
        }
        if is_last && let Some(fault) = self.end(direction, number) {
            findings.blame(fault);
        }
    }

    /// Notes payload; at the end of the message gives back what is wrong with it.
    pub(super) fn handle_data(
        &mut self,
        direction: Direction,
        number: u32,
        bytes: u64,
        is_last: bool,
    ) -> Option<Error> {
        let stream = self.stream(number)?;
        let mut fault = None;
        match stream.half(direction) {
            Half::Open { left: Some(left) } => {
                let rest = left.checked_sub(bytes);
                fault = rest.is_none().then_some(BAD_LENGTH);
                stream.set(direction, Half::Open { left: rest });
            }
            Half::Open { left: None } | Half::Done => {}
            Half::Idle => {
                fault = Some(Error::new(
                    Fault::Malformed,
                    "data-before-headers",
                    "RFC 9113 §8.1",
                ));
                stream.set(direction, Half::Open { left: None });
            }
        }
        if is_last {
            return fault.or(self.end(direction, number));
        }
        fault
    }

    /// The server made up the request.
    pub(super) fn promise(&mut self, number: u32, is_head: bool) {
        self.open(number);
        if let Some(stream) = self.stream(number) {
            stream.is_head = is_head;
            stream.set(Direction::ToServer, Half::Done);
        }
    }

    /// A request was complete before the connection began (RFC 7540 §3.2).
    pub(super) fn begin_answered(&mut self, number: u32, is_head: bool) {
        self.promise(number, is_head);
    }

    /// Notes the end of a stream.
    pub(super) fn reset(&mut self, number: u32) {
        if let Ok(place) = self.place(number) {
            self.open.remove(place);
        }
    }

    /// Payload that was announced may have been missed.
    pub(super) fn forget_lengths(&mut self, direction: Direction) {
        for stream in &mut self.open {
            match stream.half(direction) {
                // What is idle may have begun unseen, and is told by its fields from now on.
                Half::Idle | Half::Open { .. } => {
                    stream.set(direction, Half::Open { left: None });
                }
                Half::Done => {}
            }
        }
    }

    fn end(&mut self, direction: Direction, number: u32) -> Option<Error> {
        let place = self.place(number).ok()?;
        let stream = self.open.get_mut(place)?;
        let is_short = matches!(stream.half(direction), Half::Open { left: Some(1..) });
        stream.set(direction, Half::Done);
        if stream.halves == [Half::Done; 2] {
            self.open.remove(place);
        }
        is_short.then_some(BAD_LENGTH)
    }

    fn stream(&mut self, number: u32) -> Option<&mut Stream> {
        let place = self.place(number).ok()?;
        self.open.get_mut(place)
    }

    /// Mostly the newest stream is asked for.
    fn place(&self, number: u32) -> Result<usize, usize> {
        match self.open.last() {
            None => Err(0),
            Some(last) if last.number == number => Ok(self.open.len() - 1),
            Some(last) if last.number < number => Err(self.open.len()),
            Some(_) => self
                .open
                .binary_search_by_key(&number, |stream| stream.number),
        }
    }
}

impl Stream {
    fn half(&self, direction: Direction) -> Half {
        let half = self.halves.get(index(direction));
        half.copied().unwrap_or(Half::Done)
    }

    fn set(&mut self, direction: Direction, half: Half) {
        if let Some(slot) = self.halves.get_mut(index(direction)) {
            *slot = half;
        }
    }
}
