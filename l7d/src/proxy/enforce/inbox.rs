//! The client's bytes that have come and not gone on, and what lets them go on.

use std::ops::Range;

use parsers::Direction as Way;
use tokio::net::tcp::WriteHalf;
use tokio::time::Instant;

use crate::policy::Permit;
use crate::proxy::forward::{self, Broken, send};

/// The client's bytes that have come and not gone on.
#[derive(Default)]
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
    /// What the client speaks is known.
    pub(super) is_known: bool,
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

    /// Sends what permits cover.
    pub(super) async fn flush(&mut self, to: &WriteHalf<'_>) -> Result<(), Broken> {
        let range = std::mem::take(&mut self.cleared.0);
        let bytes = self.buffer.as_deref().and_then(|buffer| buffer.get(range));
        send(to, bytes.unwrap_or_default())
            .await
            .map_err(|error| Broken::Write(Way::ToServer, error))
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
