//! The messages that tshark finds in a capture, one JSON object per line, with the keys of
//! `l7d replay -o messages`.
//!
//! Order is that in which tshark completes messages: a request with a body stands where its body
//! ends. `n` is the number of that packet.

mod dns;
mod http;
mod tree;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value};

use tree::Node;

/// A message: its kind is `k`.
type Message = Map<String, Value>;

/// Layers that are told in full.
const LAYERS: &str = "frame ip ipv6 tcp udp icmp icmpv6 http http2 grpc dns";

/// Whether tshark waits for the end of a body before it tells of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bodies {
    Whole,
    AsTheyCome,
}

/// All messages of a capture. `decode` is what tshark must be told of ports, or nothing.
pub(super) fn messages(capture: &Path, decode: &str) -> anyhow::Result<String> {
    let mut messages = run(capture, decode, Bodies::Whole)?;
    // What never ends is told only without waiting for the end.
    for mut message in run(capture, decode, Bodies::AsTheyCome)? {
        if !is_http1(&message) || messages.iter().any(|known| is_same(known, &message)) {
            continue;
        }
        message.insert("partial".to_owned(), true.into());
        let at = messages.partition_point(|known| frame(known) <= frame(&message));
        messages.insert(at, message);
    }
    let mut text = String::new();
    for message in messages {
        writeln!(text, "{}", Value::Object(message))?;
    }
    Ok(text)
}

fn is_http1(message: &Message) -> bool {
    let kind = message.get("k").and_then(Value::as_str);
    kind.is_some_and(|kind| kind.starts_with("http1."))
}

fn frame(message: &Message) -> Option<u64> {
    message.get("n")?.as_u64()
}

/// The same but for the packet that completes it.
fn is_same(known: &Message, message: &Message) -> bool {
    let mut fields = message.iter().filter(|(key, _)| *key != "n");
    fields.all(|(key, value)| known.get(key) == Some(value))
}

fn run(capture: &Path, decode: &str, bodies: Bodies) -> anyhow::Result<Vec<Message>> {
    let is_whole = if bodies == Bodies::Whole {
        "TRUE"
    } else {
        "FALSE"
    };
    let mut command = Command::new("tshark");
    command
        .args(["-2", "-n", "-x", "-T", "json", "-J", LAYERS])
        .args(["-Y", "http or http2 or dns"])
        .args(["-o", "tcp.reassemble_out_of_order:TRUE"])
        .args(["-o", "http.decompress_body:FALSE"])
        .args(["-o", &format!("http.desegment_body:{is_whole}")])
        .arg("-r")
        .arg(capture)
        // The settings of whoever runs this would count.
        .env("HOME", "/nonexistent");
    if !decode.is_empty() {
        command.args(["-d", decode]);
    }
    let output = command.output().context("tshark")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tshark: {said}");
    let packets: Node = serde_json::from_slice(&output.stdout).context("tshark's JSON")?;
    let Node::List(packets) = packets else {
        return Ok(Vec::new());
    };
    let mut messages = packets.iter().flat_map(packet).collect();
    http::join_blocks(&mut messages);
    Ok(messages)
}

/// Goes through a packet's layers from the outside.
fn packet(packet: &Node) -> Vec<Message> {
    let mut base = Message::new();
    let (mut from, mut to) = (String::new(), String::new());
    let mut stream = None;
    let mut messages = Vec::new();
    let layers = packet.first("layers").map(Node::fields).unwrap_or_default();
    for (name, layer) in layers {
        let text = |field: &str| layer.text(&format!("{name}.{field}")).unwrap_or_default();
        match name.as_str() {
            "frame" => put(&mut base, "n", layer.number("frame.number")),
            "ip" => (from, to) = (text("src").to_owned(), text("dst").to_owned()),
            "ipv6" => (from, to) = (format!("[{}]", text("src")), format!("[{}]", text("dst"))),
            // Behind it is what somebody else sent.
            "icmp" | "icmpv6" => return Vec::new(),
            "tcp" | "udp" => {
                base.insert(
                    "src".to_owned(),
                    format!("{from}:{}", text("srcport")).into(),
                );
                base.insert("dst".to_owned(), format!("{to}:{}", text("dstport")).into());
                base.insert("l4".to_owned(), name.as_str().into());
            }
            "http" => messages.extend(http::first_version(layer, &base)),
            "http2" => {
                messages.extend(http::second_version(layer, &base));
                stream = layer.number("http2.streamid").or(stream);
            }
            "grpc" => messages.extend(http::grpc(layer, &base, stream)),
            "dns" => messages.push(dns::message(layer, &base)),
            _ => {}
        }
    }
    messages
}

/// Adds what is there.
fn put(message: &mut Message, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        message.insert(key.to_owned(), value.into());
    }
}

/// A message of a kind.
fn begin(kind: &str, base: &Message) -> Message {
    let mut message = base.clone();
    message.insert("k".to_owned(), kind.into());
    message
}
