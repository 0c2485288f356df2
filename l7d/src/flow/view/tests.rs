use std::sync::Arc;

use super::*;
use crate::record::{
    ConnState, Dns, DropReason, DropSite, Encapsulation, Endpoint, EndpointId, FullQueue,
    IdentityNumber, KernelDrop, Network, PolicyKind, TcpHealth, Text, Trace, Translation, Tunnel,
    TunnelKind, Why,
};

fn node() -> NodeView {
    NodeView {
        name: "n1".to_owned(),
        version: "0.1.0".to_owned(),
        seed: 1,
        ..NodeView::default()
    }
}

fn pod(name: &str, port: u16) -> Party {
    let endpoint = Endpoint {
        id: EndpointId(17),
        identity: IdentityNumber(300),
        cluster: String::new(),
        namespace: "prod-app".to_owned(),
        name: name.to_owned(),
        labels: [format!("k8s:app={name}")].into(),
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
        network: Network::default(),
        trace: None,
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
        kernel: None,
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
        kernel: None,
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
    let event = Event::Trace(Trace {
        point: TracePoint::FromNetwork,
        state: ConnState::New,
        why: Why::First,
        packets: 1,
        bytes: 60,
        health: TcpHealth::default(),
    });
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
        network: Network::default(),
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

fn kernel_drop(netfilter: Option<&str>) -> Record {
    let said = KernelDrop {
        reason: Arc::from("NETFILTER_DROP"),
        place: Arc::from("nft_do_chain"),
        meaning: "a netfilter rule drops it".into(),
        site: DropSite::Node,
        bytes: 60,
        queue: None,
        netfilter: netfilter.map(Arc::from),
    };
    let event = Event::Drop {
        reason: DropReason::UNKNOWN,
        kernel: Some(Arc::new(said)),
    };
    let mut record = Record::new(Timestamp(1), pod("api", 4000), pod("user", 80), event);
    record.verdict = Verdict::Dropped;
    record.l4 = L4::Tcp { flags: 0x02 };
    record
}

#[test]
fn what_the_kernel_says_of_a_drop_is_kept_in_full() {
    let record = kernel_drop(None);
    let flow = json(&record);
    assert_eq!(flow["event_type"]["type"], 1);
    assert_eq!(flow["event_type"]["sub_type"], 255, "0 would be success");
    assert!(flow.get("drop_reason_desc").is_none(), "unknown");
    let summary = "NETFILTER_DROP in nft_do_chain: a netfilter rule drops it; TCP Flags: SYN";
    assert_eq!(flow["Summary"], summary);
    for (name, value) in [
        ("drop_reason", "NETFILTER_DROP"),
        ("drop_place", "nft_do_chain"),
        ("drop_meaning", "a netfilter rule drops it"),
        ("drop_site", "node"),
        ("bytes", "60"),
    ] {
        assert_eq!(extension(&record, name).as_deref(), Some(value), "{name}");
    }
    let rule = "inet filter forward handle 7: ip daddr 10.0.0.2 drop";
    let record = kernel_drop(Some(rule));
    let summary = format!("NETFILTER_DROP in nft_do_chain, {rule}; TCP Flags: SYN");
    assert_eq!(json(&record)["Summary"], summary);
    assert_eq!(extension(&record, "netfilter").as_deref(), Some(rule));
}

#[test]
fn a_full_queue_is_told_with_its_length() {
    let mut record = kernel_drop(None);
    let Event::Drop {
        reason,
        kernel: Some(said),
    } = &mut record.event
    else {
        panic!("a drop");
    };
    *reason = DropReason(198);
    let said = Arc::make_mut(said);
    said.queue = Some(FullQueue {
        used: 129,
        limit: 128,
    });
    let flow = json(&record);
    assert_eq!(flow["event_type"]["sub_type"], 198);
    let told = "NETFILTER_DROP in nft_do_chain, 129 of 128 in the queue: a netfilter rule drops it";
    assert_eq!(flow["Summary"], format!("{told}; TCP Flags: SYN"));
    assert_eq!(
        extension(&record, "drop_queue").as_deref(),
        Some("129 of 128")
    );
}

#[test]
fn what_we_drop_says_by_which_policy() {
    let event = Event::Drop {
        reason: DropReason::POLICY_DENIED,
        kernel: None,
    };
    let mut record = Record::new(Timestamp(1), pod("api", 4000), pod("user", 80), event);
    record.verdict = Verdict::Dropped;
    record.direction = Direction::Egress;
    record.l4 = L4::Tcp { flags: 0x02 };
    let policy = PolicyRef {
        kind: PolicyKind::NetworkPolicy,
        namespace: "prod-app".to_owned(),
        name: "closed".to_owned(),
        labels: Vec::new(),
        log: None,
        revision: 1,
        rule: String::new(),
    };
    record.policies = Arc::from([policy.clone()]);
    let summary = |record: &Record| json(record)["Summary"].clone();
    assert_eq!(
        summary(&record),
        "TCP Flags: SYN; egress: no rule of NetworkPolicy prod-app/closed allows it"
    );
    record.event = Event::Drop {
        reason: DropReason::POLICY_DENY,
        kernel: None,
    };
    let rule = "spec.egressDeny[0]".to_owned();
    record.policies = Arc::from([PolicyRef { rule, ..policy }]);
    assert_eq!(
        summary(&record),
        "TCP Flags: SYN; egress: denied by NetworkPolicy prod-app/closed spec.egressDeny[0]"
    );
    record.event = Event::Drop {
        reason: DropReason::FRAGMENT,
        kernel: None,
    };
    record.l4 = L4::Udp;
    let text = "UDP; a fragment whose first part was not seen";
    assert_eq!(summary(&record), text);
}

#[test]
fn every_number_that_the_kernels_reasons_have_is_one_of_hubbles() {
    for meaning in crate::datapath::drops::meaning::all() {
        let number = i32::from(meaning.hubble);
        assert!(pb::DropReason::try_from(number).is_ok(), "{}", meaning.name);
    }
}

#[test]
fn both_sides_of_a_translation_tell_the_other_one() {
    let at = |name: &str, addr: &str| Party {
        addr: addr.parse().expect("an address"),
        ..pod(name, 0)
    };
    let nobody = |addr: &str| Party {
        endpoint: None,
        ..at("", addr)
    };
    let translation = Arc::new(Translation {
        source: at("web", "10.0.0.1:4000"),
        source_after: "192.0.2.1:61000".parse().expect("an address"),
        destination: nobody("10.96.0.1:80"),
        destination_after: at("api-1", "10.0.0.2:8080"),
    });
    let flow = |source: Party, destination: Party| {
        let event = Event::PolicyVerdict {
            match_type: 0,
            reason: None,
        };
        let mut record = Record::new(Timestamp(1), source, destination, event);
        record.translation = Some(Arc::clone(&translation));
        let flow = json(&record);
        let extensions = flow["extensions"]["value"].clone();
        (flow["IP"]["source_xlated"].clone(), extensions)
    };
    let (xlated, told) = flow(translation.source.clone(), translation.destination.clone());
    assert_eq!(xlated, "192.0.2.1");
    assert_eq!(told["backend"], "10.0.0.2:8080");
    assert_eq!(told["backend_pod"], "prod-app/api-1");
    assert_eq!(told["client_xlated"], "192.0.2.1:61000");
    let (xlated, told) = flow(
        translation.destination_after.clone(),
        translation.source.clone(),
    );
    assert_eq!(
        xlated,
        serde_json::Value::Null,
        "who serves is not translated"
    );
    assert_eq!(told["service_address"], "10.96.0.1:80");
    // As policy judged it.
    let (xlated, told) = flow(
        nobody("192.0.2.1:61000"),
        translation.destination_after.clone(),
    );
    assert_eq!(xlated, "192.0.2.1");
    assert_eq!(told["client"], "10.0.0.1:4000");
    assert_eq!(told["client_pod"], "prod-app/web");
}
