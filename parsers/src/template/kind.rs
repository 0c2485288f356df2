//! What ids look like.

/// What an id looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `2026-11-21`, with or without a time (RFC 3339).
    Date,
    /// `ada@example.com`, the `@` also as `%40`.
    Email,
    /// Hexadecimal digits: digests, object ids of `MongoDB`, addresses that begin with `0x`.
    Hash,
    /// Digits.
    Number,
    /// Letters and digits as no word has them, in base64, base62 or base36.
    Token,
    /// 26 digits in Crockford's base 32.
    Ulid,
    /// RFC 9562 §4, in either case.
    Uuid,
    /// Anything: of a given template, or learnt from many paths.
    Value,
}

/// Fewest digits of a digest; shorter ones are words like `decade`.
const HASH_DIGITS_MIN: usize = 8;
/// From here on no digit needs to stand between letters.
const HASH_DIGITS_LONG: usize = 16;
/// Shortest token.
const TOKEN_BYTES_MIN: usize = 20;
/// Shortest token behind a prefix, as in `cus_9s6XKzkNRiz8i3`.
const PREFIXED_BYTES_MIN: usize = 10;
/// Longest ending of a segment that is told apart from an id.
const SUFFIX_BYTES_MAX: usize = 12;

impl Kind {
    /// What a whole segment looks like, if it looks like an id.
    pub fn of(segment: &str) -> Option<Self> {
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match segment {
            "" => None,
            _ if is_digits(segment) => Some(Self::Number),
            _ if is_uuid(segment) => Some(Self::Uuid),
            _ if is_date(segment) => Some(Self::Date),
            _ if is_hash(segment) => Some(Self::Hash),
            _ if is_ulid(segment) => Some(Self::Ulid),
            _ if is_email(segment) => Some(Self::Email),
            _ if is_token(segment) => Some(Self::Token),
            _ => None,
        }
    }

    /// What stands in templates.
    pub fn name(self) -> &'static str {
        match self {
            Self::Date => "{date}",
            Self::Email => "{email}",
            Self::Hash => "{hash}",
            Self::Number => "{id}",
            Self::Token => "{token}",
            Self::Ulid => "{ulid}",
            Self::Uuid => "{uuid}",
            Self::Value => "{value}",
        }
    }

    /// A regular expression (RE2) that matches whatever folds to it, within one segment.
    pub fn pattern(self) -> &'static str {
        match self {
            Self::Date => "[0-9]{4}-[0-9]{2}-[0-9]{2}[^/?]*",
            Self::Email => "[^/?]+(@|%40)[^/?]+",
            Self::Hash => "(0x)?[0-9A-Fa-f]+",
            Self::Number => "[0-9]+",
            Self::Token | Self::Value => "[^/?]+",
            Self::Ulid => "[0-9A-Za-z]{26}",
            Self::Uuid => "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}",
        }
    }
}

/// An ending like `.json` or `:cancel`, and what stands before it.
pub(super) fn split_suffix(segment: &str) -> Option<(&str, &str)> {
    let at = segment.rfind(['.', ':'])?;
    let (stem, suffix) = segment.split_at_checked(at)?;
    let mut word = suffix.bytes().skip(1);
    let is_word = word.next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && word.all(|byte| byte.is_ascii_alphanumeric())
        && suffix.len() <= SUFFIX_BYTES_MAX;
    is_word.then_some((stem, suffix))
}

/// Whether text has this form: `x` is a hexadecimal digit, `0` a decimal one, others are themselves.
fn has_form(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text
            .bytes()
            .zip(form.bytes())
            .all(|(byte, want)| match want {
                b'x' => byte.is_ascii_hexdigit(),
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            })
}

fn is_uuid(text: &str) -> bool {
    has_form(text, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
}

fn is_date(text: &str) -> bool {
    const FORM: &str = "0000-00-00";
    let Some((day, time)) = text.split_at_checked(FORM.len()) else {
        return false;
    };
    let number = |at: usize| {
        day.get(at..at.saturating_add(2))
            .and_then(|digits| digits.parse::<u8>().ok())
    };
    let is_of_time = |c: char| c.is_ascii_digit() || matches!(c, ':' | '.' | '+' | '-' | 'Z' | '%');
    has_form(day, FORM)
        && number(5).is_some_and(|month| (1..=12).contains(&month))
        && number(8).is_some_and(|day| (1..=31).contains(&day))
        && (time.is_empty()
            || time.strip_prefix(['T', 't', '_']).is_some_and(|time| {
                time.starts_with(|c: char| c.is_ascii_digit())
                    && time.chars().all(|c| is_of_time(c) || c == 'A')
            }))
}

fn is_hash(text: &str) -> bool {
    let (digits, is_marked) = match text.strip_prefix("0x") {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    let classes = Classes::of(digits);
    digits.len() >= HASH_DIGITS_MIN
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (is_marked
            || classes.digits > 0 && (digits.len() >= HASH_DIGITS_LONG || classes.changes > 1))
}

fn is_ulid(text: &str) -> bool {
    let is_crockford = |byte: u8| {
        byte.is_ascii_alphanumeric()
            && !matches!(byte.to_ascii_uppercase(), b'I' | b'L' | b'O' | b'U')
    };
    text.len() == 26
        && text.starts_with(|first: char| matches!(first, '0'..='7'))
        && text.bytes().all(is_crockford)
        && Classes::of(text).is_in_one_case()
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@').or_else(|| text.split_once("%40")) else {
        return false;
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !local.is_empty()
        && !local.contains(['{', '}'])
        && domain.bytes().all(is_host)
        && domain
            .rsplit_once('.')
            .is_some_and(|(name, top)| !name.is_empty() && top.len() >= 2)
}

fn is_token(text: &str) -> bool {
    let is_of_token = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'=' | b'+' | b'~' | b'.' | b'%')
    };
    if !text.bytes().all(is_of_token) {
        return false;
    }
    if text.len() >= TOKEN_BYTES_MIN {
        let classes = Classes::of(text);
        return classes.digits > 1 && classes.changes.saturating_mul(4) >= text.len();
    }
    text.split_once('_').is_some_and(|(prefix, rest)| {
        let classes = Classes::of(rest);
        (2..=8).contains(&prefix.len())
            && prefix.bytes().all(|byte| byte.is_ascii_lowercase())
            && rest.len() >= PREFIXED_BYTES_MIN
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && classes.digits > 0
            && classes.changes.saturating_mul(3) >= rest.len()
    })
}

/// How letters and digits follow each other.
#[derive(Default)]
struct Classes {
    digits: usize,
    lower: usize,
    upper: usize,
    /// How often one class follows another within a run of letters and digits.
    changes: usize,
}

impl Classes {
    fn of(text: &str) -> Self {
        let mut classes = Self::default();
        let mut former = None;
        for byte in text.bytes() {
            let class = match byte {
                b'0'..=b'9' => {
                    classes.digits += 1;
                    Some(0)
                }
                b'a'..=b'z' => {
                    classes.lower += 1;
                    Some(1)
                }
                b'A'..=b'Z' => {
                    classes.upper += 1;
                    Some(2)
                }
                _ => None,
            };
            classes.changes += usize::from(class.is_some() && former.is_some() && class != former);
            former = class;
        }
        classes
    }

    fn is_in_one_case(&self) -> bool {
        self.digits > 0 && (self.lower == 0 || self.upper == 0)
    }
}
