//! Selectors of labels and fields.

use std::collections::BTreeMap;

use crate::refusal::Refusal;

/// What labels must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl LabelSelector {
    /// Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let refused = || {
            Refusal::BadRequest(format!(
                "unable to parse requirement: found '{text}', which is no selector of labels"
            ))
        };
        let terms = split_outside_of_sets(text);
        let terms = terms
            .iter()
            .map(|term| term.trim())
            .filter(|term| !term.is_empty());
        terms
            .map(|term| Requirement::parse(term).ok_or_else(refused))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => {
                labels.get(key).is_some_and(|value| values.contains(value))
            }
            Requirement::NotIn(key, values) => {
                labels.get(key).is_none_or(|value| !values.contains(value))
            }
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Absent(key) => !labels.contains_key(key),
        })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn split_outside_of_sets(text: &str) -> Vec<&str> {
    let mut is_in_set = false;
    text.split(move |c| {
        match c {
            '(' => is_in_set = true,
            ')' => is_in_set = false,
            _ => {}
        }
        c == ',' && !is_in_set
    })
    .collect()
}

impl Requirement {
    fn parse(term: &str) -> Option<Self> {
        let key = |text: &str| {
            let text = text.trim();
            let is_key = !text.is_empty() && !text.contains([' ', '(', ')', '=', '!', ',']);
            is_key.then(|| text.to_owned())
        };
        if let Some((name, values)) = term.split_once(" notin ") {
            return Some(Self::NotIn(key(name)?, set(values)?));
        }
        if let Some((name, values)) = term.split_once(" in ") {
            return Some(Self::In(key(name)?, set(values)?));
        }
        if let Some((name, value)) = term.split_once("!=") {
            return Some(Self::NotIn(key(name)?, vec![value.trim().to_owned()]));
        }
        if let Some((name, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            return Some(Self::In(key(name)?, vec![value.trim().to_owned()]));
        }
        match term.strip_prefix('!') {
            Some(name) => Some(Self::Absent(key(name)?)),
            None => Some(Self::Exists(key(term)?)),
        }
    }
}

fn set(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some(
        inner
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect(),
    )
}

/// Fields that can be asked for, with the plural of the kinds that have them.
pub(crate) const FIELDS: [(&str, &str); 23] = [
    ("*", "metadata.name"),
    ("*", "metadata.namespace"),
    ("pods", "spec.nodeName"),
    ("pods", "spec.restartPolicy"),
    ("pods", "spec.schedulerName"),
    ("pods", "spec.serviceAccountName"),
    ("pods", "spec.hostNetwork"),
    ("pods", "status.phase"),
    ("pods", "status.podIP"),
    ("pods", "status.nominatedNodeName"),
    ("namespaces", "status.phase"),
    ("nodes", "spec.unschedulable"),
    ("secrets", "type"),
    ("events", "involvedObject.kind"),
    ("events", "involvedObject.namespace"),
    ("events", "involvedObject.name"),
    ("events", "involvedObject.uid"),
    ("events", "involvedObject.apiVersion"),
    ("events", "involvedObject.resourceVersion"),
    ("events", "involvedObject.fieldPath"),
    ("events", "reason"),
    ("events", "reportingComponent"),
    ("events", "type"),
];

/// What fields must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldSelector(Vec<(&'static str, bool, String)>);

impl FieldSelector {
    /// Reads `a=b,c!=d` about objects of a kind.
    pub(crate) fn parse(text: &str, plural: &str) -> Result<Self, Refusal> {
        let terms = text.split(',').filter(|term| !term.is_empty());
        let read = |term: &str| {
            let (name, wants, value) = if let Some((name, value)) = term.split_once("!=") {
                (name, false, value)
            } else if let Some((name, value)) =
                term.split_once("==").or_else(|| term.split_once('='))
            {
                (name, true, value)
            } else {
                return Err(Refusal::BadRequest(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                )));
            };
            // Events of the newer group call them otherwise.
            let name = if plural == "events" {
                name.replace("regarding.", "involvedObject.")
            } else {
                name.to_owned()
            };
            let known = FIELDS
                .iter()
                .find(|(kinds, field)| *field == name && (*kinds == "*" || *kinds == plural));
            match known {
                Some((_, field)) => Ok((*field, wants, value.to_owned())),
                None => Err(Refusal::BadRequest(format!(
                    "field label not supported: {name}"
                ))),
            }
        };
        terms.map(read).collect::<Result<_, _>>().map(Self)
    }

    /// `value` gives the text of a field; one that is absent is empty.
    pub(crate) fn matches<'v>(&self, value: impl Fn(&str) -> &'v str) -> bool {
        self.0
            .iter()
            .all(|(field, wants, wanted)| (value(field) == wanted) == *wants)
    }

    /// The one name that is asked for, which is what permissions by name are about.
    pub(crate) fn name(&self) -> Option<&str> {
        let mut names = self
            .0
            .iter()
            .filter(|(field, wants, _)| *field == "metadata.name" && *wants);
        names.next().map(|(.., name)| name.as_str())
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn labels_are_selected_by_each_operator() {
        let cases = [
            ("app=web", "app=web", true),
            ("app==web", "app=web", true),
            ("app=web", "tier=web", false),
            ("app!=web", "tier=front", true),
            ("app!=web", "app=web", false),
            ("app in (web, api)", "app=api", true),
            ("app in (web,api),tier", "app=api", false),
            ("app notin (web,api)", "app=db", true),
            ("app notin (web,api)", "app=web", false),
            ("!app", "tier=front", true),
            ("!app", "app=web", false),
            ("", "app=web", true),
            ("kubernetes.io/x=", "kubernetes.io/x=", true),
        ];
        for (selector, of, expected) in cases {
            let parsed = LabelSelector::parse(selector).expect(selector);
            assert_eq!(parsed.matches(&labels(of)), expected, "{selector} of {of}");
        }
        assert!(LabelSelector::parse("app in web").is_err());
        assert!(LabelSelector::parse("a b").is_err());
    }

    #[test]
    fn fields_are_those_that_the_kind_has() {
        let selector = FieldSelector::parse("spec.nodeName=n1,status.phase!=Failed", "pods")
            .expect("known fields");
        let pod = |field: &str| {
            if field == "spec.nodeName" {
                "n1"
            } else {
                "Running"
            }
        };
        assert!(selector.matches(pod));
        assert!(!selector.matches(|_| ""));
        let refused = FieldSelector::parse("spec.nodeName=n1", "services");
        assert_eq!(
            refused,
            Err(Refusal::BadRequest(
                "field label not supported: spec.nodeName".to_owned()
            ))
        );
        let events = FieldSelector::parse("regarding.name=x", "events").expect("the newer name");
        assert!(events.matches(|field| if field == "involvedObject.name" {
            "x"
        } else {
            ""
        }));
    }
}
