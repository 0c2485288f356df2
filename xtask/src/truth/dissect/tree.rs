//! tshark's JSON, whose objects hold a key more than once and in an order that matters.

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A word; numbers and null are not of interest.
    Text(String),
    /// Fields, in order.
    Tree(Vec<(String, Self)>),
    /// A list.
    List(Vec<Self>),
}

impl Node {
    /// Its own fields.
    pub(super) fn fields(&self) -> &[(String, Self)] {
        match self {
            Self::Tree(fields) => fields,
            Self::Text(_) | Self::List(_) => &[],
        }
    }

    /// All fields of that name, at any depth, in order.
    pub(super) fn all<'n>(&'n self, name: &str) -> Vec<&'n Self> {
        let mut found = Vec::new();
        for (key, value) in self.fields() {
            if key == name {
                found.push(value);
            }
            found.extend(value.all(name));
        }
        found
    }

    /// The first field of that name.
    pub(super) fn first(&self, name: &str) -> Option<&Self> {
        self.all(name).into_iter().next()
    }

    /// The first field's words.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.first(name)? {
            Self::Text(text) => Some(text),
            Self::Tree(_) | Self::List(_) => None,
        }
    }

    /// The first field's number, decimal or `0x…`.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        let text = self.text(name)?;
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        }
    }

    /// Whether the first field is a flag that is set.
    pub(super) fn flag(&self, name: &str) -> bool {
        // Flags are words since tshark 4.2.
        matches!(self.text(name), Some("1" | "True"))
    }

    /// The bytes of each field of that name, as UTF-8, or else as Latin-1.
    pub(super) fn bytes_of_all(&self, name: &str) -> Vec<String> {
        let raw = self.all(&format!("{name}_raw"));
        raw.into_iter().filter_map(Self::as_bytes).collect()
    }

    /// The bytes of the first field of that name.
    pub(super) fn bytes(&self, name: &str) -> Option<String> {
        self.bytes_of_all(name).into_iter().next()
    }

    fn as_bytes(&self) -> Option<String> {
        let Self::List(items) = self else { return None };
        let Some(Self::Text(hex)) = items.first() else {
            return None;
        };
        let digits: Vec<u32> = hex.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
        let bytes = digits.chunks(2).map(|pair| match pair {
            [high, low] => u8::try_from(high << 4 | low).ok(),
            _ => None,
        });
        let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
        let latin = |bytes: &[u8]| bytes.iter().copied().map(char::from).collect();
        Some(String::from_utf8(bytes).unwrap_or_else(|error| latin(error.as_bytes())))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Nodes)
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Text(number.to_string()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        Ok(Node::Text(String::new()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Tree(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_come_twice() {
        let json = r#"{"a": {"n": "1", "n_raw": ["31", 0], "n": "0x1f", "n_raw": ["e9", 1]}}"#;
        let node: Node = serde_json::from_str(json).unwrap();
        assert_eq!(node.all("n").len(), 2);
        assert_eq!(node.number("n"), Some(1));
        assert!(node.flag("n"));
        assert_eq!(node.bytes_of_all("n"), ["1", "é"]);
        assert_eq!(node.text("m"), None);
    }
}
