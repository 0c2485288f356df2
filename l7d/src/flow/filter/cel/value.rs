//! What expressions are made of while they are evaluated.

use std::borrow::Cow;
use std::cmp::Ordering;

/// A value. Texts and messages are the flow's own bytes.
#[derive(Debug, Clone)]
pub(super) enum Value<'b> {
    Bool(bool),
    Bytes(&'b [u8]),
    Double(f64),
    Int(i64),
    List(Vec<Self>),
    Message(&'b [u8]),
    Null,
    Text(Cow<'b, str>),
    /// Seconds and nanoseconds since 1970.
    Time(i64, i32),
    Uint(u64),
}

impl Value<'_> {
    /// Whether both are the same. Messages are where their bytes are, since all come from one writer.
    pub(super) fn is_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::List(left), Self::List(right)) => {
                left.len() == right.len()
                    && left
                        .iter()
                        .zip(right)
                        .all(|(left, right)| left.is_equal(right))
            }
            (Self::Message(left), Self::Message(right)) => left == right,
            (Self::Null, Self::Null) => true,
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }

    /// Which comes first, where that means anything.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => Some(left.cmp(right)),
            (Self::Bytes(left), Self::Bytes(right)) => Some(left.cmp(right)),
            (Self::Double(left), Self::Double(right)) => left.partial_cmp(right),
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(right)),
            (Self::Text(left), Self::Text(right)) => Some(left.cmp(right)),
            (Self::Time(seconds, nanos), Self::Time(of_seconds, of_nanos)) => {
                Some((seconds, nanos).cmp(&(of_seconds, of_nanos)))
            }
            (Self::Uint(left), Self::Uint(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }
}
