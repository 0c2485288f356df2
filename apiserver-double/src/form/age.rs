//! How long ago, as `kubectl` writes it.

/// Seconds in at most two units.
pub(super) fn shown(seconds: i64) -> String {
    let units = [
        (365 * 86400, "y"),
        (86400, "d"),
        (3600, "h"),
        (60, "m"),
        (1, "s"),
    ];
    let seconds = seconds.max(0);
    // Small numbers of a unit are told more precisely.
    let (index, (size, unit)) = units
        .iter()
        .enumerate()
        .find(|(_, (size, _))| seconds >= *size)
        .unwrap_or((4, &(1, "s")));
    let rest = seconds % size;
    match units.get(index + 1) {
        Some((smaller, name)) if seconds / size < 10 && rest >= *smaller => {
            format!("{}{unit}{}{name}", seconds / size, rest / smaller)
        }
        _ => format!("{}{unit}", seconds / size),
    }
}

/// Since a moment.
pub(super) fn since(moment: &str) -> String {
    match moment.parse::<jiff::Timestamp>() {
        Ok(then) => shown(jiff::Timestamp::now().as_second() - then.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_at_most_two_units() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (90, "1m30s"),
            (660, "11m"),
            (3600, "1h"),
            (86_400 * 2 + 3600, "2d1h"),
            (86_400 * 40, "40d"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(shown(seconds), expected);
        }
    }
}
