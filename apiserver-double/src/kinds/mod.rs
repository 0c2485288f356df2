//! Kinds of objects: those that every server has, and those that `CustomResourceDefinition`s add.

mod built_in;

use std::sync::Arc;

use serde_json::Value;

pub(crate) use built_in::built_in;

/// A kind of objects, and how it is served.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    /// Empty for the core group.
    pub(crate) group: String,
    /// Served versions.
    pub(crate) versions: Vec<Version>,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) is_namespaced: bool,
    /// `status` is written by a path of its own.
    pub(crate) has_status: bool,
    /// Comes from a `CustomResourceDefinition`.
    pub(crate) is_custom: bool,
    /// Where its objects are kept: two groups share events.
    pub(crate) storage: Arc<str>,
}

/// A version of a kind.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) name: String,
    /// Of a definition: how its fields are merged, and what `kubectl get` shows.
    pub(crate) schema: Option<Arc<Value>>,
    pub(crate) columns: Vec<Column>,
}

/// A column that a definition adds to tables.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) form: String,
    pub(crate) priority: i64,
}

impl Resource {
    /// Plural and group, as messages name it.
    pub(crate) fn qualified(&self) -> String {
        qualify(&self.plural, &self.group)
    }

    /// Kind and group, as messages name it.
    pub(crate) fn qualified_kind(&self) -> String {
        qualify(&self.kind, &self.group)
    }

    pub(crate) fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// `apiVersion` of objects in a version.
    pub(crate) fn api_version(&self, version: &str) -> String {
        api_version(&self.group, version)
    }
}

fn qualify(name: &str, group: &str) -> String {
    if group.is_empty() {
        name.to_owned()
    } else {
        format!("{name}.{group}")
    }
}

pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

pub(crate) const EVENTS: &str = "events";
pub(crate) const NAMESPACES: &str = "namespaces";
pub(crate) const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// The kind that a `CustomResourceDefinition` defines; none where it lacks what it must have.
pub(crate) fn defined(definition: &Value) -> Option<Resource> {
    let text = |path: &str| {
        definition
            .pointer(path)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let texts = |path: &str| {
        let values = definition
            .pointer(path)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        values
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let group = text("/spec/group")?;
    let plural = text("/spec/names/plural")?;
    let kind = text("/spec/names/kind")?;
    let versions = definition.pointer("/spec/versions")?.as_array()?;
    let mut served: Vec<&Value> = versions
        .iter()
        .filter(|version| version.get("served").and_then(Value::as_bool) == Some(true))
        .collect();
    served.sort_by_key(|version| version.get("storage").and_then(Value::as_bool) != Some(true));
    let has_status = served
        .iter()
        .any(|version| version.pointer("/subresources/status").is_some());
    Some(Resource {
        versions: served
            .iter()
            .filter_map(|version| version_of(version))
            .collect(),
        singular: text("/spec/names/singular").unwrap_or_else(|| kind.to_lowercase()),
        list_kind: text("/spec/names/listKind").unwrap_or_else(|| format!("{kind}List")),
        short_names: texts("/spec/names/shortNames"),
        categories: texts("/spec/names/categories"),
        is_namespaced: text("/spec/scope")? == "Namespaced",
        has_status,
        is_custom: true,
        storage: qualify(&plural, &group).into(),
        group,
        plural,
        kind,
    })
}

fn version_of(version: &Value) -> Option<Version> {
    let columns = version
        .get("additionalPrinterColumns")
        .and_then(Value::as_array);
    let column = |column: &Value| {
        let text = |key: &str| column.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Column {
            name: text("name")?,
            path: text("jsonPath")?,
            form: text("type")?,
            priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
        })
    };
    Some(Version {
        name: version.get("name")?.as_str()?.to_owned(),
        schema: version
            .pointer("/schema/openAPIV3Schema")
            .cloned()
            .map(Arc::new),
        columns: columns.into_iter().flatten().filter_map(column).collect(),
    })
}
