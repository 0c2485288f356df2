//! Functions, methods and macros.

use regex::Regex;

use super::super::syntax::Tree;
use super::{BOOL, Checker, Each, Node, Scalar, Texts, Type};

impl Checker {
    pub(super) fn call(
        &mut self,
        on: Option<&Tree>,
        name: &str,
        arguments: &[Tree],
    ) -> Result<(Node, Type), String> {
        match (on, name, arguments) {
            (None, "has", [of]) => self.has(of),
            (None, "size", [of]) | (Some(of), "size", []) => self.size(of),
            (None, "bool" | "double" | "int" | "string" | "timestamp" | "uint", [of]) => {
                self.conversion(name, of)
            }
            (Some(of), "contains", [part]) => self.texts(Texts::Contains, of, part),
            (Some(of), "startsWith", [part]) => self.texts(Texts::StartsWith, of, part),
            (Some(of), "endsWith", [part]) => self.texts(Texts::EndsWith, of, part),
            (Some(of), "matches", [pattern]) | (None, "matches", [of, pattern]) => {
                self.matches(of, pattern)
            }
            (Some(of), "all", [name, test]) => self.each(Each::All, of, name, test),
            (Some(of), "exists", [name, test]) => self.each(Each::Exists, of, name, test),
            (Some(of), "exists_one", [name, test]) => self.each(Each::ExistsOne, of, name, test),
            (Some(of), "filter", [name, test]) => self.each(Each::Filter, of, name, test),
            (Some(of), "map", [name, to]) => self.each(Each::Map, of, name, to),
            _ => {
                let before = if on.is_some() { "." } else { "" };
                let count = arguments.len();
                Err(format!("no `{before}{name}` of {count} arguments here"))
            }
        }
    }

    /// `has(_flow.l7.http)`
    fn has(&mut self, of: &Tree) -> Result<(Node, Type), String> {
        let Tree::Select(message, name) = of else {
            return Err("`has` is asked of a field: has(_flow.l7)".to_owned());
        };
        let (node, field) = self.field(message, name)?;
        Ok((Node::Has(Box::new(node), field), BOOL))
    }

    fn size(&mut self, of: &Tree) -> Result<(Node, Type), String> {
        match self.check(of)? {
            (node, Type::List(_) | Type::Scalar(Scalar::Text | Scalar::Bytes)) => {
                Ok((Node::Size(Box::new(node)), Type::Scalar(Scalar::Int)))
            }
            (_, other) => Err(format!("`size` of {other}")),
        }
    }

    fn text(&mut self, of: &Tree) -> Result<Node, String> {
        match self.check(of)? {
            (node, Type::Scalar(Scalar::Text)) => Ok(node),
            (_, other) => Err(format!("{other} where string should be")),
        }
    }

    fn texts(&mut self, question: Texts, of: &Tree, part: &Tree) -> Result<(Node, Type), String> {
        let (of, part) = (Box::new(self.text(of)?), Box::new(self.text(part)?));
        Ok((Node::Texts(question, of, part), BOOL))
    }

    /// Patterns are the expression's own, so that each is read once.
    fn matches(&mut self, of: &Tree, pattern: &Tree) -> Result<(Node, Type), String> {
        let of = self.text(of)?;
        let Tree::Text(pattern) = pattern else {
            return Err("the pattern of `matches` must stand there as a text".to_owned());
        };
        let regex = Regex::new(pattern).map_err(|error| error.to_string())?;
        Ok((Node::Matches(Box::new(of), regex), BOOL))
    }

    fn each(
        &mut self,
        each: Each,
        of: &Tree,
        name: &Tree,
        body: &Tree,
    ) -> Result<(Node, Type), String> {
        let Tree::Name(name) = name else {
            return Err("the first argument of a macro is the name of an element".to_owned());
        };
        let (list, kind) = self.check(of)?;
        let Type::List(element) = kind else {
            return Err(format!("{kind} has no elements"));
        };
        let depth = self.bound.len();
        self.bound.push((name.clone(), (*element).clone()));
        let checked = if each == Each::Map {
            self.check(body)
        } else {
            self.truth(body).map(|node| (node, BOOL))
        };
        self.bound.pop();
        let (body, of_body) = checked?;
        let kind = match each {
            Each::All | Each::Exists | Each::ExistsOne => BOOL,
            Each::Filter => Type::List(element),
            Each::Map => Type::List(Box::new(of_body)),
        };
        Ok((
            Node::Each(each, Box::new(list), depth, Box::new(body)),
            kind,
        ))
    }

    fn conversion(&mut self, to: &str, of: &Tree) -> Result<(Node, Type), String> {
        if let ("timestamp", Tree::Text(text)) = (to, of) {
            let time: jiff::Timestamp = text
                .parse()
                .map_err(|error| format!("timestamp({text:?}): {error}"))?;
            let node = Node::Time(time.as_second(), time.subsec_nanosecond());
            return Ok((node, Type::Scalar(Scalar::Time)));
        }
        let to = match to {
            "bool" => Scalar::Bool,
            "double" => Scalar::Double,
            "int" => Scalar::Int,
            "string" => Scalar::Text,
            "uint" => Scalar::Uint,
            _ => return Err("the text of `timestamp` must stand there".to_owned()),
        };
        let (node, kind) = self.check(of)?;
        let (Type::Nullable(from) | Type::Scalar(from)) = kind else {
            return Err(format!("no {to} can be made of {kind}"));
        };
        let is_number = |scalar| matches!(scalar, Scalar::Double | Scalar::Int | Scalar::Uint);
        let can_be = from == to
            || is_number(from) && is_number(to)
            || to == Scalar::Text && (is_number(from) || from == Scalar::Bool)
            || from == Scalar::Text && (is_number(to) || to == Scalar::Bool)
            || (from, to) == (Scalar::Time, Scalar::Int);
        if !can_be {
            return Err(format!("no {to} can be made of {from}"));
        }
        Ok((Node::Convert(to, Box::new(node)), Type::Scalar(to)))
    }
}
