//! One JSON object per line, in the protobuf JSON form with the fields' protobuf names.

use std::io::{self, Write};

use proto::observer::GetFlowsResponse;
use proto::observer::get_flows_response::ResponseTypes;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::ser::Formatter;

/// Writes one message and a line feed.
pub fn line<T: Serialize>(out: &mut impl Write, message: &T) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, WebSafe);
    message.serialize(&mut serializer)?;
    out.write_all(b"\n")
}

/// Writes a response with what happened before where and when, which is the order people read.
pub fn response(out: &mut impl Write, response: &GetFlowsResponse) -> io::Result<()> {
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

/// Writes `<`, `>`, `&` and the two Unicode line separators escaped, as tools that put flow logs
/// into web pages expect.
struct WebSafe;

impl Formatter for WebSafe {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
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
    fn writes_utc_as_zulu() {
        let time = proto::Timestamp {
            seconds: 1_767_323_045,
            nanos: 678_000_000,
        };
        assert_eq!(shown(&time), "\"2026-01-02T03:04:05.678Z\"\n");
    }
}
