use crate::flow::{Flow, Ip, IpVersion, Verdict};
use crate::observer::{GetFlowsResponse, get_flows_response::ResponseTypes};

#[test]
fn json_has_the_names_and_forms_that_hubble_writes() {
    let flow = Flow {
        verdict: Verdict::Forwarded.into(),
        is_reply: Some(false.into()),
        ip: Some(Ip {
            source: "10.0.0.1".to_owned(),
            ip_version: IpVersion::IPv4.into(),
            ..Ip::default()
        }),
        socket_cookie: 7,
        ..Flow::default()
    };
    let response = GetFlowsResponse {
        response_types: Some(ResponseTypes::Flow(flow)),
        node_name: "n1".to_owned(),
        time: None,
    };
    let json = serde_json::to_string(&response).expect("json");
    assert_eq!(
        json,
        r#"{"node_name":"n1","flow":{"verdict":"FORWARDED","IP":{"source":"10.0.0.1","ipVersion":"IPv4"},"is_reply":false,"socket_cookie":"7"}}"#
    );
    assert_eq!(
        serde_json::from_str::<GetFlowsResponse>(&json).expect("parsed"),
        response
    );
}

#[test]
fn unknown_fields_are_tolerated() {
    let parsed: Flow =
        serde_json::from_str(r#"{"verdict":"DROPPED","to_come":1}"#).expect("a flow");
    assert_eq!(parsed.verdict, i32::from(Verdict::Dropped));
}

#[test]
fn extensions_have_their_fields_in_json() {
    let flow = Flow {
        extensions: Some(crate::Any::of_texts([
            ("vlan", "5".to_owned()),
            ("bytes", "60".to_owned()),
        ])),
        ..Flow::default()
    };
    let json = serde_json::to_string(&flow).expect("json");
    assert_eq!(
        json,
        r#"{"extensions":{"@type":"type.googleapis.com/google.protobuf.Struct","value":{"bytes":"60","vlan":"5"}}}"#
    );
    let parsed: Flow = serde_json::from_str(&json).expect("a flow");
    let text = |name| parsed.extensions.as_ref()?.text(name);
    assert_eq!(text("vlan").as_deref(), Some("5"));
    assert_eq!(text("bytes").as_deref(), Some("60"));
    assert_eq!(text("other"), None);
}

#[test]
fn extensions_of_other_types_are_kept() {
    let any = crate::Any {
        type_url: "example.com/x.Y".to_owned(),
        value: vec![1, 2],
    };
    let json = serde_json::to_string(&any).expect("json");
    assert_eq!(
        serde_json::from_str::<crate::Any>(&json).expect("parsed"),
        any
    );
    let json = r#"{"@type":"example.com/x.Y","a":1}"#;
    let parsed: crate::Any = serde_json::from_str(json).expect("parsed");
    assert_eq!(parsed.type_url, "example.com/x.Y");
}
