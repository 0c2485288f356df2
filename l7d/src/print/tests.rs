use proto::observer::GetFlowsResponse;

use super::*;

/// The recorded responses that the goldens were made from.
fn responses() -> Vec<GetFlowsResponse> {
    include_str!("../../tests/golden/flows.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn shown(style: Style, responses: &[GetFlowsResponse]) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut printer = Printer::new(&mut out, &mut err, style);
    for response in responses {
        printer.flows(response).unwrap();
    }
    printer.finish().unwrap();
    drop(printer);
    (
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
    )
}

fn golden(name: &str) -> String {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn prints_every_kind_of_flow_in_every_form() {
    for (form, name) in [
        (Form::Compact, "compact"),
        (Form::Dict, "dict"),
        (Form::Json, "json"),
        (Form::Table, "table"),
    ] {
        let style = Style {
            form,
            ..Style::default()
        };
        let (out, err) = shown(style, &responses());
        assert_eq!(out, golden(&format!("{name}.out")), "{name}");
        assert_eq!(err, golden(&format!("{name}.err")), "{name}");
        let full = Style {
            node_name: true,
            policy_names: true,
            connected_nodes: true,
            ..style
        };
        let (out, err) = shown(full, &responses());
        assert_eq!(out, golden(&format!("{name}-full.out")), "{name}");
        assert_eq!(err, golden(&format!("{name}-full.err")), "{name}");
    }
}

#[test]
fn colours_lines_and_keys() {
    for (form, name) in [(Form::Compact, "compact"), (Form::Dict, "dict")] {
        let style = Style {
            form,
            color: true,
            ..Style::default()
        };
        assert_eq!(
            shown(style, &responses()).0,
            golden(&format!("{name}-color.out"))
        );
    }
}

#[test]
fn shows_addresses_instead_of_names() {
    let style = Style {
        numeric: true,
        ..Style::default()
    };
    assert_eq!(shown(style, &responses()).0, golden("compact-numeric.out"));
}

#[test]
fn never_colours_tables() {
    let plain = Style {
        form: Form::Table,
        ..Style::default()
    };
    let colored = Style {
        color: true,
        ..plain
    };
    let plain = Style {
        color: false,
        ..colored
    };
    assert_eq!(shown(plain, &responses()), shown(colored, &responses()));
}

#[test]
fn prints_the_flow_alone_where_older_scripts_want_it() {
    let style = Style {
        form: Form::Json,
        bare_flows: true,
        ..Style::default()
    };
    let (out, _) = shown(style, &responses());
    assert!(out.starts_with(r#"{"time":"2026-03-04T09:15:27.104Z","verdict":"FORWARDED""#));
}

#[test]
fn prints_nothing_for_a_response_without_content() {
    for form in [Form::Compact, Form::Dict, Form::Json, Form::Table] {
        let style = Style {
            form,
            ..Style::default()
        };
        let shown = shown(style, &[GetFlowsResponse::default()]);
        assert_eq!(shown, (String::new(), String::new()));
    }
}

mod events {
    use proto::flow::agent_event::Notification;
    use proto::flow::{
        AgentEvent, AgentEventType, DebugEvent, DebugEventType, Endpoint,
        EndpointUpdateNotification, IpCacheNotification, PolicyUpdateNotification,
    };

    use super::*;

    fn agent(kind: AgentEventType, notification: Notification) -> GetAgentEventsResponse {
        GetAgentEventsResponse {
            node_name: "node-1".to_owned(),
            time: Some(proto::Timestamp {
                seconds: 1_772_615_727,
                nanos: 104_000_000,
            }),
            agent_event: Some(AgentEvent {
                r#type: kind.into(),
                notification: Some(notification),
            }),
        }
    }

    fn compact(response: &GetAgentEventsResponse) -> String {
        let mut out = Vec::new();
        let style = Style {
            node_name: true,
            ..Style::default()
        };
        Printer::new(&mut out, Vec::new(), style)
            .agent_event(response)
            .unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn prints_agent_events() {
        let policy = Notification::PolicyUpdate(PolicyUpdateNotification {
            labels: vec!["a".to_owned(), "b".to_owned()],
            revision: 3,
            rule_count: 2,
        });
        let cases = [
            (
                agent(AgentEventType::PolicyUpdated, policy.clone()),
                "POLICY_UPDATED (labels: [a,b], revision: 3, count: 2)",
            ),
            (
                agent(AgentEventType::EndpointCreated, policy),
                "ENDPOINT_CREATED (UNKNOWN)",
            ),
            (
                agent(
                    AgentEventType::EndpointCreated,
                    Notification::EndpointUpdate(EndpointUpdateNotification {
                        id: 5,
                        pod_name: "web".to_owned(),
                        namespace: "shop".to_owned(),
                        ..EndpointUpdateNotification::default()
                    }),
                ),
                "ENDPOINT_CREATED (id: 5, namespace: shop, pod name: web)",
            ),
            (
                agent(
                    AgentEventType::IpcacheUpserted,
                    Notification::IpcacheUpdate(IpCacheNotification {
                        cidr: "10.0.0.1/32".to_owned(),
                        identity: 4711,
                        old_identity: Some(2.into()),
                        ..IpCacheNotification::default()
                    }),
                ),
                "IPCACHE_UPSERTED (cidr: 10.0.0.1/32, identity: 4711, old identity: 2, \
                 encrypt key: 0)",
            ),
        ];
        for (response, expected) in cases {
            let expected = format!("Mar  4 09:15:27.104 [node-1]: {expected}\n");
            assert_eq!(compact(&response), expected);
        }
    }

    #[test]
    fn prints_debug_events() {
        let response = GetDebugEventsResponse {
            node_name: String::new(),
            time: None,
            debug_event: Some(DebugEvent {
                r#type: DebugEventType::DbgCtLookup.into(),
                source: Some(Endpoint {
                    identity: 7,
                    namespace: "a".to_owned(),
                    pod_name: "b".to_owned(),
                    ..Endpoint::default()
                }),
                hash: Some(0xabc.into()),
                message: "looked up".to_owned(),
                ..DebugEvent::default()
            }),
        };
        let mut out = Vec::new();
        Printer::new(&mut out, Vec::new(), Style::default())
            .debug_event(&response)
            .unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "N/A: a/b (kube-apiserver) DBG_CT_LOOKUP MARK: 0xabc CPU: N/A (looked up)\n"
        );
    }
}

#[test]
fn who_serves_stands_behind_the_service() {
    use proto::flow::{Endpoint, Ip, Layer4, Service, Tcp, layer4};
    let flow = |is_reply: bool| {
        let web = Some(Endpoint {
            namespace: "prod".to_owned(),
            pod_name: "web".to_owned(),
            ..Endpoint::default()
        });
        let api = Some(Service {
            namespace: "shop".to_owned(),
            name: "api".to_owned(),
        });
        let (client, server) = ("10.0.0.1".to_owned(), "10.96.0.1".to_owned());
        let (ports, ends) = if is_reply {
            ((80, 4000), (server, client))
        } else {
            ((4000, 80), (client, server))
        };
        let backend = [
            ("backend", "10.0.0.2:8080".to_owned()),
            ("backend_pod", "shop/api-1".to_owned()),
        ];
        let mut flow = proto::flow::Flow {
            ip: Some(Ip {
                source: ends.0,
                destination: ends.1,
                ..Ip::default()
            }),
            l4: Some(Layer4 {
                protocol: Some(layer4::Protocol::Tcp(Tcp {
                    source_port: ports.0,
                    destination_port: ports.1,
                    flags: None,
                })),
            }),
            is_reply: Some(is_reply.into()),
            extensions: Some(proto::Any::of_texts(backend)),
            ..proto::flow::Flow::default()
        };
        if is_reply {
            (flow.destination, flow.source_service) = (web, api);
        } else {
            (flow.source, flow.destination_service) = (web, api);
        }
        flow
    };
    let line = |numeric, flow: &proto::flow::Flow| {
        let mut out = Vec::new();
        let style = Style {
            numeric,
            ..Style::default()
        };
        compact::flow(&mut out, style, flow).unwrap();
        String::from_utf8(out).unwrap()
    };
    let named = "shop/api:80 (→ shop/api-1:8080)";
    assert!(line(false, &flow(false)).contains(named));
    assert!(line(false, &flow(true)).contains(named));
    let numbers = "10.96.0.1:80 (→ 10.0.0.2:8080)";
    assert!(line(true, &flow(false)).contains(numbers));
}
