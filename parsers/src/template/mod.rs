//! Paths → templates: `/users/4711/orders` is `/users/{id}/orders`.
//!
//! What stands for one thing among many becomes the name of its kind: numbers, UUIDs, digests, long
//! tokens, dates, e-mail addresses. Words stay, slugs among them; methods of gRPC stay as they are;
//! the query goes. Templates that were given come first. Which words of a segment are ids after all
//! only many paths together can tell: [`Learner`].
//!
//! Folding is a function of the path alone, a template folds to itself, and no template is longer than
//! [`TEMPLATE_BYTES_MAX`] unless it was given so.

mod given;
mod kind;
mod learn;
mod segment;

use std::borrow::Cow;
use std::str::Split;

pub use given::{GivenError, GivenParts, Templates};
pub use kind::Kind;
pub use learn::Learner;
pub use segment::Segment;

/// Most segments of a template, the empty one before the first slash included; what follows is
/// `{rest}`.
const SEGMENTS_MAX: usize = 24;
/// A longer segment is no word.
const WORD_BYTES_MAX: usize = 64;
/// A longer path is no method of gRPC.
const RPC_BYTES_MAX: usize = 256;
/// Longest template.
pub const TEMPLATE_BYTES_MAX: usize = SEGMENTS_MAX * (WORD_BYTES_MAX + 1) + REST.len();
/// What stands for all further segments.
const REST: &str = "{rest}";

/// One segment of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'p> {
    /// A segment of a given template that stands for many.
    Given(&'p Segment),
    /// One thing among many, and what stands behind it in the segment (`.json`, `:cancel`).
    Id {
        /// What it looks like.
        kind: Kind,
        /// With its dot or colon; mostly empty.
        suffix: &'p str,
    },
    /// A part of a method's name, however many there are.
    Name(&'p str),
    /// Whatever follows.
    Rest,
    /// Itself.
    Word(&'p str),
}

impl Part<'_> {
    fn push_onto(self, text: &mut String) {
        match self {
            Self::Given(segment) => text.push_str(segment.as_str()),
            Self::Id { kind, suffix } => {
                text.push_str(kind.name());
                text.push_str(suffix);
            }
            Self::Rest => text.push_str(REST),
            Self::Name(word) | Self::Word(word) => text.push_str(word),
        }
    }
}

/// The segments of a path as its template has them; joined by slashes they are the template.
#[derive(Debug, Clone)]
pub struct Parts<'p> {
    segments: Split<'p, char>,
    taken: usize,
    is_rpc: bool,
}

/// The segments of a path's template, no template having been given.
pub fn parts(path: &str) -> Parts<'_> {
    let path = without_query(path);
    Parts {
        segments: path.split('/'),
        taken: 0,
        is_rpc: is_rpc(path),
    }
}

impl<'p> Iterator for Parts<'p> {
    type Item = Part<'p>;

    fn next(&mut self) -> Option<Part<'p>> {
        if self.taken > SEGMENTS_MAX {
            return None;
        }
        let segment = self.segments.next()?;
        self.taken += 1;
        Some(if self.taken > SEGMENTS_MAX {
            Part::Rest
        } else if self.is_rpc {
            Part::Name(segment)
        } else {
            part(segment)
        })
    }
}

/// The template of a path, no template having been given.
pub fn fold(path: &str) -> Cow<'_, str> {
    let is_folded = |part: Part<'_>| matches!(part, Part::Id { .. } | Part::Rest);
    if parts(path).any(is_folded) {
        Cow::Owned(text(parts(path)))
    } else {
        Cow::Borrowed(without_query(path))
    }
}

/// Segments as one template.
#[expect(
    single_use_lifetimes,
    reason = "anonymous lifetimes in impl Trait are unstable"
)]
pub fn text<'p>(parts: impl Iterator<Item = Part<'p>>) -> String {
    let mut joined = String::new();
    push(parts, &mut joined);
    joined
}

/// Appends segments as one template.
#[expect(
    single_use_lifetimes,
    reason = "anonymous lifetimes in impl Trait are unstable"
)]
fn push<'p>(parts: impl Iterator<Item = Part<'p>>, text: &mut String) {
    for (position, part) in parts.enumerate() {
        if position > 0 {
            text.push('/');
        }
        part.push_onto(text);
    }
}

/// The path of a URL, or of a request's target, with its query; a URL without one has `/`.
pub fn path_of(url: &str) -> &str {
    let absolute = url.split_once("://").filter(|_| !url.starts_with('/'));
    let Some((_, rest)) = absolute else {
        return if url.is_empty() { "/" } else { url };
    };
    let path = rest.find(['/', '?', '#']).and_then(|at| rest.get(at..));
    path.filter(|path| path.starts_with('/')).unwrap_or("/")
}

fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

fn part(segment: &str) -> Part<'_> {
    if let Some(kind) = Kind::of(segment) {
        return Part::Id { kind, suffix: "" };
    }
    if let Some((stem, suffix)) = kind::split_suffix(segment)
        && let Some(kind) = Kind::of(stem)
    {
        return Part::Id { kind, suffix };
    }
    if segment.len() > WORD_BYTES_MAX {
        return Part::Id {
            kind: Kind::Token,
            suffix: "",
        };
    }
    Part::Word(segment)
}

/// `/package.Service/Method`, in the spelling that protobuf asks for.
fn is_rpc(path: &str) -> bool {
    let is_name = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let is_type = |text: &str| is_name(text) && text.starts_with(|c: char| c.is_ascii_uppercase());
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/'))
    else {
        return false;
    };
    let Some((package, service)) = service.rsplit_once('.') else {
        return false;
    };
    path.len() <= RPC_BYTES_MAX
        && package.split('.').all(is_name)
        && is_type(service)
        && is_type(method)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_become_their_kind_and_words_stay() {
        let table = [
            ("/", "/"),
            ("", ""),
            ("*", "*"),
            ("/users/4711/orders?x=1", "/users/{id}/orders"),
            ("/users/4711/", "/users/{id}/"),
            ("/a//7", "/a//{id}"),
            ("/u/3fa85f64-5717-4562-b3fc-2c963f66afa6", "/u/{uuid}"),
            ("/o/507f1f77bcf86cd799439011", "/o/{hash}"),
            (
                "/blob/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                "/blob/{hash}",
            ),
            ("/e/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/e/{ulid}"),
            ("/c/cus_9s6XKzkNRiz8i3", "/c/{token}"),
            ("/s/ckopqwooh000001la8fvi5h2z", "/s/{token}"),
            ("/r/dGhpcyBpcyBhIHRva2VuIQ8xZ3Q5", "/r/{token}"),
            ("/day/2026-11-21", "/day/{date}"),
            ("/at/2026-11-21T10:00:00Z", "/at/{date}"),
            ("/by/ada@example.com/x", "/by/{email}/x"),
            ("/by/ada%40example.com", "/by/{email}"),
            ("/files/4711.json", "/files/{id}.json"),
            ("/jobs/4711:cancel", "/jobs/{id}:cancel"),
            ("/v1/users", "/v1/users"),
            ("/api/v2.1/items", "/api/v2.1/items"),
            (
                "/blog/top-10-things-to-do-in-2024",
                "/blog/top-10-things-to-do-in-2024",
            ),
            (
                "/p/iphone15pro-max256gb-a2849-us",
                "/p/iphone15pro-max256gb-a2849-us",
            ),
            ("/deadbeef", "/deadbeef"),
            ("/decade2020", "/decade2020"),
            (
                "/thisIsAVeryLongCamelCaseNameOfSomething",
                "/thisIsAVeryLongCamelCaseNameOfSomething",
            ),
            ("/shop.v1.Cart/AddItem", "/shop.v1.Cart/AddItem"),
            (
                "/shop.v1.Cart/Get0123456789ABCDEF0123456789ABCDEF",
                "/shop.v1.Cart/Get0123456789ABCDEF0123456789ABCDEF",
            ),
        ];
        for (path, template) in table {
            assert_eq!(fold(path), template, "{path}");
        }
    }

    #[test]
    fn the_path_of_a_url_begins_behind_its_authority() {
        for (url, path) in [
            ("http://web.shop:80/items/7?x=/1", "/items/7?x=/1"),
            ("https://user@web", "/"),
            ("http://web?x", "/"),
            ("/items?u=http://a/b", "/items?u=http://a/b"),
            ("", "/"),
            ("*", "*"),
        ] {
            assert_eq!(path_of(url), path, "{url}");
        }
    }

    #[test]
    fn a_path_without_ids_is_borrowed() {
        assert!(matches!(fold("/users/me?x=1"), Cow::Borrowed("/users/me")));
    }

    #[test]
    fn deep_and_long_paths_are_cut() {
        let deep = "/a".repeat(100);
        let folded = fold(&deep);
        assert!(folded.ends_with("/a/{rest}"), "{folded}");
        assert_eq!(folded.split('/').count(), SEGMENTS_MAX + 1);
        let word = format!("/{}", "a".repeat(100));
        assert_eq!(fold(&word), "/{token}");
    }

    fn segment() -> impl Strategy<Value = String> {
        prop_oneof![
            "[0-9]{1,12}",
            "[0-9a-f]{8,40}",
            "[A-Za-z0-9_-]{1,70}",
            "[a-z]{1,8}(\\.[a-z]{1,4})?",
            "[0-9]{4}-[01][0-9]-[0-3][0-9]",
            "[a-z]{1,5}@[a-z]{1,5}\\.[a-z]{2}",
            "\\PC{0,12}",
        ]
    }

    proptest! {
        #[test]
        fn a_template_folds_to_itself_and_is_bounded(
            segments in proptest::collection::vec(segment(), 0..30),
        ) {
            let path = format!("/{}", segments.join("/"));
            let once = fold(&path).into_owned();
            prop_assert!(once.len() <= TEMPLATE_BYTES_MAX);
            let again = fold(&once);
            prop_assert_eq!(&once, &*again);
        }

        #[test]
        fn what_a_kind_folds_is_what_its_expression_means(text in segment()) {
            if let Some(kind) = Kind::of(&text) {
                let expression = regex::Regex::new(&format!("^(?:{})$", kind.pattern()))
                    .expect("an expression");
                prop_assert!(expression.is_match(&text), "{} {}", text, kind.pattern());
            }
        }
    }
}
