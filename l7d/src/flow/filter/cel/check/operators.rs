//! Operators, and which types they are for.

use super::super::syntax::Tree;
use super::{BOOL, Checker, Node, Scalar, Type};

/// The type that has values of both, where there is one.
pub(super) fn common(left: &Type, right: &Type) -> Option<Type> {
    match (left, right) {
        (Type::Anything, other) | (other, Type::Anything) => Some(other.clone()),
        (left, right) if left == right => Some(left.clone()),
        (Type::Null, Type::Nullable(scalar)) | (Type::Nullable(scalar), Type::Null) => {
            Some(Type::Nullable(*scalar))
        }
        (Type::Nullable(left), Type::Scalar(right))
        | (Type::Scalar(right), Type::Nullable(left)) => {
            (left == right).then_some(Type::Nullable(*left))
        }
        // Whether a message is there is a question that may be asked.
        (Type::Null, message @ Type::Message(_)) | (message @ Type::Message(_), Type::Null) => {
            Some(message.clone())
        }
        (Type::List(left), Type::List(right)) => {
            common(left, right).map(|of| Type::List(Box::new(of)))
        }
        _ => None,
    }
}

/// What a type is when there is a value.
fn present(kind: &Type) -> Option<Scalar> {
    match kind {
        Type::Nullable(scalar) | Type::Scalar(scalar) => Some(*scalar),
        Type::Anything | Type::List(_) | Type::Message(_) | Type::Null => None,
    }
}

fn mismatch(sign: &str, left: &Type, right: &Type) -> String {
    let is_number = |kind: &Type, of| present(kind) == Some(of);
    let hint = if is_number(left, Scalar::Uint) && is_number(right, Scalar::Int)
        || is_number(left, Scalar::Int) && is_number(right, Scalar::Uint)
    {
        "; an unsigned number has a `u` behind it: 80u"
    } else {
        ""
    };
    format!("`{sign}` between {left} and {right}{hint}")
}

impl Checker {
    pub(super) fn unary(&mut self, sign: &str, of: &Tree) -> Result<(Node, Type), String> {
        if sign == "!" {
            return Ok((Node::Not(Box::new(self.truth(of)?)), BOOL));
        }
        let (node, kind) = self.check(of)?;
        match present(&kind) {
            Some(scalar @ (Scalar::Double | Scalar::Int)) => {
                Ok((Node::Negate(Box::new(node)), Type::Scalar(scalar)))
            }
            _ => Err(format!("`-` of {kind}")),
        }
    }

    pub(super) fn binary(
        &mut self,
        sign: &'static str,
        left: &Tree,
        right: &Tree,
    ) -> Result<(Node, Type), String> {
        if matches!(sign, "&&" | "||") {
            let (left, right) = (Box::new(self.truth(left)?), Box::new(self.truth(right)?));
            let node = if sign == "&&" {
                Node::And(left, right)
            } else {
                Node::Or(left, right)
            };
            return Ok((node, BOOL));
        }
        let (left, of_left) = self.check(left)?;
        let (right, of_right) = self.check(right)?;
        let fault = || mismatch(sign, &of_left, &of_right);
        let (left, right) = (Box::new(left), Box::new(right));
        match sign {
            "==" | "!=" => {
                common(&of_left, &of_right).ok_or_else(fault)?;
                let equal = Node::Equal(left, right);
                Ok((
                    if sign == "==" {
                        equal
                    } else {
                        Node::Not(Box::new(equal))
                    },
                    BOOL,
                ))
            }
            "in" => match &of_right {
                Type::List(of) if common(&of_left, of).is_some() => {
                    Ok((Node::In(left, right), BOOL))
                }
                _ => Err(fault()),
            },
            "<" | "<=" | ">" | ">=" => match (present(&of_left), present(&of_right)) {
                (Some(one), Some(other)) if one == other => {
                    Ok((Node::Compare(sign, left, right), BOOL))
                }
                _ => Err(fault()),
            },
            _ => {
                let kind = arithmetic(sign, &of_left, &of_right).ok_or_else(fault)?;
                Ok((Node::Arithmetic(sign, left, right), kind))
            }
        }
    }
}

/// The type of a sum, a product…
fn arithmetic(sign: &str, left: &Type, right: &Type) -> Option<Type> {
    if let (Type::List(_), Type::List(_), "+") = (left, right, sign) {
        return common(left, right);
    }
    let scalar = present(left).filter(|scalar| present(right) == Some(*scalar))?;
    let is_defined = match scalar {
        Scalar::Int | Scalar::Uint => true,
        Scalar::Double => sign != "%",
        Scalar::Text => sign == "+",
        Scalar::Bool | Scalar::Bytes | Scalar::Time => false,
    };
    is_defined.then_some(Type::Scalar(scalar))
}
