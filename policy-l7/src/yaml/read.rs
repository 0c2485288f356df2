//! Nodes → values, and everything that is wrong with them.

use std::fmt::Display;
use std::str::FromStr;

use super::{Cursor, Node, Value};
use crate::error::{Error, nearest};

/// Reads nodes as values and collects what is wrong.
#[derive(Debug)]
pub struct Reader {
    file: String,
    errors: Vec<Error>,
}

impl Reader {
    /// A reader of that file.
    pub fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            errors: Vec::new(),
        }
    }

    /// Everything that was wrong, in the order of the file.
    pub fn into_errors(mut self) -> Vec<Error> {
        self.errors.sort_by_key(|error| (error.line, error.column));
        self.errors
    }

    /// Whether anything was wrong so far.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Notes a fault.
    pub fn fault(&mut self, at: &Cursor<'_>, message: impl Into<String>) {
        self.fault_near(at, message, None);
    }

    /// Notes a fault and what was perhaps meant.
    pub fn fault_near(
        &mut self,
        at: &Cursor<'_>,
        message: impl Into<String>,
        suggestion: Option<&str>,
    ) {
        self.errors.push(Error {
            file: self.file.clone(),
            line: at.node.at.line,
            column: at.node.at.column,
            field: at.path.clone(),
            message: message.into(),
            suggestion: suggestion.map(str::to_owned),
        });
    }

    /// A mapping. Nothing at all counts as an empty one.
    pub fn map<'n>(&mut self, at: &Cursor<'n>) -> Option<Map<'n>> {
        let entries = match &at.node.value {
            Value::Map(entries) => entries.as_slice(),
            Value::Scalar { .. } if at.node.is_null() => &[],
            Value::Scalar { .. } | Value::List(_) => {
                self.fault(at, format!("expected a mapping, found {}", at.node.kind()));
                return None;
            }
        };
        Some(Map {
            at: at.clone(),
            entries,
            asked: Vec::new(),
        })
    }

    /// The elements of a list. Nothing at all counts as an empty one.
    pub fn list<'n>(&mut self, at: &Cursor<'n>) -> Vec<Cursor<'n>> {
        match &at.node.value {
            Value::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, node)| Cursor {
                    node,
                    path: format!("{}[{index}]", at.path),
                })
                .collect(),
            Value::Scalar { .. } if at.node.is_null() => Vec::new(),
            Value::Scalar { .. } | Value::Map(_) => {
                self.fault(at, format!("expected a list, found {}", at.node.kind()));
                Vec::new()
            }
        }
    }

    /// Text; numbers and booleans count as what was written.
    pub fn text<'n>(&mut self, at: &Cursor<'n>) -> Option<&'n str> {
        let text = at.node.text().filter(|_| !at.node.is_null());
        if text.is_none() {
            self.fault(at, format!("expected text, found {}", at.node.kind()));
        }
        text
    }

    /// A value that has a textual form; `expected` says which.
    pub fn parse<T: FromStr>(&mut self, at: &Cursor<'_>, expected: &str) -> Option<T>
    where
        T::Err: Display,
    {
        let text = self.text(at)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.fault(at, format!("`{text}` is not {expected}: {error}"));
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, at: &Cursor<'_>) -> Option<bool> {
        match self.text(at)? {
            "true" => Some(true),
            "false" => Some(false),
            other => {
                self.fault(at, format!("`{other}` is not true or false"));
                None
            }
        }
    }

    /// One of several words.
    pub fn choice<T: Copy>(&mut self, at: &Cursor<'_>, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.text(at)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!("`{text}` is not one of {}", names.join(", "));
        self.fault_near(at, message, nearest(text, names.iter().copied()));
        None
    }
}

/// A mapping that is being read; call [`Map::end`] so that unknown keys are found.
#[derive(Debug)]
pub struct Map<'n> {
    at: Cursor<'n>,
    entries: &'n [(Node, Node)],
    asked: Vec<&'static str>,
}

impl<'n> Map<'n> {
    /// The field of that name, unless it is absent or null.
    pub fn get(&mut self, name: &'static str) -> Option<Cursor<'n>> {
        self.asked.push(name);
        let (_, node) = self
            .entries
            .iter()
            .find(|(key, _)| key.text() == Some(name))?;
        (!node.is_null()).then(|| self.at.field(node, name))
    }

    /// Whether the field is written, even with nothing in it.
    pub fn has(&mut self, name: &'static str) -> bool {
        self.asked.push(name);
        self.entries.iter().any(|(key, _)| key.text() == Some(name))
    }

    /// The field of that name; its absence is a fault.
    pub fn need(&mut self, reader: &mut Reader, name: &'static str) -> Option<Cursor<'n>> {
        let found = self.get(name);
        if found.is_none() {
            reader.fault(&self.at, format!("`{name}` is missing"));
        }
        found
    }

    /// All entries, for mappings with free keys.
    pub fn entries(&self) -> impl Iterator<Item = (&'n str, Cursor<'n>)> {
        self.entries.iter().filter_map(|(key, node)| {
            let name = key.text()?;
            Some((name, self.at.field(node, name)))
        })
    }

    /// Where the mapping stands.
    pub fn at(&self) -> &Cursor<'n> {
        &self.at
    }

    /// Every key that nobody asked for is a fault.
    pub fn end(self, reader: &mut Reader) {
        for (key, _) in self.entries {
            let name = key.text().unwrap_or_default();
            if !self.asked.contains(&name) {
                let at = self.at.field(key, name);
                let suggestion = nearest(name, self.asked.iter().copied());
                reader.fault_near(&at, "unknown field", suggestion);
            }
        }
    }
}
