//! DNS messages of real captures, compared with what another dissector saw; inputs of other fuzzers.
//!
//! The folder is `$L7D_CORPORA`.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "it fails where the corpus is not as known"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use parsers::Direction;
use parsers::dns::tcp::{Connection, Event, Step};
use parsers::dns::{
    Chain, Field, Message, Name, Opcode, Record, RecordType, Section, looks_like, looks_like_stream,
};
use parsers::packet::{FragmentLimits, Frames, Transport};
use parsers::reassembly::{Piece, Reassembly, ReassemblyLimits};
use serde_json::{Value, json};

fn corpora() -> Option<PathBuf> {
    let folder = std::env::var_os("L7D_CORPORA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("not run: L7D_CORPORA does not name the folder of the corpora");
    }
    folder
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut found: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    found.sort();
    found
}

fn plain(name: &Name<'_>) -> String {
    if name.is_root() {
        return ".".to_owned();
    }
    let labels = name
        .labels()
        .map(|l| l.iter().map(|b| char::from(*b)).collect::<String>());
    labels.collect::<Vec<_>>().join(".")
}

/// The types that the truth gives by name.
const NAMED: &str = "A NS CNAME SOA PTR HINFO MX TXT SIG KEY AAAA SRV NAPTR CERT DNAME OPT DS SSHFP \
    RRSIG NSEC DNSKEY NSEC3 NSEC3PARAM TLSA CDS CDNSKEY SVCB HTTPS SPF TKEY TSIG IXFR AXFR ANY CAA";

fn kind(kind: RecordType) -> Value {
    match kind.name() {
        Some(name) if NAMED.split(' ').any(|known| known == name) => name.into(),
        Some(_) | None => kind.0.into(),
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The fields that the truth keeps of a record's data, as it writes them.
fn data(record: &Record<'_>) -> Value {
    use RecordType as T;
    let kept: Vec<_> = record
        .fields()
        .map_while(Result::ok)
        .filter_map(|field| match (field, record.kind()) {
            (Field::Address(address), T::A | T::AAAA) => Some(address.to_string()),
            (Field::Name(_), T::NSEC | T::RRSIG | T::SIG | T::RP) => None,
            (Field::Name(name), _) => Some(plain(&name)),
            (Field::Text(bytes) | Field::Word(bytes), T::TXT | T::SPF | T::HINFO | T::CAA) => {
                Some(text(bytes))
            }
            (Field::Number(number), T::MX | T::SRV | T::SOA | T::SVCB | T::HTTPS) => {
                Some(number.to_string())
            }
            _ => None,
        })
        .collect();
    if kept.is_empty() {
        Value::Null
    } else {
        kept.join(" ").into()
    }
}

/// The message as the truth writes it.
fn told(message: &Message<'_>) -> Value {
    let header = message.header();
    let flags = [
        (header.is_authoritative(), "aa"),
        (header.is_truncated(), "tc"),
        (header.is_recursion_desired(), "rd"),
        (header.is_recursion_available(), "ra"),
    ];
    let flags: Vec<_> = flags
        .iter()
        .filter(|(is_set, _)| *is_set)
        .map(|(_, name)| *name)
        .collect();
    // The truth has these flags of responses only, and of updates no prerequisites.
    let flags = flags
        .into_iter()
        .filter(|flag| header.is_response() || !["aa", "ra"].contains(flag))
        .collect::<Vec<_>>();
    let section = if message.opcode() == Opcode::UPDATE {
        Section::Question
    } else {
        Section::Answer
    };
    let questions: Vec<_> = message
        .questions()
        .map(|q| json!({"name": plain(&q.name()), "type": kind(q.kind()), "class": q.class().0}))
        .collect();
    let answers: Vec<_> = message
        .records(section)
        .map(|r| {
            json!({"name": plain(&r.name()), "type": kind(r.kind()), "ttl": r.ttl(), "data": data(&r)})
        })
        .collect();
    let mut told = json!({
        "k": if header.is_response() { "dns.response" } else { "dns.query" },
        "id": header.id(),
        "opcode": message.opcode().0,
        "flags": flags,
        "counts": Section::ALL.map(|section| header.count(section)),
        "qd": questions,
        "an": answers,
    });
    if header.is_response() {
        told["rcode"] = header.rcode().0.into();
    }
    told
}

const COMPARED: [&str; 8] = ["k", "id", "opcode", "flags", "counts", "qd", "an", "rcode"];

/// What the truth says of DNS over one transport, by frame.
fn truth(file: &Path, transport: &str) -> BTreeMap<u64, Vec<Value>> {
    let lines = std::fs::read_to_string(file).expect("text");
    let mut found: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for line in lines.lines() {
        let message: Value = serde_json::from_str(line).expect("JSON");
        let is_dns = message["k"].as_str().is_some_and(|k| k.starts_with("dns."));
        if is_dns && message["l4"] == transport {
            let frame = message["n"].as_u64().expect("a frame");
            found.entry(frame).or_default().push(message);
        }
    }
    found
}

struct Capture {
    reader: capture::Reader,
    frames: Frames,
}

impl Capture {
    fn open(path: &Path) -> Option<Self> {
        Some(Self {
            reader: capture::Reader::open(path).ok()?,
            frames: Frames::new(FragmentLimits::default()),
        })
    }

    /// The rest of the packets, as far as the file can be read.
    fn for_each(mut self, mut look: impl FnMut(u64, IpAddr, IpAddr, Transport<'_>)) {
        while let Ok(true) = self.reader.advance() {
            let Some(packet) = self.reader.packet() else {
                return;
            };
            let seen = self
                .frames
                .read(packet.link_type, packet.data, packet.time_ns);
            if let Ok(Some(seen)) = seen {
                look(packet.number, seen.source, seen.destination, seen.transport);
            }
        }
    }
}

fn captures(folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    files(&folder.join("pcap"))
        .into_iter()
        .map(|capture| {
            let name = capture
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            (capture, folder.join("truth").join(format!("{name}.jsonl")))
        })
        .collect()
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

type Flow = (IpAddr, u16, IpAddr, u16);

/// One connection's messages, by direction.
struct Stream {
    reassembly: Reassembly,
    bytes: [Vec<u8>; 2],
    has_gap: bool,
}

fn streams(file: &Path) -> BTreeMap<Flow, Stream> {
    let mut found: BTreeMap<Flow, Stream> = BTreeMap::new();
    let Some(capture) = Capture::open(file) else {
        return found;
    };
    let limits = ReassemblyLimits::default();
    capture.for_each(|_, source, destination, transport| {
        let Transport::Tcp(tcp) = transport else {
            return;
        };
        let there = (source, tcp.source_port, destination, tcp.destination_port);
        let back = (destination, tcp.destination_port, source, tcp.source_port);
        let (flow, direction) = if tcp.source_port > tcp.destination_port {
            (there, Direction::ToServer)
        } else {
            (back, Direction::ToClient)
        };
        let stream = found.entry(flow).or_insert_with(|| Stream {
            reassembly: Reassembly::new(limits),
            bytes: [Vec::new(), Vec::new()],
            has_gap: false,
        });
        let (bytes, has_gap) = (&mut stream.bytes, &mut stream.has_gap);
        stream
            .reassembly
            .handle_segment(direction, &tcp, &mut |way, piece| match piece {
                Piece::Bytes(more) => bytes[usize::from(way == Direction::ToClient)].extend(more),
                Piece::Gap(_) => *has_gap = true,
                Piece::End => {}
            });
    });
    for stream in found.values_mut() {
        let (bytes, has_gap) = (&mut stream.bytes, &mut stream.has_gap);
        stream.reassembly.close(&mut |way, piece| match piece {
            Piece::Bytes(more) => bytes[usize::from(way == Direction::ToClient)].extend(more),
            Piece::Gap(_) => *has_gap = true,
            Piece::End => {}
        });
    }
    found
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

fn end(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
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
