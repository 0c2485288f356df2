//! libhtp's cases: files with what client (`>>>`) and server (`<<<`) say in turn. What its tests
//! assert of them stands in code; `libhtp_expects.tsv` tells it in words.

use std::path::Path;

use anyhow::Context as _;
use parsers::Direction;

use super::reading::{Message, Outcome, Pieces, field};
use super::{Case, Expected, Messages};

/// All cases that libhtp's tests assert something of without a setting of theirs.
pub(super) fn cases(folder: &Path) -> anyhow::Result<Vec<Case>> {
    let expects = include_str!("libhtp_expects.tsv");
    let lines = expects.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| case(folder, line).with_context(|| line.to_owned()))
        .collect()
}

fn case(folder: &Path, line: &str) -> anyhow::Result<Case> {
    let mut columns = line.split('\t');
    let name = columns.next().context("no name")?;
    let is_refused = columns.next().context("no result")? == "refused";
    let requests = columns.next().context("no requests")?;
    let requests: Option<usize> = match requests {
        "-" => None,
        number => Some(number.parse()?),
    };
    let facts: Vec<String> = columns.map(str::to_owned).collect();
    let bytes = std::fs::read(folder.join(name))?;
    Ok(Case {
        name: name.to_owned(),
        pieces: pieces(&bytes),
        expected: Expected {
            refused: is_refused.then(|| "an error".to_owned()),
            messages: Box::new(Read { requests, facts }),
        },
    })
}

/// What libhtp's tests assert.
struct Read {
    requests: Option<usize>,
    facts: Vec<String>,
}

impl Messages for Read {
    fn differ(&self, outcome: &Outcome) -> Option<String> {
        let seen = outcome.of(Direction::ToServer).count();
        match self.requests {
            Some(requests) if requests != seen => {
                Some(format!("ours {seen} requests, theirs {requests}"))
            }
            Some(_) | None => self.facts.iter().find_map(|fact| differs(fact, outcome)),
        }
    }
}

/// The line end before a mark is the mark's.
fn pieces(bytes: &[u8]) -> Pieces {
    let mut pieces: Pieces = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let direction = match line.trim_ascii_end() {
            b">>>" => Direction::ToServer,
            b"<<<" => Direction::ToClient,
            _ => {
                if let Some((_, piece)) = pieces.last_mut() {
                    piece.extend_from_slice(line);
                }
                continue;
            }
        };
        if let Some((_, piece)) = pieces.last_mut() {
            let end = piece.strip_suffix(b"\n").map_or(piece.len(), |piece| {
                piece.strip_suffix(b"\r").unwrap_or(piece).len()
            });
            piece.truncate(end);
        }
        pieces.push((direction, Vec::new()));
    }
    pieces
}

/// How a fact is not so, if it is not.
fn differs(fact: &str, outcome: &Outcome) -> Option<String> {
    let request = outcome.of(Direction::ToServer).next();
    let response = outcome.of(Direction::ToClient).next();
    let (key, value) = fact.split_once(' ').unwrap_or((fact, ""));
    let start = |at: usize| request.and_then(|request| request.start.split(' ').nth(at));
    let (message, part) = match value.split_once(' ') {
        Some((part, value)) if key == "response" => (response, Some((part, value))),
        Some((part, value)) if key == "request" => (request, Some((part, value))),
        _ => (request, None),
    };
    let is_so = match (key, part) {
        ("method", _) => start(0) == Some(value),
        ("uri", _) => start(1) == Some(value),
        ("statuses", _) => statuses(outcome) == value,
        ("complete", _) => outcome.is_complete(),
        ("field", _) => message.is_some_and(|message| has(message, value)),
        (_, Some(("field", value))) => message.is_some_and(|message| has(message, value)),
        (_, Some(("body", value))) => {
            message.is_some_and(|message| message.body.to_string() == value)
        }
        _ => false,
    };
    (!is_so).then(|| format!("not so: {fact}: {:?}", message.map(Message::heads)))
}

fn has(message: &Message, wanted: &str) -> bool {
    let (name, value) = wanted.split_once(':').unwrap_or((wanted, ""));
    let wanted = field(name.as_bytes(), value.as_bytes());
    message.fields.contains(&wanted)
}

/// The final answers' codes.
fn statuses(outcome: &Outcome) -> String {
    let responses = outcome.of(Direction::ToClient);
    let codes = responses.filter_map(|response| response.start.split(' ').nth(1));
    let codes: Vec<&str> = codes.filter(|code| !code.starts_with('1')).collect();
    codes.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::reading::{Mode, read};
    use super::*;

    const FILE: &[u8] = b">>>\r\nGET /a HTTP/1.0\r\n\r\n\r\n<<<\r\nHTTP/1.0 200 OK\r\n\r\nabc";

    #[test]
    fn both_sides_speak_in_turn() {
        let outcome = read(pieces(FILE), Mode::Lenient);
        for fact in [
            "method GET",
            "uri /a",
            "statuses 200",
            "complete",
            "response body 3",
        ] {
            assert_eq!(differs(fact, &outcome), None, "{fact}");
        }
        assert!(differs("response field A: b", &outcome).is_some());
    }
}
