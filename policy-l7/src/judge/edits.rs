//! What rules with `headerMatches` change of a request that they let pass.

use std::fmt;

use super::Headers;

/// Changes of a request's header fields, in the order in which rules made them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edits(Vec<Edit>);

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    kind: EditKind,
    name: FieldName,
    value: FieldValue,
}

/// What is done with a field that is not as a rule wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EditKind {
    /// One more field of that name.
    Add,
    /// None of that name is left.
    Delete,
    /// Nothing: it is told.
    Log,
    /// One of that name is left, with this value.
    Replace,
}

/// A name that a field of any version of HTTP may have, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldName(Box<str>);

/// A value that ends where it ends: without control characters or blanks around it (RFC 9110 §5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldValue(Box<str>);

/// Fields that decide how a message is read, or for whom it is: changing them would make another
/// message of it.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

impl FieldName {
    fn new(name: &str) -> Option<Self> {
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let name = name.to_ascii_lowercase();
        let is_fit = !name.is_empty() && name.bytes().all(is_token);
        is_fit.then(|| Self(name.into()))
    }
}

impl FieldValue {
    fn new(value: &str) -> Option<Self> {
        let is_fit = value
            .bytes()
            .all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
            && value.trim_matches([' ', '\t']).len() == value.len();
        is_fit.then(|| Self(value.into()))
    }
}

impl Edit {
    /// `None` if such a change would do more than change one field.
    pub(crate) fn new(kind: EditKind, name: &str, value: &str) -> Option<Self> {
        let edit = Self {
            kind,
            name: FieldName::new(name)?,
            value: FieldValue::new(value)?,
        };
        let changes_message = kind != EditKind::Log && FRAMING.contains(&&*edit.name.0);
        (!changes_message).then_some(edit)
    }

    fn is_of(&self, name: &[u8]) -> bool {
        self.name.0.as_bytes().eq_ignore_ascii_case(name)
    }

    fn removes(&self, name: &[u8]) -> bool {
        matches!(self.kind, EditKind::Delete | EditKind::Replace) && self.is_of(name)
    }
}

impl Edits {
    /// Whether the request goes on as it came.
    pub fn change_nothing(&self) -> bool {
        self.0.iter().all(|edit| edit.kind == EditKind::Log)
    }

    /// Whether a field of the client goes on.
    pub fn keep(&self, name: &[u8]) -> bool {
        !self.0.iter().any(|edit| edit.removes(name))
    }

    /// The fields that stand behind those of the client: names in lower case, and values.
    pub fn additions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().enumerate().filter_map(|(at, edit)| {
            let adds = matches!(edit.kind, EditKind::Add | EditKind::Replace);
            let name = edit.name.0.as_bytes();
            let mut later = self.0.iter().skip(at + 1);
            (adds && !later.any(|later| later.removes(name)))
                .then_some((&*edit.name.0, &*edit.value.0))
        })
    }

    /// Those of another judge come behind these.
    pub fn append(&mut self, mut later: Self) {
        self.0.append(&mut later.0);
    }

    pub(crate) fn extend(&mut self, edit: Option<Edit>) {
        self.0.extend(edit);
    }

    /// Whether a field of this name was changed.
    fn touch(&self, name: &[u8]) -> bool {
        self.0.iter().any(|edit| edit.is_of(name))
    }
}

/// Names, never values: those may be secrets.
impl fmt::Display for Edits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, edit) in self.0.iter().enumerate() {
            let name = &edit.name.0;
            let before = if at == 0 { "" } else { ", " };
            f.write_str(before)?;
            match edit.kind {
                EditKind::Add => write!(f, "header {name} added")?,
                EditKind::Delete => write!(f, "header {name} removed")?,
                EditKind::Log => write!(f, "header {name} is missing or differs")?,
                EditKind::Replace => write!(f, "header {name} replaced")?,
            }
        }
        Ok(())
    }
}

/// The fields of a request after some changes.
#[derive(Clone, Copy)]
pub struct Edited<'a> {
    /// As the client sent them.
    pub fields: &'a dyn Headers,
    /// What was changed.
    pub edits: &'a Edits,
}

impl Headers for Edited<'_> {
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        self.fields.each(&mut |name, value| {
            if self.edits.keep(name) {
                visit(name, value);
            }
        });
        for (name, value) in self.edits.additions() {
            visit(name.as_bytes(), value.as_bytes());
        }
    }

    fn assumed(&self, name: &[u8]) -> Option<bool> {
        if self.edits.touch(name) {
            None
        } else {
            self.fields.assumed(name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fields(&'static [(&'static str, &'static str)]);

    impl Headers for Fields {
        fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
            for (name, value) in self.0 {
                visit(name.as_bytes(), value.as_bytes());
            }
        }
    }

    fn after(edits: &[(EditKind, &str, &str)]) -> String {
        let edits = edits
            .iter()
            .filter_map(|(kind, name, value)| Edit::new(*kind, name, value))
            .collect();
        let fields = Fields(&[("Host", "h"), ("X-A", "1"), ("x-b", "2"), ("x-A", "3")]);
        let edited = Edited {
            fields: &fields,
            edits: &Edits(edits),
        };
        let mut all = Vec::new();
        edited.each(&mut |name, value| {
            all.push(format!("{}={}", name.escape_ascii(), value.escape_ascii()));
        });
        all.join(" ")
    }

    #[test]
    fn changes_are_made_in_their_order() {
        use EditKind::{Add, Delete, Log, Replace};
        for (edits, expected) in [
            (&[(Log, "x-a", "9")][..], "Host=h X-A=1 x-b=2 x-A=3"),
            (&[(Add, "X-A", "9")], "Host=h X-A=1 x-b=2 x-A=3 x-a=9"),
            (&[(Delete, "x-a", "")], "Host=h x-b=2"),
            (&[(Replace, "x-a", "9")], "Host=h x-b=2 x-a=9"),
            (
                &[(Add, "x-a", "8"), (Replace, "x-a", "9"), (Add, "x-a", "7")],
                "Host=h x-b=2 x-a=9 x-a=7",
            ),
            (
                &[(Replace, "x-c", "9"), (Delete, "x-c", "")],
                "Host=h X-A=1 x-b=2 x-A=3",
            ),
        ] {
            assert_eq!(after(edits), expected);
        }
    }

    #[test]
    fn no_change_makes_another_message() {
        for (name, value) in [
            ("x-a", "1\r\nx-b: 2"),
            ("x-a", "1\nx-b: 2"),
            ("x-a", "1\0"),
            ("x-a", " 1"),
            ("x-a: 1\r\nx-b", "2"),
            ("", "1"),
            (":path", "/"),
            ("Content-Length", "0"),
            ("transfer-encoding", "chunked"),
            ("Host", "other"),
        ] {
            assert_eq!(
                Edit::new(EditKind::Add, name, value),
                None,
                "{name}: {value}"
            );
        }
    }
}
