//! Agent events (policy, endpoint and ipcache changes) and debug events.

use std::fmt::Write as _;
use std::io::{self, Write};

use proto::flow::agent_event::Notification;
use proto::flow::{
    AgentEvent, AgentEventType, DebugEvent, DebugEventType, EndpointRegenNotification,
    EndpointUpdateNotification, IpCacheNotification,
};
use proto::observer::{GetAgentEventsResponse, GetDebugEventsResponse};

use super::dict::pair;
use super::style::{Safe, Style};
use super::text::RESERVED;

type Header = Vec<&'static str>;

/// `TIME [NODE]: TYPE (DETAILS)`
pub(super) fn agent_compact(
    out: &mut impl Write,
    style: Style,
    response: &GetAgentEventsResponse,
) -> io::Result<()> {
    let event = response.agent_event.as_ref();
    write!(out, "{}", style.timestamp(response.time.as_ref()))?;
    if style.node_name {
        write!(out, " [{}]", Safe(&response.node_name))?;
    }
    writeln!(
        out,
        ": {} ({})",
        agent_type(event),
        agent_details(style, event)
    )
}

/// The same as a block of keys.
pub(super) fn agent_dict(
    out: &mut impl Write,
    style: Style,
    response: &GetAgentEventsResponse,
) -> io::Result<()> {
    let (header, row) = agent_row(style, response);
    header
        .iter()
        .zip(&row)
        .try_for_each(|(key, value)| pair(out, key, value))
}

/// The same as header and row of a table.
pub(super) fn agent_row(style: Style, response: &GetAgentEventsResponse) -> (Header, Vec<String>) {
    let event = response.agent_event.as_ref();
    let (mut header, mut row) = start(style, response.time.as_ref(), &response.node_name);
    header.extend(["TYPE", "DETAILS"]);
    row.extend([agent_type(event), agent_details(style, event)]);
    (header, row)
}

fn start(style: Style, time: Option<&proto::Timestamp>, node: &str) -> (Header, Vec<String>) {
    let mut header = vec!["TIMESTAMP"];
    let mut row = vec![style.timestamp(time)];
    if style.node_name {
        header.push("NODE");
        row.push(Safe(node).to_string());
    }
    (header, row)
}

fn agent_type(event: Option<&AgentEvent>) -> String {
    let number = event.map_or(0, |event| event.r#type);
    AgentEventType::try_from(number)
        .map_or_else(|_| number.to_string(), |kind| kind.as_str_name().to_owned())
}

/// What changed. `UNKNOWN` where the notification is not the one its type promises.
fn agent_details(style: Style, event: Option<&AgentEvent>) -> String {
    use AgentEventType as Type;
    let details = event.and_then(
        |event| match (event.r#type(), event.notification.as_ref()?) {
            (Type::AgentStarted, Notification::AgentStart(start)) => Some(format!(
                "start time: {}",
                style.timestamp(start.time.as_ref())
            )),
            (Type::PolicyUpdated | Type::PolicyDeleted, Notification::PolicyUpdate(update)) => {
                Some(format!(
                    "labels: [{}], revision: {}, count: {}",
                    update.labels.join(","),
                    update.revision,
                    update.rule_count
                ))
            }
            (
                Type::EndpointRegenerateSuccess | Type::EndpointRegenerateFailure,
                Notification::EndpointRegenerate(regenerated),
            ) => Some(regeneration(regenerated)),
            (
                Type::EndpointCreated | Type::EndpointDeleted,
                Notification::EndpointUpdate(update),
            ) => Some(endpoint(update)),
            (Type::IpcacheUpserted | Type::IpcacheDeleted, Notification::IpcacheUpdate(update)) => {
                Some(ipcache(update))
            }
            _ => None,
        },
    );
    details.map_or_else(
        || "UNKNOWN".to_owned(),
        |details| Safe(&details).to_string(),
    )
}

fn regeneration(event: &EndpointRegenNotification) -> String {
    let mut text = format!("id: {}, labels: [{}]", event.id, event.labels.join(","));
    append(&mut text, "error", &event.error);
    text
}

fn endpoint(event: &EndpointUpdateNotification) -> String {
    let mut text = format!("id: {}", event.id);
    if !event.labels.is_empty() {
        append(
            &mut text,
            "labels",
            &format!("[{}]", event.labels.join(",")),
        );
    }
    append(&mut text, "error", &event.error);
    append(&mut text, "namespace", &event.namespace);
    append(&mut text, "pod name", &event.pod_name);
    text
}

fn ipcache(event: &IpCacheNotification) -> String {
    let mut text = format!("cidr: {}, identity: {}", event.cidr, event.identity);
    if let Some(old) = &event.old_identity {
        append(&mut text, "old identity", &old.value.to_string());
    }
    append(&mut text, "host ip", &event.host_ip);
    append(&mut text, "old host ip", &event.old_host_ip);
    append(&mut text, "encrypt key", &event.encrypt_key.to_string());
    text
}

fn append(text: &mut String, key: &str, value: &str) {
    if !value.is_empty() {
        // Writing to a string cannot fail.
        let _infallible = write!(text, ", {key}: {value}");
    }
}

/// `TIME [NODE]: SOURCE TYPE MARK: M CPU: C (MESSAGE)`
pub(super) fn debug_compact(
    out: &mut impl Write,
    style: Style,
    response: &GetDebugEventsResponse,
) -> io::Result<()> {
    let event = response.debug_event.as_ref();
    write!(out, "{}", style.timestamp(response.time.as_ref()))?;
    if style.node_name {
        write!(out, " [{}]", Safe(&response.node_name))?;
    }
    writeln!(
        out,
        ": {} {} MARK: {} CPU: {} ({})",
        debug_source(event),
        debug_type(event),
        debug_mark(event),
        debug_cpu(event),
        Safe(event.map_or("", |event| event.message.as_str())),
    )
}

/// The same as a block of keys.
pub(super) fn debug_dict(
    out: &mut impl Write,
    style: Style,
    response: &GetDebugEventsResponse,
) -> io::Result<()> {
    let (header, row) = debug_row(style, response);
    header
        .iter()
        .zip(&row)
        .try_for_each(|(key, value)| pair(out, key, value))
}

/// The same as header and row of a table.
pub(super) fn debug_row(style: Style, response: &GetDebugEventsResponse) -> (Header, Vec<String>) {
    let event = response.debug_event.as_ref();
    let (mut header, mut row) = start(style, response.time.as_ref(), &response.node_name);
    header.extend(["FROM", "TYPE", "CPU/MARK", "MESSAGE"]);
    row.extend([
        debug_source(event),
        debug_type(event),
        format!("{} {}", debug_cpu(event), debug_mark(event)),
        Safe(event.map_or("", |event| event.message.as_str())).to_string(),
    ]);
    (header, row)
}

fn debug_type(event: Option<&DebugEvent>) -> String {
    let number = event.map_or(0, |event| event.r#type);
    DebugEventType::try_from(number)
        .map_or_else(|_| number.to_string(), |kind| kind.as_str_name().to_owned())
}

fn debug_source(event: Option<&DebugEvent>) -> String {
    let Some(source) = event.and_then(|event| event.source.as_ref()) else {
        return "N/A".to_owned();
    };
    let identity = usize::try_from(source.identity)
        .ok()
        .and_then(|number| RESERVED.get(number))
        .map_or_else(
            || format!("(ID: {})", source.identity),
            |name| format!("({name})"),
        );
    match (source.namespace.as_str(), source.pod_name.as_str()) {
        (_, "") => format!("{} {identity}", source.id),
        ("", pod) => format!("{} {identity}", Safe(pod)),
        (namespace, pod) => format!("{}/{} {identity}", Safe(namespace), Safe(pod)),
    }
}

fn debug_mark(event: Option<&DebugEvent>) -> String {
    event
        .and_then(|event| event.hash.as_ref())
        .map_or_else(|| "N/A".to_owned(), |hash| format!("{:#x}", hash.value))
}

fn debug_cpu(event: Option<&DebugEvent>) -> String {
    event
        .and_then(|event| event.cpu.as_ref())
        .map_or_else(|| "N/A".to_owned(), |cpu| format!("{:02}", cpu.value))
}
