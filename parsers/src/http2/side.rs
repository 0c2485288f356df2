//! What is known of one direction of a connection.

use std::collections::VecDeque;

use super::frame::{Priority, Settings};
use super::headers::Findings;
use super::{DEFAULT_FRAME_BYTES, MAX_FRAME_BYTES};
use crate::error::{Error, Fault};
use crate::hpack::Decoder;
use crate::limits::Limits;

/// One direction.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Side {
    pub(super) state: State,
    pub(super) decoder: Decoder,
    /// Pieces of a header block that has no end yet.
    pub(super) fragments: Vec<u8>,
    pub(super) block: Option<Block>,
    /// Of the header block that was decoded last: nothing behind its event.
    #[serde(skip)]
    pub(super) findings: Findings,
    /// Largest payload that the other side has ever allowed, in bytes.
    pub(super) max_frame: u32,
    /// What this side announced and the other has not acknowledged, oldest first.
    announced: VecDeque<Announced>,
    /// Everything was seen from the start.
    pub(super) is_whole: bool,
    /// More than the preface was read.
    pub(super) has_begun: bool,
    /// The highest stream that this side opened.
    pub(super) newest_stream: u32,
    /// The caller holds bytes that do not make an event yet.
    pub(super) holds_bytes: bool,
    /// Bytes since the last place between frames.
    pub(super) since_boundary: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) enum State {
    /// Before the client's preface.
    Preface,
    /// At a frame.
    Frame,
    /// In a DATA frame, or in the padding after its payload.
    Data(DataLeft),
    /// In a frame that is not looked at.
    Skip {
        left: u32,
    },
    /// Looking for a frame.
    Lost,
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct DataLeft {
    pub(super) stream: u32,
    pub(super) payload: u32,
    pub(super) padding: u32,
    /// The end of the stream has not been told yet.
    pub(super) ends: bool,
}

/// A header block whose first frame was read.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct Block {
    pub(super) stream: u32,
    pub(super) priority: Option<Priority>,
    pub(super) promised: Option<u32>,
    pub(super) is_last: bool,
    pub(super) continuations: usize,
}

#[derive(Debug, Clone, Copy, Default, serde::Serialize, serde::Deserialize)]
struct Announced {
    table_bytes: Option<u32>,
}

impl Side {
    pub(super) fn new(limits: &Limits, state: State) -> Self {
        Self {
            state,
            decoder: Decoder::new(limits),
            fragments: Vec::new(),
            block: None,
            findings: Findings::default(),
            max_frame: DEFAULT_FRAME_BYTES,
            announced: VecDeque::new(),
            is_whole: true,
            has_begun: false,
            newest_stream: 0,
            holds_bytes: false,
            since_boundary: 0,
        }
    }

    /// Frames may have been missed.
    pub(super) fn lose(&mut self) {
        self.state = State::Lost;
        self.decoder.forget();
        self.fragments = Vec::new();
        self.block = None;
        self.max_frame = MAX_FRAME_BYTES;
        self.announced.clear();
        self.is_whole = false;
        self.holds_bytes = false;
    }

    /// Settings of the other side may have been missed.
    pub(super) fn lift_limits(&mut self, limits: &Limits) {
        self.max_frame = MAX_FRAME_BYTES;
        let memory = u32::try_from(limits.hpack_table_bytes).unwrap_or(u32::MAX);
        self.decoder.set_limit(memory);
    }

    /// Keeps settings until they are acknowledged.
    pub(super) fn announce(
        &mut self,
        settings: &Settings<'_>,
        limits: &Limits,
    ) -> Result<(), Error> {
        if self.announced.len() >= limits.unacknowledged_settings {
            if self.is_whole {
                return Err(Error::new(
                    Fault::TooLarge,
                    "too-many-settings",
                    "RFC 9113 §10.5",
                ));
            }
            self.announced.pop_front();
        }
        self.announced.push_back(Announced {
            table_bytes: settings.value(Settings::HEADER_TABLE_SIZE),
        });
        Ok(())
    }

    /// The table size among the oldest settings without an acknowledgement, which came now.
    pub(super) fn acknowledged(&mut self) -> Option<u32> {
        self.announced.pop_front()?.table_bytes
    }

    /// What the other side allows in frames; counts at once, as its sender may use it at once.
    pub(super) fn allow_frames(&mut self, settings: &Settings<'_>) {
        if let Some(bytes) = settings.value(Settings::MAX_FRAME_SIZE) {
            self.max_frame = self.max_frame.max(bytes.min(MAX_FRAME_BYTES));
        }
    }
}

impl DataLeft {
    /// Bytes of the frame that have not come, padding included.
    pub(super) fn bytes(self) -> u64 {
        u64::from(self.payload) + u64::from(self.padding)
    }
}
