//! Label selectors in the syntax of Kubernetes: `a=b,c in (x,y),!d`, with label sources in front
//! of keys where they matter: `k8s:app=web`, `reserved:host`.

/// All requirements must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    GreaterThan(i64),
    In(Vec<String>),
    LessThan(i64),
    Missing,
    NotIn(Vec<String>),
}

impl Selector {
    /// Reads a selector; an empty one selects everything.
    ///
    /// # Errors
    /// What was found in the place of what.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self(Vec::new()));
        }
        let mut parser = Parser { rest: text };
        let mut requirements = Vec::new();
        loop {
            requirements.push(parser.requirement()?);
            if !parser.take(",") {
                break;
            }
        }
        match parser.peek() {
            "" => Ok(Self(requirements)),
            rest => Err(parser.unexpected(rest, "',' or end of the selector")),
        }
    }

    /// Whether labels (`source:key=value`, the source may be missing) satisfy it.
    pub fn matches(&self, labels: &[String]) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &[String]) -> bool {
        let mut values = labels.iter().filter_map(|label| self.value(label));
        match &self.test {
            Test::Exists => values.next().is_some(),
            Test::Missing => values.next().is_none(),
            Test::In(wanted) => values.any(|value| wanted.iter().any(|w| w == value)),
            Test::NotIn(refused) => !values.any(|value| refused.iter().any(|w| w == value)),
            Test::GreaterThan(bound) => {
                values.any(|value| value.parse::<i64>().is_ok_and(|value| value > *bound))
            }
            Test::LessThan(bound) => {
                values.any(|value| value.parse::<i64>().is_ok_and(|value| value < *bound))
            }
        }
    }

    /// The value of a label if it has this key; a key without a source is that of any source.
    fn value<'l>(&self, label: &'l str) -> Option<&'l str> {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        if key == self.key {
            return Some(value);
        }
        match key.split_once(':') {
            Some((_, bare)) if bare == self.key => Some(value),
            Some(("any", bare)) if self.key.split_once(':').is_some_and(|(_, k)| k == bare) => {
                Some(value)
            }
            _ => match self.key.strip_prefix("any:") {
                Some(wanted) if key.rsplit_once(':').map_or(key, |(_, k)| k) == wanted => {
                    Some(value)
                }
                _ => None,
            },
        }
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn requirement(&mut self) -> Result<Requirement, String> {
        if self.take("!") {
            return Ok(Requirement {
                key: self.word("identifier")?.to_owned(),
                test: Test::Missing,
            });
        }
        let key = self.word("'!' or identifier")?.to_owned();
        let test = if self.take("==") || self.take("=") {
            Test::In(vec![self.value().to_owned()])
        } else if self.take("!=") {
            Test::NotIn(vec![self.value().to_owned()])
        } else if self.take(">") {
            Test::GreaterThan(self.number()?)
        } else if self.take("<") {
            Test::LessThan(self.number()?)
        } else {
            match self.peek() {
                "" | "," => Test::Exists,
                "in" => {
                    self.value();
                    Test::In(self.set()?)
                }
                "notin" => {
                    self.value();
                    Test::NotIn(self.set()?)
                }
                found => {
                    return Err(self.unexpected(
                        found,
                        "one of ',', '=', '==', '!=', '<', '>', 'in', 'notin'",
                    ));
                }
            }
        };
        Ok(Requirement { key, test })
    }

    /// The next word or sign, which stays.
    fn peek(&mut self) -> &'t str {
        self.rest = self.rest.trim_start();
        let word = self.word_len();
        let len = if word > 0 {
            word
        } else {
            self.rest.chars().next().map_or(0, char::len_utf8)
        };
        self.rest.get(..len).unwrap_or_default()
    }

    fn word_len(&self) -> usize {
        self.rest
            .find(|c: char| c.is_whitespace() || "=!<>,()".contains(c))
            .unwrap_or(self.rest.len())
    }

    fn take(&mut self, sign: &str) -> bool {
        self.rest = self.rest.trim_start();
        self.rest.strip_prefix(sign).is_some_and(|rest| {
            self.rest = rest;
            true
        })
    }

    /// A word, which may be empty.
    fn value(&mut self) -> &'t str {
        self.rest = self.rest.trim_start();
        let (word, rest) = self
            .rest
            .split_at_checked(self.word_len())
            .unwrap_or_default();
        self.rest = rest;
        word
    }

    fn word(&mut self, expected: &str) -> Result<&'t str, String> {
        match self.value() {
            "" => {
                let found = self.peek();
                Err(self.unexpected(found, expected))
            }
            word => Ok(word),
        }
    }

    fn number(&mut self) -> Result<i64, String> {
        let word = self.value();
        word.parse()
            .map_err(|_not_a_number| self.unexpected(word, "a number"))
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        if !self.take("(") {
            let found = self.peek();
            return Err(self.unexpected(found, "'('"));
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value().to_owned());
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                let found = self.peek();
                return Err(self.unexpected(found, "',', ')' or identifier"));
            }
        }
    }

    #[expect(clippy::unused_self, reason = "reads as what the parser says")]
    fn unexpected(&self, found: &str, expected: &str) -> String {
        format!("unable to parse requirement: found '{found}', expected: {expected}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[&str]) -> bool {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        Selector::parse(selector).unwrap().matches(&labels)
    }

    #[test]
    fn selects_by_every_operator() {
        let labels = ["k8s:app=web", "k8s:tier=3", "reserved:host"];
        for yes in [
            "app",
            "app=web",
            "app==web",
            "k8s:app=web",
            "any:app=web",
            "reserved:host",
            "!db",
            "app!=db",
            "app in (db, web)",
            "app notin (db)",
            "other notin (x)",
            "tier>2",
            "tier < 4",
            "app=web,tier=3 , !x",
            "app in(db,web)",
            "",
        ] {
            assert!(matches(yes, &labels), "{yes}");
        }
        for no in [
            "db",
            "app=db",
            "cni:app=web",
            "!app",
            "app!=web",
            "tier>3",
            "app=web,x",
        ] {
            assert!(!matches(no, &labels), "{no}");
        }
    }

    #[test]
    fn refuses_what_is_no_selector() {
        for text in ["a in (", "a in", "=b", "a b", "a=b c", "a>b", "a,"] {
            assert!(Selector::parse(text).is_err(), "{text}");
        }
    }
}
