//! Suricata's `test.yaml`: how many events of a kind have some fields.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use policy_l7::yaml::{self, Map, Reader};

use super::facts::Wants;
use super::{Sayings, Statement};

pub(super) fn read(folder: &Path) -> anyhow::Result<Sayings> {
    let mut sayings = Sayings::default();
    let captures: Vec<PathBuf> = std::fs::read_dir(folder.join("pcap"))?
        .map(|file| file.map(|file| file.path()))
        .collect::<Result<_, _>>()?;
    let mut files: Vec<_> = std::fs::read_dir(folder.join("expected/suricata-verify"))?
        .map(|file| file.map(|file| file.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    for file in files {
        let case = file.file_stem().unwrap_or_default().display().to_string();
        let text = std::fs::read_to_string(&file)?;
        if !text.contains("event_type: http") && !text.contains("event_type: dns") {
            continue;
        }
        let name = format!("suricata-verify__tests__{case}__");
        let is_of = |path: &&PathBuf| {
            let file = path.file_name().unwrap_or_default();
            file.to_string_lossy().starts_with(&name)
        };
        let capture = captures.iter().find(is_of).with_context(|| name.clone())?;
        checks(&case, capture, &text, &mut sayings).with_context(|| case.clone())?;
    }
    Ok(sayings)
}

/// All checks of a test; those of other kinds of events are passed over.
fn checks(case: &str, capture: &Path, text: &str, sayings: &mut Sayings) -> anyhow::Result<()> {
    let documents = yaml::parse(case, text).map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let mut reader = Reader::new(case);
    for document in &documents {
        let Some(mut root) = reader.map(&document.root()) else {
            continue;
        };
        let Some(checks) = root.get("checks") else {
            continue;
        };
        for check in reader.list(&checks) {
            let filter = reader.map(&check).and_then(|mut check| check.get("filter"));
            let Some(mut filter) = filter.and_then(|filter| reader.map(&filter)) else {
                continue;
            };
            let Some(statement) = statement(case, capture, &mut filter, &mut reader) else {
                continue;
            };
            match statement {
                Told::Comparable(statement) => sayings.statements.push(statement),
                Told::Other => sayings.untold += 1,
            }
        }
    }
    Ok(())
}

enum Told {
    Comparable(Statement),
    /// Of another log, of some versions only, or about nothing that we tell.
    Other,
}

fn statement(
    case: &str,
    capture: &Path,
    filter: &mut Map<'_>,
    reader: &mut Reader,
) -> Option<Told> {
    let at = filter.get("match")?;
    let fields = reader.map(&at)?;
    let mut facts: Vec<(&str, &str)> = Vec::new();
    for (name, value) in fields.entries() {
        facts.push((name, reader.text(&value).unwrap_or_default()));
    }
    let kind = facts.iter().find(|(name, _)| *name == "event_type")?.1;
    if !["dns", "http"].contains(&kind) {
        return None;
    }
    if filter.has("filename") || filter.has("requires") {
        return Some(Told::Other);
    }
    let count = filter.get("count")?;
    let count = reader.text(&count)?.parse().ok()?;
    let mut wants = Wants::new();
    if kind == "http" {
        wants.insert("what".to_owned(), "exchange".to_owned());
    }
    let mut is_exact = true;
    for (name, value) in facts {
        match ours(kind, name, value) {
            Some((name, value)) => {
                wants.insert(name, value);
            }
            None if name == "event_type" => {}
            None => is_exact = false,
        }
    }
    // Without any field, or where nobody may be found, what is left out would decide.
    if wants.is_empty() || (!is_exact && count == 0) {
        return Some(Told::Other);
    }
    Some(Told::Comparable(Statement {
        case: case.to_owned(),
        capture: capture.to_owned(),
        wants,
        count,
        is_exact,
    }))
}

/// A field in our words, if we have them.
fn ours(kind: &str, name: &str, value: &str) -> Option<(String, String)> {
    let name = match (kind, name) {
        (_, "src_ip") => "src_ip",
        (_, "src_port") => "src_port",
        (_, "dest_ip") => "dst_ip",
        (_, "dest_port") => "dst_port",
        ("http", "http.hostname") => "host",
        ("http", "http.http_method") => "method",
        ("http", "http.http_user_agent") => "field user-agent",
        ("http", "http.protocol") => "version",
        ("http", "http.status") => "status",
        ("http", "http.url") => "uri",
        ("http", "http.redirect") => "field location",
        ("dns", "dns.rrname") => "name",
        ("dns", "dns.rrtype") => "type",
        ("dns", "dns.rcode") => {
            let code = RCODES.iter().position(|name| *name == value)?;
            return Some(("rcode".to_owned(), code.to_string()));
        }
        ("dns", "dns.type") => {
            let what = match value {
                "query" | "request" => "dns.query",
                "answer" | "response" => "dns.response",
                _ => return None,
            };
            return Some(("what".to_owned(), what.to_owned()));
        }
        ("dns", name) if name.starts_with("dns.queries[") || name.starts_with("dns.answers[") => {
            name.strip_prefix("dns.")?
        }
        _ => return None,
    };
    Some((name.to_owned(), value.to_owned()))
}

/// RFC 1035 §4.1.1, in the order of their numbers.
const RCODES: [&str; 6] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_so_many_events_with_some_fields() {
        let text = "checks:\n- filter:\n    count: 2\n    match:\n      event_type: http\n      http.status: 200\n\
                    - filter:\n    count: 1\n    match:\n      event_type: http\n      http.length: 5\n\
                    - filter:\n    filename: x\n    count: 1\n    match:\n      event_type: dns\n\
                    - filter:\n    count: 1\n    match:\n      event_type: alert\n";
        let mut sayings = Sayings::default();
        checks("c", Path::new("p"), text, &mut sayings).expect("checks");
        let told: Vec<_> = sayings
            .statements
            .iter()
            .map(|s| (s.count, s.is_exact))
            .collect();
        assert_eq!(told, [(2, true), (1, false)]);
        assert_eq!(sayings.statements[0].wants["status"], "200");
        assert_eq!(sayings.untold, 1);
    }
}
