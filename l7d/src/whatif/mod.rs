//! What a policy set would say of flows that were seen.
//!
//! ```text
//!   lines (flowlog) ─▶ Gather: who asked whom for what, how often ─▶ World: policies compiled for
//!                              whoever was seen ─▶ Outcome ─▶ Comparison: what would change
//! ```
//!
//! Whoever was seen is known by labels alone: pods with the same labels are one end. The judging is
//! that of live requests ([`crate::policy::Live`]); nothing here decides by itself. What a flow does
//! not tell is assumed both ways, and where that makes a difference the answer is that it cannot be
//! said.

mod ask;
mod compare;
mod ends;
mod gather;
mod judge;
mod known;
mod least;

pub use ask::{Ask, HttpAsk};
pub use compare::{Change, Comparison, Decision, Group, Totals};
pub use ends::{End, EndId, Ends, Told, Who};
pub use gather::{Asked, Gather, Passed, Sample, Skipped};
pub use judge::{Outcome, Unsaid, World};
pub use least::{Paths, Scope, Sightings};
