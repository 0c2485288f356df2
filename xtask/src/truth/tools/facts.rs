//! What l7d sees, as facts that other tools' words can be looked up in.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

/// Facts of a message, or of a request with its answer. A fact may have several forms: with escapes
/// and without, with a port and without.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts(BTreeMap<String, Vec<String>>);

/// Some facts that must be so together.
pub(super) type Wants = BTreeMap<String, String>;

impl Facts {
    fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0.entry(key.to_owned()).or_default().push(value.into());
    }

    fn with(mut self, other: &Self) -> Self {
        for (key, values) in &other.0 {
            // Who asked whom is told by the request.
            if !self.0.contains_key(key) {
                self.0.insert(key.clone(), values.clone());
            }
        }
        self
    }

    fn renamed(mut self, what: &str) -> Self {
        self.0.insert("what".to_owned(), vec![what.to_owned()]);
        self
    }

    /// Only the ends, the other way round: what is known of a request that was not seen.
    fn reversed(&self) -> Self {
        let mut reversed = Self::default();
        for (ours, theirs) in [("src", "dst"), ("dst", "src")] {
            for part in ["ip", "port"] {
                reversed.add(
                    &format!("{ours}_{part}"),
                    self.one(&format!("{theirs}_{part}")),
                );
            }
        }
        reversed
    }

    fn one(&self, key: &str) -> &str {
        let first = self.0.get(key).and_then(|values| values.first());
        first.map(String::as_str).unwrap_or_default()
    }

    /// Whether all of them are so.
    pub(super) fn have(&self, wants: &Wants) -> bool {
        wants.iter().all(|(key, wanted)| match self.0.get(key) {
            Some(values) => values.contains(wanted),
            None => wanted.is_empty(),
        })
    }
}

/// The facts of all messages, and of all exchanges behind them.
pub(super) fn read(messages: &str) -> Vec<Facts> {
    let values = messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let mut facts: Vec<Facts> = values.filter_map(|value: Value| message(&value)).collect();
    let exchanges = exchanges(&facts);
    facts.extend(exchanges);
    facts
}

fn message(value: &Value) -> Option<Facts> {
    let kind = value.get("k")?.as_str()?;
    let mut facts = Facts::default();
    let (protocol, what) = kind.split_once('.')?;
    let family = if protocol == "dns" { "dns" } else { "http" };
    facts.add("what", format!("{family}.{what}"));
    for (end, ip, port) in [("src", "src_ip", "src_port"), ("dst", "dst_ip", "dst_port")] {
        let (address, number) = value.get(end)?.as_str()?.rsplit_once(':')?;
        facts.add(ip, address.trim_matches(['[', ']']));
        facts.add(port, number);
    }
    for key in [
        "method",
        "status",
        "reason",
        "sid",
        "id",
        "opcode",
        "rcode",
        "grpc_status",
    ] {
        if let Some(value) = value.get(key) {
            facts.add(key, text(value));
        }
    }
    if family == "dns" {
        dns(&mut facts, value);
    } else {
        http(&mut facts, value);
    }
    Some(facts)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn http(facts: &mut Facts, value: &Value) {
    let word = |key: &str| value.get(key).and_then(Value::as_str);
    let version = word("version").unwrap_or("HTTP/2");
    facts.add("version", version.trim_start_matches("HTTP/"));
    facts.add("version", version);
    let host = word("host").or(word("authority"));
    if let Some(host) = host {
        facts.add("host", host);
        facts.add("host", host.to_lowercase());
        facts.add("host", without_port(host).to_lowercase());
    }
    if let Some(uri) = word("uri").or(word("path")) {
        let plain = unescape(uri);
        facts.add("path", plain.split('?').next().unwrap_or_default());
        facts.add("path", uri.split('?').next().unwrap_or_default());
        let site = host.unwrap_or_default();
        facts.add("site", format!("{site}{uri}"));
        facts.add("site", uri.trim_start_matches("http://"));
        facts.add("uri", uri);
        facts.add("uri", plain);
    }
    let fields = value.get("headers").and_then(Value::as_array);
    for field in fields.into_iter().flatten() {
        if let [Value::String(name), Value::String(value)] = field.as_array().map_or(&[][..], |f| f)
        {
            facts.add(&format!("field {}", name.to_lowercase()), value.clone());
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

/// Undoes `%NN`.
fn unescape(uri: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = uri.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| {
            after
                .get(at)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        if let (b'%', Some(high), Some(low)) = (first, digit(0), digit(1)) {
            bytes.extend(u8::try_from(high << 4 | low));
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| uri.to_owned())
}

fn dns(facts: &mut Facts, value: &Value) {
    let list = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    for flag in list("flags") {
        facts.add("flag", text(flag));
    }
    for flag in ["aa", "tc", "rd", "ra"] {
        let is_set = list("flags").any(|set| set.as_str() == Some(flag));
        facts.add(flag, is_set.to_string());
    }
    for (place, question) in list("qd").enumerate() {
        let (name, kind) = (word(question, "name"), word(question, "type"));
        facts.add("name", name.to_lowercase());
        facts.add("name", name.clone());
        facts.add("type", kind.clone());
        facts.add(&format!("queries[{place}].rrname"), name);
        facts.add(&format!("queries[{place}].rrtype"), kind);
    }
    for (place, answer) in list("an").enumerate() {
        let data = word(answer, "data");
        facts.add("answer", data.to_lowercase());
        facts.add("answer type", word(answer, "type"));
        facts.add(&format!("answers[{place}].rrname"), word(answer, "name"));
        facts.add(&format!("answers[{place}].rrtype"), word(answer, "type"));
        facts.add(&format!("answers[{place}].rdata"), data);
    }
    let counts: Vec<String> = list("counts").map(text).collect();
    if let Some(count) = counts.get(1) {
        facts.add("answers", count.clone());
    }
}

fn word(value: &Value, key: &str) -> String {
    value.get(key).map(text).unwrap_or_default()
}

/// Requests with their answers, in the order of each connection.
fn exchanges(messages: &[Facts]) -> Vec<Facts> {
    let mut open: BTreeMap<String, VecDeque<Facts>> = BTreeMap::new();
    let mut closed = Vec::new();
    for facts in messages {
        let ends = |from: &str, to: &str| {
            let [ip, port] = ["ip", "port"].map(|part| facts.one(&format!("{from}_{part}")));
            let [to_ip, to_port] = ["ip", "port"].map(|part| facts.one(&format!("{to}_{part}")));
            format!("{ip} {port} {to_ip} {to_port} {}", facts.one("sid"))
        };
        match facts.one("what") {
            "http.request" => {
                let queue = open.entry(ends("src", "dst")).or_default();
                queue.push_back(facts.clone().renamed("exchange"));
            }
            "http.response"
                if !facts.one("status").starts_with('1') || facts.one("status") == "101" =>
            {
                let asked = open
                    .get_mut(&ends("dst", "src"))
                    .and_then(VecDeque::pop_front);
                let asked = asked.unwrap_or_else(|| facts.reversed());
                closed.push(asked.with(facts).renamed("exchange"));
            }
            _ => {}
        }
    }
    closed.extend(open.into_values().flatten());
    closed
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = r#"{"k":"http1.request","src":"10.0.0.1:5","dst":"[::1]:80","method":"GET","uri":"/a%20b?c","host":"A:80","headers":[["X","y"]]}"#;
    const ANSWERED: &str =
        r#"{"k":"http1.response","src":"[::1]:80","dst":"10.0.0.1:5","status":200,"headers":[]}"#;

    fn count(facts: &[Facts], wants: &[(&str, &str)]) -> usize {
        let wants = wants
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let wants: Wants = wants.collect();
        facts.iter().filter(|facts| facts.have(&wants)).count()
    }

    #[test]
    fn a_fact_has_several_forms() {
        let facts = read(ASKED);
        for (key, value) in [
            ("uri", "/a b?c"),
            ("path", "/a b"),
            ("host", "a"),
            ("dst_ip", "::1"),
            ("field x", "y"),
        ] {
            assert_eq!(
                count(&facts, &[("what", "http.request"), (key, value)]),
                1,
                "{key}"
            );
        }
    }

    #[test]
    fn an_exchange_is_a_request_with_its_answer() {
        let both = read(&[ASKED, ANSWERED, ASKED].join("\n"));
        let exchange = ("what", "exchange");
        assert_eq!(count(&both, &[exchange, ("src_port", "5")]), 2);
        assert_eq!(
            count(&both, &[exchange, ("method", "GET"), ("status", "200")]),
            1
        );
        let late = read(ANSWERED);
        assert_eq!(
            count(&late, &[exchange, ("dst_port", "80"), ("status", "200")]),
            1
        );
    }
}
