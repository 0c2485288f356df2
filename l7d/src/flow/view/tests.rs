use std::sync::Arc;

use super::*;
use crate::record::{
    Dns, DropReason, Encapsulation, Endpoint, EndpointId, IdentityNumber, PolicyKind, Text, Tunnel,
    TunnelKind,
};

fn node() -> NodeView {
    NodeView {
        name: "n1".to_owned(),
        version: "0.1.0".to_owned(),
        seed: 1,
    }
}

fn pod(name: &str, port: u16) -> Party {
    let endpoint = Endpoint {
        id: EndpointId(17),
        identity: IdentityNumber(300),
        cluster: String::new(),
        namespace: "prod-app".to_owned(),
        name: name.to_owned(),
        labels: vec![format!("k8s:app={name}")],
        workload: None,
    };
    Party {
        addr: ([10, 0, 0, 1], port).into(),
        identity: endpoint.identity,
        endpoint: Some(Arc::new(endpoint)),
        service: None,
    }
}

fn json(record: &Record) -> serde_json::Value {
    serde_json::to_value(node().flow(record)).expect("json")
}

#[test]
fn a_denied_request_names_its_policy_and_what_differed() {
    let mut text = Text::default();
    let http = Http {
        kind: HttpKind::Request,
        version: 11,
        code: 0,
        method: text.push(b"POST"),
        url: text.push(b"http://user-service/post"),
        headers: text.push(b"user-agent: curl\r\nAccept: */*\r\n"),
        latency_ns: 0,
        outcome: Outcome::PolicyDenied,
        detail: text.push(b"method POST is not GET"),
        grpc: None,
    };
    let mut record = Record::new(
        Timestamp(1_000_000_001),
        pod("api", 4000),
        pod("user", 80),
        Event::Http(http),
    );
    record.text = text;
    record.verdict = Verdict::Dropped;
    record.direction = Direction::Ingress;
    record.reply = Some(false);
    record.policies = Arc::from([PolicyRef {
        kind: PolicyKind::CiliumNetworkPolicy,
        namespace: "prod-app".to_owned(),
        name: "api-access-policy".to_owned(),
        labels: Vec::new(),
        log: Some("audited by sec".to_owned()),
        revision: 3,
        rule: "spec.ingress[0]".to_owned(),
    }]);
    let flow = json(&record);
    assert_eq!(flow["time"], "1970-01-01T00:00:01.000000001Z");
    assert_eq!(flow["Type"], "L7");
    assert_eq!(flow["policy_log"][0], "audited by sec");
    assert_eq!(flow["verdict"], "DROPPED");
    assert_eq!(flow["is_reply"], false);
    assert_eq!(flow["event_type"]["type"], 129);
    assert_eq!(flow["l7"]["http"]["headers"][0]["key"], "Accept");
    assert_eq!(flow["l7"]["http"]["headers"][1]["key"], "User-Agent");
    assert_eq!(flow["ingress_denied_by"][0]["name"], "api-access-policy");
    assert_eq!(flow["Summary"], "HTTP/1.1 POST http://user-service/post");
    assert_eq!(flow["source"]["pod_name"], "api");
}

#[test]
fn a_dropped_packet_has_its_reason_in_all_three_places() {
    let event = Event::Drop {
        reason: DropReason::POLICY_DENIED,
    };
    let mut record = Record::new(Timestamp(1), pod("api", 4000), pod("user", 80), event);
    record.verdict = Verdict::Dropped;
    record.l4 = L4::Tcp { flags: 0x02 };
    let flow = json(&record);
    assert_eq!(flow["drop_reason"], 133);
    assert_eq!(flow["drop_reason_desc"], "POLICY_DENIED");
    assert_eq!(flow["event_type"]["sub_type"], 133);
    assert_eq!(flow["Summary"], "TCP Flags: SYN");
    assert!(flow.get("is_reply").is_none(), "a drop does not know");
}

#[test]
fn a_name_is_the_same_however_often_it_is_asked() {
    let event = Event::Drop {
        reason: DropReason::POLICY_DENIED,
    };
    let mut record = Record::new(Timestamp(1), pod("a", 1), pod("b", 2), event);
    let first = node().uuid(&record);
    assert_eq!(first, node().uuid(&record));
    record.time = Timestamp(2);
    assert_ne!(first, node().uuid(&record));
}

fn extension(record: &Record, name: &str) -> Option<String> {
    node().flow(record).extensions?.text(name)
}

fn packed(kind: TunnelKind) -> Record {
    let event = Event::Trace {
        point: TracePoint::FromNetwork,
        state: crate::record::ConnState::New,
        packets: 1,
        bytes: 60,
    };
    let mut record = Record::new(Timestamp(1), pod("a", 1), pod("b", 2), event);
    let is_udp = kind == TunnelKind::Vxlan;
    record.encapsulation = Some(Arc::new(Encapsulation {
        tunnel: Some(Tunnel {
            kind,
            id: 42,
            source: [192, 0, 2, 1].into(),
            destination: [192, 0, 2, 2].into(),
            ports: is_udp.then_some((40000, 4789)),
        }),
        vlan: Some(parsers::packet::Vlan {
            outer: 5,
            inner: Some(6),
        }),
    }));
    record
}

#[test]
fn a_tunnel_that_hubble_knows_is_in_its_field() {
    let flow = json(&packed(TunnelKind::Vxlan));
    assert_eq!(flow["IP"]["source"], "10.0.0.1");
    assert_eq!(flow["tunnel"]["protocol"], "VXLAN");
    assert_eq!(flow["tunnel"]["IP"]["source"], "192.0.2.1");
    assert_eq!(flow["tunnel"]["IP"]["destination"], "192.0.2.2");
    assert_eq!(flow["tunnel"]["l4"]["UDP"]["destination_port"], 4789);
    assert_eq!(flow["tunnel"]["vni"], 42);
    assert_eq!(extension(&packed(TunnelKind::Vxlan), "tunnel"), None);
    let vlan = extension(&packed(TunnelKind::Vxlan), "vlan");
    assert_eq!(vlan.as_deref(), Some("5.6"));
}

#[test]
fn a_tunnel_that_hubble_does_not_know_is_named_beside() {
    let flow = json(&packed(TunnelKind::Gre));
    assert!(flow["tunnel"].get("protocol").is_none());
    assert_eq!(flow["tunnel"]["IP"]["source"], "192.0.2.1");
    assert_eq!(flow["tunnel"]["vni"], 42);
    assert!(flow["tunnel"].get("l4").is_none());
    let kind = extension(&packed(TunnelKind::Gre), "tunnel");
    assert_eq!(kind.as_deref(), Some("GRE"));
}

#[test]
fn what_a_capture_holds_went_through_no_proxy() {
    let mut text = Text::default();
    let dns = Dns {
        is_response: true,
        query: text.push(b"db."),
        query_types: text.push(b"A\n"),
        rcode: 3,
        ttl: u32::MAX,
        ..Dns::default()
    };
    let note = text.push(b"tls");
    let mut record = Record::new(Timestamp(1), pod("a", 1), pod("b", 2), Event::Dns(dns));
    record.text = text;
    let opaque = Event::Opaque(Opaque {
        note,
        sent: 1,
        received: 2,
        duration_ns: 0,
        outcome: Outcome::Passed,
        detail: Span::default(),
    });
    for (observer, source, word, point) in [
        (
            Observer::Capture,
            "capture",
            "(Query db. A)",
            "FROM_NETWORK",
        ),
        (Observer::Proxy, "proxy", "(Proxy db. A)", "TO_PROXY"),
    ] {
        record.observer = observer;
        record.event = Event::Dns(dns);
        let flow = json(&record);
        assert_eq!(flow["l7"]["dns"]["observation_source"], source);
        let summary = flow["Summary"].as_str().expect("a summary");
        assert!(summary.ends_with(word), "{summary}");
        record.event = opaque.clone();
        assert_eq!(json(&record)["trace_observation_point"], point);
    }
}
