//! Names in filters that nobody has been seen by: mostly they are misspelt.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pbjson_types::FieldMask;
use proto::flow::{Endpoint, FlowFilter};
use proto::observer::get_flows_response::ResponseTypes;
use proto::observer::{GetFlowsRequest, GetNamespacesRequest};

use crate::cli::server::Server;

/// Flows that are looked at for names of pods.
const FLOWS: u64 = 2000;
/// Longer is not waited for what is only a hint.
const PATIENCE: Duration = Duration::from_secs(2);

/// A name as filters have it: all pods of the namespace whose names begin so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Named {
    namespace: String,
    prefix: String,
}

/// What was seen: pods by namespaces.
type Seen = BTreeMap<String, BTreeSet<String>>;

/// Sentences about names in a request's filters that no flow of the server has.
pub(super) async fn hints(server: &Server, request: &GetFlowsRequest) -> Vec<String> {
    let named = named(&request.whitelist);
    if named.is_empty() {
        return Vec::new();
    }
    let seen = tokio::time::timeout(PATIENCE, seen(server)).await;
    // Who cannot be asked has said why already, or will.
    let seen = seen.ok().flatten().unwrap_or_default();
    named.iter().filter_map(|one| hint(one, &seen)).collect()
}

/// The names that filters ask for.
fn named(filters: &[FlowFilter]) -> BTreeSet<Named> {
    let texts = filters.iter().flat_map(|filter| {
        let pods = filter.source_pod.iter().chain(&filter.destination_pod);
        pods.filter_map(|text| {
            let (namespace, prefix) = text.split_once('/').unwrap_or(("default", text));
            (!namespace.is_empty()).then(|| Named {
                namespace: namespace.to_owned(),
                prefix: prefix.to_owned(),
            })
        })
    });
    texts.collect()
}

async fn seen(server: &Server) -> Option<Seen> {
    let mut observer = server.observer().await.ok()?;
    let answer = observer
        .get_namespaces(GetNamespacesRequest {})
        .await
        .ok()?;
    let namespaces = answer.into_inner().namespaces.into_iter();
    let mut seen: Seen = namespaces
        .map(|one| (one.namespace, BTreeSet::new()))
        .collect();
    let fields = ["namespace", "pod_name"];
    let paths = ["source", "destination"]
        .into_iter()
        .flat_map(|end| fields.map(|field| format!("{end}.{field}")));
    let request = GetFlowsRequest {
        number: FLOWS,
        field_mask: Some(FieldMask {
            paths: paths.collect(),
        }),
        ..GetFlowsRequest::default()
    };
    let mut stream = observer.get_flows(request).await.ok()?.into_inner();
    while let Some(response) = stream.message().await.ok()? {
        let Some(ResponseTypes::Flow(flow)) = response.response_types else {
            continue;
        };
        let ends = [flow.source, flow.destination];
        for Endpoint {
            namespace,
            pod_name,
            ..
        } in ends.into_iter().flatten()
        {
            if !pod_name.is_empty() {
                seen.entry(namespace).or_default().insert(pod_name);
            }
        }
    }
    Some(seen)
}

/// A sentence, where somebody may have meant something else.
fn hint(named: &Named, seen: &Seen) -> Option<String> {
    let Named { namespace, prefix } = named;
    let Some(pods) = seen.get(namespace) else {
        let meant = policy_l7::nearest(namespace, seen.keys().map(String::as_str));
        let meant = meant.map(|meant| format!(", did you mean {meant:?}?"));
        return (!seen.is_empty()).then(|| {
            let meant = meant.unwrap_or_default();
            format!("no flow of namespace {namespace:?} was seen{meant}")
        });
    };
    if prefix.is_empty() || pods.is_empty() || pods.iter().any(|pod| pod.starts_with(prefix)) {
        return None;
    }
    let meant = policy_l7::nearest(prefix, pods.iter().map(|pod| beginning(pod, prefix)));
    let elsewhere = seen.iter().find(|(other, pods)| {
        *other != namespace && pods.iter().any(|pod| pod.starts_with(prefix))
    });
    let meant = match (meant, elsewhere) {
        (Some(meant), _) => format!(", did you mean \"{namespace}/{meant}\"?"),
        (None, Some((other, _))) => format!(", did you mean \"{other}/{prefix}\"?"),
        (None, None) => String::new(),
    };
    Some(format!(
        "no flow of a pod \"{namespace}/{prefix}…\" was seen{meant}"
    ))
}

/// As much of a pod's name as may stand for what was asked for: generated names end in letters that
/// nobody types.
fn beginning<'p>(pod: &'p str, prefix: &str) -> &'p str {
    let words = prefix.split('-').count();
    let end = pod.match_indices('-').nth(words - 1).map(|(at, _)| at);
    end.and_then(|end| pod.get(..end)).unwrap_or(pod)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint_of(pod: &str) -> Option<String> {
        let pods = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let seen: Seen = [
            (
                "shop".to_owned(),
                pods(&["cart-7d5-abc", "user-service-6f-xyz"]),
            ),
            ("bank".to_owned(), pods(&["ledger-0"])),
            ("quiet".to_owned(), pods(&[])),
        ]
        .into();
        let filter = FlowFilter {
            source_pod: vec![pod.to_owned()],
            ..FlowFilter::default()
        };
        named(&[filter]).iter().find_map(|named| hint(named, &seen))
    }

    #[test]
    fn a_name_that_nobody_has_is_told_with_what_may_be_meant() {
        for (pod, expected) in [
            (
                "shpo/",
                "no flow of namespace \"shpo\" was seen, did you mean \"shop\"?",
            ),
            ("nowhere/", "no flow of namespace \"nowhere\" was seen"),
            (
                "shop/crat",
                "no flow of a pod \"shop/crat…\" was seen, did you mean \"shop/cart\"?",
            ),
            (
                "shop/user-servce",
                "no flow of a pod \"shop/user-servce…\" was seen, did you mean \"shop/user-service\"?",
            ),
            (
                "shop/ledger",
                "no flow of a pod \"shop/ledger…\" was seen, did you mean \"bank/ledger\"?",
            ),
            ("shop/banana", "no flow of a pod \"shop/banana…\" was seen"),
        ] {
            assert_eq!(hint_of(pod).as_deref(), Some(expected), "{pod}");
        }
    }

    #[test]
    fn a_name_that_somebody_has_is_not_told() {
        for pod in [
            "shop/",
            "shop/ca",
            "/anything",
            "quiet/new",
            "bank/ledger-0",
        ] {
            assert_eq!(hint_of(pod), None, "{pod}");
        }
    }
}
