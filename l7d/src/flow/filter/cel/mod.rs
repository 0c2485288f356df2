//! Filters as expressions of the Common Expression Language, over the variable `_flow`:
//! `_flow.l4.TCP.destination_port == 80u && _flow.verdict == Verdict.DROPPED`.
//!
//! | file | what it does |
//! |---|---|
//! | [`token`] | text → tokens |
//! | [`syntax`] | tokens → tree |
//! | [`check`] | tree → typed tree, so that what has no meaning is refused before any flow is asked |
//! | [`evaluate`] | typed tree and an encoded flow → value |
//!
//! Names and types of fields are the schema's; a field is looked up in the flow's bytes when it is asked
//! for. What of the language is not offered is said: messages and maps that an expression makes, dynamic
//! types, parts of times.

mod check;
mod evaluate;
mod syntax;
mod token;
mod value;

use prost::Message as _;
use proto::flow::Flow;

use check::{BOOL, Node};
use evaluate::Evaluation;
use value::Value;

/// Longest expression, in bytes.
const MOST_BYTES: usize = 16 << 10;

/// An expression that says yes or no to a flow.
#[derive(Debug)]
pub struct Expression(Node);

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What cannot be read, or has no meaning, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MOST_BYTES {
            return Err(format!("longer than {MOST_BYTES} bytes"));
        }
        let tree = syntax::parse(text)?;
        let (node, kind) = check::check(&tree)?;
        match kind {
            BOOL => Ok(Self(node)),
            other => Err(format!("it is of type {other}, not bool")),
        }
    }

    /// Whether it is true of a flow. What cannot be evaluated, such as a list's tenth element where there
    /// are three, is not true.
    pub fn is_true_of(&self, flow: &Flow) -> bool {
        let encoded = flow.encode_to_vec();
        let value = Evaluation::of(&encoded).evaluate(&self.0);
        matches!(value, Ok(Value::Bool(true)))
    }
}

#[cfg(test)]
mod tests;
