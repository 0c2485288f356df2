//! What a flow has beside the fields of Hubble, with the JSON form of the protobuf specification:
//! `{"@type": …, "value": {…}}`.

use std::collections::BTreeMap;

use pbjson_types::{Struct, Value, value::Kind};
use prost::Message as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const STRUCT: &str = "type.googleapis.com/google.protobuf.Struct";

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Any {
    /// What the value is.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

impl Any {
    /// A `google.protobuf.Struct` of texts, in the order given.
    pub fn of_texts<'n>(fields: impl IntoIterator<Item = (&'n str, String)>) -> Self {
        let mut value = Vec::new();
        for (name, text) in fields {
            let kind = Some(Kind::StringValue(text));
            let fields = [(name.to_owned(), Value { kind })].into();
            // Messages one behind the other are one message: so the order is kept.
            value.extend(Struct { fields }.encode_to_vec());
        }
        Self {
            type_url: STRUCT.to_owned(),
            value,
        }
    }

    /// The text of that name, where the value is a Struct that has one.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.fields()?.fields.remove(name)?.kind? {
            Kind::StringValue(text) => Some(text),
            _ => None,
        }
    }

    /// All texts by their names, where the value is a Struct.
    pub fn texts(&self) -> BTreeMap<String, String> {
        let fields = self
            .fields()
            .map(|fields| fields.fields)
            .unwrap_or_default();
        let texts = fields
            .into_iter()
            .filter_map(|(name, value)| match value.kind? {
                Kind::StringValue(text) => Some((name, text)),
                _ => None,
            });
        texts.collect()
    }

    fn fields(&self) -> Option<Struct> {
        let fields = (self.type_url == STRUCT).then(|| Struct::decode(self.value.as_slice()));
        fields?.ok()
    }
}

impl Serialize for Any {
    /// The fields of a Struct are sorted. Values of other types, which are not known here, are
    /// written as the base64 of their bytes.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(fields) = self.fields() else {
            let value = self.value.clone().into();
            let type_url = self.type_url.clone();
            return pbjson_types::Any { type_url, value }.serialize(serializer);
        };
        let fields: BTreeMap<&String, &Value> = fields.fields.iter().collect();
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("@type", &self.type_url)?;
        map.serialize_entry("value", &fields)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Any {
    /// Of a message whose type is not known here, the type is kept.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut json = serde_json::Value::deserialize(deserializer)?;
        let Some(type_url) = json.get("@type") else {
            let any: pbjson_types::Any = serde_json::from_value(json).map_err(de::Error::custom)?;
            return Ok(Self {
                type_url: any.type_url,
                value: any.value.into(),
            });
        };
        let type_url = type_url.as_str().unwrap_or_default().to_owned();
        let mut value = Vec::new();
        if type_url == STRUCT
            && let Some(fields) = json.get_mut("value")
        {
            let fields: Struct =
                serde_json::from_value(fields.take()).map_err(de::Error::custom)?;
            value = fields.encode_to_vec();
        }
        Ok(Self { type_url, value })
    }
}
