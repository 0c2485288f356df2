//! Text → tokens.

/// A token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Double(f64),
    /// The end of the text.
    End,
    Int(i64),
    Name(String),
    /// An operator or a bracket.
    Sign(&'static str),
    Text(String),
    Uint(u64),
}

/// Longer ones first: the first that fits is taken.
const SIGNS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "(", ")", "[", "]", "{", "}", ".", ",", "?", ":",
    "+", "-", "*", "/", "%", "!",
];

/// Reads all tokens of a text; the last one is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut rest = text;
    let mut tokens = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, behind)| behind);
            continue;
        }
        let Some(first) = rest.chars().next() else {
            tokens.push(Token::End);
            return Ok(tokens);
        };
        let (token, behind) = if first.is_ascii_digit() {
            number(rest)?
        } else if let Some((is_raw, quoted)) = quotation(rest) {
            quote(quoted, is_raw)?
        } else if first == '_' || first.is_ascii_alphabetic() {
            let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
            let (name, behind) = split(rest, end.unwrap_or(rest.len()));
            (Token::Name(name.to_owned()), behind)
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = *sign.ok_or_else(|| format!("{first:?} means nothing"))?;
            (Token::Sign(sign), split(rest, sign.len()).1)
        };
        tokens.push(token);
        rest = behind;
    }
}

/// Both sides of a place in a text.
fn split(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}

fn number(text: &str) -> Result<(Token, &str), String> {
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let end = digits.find(|c: char| !c.is_ascii_hexdigit());
        let (digits, behind) = split(digits, end.unwrap_or(digits.len()));
        let number = u64::from_str_radix(digits, 16);
        let number = number.map_err(|error| format!("`0x{digits}`: {error}"))?;
        return whole(number, behind);
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, behind) = split(text, end);
    let is_fraction = behind
        .strip_prefix('.')
        .is_some_and(|behind| behind.starts_with(|c: char| c.is_ascii_digit()));
    if is_fraction || behind.starts_with(['e', 'E']) {
        return fraction(text);
    }
    let number = digits.parse();
    whole(
        number.map_err(|error| format!("`{digits}`: {error}"))?,
        behind,
    )
}

/// A number with a `u` behind it is unsigned.
fn whole(number: u64, behind: &str) -> Result<(Token, &str), String> {
    match behind.strip_prefix(['u', 'U']) {
        Some(behind) => Ok((Token::Uint(number), behind)),
        None => match i64::try_from(number) {
            Ok(number) => Ok((Token::Int(number), behind)),
            Err(_too_large) => Err(format!("`{number}` is too large for an int")),
        },
    }
}

fn fraction(text: &str) -> Result<(Token, &str), String> {
    let mut end = 0;
    let mut before = ' ';
    for c in text.chars() {
        let is_sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E');
        if !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || is_sign) {
            break;
        }
        end += c.len_utf8();
        before = c;
    }
    let (number, behind) = split(text, end);
    let number = number
        .parse()
        .map_err(|_error| format!("`{number}` is no number"))?;
    Ok((Token::Double(number), behind))
}

/// Whether a text begins with a quotation, and whether backslashes mean nothing in it.
fn quotation(text: &str) -> Option<(bool, &str)> {
    let is_quote = |text: &str| text.starts_with(['"', '\'']);
    if is_quote(text) {
        return Some((false, text));
    }
    let raw = text.strip_prefix(['r', 'R'])?;
    is_quote(raw).then_some((true, raw))
}

fn quote(text: &str, is_raw: bool) -> Result<(Token, &str), String> {
    let mark = if text.starts_with('"') { "\"" } else { "'" };
    let thrice = mark.repeat(3);
    let mark = if text.starts_with(&thrice) {
        thrice.as_str()
    } else {
        mark
    };
    let mut rest = split(text, mark.len()).1;
    let mut value = String::new();
    loop {
        if let Some(behind) = rest.strip_prefix(mark) {
            return Ok((Token::Text(value), behind));
        }
        let mut chars = rest.chars();
        match chars.next() {
            None => return Err("a quotation has no end".to_owned()),
            Some('\n') if mark.len() == 1 => return Err("a quotation has no end".to_owned()),
            Some('\\') if !is_raw => {
                let (escaped, behind) = escape(chars.as_str())?;
                value.push(escaped);
                rest = behind;
            }
            Some(c) => {
                value.push(c);
                rest = chars.as_str();
            }
        }
    }
}

/// What stands behind a backslash.
fn escape(text: &str) -> Result<(char, &str), String> {
    let fault = || {
        Err(format!(
            "`\\{}` means nothing",
            text.chars().next().unwrap_or(' ')
        ))
    };
    let mut chars = text.chars();
    let simple = match chars.next() {
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('a') => '\u{7}',
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('v') => '\u{b}',
        Some(c @ ('\\' | '"' | '\'' | '`' | '?')) => c,
        Some('x' | 'X') => return coded(chars.as_str(), 2, 16),
        Some('u') => return coded(chars.as_str(), 4, 16),
        Some('U') => return coded(chars.as_str(), 8, 16),
        Some('0'..='3') => return coded(text, 3, 8),
        Some(_) | None => return fault(),
    };
    Ok((simple, chars.as_str()))
}

fn coded(text: &str, digits: usize, base: u32) -> Result<(char, &str), String> {
    let (number, behind) = split(text, digits);
    let code = u32::from_str_radix(number, base).ok();
    match code.and_then(char::from_u32) {
        Some(c) if number.len() == digits => Ok((c, behind)),
        Some(_) | None => Err(format!("`{number}` is no character's number")),
    }
}
