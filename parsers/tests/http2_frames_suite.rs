//! The cases of http2-frame-test-case, and fuzz corpora of other implementations.
//!
//! The folder is `$L7D_CORPORA/suites`.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "it fails where the suite is not as known"
)]

use std::path::{Path, PathBuf};

use parsers::http2::{
    Connection, DEFAULT_FRAME_BYTES, ErrorCode, Frame, FrameHeader, Step, Violation,
};
use parsers::{Direction, Limits};
use serde_json::Value;

fn suites() -> Option<PathBuf> {
    let folder = std::env::var_os("L7D_CORPORA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("not run: L7D_CORPORA does not name the folder of the corpora");
    }
    folder.map(|folder| folder.join("suites"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a digit");
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::try_from(digit(pair[0]) << 4 | digit(pair[1])).expect("a byte"))
        .collect()
}

fn read(wire: &[u8]) -> Result<(FrameHeader, Frame<'_>), Violation> {
    let header = FrameHeader::read(wire).expect("a header");
    header.check_length(DEFAULT_FRAME_BYTES)?;
    let payload = &wire[FrameHeader::BYTES..];
    let payload = payload.get(..header.payload_bytes()).unwrap_or(payload);
    Ok((header, Frame::read(header, payload)?))
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

/// The payload in the words of the suite.
fn check_payload(frame: &Frame<'_>, expected: &Value, path: &Path) {
    let text = |key: &str| expected[key].as_str().unwrap_or_default().as_bytes();
    let padding_is = |padding: Option<&[u8]>| {
        let length = expected["padding_length"].as_u64();
        assert_eq!(padding.map(|padding| padding.len() as u64), length);
        assert_eq!(padding.unwrap_or_default(), text("padding"));
    };
    match *frame {
        Frame::Data { data, padding } => {
            assert_eq!(data, text("data"));
            padding_is(padding);
        }
        Frame::Headers {
            priority,
            fragment,
            padding,
        } => {
            assert_eq!(fragment, text("header_block_fragment"));
            padding_is(padding);
            let told = priority.map(|priority| u64::from(priority.dependency));
            assert_eq!(told, expected["stream_dependency"].as_u64());
            let weight = priority.map(|priority| u64::from(priority.weight) + 1);
            assert_eq!(weight, expected["weight"].as_u64());
        }
        Frame::Priority(priority) => {
            let dependency = number(&expected["stream_dependency"]);
            assert_eq!(u64::from(priority.dependency), dependency);
            assert_eq!(u64::from(priority.weight) + 1, number(&expected["weight"]));
            assert_eq!(Some(priority.is_exclusive), expected["exclusive"].as_bool());
        }
        Frame::RstStream(code) => {
            assert_eq!(u64::from(code.0), number(&expected["error_code"]));
        }
        Frame::Settings(settings) => {
            let pairs: Vec<_> = settings.iter().collect();
            assert_eq!(serde_json::json!(pairs), expected["settings"]);
        }
        Frame::PushPromise {
            promised,
            fragment,
            padding,
        } => {
            assert_eq!(u64::from(promised), number(&expected["promised_stream_id"]));
            assert_eq!(fragment, text("header_block_fragment"));
            padding_is(padding);
        }
        Frame::Ping(data) => assert_eq!(data, text("opaque_data")),
        Frame::GoAway {
            last_stream,
            code,
            debug,
        } => {
            assert_eq!(u64::from(last_stream), number(&expected["last_stream_id"]));
            assert_eq!(u64::from(code.0), number(&expected["error_code"]));
            assert_eq!(debug, text("additional_debug_data"));
        }
        Frame::WindowUpdate(increment) => {
            let expected = number(&expected["window_size_increment"]);
            assert_eq!(u64::from(increment), expected);
        }
        Frame::Continuation { fragment } => {
            assert_eq!(fragment, text("header_block_fragment"));
        }
        Frame::Unknown { .. } => panic!("{} is of a known type", path.display()),
    }
}

fn check_case(path: &Path) {
    let case = std::fs::read(path).expect("a case");
    let case: Value = serde_json::from_slice(&case).expect("json");
    let wire = unhex(case["wire"].as_str().expect("wire"));
    if let Some(codes) = case["error"].as_array() {
        let violation = read(&wire).expect_err("a violation");
        let ErrorCode(code) = violation.code;
        let allowed = codes.iter().any(|known| number(known) == u64::from(code));
        assert!(allowed, "{}: {violation:?}", path.display());
        return;
    }
    let (header, frame) = read(&wire).expect("a frame");
    let expected = &case["frame"];
    assert_eq!(u64::from(u8::from(header.kind)), number(&expected["type"]));
    assert_eq!(u64::from(header.flags.0), number(&expected["flags"]));
    assert_eq!(u64::from(header.length), number(&expected["length"]));
    let stream = number(&expected["stream_identifier"]);
    assert_eq!(u64::from(header.stream), stream);
    check_payload(&frame, &expected["frame_payload"], path);
    let mut written = Vec::new();
    frame.write(header.stream, header.flags, &mut written);
    assert_eq!(written, wire, "{}", path.display());
}

#[test]
fn reads_and_writes_every_frame_of_the_suite() {
    let Some(suites) = suites() else { return };
    let mut cases = files(&suites.join("http2-frame-test-case"));
    cases.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    assert!(cases.len() > 30, "only {} cases", cases.len());
    for case in &cases {
        check_case(case);
    }
    eprintln!("{} cases", cases.len());
}

/// What came of all bytes; that none panics and none reads more than there is, is the test.
fn run(mut connection: Connection, direction: Direction, bytes: &[u8]) -> (usize, usize) {
    let (mut at, mut events) = (0, 0);
    loop {
        match connection.step(direction, &bytes[at..]) {
            Ok(Step::Event { consumed, .. }) => {
                assert!(consumed > 0 && consumed <= bytes.len() - at);
                at += consumed;
                events += 1;
            }
            Ok(Step::NeedMore) | Err(_) => return (events, at),
        }
    }
}

#[test]
fn fuzz_corpora_of_others_make_nothing_panic() {
    let Some(suites) = suites() else { return };
    let mut inputs = files(&suites.join("nghttp2/fuzz"));
    inputs.extend(files(&suites.join("h2o/fuzz/http2-corpus")));
    assert!(inputs.len() > 100, "only {} inputs", inputs.len());
    let (mut events, mut bytes) = (0, 0);
    for input in &inputs {
        let input = std::fs::read(input).expect("an input");
        for direction in [Direction::ToServer, Direction::ToClient] {
            let connections = [
                Connection::new(Limits::default()),
                Connection::mid_stream(Limits::default()),
            ];
            for connection in connections {
                let (seen, read) = run(connection, direction, &input);
                events += seen;
                bytes += read;
            }
        }
    }
    eprintln!(
        "{} inputs, {events} events, {bytes} bytes read",
        inputs.len()
    );
}
