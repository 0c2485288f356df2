//! Tokens → tree, by the grammar of the language.

use super::token::{Token, tokens};

/// Deepest nesting of brackets.
const MOST_DEPTH: usize = 64;
/// Most operators and members: a chain of them nests as well.
const MOST_LINKS: usize = 512;

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Binary(&'static str, Box<Self>, Box<Self>),
    Bool(bool),
    /// A function, or what is called on something.
    Call {
        on: Option<Box<Self>>,
        name: String,
        arguments: Vec<Self>,
    },
    Choice(Box<Self>, Box<Self>, Box<Self>),
    Double(f64),
    Index(Box<Self>, Box<Self>),
    Int(i64),
    List(Vec<Self>),
    Name(String),
    Null,
    Select(Box<Self>, String),
    Text(String),
    Uint(u64),
    Unary(&'static str, Box<Self>),
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Tree, String> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        at: 0,
        depth: 0,
        links: 0,
    };
    let tree = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(tree),
        other => Err(format!("{} where the end should be", shown(other))),
    }
}

/// Operators of two sides, from those that bind least.
const LEVELS: [&[&str]; 5] = [
    &["||"],
    &["&&"],
    &["<", "<=", ">", ">=", "==", "!=", "in"],
    &["+", "-"],
    &["*", "/", "%"],
];

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    links: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn take(&mut self, sign: &str) -> bool {
        let is_it = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.at += usize::from(is_it);
        is_it
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.take(sign) {
            return Ok(());
        }
        Err(format!("{} where `{sign}` should be", shown(self.peek())))
    }

    fn link(&mut self) -> Result<(), String> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(format!("more than {MOST_LINKS} operators"));
        }
        Ok(())
    }

    fn expression(&mut self) -> Result<Tree, String> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(format!("nested deeper than {MOST_DEPTH} levels"));
        }
        let condition = self.binary(0)?;
        let tree = if self.take("?") {
            let yes = self.expression()?;
            self.expect(":")?;
            let no = self.expression()?;
            Tree::Choice(Box::new(condition), Box::new(yes), Box::new(no))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(tree)
    }

    fn binary(&mut self, level: usize) -> Result<Tree, String> {
        let Some(signs) = LEVELS.get(level) else {
            return self.unary();
        };
        let mut left = self.binary(level + 1)?;
        loop {
            let sign = match self.peek() {
                Token::Sign(sign) => sign,
                Token::Name(name) if name == "in" => "in",
                _ => return Ok(left),
            };
            let Some(sign) = signs.iter().find(|known| **known == sign) else {
                return Ok(left);
            };
            self.at += 1;
            self.link()?;
            let right = self.binary(level + 1)?;
            left = Tree::Binary(sign, Box::new(left), Box::new(right));
        }
    }

    fn unary(&mut self) -> Result<Tree, String> {
        for sign in ["!", "-"] {
            if self.take(sign) {
                self.depth += 1;
                if self.depth > MOST_DEPTH {
                    return Err(format!("nested deeper than {MOST_DEPTH} levels"));
                }
                let tree = Tree::Unary(sign, Box::new(self.unary()?));
                self.depth -= 1;
                return Ok(tree);
            }
        }
        self.member()
    }

    fn member(&mut self) -> Result<Tree, String> {
        let mut tree = self.primary()?;
        loop {
            self.link()?;
            if self.take(".") {
                let name = self.name()?;
                tree = if self.take("(") {
                    let arguments = self.list(")")?;
                    let on = Some(Box::new(tree));
                    Tree::Call {
                        on,
                        name,
                        arguments,
                    }
                } else {
                    Tree::Select(Box::new(tree), name)
                };
            } else if self.take("[") {
                let index = self.expression()?;
                self.expect("]")?;
                tree = Tree::Index(Box::new(tree), Box::new(index));
            } else if self.take("{") {
                return Err("messages cannot be made here".to_owned());
            } else {
                return Ok(tree);
            }
        }
    }

    fn name(&mut self) -> Result<String, String> {
        match self.next() {
            Token::Name(name) => Ok(name),
            other => Err(format!("{} where a name should be", shown(&other))),
        }
    }

    fn primary(&mut self) -> Result<Tree, String> {
        // A name may begin with a dot: it is the same without a package.
        let _of_no_package = matches!(self.peek(), Token::Sign(".")) && self.take(".");
        Ok(match self.next() {
            Token::Double(number) => Tree::Double(number),
            Token::Int(number) => Tree::Int(number),
            Token::Uint(number) => Tree::Uint(number),
            Token::Text(text) => Tree::Text(text),
            Token::Name(name) => match name.as_str() {
                "true" => Tree::Bool(true),
                "false" => Tree::Bool(false),
                "null" => Tree::Null,
                "in" => return Err("`in` where a value should be".to_owned()),
                _ if self.take("(") => {
                    let arguments = self.list(")")?;
                    Tree::Call {
                        on: None,
                        name,
                        arguments,
                    }
                }
                _ => Tree::Name(name),
            },
            Token::Sign("(") => {
                let tree = self.expression()?;
                self.expect(")")?;
                tree
            }
            Token::Sign("[") => Tree::List(self.list("]")?),
            Token::Sign("{") => return Err("maps cannot be made here".to_owned()),
            other => return Err(format!("{} where a value should be", shown(&other))),
        })
    }

    /// Expressions with commas between them; a list may end with one.
    fn list(&mut self, end: &str) -> Result<Vec<Tree>, String> {
        let mut list = Vec::new();
        loop {
            if self.take(end) {
                return Ok(list);
            }
            list.push(self.expression()?);
            if !self.take(",") {
                self.expect(end)?;
                return Ok(list);
            }
        }
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Double(number) => format!("`{number}`"),
        Token::End => "the end".to_owned(),
        Token::Int(number) => format!("`{number}`"),
        Token::Name(name) => format!("`{name}`"),
        Token::Sign(sign) => format!("`{sign}`"),
        Token::Text(text) => format!("{text:?}"),
        Token::Uint(number) => format!("`{number}u`"),
    }
}
