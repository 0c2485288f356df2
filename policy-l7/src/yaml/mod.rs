//! YAML with positions: a tree of nodes, and a [`Reader`] that turns it into values and collects
//! everything that is wrong. Used for policies and for the daemon's own configuration.
//!
//! Bounded against hostile files: anchors and aliases are refused, depth and size are limited, and
//! a key that stands twice is an error.

mod build;
mod read;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

pub use build::{Extent, parse, parse_within};
pub use read::{Map, Reader};

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) at: At,
    /// Characters that it takes in its line; 1 where it takes several lines.
    pub(crate) width: usize,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Scalar { text: String, is_plain: bool },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// The node as the root of a document.
    pub fn root(&self) -> Cursor<'_> {
        Cursor {
            node: self,
            path: String::new(),
        }
    }

    /// A single value that was read from something else than YAML; `is_plain` where it is no text but a
    /// number, a boolean or nothing.
    pub fn scalar(text: String, is_plain: bool) -> Self {
        Self::elsewhere(Value::Scalar { text, is_plain })
    }

    /// A list that was read from something else than YAML.
    pub fn list(items: Vec<Self>) -> Self {
        Self::elsewhere(Value::List(items))
    }

    /// A mapping that was read from something else than YAML; of a key that stands twice, the first counts.
    pub fn map(entries: Vec<(String, Self)>) -> Self {
        let entries = entries.into_iter();
        let entries = entries.map(|(key, value)| (Self::scalar(key, false), value));
        Self::elsewhere(Value::Map(entries.collect()))
    }

    /// Something that stands in no file.
    const fn elsewhere(value: Value) -> Self {
        Self {
            at: At { line: 1, column: 1 },
            width: 1,
            value,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    fn write_json(&self, out: &mut String) {
        match &self.value {
            Value::Scalar {
                text,
                is_plain: true,
            } if matches!(text.as_str(), "true" | "false") => out.push_str(text),
            Value::Scalar { text, .. } => quote(text, out),
            Value::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    out.push(if at == 0 { '[' } else { ',' });
                    item.write_json(out);
                }
                out.push_str(if items.is_empty() { "[]" } else { "]" });
            }
            Value::Map(entries) => {
                for (at, (name, value)) in entries.iter().enumerate() {
                    out.push(if at == 0 { '{' } else { ',' });
                    quote(name.text().unwrap_or_default(), out);
                    out.push(':');
                    value.write_json(out);
                }
                out.push_str(if entries.is_empty() { "{}" } else { "}" });
            }
        }
    }

    fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar {
                text,
                is_plain: true,
            } => {
                matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => false,
        }
    }

    fn kind(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// A string of JSON (RFC 8259 §7).
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A node on the way through a document: where it is, and how it is called.
#[derive(Debug, Clone)]
pub struct Cursor<'n> {
    node: &'n Node,
    path: String,
}

impl<'n> Cursor<'n> {
    /// Line, from 1.
    pub fn line(&self) -> usize {
        self.node.at.line
    }

    /// Where the node begins.
    pub fn place(&self) -> At {
        self.node.at
    }

    /// Path of the field.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same place as the root of a document of its own: paths begin here.
    #[must_use]
    pub fn as_root(&self) -> Self {
        Self {
            node: self.node,
            path: String::new(),
        }
    }

    /// Whether a single value stands here, where a mapping may stand as well.
    pub fn is_scalar(&self) -> bool {
        self.node.text().is_some()
    }

    /// The value as JSON, for readers that want that: what stands there in quotes is text, and so is
    /// whatever is neither `true` nor `false`.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.node.write_json(&mut out);
        out
    }

    fn field(&self, node: &'n Node, name: &str) -> Self {
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        Self { node, path }
    }
}
