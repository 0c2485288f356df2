//! HTTP/2 conversations read the same however they are cut; gaps and captures that begin in the
//! middle invent nothing.
#![expect(clippy::indexing_slicing, reason = "the test makes its own bounds")]

use parsers::hpack::{Encoder, Field};
use parsers::http2::{
    Connection, ErrorCode, Event, Flags, Frame, FrameHeader, Gap, Head, PREFACE, Settings, Step,
};
use parsers::{Direction, Limits};
use proptest::prelude::*;

/// What was seen, with runs of payload merged.
#[derive(Debug, PartialEq, Eq, Default, Clone)]
struct Seen {
    messages: Vec<String>,
    payload: Vec<u8>,
    lost: usize,
    error: Option<&'static str>,
}

impl Seen {
    fn note(&mut self, consumed: usize, event: &Event<'_>) {
        match event {
            Event::Data {
                stream,
                bytes,
                is_last,
                fault,
            } => {
                self.payload.extend_from_slice(bytes);
                if *is_last {
                    let payload = std::mem::take(&mut self.payload);
                    self.messages
                        .push(format!("data {stream} {payload:x?} {fault:?}"));
                }
            }
            Event::Skipped => {}
            Event::Lost => self.lost += consumed,
            Event::Request { stream, head, .. } => self.note_head("request", *stream, head),
            Event::Response { stream, head } => self.note_head("response", *stream, head),
            Event::Trailers { stream, head } => self.note_head("trailers", *stream, head),
            Event::Push {
                stream,
                promised,
                head,
            } => self.note_head(&format!("push {promised}"), *stream, head),
            Event::Preface
            | Event::Reset { .. }
            | Event::GoAway { .. }
            | Event::Settings(_)
            | Event::Frame { .. } => self.messages.push(format!("{event:?}")),
        }
    }

    fn note_head(&mut self, what: &str, stream: u32, head: &Head<'_>) {
        let fields: Vec<_> = head
            .list()
            .iter()
            .map(|field| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                (text(field.name), text(field.value), field.is_unknown)
            })
            .collect();
        self.messages.push(format!(
            "{what} {stream} {fields:?} {} {:?}",
            head.is_last(),
            head.fault()
        ));
    }
}

fn feed(
    connection: &mut Connection,
    direction: Direction,
    input: &[u8],
    cuts: &[usize],
    seen: &mut Seen,
) {
    let (mut start, mut end) = (0, 0);
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(input.len());
    for next in ends {
        end = end.max(next);
        loop {
            match connection.step(direction, &input[start..end]) {
                Ok(Step::NeedMore) => break,
                Ok(Step::Event { consumed, event }) => {
                    assert!(consumed > 0 && consumed <= end - start, "{event:?}");
                    seen.note(consumed, &event);
                    start += consumed;
                }
                Err(error) => {
                    seen.error = Some(error.rule);
                    // Payload in front of a fault is told or not, as the cuts fall.
                    seen.payload.clear();
                    return;
                }
            }
        }
    }
}

fn read(connection: Connection, direction: Direction, input: &[u8], cuts: &[usize]) -> Seen {
    let (mut connection, mut seen) = (connection, Seen::default());
    feed(&mut connection, direction, input, cuts, &mut seen);
    seen
}

#[derive(Debug, Clone)]
enum Part {
    Request {
        path: String,
        value: String,
        body: Option<Vec<u8>>,
        frame_bytes: usize,
        padding: u8,
        has_trailers: bool,
    },
    Ping,
    Reset,
    Window(u32),
    Unknown(Vec<u8>),
}

fn part() -> impl Strategy<Value = Part> {
    let request = (
        "/[a-z0-9/]{0,10}",
        "[ -~]{0,30}",
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60)),
        1_usize..40,
        0_u8..20,
        any::<bool>(),
    )
        .prop_map(
            |(path, value, body, frame_bytes, padding, has_trailers)| Part::Request {
                path,
                value: value.trim().to_owned(),
                body,
                frame_bytes,
                padding,
                has_trailers,
            },
        );
    prop_oneof![
        6 => request,
        1 => Just(Part::Ping),
        1 => Just(Part::Reset),
        1 => (0_u32..3).prop_map(Part::Window),
        1 => proptest::collection::vec(any::<u8>(), 0..30).prop_map(Part::Unknown),
    ]
}

fn write_part(encoder: &mut Encoder, stream: u32, part: &Part, out: &mut Vec<u8>) {
    match part {
        Part::Request {
            path,
            value,
            body,
            frame_bytes,
            padding,
            has_trailers,
        } => {
            let mut block = Vec::new();
            let fields = [
                Field::new(b":method", b"POST"),
                Field::new(b":scheme", b"http"),
                Field::new(b":authority", b"pod.example"),
                Field::new(b":path", path.as_bytes()),
                Field::new(b"x-value", value.as_bytes()),
            ];
            encoder.encode(fields, &mut block);
            let ends = body.is_none() && !has_trailers;
            let flags = if ends { Flags::END_STREAM } else { Flags::NONE };
            Frame::write_header_block(stream, flags, &block, *frame_bytes, out);
            if let Some(body) = body {
                let zeros = vec![0; usize::from(*padding)];
                let frame = Frame::Data {
                    data: body,
                    padding: (*padding > 0).then_some(&zeros),
                };
                let flags = if *has_trailers {
                    Flags::NONE
                } else {
                    Flags::END_STREAM
                };
                frame.write(stream, flags, out);
            }
            if *has_trailers {
                block.clear();
                encoder.encode([Field::new(b"x-sum", value.as_bytes())], &mut block);
                Frame::write_header_block(stream, Flags::END_STREAM, &block, *frame_bytes, out);
            }
        }
        Part::Ping => Frame::Ping([7; 8]).write(0, Flags::ACK, out),
        Part::Reset => Frame::RstStream(ErrorCode::CANCEL).write(stream, Flags::NONE, out),
        Part::Window(increment) => {
            Frame::WindowUpdate(*increment).write(stream, Flags::NONE, out);
        }
        Part::Unknown(payload) => {
            let frame = Frame::Unknown {
                kind: 0xbe,
                payload,
            };
            frame.write(0, Flags::NONE, out);
        }
    }
}

fn conversation(parts: &[Part]) -> Vec<u8> {
    let mut bytes = PREFACE.to_vec();
    Frame::Settings(Settings::new(&[])).write(0, Flags::NONE, &mut bytes);
    let mut encoder = Encoder::new(4096);
    for (stream, part) in (1..).step_by(2).zip(parts) {
        write_part(&mut encoder, stream, part, &mut bytes);
    }
    bytes
}

/// Conversations, some with a byte changed.
fn input() -> impl Strategy<Value = Vec<u8>> {
    (
        proptest::collection::vec(part(), 1..6).prop_map(|parts| conversation(&parts)),
        proptest::option::of((any::<usize>(), any::<u8>())),
    )
        .prop_map(|(mut bytes, change)| {
            if let Some((at, value)) = change {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            bytes
        })
}

fn limits() -> Limits {
    Limits {
        header_block_bytes: 300,
        streams: 3,
        ..Limits::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_split_gives_the_same_events(
        input in input(),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let make = || Connection::new(limits());
        let whole = read(make(), Direction::ToServer, &input, &[]);
        prop_assert_eq!(&whole, &read(make(), Direction::ToServer, &input, &cuts));
        let every: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(&whole, &read(make(), Direction::ToServer, &input, &every));
    }

    #[test]
    fn any_split_of_a_middle_gives_the_same_events(
        input in input(),
        start in any::<usize>(),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        let input = &input[start % input.len()..];
        let make = || Connection::mid_stream(limits());
        let whole = read(make(), Direction::ToServer, input, &[]);
        let has_start = whole.messages.iter().any(|message| message == "Preface");
        prop_assert!(whole.error.is_none() || has_start, "only what is whole can be broken");
        prop_assert_eq!(&whole, &read(make(), Direction::ToServer, input, &cuts));
        let every: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(&whole, &read(make(), Direction::ToServer, input, &every));
    }

    #[test]
    fn noise_has_no_messages_and_makes_nothing_panic(
        input in proptest::collection::vec(any::<u8>(), 0..2000),
        gap in 1_u64..100_000,
    ) {
        for direction in [Direction::ToServer, Direction::ToClient] {
            let mut connection = Connection::mid_stream(limits());
            let mut seen = Seen::default();
            feed(&mut connection, direction, &input, &[], &mut seen);
            prop_assert_eq!(&seen.messages, &Vec::<String>::new());
            prop_assert_eq!(connection.handle_gap(direction, gap), Gap::Frames);
        }
    }
}

fn request_block(encoder: &mut Encoder, path: &str) -> Vec<u8> {
    let mut block = Vec::new();
    let fields = [
        Field::new(b":method", b"POST"),
        Field::new(b":scheme", b"http"),
        Field::new(b":path", path.as_bytes()),
        Field::new(b":authority", b"pod.example"),
    ];
    encoder.encode(fields, &mut block);
    block
}

/// Preface, settings, and a request whose payload of 1000 bytes is one frame.
fn upload(encoder: &mut Encoder) -> Vec<u8> {
    let mut bytes = conversation(&[]);
    let block = request_block(encoder, "/upload");
    Frame::write_header_block(1, Flags::NONE, &block, 16_384, &mut bytes);
    let data = Frame::Data {
        data: &[b'x'; 1000],
        padding: None,
    };
    data.write(1, Flags::END_STREAM, &mut bytes);
    bytes
}

#[test]
fn a_gap_inside_a_payload_costs_nothing_else() {
    let mut encoder = Encoder::new(4096);
    let mut bytes = upload(&mut encoder);
    let end = bytes.len();
    let block = request_block(&mut encoder, "/next");
    Frame::write_header_block(3, Flags::END_STREAM, &block, 16_384, &mut bytes);
    for (missing, left) in [(900, 50), (950, 0)] {
        let mut connection = Connection::new(Limits::default());
        let mut seen = Seen::default();
        let before = &bytes[..end - 950];
        feed(&mut connection, Direction::ToServer, before, &[], &mut seen);
        let gap = connection.handle_gap(Direction::ToServer, missing);
        let expected = Gap::Data {
            stream: 1,
            bytes: missing,
            is_last: left == 0,
            fault: None,
        };
        assert_eq!(gap, expected);
        let after = &bytes[end - left..];
        feed(&mut connection, Direction::ToServer, after, &[], &mut seen);
        let next = seen.messages.last().expect("a message");
        assert!(next.starts_with("request 3 "), "{next}");
        assert!(next.contains("pod.example"), "the table is in step: {next}");
        assert_eq!((seen.lost, seen.error), (0, None));
    }
}

#[test]
fn after_a_gap_over_frames_old_fields_are_unknown() {
    let mut encoder = Encoder::new(4096);
    let bytes = upload(&mut encoder);
    let mut connection = Connection::new(Limits::default());
    let mut seen = Seen::default();
    let before = &bytes[..bytes.len() - 500];
    feed(&mut connection, Direction::ToServer, before, &[], &mut seen);
    let gap = connection.handle_gap(Direction::ToServer, 501);
    assert_eq!(gap, Gap::Frames);
    let mut after = b"in the middle of something".to_vec();
    let block = request_block(&mut encoder, "/next");
    Frame::write_header_block(5, Flags::END_STREAM, &block, 16_384, &mut after);
    feed(&mut connection, Direction::ToServer, &after, &[], &mut seen);
    assert_eq!(seen.lost, 26);
    let next = seen.messages.last().expect("a message");
    assert!(next.starts_with("request 5 "), "{next}");
    assert!(next.contains(r#"(":path", "/next", false)"#), "{next}");
    assert!(next.contains(r#"("", "", true)"#), "{next}");
    assert!(!next.contains("pod.example"), "{next}");
}

#[test]
fn a_capture_may_begin_inside_a_payload() {
    let mut encoder = Encoder::new(4096);
    let mut bytes = upload(&mut encoder);
    let start = bytes.len() - 300;
    let block = request_block(&mut encoder, "/next");
    Frame::write_header_block(3, Flags::NONE, &block, 16_384, &mut bytes);
    let seen = read(
        Connection::mid_stream(Limits::default()),
        Direction::ToServer,
        &bytes[start..],
        &[],
    );
    assert_eq!(seen.lost, 300);
    assert!(seen.messages[0].starts_with("request 3 "), "{seen:?}");
}

#[test]
fn a_capture_that_begins_with_the_preface_is_whole() {
    let mut encoder = Encoder::new(4096);
    let bytes = upload(&mut encoder);
    let direction = Direction::ToServer;
    let whole = read(Connection::new(Limits::default()), direction, &bytes, &[]);
    let joined = read(
        Connection::mid_stream(Limits::default()),
        direction,
        &bytes,
        &[],
    );
    assert_eq!(whole, joined);
}

#[test]
fn payload_is_told_as_it_comes() {
    let mut encoder = Encoder::new(4096);
    let bytes = upload(&mut encoder);
    let mut connection = Connection::new(Limits::default());
    let (mut at, mut most) = (0, 0);
    // The caller gives ten bytes more than what was left over, each time.
    for end in (10..bytes.len() + 10).step_by(10) {
        let end = end.min(bytes.len());
        while let Ok(Step::Event { consumed, .. }) =
            connection.step(Direction::ToServer, &bytes[at..end])
        {
            at += consumed;
        }
        most = most.max(end - at);
    }
    assert_eq!(at, bytes.len());
    assert!(most < FrameHeader::BYTES + 60, "{most} bytes were kept");
}
