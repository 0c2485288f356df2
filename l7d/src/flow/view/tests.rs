use std::sync::Arc;

use super::*;
use crate::record::{DropReason, Endpoint, EndpointId, IdentityNumber, PolicyKind, Text};

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
        revision: 3,
        rule: "spec.ingress[0]".to_owned(),
    }]);
    let flow = json(&record);
    assert_eq!(flow["time"], "1970-01-01T00:00:01.000000001Z");
    assert_eq!(flow["Type"], "L7");
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
