//! Typed tree and an encoded flow → value.

use std::borrow::Cow;
use std::cmp::Ordering;

use proto::schema::{Field, Kind, schema};
use proto::wire::{self, Pieces};

use super::check::{Each, Node, Scalar, Texts};
use super::value::Value;

/// Most nodes that are evaluated for one flow: macros within macros multiply.
const MOST_STEPS: u32 = 100_000;
/// Longest text, in bytes, and list that an expression puts together.
const MOST_BYTES: usize = 64 << 10;
const MOST_ELEMENTS: usize = 4096;

/// Why there is no value: it cannot be had from this flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoValue;

/// What is evaluated over one flow.
pub(super) struct Evaluation<'b> {
    flow: &'b [u8],
    bound: Vec<Value<'b>>,
    steps: u32,
}

impl<'b> Evaluation<'b> {
    /// Over an encoded flow.
    pub(super) fn of(flow: &'b [u8]) -> Self {
        Self {
            flow,
            bound: Vec::new(),
            steps: 0,
        }
    }

    /// The value of a node.
    pub(super) fn evaluate(&mut self, node: &Node) -> Result<Value<'b>, NoValue> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(NoValue);
        }
        Ok(match node {
            Node::Bool(value) => Value::Bool(*value),
            Node::Double(value) => Value::Double(*value),
            Node::Int(value) => Value::Int(*value),
            Node::Null => Value::Null,
            Node::Text(value) => Value::Text(Cow::Owned(value.clone())),
            Node::Time(seconds, nanos) => Value::Time(*seconds, *nanos),
            Node::Uint(value) => Value::Uint(*value),
            Node::Flow => Value::Message(self.flow),
            Node::Variable(at) => self.bound.get(*at).cloned().ok_or(NoValue)?,
            Node::List(nodes) => {
                let values = nodes.iter().map(|node| self.evaluate(node));
                Value::List(values.collect::<Result<_, _>>()?)
            }
            Node::Field(of, field) => selected(self.message(of)?, field)?,
            Node::Has(of, field) => Value::Bool(is_set(self.message(of)?, field)),
            Node::Index(of, index) => self.index(of, index)?,
            Node::And(left, right) => Value::Bool(self.both(left, right)?),
            Node::Or(left, right) => Value::Bool(self.either(left, right)?),
            Node::Not(of) => Value::Bool(!self.truth(of)?),
            Node::Choice(condition, yes, no) => {
                let chosen = if self.truth(condition)? { yes } else { no };
                self.evaluate(chosen)?
            }
            Node::Equal(left, right) => {
                Value::Bool(self.evaluate(left)?.is_equal(&self.evaluate(right)?))
            }
            Node::Compare(sign, left, right) => Value::Bool(self.compare(sign, left, right)?),
            Node::In(left, right) => {
                let (value, list) = (self.evaluate(left)?, self.list(right)?);
                Value::Bool(list.iter().any(|element| element.is_equal(&value)))
            }
            Node::Arithmetic(sign, left, right) => {
                arithmetic(sign, self.evaluate(left)?, self.evaluate(right)?)?
            }
            Node::Negate(of) => match self.evaluate(of)? {
                Value::Double(number) => Value::Double(-number),
                Value::Int(number) => Value::Int(number.checked_neg().ok_or(NoValue)?),
                _ => return Err(NoValue),
            },
            Node::Size(of) => size(&self.evaluate(of)?)?,
            Node::Matches(of, regex) => Value::Bool(regex.is_match(&self.text(of)?)),
            Node::Texts(question, of, part) => {
                let (of, part) = (self.text(of)?, self.text(part)?);
                Value::Bool(match question {
                    Texts::Contains => of.contains(&*part),
                    Texts::EndsWith => of.ends_with(&*part),
                    Texts::StartsWith => of.starts_with(&*part),
                })
            }
            Node::Convert(to, of) => converted(*to, self.evaluate(of)?)?,
            Node::Each(each, list, depth, body) => self.each(*each, list, *depth, body)?,
        })
    }

    fn truth(&mut self, node: &Node) -> Result<bool, NoValue> {
        match self.evaluate(node)? {
            Value::Bool(value) => Ok(value),
            _ => Err(NoValue),
        }
    }

    /// What is false on one side is false, whatever the other one is.
    fn both(&mut self, left: &Node, right: &Node) -> Result<bool, NoValue> {
        match self.truth(left) {
            Ok(false) => Ok(false),
            Ok(true) => self.truth(right),
            Err(NoValue) if self.truth(right) == Ok(false) => Ok(false),
            Err(NoValue) => Err(NoValue),
        }
    }

    /// What is true on one side is true.
    fn either(&mut self, left: &Node, right: &Node) -> Result<bool, NoValue> {
        match self.truth(left) {
            Ok(true) => Ok(true),
            Ok(false) => self.truth(right),
            Err(NoValue) if self.truth(right) == Ok(true) => Ok(true),
            Err(NoValue) => Err(NoValue),
        }
    }

    fn compare(&mut self, sign: &str, left: &Node, right: &Node) -> Result<bool, NoValue> {
        let order = self.evaluate(left)?.order(&self.evaluate(right)?);
        let order = order.ok_or(NoValue)?;
        Ok(match sign {
            "<" => order == Ordering::Less,
            "<=" => order != Ordering::Greater,
            ">" => order == Ordering::Greater,
            _ => order != Ordering::Less,
        })
    }

    fn message(&mut self, node: &Node) -> Result<&'b [u8], NoValue> {
        match self.evaluate(node)? {
            Value::Message(bytes) => Ok(bytes),
            _ => Err(NoValue),
        }
    }

    fn list(&mut self, node: &Node) -> Result<Vec<Value<'b>>, NoValue> {
        match self.evaluate(node)? {
            Value::List(list) => Ok(list),
            _ => Err(NoValue),
        }
    }

    fn text(&mut self, node: &Node) -> Result<Cow<'b, str>, NoValue> {
        match self.evaluate(node)? {
            Value::Text(text) => Ok(text),
            _ => Err(NoValue),
        }
    }

    fn index(&mut self, of: &Node, index: &Node) -> Result<Value<'b>, NoValue> {
        let list = self.list(of)?;
        let Value::Int(at) = self.evaluate(index)? else {
            return Err(NoValue);
        };
        let at = usize::try_from(at).ok();
        at.and_then(|at| list.into_iter().nth(at)).ok_or(NoValue)
    }

    fn each(
        &mut self,
        each: Each,
        list: &Node,
        depth: usize,
        body: &Node,
    ) -> Result<Value<'b>, NoValue> {
        let elements = self.list(list)?;
        let mut kept = Vec::new();
        let mut fault = Ok(());
        for element in elements {
            self.bound.truncate(depth);
            self.bound.push(element.clone());
            match (each, self.evaluate(body)) {
                (Each::Map, value) => kept.push(value?),
                (Each::All, Ok(Value::Bool(false))) => return Ok(Value::Bool(false)),
                (Each::Exists, Ok(Value::Bool(true))) => return Ok(Value::Bool(true)),
                (_, Ok(Value::Bool(true))) => kept.push(element),
                (_, Ok(Value::Bool(false))) => {}
                (_, Ok(_) | Err(NoValue)) => fault = Err(NoValue),
            }
        }
        self.bound.truncate(depth);
        fault?;
        Ok(match each {
            Each::All => Value::Bool(true),
            Each::Exists => Value::Bool(false),
            Each::ExistsOne => Value::Bool(kept.len() == 1),
            Each::Filter | Each::Map => Value::List(kept),
        })
    }
}

fn is_set(message: &[u8], field: &Field) -> bool {
    Pieces::of(message).any(|piece| piece.number == field.number)
}

/// What stands in a field; what is not set is what its type is without a value.
fn selected<'b>(message: &'b [u8], field: &'static Field) -> Result<Value<'b>, NoValue> {
    let pieces = Pieces::of(message).filter(|piece| piece.number == field.number);
    if field.is_repeated {
        let values = pieces.map(|piece| of_wire(piece.value, &field.kind));
        return Ok(Value::List(values.collect::<Result<_, _>>()?));
    }
    // Of several, the last one counts.
    match pieces.last() {
        Some(piece) => of_wire(piece.value, &field.kind),
        None => without_value(&field.kind),
    }
}

#[expect(
    clippy::cast_possible_wrap,
    reason = "how protobuf writes negative numbers"
)]
fn of_wire<'b>(value: wire::Value<'b>, kind: &Kind) -> Result<Value<'b>, NoValue> {
    Ok(match (kind, value) {
        (Kind::Bool, wire::Value::Varint(number)) => Value::Bool(number != 0),
        (Kind::Enum(_) | Kind::Int, wire::Value::Varint(number)) => Value::Int(number as i64),
        (Kind::Uint, wire::Value::Varint(number)) => Value::Uint(number),
        (Kind::Double, wire::Value::Fixed64(bits)) => Value::Double(f64::from_bits(bits)),
        (Kind::Bytes, wire::Value::Bytes(bytes)) => Value::Bytes(bytes),
        (Kind::Text, wire::Value::Bytes(bytes)) => Value::Text(String::from_utf8_lossy(bytes)),
        (Kind::Message(name), wire::Value::Bytes(bytes)) => of_message(bytes, name)?,
        _ => return Err(NoValue),
    })
}

/// Wrappers and times are the values that they hold.
fn of_message<'b>(bytes: &'b [u8], name: &str) -> Result<Value<'b>, NoValue> {
    let known = schema().message(name).ok_or(NoValue)?;
    let held = |name| {
        let field = known.field(name).ok_or(NoValue)?;
        selected(bytes, field)
    };
    match name {
        "google.protobuf.BoolValue"
        | "google.protobuf.Int32Value"
        | "google.protobuf.UInt32Value" => held("value"),
        "google.protobuf.Timestamp" => match (held("seconds")?, held("nanos")?) {
            (Value::Int(seconds), Value::Int(nanos)) => {
                Ok(Value::Time(seconds, i32::try_from(nanos).unwrap_or(0)))
            }
            _ => Err(NoValue),
        },
        _ => Ok(Value::Message(bytes)),
    }
}

fn without_value(kind: &Kind) -> Result<Value<'static>, NoValue> {
    Ok(match kind {
        Kind::Bool => Value::Bool(false),
        Kind::Bytes => Value::Bytes(&[]),
        Kind::Double => Value::Double(0.0),
        Kind::Enum(_) | Kind::Int => Value::Int(0),
        Kind::Text => Value::Text(Cow::Borrowed("")),
        Kind::Uint => Value::Uint(0),
        Kind::Message(name) if name.ends_with("Value") && name.starts_with("google.") => {
            Value::Null
        }
        Kind::Message(name) => of_message(&[], name)?,
    })
}

fn size(of: &Value<'_>) -> Result<Value<'static>, NoValue> {
    let size = match of {
        Value::List(list) => list.len(),
        Value::Text(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        _ => return Err(NoValue),
    };
    i64::try_from(size)
        .map(Value::Int)
        .map_err(|_too_large| NoValue)
}

fn arithmetic<'b>(sign: &str, left: Value<'b>, right: Value<'b>) -> Result<Value<'b>, NoValue> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => match sign {
            "+" => left.checked_add(right),
            "-" => left.checked_sub(right),
            "*" => left.checked_mul(right),
            "/" => left.checked_div(right),
            _ => left.checked_rem(right),
        }
        .map(Value::Int),
        (Value::Uint(left), Value::Uint(right)) => match sign {
            "+" => left.checked_add(right),
            "-" => left.checked_sub(right),
            "*" => left.checked_mul(right),
            "/" => left.checked_div(right),
            _ => left.checked_rem(right),
        }
        .map(Value::Uint),
        (Value::Double(left), Value::Double(right)) => Some(Value::Double(match sign {
            "+" => left + right,
            "-" => left - right,
            "*" => left * right,
            _ => left / right,
        })),
        (Value::Text(left), Value::Text(right)) => (left.len() + right.len() <= MOST_BYTES)
            .then(|| Value::Text(Cow::Owned(left.into_owned() + &right))),
        (Value::List(mut left), Value::List(right)) => {
            left.extend(right);
            (left.len() <= MOST_ELEMENTS).then_some(Value::List(left))
        }
        _ => None,
    }
    .ok_or(NoValue)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a conversion to double loses what it loses, and the range is checked in the other direction"
)]
fn converted(to: Scalar, value: Value<'_>) -> Result<Value<'_>, NoValue> {
    Ok(match (to, value) {
        (Scalar::Text, Value::Bool(value)) => Value::Text(Cow::Owned(value.to_string())),
        (Scalar::Text, Value::Double(value)) => Value::Text(Cow::Owned(value.to_string())),
        (Scalar::Text, Value::Int(value)) => Value::Text(Cow::Owned(value.to_string())),
        (Scalar::Text, Value::Uint(value)) => Value::Text(Cow::Owned(value.to_string())),
        (Scalar::Bool, Value::Text(text)) => Value::Bool(text.parse().ok().ok_or(NoValue)?),
        (Scalar::Double, Value::Text(text)) => Value::Double(text.parse().ok().ok_or(NoValue)?),
        (Scalar::Int, Value::Text(text)) => Value::Int(text.parse().ok().ok_or(NoValue)?),
        (Scalar::Uint, Value::Text(text)) => Value::Uint(text.parse().ok().ok_or(NoValue)?),
        (Scalar::Double, Value::Int(value)) => Value::Double(value as f64),
        (Scalar::Double, Value::Uint(value)) => Value::Double(value as f64),
        (Scalar::Int, Value::Uint(value)) => Value::Int(value.try_into().ok().ok_or(NoValue)?),
        (Scalar::Uint, Value::Int(value)) => Value::Uint(value.try_into().ok().ok_or(NoValue)?),
        (Scalar::Int, Value::Double(value)) if value.abs() < 9.2e18 => Value::Int(value as i64),
        (Scalar::Uint, Value::Double(value)) if (0.0..1.8e19).contains(&value) => {
            Value::Uint(value as u64)
        }
        (Scalar::Int, Value::Time(seconds, _)) => Value::Int(seconds),
        (Scalar::Bool, value @ Value::Bool(_))
        | (Scalar::Double, value @ Value::Double(_))
        | (Scalar::Int, value @ Value::Int(_))
        | (Scalar::Text, value @ Value::Text(_))
        | (Scalar::Uint, value @ Value::Uint(_)) => value,
        _ => return Err(NoValue),
    })
}
