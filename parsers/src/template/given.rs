//! Templates that somebody gave: they win over what is found by looking.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Part, Parts, Segment, fold, parts, push, text, without_query};

/// Most templates.
const GIVEN_MAX: usize = 10_000;
/// Most segments of a template, the empty one before the first slash included.
const SEGMENTS_MAX: usize = 64;

/// Templates that come first. Their number does not matter to who asks: they are a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates {
    given: Vec<Given>,
    nodes: Vec<Node>,
}

/// A template, and its place in the order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Given {
    text: String,
    steps: Vec<Step>,
}

/// A segment of a given template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// Everything that follows, from here on.
    Rest,
    Some(Segment),
    Word(String),
}

/// What may follow the beginning of a path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    words: HashMap<Box<str>, usize, ahash::RandomState>,
    some: Vec<(Segment, usize)>,
    /// The template that takes whatever follows.
    rest: Option<usize>,
    /// The template that ends here.
    end: Option<usize>,
    /// The first template that may be found from here.
    first: usize,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GivenError {
    /// A path begins with a slash.
    #[error("template `{0}` begins with no slash")]
    NoSlash(String),
    /// Braces hold names, and something stands between two of them.
    #[error(
        "template `{template}`: in `{segment}` braces do not match, hold no name, or follow each other"
    )]
    Braces {
        /// The template.
        template: String,
        /// The segment.
        segment: String,
    },
    /// More than are kept.
    #[error("more than {GIVEN_MAX} templates, or one of more than {SEGMENTS_MAX} segments")]
    TooMany,
}

impl Default for Templates {
    fn default() -> Self {
        Self {
            given: Vec::new(),
            nodes: vec![Node {
                first: usize::MAX,
                ..Node::default()
            }],
        }
    }
}

impl Templates {
    /// Reads templates such as `/users/{user}/orders/{order}` or `/static/{file...}`, the last of which
    /// stands for any number of segments; the first that fits a path wins.
    ///
    /// # Errors
    /// What is wrong with the first that cannot be used.
    pub fn new<T: AsRef<str>>(given: impl IntoIterator<Item = T>) -> Result<Self, GivenError> {
        let mut templates = Self::default();
        for template in given {
            templates.push(Given::new(template.as_ref())?)?;
        }
        Ok(templates)
    }

    /// Adds the paths of an `OpenAPI` description, behind what was given before: of several that fit, the
    /// one that says more wins, whatever their order (`OpenAPI` 3.1 §4.8.8.2).
    ///
    /// # Errors
    /// What is wrong with the first that cannot be used.
    pub fn add_routes<T: AsRef<str>>(
        &mut self,
        routes: impl IntoIterator<Item = T>,
    ) -> Result<(), GivenError> {
        let routes = routes
            .into_iter()
            .map(|route| Given::new(without_query(route.as_ref())));
        let mut routes = routes.collect::<Result<Vec<_>, _>>()?;
        routes.sort_by_cached_key(|route| {
            let ranks: Vec<u8> = route.steps.iter().map(Step::rank).collect();
            (ranks, route.text.clone())
        });
        routes.into_iter().try_for_each(|route| self.push(route))
    }

    /// Whether none were given.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// All that were given, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.given.iter().map(|given| given.text.as_str())
    }

    /// The template of a path.
    pub fn fold<'p>(&'p self, path: &'p str) -> Cow<'p, str> {
        match self.fitting(path) {
            Some(given) => Cow::Borrowed(&given.text),
            None => fold(path),
        }
    }

    /// Appends the template of a path to a text.
    pub fn push_folded(&self, path: &str, text: &mut String) {
        match self.fitting(path) {
            Some(given) => text.push_str(&given.text),
            None => push(parts(path), text),
        }
    }

    /// Whether a given template fits a path.
    pub fn knows(&self, path: &str) -> bool {
        self.fitting(path).is_some()
    }

    /// The segments of a path's template; joined by slashes they are the template, but for the name of
    /// what stands for the rest.
    pub fn parts<'p>(&'p self, path: &'p str) -> GivenParts<'p> {
        match self.fitting(path) {
            Some(given) => GivenParts(Origin::Given(given.steps.iter())),
            None => GivenParts(Origin::Found(parts(path))),
        }
    }

    fn push(&mut self, given: Given) -> Result<(), GivenError> {
        let place = self.given.len();
        if place >= GIVEN_MAX || given.steps.len() > SEGMENTS_MAX {
            return Err(GivenError::TooMany);
        }
        let mut at = 0;
        for step in &given.steps {
            let fresh = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else {
                break;
            };
            node.first = node.first.min(place);
            at = match step {
                Step::Rest => {
                    node.rest.get_or_insert(place);
                    break;
                }
                Step::Word(word) => *node.words.entry(Box::from(word.as_str())).or_insert(fresh),
                Step::Some(segment) => {
                    let known = node.some.iter().find(|(known, _)| known.is_like(segment));
                    known.map_or(fresh, |(_, next)| *next)
                }
            };
            if at == fresh {
                if let Step::Some(segment) = step {
                    node.some.push((segment.clone(), fresh));
                }
                self.nodes.push(Node {
                    first: place,
                    ..Node::default()
                });
            }
        }
        if !matches!(given.steps.last(), Some(Step::Rest))
            && let Some(node) = self.nodes.get_mut(at)
        {
            node.end.get_or_insert(place);
        }
        self.given.push(given);
        Ok(())
    }

    fn fitting(&self, path: &str) -> Option<&Given> {
        if self.given.is_empty() {
            return None;
        }
        let mut found = usize::MAX;
        self.search(0, Some(without_query(path)), &mut found);
        self.given.get(found)
    }

    /// Looks for the first template; every node is looked at once at most, since it is a tree.
    fn search(&self, at: usize, path: Option<&str>, found: &mut usize) {
        let Some(node) = self.nodes.get(at).filter(|node| node.first < *found) else {
            return;
        };
        let Some(path) = path else {
            *found = node.end.unwrap_or(usize::MAX).min(*found);
            return;
        };
        *found = node.rest.unwrap_or(usize::MAX).min(*found);
        let (segment, rest) = match path.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (path, None),
        };
        if let Some(next) = node.words.get(segment) {
            self.search(*next, rest, found);
        }
        for (some, next) in &node.some {
            if some.fits(segment) {
                self.search(*next, rest, found);
            }
        }
    }
}

/// The segments of a template, given or found.
#[derive(Debug, Clone)]
pub struct GivenParts<'p>(Origin<'p>);

#[derive(Debug, Clone)]
enum Origin<'p> {
    Found(Parts<'p>),
    Given(std::slice::Iter<'p, Step>),
}

impl<'p> Iterator for GivenParts<'p> {
    type Item = Part<'p>;

    fn next(&mut self) -> Option<Part<'p>> {
        match &mut self.0 {
            Origin::Found(parts) => parts.next(),
            Origin::Given(steps) => Some(match steps.next()? {
                Step::Rest => Part::Rest,
                Step::Some(segment) => Part::Given(segment),
                Step::Word(word) => Part::Word(word),
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

impl Step {
    /// The lower, the more it says.
    fn rank(&self) -> u8 {
        match self {
            Self::Word(_) => 0,
            Self::Some(segment) if !segment.is_any() => 1,
            Self::Some(_) => 2,
            Self::Rest => 3,
        }
    }
}

impl Given {
    fn new(text: &str) -> Result<Self, GivenError> {
        if !text.starts_with('/') {
            return Err(GivenError::NoSlash(text.to_owned()));
        }
        let count = text.split('/').count();
        let steps = (1..).zip(text.split('/')).map(|(number, segment)| {
            if !segment.contains(['{', '}']) {
                return Ok(Step::Word(segment.to_owned()));
            }
            if number == count
                && let Some(name) = segment.strip_suffix("...}")
                && name.len() > 1
                && name.rfind('{') == Some(0)
            {
                return Ok(Step::Rest);
            }
            let some = Segment::read(segment).map(Step::Some);
            some.ok_or_else(|| GivenError::Braces {
                template: text.to_owned(),
                segment: segment.to_owned(),
            })
        });
        Ok(Self {
            text: text.to_owned(),
            steps: steps.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_templates_win_in_their_order() {
        let templates = Templates::new([
            "/users/me",
            "/users/{user}",
            "/users/{user}/orders/{order}",
            "/users/{user}/orders/latest",
            "/reports/{year}-{month}.pdf",
            "/static/{file...}",
        ])
        .expect("templates");
        for (path, template) in [
            ("/users/me?x", "/users/me"),
            ("/users/ada", "/users/{user}"),
            ("/users/{user}", "/users/{user}"),
            ("/users/", "/users/"),
            ("/users/ada/orders/7", "/users/{user}/orders/{order}"),
            ("/users/ada/orders/latest", "/users/{user}/orders/{order}"),
            ("/users/ada/orders/7/x", "/users/ada/orders/{id}/x"),
            ("/reports/2026-11.pdf", "/reports/{year}-{month}.pdf"),
            ("/reports/2026-.pdf", "/reports/2026-.pdf"),
            ("/static/a/b/c.js", "/static/{file...}"),
            ("/static/", "/static/{file...}"),
            ("/static", "/static"),
        ] {
            assert_eq!(templates.fold(path), template, "{path}");
            let mut text = String::new();
            templates.push_folded(path, &mut text);
            assert_eq!(text, template, "{path}");
        }
        let parts: Vec<_> = templates.parts("/users/ada").collect();
        let user = Segment::read("{user}").expect("a segment");
        assert_eq!(
            parts,
            [Part::Word(""), Part::Word("users"), Part::Given(&user)]
        );
    }

    #[test]
    fn of_an_apis_paths_the_one_that_says_more_wins() {
        let mut templates = Templates::new(["/pets/{name}/photo"]).expect("a template");
        let routes = [
            "/pets/{petId}",
            "/pets/mine",
            "/pets/{petId}.json",
            "/{entity}/me",
        ];
        templates.add_routes(routes).expect("routes");
        for (path, template) in [
            ("/pets/mine", "/pets/mine"),
            ("/pets/7", "/pets/{petId}"),
            ("/pets/7.json", "/pets/{petId}.json"),
            ("/pets/me", "/pets/{petId}"),
            ("/books/me", "/{entity}/me"),
            ("/pets/rex/photo", "/pets/{name}/photo"),
        ] {
            assert_eq!(templates.fold(path), template, "{path}");
        }
        assert_eq!(templates.iter().count(), 5);
    }

    #[test]
    fn what_is_no_template_is_named() {
        for (template, fault) in [
            ("users", "begins with no slash"),
            ("/a{b", "in `a{b` braces"),
            ("/{}", "in `{}` braces"),
            ("/{a...}/b", "in `{a...}` braces"),
        ] {
            let error = Templates::new([template]).expect_err(template);
            assert!(error.to_string().contains(fault), "{error}");
        }
    }
}
