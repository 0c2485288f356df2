//! How to print: form, time format, colours; and the escaping of text that others control.

use std::fmt::{self, Display, Write as _};

use anstyle::{AnsiColor, Color};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proto::Timestamp as WireTime;

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// One line per flow.
    #[default]
    Compact,
    /// One block of `KEY: value` lines per flow.
    Dict,
    /// One JSON object per line.
    Json,
    /// Aligned columns, written at the end.
    Table,
}

/// How to print.
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// The form of the output.
    pub form: Form,
    /// How timestamps look.
    pub time: TimeFormat,
    /// Whether escape sequences for colours are written (compact and dict).
    pub color: bool,
    /// Addresses instead of names.
    pub numeric: bool,
    /// Whether the node's name is shown.
    pub node_name: bool,
    /// Whether the names of the deciding policies are shown.
    pub policy_names: bool,
    /// Whether nodes that are merely connected are told of.
    pub connected_nodes: bool,
    /// JSON: the flow alone instead of the response around it.
    pub bare_flows: bool,
}

impl Style {
    /// Colours `text` if colours are on.
    pub(super) fn paint<T: Display>(self, color: AnsiColor, text: T) -> Painted<T> {
        Painted {
            color: self.color.then_some(color),
            text,
        }
    }

    /// A time in this style, in UTC; `N/A` where it is absent or no time at all.
    pub fn timestamp(self, time: Option<&WireTime>) -> String {
        time.and_then(|t| Timestamp::new(t.seconds, t.nanos).ok())
            .map_or_else(|| "N/A".to_owned(), |t| self.time.format(t))
    }
}

/// Text between the sequences that switch a colour on and everything off.
#[derive(Debug)]
pub(super) struct Painted<T> {
    color: Option<AnsiColor>,
    text: T,
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.color {
            None => self.text.fmt(f),
            Some(color) => {
                let style = anstyle::Style::new().fg_color(Some(Color::Ansi(color)));
                write!(f, "{style}{}{style:#}", self.text)
            }
        }
    }
}

/// Layouts of timestamps, by the names their users know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeFormat {
    /// `Mar  4 09:15:27.104`
    #[default]
    StampMilli,
    /// `2026-03-04`
    YearMonthDay,
    /// `2026-03-04T09Z`
    YearMonthDayHour,
    /// `2026-03-04T09:15Z`
    YearMonthDayHourMinute,
    /// `2026-03-04T09:15:27Z`
    Rfc3339,
    /// RFC 3339 with at most 3 digits of the second's fraction.
    Rfc3339Milli,
    /// RFC 3339 with at most 6 digits of the second's fraction.
    Rfc3339Micro,
    /// RFC 3339 with at most 9 digits of the second's fraction.
    Rfc3339Nano,
    /// `Wed, 04 Mar 2026 09:15:27 +0000`
    Rfc1123Z,
}

impl TimeFormat {
    /// Every format with its name, in the order help texts show them.
    pub const ALL: [(&'static str, Self); 9] = [
        ("StampMilli", Self::StampMilli),
        ("YearMonthDay", Self::YearMonthDay),
        ("YearMonthDayHour", Self::YearMonthDayHour),
        ("YearMonthDayHourMinute", Self::YearMonthDayHourMinute),
        ("RFC3339", Self::Rfc3339),
        ("RFC3339Milli", Self::Rfc3339Milli),
        ("RFC3339Micro", Self::Rfc3339Micro),
        ("RFC3339Nano", Self::Rfc3339Nano),
        ("RFC1123Z", Self::Rfc1123Z),
    ];

    /// A time in this format, in UTC.
    pub fn format(self, time: Timestamp) -> String {
        let layout = match self {
            Self::StampMilli => "%b %e %H:%M:%S.%3f",
            Self::YearMonthDay => "%Y-%m-%d",
            Self::YearMonthDayHour => "%Y-%m-%dT%HZ",
            Self::YearMonthDayHourMinute => "%Y-%m-%dT%H:%MZ",
            Self::Rfc3339 => "%Y-%m-%dT%H:%M:%SZ",
            // `%.f` leaves out trailing noughts; coarser formats truncate first.
            Self::Rfc3339Milli | Self::Rfc3339Micro | Self::Rfc3339Nano => "%Y-%m-%dT%H:%M:%S%.fZ",
            Self::Rfc1123Z => "%a, %d %b %Y %H:%M:%S +0000",
        };
        let keep = match self {
            Self::Rfc3339Milli => 1_000_000,
            Self::Rfc3339Micro => 1_000,
            _ => 1,
        };
        let nanos = time.subsec_nanosecond();
        let time = Timestamp::new(time.as_second(), nanos - nanos % keep).unwrap_or(time);
        time.to_zoned(TimeZone::UTC).strftime(layout).to_string()
    }
}

/// Text that came from elsewhere, made harmless for a terminal: ESC is shown as `^[` and a
/// carriage return as `\r`, other control characters in caret notation or as `\x9b`. Line feeds
/// and tabs stay, as in the layouts that are followed here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Safe<'a>(pub(crate) &'a str);

impl Display for Safe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.chars().any(char::is_control) {
            return f.write_str(self.0);
        }
        for c in self.0.chars() {
            match c {
                '\r' => f.write_str("\\r")?,
                '\n' | '\t' => f.write_char(c)?,
                '\u{7f}' => f.write_str("^?")?,
                // Caret notation: the control character of a letter is 64 below it.
                '\0'..='\u{1f}' => {
                    f.write_char('^')?;
                    f.write_char(char::from_u32(u32::from(c) + 64).unwrap_or('?'))?;
                }
                '\u{80}'..='\u{9f}' => write!(f, "\\x{:02x}", u32::from(c))?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_time_in_every_layout() {
        let time: Timestamp = "2026-03-04T09:15:27.104500600Z".parse().unwrap();
        let shown: Vec<String> = TimeFormat::ALL
            .iter()
            .map(|(_, f)| f.format(time))
            .collect();
        assert_eq!(
            shown,
            [
                "Mar  4 09:15:27.104",
                "2026-03-04",
                "2026-03-04T09Z",
                "2026-03-04T09:15Z",
                "2026-03-04T09:15:27Z",
                "2026-03-04T09:15:27.104Z",
                "2026-03-04T09:15:27.1045Z",
                "2026-03-04T09:15:27.1045006Z",
                "Wed, 04 Mar 2026 09:15:27 +0000",
            ]
        );
    }

    #[test]
    fn shows_no_time_as_not_available() {
        let style = Style::default();
        assert_eq!(style.timestamp(None), "N/A");
        let never = WireTime {
            seconds: i64::MAX,
            nanos: 0,
        };
        assert_eq!(style.timestamp(Some(&never)), "N/A");
    }

    #[test]
    fn disarms_terminal_sequences() {
        let hostile = "a\u{1b}[31mb\rc\u{7}d\u{9b}e\nf\tg\u{7f}";
        assert_eq!(Safe(hostile).to_string(), "a^[[31mb\\rc^Gd\\x9be\nf\tg^?");
    }
}
