//! Figures for people: as many digits as matter.

use crate::map::Fault;
use crate::map::overview::{EdgeFigures, Load, Unit, float};

/// `12/s`, `3.4/min`, or how many where they are few.
pub fn pace(load: &Load, seconds: f64) -> String {
    let per_second = float(load.count) / seconds.max(1.0);
    match per_second {
        _ if load.count < 2 || seconds < 2.0 => counted(load.count, load.unit),
        rate if rate >= 0.95 => format!("{}/s", number(rate)),
        rate if rate * 60.0 >= 0.95 => format!("{}/min", number(rate * 60.0)),
        _ => counted(load.count, load.unit),
    }
}

/// `1 request`, `12 connections`.
pub fn counted(count: u64, unit: Unit) -> String {
    let name = match unit {
        Unit::Requests => "request",
        Unit::Connections => "connection",
        Unit::Flows => "flow",
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {name}{plural}", whole(count))
}

/// `0.42`, `4.2`, `42`, `4.2k`, `42M`.
pub fn number(value: f64) -> String {
    let (value, suffix) = match value {
        value if value >= 999.5e6 => (value / 1e9, "G"),
        value if value >= 999.5e3 => (value / 1e6, "M"),
        value if value >= 999.5 => (value / 1e3, "k"),
        value => (value, ""),
    };
    let shown = match value {
        value if value >= 9.95 || value == 0.0 => format!("{value:.0}"),
        value if value >= 0.995 => trimmed(&format!("{value:.1}")),
        value => trimmed(&format!("{value:.2}")),
    };
    format!("{shown}{suffix}")
}

/// The same of a whole number.
pub fn whole(value: u64) -> String {
    number(float(value))
}

fn trimmed(text: &str) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `2.1 %`; what is there at all is never 0.
pub fn percent(value: f64) -> String {
    match value {
        value if value > 0.0 && value < 0.1 => "<0.1 %".to_owned(),
        value if value > 99.9 && value < 100.0 => "99.9 %".to_owned(),
        value if value >= 9.95 || value == 0.0 => format!("{value:.0} %"),
        value => format!("{value:.1} %"),
    }
}

/// `40 µs`, `3.1 ms`, `1.2 s`.
pub fn lapse(micros: u64) -> String {
    match micros {
        0..=999 => format!("{micros} µs"),
        1000..=999_999 => format!("{} ms", number(float(micros) / 1e3)),
        1_000_000..=119_999_999 => format!("{} s", number(float(micros) / 1e6)),
        _ => format!("{} min", number(float(micros) / 6e7)),
    }
}

/// `512 B`, `4.2 kB`.
pub fn bytes(count: u64) -> String {
    match number(float(count)) {
        text if text.ends_with(|c: char| c.is_ascii_digit()) => format!("{text} B"),
        text => {
            let (digits, suffix) = text.split_at(text.len().saturating_sub(1));
            format!("{digits} {suffix}B")
        }
    }
}

/// `30 s`, `15 min`, `3 h`.
pub fn span(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 90.0 => format!("{} s", number(seconds)),
        seconds if seconds < 5400.0 => format!("{} min", number(seconds / 60.0)),
        seconds if seconds < 172_800.0 => format!("{} h", number(seconds / 3600.0)),
        seconds => format!("{} days", number(seconds / 86_400.0)),
    }
}

/// What is wrong with it, in a few words; empty where nothing is.
pub fn trouble(edge: &EdgeFigures) -> String {
    let first = edge.reasons.first();
    let why = first
        .map(|reason| format!(": {}", reason.text))
        .unwrap_or_default();
    let is_denied = first.is_some_and(|reason| reason.fault == Fault::Denied);
    let gone = if is_denied { "denied" } else { "dropped" };
    if edge.is_cut && edge.drops > 0 {
        return format!("all {gone}{why}");
    }
    if edge.is_cut {
        return format!("all fail{why}");
    }
    if edge.load.failed > 0 {
        return format!("{} fail{why}", percent(edge.failed_percent));
    }
    if edge.failed_connections > 0 {
        let count = counted(edge.failed_connections, Unit::Connections);
        return format!("{count} failed{why}");
    }
    if edge.audited > 0 {
        return format!("{} would be denied", whole(edge.audited));
    }
    if edge.rejected > 0 && edge.state != crate::map::overview::State::Good {
        let share = 100.0 * float(edge.rejected) / float(edge.load.count.max(1));
        return format!("{} rejected{why}", percent(share));
    }
    String::new()
}

/// The most important of it: `HTTP :8080 · 12/s · p99 40 ms`.
pub fn headline(edge: &EdgeFigures, seconds: f64) -> String {
    let mut parts = vec![edge.protocol(), pace(&edge.load, seconds)];
    parts.extend(edge.p99_us.map(|p99| format!("p99 {}", lapse(p99))));
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

/// The same in fewer words: ports are told of what nobody reads alone.
pub fn caption(edge: &EdgeFigures, seconds: f64) -> String {
    let pace = pace(&edge.load, seconds);
    let protocol = match edge.ports.first() {
        Some(port) if port.protocol.has_requests() => port.protocol.name().to_owned(),
        _ => edge.protocol(),
    };
    match edge.p99_us {
        Some(p99) => format!("{protocol} {pace} · p99 {}", lapse(p99)),
        None => format!("{protocol} · {pace}"),
    }
}

/// Cuts in the middle: both ends of a name tell more than its middle.
pub fn cut(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let front = most.saturating_sub(1).div_ceil(2);
    let back = most.saturating_sub(1) - front;
    let head: String = text.chars().take(front).collect();
    let tail: String = text.chars().skip(count - back).collect();
    format!("{head}…{tail}")
}

/// Cuts at the end: of a sentence its beginning tells more.
pub fn cut_end(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let head: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", head.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_as_many_digits_as_matter() {
        let shown = [
            0.0, 0.042, 0.42, 1.0, 4.2, 42.4, 999.4, 999.9, 4200.0, 4.2e6, 4.2e9,
        ]
        .map(number);
        assert_eq!(
            shown,
            [
                "0", "0.04", "0.42", "1", "4.2", "42", "999", "1k", "4.2k", "4.2M", "4.2G"
            ]
        );
        assert_eq!(
            [40, 3100, 41_000, 1_200_000].map(lapse),
            ["40 µs", "3.1 ms", "41 ms", "1.2 s"]
        );
        assert_eq!(
            [0.0, 0.01, 2.14, 42.0, 99.99, 100.0].map(percent),
            ["0 %", "<0.1 %", "2.1 %", "42 %", "99.9 %", "100 %"]
        );
        assert_eq!(
            [512, 4200, 4_200_000].map(bytes),
            ["512 B", "4.2 kB", "4.2 MB"]
        );
        assert_eq!([30.0, 300.0, 7200.0].map(span), ["30 s", "5 min", "2 h"]);
    }

    #[test]
    fn a_pace_is_told_by_the_second_the_minute_or_not_at_all() {
        let load = |count| Load {
            unit: Unit::Requests,
            count,
            ..Load::default()
        };
        assert_eq!(pace(&load(1200), 60.0), "20/s");
        assert_eq!(pace(&load(12), 60.0), "12/min");
        assert_eq!(pace(&load(1), 60.0), "1 request");
        assert_eq!(pace(&load(3), 3600.0), "3 requests");
    }

    #[test]
    fn long_names_are_cut_in_the_middle() {
        assert_eq!(cut("checkout", 8), "checkout");
        assert_eq!(cut("checkout-service", 9), "chec…vice");
    }
}
