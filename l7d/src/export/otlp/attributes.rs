//! What attributes say of a record, by the names of OpenTelemetry's semantic conventions; what those
//! have no name for begins with `l7d.`.

use std::net::IpAddr;

use super::View;
use super::wire::Attributes;
use crate::flow::view::{NodeView, drop_reason_name, extension_fields, opaque_reason};
use crate::record::{Dns, DropReason, Event, Http, HttpKind, L4, Outcome, Party, Record};

/// Methods that have a meaning of their own (RFC 9110 §9, RFC 5789); there are no others to
/// OpenTelemetry.
const METHODS: [&[u8]; 9] = [
    b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT", b"TRACE",
];

/// Of whom an endpoint's telemetry is.
pub(super) fn of_resource(party: Option<&Party>, node: &NodeView, out: &mut Attributes<'_>) {
    let (cluster, name) = node.name.rsplit_once('/').unwrap_or(("", &node.name));
    let endpoint = party.and_then(|party| party.endpoint.as_deref());
    let Some(endpoint) = endpoint else {
        out.text("service.name", b"l7d");
        out.text("k8s.cluster.name", cluster.as_bytes());
        out.text("k8s.node.name", name.as_bytes());
        return;
    };
    let workload = endpoint.workload.as_ref();
    let service = workload.map_or(&endpoint.name, |workload| &workload.name);
    out.text("service.name", service.as_bytes());
    out.text("service.namespace", endpoint.namespace.as_bytes());
    of_pod(endpoint, out);
    out.text("k8s.cluster.name", cluster.as_bytes());
    out.text("k8s.node.name", name.as_bytes());
}

fn of_pod(endpoint: &crate::record::Endpoint, out: &mut Attributes<'_>) {
    out.text("k8s.namespace.name", endpoint.namespace.as_bytes());
    // A name without a namespace is of something outside.
    if !endpoint.namespace.is_empty() {
        out.text("k8s.pod.name", endpoint.name.as_bytes());
    }
    let Some(workload) = &endpoint.workload else {
        return;
    };
    let name = match workload.kind.as_str() {
        "CronJob" => "k8s.cronjob.name",
        "DaemonSet" => "k8s.daemonset.name",
        "Deployment" => "k8s.deployment.name",
        "Job" => "k8s.job.name",
        "ReplicaSet" => "k8s.replicaset.name",
        "StatefulSet" => "k8s.statefulset.name",
        _ => "k8s.workload.name",
    };
    out.text(name, workload.name.as_bytes());
}

/// Of a flow: its ends, and what it tells of.
pub(super) fn of_flow(record: &Record, view: &View, out: &mut Attributes<'_>) {
    out.text("log.record.uid", view.node.uuid(record).as_bytes());
    of_network(record, out);
    for (prefix, party) in [
        ("source.", &record.source),
        ("destination.", &record.destination),
    ] {
        let mut out = Attributes {
            wire: &mut *out.wire,
            field: out.field,
            prefix,
        };
        of_end(record, party, &mut out);
    }
    let names = |known: &Option<std::sync::Arc<crate::record::DnsNames>>| known.clone();
    for (name, known) in [
        ("l7d.source.names", names(&record.source_names)),
        ("l7d.destination.names", names(&record.destination_names)),
    ] {
        if let Some(known) = known {
            out.texts(name, known.0.iter().map(AsRef::as_ref));
        }
    }
    out.text("l7d.verdict", verdict(record).as_bytes());
    if let Some(reply) = record.reply {
        out.boolean("l7d.reply", reply);
    }
    if let Some(reason) = drop_reason(record) {
        out.text("l7d.drop.reason", drop_reason_name(reason).as_bytes());
    }
    let policies = record.policies.iter().map(|policy| policy.name.as_str());
    out.texts("l7d.policies", policies);
    match &record.event {
        Event::Http(http) => of_http(record, http, view, out),
        Event::Dns(dns) => of_dns(record, dns, out),
        Event::Trace(_)
        | Event::End(_)
        | Event::Drop { .. }
        | Event::PolicyVerdict { .. }
        | Event::Opaque(_) => {}
    }
    of_extensions(record, out);
}

/// What Hubble has no fields for either.
fn of_extensions(record: &Record, out: &mut Attributes<'_>) {
    let mut out = Attributes {
        wire: &mut *out.wire,
        field: out.field,
        prefix: "l7d.",
    };
    for (name, value) in extension_fields(record) {
        match value.parse() {
            // The number of a connection is one of hexadecimal digits.
            Ok(number) if name != "connection" => out.number(name, number),
            Ok(_) | Err(_) => out.text(name, value.as_bytes()),
        }
    }
}

fn of_network(record: &Record, out: &mut Attributes<'_>) {
    let transport = match record.l4 {
        L4::Tcp { .. } => "tcp",
        L4::Udp => "udp",
        L4::Sctp => "sctp",
        L4::Icmp4 { .. } => "icmp",
        L4::Icmp6 { .. } => "icmpv6",
        L4::Other(_) => "",
    };
    out.text("network.transport", transport.as_bytes());
    let family = match record.source.addr.ip() {
        IpAddr::V4(_) => "ipv4",
        IpAddr::V6(_) => "ipv6",
    };
    out.text("network.type", family.as_bytes());
    let direction = match record.direction {
        crate::record::Direction::Unknown => "",
        crate::record::Direction::Ingress => "receive",
        crate::record::Direction::Egress => "transmit",
    };
    out.text("network.io.direction", direction.as_bytes());
}

fn of_end(record: &Record, party: &Party, out: &mut Attributes<'_>) {
    out.text("address", party.addr.ip().to_string().as_bytes());
    if record.l4.has_ports() {
        out.number("port", party.addr.port().into());
    }
    if let Some(endpoint) = &party.endpoint {
        of_pod(endpoint, out);
    }
    if let Some(service) = &party.service {
        out.text("k8s.service.name", service.name.as_bytes());
    }
    out.number("l7d.identity", party.identity.0.into());
}

/// Of an HTTP message.
pub(super) fn of_http(record: &Record, http: &Http, view: &View, out: &mut Attributes<'_>) {
    let method = record.text(http.method);
    out.text("http.request.method", known_method(method));
    if known_method(method) != method {
        out.text("http.request.method_original", method);
    }
    let url = Url::of(record.text(http.url));
    out.text("url.scheme", url.scheme);
    out.text("url.path", url.path);
    out.text("url.query", url.query);
    out.text("http.route", route(record, http, view).as_bytes());
    out.text("server.address", url.host);
    out.number("server.port", server(record).addr.port().into());
    out.text(
        "client.address",
        client(record).addr.ip().to_string().as_bytes(),
    );
    out.text("network.protocol.name", b"http");
    let version: &[u8] = match http.version {
        10 => b"1.0",
        20 => b"2",
        _ => b"1.1",
    };
    out.text("network.protocol.version", version);
    out.text("user_agent.original", header(record, http, b"user-agent"));
    if http.code != 0 {
        out.number("http.response.status_code", http.code.into());
    }
    if http.kind != HttpKind::Request {
        out.number("l7d.latency_ns", http.latency_ns);
    }
    out.text("error.type", error(http).as_bytes());
    if let Some(grpc) = &http.grpc {
        out.text("rpc.system", b"grpc");
        let (service, method) = rpc(url.path);
        out.text("rpc.service", service);
        out.text("rpc.method", method);
        if let Some(status) = grpc.status {
            out.number("rpc.grpc.status_code", status.into());
        }
    }
}

fn of_dns(record: &Record, dns: &Dns, out: &mut Attributes<'_>) {
    out.text("network.protocol.name", b"dns");
    out.text("dns.question.name", record.text(dns.query));
    let addresses = String::from_utf8_lossy(record.text(dns.addresses));
    out.texts("dns.answers", addresses.lines());
    let types = String::from_utf8_lossy(record.text(dns.query_types));
    out.texts("l7d.dns.query_types", types.lines());
    if dns.is_response {
        out.number("l7d.dns.rcode", dns.rcode.into());
        out.number("l7d.latency_ns", dns.latency_ns);
    }
}

/// Hubble's word in lower case.
pub(super) fn verdict(record: &Record) -> &'static str {
    use crate::record::Verdict;
    match record.verdict {
        Verdict::Forwarded => "forwarded",
        Verdict::Dropped => "dropped",
        Verdict::Error => "error",
        Verdict::Audit => "audit",
        Verdict::Redirected => "redirected",
    }
}

fn drop_reason(record: &Record) -> Option<DropReason> {
    match &record.event {
        Event::Drop { reason, .. } => Some(*reason),
        Event::PolicyVerdict { reason, .. } => *reason,
        Event::Opaque(opaque) => opaque_reason(opaque),
        Event::Trace(_) | Event::End(_) | Event::Dns(_) | Event::Http(_) => None,
    }
}

fn known_method(method: &[u8]) -> &[u8] {
    if METHODS.contains(&method) {
        method
    } else {
        b"_OTHER"
    }
}

/// The path's template: what metrics and policies know it by.
pub(super) fn route(record: &Record, http: &Http, view: &View) -> String {
    let url = Url::of(record.text(http.url));
    let path = String::from_utf8_lossy(url.path);
    view.templates.load().fold(&path).into_owned()
}

/// A name for what went wrong, or nothing.
pub(super) fn error(http: &Http) -> String {
    match http.outcome {
        Outcome::Passed if http.code >= 500 => http.code.to_string(),
        Outcome::Passed => String::new(),
        outcome => outcome.as_str().to_owned(),
    }
}

/// `/shop.Cart/Add` → `shop.Cart`, `Add`.
pub(super) fn rpc(path: &[u8]) -> (&[u8], &[u8]) {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => {
            let (service, method) = path.split_at(slash);
            (service, method.get(1..).unwrap_or_default())
        }
        None => (b"", path),
    }
}

/// Who answers: a response's source.
fn server(record: &Record) -> &Party {
    if record.reply == Some(true) {
        &record.source
    } else {
        &record.destination
    }
}

fn client(record: &Record) -> &Party {
    if record.reply == Some(true) {
        &record.destination
    } else {
        &record.source
    }
}

fn header<'r>(record: &'r Record, http: &Http, name: &[u8]) -> &'r [u8] {
    let lines = record.text(http.headers).split(|byte| *byte == b'\n');
    let mut values = lines.filter_map(|line| {
        let (own, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        own.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
    });
    values.next().unwrap_or_default()
}

/// The parts of a URL as records have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Url<'u> {
    scheme: &'u [u8],
    host: &'u [u8],
    pub(super) path: &'u [u8],
    query: &'u [u8],
}

impl<'u> Url<'u> {
    pub(super) fn of(url: &'u [u8]) -> Self {
        let Some(colon) = url.windows(3).position(|found| found == b"://") else {
            // The target of CONNECT.
            return Self {
                host: without_port(url),
                ..Self::default()
            };
        };
        let (scheme, rest) = url.split_at(colon);
        let rest = rest.get(3..).unwrap_or_default();
        let is_end = |byte: &u8| matches!(byte, b'/' | b'?' | b'#');
        let (authority, rest) = rest.split_at(rest.iter().position(is_end).unwrap_or(rest.len()));
        let at = authority.iter().rposition(|byte| *byte == b'@');
        let host = authority
            .get(at.map_or(0, |at| at + 1)..)
            .unwrap_or_default();
        let (path, rest) = rest.split_at(
            rest.iter()
                .position(|byte| matches!(byte, b'?' | b'#'))
                .unwrap_or(rest.len()),
        );
        let query = rest.strip_prefix(b"?").unwrap_or_default();
        let end = query
            .iter()
            .position(|byte| *byte == b'#')
            .unwrap_or(query.len());
        Self {
            scheme,
            host: without_port(host),
            path,
            query: query.get(..end).unwrap_or_default(),
        }
    }
}

/// `[::1]:80` → `::1`, `shop:80` → `shop`.
fn without_port(authority: &[u8]) -> &[u8] {
    if let Some(rest) = authority.strip_prefix(b"[") {
        let end = rest.iter().position(|byte| *byte == b']');
        return rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
    }
    let colon = authority.iter().position(|byte| *byte == b':');
    authority
        .get(..colon.unwrap_or(authority.len()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> [String; 4] {
        let Url {
            scheme,
            host,
            path,
            query,
        } = Url::of(url.as_bytes());
        [scheme, host, path, query].map(|part| String::from_utf8_lossy(part).into_owned())
    }

    #[test]
    fn a_url_has_its_parts() {
        let expect = |url, parts_of: [&str; 4]| assert_eq!(parts(url), parts_of, "{url}");
        expect(
            "http://shop:8080/a/b?c=d#e",
            ["http", "shop", "/a/b", "c=d"],
        );
        expect(
            "https://HUBBLE_REDACTED@[::1]:443/",
            ["https", "::1", "/", ""],
        );
        expect("http://shop?c", ["http", "shop", "", "c"]);
        expect("http://shop/a#b?c", ["http", "shop", "/a", ""]);
        expect("shop:443", ["", "shop", "", ""]);
        expect("", ["", "", "", ""]);
    }

    #[test]
    fn an_rpc_is_a_service_and_a_method() {
        assert_eq!(
            rpc(b"/shop.Cart/Add"),
            (b"shop.Cart".as_slice(), b"Add".as_slice())
        );
        assert_eq!(rpc(b"Add"), (b"".as_slice(), b"Add".as_slice()));
    }
}
