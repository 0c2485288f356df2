//! What a middlebox must know beyond the messages: where frames end, and what the tables may hold.

use super::{Connection, Side, State};
use crate::Direction;

impl Connection {
    /// Bytes of that direction since a frame of another sender could have stood there: 0 between
    /// frames that belong to no unfinished header block (RFC 9113 §4.3). Bytes that the caller was
    /// told to keep are not counted.
    pub fn bytes_since_boundary(&self, direction: Direction) -> u64 {
        self.look(direction).since_boundary
    }

    /// Whether that side's SETTINGS were seen, so that other frames may follow (RFC 9113 §3.4).
    pub fn has_begun(&self, direction: Direction) -> bool {
        self.look(direction).has_begun
    }

    /// The number of the newest stream that the client opened; 0 is none.
    pub fn newest_stream(&self) -> u32 {
        self.look(Direction::ToServer).newest_stream
    }

    /// The table that the receiver of that direction allows its sender, as far as that is
    /// acknowledged, in bytes.
    pub fn table_limit(&self, direction: Direction) -> usize {
        self.look(direction).decoder.limit()
    }

    /// Whether the next header block of that direction has to begin with a size update (RFC 7541
    /// §4.2).
    pub fn owes_size_update(&self, direction: Direction) -> bool {
        self.look(direction).decoder.owes_size_update()
    }

    /// No longer follows a stream that only one side knows of: the caller answers it.
    pub fn forget_stream(&mut self, stream: u32) {
        self.streams.reset(stream);
    }

    pub(super) fn look(&self, direction: Direction) -> &Side {
        let [to_server, to_client] = &self.sides;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    /// Counts bytes of an event.
    pub(super) fn note_consumed(&mut self, direction: Direction, consumed: usize) {
        let side = self.side(direction);
        let is_boundary = matches!(side.state, State::Frame) && side.block.is_none();
        side.since_boundary = if is_boundary {
            0
        } else {
            side.since_boundary.saturating_add(consumed as u64)
        };
    }
}
