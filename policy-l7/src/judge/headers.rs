//! What a rule wants of a header, and what it does where that is otherwise.

use super::edits::{Edit, EditKind, Edited, Edits};
use crate::rule::{HeaderRule, Mismatch};

/// The header fields of a request, wherever it came from.
pub trait Headers {
    /// Calls `visit` with name and value of each field, in order.
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8]));

    /// Whether rules about the field of this name are to be taken as met, where its value is not
    /// known: recorded flows lack headers or hide their values. `None` where `each` tells all of it.
    fn assumed(&self, _name: &[u8]) -> Option<bool> {
        None
    }
}

impl HeaderRule {
    /// Whether the header is there, with the value if one is given. Several fields of one name count
    /// as one, joined by commas, as Envoy compares them.
    pub(super) fn is_met(&self, headers: &dyn Headers) -> bool {
        if let Some(is_met) = headers.assumed(self.name.as_bytes()) {
            return is_met;
        }
        let mut count = 0_usize;
        // What of the value is still to come; none once something else came.
        let mut rest = self.value.as_deref().map(str::as_bytes);
        headers.each(&mut |name, value| {
            if !name.eq_ignore_ascii_case(self.name.as_bytes()) {
                return;
            }
            if count > 0 {
                rest = rest.and_then(|rest| rest.strip_prefix(b","));
            }
            rest = rest.and_then(|rest| rest.strip_prefix(value));
            count += 1;
        });
        count > 0 && (self.value.is_none() || rest.is_some_and(<[u8]>::is_empty))
    }

    /// Whether a request passes, whatever is done with its header.
    pub(super) fn lets_pass(&self, headers: &dyn Headers) -> bool {
        self.mismatch != Mismatch::Fail || self.is_met(headers)
    }

    /// Does what is to be done where the header is not as it should be, and says whether the request
    /// passes.
    pub(super) fn acts_on(&self, fields: &dyn Headers, edits: &mut Edits) -> bool {
        if self.is_met(&Edited { fields, edits }) {
            return true;
        }
        let Some(kind) = self.kind() else {
            return false;
        };
        // What is not there need not be removed.
        if kind == EditKind::Delete && !self.is_there(&Edited { fields, edits }) {
            return true;
        }
        let edit = self.edit(kind);
        let is_possible = edit.is_some();
        edits.extend(edit);
        is_possible
    }

    /// Whether what it does where the header differs can be done without harm.
    pub(crate) fn can_act(&self) -> bool {
        self.kind().is_none_or(|kind| self.edit(kind).is_some())
    }

    fn kind(&self) -> Option<EditKind> {
        match self.mismatch {
            Mismatch::Add => Some(EditKind::Add),
            Mismatch::Delete => Some(EditKind::Delete),
            Mismatch::Fail => None,
            Mismatch::Log => Some(EditKind::Log),
            Mismatch::Replace => Some(EditKind::Replace),
        }
    }

    fn edit(&self, kind: EditKind) -> Option<Edit> {
        Edit::new(kind, &self.name, self.value.as_deref().unwrap_or_default())
    }

    fn is_there(&self, headers: &dyn Headers) -> bool {
        let mut is_there = headers.assumed(self.name.as_bytes()) == Some(true);
        headers.each(&mut |name, _| {
            is_there |= name.eq_ignore_ascii_case(self.name.as_bytes());
        });
        is_there
    }
}
