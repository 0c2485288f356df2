//! Which requests are made for a kind of objects.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use crate::host::cluster::Kind;

/// Pods that have ended have no addresses any more.
const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";
/// Slices of services that select pods repeat what the pods say; the API server writes its own one.
const NOT_OF_PODS: &str = "endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io";

/// Objects that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Path of the list.
    pub(crate) path: Cow<'static, str>,
    pub(crate) labels: Cow<'static, str>,
    pub(crate) fields: &'static str,
}

/// Cilium's resources, which may be absent: their plurals.
pub(crate) const fn plural_of_cilium(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::CiliumNetworkPolicy => Some("ciliumnetworkpolicies"),
        Kind::CiliumClusterwideNetworkPolicy => Some("ciliumclusterwidenetworkpolicies"),
        Kind::CiliumCidrGroup => Some("ciliumcidrgroups"),
        Kind::Pod
        | Kind::Namespace
        | Kind::Node
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::NetworkPolicy => None,
    }
}

impl Resource {
    /// All objects of a kind that are wanted; Cilium's by a version of theirs.
    pub(crate) fn of(kind: Kind, version: &str) -> Self {
        let path = match kind {
            Kind::Pod => "/api/v1/pods",
            Kind::Namespace => "/api/v1/namespaces",
            Kind::Node => "/api/v1/nodes",
            Kind::Service => "/api/v1/services",
            Kind::EndpointSlice => "/apis/discovery.k8s.io/v1/endpointslices",
            Kind::NetworkPolicy => "/apis/networking.k8s.io/v1/networkpolicies",
            Kind::CiliumNetworkPolicy
            | Kind::CiliumClusterwideNetworkPolicy
            | Kind::CiliumCidrGroup => "",
        };
        let path = plural_of_cilium(kind).map_or(Cow::Borrowed(path), |plural| {
            Cow::Owned(format!("/apis/cilium.io/{version}/{plural}"))
        });
        Self {
            path,
            labels: if kind == Kind::EndpointSlice {
                NOT_OF_PODS.into()
            } else {
                "".into()
            },
            fields: if kind == Kind::Pod { NOT_ENDED } else { "" },
        }
    }

    /// Pods of a namespace with certain labels.
    pub(crate) fn pods_in(namespace: &str, labels: String) -> Self {
        Self {
            path: format!("/api/v1/namespaces/{}/pods", escaped(namespace)).into(),
            labels: labels.into(),
            fields: NOT_ENDED,
        }
    }

    /// A page of the list. Nothing is said of versions: it is of now, by the word of the whole of etcd. A
    /// list of version 0 would be cheaper for the server, but may be older than what was seen before, and
    /// servers before 1.31 send it as a whole, whatever the limit.
    pub(crate) fn page(&self, limit: usize, resume: &str) -> String {
        let mut query = self.selected();
        let _infallible = write!(query, "limit={limit}");
        if !resume.is_empty() {
            let _infallible = write!(query, "&continue={}", escaped(resume));
        }
        query
    }

    /// The shortest request that tells at which version the server is.
    pub(crate) fn probe(&self) -> String {
        format!("{}?limit=1", self.path)
    }

    /// What changes behind a version.
    pub(crate) fn watch(&self, version: &str, lasts: Duration) -> String {
        let mut query = self.selected();
        let _infallible = write!(
            query,
            "watch=true&allowWatchBookmarks=true&resourceVersion={}&timeoutSeconds={}",
            escaped(version),
            lasts.as_secs().max(1)
        );
        query
    }

    fn selected(&self) -> String {
        let mut query = format!("{}?", self.path);
        for (name, selector) in [
            ("labelSelector", &*self.labels),
            ("fieldSelector", self.fields),
        ] {
            if !selector.is_empty() {
                let _infallible = write!(query, "{name}={}&", escaped(selector));
            }
        }
        query
    }
}

/// Text as part of a URL (RFC 3986 §2.3).
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_what_is_wanted() {
        let pods = Resource::of(Kind::Pod, "");
        assert_eq!(
            pods.page(500, "a=b"),
            "/api/v1/pods?fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed&limit=500&continue=a%3Db"
        );
        let groups = Resource::of(Kind::CiliumCidrGroup, "v2alpha1");
        assert_eq!(
            groups.watch("7", Duration::from_mins(5)),
            "/apis/cilium.io/v2alpha1/ciliumcidrgroups?watch=true&allowWatchBookmarks=true&resourceVersion=7&timeoutSeconds=300"
        );
        let agents = Resource::pods_in("l7d", "a=b,c".to_owned());
        let page = agents.page(1, "");
        assert!(page.starts_with("/api/v1/namespaces/l7d/pods?labelSelector=a%3Db%2Cc&"));
    }
}
