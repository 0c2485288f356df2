//! Where the field of an object stands in its file: a path such as `spec.ingress[0].toPorts[1]` → line
//! and column.
//!
//! Rules know their paths, which they need anyway; where these stand is looked up only when somebody
//! is told.

use crate::error::Error;
use crate::yaml::{self, At, Node, Value};

/// A file whose fields can be found.
#[derive(Debug)]
pub struct Places {
    documents: Vec<Node>,
}

/// Where a field stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its first character.
    pub at: At,
    /// Characters that it takes in that line.
    pub width: usize,
}

impl Place {
    fn of(node: &Node) -> Self {
        Self {
            at: node.at,
            width: node.width,
        }
    }
}

impl Places {
    /// Reads a file.
    ///
    /// # Errors
    /// The first fault of syntax.
    pub fn read(file: &str, text: &str) -> Result<Self, Error> {
        let documents = yaml::parse(file, text)?;
        Ok(Self { documents })
    }

    /// Where a field of the object that begins at `object` stands; as much of the path as is written
    /// counts. A value stands for itself, a list or mapping for its key.
    pub fn find(&self, object: At, path: &str) -> Place {
        self.find_word(object, path, None).0
    }

    /// The same for a text below a field, with its whole path.
    pub fn find_word(&self, object: At, path: &str, word: Option<&str>) -> (Place, String) {
        let Some(node) = self.object(object) else {
            let place = Place {
                at: object,
                width: 1,
            };
            return (place, path.to_owned());
        };
        let (node, place) = follow(node, path);
        match word.and_then(|word| search(node, word, path.to_owned())) {
            Some(found) => found,
            None => (place, path.to_owned()),
        }
    }

    /// A field of an object; nothing if it is not written.
    pub(crate) fn field(&self, object: At, path: &str) -> Option<&Node> {
        let mut node = self.object(object)?;
        for name in path.split('.') {
            let Value::Map(entries) = &node.value else {
                return None;
            };
            let (_, value) = entries.iter().find(|(key, _)| key.text() == Some(name))?;
            node = value;
        }
        Some(node)
    }

    fn object(&self, object: At) -> Option<&Node> {
        self.documents.iter().find_map(|node| begun(node, object))
    }
}

/// The first key or value that is this text.
fn search(node: &Node, word: &str, path: String) -> Option<(Place, String)> {
    match &node.value {
        Value::Scalar { text, .. } => (text == word).then(|| (Place::of(node), path)),
        Value::List(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| search(item, word, format!("{path}[{index}]"))),
        Value::Map(entries) => entries.iter().find_map(|(key, value)| {
            let name = key.text().unwrap_or_default();
            let inner = format!("{path}.{name}");
            if name == word {
                return Some((Place::of(key), inner));
            }
            search(value, word, inner)
        }),
    }
}

/// The mapping that begins there: a document, or an item of one that is a list of objects.
fn begun(node: &Node, at: At) -> Option<&Node> {
    match &node.value {
        Value::Map(_) if node.at == at => Some(node),
        Value::Map(entries) => entries.iter().find_map(|(_, value)| begun(value, at)),
        Value::List(items) => items.iter().find_map(|item| begun(item, at)),
        Value::Scalar { .. } => None,
    }
}

fn follow<'n>(object: &'n Node, path: &str) -> (&'n Node, Place) {
    let (mut node, mut place, mut rest) = (object, Place::of(object), path);
    loop {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let next = match &node.value {
            Value::Map(entries) => entries
                .iter()
                .filter_map(|(key, value)| Some((key, value, behind(rest, key.text()?)?)))
                .min_by_key(|(_, _, rest)| rest.len())
                .map(|(key, value, rest)| {
                    let is_scalar = matches!(value.value, Value::Scalar { .. });
                    (value, if is_scalar { value } else { key }, rest)
                }),
            Value::List(items) => index(rest)
                .and_then(|(index, rest)| items.get(index).map(|item| (item, item, rest))),
            Value::Scalar { .. } => None,
        };
        let Some((inner, shown, behind)) = next else {
            return (node, place);
        };
        (node, place, rest) = (inner, Place::of(shown), behind);
    }
}

/// What follows a key in a path. Keys may have dots in them: the longest that fits is meant.
fn behind<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(key)?;
    (rest.is_empty() || rest.starts_with(['.', '['])).then_some(rest)
}

fn index(path: &str) -> Option<(usize, &str)> {
    let (number, rest) = path.strip_prefix('[')?.split_once(']')?;
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_where_it_is_written() {
        let text = "kind: List\nitems:\n- spec:\n    selector: { io.k8s: a, io.k8s.b: \"c\" }\n    list:\n    - x: 1\n    - y: 2\n";
        let places = Places::read("f", text).expect("yaml");
        let object = At { line: 3, column: 3 };
        let found = |path: &str| {
            let place = places.find(object, path);
            (place.at.line, place.at.column, place.width)
        };
        assert_eq!(found("spec.selector.io.k8s"), (4, 25, 1));
        assert_eq!(found("spec.selector.io.k8s.b"), (4, 38, 3));
        assert_eq!(found("spec.list[1].y"), (7, 10, 1));
        assert_eq!(found("spec.list"), (5, 5, 4));
        assert_eq!(
            found("spec.list[7].z"),
            (5, 5, 4),
            "as far as it is written"
        );
        assert_eq!(found("nothing"), (3, 3, 1));
        let (place, path) = places.find_word(object, "spec.list", Some("2"));
        assert_eq!((place.at.line, path.as_str()), (7, "spec.list[1].y"));
    }
}
