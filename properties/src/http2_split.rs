//! HTTP/2: any split gives the same events, in both directions, from the start, from the middle, and
//! after gaps.

use std::collections::BTreeMap;

use parsers::http2::{Connection, Event, Head, Step};
use parsers::{Direction, Limits};

use crate::cuts::{self, Outcome};

/// What was seen, with runs of bytes merged.
#[derive(Debug, PartialEq, Eq, Default)]
struct Seen {
    messages: Vec<String>,
    payload: BTreeMap<u32, Vec<u8>>,
    /// Faults of payloads, told with the piece that shows them.
    faults: BTreeMap<u32, &'static str>,
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
                // Padding is an event without bytes, as often as the cuts fall into it.
                if !bytes.is_empty() {
                    let payload = self.payload.entry(*stream).or_default();
                    payload.extend_from_slice(bytes);
                }
                if let Some(fault) = fault {
                    self.faults.entry(*stream).or_insert(fault.rule);
                }
                if *is_last {
                    let fault = self.faults.remove(stream);
                    let payload = self.payload.remove(stream).unwrap_or_default();
                    self.messages
                        .push(format!("data {stream} {payload:x?} {fault:?}"));
                }
            }
            Event::Skipped => {}
            Event::Lost => self.lost += consumed,
            Event::Request { stream, head, .. } => self.head("request", *stream, head),
            Event::Response { stream, head } => self.head("response", *stream, head),
            Event::Trailers { stream, head } => self.head("trailers", *stream, head),
            Event::Push {
                stream,
                promised,
                head,
            } => self.head(&format!("push {promised}"), *stream, head),
            Event::Preface
            | Event::Reset { .. }
            | Event::GoAway { .. }
            | Event::Settings(_)
            | Event::Frame { .. } => self.messages.push(format!("{event:?}")),
        }
    }

    fn head(&mut self, what: &str, stream: u32, head: &Head<'_>) {
        let limits = limits();
        assert!(head.list().len() <= limits.header_list_bytes / 32);
        let fields: Vec<_> = head
            .list()
            .iter()
            .map(|field| (field.name.to_vec(), field.value.to_vec(), field.is_unknown))
            .collect();
        let (last, fault) = (head.is_last(), head.fault());
        self.messages
            .push(format!("{what} {stream} {fields:?} {last} {fault:?}"));
    }
}

fn limits() -> Limits {
    Limits {
        header_block_bytes: 300,
        header_list_bytes: 1024,
        hpack_table_bytes: 1024,
        continuations: 4,
        unacknowledged_settings: 3,
        streams: 3,
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
        let outcome = match connection.step(direction, waiting) {
            Ok(Step::NeedMore) => Outcome::NeedMore,
            Ok(Step::Event { consumed, event }) => {
                seen.note(consumed, &event);
                Outcome::Consumed(consumed)
            }
            Err(error) => {
                seen.error = Some(error.rule);
                // Payload in front of a fault is told or not, as the cuts fall.
                seen.payload.clear();
                seen.faults.clear();
                Outcome::Failed
            }
        };
        assert!(connection.open_streams() <= limits().streams);
        outcome
    });
}

fn read(make: fn(Limits) -> Connection, sides: [(Direction, &[u8]); 2], how: usize) -> [Seen; 2] {
    let mut connection = make(limits());
    sides.map(|(direction, bytes)| {
        let mut seen = Seen::default();
        let cuts = cuts::way(bytes, how);
        feed(&mut connection, direction, bytes, &cuts, &mut seen);
        seen
    })
}

pub(crate) fn holds(data: &[u8]) {
    let sides = cuts::sides(data);
    for make in [Connection::new, Connection::mid_stream] {
        let whole = read(make, sides, 0);
        for way in 1..=2 {
            assert_eq!(whole, read(make, sides, way), "split {way}");
        }
    }
    for (direction, bytes) in sides {
        resumes(direction, bytes);
    }
}

/// After a gap too, any split gives the same.
fn resumes(direction: Direction, bytes: &[u8]) {
    let Some(middle) = cuts::some(bytes).first().copied() else {
        return;
    };
    let (before, after) = bytes.split_at(middle);
    let read = |cuts: &[usize]| {
        let mut connection = Connection::new(limits());
        let mut seen = Seen::default();
        feed(&mut connection, direction, before, &[], &mut seen);
        let gap = connection.handle_gap(direction, 1 + middle as u64 % 700);
        seen.messages.push(format!("{gap:?}"));
        feed(&mut connection, direction, after, cuts, &mut seen);
        seen
    };
    let whole = read(&[]);
    for way in cuts::ways(after) {
        assert_eq!(whole, read(&way), "split after a gap");
    }
}
