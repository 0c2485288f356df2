//! DNS: whatever a message holds can be read to its end and written out, in bounded text; any split
//! of a stream gives the same messages; a refusal is an answer to its query.

use parsers::Direction;
use parsers::dns::tcp::{Connection, Event, Step};
use parsers::dns::{Chain, Message, Name, Rcode, Refusal, Section, refuse};

use crate::cuts::{self, Outcome};

const STREAM_MESSAGE_BYTES: usize = 256;

fn render_name(name: &Name<'_>, out: &mut Vec<String>) {
    let (mut wire, mut lower) = ([0; Name::WIRE_MAX], [0; Name::TEXT_MAX]);
    let text = name.to_string();
    assert!(
        text.len() <= Name::TEXT_MAX,
        "a name of {} bytes",
        text.len()
    );
    assert!(name.to_lower(&mut lower).is_some(), "a name without room");
    assert!(!name.to_wire(&mut wire).is_empty());
    out.push(text);
}

fn render(message: &Message<'_>) -> Vec<String> {
    let mut out = vec![format!(
        "{:?} {:?} {:?}",
        message.header(),
        message.rcode(),
        message.fault()
    )];
    let mut entries = 0;
    for question in message.questions() {
        entries += 1;
        render_name(&question.name(), &mut out);
        out.push(format!("{:?} {:?}", question.kind(), question.class()));
    }
    for section in [Section::Answer, Section::Authority, Section::Additional] {
        for record in message.records(section) {
            entries += 1;
            render_name(&record.name(), &mut out);
            if let Some(target) = record.target() {
                render_name(&target, &mut out);
            }
            out.push(format!(
                "{} {:?} {}",
                record.ttl(),
                record.address(),
                record.text()
            ));
        }
    }
    assert!(
        entries * 5 <= message.bytes().len(),
        "more entries than bytes"
    );
    let read: usize = Section::ALL
        .iter()
        .map(|section| usize::from(message.read_count(*section)))
        .sum();
    assert_eq!(entries, read, "every entry that was read is told");
    if let Some(edns) = message.edns() {
        for option in edns.options() {
            out.push(format!("{:?}", option.content()));
        }
    }
    if let Some(chain) = Chain::of(message) {
        assert!(chain.names().count() <= Chain::NAMES_MAX);
        for answer in chain.addresses() {
            out.push(format!("{}", answer.address));
        }
    }
    out
}

fn assert_refusal(data: &[u8]) {
    let refusal = Refusal {
        rcode: Rcode::REFUSED,
        reason: None,
    };
    let mut room = vec![0; Message::BYTES_MAX];
    let Ok(length) = refuse(data, &refusal, &mut room) else {
        return;
    };
    let (query, answer) = (
        Message::read(data),
        Message::read(room.get(..length).unwrap_or_default()),
    );
    let (Ok(query), Ok(answer)) = (query, answer) else {
        assert_eq!(length, 0, "a refusal is a message");
        return;
    };
    assert_eq!(answer.fault(), None, "a refusal is whole");
    assert_eq!(answer.header().id(), query.header().id());
    assert!(answer.header().is_response());
    assert_eq!(answer.rcode(), Rcode::REFUSED);
}

fn stream(data: &[u8], cuts: &[usize], gap: u64) -> (Vec<String>, [usize; 2]) {
    let mut connection = Connection::new(STREAM_MESSAGE_BYTES);
    if gap > 0 {
        connection.handle_gap(Direction::ToServer, gap);
    }
    let (mut told, mut skipped, mut lost) = (Vec::new(), 0, 0);
    cuts::feed(data, cuts, |waiting| {
        match connection.step(Direction::ToServer, waiting) {
            Ok(Step::NeedMore) => Outcome::NeedMore,
            Ok(Step::Event { consumed, event }) => {
                match event {
                    Event::Message(message) => told.extend(render(&message)),
                    Event::Skipped => skipped += consumed,
                    Event::Lost => lost += consumed,
                }
                Outcome::Consumed(consumed)
            }
            Err(error) => {
                told.push(error.rule.to_owned());
                Outcome::Failed
            }
        }
    });
    (told, [skipped, lost])
}

pub(crate) fn holds(data: &[u8]) {
    if let Ok(message) = Message::read(data) {
        render(&message);
        assert_refusal(data);
    }
    for gap in [0, 1] {
        let whole = stream(data, &[], gap);
        for way in cuts::ways(data) {
            assert_eq!(whole, stream(data, &way, gap), "split, after a gap: {gap}");
        }
    }
}
