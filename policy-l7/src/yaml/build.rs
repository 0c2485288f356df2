//! Text → nodes.

use std::collections::BTreeSet;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::{At, Node, Value};
use crate::error::Error;

const DEPTH_MAX: usize = 64;
const BYTES_MAX: usize = 16 << 20;

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
