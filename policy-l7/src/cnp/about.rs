//! What a spec says about itself: labels, a description, and a text for the log.

use crate::labels::Label;
use crate::yaml::{Cursor, Map, Reader};

/// Longest text for the log, in characters, as the schema has it.
const LOG_MAX: usize = 32;

/// What is told with every verdict of a spec.
#[derive(Debug, Default)]
pub(super) struct About {
    pub(super) labels: Vec<String>,
    pub(super) log: Option<String>,
}

pub(super) fn read(reader: &mut Reader, map: &mut Map<'_>) -> About {
    if let Some(at) = map.get("description") {
        reader.text(&at);
    }
    let labels = map.get("labels").map(|at| reader.list(&at));
    let labels = labels.unwrap_or_default();
    let labels = labels.iter().filter_map(|at| label(reader, at));
    let mut labels: Vec<String> = labels.map(|label| label.to_string()).collect();
    labels.sort();
    About {
        labels,
        log: map.get("log").and_then(|at| log(reader, &at)),
    }
}

fn label(reader: &mut Reader, at: &Cursor<'_>) -> Option<Label> {
    let mut map = reader.map(at)?;
    let key = map.need(reader, "key").and_then(|at| reader.text(&at));
    let value = map.get("value").and_then(|at| reader.text(&at));
    let source = map.get("source").and_then(|at| reader.text(&at));
    map.end(reader);
    let source = source.filter(|source| !source.is_empty());
    Some(Label {
        source: source.unwrap_or("unspec").to_owned(),
        key: key?.to_owned(),
        value: value.unwrap_or_default().to_owned(),
    })
}

fn log(reader: &mut Reader, at: &Cursor<'_>) -> Option<String> {
    let mut map = reader.map(at)?;
    let value = map.get("value");
    map.end(reader);
    let at = value?;
    let text = reader.text(&at)?;
    if text.chars().any(char::is_control) || text.chars().count() > LOG_MAX {
        let message = format!("expected at most {LOG_MAX} characters, each of them printable");
        reader.fault(&at, message);
    }
    Some(text.to_owned())
}
