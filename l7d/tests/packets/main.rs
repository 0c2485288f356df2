//! The kernel programs judge packets that nobody would send: every header field at its bounds, cut off at
//! every byte, in fragments that hide what they are, changed by chance. What they decide and tell is held
//! against a model of what a receiver makes of the same bytes (`properties::received`).
//!
//! `cargo xtask soak fuzz-packets` goes on for longer: `L7D_SOAK_SECONDS` and `L7D_SOAK_SEED` are its
//! words.

#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "frames are written byte by byte, and a place that is not there is a fault of the test"
)]

mod bounds;
mod chance;
mod drawing;
mod frames;
mod kernel;
mod node;
mod sequences;
mod single;
mod world;
