//! Flows as lines of JSON, as `hubble observe -o jsonpb`, `-o json`, exporters and `l7d observe` write
//! them: what of a flow counts for policies, read without copying where the text allows it.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// What a line holds.
#[derive(Debug)]
pub enum Line<'l> {
    /// A flow.
    Flow(Box<Flow<'l>>),
    /// Something else that such files hold: states of nodes, lost events, agent events.
    Other,
}

/// Text of the line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Text<'l>(#[serde(borrow)] pub Cow<'l, str>);

/// A flow, by Hubble's field names; what is not told is empty, 0 or `None`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Hubble's")]
pub struct Flow<'l> {
    #[serde(borrow)]
    pub time: Cow<'l, str>,
    #[serde(borrow)]
    pub verdict: Cow<'l, str>,
    #[serde(borrow, alias = "dropReasonDesc")]
    pub drop_reason_desc: Cow<'l, str>,
    #[serde(borrow, rename = "IP", alias = "ip")]
    pub ip: Option<Ip<'l>>,
    pub l4: Option<Layer4>,
    #[serde(borrow)]
    pub source: Option<Endpoint<'l>>,
    #[serde(borrow)]
    pub destination: Option<Endpoint<'l>>,
    #[serde(borrow, alias = "sourceNames")]
    pub source_names: Vec<Text<'l>>,
    #[serde(borrow, alias = "destinationNames")]
    pub destination_names: Vec<Text<'l>>,
    #[serde(borrow)]
    pub l7: Option<Layer7<'l>>,
    #[serde(alias = "eventType")]
    pub event_type: Option<EventType>,
    #[serde(alias = "destinationService")]
    pub destination_service: Option<IgnoredAny>,
    #[serde(borrow, alias = "trafficDirection")]
    pub traffic_direction: Cow<'l, str>,
    #[serde(alias = "isReply")]
    pub is_reply: Option<bool>,
}

/// Addresses.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Hubble's")]
pub struct Ip<'l> {
    #[serde(borrow)]
    pub source: Cow<'l, str>,
    #[serde(borrow)]
    pub destination: Cow<'l, str>,
}

/// Transport.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Hubble's")]
pub struct Layer4 {
    #[serde(rename = "TCP", alias = "tcp")]
    pub tcp: Option<Ports>,
    #[serde(rename = "UDP", alias = "udp")]
    pub udp: Option<Ports>,
    #[serde(rename = "SCTP", alias = "sctp")]
    pub sctp: Option<Ports>,
    #[serde(rename = "ICMPv4")]
    pub icmp_v4: Option<Icmp>,
    #[serde(rename = "ICMPv6")]
    pub icmp_v6: Option<Icmp>,
}

/// Ports, and flags where the protocol has them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Hubble's")]
pub struct Ports {
    #[serde(alias = "sourcePort")]
    pub source_port: u16,
    #[serde(alias = "destinationPort")]
    pub destination_port: u16,
    pub flags: Option<Flags>,
}

/// The flags that tell who opens a connection.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Hubble's")]
pub struct Flags {
    #[serde(rename = "SYN")]
    pub syn: bool,
    #[serde(rename = "ACK")]
    pub ack: bool,
}

/// An ICMP message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Hubble's")]
pub struct Icmp {
    #[serde(rename = "type")]
    pub kind: u8,
}

/// An end.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Hubble's")]
pub struct Endpoint<'l> {
    pub identity: u32,
    #[serde(borrow)]
    pub namespace: Cow<'l, str>,
    #[serde(borrow)]
    pub labels: Vec<Text<'l>>,
    #[serde(borrow, alias = "podName")]
    pub pod_name: Cow<'l, str>,
    #[serde(borrow)]
    pub workloads: Vec<Workload<'l>>,
}

/// An owner of pods.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Hubble's")]
pub struct Workload<'l> {
    #[serde(borrow)]
    pub name: Cow<'l, str>,
}

/// A message.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Hubble's")]
pub struct Layer7<'l> {
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'l, str>,
    #[serde(borrow)]
    pub dns: Option<Dns<'l>>,
    #[serde(borrow)]
    pub http: Option<Http<'l>>,
}

/// A query or its answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Hubble's")]
pub struct Dns<'l> {
    #[serde(borrow)]
    pub query: Cow<'l, str>,
    #[serde(borrow)]
    pub ips: Vec<Text<'l>>,
}

/// A request or its answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Hubble's")]
pub struct Http<'l> {
    #[serde(borrow)]
    pub method: Cow<'l, str>,
    #[serde(borrow)]
    pub url: Cow<'l, str>,
    #[serde(borrow)]
    pub headers: Vec<Header<'l>>,
}

/// A header field.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Hubble's")]
pub struct Header<'l> {
    #[serde(borrow)]
    pub key: Cow<'l, str>,
    #[serde(borrow)]
    pub value: Cow<'l, str>,
}

/// What saw the flow, by Hubble's numbers.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the names are Hubble's")]
pub struct EventType {
    #[serde(rename = "type")]
    pub kind: i32,
    #[serde(alias = "subType")]
    pub sub_type: i32,
}

/// A response of the Observer, or an event of an exporter.
#[derive(Deserialize)]
struct Envelope<'l> {
    #[serde(borrow)]
    flow: Option<Flow<'l>>,
    #[serde(alias = "nodeStatus")]
    node_status: Option<IgnoredAny>,
    #[serde(alias = "lostEvents")]
    lost_events: Option<IgnoredAny>,
    #[serde(alias = "agentEvent")]
    agent_event: Option<IgnoredAny>,
    #[serde(alias = "debugEvent")]
    debug_event: Option<IgnoredAny>,
}

/// Reads one line: a response with a flow in it, or a flow alone.
///
/// # Errors
/// What is wrong with a line that is neither.
pub fn read(line: &[u8]) -> Result<Line<'_>, serde_json::Error> {
    let envelope: Envelope<'_> = serde_json::from_slice(line)?;
    if let Some(flow) = envelope.flow {
        return Ok(Line::Flow(Box::new(flow)));
    }
    let others = [
        envelope.node_status,
        envelope.lost_events,
        envelope.agent_event,
        envelope.debug_event,
    ];
    if others.iter().any(Option::is_some) {
        return Ok(Line::Other);
    }
    let flow: Flow<'_> = serde_json::from_slice(line)?;
    if flow.verdict.is_empty() && flow.ip.is_none() && flow.event_type.is_none() {
        return Err(serde::de::Error::custom(
            "an object without `flow`, `verdict`, `IP` and `event_type`",
        ));
    }
    Ok(Line::Flow(Box::new(flow)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(line: &str) -> Flow<'_> {
        match read(line.as_bytes()) {
            Ok(Line::Flow(flow)) => *flow,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_response_and_a_flow_alone_are_read_alike() {
        let alone = r#"{"verdict":"DROPPED","IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{"source_port":1,"destination_port":80,"flags":{"SYN":true}}},"source":{"identity":300,"labels":["k8s:app=a\u0062"],"unknown":{}},"is_reply":false,"uuid":"x"}"#;
        for line in [
            alone.to_owned(),
            format!(r#"{{"flow":{alone},"node_name":"n"}}"#),
        ] {
            let flow = flow(&line);
            assert_eq!(flow.verdict, "DROPPED");
            let tcp = flow.l4.and_then(|l4| l4.tcp).expect("TCP");
            assert_eq!(tcp.destination_port, 80);
            assert!(tcp.flags.is_some_and(|flags| flags.syn && !flags.ack));
            assert_eq!(
                flow.source.expect("a source").labels,
                [Text("k8s:app=ab".into())]
            );
            assert_eq!(flow.is_reply, Some(false));
        }
    }

    #[test]
    fn what_is_no_flow_is_told_apart() {
        assert!(matches!(read(br#"{"node_status":{}}"#), Ok(Line::Other)));
        for line in ["{}", "[]", "x", r#"{"a":1}"#, r#"{"flow":{"IP":7}}"#] {
            assert!(read(line.as_bytes()).is_err(), "{line}");
        }
    }
}
