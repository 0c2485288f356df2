//! Objects in protobuf, as `kubectl create` sends those that it makes itself: only these kinds are read,
//! and of them only what it fills in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::place;
use crate::refusal::Refusal;

/// What stands in front of every object.
const MAGIC: &[u8] = b"k8s\0";

/// Fields of a message: number, name, what it is.
type Fields = &'static [(u64, &'static str, Is)];

#[derive(Clone, Copy)]
enum Is {
    Text,
    /// Written in base64.
    Bytes,
    Flag,
    Message(Fields),
    Texts,
    Messages(Fields),
    TextByText,
    BytesByText,
}

const METADATA: Fields = &[
    (1, "name", Is::Text),
    (2, "generateName", Is::Text),
    (3, "namespace", Is::Text),
    (11, "labels", Is::TextByText),
    (12, "annotations", Is::TextByText),
];
const RULE: Fields = &[
    (1, "verbs", Is::Texts),
    (2, "apiGroups", Is::Texts),
    (3, "resources", Is::Texts),
    (4, "resourceNames", Is::Texts),
    (5, "nonResourceURLs", Is::Texts),
];
const SUBJECT: Fields = &[
    (1, "kind", Is::Text),
    (2, "apiGroup", Is::Text),
    (3, "name", Is::Text),
    (4, "namespace", Is::Text),
];
const ROLE_REF: Fields = &[
    (1, "apiGroup", Is::Text),
    (2, "kind", Is::Text),
    (3, "name", Is::Text),
];
const ROLE: Fields = &[
    (1, "metadata", Is::Message(METADATA)),
    (2, "rules", Is::Messages(RULE)),
];
const BINDING: Fields = &[
    (1, "metadata", Is::Message(METADATA)),
    (2, "subjects", Is::Messages(SUBJECT)),
    (3, "roleRef", Is::Message(ROLE_REF)),
];
const ATTRIBUTES: Fields = &[
    (1, "namespace", Is::Text),
    (2, "verb", Is::Text),
    (3, "group", Is::Text),
    (4, "version", Is::Text),
    (5, "resource", Is::Text),
    (6, "subresource", Is::Text),
    (7, "name", Is::Text),
];

const KINDS: &[(&str, Fields)] = &[
    ("ClusterRole", ROLE),
    ("ClusterRoleBinding", BINDING),
    (
        "ConfigMap",
        &[
            (1, "metadata", Is::Message(METADATA)),
            (2, "data", Is::TextByText),
            (3, "binaryData", Is::BytesByText),
            (4, "immutable", Is::Flag),
        ],
    ),
    ("Namespace", &[(1, "metadata", Is::Message(METADATA))]),
    ("Role", ROLE),
    ("RoleBinding", BINDING),
    (
        "Secret",
        &[
            (1, "metadata", Is::Message(METADATA)),
            (2, "data", Is::BytesByText),
            (3, "type", Is::Text),
            (4, "stringData", Is::TextByText),
        ],
    ),
    (
        "SelfSubjectAccessReview",
        &[(
            2,
            "spec",
            Is::Message(&[(1, "resourceAttributes", Is::Message(ATTRIBUTES))]),
        )],
    ),
    ("ServiceAccount", &[(1, "metadata", Is::Message(METADATA))]),
];

const TYPE: Fields = &[(1, "apiVersion", Is::Text), (2, "kind", Is::Text)];
/// What says which kind it is; the object itself comes behind it.
const ENVELOPE: Fields = &[(1, "is", Is::Message(TYPE))];

/// Reads an object.
pub(crate) fn read(body: &[u8]) -> Result<Value, Refusal> {
    let refused = || Refusal::UnsupportedMediaType("application/json".to_owned());
    let envelope = body.strip_prefix(MAGIC).ok_or_else(refused)?;
    let about = message(envelope, ENVELOPE).ok_or_else(refused)?;
    let kind = place::text(&about, "/is/kind");
    let (_, fields) = KINDS
        .iter()
        .find(|(known, _)| *known == kind)
        .ok_or_else(refused)?;
    let inner = split(envelope).ok_or_else(refused)?;
    let raw = inner.into_iter().find_map(|(number, value)| match value {
        Wire::Bytes(bytes) if number == 2 => Some(bytes),
        _ => None,
    });
    let mut object = message(raw.unwrap_or_default(), fields).ok_or_else(refused)?;
    for member in ["apiVersion", "kind"] {
        place::set(
            &mut object,
            &[member],
            place::text(&about, &format!("/is/{member}")),
        );
    }
    Ok(object)
}

enum Wire<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

fn split(mut bytes: &[u8]) -> Option<Vec<(u64, Wire<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Wire::Number(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Wire::Bytes(value)
            }
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn message(bytes: &[u8], fields: Fields) -> Option<Value> {
    let mut members = Map::new();
    for (number, value) in split(bytes)? {
        let Some((_, name, is)) = fields.iter().find(|(known, ..)| *known == number) else {
            continue;
        };
        let member = members.entry(*name).or_insert(Value::Null);
        match (is, value) {
            (Is::Flag, Wire::Number(value)) => *member = json!(value != 0),
            (_, Wire::Bytes(value)) => take(member, *is, value)?,
            _ => return None,
        }
    }
    members.retain(|_, value| *value != "");
    Some(Value::Object(members))
}

fn take(member: &mut Value, is: Is, bytes: &[u8]) -> Option<()> {
    let text = |bytes: &[u8]| Some(Value::String(String::from_utf8(bytes.to_vec()).ok()?));
    match is {
        Is::Flag => return None,
        Is::Text => *member = text(bytes)?,
        Is::Bytes => *member = json!(STANDARD.encode(bytes)),
        Is::Message(fields) => *member = message(bytes, fields)?,
        Is::Texts => push(member, text(bytes)?),
        Is::Messages(fields) => push(member, message(bytes, fields)?),
        Is::TextByText | Is::BytesByText => {
            let value = if matches!(is, Is::TextByText) {
                Is::Text
            } else {
                Is::Bytes
            };
            let mut entry = Value::Null;
            let mut key = String::new();
            for (number, part) in split(bytes)? {
                match (number, part) {
                    (1, Wire::Bytes(part)) => key = String::from_utf8(part.to_vec()).ok()?,
                    (2, Wire::Bytes(part)) => take(&mut entry, value, part)?,
                    _ => return None,
                }
            }
            place::entry(member).insert(key, entry);
        }
    }
    Some(())
}

fn push(member: &mut Value, value: Value) {
    match member {
        Value::Array(values) => values.push(value),
        _ => *member = json!([value]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_sends_is_read() {
        let namespace = b"k8s\0\n\x0f\n\x02v1\x12\tNamespace\x12\x19\n\x11\n\x01x\x12\0\x1a\0\"\0*\x002\x008\0B\0\x12\0\x1a\x02\n\0\x1a\0\"\0";
        let expected =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "x" } });
        assert_eq!(read(namespace), Ok(expected));
        let map =
            b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x0f\n\x03\n\x01m\x12\x08\n\x01k\x12\x03v:w";
        let expected = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "m" }, "data": { "k": "v:w" } });
        assert_eq!(read(map), Ok(expected));
    }

    #[test]
    fn what_is_cut_off_or_of_another_kind_is_refused() {
        let namespace = b"k8s\0\n\x0f\n\x02v1\x12\tNamespace\x12\x05\n\x03\n\x01x";
        let whole = read(namespace);
        assert!(whole.is_ok());
        for length in 0..namespace.len() {
            assert_ne!(read(&namespace[..length]), whole, "{length}");
        }
        assert!(read(b"k8s\0\n\x09\n\x02v1\x12\x03Pod\x12\x00").is_err());
        assert!(read(b"{}").is_err());
    }
}
