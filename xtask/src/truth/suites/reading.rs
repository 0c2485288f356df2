//! What our HTTP/1 parser makes of the bytes of a case.

use parsers::http1::{Close, Connection, Event, Header, Reading, RequestHead, Step};
use parsers::{Direction, Error, Limits};

/// How a case is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    /// As a watched port is.
    Lenient,
    /// As an enforced port is. Cases that have no Host are given one: that it is missing would hide
    /// all else.
    Strict,
}

impl Mode {
    pub(super) const ALL: [Self; 2] = [Self::Lenient, Self::Strict];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Lenient => "lenient",
            Self::Strict => "strict",
        }
    }

    fn reading(self) -> Reading {
        match self {
            Self::Lenient => Reading::Lenient,
            Self::Strict => Reading::Strict,
        }
    }
}

/// A message, in words that two readers of it share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    /// Method, target and version, or version and code.
    pub(super) start: String,
    /// `name: value`, runs of white space as one blank.
    pub(super) fields: Vec<String>,
    /// Payload bytes.
    pub(super) body: u64,
    /// Whether its end was seen.
    pub(super) is_complete: bool,
}

impl Message {
    /// Its head in one line.
    pub(super) fn heads(&self) -> String {
        format!("{} {:?}", self.start, self.fields)
    }
}

/// What came of a connection.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Messages, in the order of their heads.
    pub(super) messages: Vec<(Direction, Message)>,
    /// The first refusal.
    pub(super) refused: Option<&'static str>,
    /// Whether a head has begun and not ended.
    pub(super) is_in_head: bool,
    /// Whether the server's close would end a body.
    ends_body: bool,
}

impl Outcome {
    /// The messages of one direction.
    pub(super) fn of(&self, direction: Direction) -> impl Iterator<Item = &Message> {
        let of = self.messages.iter().filter(move |(of, _)| *of == direction);
        of.map(|(_, message)| message)
    }

    /// Whether all messages are, now that both sides have closed.
    pub(super) fn is_complete(&self) -> bool {
        let mut open = self
            .messages
            .iter()
            .filter(|(_, message)| !message.is_complete);
        let is_ended =
            |(way, _): &(Direction, Message)| *way == Direction::ToClient && self.ends_body;
        !self.messages.is_empty() && open.all(is_ended)
    }
}

/// Pieces of both directions, in the order in which they were sent.
pub(super) type Pieces = Vec<(Direction, Vec<u8>)>;

/// The host of requests that had none.
const HOST: &str = "given.invalid";

/// Reads a case again with an end of its last head, if it has none: others tell of a fault at the byte
/// that makes it, a head is judged as a whole here.
pub(super) fn read_ended(mut pieces: Pieces, mode: Mode) -> Outcome {
    if let Some((_, bytes)) = pieces.last_mut() {
        bytes.extend_from_slice(b"\r\n\r\n");
    }
    read(pieces, mode)
}

/// Reads a case.
pub(super) fn read(mut pieces: Pieces, mode: Mode) -> Outcome {
    loop {
        let mut reader = Reader::new(mode.reading());
        let failed = reader.read(&pieces);
        match failed {
            Some((
                Error {
                    rule: "no-host", ..
                },
                piece,
                at,
            )) => give_host(&mut pieces, piece, at),
            failed => {
                let mut outcome = reader.outcome;
                outcome.refused = failed.map(|(error, ..)| error.rule);
                let all_told = outcome
                    .messages
                    .iter()
                    .all(|(_, message)| message.is_complete);
                let ways = [Direction::ToServer, Direction::ToClient];
                let closes = ways.map(|way| reader.connection.handle_close(way));
                outcome.is_in_head = all_told && closes.contains(&Close::Truncates);
                outcome.ends_body = closes.contains(&Close::EndsBody);
                return outcome;
            }
        }
    }
}

/// Puts a Host behind the first line of a head.
fn give_host(pieces: &mut Pieces, piece: usize, at: usize) {
    let Some((_, bytes)) = pieces.get_mut(piece) else {
        return;
    };
    let rest = bytes.get(at..).unwrap_or_default();
    let blank = rest
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count();
    let line = rest.iter().skip(blank).position(|byte| *byte == b'\n');
    let behind = at + blank + line.map_or(0, |line| line + 1);
    bytes.splice(behind..behind, format!("Host: {HOST}\r\n").into_bytes());
}

struct Reader {
    connection: Connection,
    outcome: Outcome,
}

impl Reader {
    fn new(reading: Reading) -> Self {
        Self {
            connection: Connection::new(Limits::default(), reading),
            outcome: Outcome::default(),
        }
    }

    /// The first refusal, with the piece and the place in it where the refused message begins.
    fn read(&mut self, pieces: &Pieces) -> Option<(Error, usize, usize)> {
        let mut kept: [Vec<u8>; 2] = [Vec::new(), Vec::new()];
        for (number, (direction, bytes)) in pieces.iter().enumerate() {
            let [to_server, to_client] = &mut kept;
            let buffer = match direction {
                Direction::ToServer => to_server,
                Direction::ToClient => to_client,
            };
            let before = buffer.len();
            buffer.extend_from_slice(bytes);
            let mut at = 0;
            loop {
                let rest = buffer.get(at..).unwrap_or_default();
                match self.connection.step(*direction, rest) {
                    Ok(Step::Event { consumed, event }) => {
                        self.outcome.see(*direction, &event);
                        at += consumed;
                    }
                    Ok(Step::NeedMore) => break,
                    Err(error) => return Some((error, number, at.saturating_sub(before))),
                }
            }
            buffer.drain(..at);
        }
        None
    }
}

impl Outcome {
    fn see(&mut self, direction: Direction, event: &Event<'_>) {
        let message = match event {
            Event::Request(head) => request(head),
            Event::Response(head) => Message {
                start: format!("{} {}", version(head.version()), head.code()),
                fields: fields(&head.headers().collect::<Vec<_>>()),
                body: 0,
                is_complete: head.body() == parsers::http1::BodyKind::None,
            },
            Event::Body { data, is_last } => {
                let mut of = self.messages.iter_mut().rev();
                if let Some((_, message)) = of.find(|(of, _)| *of == direction) {
                    message.body += data;
                    message.is_complete = *is_last;
                }
                return;
            }
            Event::Opaque | Event::Lost => return,
        };
        self.messages.push((direction, message));
    }
}

fn request(head: &RequestHead<'_>) -> Message {
    let method = head.method().escape_ascii();
    let target = head.target().escape_ascii();
    Message {
        start: format!("{method} {target} {}", version(head.version())),
        fields: fields(&head.headers().collect::<Vec<_>>()),
        body: 0,
        is_complete: head.body() == parsers::http1::BodyKind::None,
    }
}

fn version(version: u8) -> &'static str {
    if version == 10 { "1.0" } else { "1.1" }
}

fn fields(headers: &[Header<'_>]) -> Vec<String> {
    let told = headers
        .iter()
        .map(|header| field(header.name, header.value));
    let given = format!("host: {HOST}");
    told.filter(|field| *field != given).collect()
}

/// A field as both sides tell it.
pub(super) fn field(name: &[u8], value: &[u8]) -> String {
    let words = value
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(|word| word.escape_ascii().to_string()).collect();
    let name = name.trim_ascii().to_ascii_lowercase();
    format!("{}: {}", name.escape_ascii(), words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_host_is_given_one_for_the_strict_rules() {
        let ask = |bytes: &[u8]| read(vec![(Direction::ToServer, bytes.to_vec())], Mode::Strict);
        let outcome = ask(b"GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n");
        assert_eq!((outcome.refused, outcome.messages.len()), (None, 2));
        assert!(
            outcome
                .of(Direction::ToServer)
                .all(|message| message.fields.is_empty())
        );
        let outcome = ask(b"GET /a HTTP/1.1\r\nA : b\r\n\r\n");
        assert_eq!(outcome.refused, Some("bad-header-name"));
    }
}
