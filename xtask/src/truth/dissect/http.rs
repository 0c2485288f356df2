//! HTTP/1, HTTP/2 and gRPC.

use serde_json::{Value, json};

use super::tree::Node;
use super::{Message, begin, put};

/// A message of HTTP/1, if the layer is one.
pub(super) fn first_version(layer: &Node, base: &Message) -> Option<Message> {
    let (mut message, lines) = if layer.first("http.request.method").is_some() {
        let mut message = begin("http1.request", base);
        put(&mut message, "method", layer.bytes("http.request.method"));
        put(&mut message, "uri", layer.bytes("http.request.uri"));
        put(&mut message, "version", layer.text("http.request.version"));
        (message, "http.request.line")
    } else {
        let mut message = begin("http1.response", base);
        put(
            &mut message,
            "status",
            Some(layer.number("http.response.code")?),
        );
        let reason = layer.bytes("http.response.phrase").unwrap_or_default();
        put(&mut message, "reason", Some(reason));
        put(&mut message, "version", layer.text("http.response.version"));
        (message, "http.response.line")
    };
    let fields: Vec<_> = layer
        .bytes_of_all(lines)
        .iter()
        .map(|line| field(line))
        .collect();
    let is_host = |field: &&[String; 2]| field[0].eq_ignore_ascii_case("host");
    if lines == "http.request.line" {
        let host = fields.iter().find(is_host);
        put(&mut message, "host", host.map(|[_, value]| value.clone()));
    }
    put(&mut message, "headers", Some(json!(fields)));
    Some(message)
}

fn field(line: &str) -> [String; 2] {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    [name.trim().to_owned(), value.trim().to_owned()]
}

/// The frame of HTTP/2 that this layer is, if it is a message or the end of one.
pub(super) fn second_version(layer: &Node, base: &Message) -> Vec<Message> {
    layer
        .all("http2.stream")
        .into_iter()
        .filter_map(|frame| of_frame(frame, base))
        .collect()
}

/// What a CONTINUATION frame is called until it is part of its message.
const CONTINUATION: &str = "http2.continuation";

/// Frames of one header block are one message (RFC 9113 §4.3).
pub(super) fn join_blocks(messages: &mut Vec<Message>) {
    let mut joined: Vec<Message> = Vec::new();
    for mut message in messages.drain(..) {
        if message.get("k").and_then(Value::as_str) != Some(CONTINUATION) {
            joined.push(message);
            continue;
        }
        let ends = ["src", "dst"];
        let mut begun = joined.iter_mut().rev();
        let begun = begun.find(|begun| ends.iter().all(|end| begun.get(*end) == message.get(*end)));
        let fields = begun.and_then(|begun| begun.get_mut("headers"));
        if let (Some(Value::Array(fields)), Some(Value::Array(more))) =
            (fields, message.get_mut("headers"))
        {
            fields.append(more);
        }
    }
    *messages = joined;
}

fn of_frame(frame: &Node, base: &Message) -> Option<Message> {
    let kind = frame.number("http2.type")?;
    let mut message = match kind {
        3 => begin("http2.rst", base),
        7 => begin("http2.goaway", base),
        _ => return head(frame, kind, base),
    };
    let error = match kind {
        3 => "http2.rst_stream.error",
        _ => "http2.goaway.error",
    };
    put(&mut message, "error", frame.number(error).map(error_name));
    if kind == 7 {
        put(
            &mut message,
            "last",
            frame.number("http2.goaway.last_stream_id"),
        );
    }
    put(&mut message, "sid", frame.number("http2.streamid"));
    Some(message)
}

fn head(frame: &Node, kind: u64, base: &Message) -> Option<Message> {
    let read = |header: &Node| {
        let part = |name: &str| {
            header
                .bytes(&format!("http2.header.{name}"))
                .unwrap_or_default()
        };
        [part("name"), part("value")]
    };
    let fields: Vec<_> = frame.all("http2.header").into_iter().map(read).collect();
    let value = |name: &str| {
        let field = fields.iter().find(|[known, _]| known == name);
        field.map(|[_, value]| value.as_str())
    };
    fields.first()?;
    let mut message = match (kind, value(":method"), value(":status")) {
        (9, ..) => begin(CONTINUATION, base),
        (5, ..) => begin("http2.push", base),
        (_, Some(_), _) => begin("http2.request", base),
        (_, None, Some(_)) => begin("http2.response", base),
        (_, None, None) => begin("http2.trailers", base),
    };
    put(&mut message, "sid", frame.number("http2.streamid"));
    put(
        &mut message,
        "promised",
        frame.number("http2.push_promise.promised_stream_id"),
    );
    for name in [
        ":method",
        ":scheme",
        ":authority",
        ":path",
        "grpc-status",
        "grpc-message",
    ] {
        let key = name.trim_start_matches(':').replace('-', "_");
        put(&mut message, &key, value(name));
    }
    put(
        &mut message,
        "status",
        value(":status").and_then(|code| code.parse::<u64>().ok()),
    );
    let is_grpc = value("content-type").is_some_and(|kind| kind.starts_with("application/grpc"));
    let is_grpc = is_grpc || value("grpc-status").is_some();
    put(&mut message, "grpc", Some(is_grpc));
    put(
        &mut message,
        "end_stream",
        Some(frame.flag("http2.flags.end_stream")),
    );
    put(&mut message, "headers", Some(json!(fields)));
    Some(message)
}

/// RFC 9113 §7, in the order of their numbers.
const ERRORS: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

fn error_name(code: u64) -> Value {
    let name = usize::try_from(code).ok().and_then(|code| ERRORS.get(code));
    name.map_or_else(|| code.into(), |name| (*name).into())
}

/// The messages of gRPC in a layer that stands behind its DATA frame.
pub(super) fn grpc(layer: &Node, base: &Message, stream: Option<u64>) -> Vec<Message> {
    let lengths = layer.all("grpc.message_length");
    let flags = layer.all("grpc.compressed_flag");
    let both = lengths.into_iter().zip(flags);
    let read = |(length, flag): (&Node, &Node)| {
        let (Node::Text(length), Node::Text(flag)) = (length, flag) else {
            return None;
        };
        let mut message = begin("grpc.message", base);
        put(&mut message, "sid", stream);
        put(&mut message, "len", Some(length.parse::<u64>().ok()?));
        put(&mut message, "compressed", Some(flag == "1"));
        Some(message)
    };
    both.filter_map(read).collect()
}
