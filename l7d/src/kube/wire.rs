//! What an API server sends, as far as it is looked at before anybody asks what an object means.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// `metadata` of an object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Metadata<'j> {
    #[serde(borrow)]
    pub(crate) name: Cow<'j, str>,
    #[serde(borrow)]
    pub(crate) namespace: Cow<'j, str>,
    #[serde(borrow)]
    pub(crate) resource_version: Cow<'j, str>,
}

/// An object, but for what it says.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Named<'j> {
    #[serde(borrow, default)]
    pub(crate) metadata: Metadata<'j>,
}

impl Named<'_> {
    /// As messages call it.
    pub(crate) fn path(&self) -> String {
        let Metadata {
            name, namespace, ..
        } = &self.metadata;
        if namespace.is_empty() {
            name.clone().into_owned()
        } else {
            format!("{namespace}/{name}")
        }
    }
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Page<'j> {
    #[serde(borrow, default)]
    pub(crate) metadata: ListMetadata<'j>,
    #[serde(borrow, default)]
    pub(crate) items: Option<Vec<&'j RawValue>>,
}

/// `metadata` of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ListMetadata<'j> {
    #[serde(borrow)]
    pub(crate) resource_version: Cow<'j, str>,
    /// With which the next page is asked for; empty at the end.
    #[serde(borrow)]
    pub(crate) r#continue: Cow<'j, str>,
}

/// A line of a watch.
#[derive(Debug, Deserialize)]
pub(crate) struct Event<'j> {
    #[serde(borrow)]
    pub(crate) r#type: Cow<'j, str>,
    #[serde(borrow)]
    pub(crate) object: &'j RawValue,
}

/// Why something was refused.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Status {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) details: Option<Details>,
}

/// What a `Status` says beyond words.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Details {
    pub(crate) retry_after_seconds: Option<u64>,
    pub(crate) causes: Vec<Cause>,
}

/// One of the causes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Cause {
    pub(crate) reason: String,
}

/// Resources of a group's version.
#[derive(Debug, Deserialize)]
pub(crate) struct Resources<'j> {
    #[serde(borrow, default)]
    pub(crate) resources: Vec<ResourceName<'j>>,
}

/// One of them: plural, a subresource behind a slash.
#[derive(Debug, Deserialize)]
pub(crate) struct ResourceName<'j> {
    #[serde(borrow)]
    pub(crate) name: Cow<'j, str>,
}
