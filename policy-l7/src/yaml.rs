//! YAML with positions: a tree of nodes, and a [`Reader`] that turns it into values and collects
//! everything that is wrong. Used for policies and for the daemon's own configuration.
//!
//! Bounded against hostile files: anchors and aliases are refused, depth and size are limited, and
//! a key that stands twice is an error.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::error::{Error, nearest};

const DEPTH_MAX: usize = 64;
const BYTES_MAX: usize = 16 << 20;

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// How much of a file is read.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Most bytes that the file may have.
    pub bytes_max: usize,
    /// Keys, at any depth, whose lists and mappings are not kept; single values are.
    pub skipped: &'static [&'static str],
}

impl Default for Extent {
    fn default() -> Self {
        Self {
            bytes_max: BYTES_MAX,
            skipped: &[],
        }
    }
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

/// A node on the way through a document: where it is, and how it is called.
#[derive(Debug, Clone)]
pub struct Cursor<'n> {
    node: &'n Node,
    path: String,
}

/// Reads nodes as values and collects what is wrong.
#[derive(Debug)]
pub struct Reader {
    file: String,
    errors: Vec<Error>,
}

/// A mapping that is being read; call [`Map::end`] so that unknown keys are found.
#[derive(Debug)]
pub struct Map<'n> {
    at: Cursor<'n>,
    entries: &'n [(Node, Node)],
    asked: Vec<&'static str>,
}

/// Parses all documents of a file.
///
/// # Errors
/// The first fault of syntax.
pub fn parse(file: &str, text: &str) -> Result<Vec<Node>, Error> {
    parse_within(file, text, Extent::default())
}

/// Parses all documents of a file, as far as they are wanted.
///
/// # Errors
/// The first fault of syntax.
pub fn parse_within(file: &str, text: &str, extent: Extent) -> Result<Vec<Node>, Error> {
    let fault = |line, column, message: String| Error {
        file: file.to_owned(),
        line,
        column,
        field: String::new(),
        message,
        suggestion: None,
    };
    if text.len() > extent.bytes_max {
        let most = extent.bytes_max >> 20;
        return Err(fault(1, 1, format!("larger than {most} MiB")));
    }
    let mut builder = Builder {
        skipped: extent.skipped,
        ..Builder::default()
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = error.marker();
            fault(
                at.line(),
                at.col() + 1,
                format!("not valid YAML: {}", error.info()),
            )
        })?;
        builder
            .take(event, span)
            .map_err(|message| fault(span.start.line(), span.start.col() + 1, message))?;
    }
    Ok(builder.documents)
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    open: Vec<Open>,
    /// Keys whose values are not kept.
    skipped: &'static [&'static str],
    /// Lists and mappings that are open in a value that is not kept.
    skipping: usize,
}

/// A list or mapping whose end has not come yet.
struct Open {
    node: Node,
    /// A key that waits for its value.
    key: Option<Node>,
    /// The keys so far: looked up, as a search for each would take hours in a hostile file.
    names: BTreeSet<String>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), String> {
        if self.skip(&event)? {
            return Ok(());
        }
        let node = |value| Node {
            at: At {
                line: span.start.line(),
                column: span.start.col() + 1,
            },
            width: if span.start.line() == span.end.line() {
                span.end.col().saturating_sub(span.start.col()).max(1)
            } else {
                1
            },
            value,
        };
        match event {
            Event::Alias(_) => Err("aliases are not supported; write the value out".to_owned()),
            Event::Scalar(text, style, _, _) => {
                let is_plain = style == ScalarStyle::Plain;
                let mut node = node(Value::Scalar {
                    text: text.into_owned(),
                    is_plain,
                });
                if !is_plain {
                    // The parser counts blanks behind the closing quote.
                    let quoted = node.text().map_or(0, |text| text.chars().count() + 2);
                    node.width = node.width.min(quoted);
                }
                self.add(node)
            }
            Event::SequenceStart(..) => self.push(node(Value::List(Vec::new()))),
            Event::MappingStart(..) => self.push(node(Value::Map(Vec::new()))),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(done) => self.add(done.node),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Whether an event belongs to a value that is not kept.
    fn skip(&mut self, event: &Event<'_>) -> Result<bool, String> {
        let begins = self.skipping == 0
            && matches!(event, Event::SequenceStart(..) | Event::MappingStart(..))
            && self.open.last().is_some_and(|parent| {
                let key = parent.key.as_ref().and_then(Node::text);
                key.is_some_and(|key| self.skipped.contains(&key))
            });
        if self.skipping == 0 && !begins {
            return Ok(false);
        }
        match event {
            // Refused wherever it stands.
            Event::Alias(_) => return Ok(false),
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                self.check_depth()?;
                self.skipping += 1;
            }
            Event::SequenceEnd | Event::MappingEnd => self.skipping -= 1,
            _ => {}
        }
        if self.skipping == 0
            && let Some(parent) = self.open.last_mut()
        {
            parent.key = None;
        }
        Ok(true)
    }

    fn check_depth(&self) -> Result<(), String> {
        if self.open.len() + self.skipping >= DEPTH_MAX {
            return Err(format!("nested deeper than {DEPTH_MAX} levels"));
        }
        Ok(())
    }

    fn push(&mut self, node: Node) -> Result<(), String> {
        self.check_depth()?;
        self.open.push(Open {
            node,
            key: None,
            names: BTreeSet::new(),
        });
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), String> {
        let Some(parent) = self.open.last_mut() else {
            if !node.is_null() {
                self.documents.push(node);
            }
            return Ok(());
        };
        match &mut parent.node.value {
            Value::Scalar { .. } => {}
            Value::List(items) => items.push(node),
            Value::Map(entries) => match parent.key.take() {
                None => {
                    let name = node.text().unwrap_or_default();
                    if !parent.names.insert(name.to_owned()) {
                        return Err(format!("key `{name}` stands twice"));
                    }
                    parent.key = Some(node);
                }
                Some(key) => entries.push((key, node)),
            },
        }
        Ok(())
    }
}

impl Node {
    /// The node as the root of a document.
    pub fn root(&self) -> Cursor<'_> {
        Cursor {
            node: self,
            path: String::new(),
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
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

    fn field(&self, node: &'n Node, name: &str) -> Self {
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        Self { node, path }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_named_with_its_place_and_what_was_meant() {
        let nodes = parse("a.yaml", "name: web\nintreface: veth0\n").expect("yaml");
        let mut reader = Reader::new("a.yaml");
        let mut map = reader.map(&nodes[0].root()).expect("a mapping");
        map.get("name");
        map.get("interface");
        map.end(&mut reader);
        let errors = reader.into_errors();
        assert_eq!(
            errors[0].to_string(),
            "a.yaml:2:1: intreface: unknown field (did you mean `interface`?)"
        );
    }

    #[test]
    fn values_that_are_not_wanted_are_not_kept() {
        let extent = Extent {
            skipped: &["status", "x"],
            ..Extent::default()
        };
        let text = "a: 1\nstatus: {b: [1, {c: 2}], x: 1}\nx: {y: 5}\nd: [{x: [1]}, {x: 7}]\n";
        let nodes = parse_within("f", text, extent).expect("yaml");
        let kept = parse("f", "a: 1\nd: [{}, {x: 7}]\n").expect("yaml");
        let shown = |nodes: &[Node]| nodes.iter().map(outline).collect::<String>();
        assert_eq!(shown(&nodes), shown(&kept));
        let deep = format!("x: {}", "[".repeat(1000));
        assert!(parse_within("f", &deep, extent).is_err());
    }

    fn outline(node: &Node) -> String {
        match &node.value {
            Value::Scalar { text, .. } => text.clone(),
            Value::List(items) => format!("{:?}", items.iter().map(outline).collect::<Vec<_>>()),
            Value::Map(entries) => {
                let shown = entries
                    .iter()
                    .map(|(key, value)| outline(key) + ":" + &outline(value));
                format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
            }
        }
    }

    #[test]
    fn hostile_documents_are_refused() {
        let deep = "[".repeat(1000);
        for text in ["a: &x [1]\nb: *x\n", "a: 1\na: 2\n", deep.as_str()] {
            assert!(parse("f", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_may_stand_once_in_each_mapping_however_many_there_are() {
        let keys: Vec<String> = (0..50_000)
            .map(|key| format!("k{key}: {{k1: 1}}"))
            .collect();
        let keys = keys.join("\n");
        assert!(parse("f", &keys).is_ok());
        let error = parse("f", &format!("{keys}\nk7: 1\n")).expect_err("twice");
        assert_eq!(error.to_string(), "f:50001:1: key `k7` stands twice");
    }

    #[test]
    fn documents_are_split_and_empty_ones_left_out() {
        let nodes = parse("f", "---\na: 1\n---\n---\nb: 2\n").expect("yaml");
        assert_eq!(nodes.len(), 2);
    }
}
