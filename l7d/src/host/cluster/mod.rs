//! What a cluster tells of who is there, one change at a time, whoever asks it.

mod update;

pub use update::{Kind, Name, Object, Outcome, Outcomes, Pod, PolicyObject, Slice, Update};
