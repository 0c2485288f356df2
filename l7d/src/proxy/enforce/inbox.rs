//! The client's bytes that have come and not gone on, and what lets them go on.

use std::io;
use std::ops::Range;
use std::time::Duration;

use parsers::Direction as Way;
use serde::{Deserialize, Serialize};
use tokio::net::tcp::WriteHalf;
use tokio::time::Instant;

use super::middlebox::Outgoing;
use super::rewrite::Rewritten;
use crate::policy::Permit;
use crate::proxy::forward::{self, Broken, send_slices, send_some};
use crate::proxy::lane::Lane;
use crate::proxy::refuse::Refusal;
use crate::proxy::splice::Piped;
use crate::record::Outcome;

/// The client's bytes that have come and not gone on.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own")]
pub(super) struct Inbox {
    pub(super) buffer: Option<Box<[u8]>>,
    pub(super) filled: Range<usize>,
    pub(super) cleared: Cleared,
    /// The request whose body is passing; without one, body bytes are dropped.
    pub(super) permit: Option<Permit>,
    pub(super) is_in_body: bool,
    /// The client asked whether its body is wanted, and has not begun it.
    pub(super) has_asked_to_continue: bool,
    /// When the present, unfinished head must be complete.
    pub(super) deadline: Option<Instant>,
    /// When the present header block of HTTP/2 must be.
    pub(super) block_deadline: Option<Instant>,
    /// What the client speaks is known.
    pub(super) is_known: bool,
    /// What permits cover and is not in the buffer: it goes behind what is cleared there.
    owed: Lane,
    /// A body that moves without being looked at.
    pub(super) piped: Piped,
    /// What the client is to be told when it is its turn.
    pub(super) refusing: Option<Refusing>,
    /// The client has been told the last that it is told.
    pub(super) has_refused: bool,
    /// The client has ended, and the server knows it.
    pub(super) is_over: bool,
    /// Frames that go on, and how many of their bytes have.
    pub(super) frames: Frames,
}

/// A refusal that waits for its turn.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Refusing {
    pub(super) refusal: Refusal,
    pub(super) outcome: Outcome,
    pub(super) turn: Turn,
}

/// When a refusal is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Turn {
    /// When it stands in the order of the answers.
    OfDenied,
    /// When everything that was asked before has its answer.
    BehindAll,
    /// At once.
    Now,
}

/// Frames on their way to the server.
#[derive(Default)]
pub(super) struct Frames {
    pub(super) outgoing: Outgoing,
    /// Bytes of them that have gone on.
    pub(super) sent: usize,
}

/// A range of bytes that permits cover and that has not been sent.
#[derive(Default)]
pub(super) struct Cleared(Range<usize>);

impl Cleared {
    /// Extends the range. There is no other way into it.
    pub(super) fn extend(&mut self, _by: &Permit, range: Range<usize>) {
        if self.0.is_empty() {
            self.0 = range;
        } else {
            self.0.end = range.end;
        }
    }
}

/// Where in the client's messages something could not be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Head,
    DeniedBody,
    PermittedBody,
}

/// What waiting for bytes came to.
pub(super) enum More {
    Bytes,
    End,
    TooSlow,
}

impl Inbox {
    /// The bytes that are there.
    pub(super) fn bytes(&self) -> &[u8] {
        let all = self.buffer.as_deref();
        all.and_then(|all| all.get(self.filled.clone()))
            .unwrap_or_default()
    }

    pub(super) fn place(&self) -> Place {
        match (self.is_in_body, &self.permit) {
            (false, _) => Place::Head,
            (true, None) => Place::DeniedBody,
            (true, Some(_)) => Place::PermittedBody,
        }
    }

    /// Room behind the bytes that are there; they move to the front when it gets scarce.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let Some(buffer) = self.buffer.as_deref_mut() else {
            return &mut [];
        };
        let (start, end) = (self.filled.start, self.filled.end);
        if start > 0 && buffer.len() - end < buffer.len() / 4 {
            buffer.copy_within(start..end, 0);
            self.filled = 0..end - start;
        }
        buffer.get_mut(self.filled.end..).unwrap_or_default()
    }

    /// Takes a head that goes on otherwise than it came, behind what is cleared.
    pub(super) fn owe(&mut self, head: Rewritten) {
        self.owed.push(head.into_bytes());
    }

    /// Sends what permits cover. May be dropped and called again.
    pub(super) async fn flush(&mut self, to: &WriteHalf<'_>) -> Result<(), Broken> {
        let broken = |error| Broken::Write(Way::ToServer, error);
        loop {
            let Range { start, end } = self.cleared.0;
            let buffer = self.buffer.as_deref().unwrap_or_default();
            let bytes = buffer.get(start..end).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            self.cleared.0.start += send_some(to, bytes).await.map_err(broken)?;
        }
        self.cleared.0 = 0..0;
        if !self.owed.is_empty() {
            self.owed.send(to).await.map_err(broken)?;
            self.owed = Lane::default();
        }
        Ok(())
    }

    /// Sends the frames that go on. May be dropped: what is left is in [`Self::frames`].
    pub(super) async fn send_frames(&mut self, to: &WriteHalf<'_>) -> Result<(), Broken> {
        if self.frames.outgoing.is_empty() {
            return Ok(());
        }
        let received = self.buffer.as_deref().unwrap_or_default();
        let Frames { outgoing, sent } = &mut self.frames;
        send_slices(to, outgoing.slices(received), sent)
            .await
            .map_err(|error| Broken::Write(Way::ToServer, error))?;
        outgoing.clear();
        *sent = 0;
        Ok(())
    }

    /// Gives the buffer back when there is nothing in it.
    pub(super) fn release(&mut self, pool: &forward::Pool) {
        if self.filled.is_empty()
            && let Some(buffer) = self.buffer.take()
        {
            pool.give(buffer);
            self.filled = 0..0;
        }
    }
}

/// What a client has sent, as it goes to another process.
#[derive(Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own")]
pub(super) struct SavedInbox {
    /// What permits cover and the server has not got yet.
    #[serde(with = "serde_bytes")]
    owed: Vec<u8>,
    /// What is judged there.
    #[serde(with = "serde_bytes")]
    waiting: Vec<u8>,
    has_permit: bool,
    is_in_body: bool,
    has_asked_to_continue: bool,
    is_known: bool,
    refusing: Option<Refusing>,
    has_refused: bool,
    is_over: bool,
    /// What is left of the time for the present head, and header block.
    left: [Option<Duration>; 2],
}

impl Inbox {
    /// Takes everything out for another process.
    pub(super) fn save(mut self) -> io::Result<SavedInbox> {
        let mut waiting = self.piped.take_bytes()?;
        waiting.extend_from_slice(self.bytes());
        let buffer = self.buffer.as_deref().unwrap_or_default();
        let cleared = buffer.get(self.cleared.0.clone()).unwrap_or_default();
        let mut owed = cleared.to_vec();
        owed.extend_from_slice(self.owed.rest());
        let frames: Vec<u8> = self
            .frames
            .outgoing
            .slices(buffer)
            .flat_map(|slice| slice.to_vec())
            .skip(self.frames.sent)
            .collect();
        owed.extend_from_slice(&frames);
        Ok(SavedInbox {
            owed,
            waiting,
            has_permit: self.permit.is_some(),
            is_in_body: self.is_in_body,
            has_asked_to_continue: self.has_asked_to_continue,
            is_known: self.is_known,
            refusing: self.refusing,
            has_refused: self.has_refused,
            is_over: self.is_over,
            left: [self.deadline, self.block_deadline].map(|deadline| {
                deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
            }),
        })
    }

    /// Goes on where another process stopped.
    pub(super) fn restore(saved: SavedInbox, pool: &forward::Pool) -> Self {
        let mut owed = Lane::default();
        owed.push(saved.owed);
        let [deadline, block_deadline] = saved
            .left
            .map(|left| left.map(|left| Instant::now() + left));
        let filled = 0..saved.waiting.len();
        let buffer = (!saved.waiting.is_empty()).then(|| pool.filled_with(&saved.waiting));
        Self {
            buffer,
            filled,
            permit: saved.has_permit.then(Permit::inherited),
            is_in_body: saved.is_in_body,
            has_asked_to_continue: saved.has_asked_to_continue,
            is_known: saved.is_known,
            owed,
            refusing: saved.refusing,
            has_refused: saved.has_refused,
            is_over: saved.is_over,
            deadline,
            block_deadline,
            ..Self::default()
        }
    }
}
