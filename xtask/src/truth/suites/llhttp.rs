//! llhttp's cases: Markdown, each case with its bytes (`http`) and what llhttp makes of them (`log`).

use std::path::Path;

use anyhow::{Context as _, ensure};
use parsers::Direction;
use serde_json::Value;

use super::reading::{Message, Outcome, field};
use super::{Case, Expected, Messages};

/// All cases below a folder. Files about URLs alone hold no messages.
pub(super) fn cases(folder: &Path) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for kind in ["request", "response"] {
        let mut files: Vec<_> = std::fs::read_dir(folder.join(kind))
            .with_context(|| folder.display().to_string())?
            .map(|file| file.map(|file| file.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        for file in files {
            let stem = file.file_stem().unwrap_or_default();
            let name = format!("{kind}/{}", stem.display());
            let text = std::fs::read_to_string(&file)?;
            cases.extend(of_file(&name, &text).with_context(|| file.display().to_string())?);
        }
    }
    Ok(cases)
}

fn of_file(file: &str, text: &str) -> anyhow::Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    let (mut title, mut meta) = ("", Value::Null);
    let mut bytes = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(words) = line.strip_prefix('#') {
            title = words.trim_start_matches('#').trim();
        } else if let Some(json) = line.strip_prefix("<!-- meta=") {
            let json = json.strip_suffix("-->").context("an open comment")?;
            meta = serde_json::from_str(json).with_context(|| json.to_owned())?;
        } else if line == "```http" {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            bytes = unescape(&block.join("\n"));
        } else if line == "```log" {
            let log: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let mut name = format!("{file}: {title}");
            // A title may stand over several cases.
            let same = cases
                .iter()
                .filter(|case| case.name.starts_with(&name))
                .count();
            if same > 0 {
                name = format!("{name} ({})", same + 1);
            }
            let case = case(name, &meta, &bytes, &log);
            cases.extend(case.with_context(|| title.to_owned())?);
        }
    }
    Ok(cases)
}

/// Line ends of a block are CRLF, but for those behind a backslash; `\r`, `\n`, `\t`, `\f` and
/// `\xNN` are characters.
fn unescape(block: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = block.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'\\', [b'\n', after @ ..]) => rest = after,
            (b'\\', [known @ (b'r' | b'n' | b't' | b'f'), after @ ..]) => {
                rest = after;
                bytes.push(match known {
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b't' => b'\t',
                    _ => 0x0c,
                });
            }
            (b'\\', [b'x', high, low, after @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or_default();
                // A character's number, not a byte's.
                let character = char::from_u32(digit(high) << 4 | digit(low));
                bytes.extend(character.map(String::from).unwrap_or_default().bytes());
                rest = after;
            }
            (b'\n', _) => bytes.extend_from_slice(b"\r\n"),
            _ => bytes.push(*first),
        }
    }
    bytes
}

/// Codes of llhttp that are no refusals: it stops where it was told to, or where the protocol may
/// change.
const PAUSES: [&str; 3] = ["21", "22", "23"];

fn case(name: String, meta: &Value, bytes: &[u8], log: &[&str]) -> anyhow::Result<Option<Case>> {
    let kind = meta
        .get("type")
        .and_then(Value::as_str)
        .context("no type")?;
    let direction = if kind.starts_with("request") {
        Direction::ToServer
    } else {
        Direction::ToClient
    };
    let skips_body = meta.get("skipBody").is_some();
    if skips_body && direction == Direction::ToServer {
        // An order to llhttp; no bytes can tell it.
        return Ok(None);
    }
    let mut told = Told::default();
    for line in log {
        told.line(line, bytes).with_context(|| (*line).to_owned())?;
    }
    let mut pieces = Vec::new();
    if skips_body {
        let asked = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
        pieces.push((Direction::ToServer, asked.repeat(told.messages.len())));
    }
    let bytes = bytes.get(..told.paused.unwrap_or(bytes.len()));
    pieces.push((direction, bytes.unwrap_or_default().to_vec()));
    Ok(Some(Case {
        name,
        pieces,
        expected: Expected {
            refused: told.refused.clone(),
            messages: Box::new(Read { direction, told }),
        },
    }))
}

/// What llhttp reads.
struct Read {
    direction: Direction,
    told: Told,
}

impl Messages for Read {
    fn differ(&self, outcome: &Outcome) -> Option<String> {
        self.told.messages_differ(self.direction, outcome)
    }
}

/// What the log tells.
#[derive(Default)]
struct Told {
    messages: Vec<Message>,
    /// The message whose head is not complete.
    open: Option<Open>,
    refused: Option<String>,
    /// Where llhttp stopped for another reason.
    paused: Option<usize>,
}

#[derive(Default)]
struct Open {
    method: Vec<u8>,
    target: Vec<u8>,
    name: Vec<u8>,
    value: Vec<u8>,
    fields: Vec<String>,
}

impl Told {
    fn line(&mut self, line: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let (offset, rest) = line.split_once(' ').context("no offset")?;
        let offset = offset.strip_prefix("off=").context("no offset")?;
        if offset == "NULL" {
            // What the end of input would mean is asked of the connection's user.
            return Ok(());
        }
        let offset: usize = offset.parse()?;
        if let Some(span) = rest.strip_prefix("len=") {
            return self.span(span, offset, bytes);
        }
        match rest {
            "message begin" => self.open = Some(Open::default()),
            "header_value complete" => {
                if let Some(open) = &mut self.open {
                    open.fields.push(field(&open.name, &open.value));
                    open.name.clear();
                    open.value.clear();
                }
            }
            "message complete" => {
                let last = self.messages.last_mut();
                last.context("no message")?.is_complete = true;
            }
            _ => {}
        }
        if let Some(facts) = rest.strip_prefix("headers complete ") {
            let open = self.open.take().context("no message")?;
            self.messages.push(open.complete(facts)?);
        }
        if let Some(error) = rest.strip_prefix("error code=") {
            let (code, reason) = error.split_once(" reason=").context("no reason")?;
            if PAUSES.contains(&code) {
                self.paused = Some(offset);
            } else {
                self.refused = Some(reason.trim_matches('"').to_owned());
            }
        }
        Ok(())
    }

    fn span(&mut self, span: &str, offset: usize, bytes: &[u8]) -> anyhow::Result<()> {
        let (length, rest) = span.split_once(" span[").context("no span")?;
        let (name, text) = rest.split_once("]=").context("no text")?;
        let length: usize = length.parse()?;
        let covered = bytes.get(offset..offset + length).context("outside")?;
        let quoted = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        let text = match (text, quoted) {
            ("cr", _) => b"\r".to_vec(),
            ("lf", _) => b"\n".to_vec(),
            (_, quoted) => unescape(quoted.context("no text")?),
        };
        ensure!(
            text == covered,
            "not these bytes: {}",
            covered.escape_ascii()
        );
        if name == "body" {
            let last = self.messages.last_mut().context("no message")?;
            last.body += u64::try_from(length)?;
            return Ok(());
        }
        // Fields behind the last chunk are trailers: nobody is told of them.
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let part = match name {
            "method" => &mut open.method,
            "url" => &mut open.target,
            "header_field" => &mut open.name,
            "header_value" => &mut open.value,
            _ => return Ok(()),
        };
        part.extend_from_slice(covered);
        Ok(())
    }

    /// How the messages differ, if they do.
    fn messages_differ(&self, direction: Direction, outcome: &Outcome) -> Option<String> {
        let ours: Vec<&Message> = outcome.of(direction).collect();
        let is_whole = outcome.refused.is_none() && self.refused.is_none();
        let pairs = ours.iter().zip(&self.messages);
        for (ours, theirs) in pairs {
            if ours.start != theirs.start || ours.fields != theirs.fields {
                let (ours, theirs) = (ours.heads(), theirs.heads());
                return Some(format!("ours {ours}, theirs {theirs}"));
            }
            if is_whole && (ours.body, ours.is_complete) != (theirs.body, theirs.is_complete) {
                return Some(format!(
                    "body of {}: ours {} {}, theirs {} {}",
                    ours.start, ours.body, ours.is_complete, theirs.body, theirs.is_complete
                ));
            }
        }
        let (ours, theirs) = (ours.len(), self.messages.len());
        // Where both refuse, one of them may have told of the head before.
        let is_same = ours == theirs || (!is_whole && ours.abs_diff(theirs) == 1);
        (!is_same).then(|| format!("ours {ours} messages, theirs {theirs}"))
    }
}

impl Open {
    /// `method=N` or `status=N`, then `v=1/1` and more.
    fn complete(self, facts: &str) -> anyhow::Result<Message> {
        let fact = |key: &str| facts.split(' ').find_map(|fact| fact.strip_prefix(key));
        let version = fact("v=").context("no version")?.replace('/', ".");
        let start = if let Some(code) = fact("status=") {
            format!("{version} {code}")
        } else {
            let (method, target) = (self.method.escape_ascii(), self.target.escape_ascii());
            format!("{method} {target} {version}")
        };
        Ok(Message {
            start,
            fields: self.fields,
            body: 0,
            is_complete: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::{Mode, read};
    use super::*;

    const FILE: &str = r#"## A length that is none

<!-- meta={"type": "request"} -->
```http
PUT /a HTTP/1.1
Content-Length: 1\rx
```

```log
off=0 message begin
off=0 len=3 span[method]="PUT"
off=4 len=2 span[url]="/a"
off=17 len=14 span[header_field]="Content-Length"
off=33 len=1 span[header_value]="1"
off=35 error code=3 reason="Missing LF"
```

<!-- meta={"type": "response"} -->
```http
HTTP/1.1 200 OK
A: b


```

```log
off=0 message begin
off=17 len=1 span[header_field]="A"
off=20 len=1 span[header_value]="b"
off=23 header_value complete
off=25 headers complete status=200 v=1/1 flags=0 content_length=0
```
"#;

    #[test]
    fn cases_are_read_from_markdown() {
        let cases = of_file("f", FILE).expect("cases");
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(
            names,
            ["f: A length that is none", "f: A length that is none (2)"]
        );
        assert_eq!(cases[0].expected.refused.as_deref(), Some("Missing LF"));
        assert_eq!(
            cases[0].pieces[0].1,
            b"PUT /a HTTP/1.1\r\nContent-Length: 1\rx"
        );
        let outcome = read(cases[1].pieces.clone(), Mode::Strict);
        assert_eq!(cases[1].expected.messages.differ(&outcome), None);
        assert_eq!(outcome.of(Direction::ToClient).count(), 1);
    }

    #[test]
    fn a_log_of_other_bytes_is_no_log() {
        let file = FILE.replace("off=4 len=2", "off=5 len=2");
        assert!(of_file("f", &file).is_err());
    }
}
