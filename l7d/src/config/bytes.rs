//! Amounts of memory as people write them.

use std::str::FromStr;

/// Bytes, written as a number with or without a unit of 1024 (`512MiB`, `2Gi`, `1000000`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// What is no amount of memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no amount of memory: a number of bytes, or one with KiB, MiB or GiB")]
pub struct BytesError(String);

impl FromStr for Bytes {
    type Err = BytesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || BytesError(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
        let shift = match unit.trim_start() {
            "" | "B" => 0,
            "Ki" | "KiB" => 10,
            "Mi" | "MiB" => 20,
            "Gi" | "GiB" => 30,
            _ => return Err(fault()),
        };
        let number: u64 = number.parse().ok().ok_or_else(fault)?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units_or_none() {
        let read = |text: &str| text.parse::<Bytes>().map(|bytes| bytes.0).ok();
        assert_eq!(read("4096"), Some(4096));
        assert_eq!(read("64KiB"), Some(65_536));
        assert_eq!(read("512 MiB"), Some(512 << 20));
        assert_eq!(read("2Gi"), Some(2 << 30));
        for bad in [
            "",
            "MiB",
            "1.5GiB",
            "-1",
            "5MB",
            "99999999999999999999",
            "18446744073709551615GiB",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
