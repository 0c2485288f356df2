//! JSON → the nodes that the reader of files makes of YAML: so that an object means the same whether it
//! comes from a file or from an API server, which sends some thousand of them in a second.

use std::fmt;

use policy_l7::yaml::Node;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::SKIPPED;

/// Reads an object, but for the lists and mappings that nobody needs.
///
/// # Errors
/// What is wrong with the JSON.
pub(super) fn parse(text: &str) -> Result<Node, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let node = Wanted::All.deserialize(&mut json)?;
    json.end()?;
    node.ok_or_else(|| Error::custom("nothing"))
}

/// What is kept of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    /// The value if it is a single one.
    Single,
}

impl<'de> DeserializeSeed<'de> for Wanted {
    type Value = Option<Node>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

fn plain(value: &impl ToString) -> Node {
    Node::scalar(value.to_string(), true)
}

impl<'de> Visitor<'de> for Wanted {
    type Value = Option<Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(plain(&value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(plain(&value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(plain(&value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(plain(&value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(Node::scalar(value.to_owned(), false)))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Some(plain(&"null")))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        if self == Self::Single {
            return IgnoredAny.visit_seq(from).map(|IgnoredAny| None);
        }
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(self)? {
            items.extend(item);
        }
        Ok(Some(Node::list(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        if self == Self::Single {
            return IgnoredAny.visit_map(from).map(|IgnoredAny| None);
        }
        let mut entries = Vec::new();
        while let Some(key) = from.next_key::<String>()? {
            let is_skipped = SKIPPED.contains(&key.as_str());
            let wanted = if is_skipped { Self::Single } else { Self::All };
            let value = from.next_value_seed(wanted)?;
            entries.extend(value.map(|value| (key, value)));
        }
        Ok(Some(Node::map(entries)))
    }
}
