//! Templates that somebody gave: they win over what is found by looking.

use std::borrow::Cow;

use super::{Kind, Part, Parts, fold, parts, text, without_query};

/// Most templates that are asked, one by one.
const GIVEN_MAX: usize = 1000;

/// Templates that come first.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    given: Vec<Given>,
}

#[derive(Debug, Clone)]
struct Given {
    text: String,
    /// `None` stands for any segment that is not empty.
    segments: Vec<Option<String>>,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GivenError {
    /// A path begins with a slash.
    #[error("template `{0}` begins with no slash")]
    NoSlash(String),
    /// A segment is a word, or a name in braces, not both.
    #[error(
        "template `{template}`: a segment is a word or a name in braces, `{segment}` is neither"
    )]
    Braces {
        /// The template.
        template: String,
        /// The segment.
        segment: String,
    },
    /// More than can be asked one by one.
    #[error("more than {GIVEN_MAX} templates")]
    TooMany,
}

impl Templates {
    /// Reads templates such as `/users/{user}/orders/{order}`; the first that fits a path wins.
    ///
    /// # Errors
    /// What is wrong with the first that cannot be used.
    pub fn new<T: AsRef<str>>(given: impl IntoIterator<Item = T>) -> Result<Self, GivenError> {
        let given: Vec<Given> = given
            .into_iter()
            .map(|template| Given::new(template.as_ref()))
            .collect::<Result<_, _>>()?;
        if given.len() > GIVEN_MAX {
            return Err(GivenError::TooMany);
        }
        Ok(Self { given })
    }

    /// The template of a path.
    pub fn fold<'p>(&'p self, path: &'p str) -> Cow<'p, str> {
        match self.fitting(path) {
            Some(given) => Cow::Borrowed(&given.text),
            None => fold(path),
        }
    }

    /// The segments of a path's template; joined by slashes they are the template, but for the names
    /// in braces.
    pub fn parts<'p>(&'p self, path: &'p str) -> GivenParts<'p> {
        match self.fitting(path) {
            Some(given) => GivenParts::Given(given.segments.iter()),
            None => GivenParts::Found(parts(path)),
        }
    }

    fn fitting(&self, path: &str) -> Option<&Given> {
        let path = without_query(path);
        self.given.iter().find(|given| given.fits(path))
    }
}

/// The segments of a template, given or found.
#[derive(Debug, Clone)]
pub enum GivenParts<'p> {
    /// Of a path that no given template fits.
    Found(Parts<'p>),
    /// Of a given template.
    Given(std::slice::Iter<'p, Option<String>>),
}

impl<'p> Iterator for GivenParts<'p> {
    type Item = Part<'p>;

    fn next(&mut self) -> Option<Part<'p>> {
        match self {
            Self::Found(parts) => parts.next(),
            Self::Given(segments) => Some(match segments.next()? {
                Some(word) => Part::Word(word),
                None => Part::Id {
                    kind: Kind::Value,
                    suffix: "",
                },
            }),
        }
    }
}

impl GivenParts<'_> {
    /// The template as one text.
    pub fn text(self) -> String {
        text(self)
    }
}

impl Given {
    fn new(text: &str) -> Result<Self, GivenError> {
        if !text.starts_with('/') {
            return Err(GivenError::NoSlash(text.to_owned()));
        }
        let segments = text.split('/').map(|segment| {
            let name = segment
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'));
            match name {
                Some(name) if !name.is_empty() && !name.contains(['{', '}']) => Ok(None),
                None if !segment.contains(['{', '}']) => Ok(Some(segment.to_owned())),
                _ => Err(GivenError::Braces {
                    template: text.to_owned(),
                    segment: segment.to_owned(),
                }),
            }
        });
        Ok(Self {
            text: text.to_owned(),
            segments: segments.collect::<Result<_, _>>()?,
        })
    }

    fn fits(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        self.segments.iter().all(|want| {
            segments.next().is_some_and(|have| match want {
                Some(word) => word == have,
                None => !have.is_empty(),
            })
        }) && segments.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_templates_win_in_their_order() {
        let templates =
            Templates::new(["/users/me", "/users/{user}", "/users/{user}/orders/{order}"])
                .expect("templates");
        for (path, template) in [
            ("/users/me?x", "/users/me"),
            ("/users/ada", "/users/{user}"),
            ("/users/{user}", "/users/{user}"),
            ("/users/", "/users/"),
            ("/users/ada/orders/7", "/users/{user}/orders/{order}"),
            ("/users/ada/orders/7/x", "/users/ada/orders/{id}/x"),
        ] {
            assert_eq!(templates.fold(path), template, "{path}");
        }
        let parts: Vec<_> = templates.parts("/users/ada").collect();
        let value = Part::Id {
            kind: Kind::Value,
            suffix: "",
        };
        assert_eq!(parts, [Part::Word(""), Part::Word("users"), value]);
    }

    #[test]
    fn what_is_no_template_is_named() {
        for (template, fault) in [
            ("users", "begins with no slash"),
            ("/a{b}", "`a{b}` is neither"),
            ("/{}", "`{}` is neither"),
        ] {
            let error = Templates::new([template]).expect_err("a fault");
            assert!(error.to_string().contains(fault), "{error}");
        }
    }
}
