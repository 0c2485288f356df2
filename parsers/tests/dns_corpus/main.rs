//! DNS messages of real captures, compared with what another dissector saw; inputs of other fuzzers.
//!
//! The folder is `$L7D_CORPORA`.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "it fails where the corpus is not as known"
)]

mod captures;
mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use captures::{Capture, captures, end, files, streams};
use parsers::Direction;
use parsers::dns::tcp::{Connection, Event, Step};
use parsers::dns::{Chain, Message, Section, looks_like, looks_like_stream};
use parsers::packet::Transport;
use serde_json::Value;
use truth::{COMPARED, told, truth};

fn corpora() -> Option<PathBuf> {
    let folder = std::env::var_os("L7D_CORPORA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("not run: L7D_CORPORA does not name the folder of the corpora");
    }
    folder
}

/// Messages that are broken or cut off, and two that the other dissector reads in another way: it goes
/// beyond the end of a record's data, and calls a name that has a loop by that.
fn is_unlike(capture: &str, message: &Value) -> bool {
    let is_loop = message["qd"][0]["name"]
        .as_str()
        .is_some_and(|name| name.contains("pointer that loops"));
    is_loop
        || message["mal"] == true
        || message["snap"] == true
        || capture.ends_with("dns-svcb-rdlength-mismatch.pcap") && message["k"] == "dns.response"
}

#[test]
fn every_datagram_says_what_another_dissector_read() {
    let Some(folder) = corpora() else { return };
    let (mut compared, mut unseen, mut soft) = (0, Vec::new(), 0);
    let mut differences = Vec::new();
    for (file, truth_file) in captures(&folder) {
        if !truth_file.exists() {
            continue;
        }
        let mut expected = truth(&truth_file, "udp");
        let mut seen = BTreeSet::new();
        let Some(capture) = Capture::open(&file).filter(|_| !expected.is_empty()) else {
            continue;
        };
        let name = file
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        capture.for_each(|number, source, _, transport| {
            let Transport::Udp(udp) = transport else {
                return;
            };
            let Some(expected) = expected.get(&number).and_then(|all| all.first()) else {
                return;
            };
            if expected["src"] != end(source, udp.source_port) {
                return;
            }
            seen.insert(number);
            let told = Message::read(udp.payload).map_or(Value::Null, |message| told(&message));
            if is_unlike(&name, expected) {
                soft += 1;
                return;
            }
            compared += 1;
            for key in COMPARED {
                if told[key] != expected[key] {
                    let (ours, theirs) = (&told[key], &expected[key]);
                    differences.push(format!("{name} {number} {key}\n  {ours}\n  {theirs}"));
                }
            }
        });
        expected.retain(|number, _| !seen.contains(number));
        unseen.extend(expected.keys().map(|number| format!("{name} {number}")));
    }
    eprintln!(
        "{compared} compared, {soft} broken ones read, {} unseen",
        unseen.len()
    );
    eprintln!("unseen: {unseen:#?}");
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences.join("\n")
    );
    assert!(compared > 1500, "the corpus has more");
}

fn read_stream(direction: Direction, mut bytes: &[u8]) -> Vec<Value> {
    let mut connection = Connection::new(Message::BYTES_MAX);
    let mut seen = Vec::new();
    while let Ok(Step::Event { consumed, event }) = connection.step(direction, bytes) {
        if let Event::Message(message) = event {
            seen.push(told(&message));
        }
        bytes = &bytes[consumed..];
    }
    seen
}

#[test]
fn every_stream_says_what_another_dissector_read() {
    let Some(folder) = corpora() else { return };
    let mut compared = 0;
    let mut differences = Vec::new();
    for (file, truth_file) in captures(&folder) {
        if !truth_file.exists() {
            continue;
        }
        let expected: Vec<_> = truth(&truth_file, "tcp").into_values().flatten().collect();
        if expected.is_empty() {
            continue;
        }
        let mut by_sender: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
        let mut soft = BTreeSet::new();
        for message in &expected {
            let way = format!("{} {}", message["src"], message["dst"]);
            if ["mal", "snap", "gap"]
                .iter()
                .any(|key| message[*key] == true)
            {
                soft.insert(way.clone());
            }
            if message["dup"] != true {
                by_sender.entry(way).or_default().push(message);
            }
        }
        for (flow, stream) in streams(&file) {
            let (a, b) = (end(flow.0, flow.1), end(flow.2, flow.3));
            let ways = [(Direction::ToServer, &a, &b), (Direction::ToClient, &b, &a)];
            for (index, (direction, source, destination)) in ways.into_iter().enumerate() {
                let way = format!("\"{source}\" \"{destination}\"");
                let Some(expected) = by_sender.remove(&way) else {
                    continue;
                };
                if soft.contains(&way) || stream.has_gap {
                    continue;
                }
                let seen = read_stream(direction, &stream.bytes[index]);
                let expected: Vec<_> = expected
                    .iter()
                    .map(|m| COMPARED.map(|key| m[key].clone()))
                    .collect();
                let seen: Vec<_> = seen
                    .iter()
                    .map(|m| COMPARED.map(|key| m[key].clone()))
                    .collect();
                compared += seen.len();
                if seen != expected {
                    differences.push(format!(
                        "{} {way}\n {seen:?}\n {expected:?}",
                        file.display()
                    ));
                }
            }
        }
        let unseen: Vec<_> = by_sender.keys().collect();
        if !unseen.is_empty() {
            eprintln!("{}: unseen {unseen:?}", file.display());
        }
    }
    eprintln!("{compared} compared");
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// Multicast and link-local DNS, and the port of `NetBIOS` names: the caller's to know.
const OTHERS: [u16; 3] = [137, 5353, 5355];

#[test]
fn no_message_is_found_where_there_is_none() {
    let Some(folder) = corpora() else { return };
    let mut invented = Vec::new();
    let (mut known, mut found, mut looked) = (0, 0, 0);
    for (file, truth_file) in captures(&folder) {
        let expected = if truth_file.exists() {
            truth(&truth_file, "udp")
        } else {
            BTreeMap::new()
        };
        let name = file
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let Some(capture) = Capture::open(&file) else {
            continue;
        };
        capture.for_each(|number, source, destination, transport| {
            let Transport::Udp(udp) = transport else {
                return;
            };
            looked += 1;
            let is_dns = looks_like(udp.payload);
            if expected.contains_key(&number) {
                known += 1;
                found += usize::from(is_dns);
                if !is_dns {
                    eprintln!("missed {name} {number}");
                }
            } else if is_dns
                && !OTHERS
                    .iter()
                    .any(|p| [udp.source_port, udp.destination_port].contains(p))
            {
                let message = Message::read(udp.payload).expect("a message");
                let (a, b) = (
                    end(source, udp.source_port),
                    end(destination, udp.destination_port),
                );
                invented.push(format!("{name} {number} {a} {b} {}", told(&message)));
            }
        });
    }
    eprintln!("{looked} datagrams looked at; {found} of {known} found without their port");
    assert!(
        invented.is_empty(),
        "{} invented\n{}",
        invented.len(),
        invented.join("\n")
    );
}

#[test]
fn no_stream_is_taken_for_one_that_is_none() {
    let Some(folder) = corpora() else { return };
    let (mut looked, mut found, mut late) = (0, 0, 0);
    let mut invented = Vec::new();
    for (file, truth_file) in captures(&folder) {
        let is_dns = truth_file.exists() && !truth(&truth_file, "tcp").is_empty();
        for (flow, stream) in streams(&file) {
            for (direction, bytes) in [
                (Direction::ToServer, &stream.bytes[0]),
                (Direction::ToClient, &stream.bytes[1]),
            ] {
                looked += 1;
                match looks_like_stream(direction, bytes) {
                    Some(true) if is_dns => found += 1,
                    Some(true) => invented.push(format!("{} {flow:?}", file.display())),
                    None if bytes.len() > 4096 => late += 1,
                    Some(false) | None => {}
                }
            }
        }
    }
    eprintln!("{looked} directions looked at, {found} are DNS, {late} not told after 4 KiB");
    assert!(invented.is_empty(), "{}", invented.join("\n"));
}

#[test]
fn inputs_of_other_fuzzers_end_well() {
    let Some(folder) = corpora() else { return };
    let folder = folder.join("suites/c-ares/test");
    let mut count = 0;
    for file in files(&folder.join("fuzzinput"))
        .iter()
        .chain(&files(&folder.join("fuzznames")))
    {
        let bytes = std::fs::read(file).expect("bytes");
        for from in 0..bytes.len().min(64) {
            exercise(&bytes[from..]);
        }
        count += 1;
    }
    eprintln!("{count} inputs");
    assert!(count > 50);
}

/// Everything that can be asked of a message.
fn exercise(bytes: &[u8]) {
    let _ = looks_like(bytes);
    for direction in [Direction::ToServer, Direction::ToClient] {
        let _ = looks_like_stream(direction, bytes);
        read_stream(direction, bytes);
    }
    let Ok(message) = Message::read(bytes) else {
        return;
    };
    told(&message);
    let mut text = String::new();
    for section in Section::ALL {
        for record in message.records(section) {
            write!(text, "{} {:?}", record.text(), record.target()).expect("text");
        }
    }
    if let Some(edns) = message.edns() {
        edns.options()
            .for_each(|option| write!(text, "{:?}", option.content()).expect("text"));
    }
    if let Some(chain) = Chain::of(&message) {
        chain
            .addresses()
            .for_each(|answer| write!(text, "{answer:?}").expect("text"));
    }
}
