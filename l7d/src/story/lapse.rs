//! Spans of time for people.

use std::fmt::{self, Display};

/// A span of time in nanoseconds, shown as closely as matters: `0.041 ms`, `12.3 ms`, `1.20 s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Lapse(pub u64);

impl Lapse {
    /// Of microseconds.
    pub fn of_micros(micros: u64) -> Self {
        Self(micros.saturating_mul(1000))
    }

    /// Whole microseconds.
    pub fn micros(self) -> u64 {
        self.0 / 1000
    }
}

impl Display for Lapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.micros();
        let (millis, seconds) = (micros / 1000, micros / 1_000_000);
        match micros {
            0..=9_999 => write!(f, "{millis}.{:03} ms", micros % 1000),
            10_000..=99_999 => write!(f, "{millis}.{} ms", micros % 1000 / 100),
            100_000..=999_999 => write!(f, "{millis} ms"),
            1_000_000..=9_999_999 => write!(f, "{seconds}.{:02} s", millis % 1000 / 10),
            10_000_000..=599_999_999 => write!(f, "{seconds} s"),
            _ => write!(f, "{} min", seconds / 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_as_much_as_matters() {
        let shown = [
            0,
            41,
            3_101,
            12_345,
            412_999,
            1_204_000,
            75_000_000,
            720_000_000,
        ]
        .map(|micros| Lapse::of_micros(micros).to_string());
        assert_eq!(
            shown,
            [
                "0.000 ms", "0.041 ms", "3.101 ms", "12.3 ms", "412 ms", "1.20 s", "75 s", "12 min"
            ]
        );
    }
}
