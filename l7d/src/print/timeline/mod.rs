//! Stories of connections: as a timeline, as a line of a list, as JSON.
//!
//! ```text
//!   CLIENT -> SERVER  TCP, through the proxy  [connection 6b3f2a1c00, seen on node-1]
//!   what its client had asked DNS for
//!
//!   since the start   since the line above   who   what happened   where
//!
//!   what became of it
//!   where the time went
//! ```

pub mod json;
mod list;

use std::fmt::Write as _;
use std::io::{self, Write};

use anstyle::AnsiColor;

pub use list::{Listed, line as listed_line, list};

use super::style::{Safe, Style};
use crate::clock::Timestamp;
use crate::story::{Event, Lapse, Place, Sight, Story, Timing, Tone, Way};

/// How wide the line is that a text has to fit in; `None` where nothing is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Width(pub Option<usize>);

impl Width {
    /// The beginning of a text that fits behind `used` columns.
    fn cut(self, used: usize, text: &str) -> String {
        let safe = Safe(text).to_string();
        let Some(room) = self.0.map(|width| width.saturating_sub(used).max(16)) else {
            return safe;
        };
        if safe.chars().count() <= room {
            return safe;
        }
        let mut short: String = safe.chars().take(room.saturating_sub(1)).collect();
        short.push('…');
        short
    }
}

/// The columns in front of what happened.
const BEFORE_TEXT: usize = 28;

/// Writes the timeline of a connection.
pub fn story(
    out: &mut impl Write,
    style: Style,
    width: Width,
    story: &Story,
    now: Timestamp,
) -> io::Result<()> {
    head(out, style, story)?;
    let events = story.events();
    let mut before = story.first;
    for event in &events {
        line(out, style, width, story.first, before, event)?;
        before = event.time;
    }
    if story.left_out > 0 {
        writeln!(
            out,
            "  ({} events between them are not kept)",
            story.left_out
        )?;
    }
    let ending = story.ending(now);
    let color = color_of(ending.how.is_failed());
    writeln!(out, "\n{}", style.paint(color, Safe(&ending.text)))?;
    let timing = times(&story.timing());
    if !timing.is_empty() {
        writeln!(out, "{}", Safe(&timing))?;
    }
    Ok(())
}

fn color_of(is_failed: bool) -> AnsiColor {
    if is_failed {
        AnsiColor::Red
    } else {
        AnsiColor::Green
    }
}

/// Who and what.
fn head(out: &mut impl Write, style: Style, story: &Story) -> io::Result<()> {
    let (client, server) = (story.client.shown(), story.server.shown());
    let client = style.paint(AnsiColor::Cyan, Safe(&client));
    let server = style.paint(AnsiColor::Cyan, Safe(&server));
    let protocol = protocol(story.protocol);
    let proxy = if story.is_proxied() {
        ", through the proxy"
    } else {
        ""
    };
    writeln!(
        out,
        "{client} -> {server}  {protocol}{proxy}{}",
        Safe(&whence(story))
    )?;
    let began = crate::flow::view::timestamp(story.first);
    let mut through = String::new();
    if let Some(service) = story.service {
        let _infallible = write!(through, ", asked at {service}");
    }
    if let Some(client) = story.client_xlated {
        let _infallible = write!(through, ", seen by its server as {client}");
    }
    let addresses = match (story.client.name.is_empty(), story.server.name.is_empty()) {
        (true, true) => String::new(),
        _ => format!(", {} -> {}", story.client.addr, story.server.addr),
    };
    writeln!(
        out,
        "{} UTC{addresses}{through}",
        style.timestamp(Some(&began))
    )?;
    if let Some(lookup) = &story.lookup {
        let took = match lookup.latency_ns {
            0 => String::new(),
            ns => format!(", which took {}", Lapse(ns)),
        };
        writeln!(
            out,
            "{} before: {}{took}",
            Lapse(lookup.before_ns),
            Safe(&lookup.text)
        )?;
    }
    writeln!(out)
}

/// Numbers and nodes.
fn whence(story: &Story) -> String {
    let mut text = String::new();
    for (Place { node, .. }, number) in &story.numbers {
        let of = if node.is_empty() || story.numbers.len() == 1 {
            String::new()
        } else {
            format!(" on {node}")
        };
        let between = if text.is_empty() {
            "  [connection "
        } else {
            ", "
        };
        let _infallible = write!(text, "{between}{number:x}{of}");
    }
    let nodes = story.nodes();
    let between = if text.is_empty() { "  [" } else { ", " };
    if !nodes.is_empty() {
        let _infallible = write!(text, "{between}seen on {}", nodes.join(", "));
    }
    if !text.is_empty() {
        text.push(']');
    }
    text
}

fn line(
    out: &mut impl Write,
    style: Style,
    width: Width,
    start: Timestamp,
    before: Timestamp,
    event: &Event,
) -> io::Result<()> {
    let since = |earlier: Timestamp| Lapse(event.time.0.saturating_sub(earlier.0)).to_string();
    let arrow = match event.way {
        Some(Way::ToServer) => "->",
        Some(Way::ToClient) => "<-",
        None => "  ",
    };
    let mut text = event.text.clone();
    if event.latency_ns > 0 {
        let _infallible = write!(text, ", after {}", Lapse(event.latency_ns));
    }
    let color = match event.tone {
        Tone::Good => Some(AnsiColor::Green),
        Tone::Plain => None,
        Tone::Odd => Some(AnsiColor::Yellow),
        Tone::Bad => Some(AnsiColor::Red),
    };
    let (at, delta) = (since(start), since(before));
    write!(out, "{at:>11} {:>11}  {arrow} ", format!("+{delta}"))?;
    let seen = seen(event);
    let room = if seen.is_empty() {
        BEFORE_TEXT
    } else {
        BEFORE_TEXT + seen.chars().count() + 2
    };
    let text = width.cut(room, &text);
    match color {
        Some(color) => write!(out, "{}", style.paint(color, text))?,
        None => write!(out, "{text}")?,
    }
    if !seen.is_empty() {
        write!(out, "  {}", style.paint(AnsiColor::BrightBlack, seen))?;
    }
    writeln!(out)
}

/// Where it was seen, and how much later at the others.
fn seen(event: &Event) -> String {
    let several = event.seen.iter().any(|sight| {
        let first = event.seen.first();
        first.is_some_and(|first| first.node != sight.node)
    });
    let place = |sight: &Sight| match (several, sight.point) {
        (false, point) => point.to_owned(),
        (true, "") => sight.node.to_string(),
        (true, point) => format!("{} {point}", sight.node),
    };
    let mut text = String::new();
    for (index, sight) in event.seen.iter().enumerate() {
        let place = place(sight);
        if place.is_empty() {
            continue;
        }
        if index == 0 || text.is_empty() {
            text.push_str(&place);
        } else {
            let later = Lapse(sight.time.0.saturating_sub(event.time.0));
            let _infallible = write!(text, ", {place} +{later}");
        }
    }
    if text.is_empty() {
        text
    } else {
        format!("({text})")
    }
}

/// Where the time went, in a line.
fn times(timing: &Timing) -> String {
    let mut parts = Vec::new();
    if let Some(connect) = timing.connect_ns {
        parts.push(format!("connect {}", Lapse(connect)));
    }
    let trips = [
        (timing.server_rtt_ns, "server"),
        (timing.client_rtt_ns, "client"),
    ];
    let trips = trips
        .iter()
        .filter_map(|(ns, who)| Some((Lapse((*ns)?), who)));
    let trips: Vec<String> = trips
        .map(|(trip, who)| format!("{trip} to the {who}"))
        .collect();
    if !trips.is_empty() {
        parts.push(format!("network round trip {}", trips.join(", ")));
    }
    parts.extend(answers(timing));
    for (count, what) in [
        (timing.retransmits, "segments sent again"),
        (timing.zero_windows, "closed windows"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    parts.join("; ")
}

/// How long answers took, and whose time that was.
fn answers(timing: &Timing) -> Option<String> {
    let exchanges = &timing.exchanges;
    let (text, slowest, network) = exchanges.slowest.as_ref()?;
    let share = network.map_or_else(String::new, |network| {
        let server = slowest.saturating_sub(network);
        format!(
            ": network at most {}, server {}",
            Lapse(network),
            Lapse(server)
        )
    });
    Some(match (exchanges.answers, exchanges.mean_ns) {
        (2.., Some(mean)) => format!(
            "{} answers in {} each, the slowest in {} ({text}){share}",
            exchanges.answers,
            Lapse(mean),
            Lapse(*slowest)
        ),
        _ => format!("request to answer {}{share}", Lapse(*slowest)),
    })
}

/// A protocol by its number.
pub(super) fn protocol(number: u8) -> String {
    match number {
        1 => "ICMP".to_owned(),
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        58 => "ICMPv6".to_owned(),
        132 => "SCTP".to_owned(),
        0 => "IP".to_owned(),
        other => format!("protocol {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_where_the_terminal_ends() {
        let width = Width(Some(40));
        assert_eq!(width.cut(20, "short"), "short");
        assert_eq!(
            width.cut(20, "abcdefghijklmnopqrstuvwxyz"),
            "abcdefghijklmnopqrs…"
        );
        assert_eq!(Width(None).cut(20, "a\u{1b}[31m"), "a^[[31m");
    }
}
