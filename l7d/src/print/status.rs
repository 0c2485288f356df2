//! The status of a server, and what an l7d agent tells of itself beyond it.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use proto::observer::ServerStatusResponse;
use serde::{Deserialize, Serialize};

use super::style::{Form, Safe, Style};
use super::{json, ledger, table::Table};
use crate::server::AgentStatus;

/// A section of an l7d agent's own status: title, and lines in their order. Filled from the JSON
/// object that an agent offers beside the Hubble API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Section {
    /// What the section is about.
    pub title: String,
    /// Key and value of each line.
    #[serde(default)]
    pub lines: Vec<(String, String)>,
}

/// Everything a status shows.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Where the server was asked.
    pub server: String,
    /// What the health check said: `Ok`, or why it is not.
    pub health: String,
    /// What the server said of itself; `None` if it was not asked or did not answer.
    pub response: Option<ServerStatusResponse>,
    /// What an l7d agent adds, in lines; empty for other servers.
    pub sections: Vec<Section>,
    /// The same as it came; `None` for other servers.
    pub agent: Option<AgentStatus>,
}

/// Writes a status in one of the forms.
pub fn write(out: &mut impl Write, style: Style, status: &Status) -> io::Result<()> {
    match style.form {
        Form::Compact => compact(out, style, status),
        Form::Dict => {
            let Some(response) = &status.response else {
                return Ok(());
            };
            fields(response, "NUM UNAVAIL. NODES")
                .iter()
                .try_for_each(|(key, value)| writeln!(out, "{key:>19}: {value}"))
        }
        Form::Table => {
            let Some(response) = &status.response else {
                return Ok(());
            };
            let (header, row): (Vec<_>, Vec<_>) = fields(response, "NUM UNAVAILABLE NODES")
                .into_iter()
                .unzip();
            let mut table = Table::new();
            table.row(&header, &row);
            table.write(out)
        }
        Form::Json => match (&status.response, &status.agent) {
            (Some(response), None) => json::line(out, response),
            (Some(response), Some(agent)) => json::line(out, &WithAgent { response, agent }),
            (None, _) => Ok(()),
        },
    }
}

/// Hubble's status, and beside it what an l7d agent adds.
#[derive(Serialize)]
struct WithAgent<'s> {
    #[serde(flatten)]
    response: &'s ServerStatusResponse,
    #[serde(rename = "l7d")]
    agent: &'s AgentStatus,
}

fn compact(out: &mut impl Write, style: Style, status: &Status) -> io::Result<()> {
    writeln!(
        out,
        "Healthcheck (via {}): {}",
        Safe(&status.server),
        Safe(&status.health)
    )?;
    let Some(response) = &status.response else {
        return Ok(());
    };
    write!(
        out,
        "Current/Max Flows: {}/{}",
        grouped(response.num_flows),
        grouped(response.max_flows)
    )?;
    if response.max_flows > 0 {
        write!(
            out,
            " ({:.2}%)",
            share(response.num_flows, response.max_flows)
        )?;
    }
    writeln!(out)?;
    writeln!(out, "Flows/s: {}", rate(response))?;
    if let Some(connected) = &response.num_connected_nodes {
        write!(out, "Connected Nodes: {}", connected.value)?;
        if let Some(unavailable) = &response.num_unavailable_nodes {
            let all = u64::from(connected.value) + u64::from(unavailable.value);
            write!(out, "/{all}")?;
        }
        writeln!(out)?;
    }
    unavailable(out, response)?;
    for section in &status.sections {
        writeln!(out, "{}:", Safe(&section.title))?;
        for (key, value) in &section.lines {
            writeln!(out, "  {}: {}", Safe(key), Safe(value))?;
        }
    }
    let agent = status.agent.as_ref();
    agent.map_or(Ok(()), |agent| ledger::write(out, style, agent))
}

fn unavailable(out: &mut impl Write, response: &ServerStatusResponse) -> io::Result<()> {
    let Some(count) = response
        .num_unavailable_nodes
        .as_ref()
        .filter(|count| count.value > 0)
    else {
        return Ok(());
    };
    writeln!(out, "Unavailable Nodes: {}", count.value)?;
    for name in &response.unavailable_nodes {
        writeln!(out, "  - {}", Safe(name))?;
    }
    let named = response.unavailable_nodes.len() as u64;
    match u64::from(count.value).checked_sub(named) {
        Some(left) if left > 0 && named > 0 => writeln!(out, "  - and {left} more..."),
        _ => Ok(()),
    }
}

fn fields(
    response: &ServerStatusResponse,
    unavailable: &'static str,
) -> Vec<(&'static str, String)> {
    let wrapped = |count: Option<u32>| count.map_or_else(|| "N/A".to_owned(), |n| n.to_string());
    let version = match response.version.as_str() {
        "" => "N/A".to_owned(),
        version => Safe(version).to_string(),
    };
    vec![
        ("NUM FLOWS", grouped(response.num_flows)),
        ("MAX FLOWS", grouped(response.max_flows)),
        ("SEEN FLOWS", grouped(response.seen_flows)),
        ("FLOWS PER SECOND", rate(response)),
        ("UPTIME", duration(response.uptime_ns)),
        (
            "NUM CONNECTED NODES",
            wrapped(response.num_connected_nodes.as_ref().map(|n| n.value)),
        ),
        (
            unavailable,
            wrapped(response.num_unavailable_nodes.as_ref().map(|n| n.value)),
        ),
        ("VERSION", version),
    ]
}

/// Flows per second: the server's own figure, else the average since it started.
fn rate(response: &ServerStatusResponse) -> String {
    if response.flows_rate > 0.0 {
        return format!("{:.2}", response.flows_rate);
    }
    average(response.seen_flows, response.uptime_ns)
}

/// Flows per second over a time, `N/A` over none.
pub(super) fn average(flows: u64, nanoseconds: u64) -> String {
    if nanoseconds == 0 {
        return "N/A".to_owned();
    }
    format!("{:.2}", quotient(flows, nanoseconds) * 1e9)
}

/// `part` in percent of `whole`.
pub(super) fn share(part: u64, whole: u64) -> f64 {
    quotient(part, whole) * 100.0
}

#[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
fn quotient(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// A number with commas between groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Hours, minutes and seconds, leading noughts left out: `26h0m3.5s`.
pub(super) fn duration(nanoseconds: u64) -> String {
    let duration = Duration::from_nanos(nanoseconds);
    let seconds = duration.as_secs();
    if duration.is_zero() {
        return "0s".to_owned();
    }
    if seconds == 0 {
        return format!("{duration:?}");
    }
    let mut text = String::new();
    if seconds >= 3600 {
        let _infallible = write!(text, "{}h", seconds / 3600);
    }
    if seconds >= 60 {
        let _infallible = write!(text, "{}m", seconds / 60 % 60);
    }
    let rest = format!("{}.{:09}", seconds % 60, duration.subsec_nanos());
    text.push_str(rest.trim_end_matches('0').trim_end_matches('.'));
    text.push('s');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(form: Form, response: ServerStatusResponse) -> String {
        let status = Status {
            server: "localhost:4245".to_owned(),
            health: "Ok".to_owned(),
            response: Some(response),
            ..Status::default()
        };
        let style = Style {
            form,
            ..Style::default()
        };
        let mut out = Vec::new();
        write(&mut out, style, &status).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn relay() -> ServerStatusResponse {
        ServerStatusResponse {
            num_flows: 8190,
            max_flows: 8190,
            seen_flows: 1_234_567,
            uptime_ns: 93_603_500_000_000,
            num_connected_nodes: Some(2.into()),
            num_unavailable_nodes: Some(1.into()),
            unavailable_nodes: vec!["worker-3".to_owned()],
            version: "l7d v0.1.0".to_owned(),
            flows_rate: 42.1,
        }
    }

    #[test]
    fn shows_a_relay_with_an_unavailable_node() {
        assert_eq!(
            shown(Form::Compact, relay()),
            "Healthcheck (via localhost:4245): Ok\n\
             Current/Max Flows: 8,190/8,190 (100.00%)\n\
             Flows/s: 42.10\n\
             Connected Nodes: 2/3\n\
             Unavailable Nodes: 1\n  - worker-3\n"
        );
    }

    #[test]
    fn counts_unavailable_nodes_without_a_name() {
        let status = ServerStatusResponse {
            num_unavailable_nodes: Some(4.into()),
            ..relay()
        };
        assert!(shown(Form::Compact, status).ends_with("  - worker-3\n  - and 3 more...\n"));
    }

    #[test]
    fn shows_a_status_as_keys() {
        assert_eq!(
            shown(Form::Dict, relay()),
            "          NUM FLOWS: 8,190\n          MAX FLOWS: 8,190\n         \
             SEEN FLOWS: 1,234,567\n   FLOWS PER SECOND: 42.10\n             \
             UPTIME: 26h0m3.5s\nNUM CONNECTED NODES: 2\n NUM UNAVAIL. NODES: 1\n            \
             VERSION: l7d v0.1.0\n"
        );
    }

    #[test]
    fn shows_what_is_not_known_as_not_available() {
        let table = shown(Form::Table, ServerStatusResponse::default());
        assert_eq!(
            table.lines().nth(1),
            Some(
                "0           0           0            N/A                0s       \
                 N/A                   N/A                     N/A"
            )
        );
    }

    #[test]
    fn shows_what_an_agent_adds() {
        let agent = vec![Section {
            title: "Agent".to_owned(),
            lines: vec![("Proxy".to_owned(), "3 connections".to_owned())],
        }];
        let status = Status {
            sections: agent,
            response: Some(relay()),
            ..Status::default()
        };
        let mut out = Vec::new();
        write(&mut out, Style::default(), &status).unwrap();
        assert!(
            String::from_utf8(out)
                .unwrap()
                .ends_with("Agent:\n  Proxy: 3 connections\n")
        );
    }
}
