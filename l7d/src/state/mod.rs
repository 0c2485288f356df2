//! What is known of a cluster, on disk: so that an agent that starts while the API server is away enforces
//! what was known last, from its first packet on.
//!
//! | file | what it does |
//! |---|---|
//! | `form` | the form of a file: what is in front, behind, and how a broken one is found; no I/O |
//! | `objects` | an object in one line of JSON, and back; no I/O |
//! | `folder` | the files of a folder: read at a start, and set aside where they cannot be used |
//! | `scribe` | the thread that writes them |
//!
//! There is one file for each kind of objects. Each is written beside its former version, brought to the
//! disk, and then put in its place: a file is the former one or the new one, whatever happens meanwhile.

mod folder;
mod form;
mod objects;
mod scribe;
#[cfg(test)]
mod tests;

pub use folder::{Folder, Remembered, SetAside, Whole};
pub use form::{Fault, Head, Origin};
pub use objects::{read_object, write_object};
pub use scribe::{Board, Piece, Scribe};

/// A file is no larger than this: a hundred times what 5,000 pods take.
pub const FILE_BYTES_MAX: u64 = 256 << 20;
