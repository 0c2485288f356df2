//! `.result` files of `DeepFlow`: a line for each packet, HTTP in the form that Rust has for debugging,
//! DNS as JSON. Addresses are not told.

use std::path::Path;

use serde_json::Value;

use super::facts::Wants;
use super::{Sayings, wants};

/// What captures are called.
const CAPTURE: &str = "deepflow__agent__resources__test__flow_generator__";

pub(super) fn read(folder: &Path) -> anyhow::Result<Sayings> {
    let mut sayings = Sayings::default();
    for kind in ["dns", "http"] {
        let mut files: Vec<_> = std::fs::read_dir(folder.join("expected/deepflow").join(kind))?
            .map(|file| file.map(|file| file.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        for file in files {
            let stem = file.file_stem().unwrap_or_default();
            let case = format!("{kind}/{}", stem.display());
            let capture = format!("{CAPTURE}{kind}__{}.pcap", stem.display());
            let capture = folder.join("pcap").join(capture);
            for line in std::fs::read_to_string(&file)?.lines() {
                let told = if kind == "dns" {
                    dns(line).into_iter().collect()
                } else {
                    http(line)
                };
                sayings.untold += usize::from(told.is_empty());
                for wants in told {
                    sayings.add(&case, &capture, wants);
                }
            }
        }
    }
    Ok(sayings)
}

fn dns(line: &str) -> Option<Wants> {
    let (json, _) = line.rsplit_once(" headers_offset:")?;
    let value: Value = serde_json::from_str(json).ok()?;
    let text = |key: &str| match value.get(key)? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let is_answer = text("msg_type")? == "Response";
    let mut told = wants([
        (
            "what",
            if is_answer {
                "dns.response"
            } else {
                "dns.query"
            },
        ),
        ("id", &text("request_id")?),
        ("name", &text("request_resource")?),
        ("type", &text("request_type")?),
    ]);
    if is_answer {
        told.insert("rcode".to_owned(), text("response_code")?);
    }
    let addresses = text("response_result").unwrap_or_default();
    if let Some((_, rest)) = addresses.split_once("A=") {
        let address = rest.split(' ').next()?;
        if address.parse::<std::net::IpAddr>().is_ok() {
            told.insert("answer".to_owned(), address.to_owned());
        }
    }
    Some(told)
}

/// A request, or an answer with its end; packets with data alone hold no head.
fn http(line: &str) -> Vec<Wants> {
    if !line.ends_with("is_http: true") {
        return Vec::new();
    }
    let field = |name: &str| {
        let (_, rest) = line.split_once(&format!(" {name}: "))?;
        let value = rest.split([',', '}']).next()?.trim();
        let value = value
            .strip_prefix("Some(")
            .map_or(value, |inner| inner.trim_end_matches(')'));
        (value != "None").then(|| value.trim_matches('"').to_owned())
    };
    let told = |facts: Vec<(&str, Option<String>)>| -> Wants {
        let set = facts
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)));
        set.filter(|(_, value)| !value.is_empty()).collect()
    };
    let stream = ("sid", field("stream_id"));
    let method = field("method");
    let mut statements = Vec::new();
    match method.as_deref() {
        Some("_RequestData" | "_ResponseData") => {}
        None | Some("_ResponseHeader") => {
            if let Some(code) = field("status_code") {
                let what = ("what", Some("http.response".to_owned()));
                statements.push(told(vec![stream.clone(), what, ("status", Some(code))]));
            }
            if let Some(code) = field("grpc_status_code") {
                statements.push(told(vec![stream, ("grpc_status", Some(code))]));
            }
        }
        Some(method) => {
            let what = ("what", Some("http.request".to_owned()));
            let is_named = method != "_RequestHeader";
            let method = ("method", is_named.then(|| method.to_uppercase()));
            let uri = ("uri", quoted(line, "path"));
            statements.push(told(vec![
                stream,
                what,
                method,
                uri,
                ("host", field("host")),
            ]));
        }
    }
    statements
}

/// A quoted value, which may hold commas.
fn quoted(line: &str, name: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!(" {name}: \""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_request_or_an_answer() {
        let line = "HttpInfo { proto: Grpc, stream_id: Some(3), method: _RequestHeader, \
                    path: \"/a,b\", host: \"h\", status_code: None, grpc_status_code: None } is_http: true";
        let told = http(line);
        assert_eq!(
            (told[0]["uri"].as_str(), told[0]["sid"].as_str()),
            ("/a,b", "3")
        );
        let line = "HttpInfo { stream_id: Some(3), method: _ResponseHeader, path: \"\", \
                    status_code: Some(200), grpc_status_code: Some(0) } is_http: true";
        let told = http(line);
        assert_eq!(
            (told[0]["status"].as_str(), told[1]["grpc_status"].as_str()),
            ("200", "0")
        );
        assert!(http("HttpInfo { } is_http: false").is_empty());
    }
}
