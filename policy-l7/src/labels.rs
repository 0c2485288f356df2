//! Labels with their sources, as sorted sets.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// One label: `source:key=value`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// `k8s`, `reserved`, `cidr`, …; in selectors `any` stands for every source.
    pub source: String,
    /// Key.
    pub key: String,
    /// Value; empty for `reserved:host` and the like.
    pub value: String,
}

/// What is wrong with a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a label is source:key=value with a key that is not empty")]
pub struct LabelError;

impl FromStr for Label {
    type Err = LabelError;

    /// Without a source, the source is `k8s`.
    fn from_str(text: &str) -> Result<Self, LabelError> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let (source, key) = split_source(name).unwrap_or(("k8s", name));
        if key.is_empty() || source.is_empty() {
            return Err(LabelError);
        }
        Ok(Self {
            source: source.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.key)?;
        if self.value.is_empty() {
            Ok(())
        } else {
            write!(f, "={}", self.value)
        }
    }
}

/// Beginnings of keys that make an identity whatever [`IGNORED`] says.
const KEPT: [&str; 5] = [
    "app.kubernetes.io",
    "io.cilium.k8s.namespace.labels",
    "io.cilium.k8s.policy.cluster",
    "io.cilium.k8s.policy.serviceaccount",
    "io.kubernetes.pod.namespace",
];
/// Beginnings of keys that change too often, or say too little, to make an identity.
const IGNORED: [&str; 14] = [
    "annotation",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "controller-revision-hash",
    "controller-uid",
    "etcd_node",
    "io.kubernetes",
    "k8s.io",
    "kubernetes.io",
    "pod-template-generation",
    "pod-template-hash",
    "statefulset.kubernetes.io/pod-name",
    "topology.kubernetes.io",
];

/// Whether a pod's label is part of its identity, so that selectors can see it: the usual filter of
/// Cilium.
pub fn counts_for_identity(key: &str) -> bool {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
    let is_beta = key.contains("beta.kubernetes.io");
    begins(&KEPT) || !(begins(&IGNORED) || is_beta)
}

/// Splits `source:key`.
pub(crate) fn split_source(name: &str) -> Option<(&str, &str)> {
    name.split_once(':')
}

/// A set of labels; one value per source and key. Copies share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Labels(Arc<BTreeMap<(String, String), String>>);

impl Labels {
    /// Adds a label, replacing one of the same source and key.
    pub fn insert(&mut self, label: Label) {
        Arc::make_mut(&mut self.0).insert((label.source, label.key), label.value);
    }

    /// All labels, sorted.
    pub fn iter(&self) -> impl Iterator<Item = Label> {
        self.0.iter().map(|((source, key), value)| Label {
            source: source.clone(),
            key: key.clone(),
            value: value.clone(),
        })
    }

    /// The keys of all labels, whatever their sources.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|(_, key)| key.as_str())
    }

    /// The values of a key, from one source or from any.
    pub(crate) fn values<'l>(
        &'l self,
        source: &'l str,
        key: &'l str,
    ) -> impl Iterator<Item = &'l str> {
        self.0
            .iter()
            .filter(move |((have, name), _)| name == key && (source == "any" || have == source))
            .map(|(_, value)| value.as_str())
    }

    /// Whether it holds `source:key`, whatever the value.
    pub fn has(&self, source: &str, key: &str) -> bool {
        self.values(source, key).next().is_some()
    }
}

impl FromIterator<Label> for Labels {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        let labels = labels.into_iter();
        let labels = labels.map(|label| ((label.source, label.key), label.value));
        Self(Arc::new(labels.collect()))
    }
}
