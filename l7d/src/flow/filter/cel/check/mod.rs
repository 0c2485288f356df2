//! Tree → typed tree. Every name is found, and every operator is one for its operands' types, or the
//! expression is refused.

mod calls;
mod operators;

use std::fmt;

use proto::schema::{Field, Kind, Message, schema};
use regex::Regex;

use super::syntax::Tree;

/// The variable that expressions are about, its type, and the package that names are looked up in.
const VARIABLE: &str = "_flow";
const FLOW: &str = "flow.Flow";
const PACKAGE: &str = "flow";

/// Types of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Bool,
    Bytes,
    Double,
    Int,
    Text,
    Time,
    Uint,
}

/// A type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    /// An empty list: of anything.
    Anything,
    List(Box<Self>),
    Message(&'static str),
    Null,
    /// A value that may not be there.
    Nullable(Scalar),
    Scalar(Scalar),
}

/// The type of what is true or false.
pub(super) const BOOL: Type = Type::Scalar(Scalar::Bool);

/// A typed tree.
#[derive(Debug)]
pub(super) enum Node {
    And(Box<Self>, Box<Self>),
    Arithmetic(&'static str, Box<Self>, Box<Self>),
    Bool(bool),
    Choice(Box<Self>, Box<Self>, Box<Self>),
    /// Whether two values are in this order.
    Compare(&'static str, Box<Self>, Box<Self>),
    Convert(Scalar, Box<Self>),
    Double(f64),
    /// Which of a list's elements, by what is true of each.
    Each(Each, Box<Self>, usize, Box<Self>),
    Equal(Box<Self>, Box<Self>),
    Field(Box<Self>, &'static Field),
    Flow,
    /// Whether a field is set.
    Has(Box<Self>, &'static Field),
    In(Box<Self>, Box<Self>),
    Index(Box<Self>, Box<Self>),
    Int(i64),
    List(Vec<Self>),
    Matches(Box<Self>, Regex),
    Negate(Box<Self>),
    Not(Box<Self>),
    Null,
    Or(Box<Self>, Box<Self>),
    Size(Box<Self>),
    Text(String),
    /// A question about two texts.
    Texts(Texts, Box<Self>, Box<Self>),
    Time(i64, i32),
    Uint(u64),
    /// What a macro has bound, by its depth.
    Variable(usize),
}

/// Macros over lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Each {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

/// Questions about texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Texts {
    Contains,
    EndsWith,
    StartsWith,
}

/// Checks an expression.
pub(super) fn check(tree: &Tree) -> Result<(Node, Type), String> {
    Checker { bound: Vec::new() }.check(tree)
}

struct Checker {
    /// Names and types of what macros have bound, outermost first.
    bound: Vec<(String, Type)>,
}

impl Checker {
    fn check(&mut self, tree: &Tree) -> Result<(Node, Type), String> {
        Ok(match tree {
            Tree::Bool(value) => (Node::Bool(*value), BOOL),
            Tree::Double(value) => (Node::Double(*value), Type::Scalar(Scalar::Double)),
            Tree::Int(value) => (Node::Int(*value), Type::Scalar(Scalar::Int)),
            Tree::Null => (Node::Null, Type::Null),
            Tree::Text(value) => (Node::Text(value.clone()), Type::Scalar(Scalar::Text)),
            Tree::Uint(value) => (Node::Uint(*value), Type::Scalar(Scalar::Uint)),
            Tree::List(elements) => self.list(elements)?,
            Tree::Name(name) => self.name(name)?,
            Tree::Select(of, name) => self.select(of, name)?,
            Tree::Index(of, index) => self.index(of, index)?,
            Tree::Unary(sign, of) => self.unary(sign, of)?,
            Tree::Binary(sign, left, right) => self.binary(sign, left, right)?,
            Tree::Choice(condition, yes, no) => self.choice(condition, yes, no)?,
            Tree::Call {
                on,
                name,
                arguments,
            } => self.call(on.as_deref(), name, arguments)?,
        })
    }

    fn list(&mut self, elements: &[Tree]) -> Result<(Node, Type), String> {
        let mut of = Type::Anything;
        let mut nodes = Vec::new();
        for element in elements {
            let (node, kind) = self.check(element)?;
            of = operators::common(&of, &kind)
                .ok_or_else(|| format!("a list of {of} and {kind}"))?;
            nodes.push(node);
        }
        Ok((Node::List(nodes), Type::List(Box::new(of))))
    }

    fn name(&mut self, name: &str) -> Result<(Node, Type), String> {
        let bound = self.bound.iter().rposition(|(known, _)| known == name);
        if let Some((at, (_, kind))) = bound.and_then(|at| Some((at, self.bound.get(at)?))) {
            return Ok((Node::Variable(at), kind.clone()));
        }
        if name == VARIABLE {
            return Ok((Node::Flow, Type::Message(FLOW)));
        }
        Err(format!("`{name}` is not known; a flow is `{VARIABLE}`"))
    }

    fn select(&mut self, of: &Tree, name: &str) -> Result<(Node, Type), String> {
        if let Some(path) = path(of)
            && !self.is_variable(&path)
        {
            return enum_value(&path, name);
        }
        let (node, field) = self.field(of, name)?;
        let kind = type_of(field)?;
        Ok((Node::Field(Box::new(node), field), kind))
    }

    fn is_variable(&self, path: &str) -> bool {
        let first = path.split('.').next().unwrap_or_default();
        first == VARIABLE || self.bound.iter().any(|(name, _)| name == first)
    }

    /// The field that is selected of something.
    fn field(&mut self, of: &Tree, name: &str) -> Result<(Node, &'static Field), String> {
        let (node, kind) = self.check(of)?;
        let Type::Message(message) = kind else {
            return Err(format!("`.{name}` of {kind}, which has no fields"));
        };
        let known = schema().message(message);
        match known.and_then(|known| known.field(name)) {
            Some(field) => Ok((node, field)),
            None => Err(format!(
                "{message} has no field `{name}`{}",
                hint(known, name)
            )),
        }
    }

    fn index(&mut self, of: &Tree, index: &Tree) -> Result<(Node, Type), String> {
        let (node, kind) = self.check(of)?;
        let (index, of_index) = self.check(index)?;
        match (kind, of_index) {
            (Type::List(element), Type::Scalar(Scalar::Int)) => {
                Ok((Node::Index(Box::new(node), Box::new(index)), *element))
            }
            (kind, of_index) => Err(format!("{kind} has no element by {of_index}")),
        }
    }

    fn choice(&mut self, condition: &Tree, yes: &Tree, no: &Tree) -> Result<(Node, Type), String> {
        let condition = self.truth(condition)?;
        let (yes, of_yes) = self.check(yes)?;
        let (no, of_no) = self.check(no)?;
        let kind = operators::common(&of_yes, &of_no)
            .ok_or_else(|| format!("`?` between {of_yes} and {of_no}"))?;
        let node = Node::Choice(Box::new(condition), Box::new(yes), Box::new(no));
        Ok((node, kind))
    }

    /// An expression that must be true or false.
    fn truth(&mut self, tree: &Tree) -> Result<Node, String> {
        match self.check(tree)? {
            (node, BOOL | Type::Nullable(Scalar::Bool)) => Ok(node),
            (_, other) => Err(format!("{other} where bool should be")),
        }
    }
}

/// Names with dots between them, where that is all.
fn path(tree: &Tree) -> Option<String> {
    match tree {
        Tree::Name(name) => Some(name.clone()),
        Tree::Select(of, name) => Some(format!("{}.{name}", path(of)?)),
        _ => None,
    }
}

/// `Verdict.DROPPED` or `flow.Verdict.DROPPED`: its number.
fn enum_value(path: &str, value: &str) -> Result<(Node, Type), String> {
    let within = format!("{PACKAGE}.{path}");
    let found = schema().enum_value(&within, value);
    let found = found.or_else(|| schema().enum_value(path, value));
    match found {
        Some(number) => Ok((Node::Int(number.into()), Type::Scalar(Scalar::Int))),
        None => Err(format!(
            "`{path}.{value}` is not known; a flow is `{VARIABLE}`"
        )),
    }
}

/// The type of what stands in a field.
fn type_of(field: &Field) -> Result<Type, String> {
    let one = match &field.kind {
        Kind::Bool => BOOL,
        Kind::Bytes => Type::Scalar(Scalar::Bytes),
        Kind::Double => Type::Scalar(Scalar::Double),
        Kind::Enum(_) | Kind::Int => Type::Scalar(Scalar::Int),
        Kind::Text => Type::Scalar(Scalar::Text),
        Kind::Uint => Type::Scalar(Scalar::Uint),
        Kind::Message(name) => match name.as_str() {
            "google.protobuf.Any" => {
                return Err(format!("`{}` cannot be looked into", field.name));
            }
            "google.protobuf.BoolValue" => Type::Nullable(Scalar::Bool),
            "google.protobuf.Int32Value" => Type::Nullable(Scalar::Int),
            "google.protobuf.UInt32Value" => Type::Nullable(Scalar::Uint),
            "google.protobuf.Timestamp" => Type::Scalar(Scalar::Time),
            _ => match schema().message(name) {
                Some(message) => Type::Message(&message.name),
                None => return Err(format!("`{}` is of a type that is not known", field.name)),
            },
        },
    };
    Ok(if field.is_repeated {
        Type::List(Box::new(one))
    } else {
        one
    })
}

fn hint(known: Option<&Message>, name: &str) -> String {
    let fields = known.into_iter().flat_map(|message| &message.fields);
    let nearest = policy_l7::nearest(name, fields.map(|field| field.name.as_str()));
    nearest.map_or_else(String::new, |nearest| {
        format!(", did you mean `{nearest}`?")
    })
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Bytes => "bytes",
            Self::Double => "double",
            Self::Int => "int",
            Self::Text => "string",
            Self::Time => "timestamp",
            Self::Uint => "uint",
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anything => f.write_str("anything"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Message(name) => f.write_str(name),
            Self::Null => f.write_str("null"),
            Self::Nullable(of) => write!(f, "{of} or null"),
            Self::Scalar(of) => of.fmt(f),
        }
    }
}
