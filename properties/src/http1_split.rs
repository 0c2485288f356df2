//! HTTP/1: any split gives the same messages, and strict accepts only what lenient reads alike.

use parsers::http1::{Connection, Event, Reading, Step};
use parsers::{Direction, Limits};

use crate::cuts::{self, Outcome};

/// What was seen, with runs of bytes merged.
#[derive(Debug, PartialEq, Eq, Default)]
struct Seen {
    messages: Vec<String>,
    body: u64,
    opaque: usize,
    lost: usize,
    error: Option<&'static str>,
}

impl Seen {
    fn note(&mut self, consumed: usize, event: &Event<'_>) {
        match event {
            Event::Request(head) => {
                let fields: Vec<_> = head
                    .headers()
                    .map(|h| (h.name.to_vec(), h.value.to_vec()))
                    .collect();
                self.messages.push(format!(
                    "{:?} {:?} {fields:?}",
                    head.method(),
                    head.target()
                ));
            }
            Event::Response(head) => {
                let fields: Vec<_> = head
                    .headers()
                    .map(|h| (h.name.to_vec(), h.value.to_vec()))
                    .collect();
                self.messages.push(format!("{} {fields:?}", head.code()));
            }
            Event::Body { data, is_last } => {
                self.body += data;
                if *is_last {
                    self.messages.push(format!("body {}", self.body));
                    self.body = 0;
                }
            }
            Event::Opaque => self.opaque += consumed,
            Event::Lost => self.lost += consumed,
        }
    }
}

fn limits() -> Limits {
    Limits {
        head_bytes: 512,
        headers: 16,
        pipelined: 8,
        chunk_line_bytes: 64,
        trailer_bytes: 128,
        ..Limits::default()
    }
}

fn feed(
    connection: &mut Connection,
    direction: Direction,
    bytes: &[u8],
    cuts: &[usize],
    seen: &mut Seen,
) {
    cuts::feed(bytes, cuts, |waiting| {
        match connection.step(direction, waiting) {
            Ok(Step::NeedMore) => Outcome::NeedMore,
            Ok(Step::Event { consumed, event }) => {
                seen.note(consumed, &event);
                Outcome::Consumed(consumed)
            }
            Err(error) => {
                seen.error = Some(error.rule);
                // Payload in front of a broken chunk is told or not, as the cuts fall.
                seen.body = 0;
                Outcome::Failed
            }
        }
    });
}

/// One direction after the other; what a direction said is one `Seen`.
fn read(sides: [(Direction, &[u8]); 2], reading: Reading, how: usize) -> [Seen; 2] {
    let mut connection = Connection::new(limits(), reading);
    sides.map(|(direction, bytes)| {
        let mut seen = Seen::default();
        let cuts = cuts::way(bytes, how);
        feed(&mut connection, direction, bytes, &cuts, &mut seen);
        seen
    })
}

pub(crate) fn holds(data: &[u8]) {
    let sides = cuts::sides(data);
    let [strict, lenient] = [Reading::Strict, Reading::Lenient].map(|reading| {
        let whole = read(sides, reading, 0);
        for way in 1..=2 {
            assert_eq!(whole, read(sides, reading, way), "split {way}, {reading:?}");
        }
        whole
    });
    let [(strict, _), (lenient, _)] = [strict, lenient].map(|[client, server]| (client, server));
    assert!(
        lenient.messages.starts_with(&strict.messages),
        "strict and lenient read differently: {strict:?} {lenient:?}"
    );
    resumes(sides);
}

/// After a gap too, any split gives the same.
fn resumes(sides: [(Direction, &[u8]); 2]) {
    let [(direction, bytes), _] = sides;
    let Some(middle) = cuts::some(bytes).first().copied() else {
        return;
    };
    let (before, after) = bytes.split_at(middle);
    let read = |cuts: &[usize]| {
        let mut connection = Connection::new(limits(), Reading::Lenient);
        let mut seen = Seen::default();
        feed(&mut connection, direction, before, &[], &mut seen);
        connection.handle_gap(direction, 1 + middle as u64 % 700);
        feed(&mut connection, direction, after, cuts, &mut seen);
        seen
    };
    let whole = read(&[]);
    for way in cuts::ways(after) {
        assert_eq!(whole, read(&way), "split after a gap");
    }
}
