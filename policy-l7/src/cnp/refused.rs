//! Fields that are not honoured: each is refused by name, with what to do instead, rather than a
//! policy half applied.

use crate::yaml::{Map, Reader};

/// A field, and what to do instead.
type Refused = (&'static str, &'static str);

/// Of an element of `ingress`, `egress` and their deny forms.
pub(super) const OF_ELEMENT: [Refused; 2] = [("fromGroups", GROUPS), ("toGroups", GROUPS)];

const GROUPS: &str = "groups of a cloud provider are not looked up; keep their addresses in a `CiliumCIDRGroup` and write `cidrGroupRef`";

/// Of an element of `toPorts`.
pub(super) const OF_PORTS: [Refused; 3] = [
    (
        "terminatingTLS",
        "TLS is not terminated, so requests inside it are not seen; judge the name of its server with `serverNames`",
    ),
    (
        "originatingTLS",
        "TLS is not originated; let the client speak TLS itself",
    ),
    (
        "listener",
        "connections are not handed to Envoy listeners; leave `listener` out, and have the redirection done by a service",
    ),
];

/// Of `rules`.
pub(super) const OF_RULES: [Refused; 3] = [
    (
        "kafka",
        "Kafka requests are not judged, and Cilium has removed the field; allow the port without `rules`, and use the broker's own access lists",
    ),
    ("l7proto", PARSERS),
    ("l7", PARSERS),
];

const PARSERS: &str = "there are no parsers for other protocols than `http` and `dns`, and Cilium has removed the field; allow the port without `rules`";

/// Says of each such field that is written why it is refused.
pub(super) fn refuse(reader: &mut Reader, map: &mut Map<'_>, fields: &[Refused]) {
    for (name, instead) in fields {
        if let Some(at) = map.get(name) {
            reader.fault(&at, *instead);
        }
    }
}

/// `fromRequires` and `toRequires`: nothing can stand in them any more.
pub(super) fn refuse_requires(reader: &mut Reader, map: &mut Map<'_>) {
    for name in ["fromRequires", "toRequires"] {
        let Some(at) = map.get(name) else { continue };
        if !reader.list(&at).is_empty() {
            let message = "removed from the schema; write what peers must have into `matchLabels` or `matchExpressions` of each of them";
            reader.fault(&at, message);
        }
    }
}

/// `authentication`: only its absence can be asked for.
pub(super) fn refuse_authentication(reader: &mut Reader, map: &mut Map<'_>, is_deny: bool) {
    const MODES: [(&str, bool); 3] = [
        ("disabled", true),
        ("required", false),
        ("test-always-fail", false),
    ];
    let Some(at) = map.get("authentication") else {
        return;
    };
    if is_deny {
        reader.fault(&at, "deny rules take no authentication");
    }
    let Some(mut inner) = reader.map(&at) else {
        return;
    };
    let mode = inner.need(reader, "mode");
    inner.end(reader);
    if let Some(at) = mode
        && reader.choice(&at, &MODES) == Some(false)
    {
        let message = "peers are not authenticated by SPIFFE; leave `authentication` out, and have TLS with client certificates between the two";
        reader.fault(&at, message);
    }
}
