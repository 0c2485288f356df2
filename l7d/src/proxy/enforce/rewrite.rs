//! A request head that goes on otherwise than it came: without the fields that a rule removed, and
//! with those that it added. Everything else stays, to the byte.

use policy_l7::Edits;

use crate::policy::Permit;

/// A head for the server.
pub(super) struct Rewritten(Vec<u8>);

impl Rewritten {
    /// Writes what a permit makes of a whole head. There is no other way to one.
    pub(super) fn new(by: &Permit, head: &[u8]) -> Self {
        Self(rewrite(head, by.edits()))
    }

    /// Its bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Of a head in the strict reading: each field is one line, and each line ends with CRLF.
fn rewrite(head: &[u8], edits: &Edits) -> Vec<u8> {
    let mut written = Vec::with_capacity(head.len().saturating_add(128));
    let mut has_begun = false;
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let is_blank = line == b"\r\n";
        if !has_begun {
            // The request line, and blank ones before it.
            has_begun = !is_blank;
            written.extend_from_slice(line);
        } else if is_blank {
            for (name, value) in edits.additions() {
                for piece in [name, ": ", value, "\r\n"] {
                    written.extend_from_slice(piece.as_bytes());
                }
            }
            written.extend_from_slice(line);
        } else {
            let name = line.split(|byte| *byte == b':').next();
            if name.is_none_or(|name| edits.keep(name)) {
                written.extend_from_slice(line);
            }
        }
    }
    written
}
