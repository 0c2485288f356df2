//! Any split of a stream gives the same messages.
#![expect(clippy::indexing_slicing, reason = "the test makes its own bounds")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use parsers::Direction::{ToClient, ToServer};
use parsers::dns::tcp::{Close, Connection, Event, Step, prefix};
use parsers::dns::{Message, looks_like, looks_like_stream};
use proptest::prelude::*;

/// A query for the A record of `label`.test.
fn query(id: u16, label: &str) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        u8::try_from(label.len()).unwrap(),
    ]);
    bytes.extend(label.as_bytes());
    bytes.extend(b"\x04test\0\0\x01\0\x01");
    bytes
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&prefix(message).unwrap(), message].concat()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    messages: Vec<String>,
    skipped: usize,
    lost: usize,
    error: Option<&'static str>,
    close: Option<Close>,
}

fn read(connection: &mut Connection, input: &[u8], cuts: &[usize]) -> Seen {
    let mut seen = Seen::default();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(input.len());
    let mut start = 0;
    for end in ends {
        loop {
            match connection.step(ToServer, &input[start..end]) {
                Ok(Step::NeedMore) => break,
                Ok(Step::Event { consumed, event }) => {
                    assert!(
                        consumed > 0 && consumed <= end - start,
                        "consumed {consumed}"
                    );
                    match event {
                        Event::Message(message) => seen.messages.push(told(&message)),
                        Event::Skipped => seen.skipped += consumed,
                        Event::Lost => seen.lost += consumed,
                    }
                    start += consumed;
                }
                Err(error) => {
                    seen.error = Some(error.rule);
                    return seen;
                }
            }
        }
    }
    seen.close = Some(connection.handle_close(ToServer));
    seen
}

fn told(message: &Message<'_>) -> String {
    let names: Vec<_> = message.questions().map(|q| q.name().to_string()).collect();
    let fault = message.fault().map(|fault| fault.rule);
    format!(
        "{} {names:?} {fault:?} {}",
        message.header().id(),
        message.bytes().len()
    )
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let message = prop_oneof![
        8 => (any::<u16>(), "[a-z]{1,40}").prop_map(|(id, label)| query(id, &label)),
        1 => prop::collection::vec(any::<u8>(), 0..300),
    ];
    let tail = prop::collection::vec(any::<u8>(), 0..4);
    (prop::collection::vec(message, 0..8), tail).prop_map(|(messages, tail)| {
        let mut bytes: Vec<u8> = messages
            .iter()
            .flat_map(|message| framed(message))
            .collect();
        bytes.extend(tail);
        bytes
    })
}

proptest! {
    #[test]
    fn any_split_gives_the_same_messages(
        input in stream(),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
        limit in 12..100_usize,
    ) {
        let whole = read(&mut Connection::new(limit), &input, &[]);
        prop_assert_eq!(&whole, &read(&mut Connection::new(limit), &input, &cuts));
        let bytewise: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(&whole, &read(&mut Connection::new(limit), &input, &bytewise));
    }

    #[test]
    fn any_split_after_a_gap_finds_the_same_messages(
        before in prop::collection::vec(any::<u8>(), 0..60),
        input in stream(),
        cuts in prop::collection::vec(any::<usize>(), 0..20),
    ) {
        let input = [before, input].concat();
        let mut seen = [&[][..], &cuts].map(|cuts| {
            let mut connection = Connection::new(Message::BYTES_MAX);
            assert!(connection.handle_gap(ToServer, 100));
            read(&mut connection, &input, cuts)
        });
        let [whole, split] = &mut seen;
        prop_assert_eq!(whole, split);
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = (looks_like(&bytes), looks_like_stream(ToServer, &bytes));
        read(&mut Connection::new(Message::BYTES_MAX), &bytes, &[]);
        prop_assert!(!looks_like(&bytes), "random bytes are no DNS");
    }
}

#[test]
fn a_message_beyond_the_bound_is_read_as_far_as_that_goes() {
    let long = query(7, &"a".repeat(60));
    let input = [framed(&long), framed(&query(8, "b"))].concat();
    let seen = read(&mut Connection::new(40), &input, &[]);
    assert_eq!(
        seen.messages,
        [
            "7 [] Some(\"dns-name-cut-short\") 40",
            "8 [\"b.test.\"] None 24"
        ]
    );
    assert_eq!(seen.skipped, long.len() - 40);
    assert_eq!(seen.close, Some(Close::Clean));
}

#[test]
fn a_length_too_small_for_a_message_ends_the_reading() {
    for length in 0..12 {
        let mut connection = Connection::new(512);
        let error = connection.step(ToServer, &[0, length]).unwrap_err();
        assert_eq!(error.rule, "dns-length-too-small");
        let next = framed(&query(1, "a"));
        let again = connection.step(ToServer, &next);
        assert_eq!(again.unwrap_err().rule, "after-error");
        assert_eq!(connection.handle_close(ToServer), Close::Clean);
    }
}

#[test]
fn an_end_inside_a_message_truncates() {
    let input = framed(&query(1, "a"));
    for cut in 1..input.len() {
        let mut connection = Connection::new(512);
        let Ok(Step::NeedMore) = connection.step(ToServer, &input[..cut]) else {
            panic!("{cut}");
        };
        assert_eq!(connection.handle_close(ToServer), Close::Truncates);
        assert_eq!(connection.handle_close(ToClient), Close::Clean);
    }
}

#[test]
fn after_a_gap_the_next_message_is_found() {
    let input = [&b"some rest of a message"[..], &framed(&query(5, "found"))].concat();
    let mut connection = Connection::new(512);
    assert!(connection.handle_gap(ToServer, 1000));
    let seen = read(&mut connection, &input, &[]);
    assert_eq!((seen.messages.len(), seen.lost), (1, 22));
}

#[test]
fn a_gap_inside_what_is_skipped_loses_nothing_else() {
    let mut connection = Connection::new(20);
    let input = framed(&query(5, &"x".repeat(50)));
    let Ok(Step::Event { consumed: 22, .. }) = connection.step(ToServer, &input) else {
        panic!();
    };
    let left = u64::try_from(input.len() - 22).unwrap();
    assert!(!connection.handle_gap(ToServer, left));
    let seen = read(&mut connection, &framed(&query(6, "y")), &[]);
    assert_eq!((seen.messages.len(), seen.lost), (1, 0));
}

#[test]
fn a_stream_is_known_by_its_first_message() {
    let input = framed(&query(5, "example"));
    assert_eq!(looks_like_stream(ToServer, &input), Some(true));
    for cut in 0..input.len() {
        assert_eq!(looks_like_stream(ToServer, &input[..cut]), None, "{cut}");
    }
    assert_eq!(looks_like_stream(ToClient, &input), Some(false));
    let others: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"\0\x0a1234567890",
    ];
    for bytes in others {
        assert_ne!(looks_like_stream(ToServer, bytes), Some(true), "{bytes:?}");
    }
}

#[test]
fn names_of_netbios_are_no_dns() {
    let mut bytes = query(1, "CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    assert!(!looks_like(&bytes));
    bytes = query(1, "CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAz");
    assert!(looks_like(&bytes));
    let last = bytes.len() - 3;
    bytes[last] = 32;
    assert!(!looks_like(&bytes), "type NB");
}
