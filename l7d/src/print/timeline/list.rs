//! Connections as a list: a line each, what failed first.

use std::io::{self, Write};

use anstyle::AnsiColor;

use super::super::style::{Safe, Style};
use super::{Width, color_of};
use crate::clock::Timestamp;
use crate::story::{Exchanges, Lapse, Story};

/// What a list is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// Connections that failed, of which the latest are in the list.
    pub failed: u64,
    /// The others.
    pub well: u64,
    /// Look-ups that were answered, which are not in the list.
    pub lookups: u64,
}

/// Writes those that failed, then the others, oldest first.
pub fn list(
    out: &mut impl Write,
    style: Style,
    width: Width,
    (failed, well): (&[Story], &[Story]),
    listed: &Listed,
    now: Timestamp,
) -> io::Result<()> {
    title(out, listed.failed, failed.len(), " failed")?;
    for story in failed {
        line(out, style, width, story, now)?;
    }
    if !failed.is_empty() && !well.is_empty() {
        writeln!(out)?;
    }
    let what = if failed.is_empty() {
        ""
    } else {
        " did not fail"
    };
    title(out, listed.well, well.len(), what)?;
    for story in well {
        line(out, style, width, story, now)?;
    }
    if listed.lookups > 0 {
        let lookups = if listed.lookups == 1 {
            "look-up of DNS was"
        } else {
            "look-ups of DNS were"
        };
        let count = listed.lookups;
        writeln!(out, "\n{count} {lookups} answered (--port 53 lists them)")?;
    }
    Ok(())
}

fn title(out: &mut impl Write, count: u64, shown: usize, what: &str) -> io::Result<()> {
    if shown == 0 {
        return Ok(());
    }
    let connections = if count == 1 {
        "connection"
    } else {
        "connections"
    };
    let latest = if count > shown as u64 {
        format!(", the latest {shown}")
    } else {
        String::new()
    };
    writeln!(out, "{count} {connections}{what}{latest}:")
}

/// Writes one of them: when, between whom, what became of it, and its number.
pub fn line(
    out: &mut impl Write,
    style: Style,
    width: Width,
    story: &Story,
    now: Timestamp,
) -> io::Result<()> {
    let began = crate::flow::view::timestamp(story.first);
    let time = style.timestamp(Some(&began));
    let (client, server) = (story.client.shown(), story.server.shown());
    let number = story.numbers.values().next();
    let number = number.map_or_else(String::new, |number| format!(" [{number:x}]"));
    let ending = story.ending(now);
    let exchanges = story.timing().exchanges;
    let text = if ending.how.is_failed() {
        ending.text
    } else {
        format!("{}{}", ending.text, answered(&exchanges))
    };
    let used = [&time, &client, &server, &number].map(|part| part.chars().count());
    let used = used.iter().sum::<usize>() + 10;
    let color = color_of(ending.how.is_failed());
    writeln!(
        out,
        "  {time}  {} -> {}  {}{}",
        style.paint(AnsiColor::Cyan, Safe(&client)),
        style.paint(AnsiColor::Cyan, Safe(&server)),
        style.paint(color, width.cut(used, &text)),
        style.paint(AnsiColor::BrightBlack, number),
    )
}

fn answered(exchanges: &Exchanges) -> String {
    match (&exchanges.slowest, exchanges.answers) {
        (Some((text, slowest, _)), 1) => format!("; {text} in {}", Lapse(*slowest)),
        (Some((_, slowest, _)), count) => {
            format!("; {count} answers, the slowest in {}", Lapse(*slowest))
        }
        (None, _) => String::new(),
    }
}
