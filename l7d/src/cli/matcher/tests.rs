use proto::observer::GetFlowsResponse;
use proto::observer::get_flows_response::ResponseTypes;

use super::*;
use crate::cli::observe::raw;

/// Times of the recorded flows that pass.
fn passing(filter: &str) -> Result<Vec<String>, String> {
    let matcher = Matcher::new(&raw::parse(filter)?, &[])?;
    Ok(include_str!("../../../tests/golden/flows.jsonl")
        .lines()
        .filter_map(|line| {
            let response: GetFlowsResponse = serde_json::from_str(line).unwrap();
            match response.response_types {
                Some(ResponseTypes::Flow(flow)) if matcher.passes(&flow) => {
                    let time = flow.time.as_ref()?;
                    Some(format!(
                        "{}.{}",
                        time.seconds % 60,
                        time.nanos / 100_000_000
                    ))
                }
                _ => None,
            }
        })
        .collect())
}

#[test]
fn finds_flows_by_every_field() {
    for (filter, expected) in [
        (r#"{"source_ip":["fd00::a"]}"#, "32.0"),
        (r#"{"destination_ip":["198.51.100.0/24"]}"#, "32.1"),
        (r#"{"source_pod":["shop/cart"]}"#, "27.1 28.0"),
        (r#"{"source_pod":["/coredns"]}"#, "29.5 29.7"),
        (r#"{"destination_pod":["lonely"]}"#, ""),
        (r#"{"destination_service":["shop/ca"]}"#, "32.0 32.3"),
        (r#"{"destination_fqdn":["*.EXAMPLE.com."]}"#, "30.1"),
        (r#"{"source_label":["reserved:host"]}"#, "30.4"),
        (
            r#"{"destination_label":["k8s:app in (cart)"],"verdict":["ERROR"]}"#,
            "32.7",
        ),
        (
            r#"{"destination_identity":[777],"event_type":[{"type":1}]}"#,
            "30.3",
        ),
        (
            r#"{"event_type":[{"type":4,"match_sub_type":true,"sub_type":11}]}"#,
            "32.4",
        ),
        (r#"{"drop_reason_desc":["POLICY_DENY"]}"#, "30.4 33.2"),
        (r#"{"ip_version":["IPv6"]}"#, "32.0 32.4"),
        (r#"{"ip_version":["IP_NOT_USED"]}"#, "32.5"),
        (r#"{"encrypted":[true]}"#, "32.4"),
        (r#"{"ip_trace_id":["77"]}"#, "32.4"),
        (r#"{"protocol":["ICMP"]}"#, "30.4 32.4"),
        (r#"{"protocol":["dns"]}"#, "29.5 29.5 29.7"),
        (r#"{"destination_port":["6379","5432"]}"#, "30.2 30.3 30.3"),
        (r#"{"http_status_code":["40+"]}"#, "28.0"),
        (r#"{"http_status_code":["200"]}"#, "27.1"),
        (r#"{"http_method":["delete"],"reply":[false]}"#, "28.0"),
        (r#"{"http_path":["^/items$"]}"#, "27.1 27.1"),
        (r#"{"http_url":["id=7"]}"#, "27.1 27.1"),
        (
            r#"{"http_header":[{"key":"Host","value":"cart:8080"}],"http_path":["a$"]}"#,
            "34.0",
        ),
        (r#"{"dns_query":["^nope"]}"#, "29.7"),
        (r#"{"node_name":["default/other"]}"#, ""),
        (
            r#"{"reply":[false],"verdict":["DROPPED"],"event_type":[{"type":1}]}"#,
            "30.3 30.4 32.5 33.0",
        ),
        (
            r#"{"traffic_direction":["EGRESS"],"verdict":["AUDIT"]}"#,
            "32.1",
        ),
        (r#"{"interface":[{"name":"eth0"}]}"#, ""),
        (r#"{"source_workload":[{"name":"x"}]}"#, ""),
        (r#"{"tcp_flags":[{"SYN":true}]}"#, ""),
        (r#"{"uuid":["x"]}"#, ""),
        (
            r#"{"experimental":{"cel_expression":["_flow.l7.http.code == 403u","false"]}}"#,
            "28.0",
        ),
    ] {
        assert_eq!(passing(filter).unwrap().join(" "), expected, "{filter}");
    }
}

#[test]
fn refuses_filters_it_cannot_read() {
    for (filter, message) in [
        (
            r#"{"source_ip":["1.1.1"]}"#,
            "invalid IP address \"1.1.1\" in filter",
        ),
        (
            r#"{"source_ip":["1.1.1.1/99"]}"#,
            "invalid IP prefix \"1.1.1.1/99\" in filter",
        ),
        (
            r#"{"source_pod":[""]}"#,
            "invalid filter, name must not be empty",
        ),
        (
            r#"{"source_fqdn":["a!"]}"#,
            "`a!`: '!' cannot stand in a pattern",
        ),
        (
            r#"{"source_label":["a in ("]}"#,
            "invalid source label filter: unable to parse",
        ),
        (
            r#"{"source_port":["abc"]}"#,
            "invalid source port filter: invalid port \"abc\"",
        ),
        (
            r#"{"protocol":["foo"]}"#,
            "invalid protocol filter: unknown protocol: \"foo\"",
        ),
        (
            r#"{"http_status_code":["9"]}"#,
            "invalid http status code filter: invalid status code",
        ),
        (r#"{"http_path":["("]}"#, "invalid http path filter: (: "),
        (
            r#"{"node_name":["a/b/c"]}"#,
            "`a/b/c` has more than one slash",
        ),
        (
            r#"{"http_method":["GET"],"event_type":[{"type":1}]}"#,
            "filtering by http method requires the event type filter to only match 'l7' events",
        ),
        (
            r#"{"experimental":{"cel_expression":["_flow.verdict"]}}"#,
            "error compiling CEL expression: _flow.verdict: it is of type int, not bool",
        ),
    ] {
        let error = passing(filter).unwrap_err();
        assert!(error.starts_with(message), "{filter}: {error}");
    }
}

#[test]
fn denies_after_allowing() {
    let flow = Flow {
        verdict: 2,
        node_name: "a".to_owned(),
        ..Flow::default()
    };
    let filter = |json| raw::parse(json).unwrap();
    let dropped = filter(r#"{"verdict":["DROPPED"]}"#);
    let node = filter(r#"{"node_name":["a"]}"#);
    assert!(Matcher::new(&dropped, &[]).unwrap().passes(&flow));
    assert!(!Matcher::new(&dropped, &node).unwrap().passes(&flow));
    assert!(!Matcher::new(&[], &node).unwrap().passes(&flow));
    assert!(Matcher::new(&filter("{}"), &[]).unwrap().passes(&flow));
}
