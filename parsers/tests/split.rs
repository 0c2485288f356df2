//! Any split of the input gives the same messages, and strict accepts only what lenient reads alike.
#![expect(clippy::indexing_slicing, reason = "the test makes its own bounds")]

use parsers::http1::{Connection, Event, Reading, Step};
use parsers::{Direction, Limits};
use proptest::prelude::*;

/// What was seen, with runs of body bytes merged.
#[derive(Debug, PartialEq, Eq, Default)]
struct Seen {
    messages: Vec<String>,
    body: u64,
    error: Option<&'static str>,
}

fn read(input: &[u8], cuts: &[usize], reading: Reading) -> Seen {
    let mut connection = Connection::new(
        Limits {
            head_bytes: 512,
            ..Limits::default()
        },
        reading,
    );
    let mut seen = Seen::default();
    let (mut start, mut end) = (0, 0);
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(input.len());
    for next in ends {
        end = end.max(next);
        loop {
            match connection.step(Direction::ToServer, &input[start..end]) {
                Ok(Step::NeedMore) => break,
                Ok(Step::Event { consumed, event }) => {
                    assert!(consumed <= end - start, "more consumed than given");
                    note(&mut seen, &event);
                    start += consumed;
                }
                Err(error) => {
                    seen.error = Some(error.rule);
                    // Payload in front of a broken chunk is told or not, as the cuts fall.
                    seen.body = 0;
                    return seen;
                }
            }
        }
    }
    seen
}

fn note(seen: &mut Seen, event: &Event<'_>) {
    match event {
        Event::Request(head) => {
            let names: Vec<_> = head
                .headers()
                .map(|h| (h.name.to_vec(), h.value.to_vec()))
                .collect();
            seen.messages
                .push(format!("{:?} {:?} {names:?}", head.method(), head.target()));
        }
        Event::Body { data, is_last } => {
            seen.body += data;
            if *is_last {
                seen.messages.push(format!("body {}", seen.body));
                seen.body = 0;
            }
        }
        Event::Response(_) | Event::Opaque | Event::Lost => seen.messages.push("?".to_owned()),
    }
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![Just("GET"), Just("POST"), Just("DELETE"), Just("OPTIONS")];
    let body = prop_oneof![
        Just((String::new(), Vec::new())),
        proptest::collection::vec(any::<u8>(), 0..40)
            .prop_map(|body| (format!("Content-Length: {}\r\n", body.len()), body)),
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..4).prop_map(
            |chunks| {
                let mut body = Vec::new();
                for chunk in chunks {
                    body.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                    body.extend(chunk);
                    body.extend(b"\r\n");
                }
                body.extend(b"0\r\n\r\n");
                ("Transfer-Encoding: chunked\r\n".to_owned(), body)
            }
        ),
    ];
    (
        method,
        "/[a-z0-9/%.]{0,12}",
        "[A-Za-z-]{1,8}",
        "[ -~]{0,12}",
        body,
    )
        .prop_map(|(method, path, name, value, (framing, body))| {
            let mut bytes =
                format!("{method} {path} HTTP/1.1\r\nHost: h\r\nX{name}: {value}\r\n{framing}\r\n")
                    .into_bytes();
            bytes.extend(body);
            bytes
        })
}

/// Conversations, some with a byte changed.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let conversation = proptest::collection::vec(request(), 1..4).prop_map(|all| all.concat());
    (
        conversation,
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_split_gives_the_same_messages(
        input in input(),
        cuts in proptest::collection::vec(any::<usize>(), 0..12),
    ) {
        for reading in [Reading::Strict, Reading::Lenient] {
            let whole = read(&input, &[], reading);
            prop_assert_eq!(&whole, &read(&input, &cuts, reading));
            let every: Vec<usize> = (0..input.len()).collect();
            prop_assert_eq!(&whole, &read(&input, &every, reading));
        }
    }

    #[test]
    fn strict_reads_what_lenient_reads(input in input()) {
        let strict = read(&input, &[], Reading::Strict);
        let lenient = read(&input, &[], Reading::Lenient);
        let shared = strict.messages.len().min(lenient.messages.len());
        prop_assert_eq!(&strict.messages[..shared], &lenient.messages[..shared]);
        prop_assert!(strict.messages.len() <= lenient.messages.len());
    }
}
