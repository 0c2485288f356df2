//! Points in time as people write them: `90s`, `1h30m`, `5m ago`, `yesterday`, dates of several
//! layouts.

use std::time::Duration;

use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

/// A text that is no point in time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "failed to convert {0} to time (use a duration like 90s, 1h30m or \"5m ago\", or a date like \
     2006-01-02, 2006-01-02T15:04Z or 2006-01-02T15:04:05Z)"
)]
pub struct NotATime(pub String);

/// Reads a point in time. Durations count back from `now`; dates without a zone are in UTC.
pub fn parse(text: &str, now: Timestamp) -> Result<Timestamp, NotATime> {
    let trimmed = text.trim();
    in_words(trimmed, now)
        .or_else(|| duration(trimmed).and_then(|ago| shift(now, ago)))
        .or_else(|| date(trimmed))
        .ok_or_else(|| NotATime(text.to_owned()))
}

/// Reads a length of time: `5s`, `1m30s`.
///
/// # Errors
/// What else it should be.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    match duration(text.trim()) {
        Some(Signed {
            negative: false,
            length,
        }) => Ok(length),
        Some(_) => Err("expected a duration of at least 0s".to_owned()),
        None => Err("expected a duration like 5s or 1m30s".to_owned()),
    }
}

fn shift(now: Timestamp, ago: Signed) -> Option<Timestamp> {
    let span = jiff::SignedDuration::try_from(ago.length).ok()?;
    if ago.negative {
        now.checked_add(span)
    } else {
        now.checked_sub(span)
    }
    .ok()
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Signed {
    negative: bool,
    length: Duration,
}

/// `1h30m`, `1.5h`, `-5m`: numbers with units, without blanks. Days and weeks are ours.
fn duration(text: &str) -> Option<Signed> {
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut length = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, next) = tail.split_at_checked(letters)?;
        let seconds = number.parse::<f64>().ok()? * unit_seconds(unit)?;
        length = length.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = next;
    }
    Some(Signed { negative, length })
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return None,
    })
}

/// `now`, `today`, `yesterday`, `5m ago`, `2 hours 10 minutes ago`, `an hour ago`.
fn in_words(text: &str, now: Timestamp) -> Option<Timestamp> {
    let lower = text.to_ascii_lowercase();
    let midnight = || now.to_zoned(TimeZone::UTC).start_of_day().ok();
    match lower.as_str() {
        "now" => return Some(now),
        "today" => return Some(midnight()?.timestamp()),
        "yesterday" => {
            let day: Span = 1.day();
            return Some(midnight()?.checked_sub(day).ok()?.timestamp());
        }
        _ => {}
    }
    let ago = lower.strip_suffix("ago")?.trim_end();
    if let Some(length) = duration(ago) {
        return shift(now, length);
    }
    let mut words = ago
        .split_whitespace()
        .filter(|word| *word != "and")
        .peekable();
    let mut length = Duration::ZERO;
    words.peek()?;
    while let Some(word) = words.next() {
        if let Some(part) = duration(word) {
            length = length.checked_add(part.length)?;
            continue;
        }
        let number = match word {
            "a" | "an" | "one" => 1.0,
            number => number.parse::<f64>().ok()?,
        };
        let seconds = number * word_seconds(words.next()?)?;
        length = length.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
    }
    shift(
        now,
        Signed {
            negative: false,
            length,
        },
    )
}

fn word_seconds(word: &str) -> Option<f64> {
    let singular = word.strip_suffix('s').unwrap_or(word);
    let unit = match singular {
        "second" | "sec" => "s",
        "minute" | "min" => "m",
        "hour" | "hr" => "h",
        "day" => "d",
        "week" => "w",
        _ => word,
    };
    unit_seconds(unit)
}

fn date(text: &str) -> Option<Timestamp> {
    if let Ok(time) = rfc2822::parse(text) {
        return Some(time.timestamp());
    }
    let (day, clock) = match text.split_once('T') {
        Some((day, clock)) => (day, clock),
        None => (text, "00Z"),
    };
    let zone = clock.find(['Z', '+', '-'])?;
    let (hours, zone) = clock.split_at_checked(zone)?;
    // Whatever the layout leaves out is nought.
    let rest = match hours.len() {
        2 => ":00:00",
        5 => ":00",
        _ => "",
    };
    format!("{day}T{hours}{rest}{zone}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        let now = "2026-03-04T09:15:30.5Z".parse().unwrap();
        parse(text, now).map_or_else(|error| error.to_string(), |time| time.to_string())
    }

    #[test]
    fn reads_durations_as_that_long_ago() {
        assert_eq!(at("90s"), "2026-03-04T09:14:00.5Z");
        assert_eq!(at("1h30m"), "2026-03-04T07:45:30.5Z");
        assert_eq!(at("1.5h"), "2026-03-04T07:45:30.5Z");
        assert_eq!(at("-5m"), "2026-03-04T09:20:30.5Z");
        assert_eq!(at("2d"), "2026-03-02T09:15:30.5Z");
        assert_eq!(at("500ms"), "2026-03-04T09:15:30Z");
    }

    #[test]
    fn reads_words() {
        assert_eq!(at("now"), "2026-03-04T09:15:30.5Z");
        assert_eq!(at("today"), "2026-03-04T00:00:00Z");
        assert_eq!(at("yesterday"), "2026-03-03T00:00:00Z");
        assert_eq!(at("5m ago"), "2026-03-04T09:10:30.5Z");
        assert_eq!(at("an hour ago"), "2026-03-04T08:15:30.5Z");
        assert_eq!(at("2 hours and 10 minutes ago"), "2026-03-04T07:05:30.5Z");
        assert_eq!(at("1h 30m ago"), "2026-03-04T07:45:30.5Z");
    }

    #[test]
    fn reads_dates_of_every_layout() {
        assert_eq!(at("2026-01-02"), "2026-01-02T00:00:00Z");
        assert_eq!(at("2026-01-02T15Z"), "2026-01-02T15:00:00Z");
        assert_eq!(at("2026-01-02T15+01:00"), "2026-01-02T14:00:00Z");
        assert_eq!(at("2026-01-02T15:04Z"), "2026-01-02T15:04:00Z");
        assert_eq!(at("2026-01-02T15:04-07:00"), "2026-01-02T22:04:00Z");
        assert_eq!(
            at("2026-01-02T15:04:05.123456789Z"),
            "2026-01-02T15:04:05.123456789Z"
        );
        assert_eq!(
            at("Mon, 02 Jan 2006 15:04:05 -0700"),
            "2006-01-02T22:04:05Z"
        );
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "xx",
            "1",
            "5 minutes",
            "ago",
            "m ago",
            "2026-13-01",
            "1x",
            ".",
        ] {
            assert!(
                at(text).starts_with(&format!("failed to convert {text} to time")),
                "{text}"
            );
        }
    }
}
