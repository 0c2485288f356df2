//! Corpora of other projects' fuzzers: nothing may break a property of our readers, nor make them
//! ask for more bytes to be kept than they say.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use parsers::http2::FrameHeader;
use parsers::{Direction, Limits, http1, http2};

/// Whose, the folder below the suites, and the readers that it is for.
const CORPORA: [(&str, &str, &[&str]); 6] = [
    ("c-ares", "c-ares/test", &["dns_message"]),
    (
        "envoy",
        "envoy/test",
        &[
            "dns_message",
            "grpc_split",
            "hpack_block",
            "http1_split",
            "http2_split",
            "http_path",
            "tls_hello",
        ],
    ),
    ("h2o http1", "h2o/fuzz/http1-corpus", &["http1_split"]),
    (
        "h2o http2",
        "h2o/fuzz/http2-corpus",
        &["grpc_split", "hpack_block", "http2_split"],
    ),
    ("h2o url", "h2o/fuzz/url-corpus", &["http_path"]),
    (
        "nghttp2",
        "nghttp2/fuzz",
        &["grpc_split", "hpack_block", "http2_split"],
    ),
];

/// What came of a corpus.
#[derive(Default)]
struct Counts {
    inputs: usize,
    readings: usize,
    /// Most bytes that a reader of HTTP had the caller keep.
    kept: usize,
    broken: usize,
}

/// Reads all, and tells what broke.
pub(super) fn read(folder: &Path) -> anyhow::Result<Vec<String>> {
    print_head();
    let mut faults = Vec::new();
    for (name, below, readers) in CORPORA {
        let mut counts = Counts::default();
        for file in files(&folder.join(below)).with_context(|| below.to_owned())? {
            let bytes = std::fs::read(&file)?;
            let mut inputs = quoted(&bytes);
            inputs.push(bytes);
            for input in inputs {
                counts.inputs += 1;
                let broken = read_one(&input, readers, &mut counts);
                counts.broken += broken.len();
                let told = broken.into_iter();
                faults.extend(told.map(|what| format!("{name}: {}: {what}", file.display())));
            }
        }
        print(name, &counts);
    }
    Ok(faults)
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read_one(input: &[u8], readers: &[&str], counts: &mut Counts) -> Vec<String> {
    let mut broken = Vec::new();
    for reader in readers {
        counts.readings += 1;
        if catch_unwind(|| properties::check(reader, input)).is_err() {
            broken.push(format!("breaks {reader}"));
        }
    }
    for direction in [Direction::ToServer, Direction::ToClient] {
        let mut kept = Vec::new();
        if readers.contains(&"http1_split") {
            kept.push((kept_by_first_version(direction, input), FIRST_BYTES));
        }
        if readers.contains(&"http2_split") {
            kept.push((kept_by_second_version(direction, input), SECOND_BYTES));
        }
        for (kept, limit) in kept {
            counts.readings += 1;
            counts.kept = counts.kept.max(kept);
            if kept > limit {
                broken.push(format!("{kept} bytes are kept, not {limit}"));
            }
        }
    }
    broken
}

/// What comes at once, and so may stand behind what is kept.
const PIECE: usize = 1024;

/// A head that may still end.
const FIRST_BYTES: usize = 64 << 10;

/// A frame that may still end; DATA need not be kept.
const SECOND_BYTES: usize = FrameHeader::BYTES + (16 << 10);

fn kept_by_first_version(direction: Direction, input: &[u8]) -> usize {
    let mut connection = http1::Connection::new(Limits::default(), http1::Reading::Lenient);
    kept(input, |bytes| match connection.step(direction, bytes) {
        Ok(http1::Step::Event { consumed, .. }) => Next::Read(consumed),
        Ok(http1::Step::NeedMore) => Next::Keep,
        Err(_) => Next::Stop,
    })
}

fn kept_by_second_version(direction: Direction, input: &[u8]) -> usize {
    let mut connection = http2::Connection::new(Limits::default());
    kept(input, |bytes| match connection.step(direction, bytes) {
        Ok(http2::Step::Event { consumed, .. }) => Next::Read(consumed),
        Ok(http2::Step::NeedMore) => Next::Keep,
        Err(_) => Next::Stop,
    })
}

enum Next {
    Read(usize),
    Keep,
    Stop,
}

/// The most bytes that are kept when the input comes in pieces.
fn kept(input: &[u8], mut step: impl FnMut(&[u8]) -> Next) -> usize {
    let (mut most, mut begin) = (0, 0);
    let ends = (0..input.len()).step_by(PIECE).map(|at| at + PIECE);
    for end in ends {
        let end = end.min(input.len());
        loop {
            match step(input.get(begin..end).unwrap_or_default()) {
                Next::Read(consumed) => begin += consumed,
                Next::Keep => break,
                Next::Stop => return most,
            }
        }
        most = most.max(end - begin);
    }
    most
}

/// The quoted strings of an input that is text with fields (`name: "…"`), their escapes undone: what
/// its fuzzer sends.
fn quoted(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Vec::new();
    };
    let values = text.lines().filter_map(|line| {
        let (_, value) = line.split_once(": \"")?;
        Some(unescape(value.strip_suffix('"')?))
    });
    values.filter(|value| !value.is_empty()).collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let octal = rest
            .iter()
            .take(3)
            .take_while(|byte| (b'0'..=b'7').contains(*byte));
        let digits = octal.count();
        if digits > 0 {
            let (number, after) = rest.split_at(digits);
            let number = number
                .iter()
                .fold(0_u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
            bytes.extend(u8::try_from(number));
            rest = after;
        } else if let Some((known, after)) = rest.split_first() {
            rest = after;
            bytes.push(match known {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                other => *other,
            });
        }
    }
    bytes
}

#[expect(clippy::print_stdout, reason = "the table is this command's result")]
fn print_head() {
    println!(
        "\n{:<18} {:>7} {:>10} {:>12} {:>10}",
        "fuzzers' corpora", "inputs", "readings", "broken", "bytes kept"
    );
}

#[expect(clippy::print_stdout, reason = "the table is this command's result")]
fn print(name: &str, counts: &Counts) {
    let Counts {
        inputs,
        readings,
        kept,
        broken,
    } = counts;
    println!("{name:<18} {inputs:>7} {readings:>10} {broken:>12} {kept:>10}");
}
