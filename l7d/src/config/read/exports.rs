//! Exports of flows.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use policy_l7::yaml::{Cursor, Map, Reader};

use super::values::{bounded, free_entries, items, seconds, texts};
use crate::clock::Timestamp;
use crate::config::{Aggregate, Export, ExportFile, ExportTarget, Lines, Otlp, Signal};

/// Most exports: each has a thread.
const EXPORTS_MAX: usize = 16;

/// Reads the list.
pub(super) fn exports(reader: &mut Reader, map: &mut Map<'_>) -> Vec<Export> {
    let mut exports: Vec<Export> = Vec::new();
    for item in items(reader, map, "exports") {
        if exports.len() == EXPORTS_MAX {
            reader.fault(&item, format!("more than {EXPORTS_MAX} exports"));
            break;
        }
        let Some(export) = export(reader, &item) else {
            continue;
        };
        if exports.iter().any(|other| other.name == export.name) {
            reader.fault(&item, format!("another export is called {}", export.name));
        }
        let place = export.target.place();
        let same = |other: &&Export| place.is_some() && other.target.place() == place;
        if let Some(other) = exports.iter().find(same) {
            let (target, name) = (&export.target, &other.name);
            reader.fault(&item, format!("{name} goes to {target} already"));
        }
        exports.push(export);
    }
    exports
}

fn export(reader: &mut Reader, at: &Cursor<'_>) -> Option<Export> {
    let mut map = reader.map(at)?;
    let name = map.need(reader, "name").and_then(|at| reader.text(&at));
    let lines = lines(reader, &mut map);
    let has_lines = lines != Lines::default();
    let file = map.get("file").and_then(|at| file(reader, &at));
    let stdout = map.get("stdout").and_then(|at| reader.boolean(&at));
    let otlp_at = map.get("otlp");
    let otlp = otlp_at.as_ref().and_then(|at| otlp(reader, at));
    if let Some(at) = otlp_at.filter(|_| has_lines) {
        let message = "`fields` and `aggregate` are about lines of JSON";
        reader.fault(&at, message);
    }
    let target = match (file, stdout.unwrap_or(false), otlp) {
        (Some(file), false, None) => Some(ExportTarget::File(file, lines)),
        (None, true, None) => Some(ExportTarget::Stdout(lines)),
        (None, false, Some(otlp)) => Some(ExportTarget::Otlp(otlp)),
        // What is wrong with the one that is there was said.
        (None, false, None) if ["file", "otlp"].into_iter().any(|name| map.has(name)) => None,
        _ => {
            let message = "an export goes to one of `file`, `stdout: true` and `otlp`";
            reader.fault(at, message);
            None
        }
    };
    let filters = |items: Vec<Cursor<'_>>| items.iter().map(Cursor::to_json).collect();
    let allow = filters(items(reader, &mut map, "allow"));
    let deny = filters(items(reader, &mut map, "deny"));
    let end = map.get("end").and_then(|at| time(reader, &at));
    map.end(reader);
    Some(Export {
        name: name?.to_owned(),
        target: target?,
        allow,
        deny,
        end,
    })
}

fn lines(reader: &mut Reader, map: &mut Map<'_>) -> Lines {
    let fields = texts(reader, map, "fields").unwrap_or_default();
    let aggregate = map.get("aggregate").and_then(|at| {
        let mut map = reader.map(&at)?;
        let fields = map.need(reader, "fields");
        let fields = fields.map(|at| reader.list(&at)).unwrap_or_default();
        let fields = fields.iter().filter_map(|field| reader.text(field));
        let fields: Vec<String> = fields.map(str::to_owned).collect();
        let mut interval = Duration::from_secs(10);
        seconds(reader, &mut map, "interval", 1, &mut interval);
        map.end(reader);
        if fields.is_empty() {
            reader.fault(&at, "in which fields flows are equal that become one");
        }
        Some(Aggregate { fields, interval })
    });
    Lines { fields, aggregate }
}

fn file(reader: &mut Reader, at: &Cursor<'_>) -> Option<ExportFile> {
    let mut map = reader.map(at)?;
    let path_at = map.need(reader, "path");
    let path = path_at.as_ref().and_then(|at| reader.text(at));
    let mut file = ExportFile::new(PathBuf::from(path.unwrap_or_default()));
    bounded(
        reader,
        &mut map,
        "maxBytes",
        4096..=1 << 40,
        &mut file.max_bytes,
    );
    bounded(reader, &mut map, "keep", 0..=100_000, &mut file.keep);
    file.keep_bytes = map
        .get("keepBytes")
        .and_then(|at| reader.parse(&at, "a number of bytes"));
    file.max_age = age(reader, &mut map, "maxAge");
    file.keep_age = age(reader, &mut map, "keepAge");
    if let Some(compress) = map.get("compress").and_then(|at| reader.boolean(&at)) {
        file.compress = compress;
    }
    map.end(reader);
    if let Some(at) = path_at
        && !(file.path.is_absolute() && file.path.file_name().is_some())
    {
        let path = file.path.display();
        reader.fault(&at, format!("`{path}` is not the absolute path of a file"));
    }
    path.map(|_| file)
}

fn age(reader: &mut Reader, map: &mut Map<'_>, name: &'static str) -> Option<Duration> {
    let mut age = Duration::ZERO;
    seconds(reader, map, name, 1, &mut age);
    (!age.is_zero()).then_some(age)
}

fn otlp(reader: &mut Reader, at: &Cursor<'_>) -> Option<Otlp> {
    let mut map = reader.map(at)?;
    let endpoint_at = map.need(reader, "endpoint");
    let endpoint = endpoint_at.as_ref().and_then(|at| reader.text(at));
    let signals = [("logs", Signal::Logs), ("spans", Signal::Spans)];
    let signal = map.get("signal");
    let signal = signal.and_then(|at| reader.choice(&at, &signals));
    let headers = free_entries(reader, &mut map, "headers")
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_lowercase(), reader.text(&value)?.to_owned())))
        .collect();
    let mut path = |name| {
        let at = map.get(name)?;
        reader.text(&at).map(PathBuf::from)
    };
    let (ca, certificate, key) = (path("ca"), path("certificate"), path("key"));
    let insecure = map.get("insecure").and_then(|at| reader.boolean(&at));
    let mut timeout = Duration::from_secs(10);
    seconds(reader, &mut map, "timeout", 1, &mut timeout);
    map.end(reader);
    if certificate.is_some() != key.is_some() {
        reader.fault(at, "`certificate` and `key` belong together");
    }
    let endpoint_at = endpoint_at?;
    check_endpoint(reader, &endpoint_at, endpoint?, insecure.unwrap_or(false));
    Some(Otlp {
        endpoint: endpoint?.to_owned(),
        signal: signal.unwrap_or_default(),
        headers,
        ca,
        identity: certificate.zip(key),
        timeout,
    })
}

/// Flows name people's URLs: they go through the network in plain text only where that is wanted.
fn check_endpoint(reader: &mut Reader, at: &Cursor<'_>, endpoint: &str, insecure: bool) {
    let split = endpoint.split_once("://");
    let Some((scheme @ ("http" | "https"), rest)) = split else {
        let message = format!("`{endpoint}` is not a URL such as http://127.0.0.1:4317");
        return reader.fault(at, message);
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        Some(_) | None => authority,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return reader.fault(at, format!("`{endpoint}` names no host"));
    }
    let address = host.parse::<IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if scheme == "http" && !is_here && !insecure {
        reader.fault(
            at,
            "plaintext to an address that is not loopback: use https, or set `insecure: true`",
        );
    }
}

fn time(reader: &mut Reader, at: &Cursor<'_>) -> Option<Timestamp> {
    let time: jiff::Timestamp = reader.parse(at, "a time such as 2026-01-02T03:04:05Z")?;
    let nanos = u64::try_from(time.as_nanosecond());
    if nanos.is_err() {
        reader.fault(at, "a time after 1970");
    }
    nanos.ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read_config;

    fn read(yaml: &str) -> Result<Vec<Export>, String> {
        let config = read_config("l7d.yaml", yaml).map_err(|error| error.to_string())?;
        Ok(config.exports)
    }

    #[test]
    fn exports_have_hubbles_bounds_where_nothing_is_said() {
        let exports = read(
            "exports:\n- { name: all, file: { path: /var/log/l7d/flows.jsonl } }\n\
             - { name: console, stdout: true, fields: [source.pod_name], allow: [ { verdict: [DROPPED] } ] }\n\
             - name: counts\n  file: { path: /c, maxBytes: 4096, maxAge: 60s, keep: 2, keepBytes: 9999, keepAge: 3600s, compress: true }\n  \
               aggregate: { fields: [source.namespace], interval: 5s }\n  end: 2027-01-02T03:04:05Z\n\
             - { name: traces, otlp: { endpoint: \"https://collector:4317\", signal: spans, headers: { Authorization: x } } }\n",
        )
        .expect("exports");
        let all = ExportFile::new("/var/log/l7d/flows.jsonl".into());
        assert_eq!((all.max_bytes, all.keep), (10 << 20, 5));
        assert_eq!(exports[0].target, ExportTarget::File(all, Lines::default()));
        let ExportTarget::Stdout(lines) = &exports[1].target else {
            panic!("{:?}", exports[1]);
        };
        assert_eq!(lines.fields, ["source.pod_name"]);
        assert_eq!(exports[1].allow, ["{\"verdict\":[\"DROPPED\"]}"]);
        assert_eq!(exports[2].end, Some(Timestamp(1_798_859_045_000_000_000)));
        let ExportTarget::Otlp(otlp) = &exports[3].target else {
            panic!("{:?}", exports[3]);
        };
        assert_eq!(otlp.signal, Signal::Spans);
        assert_eq!(otlp.headers["authorization"], "x");
    }

    #[test]
    fn what_makes_no_sense_is_refused_where_it_stands() {
        for (yaml, fault) in [
            ("[ { file: { path: /a } } ]", "name"),
            ("[ { name: a } ]", "goes to one of"),
            (
                "[ { name: a, file: { path: /a }, stdout: true } ]",
                "goes to one of",
            ),
            (
                "[ { name: a, file: { path: a } } ]",
                "`a` is not the absolute path",
            ),
            ("[ { name: a, file: { paht: /a } } ]", "did you mean `path`"),
            (
                "[ { name: a, file: { path: /a, maxBytes: 1 } } ]",
                "not between 4096",
            ),
            (
                "[ { name: a, stdout: true }, { name: a, file: { path: /a } } ]",
                "is called a",
            ),
            (
                "[ { name: a, stdout: true }, { name: b, stdout: true } ]",
                "a goes to standard output",
            ),
            (
                "[ { name: a, file: { path: /a } }, { name: b, file: { path: /a } } ]",
                "a goes to /a",
            ),
            (
                "[ { name: a, otlp: { endpoint: \"http://10.0.0.1:4317\" } } ]",
                "plaintext",
            ),
            (
                "[ { name: a, otlp: { endpoint: \"collector:4317\" } } ]",
                "not a URL",
            ),
            (
                "[ { name: a, otlp: { endpoint: \"http://[::1]:1\", key: /k } } ]",
                "belong together",
            ),
            (
                "[ { name: a, otlp: { endpoint: \"http://[::1]:1\" }, fields: [time] } ]",
                "lines of JSON",
            ),
            (
                "[ { name: a, stdout: true, aggregate: { fields: [] } } ]",
                "in which fields",
            ),
            (
                "[ { name: a, stdout: true, end: tomorrow } ]",
                "a time such as",
            ),
        ] {
            let told = read(&format!("exports: {yaml}")).expect_err(yaml);
            assert!(told.contains(fault), "{yaml}: {told}");
        }
        assert!(
            read("exports: [ { name: a, otlp: { endpoint: \"http://c:1\", insecure: true } } ]")
                .is_ok()
        );
    }
}
