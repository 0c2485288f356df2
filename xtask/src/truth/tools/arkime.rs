//! Arkime's `.test` files: sessions as JSON, each with what occurred in it at all.

use std::path::Path;

use serde_json::Value;

use super::facts::Wants;
use super::{Sayings, Statement, wants};

pub(super) fn read(folder: &Path) -> anyhow::Result<Sayings> {
    let mut sayings = Sayings::default();
    let mut files: Vec<_> = std::fs::read_dir(folder.join("expected/arkime"))?
        .map(|file| file.map(|file| file.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    for file in files {
        let case = file.file_stem().unwrap_or_default().display().to_string();
        let capture = folder
            .join("pcap")
            .join(format!("arkime__tests__pcap__{case}.pcap"));
        let told: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        let sessions = told.get("sessions3").and_then(Value::as_array);
        for session in sessions
            .into_iter()
            .flatten()
            .filter_map(|session| session.get("body"))
        {
            let http = http(session);
            for wants in http.into_iter().chain(dns(session)) {
                sayings.add(&case, &capture, wants);
            }
            sayings.statements.extend(counts(&case, &capture, session));
        }
    }
    Ok(sayings)
}

/// Both ends; `None` where the session has none.
fn ends(session: &Value, is_answer: bool) -> Option<Wants> {
    let end = |name: &str| {
        let end = session.get(name)?;
        Some((
            end.get("ip")?.as_str()?.to_owned(),
            end.get("port")?.to_string(),
        ))
    };
    let (client, server) = (end("source")?, end("destination")?);
    let (from, to) = if is_answer {
        (server, client)
    } else {
        (client, server)
    };
    let address = |text: &str| {
        let parsed: Result<std::net::IpAddr, _> = text.parse();
        parsed.map_or_else(|_| text.to_owned(), |address| address.to_string())
    };
    let (from_ip, to_ip) = (address(&from.0), address(&to.0));
    Some(wants([
        ("src_ip", &from_ip),
        ("src_port", &from.1),
        ("dst_ip", &to_ip),
        ("dst_port", &to.1),
    ]))
}

fn words(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items
        .map(|item| match item {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
        .collect()
}

fn http(session: &Value) -> Vec<Wants> {
    let Some(told) = session.get("http") else {
        return Vec::new();
    };
    let mut statements = Vec::new();
    for (name, ours, what) in [
        ("method", "method", "http.request"),
        ("host", "host", "http.request"),
        ("path", "path", "http.request"),
        ("uri", "site", "http.request"),
        ("clientVersion", "version", "http.request"),
        ("useragent", "field user-agent", "http.request"),
        ("statuscode", "status", "http.response"),
        ("serverVersion", "version", "http.response"),
    ] {
        for value in words(told.get(name)) {
            if let Some(mut wants) = ends(session, what == "http.response") {
                wants.insert("what".to_owned(), what.to_owned());
                wants.insert(ours.to_owned(), value);
                statements.push(wants);
            }
        }
    }
    statements
}

/// How many requests had a method.
fn counts(case: &str, capture: &Path, session: &Value) -> Vec<Statement> {
    let told = session.get("http").and_then(Value::as_object);
    let fields = told.into_iter().flatten();
    let counted = fields.filter_map(|(name, count)| {
        let method = name.strip_prefix("method-")?;
        let mut wants = ends(session, false)?;
        wants.insert("what".to_owned(), "http.request".to_owned());
        wants.insert("method".to_owned(), method.to_owned());
        Some(Statement {
            case: case.to_owned(),
            capture: capture.to_owned(),
            wants,
            count: usize::try_from(count.as_u64()?).ok()?,
            is_exact: true,
        })
    });
    counted.collect()
}

/// RFC 1035 §4.1.1, RFC 2136 §2.2, in the order of their numbers.
const RCODES: [&str; 6] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMPL", "REFUSED",
];

fn dns(session: &Value) -> Vec<Wants> {
    let looked_up = session.get("dns").and_then(Value::as_array);
    let told = looked_up.into_iter().flatten().filter_map(|told| {
        let text = |key: &str| told.get(key).and_then(Value::as_str);
        let rcode = RCODES.iter().position(|name| Some(*name) == text("status"));
        let mut wants = ends(session, rcode.is_some())?;
        let what = if rcode.is_some() {
            "dns.response"
        } else {
            "dns.query"
        };
        wants.insert("what".to_owned(), what.to_owned());
        let name = text("queryHost")?.replace("<root>", ".");
        wants.insert("name".to_owned(), name);
        wants.insert("type".to_owned(), text("qt")?.to_owned());
        if let Some(rcode) = rcode {
            wants.insert("rcode".to_owned(), rcode.to_string());
        }
        Some(wants)
    });
    told.collect()
}
