//! Who may do what: rules of RBAC, as the cluster's own roles and bindings say.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

use crate::place;
use crate::refusal::Refusal;
use crate::server::User;
use crate::store::Store;

/// Members of this group may do everything.
pub(crate) const MASTERS: &str = "system:masters";

/// Something that a rule allows or a request needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// As rules write it.
    pub verb: String,
    /// Empty for the core group.
    pub group: String,
    /// Plural, and the subresource behind a slash.
    pub resource: String,
    /// Empty for all namespaces, and for kinds that have none.
    pub namespace: String,
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verb,
            group,
            resource,
            namespace,
        } = self;
        write!(f, "{verb} {resource}")?;
        if !group.is_empty() {
            write!(f, ".{group}")?;
        }
        if !namespace.is_empty() {
            write!(f, " in {namespace}")?;
        }
        Ok(())
    }
}

/// A rule that holds for a user, and where it does.
struct Granted {
    rule: Value,
    namespace: String,
}

/// Rules of all roles that are bound to a user.
fn granted(store: &Store, user: &User) -> Vec<Granted> {
    let mut rules = Vec::new();
    for (kind, binding) in ["clusterrolebindings", "rolebindings"]
        .iter()
        .flat_map(|kind| {
            let storage = format!("{kind}.rbac.authorization.k8s.io");
            let bindings: Vec<_> = store
                .all(&storage)
                .map(|(name, object)| (name.namespace.clone(), object.value()))
                .collect();
            bindings
        })
    {
        let is_bound = place::items(&binding, "/subjects")
            .iter()
            .any(|subject| is_subject(user, subject));
        if is_bound {
            let role = role(store, &kind, &binding);
            let role = role.iter().flat_map(|role| place::items(role, "/rules"));
            rules.extend(role.map(|rule| Granted {
                rule: rule.clone(),
                namespace: kind.clone(),
            }));
        }
    }
    rules
}

fn role(store: &Store, namespace: &str, binding: &Value) -> Option<Value> {
    let is_cluster = place::text(binding, "/roleRef/kind") == "ClusterRole";
    let kind = if is_cluster { "clusterroles" } else { "roles" };
    let name = crate::store::Name {
        namespace: if is_cluster {
            String::new()
        } else {
            namespace.to_owned()
        },
        name: place::text(binding, "/roleRef/name").to_owned(),
    };
    let role = store.find(&format!("{kind}.rbac.authorization.k8s.io"), &name)?;
    Some(role.value())
}

fn is_subject(user: &User, subject: &Value) -> bool {
    let name = place::text(subject, "/name");
    match place::text(subject, "/kind") {
        "User" => name == user.name,
        "Group" => user.all_groups().any(|group| group == name),
        "ServiceAccount" => {
            let namespace = place::text(subject, "/namespace");
            user.name == format!("system:serviceaccount:{namespace}:{name}")
        }
        _ => false,
    }
}

fn allows(granted: &Granted, permission: &Permission, name: Option<&str>) -> bool {
    let has = |list: &str, wanted: &str| {
        let mut items = place::items(&granted.rule, list)
            .iter()
            .filter_map(Value::as_str);
        items.any(|item| item == "*" || item == wanted)
    };
    let names = place::items(&granted.rule, "/resourceNames");
    let has_name =
        names.is_empty() || name.is_some_and(|name| names.iter().any(|item| item == name));
    let of_any = permission
        .resource
        .split_once('/')
        .map(|(_, subresource)| format!("*/{subresource}"));
    (granted.namespace.is_empty() || granted.namespace == permission.namespace)
        && has("/verbs", &permission.verb)
        && has("/apiGroups", &permission.group)
        && (has("/resources", &permission.resource)
            || of_any.is_some_and(|of_any| has("/resources", &of_any)))
        && has_name
}

/// Whether a user may.
pub(crate) fn is_allowed(
    store: &Store,
    user: &User,
    permission: &Permission,
    name: Option<&str>,
) -> bool {
    user.all_groups().any(|group| group == MASTERS)
        || granted(store, user)
            .iter()
            .any(|granted| allows(granted, permission, name))
}

/// Refuses what a user may not.
pub(crate) fn check(
    store: &Store,
    user: &User,
    permission: &Permission,
    name: Option<&str>,
) -> Result<(), Refusal> {
    if is_allowed(store, user, permission, name) {
        return Ok(());
    }
    let Permission {
        verb,
        group,
        resource,
        namespace,
    } = permission;
    let object = match (group.as_str(), name) {
        ("", None) => resource.clone(),
        ("", Some(name)) => format!("{resource} \"{name}\""),
        (_, None) => format!("{resource}.{group}"),
        (_, Some(name)) => format!("{resource}.{group} \"{name}\""),
    };
    let place = if namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{namespace}\"")
    };
    Err(Refusal::Forbidden(format!(
        "{object} is forbidden: User \"{}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" {place}",
        user.name
    )))
}

/// Everything that a user's rules name, one by one; rules for single objects are told as for all.
pub(crate) fn all_of(store: &Store, user: &User) -> BTreeSet<Permission> {
    let mut permissions = BTreeSet::new();
    for Granted { rule, namespace } in granted(store, user) {
        let words = |list: &str| {
            let items = place::items(&rule, list).iter().filter_map(Value::as_str);
            items.map(str::to_owned).collect::<Vec<_>>()
        };
        for verb in words("/verbs") {
            for group in words("/apiGroups") {
                for resource in words("/resources") {
                    permissions.insert(Permission {
                        verb: verb.clone(),
                        group: group.clone(),
                        resource,
                        namespace: namespace.clone(),
                    });
                }
            }
        }
    }
    permissions
}

/// Answers a `SelfSubjectAccessReview`.
pub(crate) fn review(store: &Store, user: &User, mut review: Value) -> Value {
    let text = |member: &str| {
        place::text(&review, &format!("/spec/resourceAttributes/{member}")).to_owned()
    };
    let resource = match text("subresource").as_str() {
        "" => text("resource"),
        subresource => format!("{}/{subresource}", text("resource")),
    };
    let permission = Permission {
        verb: text("verb"),
        group: text("group"),
        resource,
        namespace: text("namespace"),
    };
    let name = text("name");
    let name = Some(name.as_str()).filter(|name| !name.is_empty());
    let is_allowed = is_allowed(store, user, &permission, name);
    place::set(&mut review, &["status"], json!({ "allowed": is_allowed }));
    review
}
