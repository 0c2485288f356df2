//! Lists of one version, page by page.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Name, Store, Stored};
use crate::refusal::Refusal;
use crate::selector::{FieldSelector, LabelSelector};

/// Which objects are asked for.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    pub(crate) storage: Arc<str>,
    /// None for all of them.
    pub(crate) namespace: Option<String>,
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Scope {
    pub(crate) fn matches(&self, name: &Name, object: &Stored) -> bool {
        self.has_namespace(name)
            && self.labels.matches(&object.labels)
            && self.fields.matches(|field| object.field(name, field))
    }

    pub(crate) fn has_namespace(&self, name: &Name) -> bool {
        self.namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == name.namespace)
    }

    const fn selects(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<(Name, Arc<Stored>)>,
    /// Of which version the whole list is.
    pub(crate) revision: u64,
    /// With which the next one is asked for.
    pub(crate) resume: Option<String>,
    pub(crate) remaining: Option<usize>,
}

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// None: of what is there now, after an expiry.
    revision: Option<u64>,
    behind: Name,
}

impl Token {
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let refused = || Refusal::BadRequest(format!("continue key is not valid: {text}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_undecodable| refused())?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|_unreadable| refused())?;
        let word = |key: &str| token.get(key).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            revision: token.get("rv").and_then(Value::as_u64),
            behind: Name {
                namespace: word("namespace").ok_or_else(refused)?,
                name: word("name").ok_or_else(refused)?,
            },
        })
    }

    fn text(&self) -> String {
        let Name { namespace, name } = &self.behind;
        let token = json!({
            "v": "meta.k8s.io/v1",
            "rv": self.revision,
            "namespace": namespace,
            "name": name,
        });
        URL_SAFE_NO_PAD.encode(token.to_string())
    }
}

impl Store {
    /// The list as of a version, or of now.
    pub(crate) fn list(
        &self,
        scope: &Scope,
        at: Option<u64>,
        limit: Option<usize>,
    ) -> Result<Page, Refusal> {
        let at = at.unwrap_or(self.revision);
        if at < self.compacted {
            return Err(self.too_old(at));
        }
        Ok(self.page(scope, at, None, limit))
    }

    /// The next page.
    pub(crate) fn resume(
        &self,
        scope: &Scope,
        token: &Token,
        limit: Option<usize>,
    ) -> Result<Page, Refusal> {
        let at = token.revision.unwrap_or(self.revision);
        if at < self.compacted || at > self.revision {
            let resume = Token {
                revision: None,
                ..token.clone()
            };
            return Err(Refusal::Expired {
                message: "The provided continue parameter is too old to display a consistent list result. \
                          You can start a new list without the continue parameter, or use the continue token \
                          in this response to retrieve the remainder of the results."
                    .to_owned(),
                resume: Some(resume.text()),
            });
        }
        Ok(self.page(scope, at, Some(&token.behind), limit))
    }

    fn page(&self, scope: &Scope, at: u64, behind: Option<&Name>, limit: Option<usize>) -> Page {
        let limit = limit.unwrap_or(usize::MAX);
        let mut items: Vec<(Name, Arc<Stored>)> = Vec::new();
        let mut rest = 0;
        for (name, object) in self.as_of(scope, at, behind) {
            if !scope.matches(name, object) {
                continue;
            }
            if items.len() < limit {
                items.push((name.clone(), object.clone()));
            } else {
                rest += 1;
            }
        }
        let last = items.last().filter(|_| rest > 0);
        let resume = last.map(|(name, _)| Token {
            revision: Some(at),
            behind: name.clone(),
        });
        Page {
            resume: resume.map(|token| token.text()),
            remaining: (rest > 0 && !scope.selects()).then_some(rest),
            items,
            revision: at,
        }
    }

    /// Objects as they were at a version, in order: those of now, with later changes taken back.
    fn as_of<'s>(
        &'s self,
        scope: &Scope,
        at: u64,
        behind: Option<&Name>,
    ) -> impl Iterator<Item = (&'s Name, &'s Arc<Stored>)> {
        let later = usize::try_from(at - self.compacted).unwrap_or(usize::MAX);
        let mut former: BTreeMap<&Name, Option<&Arc<Stored>>> = BTreeMap::new();
        for change in self.log.iter().skip(later) {
            if change.storage == scope.storage {
                // The first change behind the version knows what was there.
                former.entry(&change.name).or_insert(change.before.as_ref());
            }
        }
        let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
        let now = self.objects.get(&scope.storage).into_iter();
        let now = now.flat_map(move |objects| objects.range::<Name, _>((from, Bound::Unbounded)));
        let mut found: Vec<(&Name, &Arc<Stored>)> = now
            .filter(|(name, _)| scope.has_namespace(name) && !former.contains_key(*name))
            .collect();
        let is_behind = |name: &Name| behind.is_none_or(|behind| name > behind);
        let former: Vec<_> = former
            .into_iter()
            .filter_map(|(name, object)| Some((name, object?)))
            .filter(|(name, _)| is_behind(name))
            .collect();
        if !former.is_empty() {
            found.extend(former);
            found.sort_unstable_by_key(|(name, _)| *name);
        }
        found.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_map(name: &str, value: u32) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": name, "namespace": "default" },
            "data": { "value": value.to_string() },
        })
    }

    fn scope() -> Scope {
        Scope {
            storage: "configmaps".into(),
            namespace: None,
            labels: LabelSelector::default(),
            fields: FieldSelector::default(),
        }
    }

    fn shown(page: &Page) -> Vec<String> {
        let items = page.items.iter();
        items
            .map(|(name, object)| {
                format!(
                    "{}={}",
                    name.name,
                    crate::place::text(&object.value(), "/data/value")
                )
            })
            .collect()
    }

    fn filled() -> Store {
        let mut store = Store::new();
        for name in ["a", "b", "c", "d", "e"] {
            store.put(&config_map(name, 1)).expect("an object");
        }
        store
    }

    fn next(store: &Store, page: &Page, limit: usize) -> Result<Page, Refusal> {
        let token = Token::parse(page.resume.as_deref().expect("there is more")).expect("our own");
        store.resume(&scope(), &token, Some(limit))
    }

    #[test]
    fn all_pages_of_a_list_are_of_one_version() {
        let mut store = filled();
        let first = store.list(&scope(), None, Some(2)).expect("a page");
        assert_eq!(shown(&first), ["a=1", "b=1"]);
        assert_eq!(first.remaining, Some(3));
        // What changes meanwhile is of a later version.
        store.put(&config_map("c", 2)).expect("an object");
        store.put(&config_map("c", 3)).expect("an object");
        store
            .remove("ConfigMap", "default", "d")
            .expect("it is there");
        store.put(&config_map("bb", 1)).expect("an object");
        store
            .remove("ConfigMap", "default", "a")
            .expect("it is there");
        let second = next(&store, &first, 2).expect("a page");
        assert_eq!(shown(&second), ["c=1", "d=1"]);
        assert_eq!(second.revision, first.revision);
        let third = next(&store, &second, 2).expect("a page");
        assert_eq!(shown(&third), ["e=1"]);
        assert!(third.resume.is_none() && third.remaining.is_none());
        let now = store.list(&scope(), None, None).expect("a list");
        assert_eq!(shown(&now), ["b=1", "bb=1", "c=3", "e=1"]);
    }

    #[test]
    fn a_page_of_a_forgotten_version_is_gone_and_says_how_to_go_on() {
        let mut store = filled();
        let first = store.list(&scope(), None, Some(2)).expect("a page");
        store
            .remove("ConfigMap", "default", "c")
            .expect("it is there");
        store.compact();
        let Err(refusal) = next(&store, &first, 2) else {
            panic!("a page of a version that nobody knows");
        };
        assert_eq!(refusal.code(), 410);
        let Refusal::Expired {
            resume: Some(token),
            ..
        } = refusal
        else {
            panic!("no token: {refusal:?}");
        };
        let token = Token::parse(&token).expect("our own");
        let rest = store
            .resume(&scope(), &token, None)
            .expect("of what is there now");
        assert_eq!(shown(&rest), ["d=1", "e=1"]);
        let refused = store.list(&scope(), Some(first.revision), None);
        assert!(matches!(refused, Err(Refusal::Expired { .. })));
    }
}
