//! Zeek's `http.log` and `dns.log`: a line is a request with its answer, or what there was of both.

use std::collections::BTreeMap;
use std::path::Path;

use super::facts::Wants;
use super::{Sayings, wants};

/// Logs that are compared; others tell of other things, or are made by the tests' own scripts.
const LOGS: [&str; 2] = ["dns.log", "http.log"];

pub(super) fn read(folder: &Path) -> anyhow::Result<Sayings> {
    let mut sayings = Sayings::default();
    let map = std::fs::read_to_string(folder.join("expected/zeek/map.tsv"))?;
    for line in map.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [baseline, logs, capture] = columns[..] else {
            continue;
        };
        let capture = folder.join(capture);
        for log in logs.split(',').filter(|log| LOGS.contains(log)) {
            let path = folder.join("expected/zeek").join(baseline).join(log);
            for row in rows(&std::fs::read_to_string(path)?) {
                let told = if log == "dns.log" {
                    dns(&row)
                } else {
                    http(&row)
                };
                sayings.untold += usize::from(told.is_empty());
                for wants in told {
                    sayings.add(baseline, &capture, wants);
                }
            }
        }
    }
    Ok(sayings)
}

/// A line's fields by name, without those that are not set.
type Row = BTreeMap<String, String>;

fn rows(text: &str) -> Vec<Row> {
    let names = text.lines().find_map(|line| line.strip_prefix("#fields\t"));
    let names: Vec<&str> = names.unwrap_or_default().split('\t').collect();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let row = |line: &str| {
        let fields = names.iter().zip(line.split('\t'));
        let set = fields.filter(|(_, value)| *value != "-");
        set.map(|(name, value)| ((*name).to_owned(), plain(value)))
            .collect()
    };
    lines.map(row).collect()
}

fn plain(value: &str) -> String {
    if value == "(empty)" {
        return String::new();
    }
    let mut parts = value.split("\\x");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let (Some(byte), Some(rest)) = (byte, part.get(2..)) {
            text.push(char::from(byte));
            text.push_str(rest);
        } else {
            text.push_str("\\x");
            text.push_str(part);
        }
    }
    text
}

/// Both ends, from the one that opened the connection.
fn ends(row: &Row, is_answer: bool) -> Wants {
    let field = |name: &str| row.get(name).map(String::as_str).unwrap_or_default();
    let client = (field("id.orig_h"), field("id.orig_p"));
    let server = (field("id.resp_h"), field("id.resp_p"));
    let (from, to) = if is_answer {
        (server, client)
    } else {
        (client, server)
    };
    wants([
        ("src_ip", from.0),
        ("src_port", from.1),
        ("dst_ip", to.0),
        ("dst_port", to.1),
    ])
}

/// Adds what the row has, under our names.
fn take(wants: &mut Wants, row: &Row, names: &[(&str, &str)]) {
    for (name, ours) in names {
        if let Some(value) = row.get(*name) {
            wants.insert((*ours).to_owned(), value.clone());
        }
    }
}

fn http(row: &Row) -> Vec<Wants> {
    let mut statements = Vec::new();
    if row.contains_key("method") {
        let mut asked = ends(row, false);
        asked.insert("what".to_owned(), "http.request".to_owned());
        let names = [
            ("method", "method"),
            ("uri", "uri"),
            ("host", "host"),
            ("referrer", "field referer"),
            ("user_agent", "field user-agent"),
        ];
        take(&mut asked, row, &names);
        statements.push(asked);
    }
    let is_final = row.get("status_code") == row.get("info_code");
    for (code, words) in [("status_code", "status_msg"), ("info_code", "info_msg")] {
        // An answer that switches protocols is both.
        if is_final && code == "info_code" {
            continue;
        }
        if row.get(code).is_some_and(|code| code != "0") {
            let mut answered = ends(row, true);
            answered.insert("what".to_owned(), "http.response".to_owned());
            take(&mut answered, row, &[(code, "status"), (words, "reason")]);
            statements.push(answered);
        }
    }
    statements
}

fn dns(row: &Row) -> Vec<Wants> {
    if ["5353", "5355", "137"]
        .iter()
        .any(|port| row.get("id.resp_p").is_some_and(|p| p == port))
    {
        // Names that are not asked of servers have messages of their own.
        return Vec::new();
    }
    let mut statements = Vec::new();
    let names = [
        ("trans_id", "id"),
        ("query", "name"),
        ("qtype_name", "type"),
        ("opcode", "opcode"),
    ];
    if row.contains_key("qtype") && row.get("rejected").is_some() {
        let mut asked = ends(row, false);
        asked.insert("what".to_owned(), "dns.query".to_owned());
        take(&mut asked, row, &names);
        statements.push(asked);
    }
    if row.contains_key("rcode") {
        let mut answered = ends(row, true);
        answered.insert("what".to_owned(), "dns.response".to_owned());
        take(&mut answered, row, &names);
        take(&mut answered, row, &[("rcode", "rcode")]);
        // Without answers the flags are the query's.
        for (flag, ours) in [("AA", "aa"), ("TC", "tc"), ("RA", "ra")] {
            let is_set = row.get(flag).is_some_and(|value| value == "T");
            if row.contains_key("answers") {
                answered.insert(ours.to_owned(), is_set.to_string());
            }
        }
        let answers = row.get("answers").map(String::as_str).unwrap_or_default();
        let address = answers
            .split(',')
            .find(|answer| answer.parse::<std::net::IpAddr>().is_ok());
        if let Some(address) = address {
            answered.insert("answer".to_owned(), address.to_owned());
        }
        statements.push(answered);
    }
    for statement in &mut statements {
        if let Some(name) = statement.get_mut("name") {
            *name = name.to_lowercase();
        }
        if let Some(kind) = statement.get_mut("type") {
            let known = kind.strip_prefix("query-").unwrap_or(kind);
            *kind = if known == "*" { "ANY" } else { known }.to_owned();
        }
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_request_and_its_answer() {
        let log = "#fields\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tmethod\turi\tstatus_code\n\
                   10.0.0.1\t5\t10.0.0.2\t80\tGET\t/\\x41\t-\n";
        let rows = rows(log);
        let told = http(&rows[0]);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0]["uri"], "/A");
        assert_eq!(told[0]["dst_port"], "80");
    }
}
