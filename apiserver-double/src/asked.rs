//! What a request asks for: its path, its query, and the form of the answer.

use std::fmt;

use hyper::Method;

use crate::refusal::Refusal;

/// What is done to objects, as permissions name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Make one.
    Create,
    /// Delete one.
    Delete,
    /// Delete all that fit.
    DeleteCollection,
    /// Read one.
    Get,
    /// Read all that fit.
    List,
    /// Change one.
    Patch,
    /// Replace one.
    Update,
    /// Be told of changes.
    Watch,
}

impl Verb {
    /// As rules write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Objects of a kind, or one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Target {
    /// Reads `/api/v1/namespaces/x/pods/y/status` and its like; none where a path is of no object.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let steps: Vec<String> = path
            .split('/')
            .filter(|step| !step.is_empty())
            .map(decode)
            .collect();
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        let (group, version, rest) = match steps.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, plural, ..] if !["status", "finalize"].contains(plural) => {
                (Some((*namespace).to_owned()), rest.get(2..)?)
            }
            _ => (None, rest),
        };
        let (plural, name, subresource) = match rest {
            [plural] => (plural, None, None),
            [plural, name] => (plural, Some(name), None),
            [plural, name, subresource] => (plural, Some(name), Some(subresource)),
            _ => return None,
        };
        Some(Self {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: (*plural).to_owned(),
            namespace,
            name: name.map(|name| (*name).to_owned()),
            subresource: subresource.map(|name| (*name).to_owned()),
        })
    }

    /// What is done to it by a method.
    pub(crate) fn verb(&self, method: &Method, query: &Query) -> Result<Verb, Refusal> {
        match (method, &self.name) {
            (&Method::GET, None) if query.is_set("watch") => Ok(Verb::Watch),
            (&Method::GET, None) => Ok(Verb::List),
            (&Method::GET, Some(_)) => Ok(Verb::Get),
            (&Method::POST, None) => Ok(Verb::Create),
            (&Method::PUT, Some(_)) => Ok(Verb::Update),
            (&Method::PATCH, Some(_)) => Ok(Verb::Patch),
            (&Method::DELETE, Some(_)) => Ok(Verb::Delete),
            (&Method::DELETE, None) => Ok(Verb::DeleteCollection),
            _ => Err(Refusal::MethodNotAllowed),
        }
    }

    /// The resource as rules name it: with its subresource.
    pub(crate) fn resource(&self) -> String {
        match &self.subresource {
            Some(subresource) => format!("{}/{subresource}", self.plural),
            None => self.plural.clone(),
        }
    }
}

/// What stands behind the `?`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(
            pairs
                .map(|(key, value)| (decode(key), decode(&value.replace('+', " "))))
                .collect(),
        )
    }

    /// A value; one that is empty is none.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        let mut values = self
            .0
            .iter()
            .filter(|(name, value)| name == key && !value.is_empty());
        values.next().map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.0
            .iter()
            .any(|(name, value)| name == key && ["", "1", "true"].contains(&value.as_str()))
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, Refusal> {
        let number = |text: &str| {
            text.parse().map_err(|_no_number| {
                Refusal::BadRequest(format!("invalid {key}: \"{text}\" is no number"))
            })
        };
        self.text(key).map(number).transpose()
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let mut ahead = rest.clone();
        let escaped = match (
            byte,
            ahead.next().and_then(digit),
            ahead.next().and_then(digit),
        ) {
            (b'%', Some(high), Some(low)) => Some(high << 4 | low),
            _ => None,
        };
        if escaped.is_some() {
            rest = ahead;
        }
        bytes.push(escaped.unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Objects as they are.
    Whole,
    /// `metadata` alone.
    Metadata,
    /// What `kubectl get` shows.
    Table,
}

impl Form {
    /// The first form of a header `Accept` that can be given.
    pub(crate) fn parse(accept: Option<&str>) -> Result<Self, Refusal> {
        let accept = accept.filter(|accept| !accept.is_empty()).unwrap_or("*/*");
        accept
            .split(',')
            .find_map(Self::of)
            .ok_or(Refusal::NotAcceptable)
    }

    fn of(media_type: &str) -> Option<Self> {
        let mut parts = media_type.split(';').map(str::trim);
        let name = parts.next()?;
        if !["*/*", "application/*", "application/json"].contains(&name) {
            return None;
        }
        match parts.find_map(|part| part.strip_prefix("as=")) {
            None => Some(Self::Whole),
            Some("Table") => Some(Self::Table),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Some(Self::Metadata),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str) -> Option<String> {
        let Target {
            group,
            version,
            plural,
            namespace,
            name,
            subresource,
        } = Target::parse(path)?;
        let or = |word: Option<String>| word.unwrap_or_else(|| "-".to_owned());
        Some(format!(
            "{group} {version} {plural} {} {} {}",
            or(namespace),
            or(name),
            or(subresource)
        ))
    }

    #[test]
    fn paths_name_objects() {
        let cases = [
            ("/api/v1/pods", Some(" v1 pods - - -")),
            ("/api/v1/namespaces/a/pods/b", Some(" v1 pods a b -")),
            (
                "/api/v1/namespaces/a/pods/b/status",
                Some(" v1 pods a b status"),
            ),
            ("/api/v1/namespaces", Some(" v1 namespaces - - -")),
            ("/api/v1/namespaces/a", Some(" v1 namespaces - a -")),
            (
                "/api/v1/namespaces/a/status",
                Some(" v1 namespaces - a status"),
            ),
            (
                "/apis/cilium.io/v2/ciliumnetworkpolicies",
                Some("cilium.io v2 ciliumnetworkpolicies - - -"),
            ),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aread",
                Some("rbac.authorization.k8s.io v1 clusterroles - system:read -"),
            ),
            ("/apis/cilium.io/v2", None),
            ("/version", None),
        ];
        for (path, expected) in cases {
            assert_eq!(shown(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let query =
            Query::parse("labelSelector=app%3Dweb%2Ctier+in+%28a%29&watch=true&limit=500&x=%zz");
        assert_eq!(query.text("labelSelector"), Some("app=web,tier in (a)"));
        assert_eq!(query.number("limit"), Ok(Some(500)));
        assert_eq!(query.text("x"), Some("%zz"));
        assert!(query.is_set("watch") && !query.is_set("other"));
        assert!(query.number("x").is_err());
    }

    #[test]
    fn the_first_form_that_there_is_is_given() {
        let cases = [
            (None, Ok(Form::Whole)),
            (
                Some("application/vnd.kubernetes.protobuf, */*"),
                Ok(Form::Whole),
            ),
            (
                Some("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"),
                Ok(Form::Table),
            ),
            (
                Some("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
                Ok(Form::Metadata),
            ),
            (
                Some("application/vnd.kubernetes.protobuf"),
                Err(Refusal::NotAcceptable),
            ),
        ];
        for (accept, expected) in cases {
            assert_eq!(Form::parse(accept), expected, "{accept:?}");
        }
    }
}
