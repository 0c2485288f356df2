//! One JSON object per line, in the protobuf JSON form with the fields' protobuf names.

use std::io::{self, Write};

use proto::observer::GetFlowsResponse;
use proto::observer::get_flows_response::ResponseTypes;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// Keys of timestamps.
const TIMES: [&str; 3] = ["time", "first", "last"];

/// Writes one message and a line feed.
pub fn line<T: Serialize>(out: &mut impl Write, message: &T) -> io::Result<()> {
    let mut text = zulu(&serde_json::to_string(message)?);
    text.push('\n');
    escaped(out, &text)
}

/// Writes a response with what happened before where and when, which is the order people read.
pub(super) fn response(out: &mut impl Write, response: &GetFlowsResponse) -> io::Result<()> {
    line(out, &Envelope(response))
}

struct Envelope<'r>(&'r GetFlowsResponse);

impl Serialize for Envelope<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.0.response_types {
            Some(ResponseTypes::Flow(flow)) => map.serialize_entry("flow", flow)?,
            Some(ResponseTypes::NodeStatus(status)) => {
                map.serialize_entry("node_status", status)?;
            }
            Some(ResponseTypes::LostEvents(lost)) => map.serialize_entry("lost_events", lost)?,
            None => {}
        }
        if !self.0.node_name.is_empty() {
            map.serialize_entry("node_name", &self.0.node_name)?;
        }
        if let Some(time) = &self.0.time {
            map.serialize_entry("time", time)?;
        }
        map.end()
    }
}

/// Writes UTC as `Z` instead of `+00:00`, as the protobuf JSON form wants timestamps. A key with
/// its quotes cannot occur within a string, where quotes are escaped.
fn zulu(text: &str) -> String {
    let mut pieces = text.split("+00:00\"").peekable();
    let mut zulu = String::with_capacity(text.len());
    while let Some(piece) = pieces.next() {
        zulu.push_str(piece);
        if pieces.peek().is_some() {
            zulu.push_str(if ends_in_time(piece) {
                "Z\""
            } else {
                "+00:00\""
            });
        }
    }
    zulu
}

/// Whether text ends in the key and the digits of a timestamp.
fn ends_in_time(text: &str) -> bool {
    let key = text.trim_end_matches(|c: char| c.is_ascii_digit() || "-T:.".contains(c));
    let named = |rest: &str, name| rest.strip_suffix(name).is_some_and(|r| r.ends_with('"'));
    key.strip_suffix("\":\"")
        .is_some_and(|rest| TIMES.iter().any(|name| named(rest, name)))
}

/// Writes `<`, `>`, `&` and the two Unicode line separators escaped, as tools that put flow logs
/// into web pages expect; in JSON they only occur within strings.
fn escaped(out: &mut impl Write, text: &str) -> io::Result<()> {
    let mut rest = text;
    while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        let (before, from) = rest.split_at(at);
        out.write_all(before.as_bytes())?;
        let mut chars = from.chars();
        if let Some(c) = chars.next() {
            write!(out, "\\u{:04x}", u32::from(c))?;
        }
        rest = chars.as_str();
    }
    out.write_all(rest.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(message: &impl Serialize) -> String {
        let mut out = Vec::new();
        line(&mut out, message).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_what_a_web_page_would_read_as_markup() {
        assert_eq!(
            shown(&"<a&b>\u{2028}"),
            "\"\\u003ca\\u0026b\\u003e\\u2028\"\n"
        );
    }

    #[test]
    fn writes_utc_as_zulu_in_timestamps_alone() {
        let time = serde_json::json!({ "time": "2026-01-02T03:04:05.678+00:00" });
        assert_eq!(shown(&time), "{\"time\":\"2026-01-02T03:04:05.678Z\"}\n");
        let summary = serde_json::json!({ "Summary": "\"time\":\"2026-01-02T03:04:05+00:00" });
        assert!(shown(&summary).contains("+00:00"));
    }
}
