//! The data of records as master files write them.

#![deny(clippy::arithmetic_side_effects)]

use std::fmt::{self, Write};

use super::Field;
use crate::dns::record::Record;
use crate::dns::text;

/// Writes the fields with blanks between them. Nothing is written before all of them are known to be
/// whole: half a record followed by its bytes would be neither.
pub(in crate::dns) fn write(record: &Record<'_>, out: &mut impl Write) -> fmt::Result {
    if record.fields().any(|field| field.is_err()) {
        return write_unknown(out, record.data());
    }
    let mut is_first = true;
    for field in record.fields().flatten() {
        if !is_first && !is_empty(&field) {
            out.write_char(' ')?;
        }
        is_first = false;
        write_field(out, &field)?;
    }
    Ok(())
}

/// Lists may be empty, and leave no blank behind then.
fn is_empty(field: &Field<'_>) -> bool {
    match field {
        Field::Types(types) => types.clone().next().is_none(),
        Field::Params(params) => params.clone().next().is_none(),
        Field::Hex(bytes) | Field::Base64(bytes) => bytes.is_empty(),
        Field::Address(_)
        | Field::Name(_)
        | Field::Number(_)
        | Field::Type(_)
        | Field::Time(_)
        | Field::Text(_)
        | Field::Word(_)
        | Field::Salt(_)
        | Field::Base32(_)
        | Field::Groups { .. }
        | Field::Unknown(_) => false,
    }
}

fn write_field(out: &mut impl Write, field: &Field<'_>) -> fmt::Result {
    match field {
        Field::Address(address) => write!(out, "{address}"),
        Field::Name(name) => write!(out, "{name}"),
        Field::Number(number) => write!(out, "{number}"),
        Field::Type(kind) => write!(out, "{kind}"),
        Field::Time(seconds) => write_time(out, *seconds),
        Field::Text(bytes) => text::write_quoted(out, bytes),
        Field::Word(bytes) => bytes
            .iter()
            .try_for_each(|byte| out.write_char(char::from(*byte))),
        Field::Salt([]) => out.write_char('-'),
        Field::Salt(bytes) | Field::Hex(bytes) => text::write_hex(out, bytes),
        Field::Base64(bytes) => text::write_base64(out, bytes),
        Field::Base32(bytes) => text::write_base32(out, bytes),
        Field::Groups {
            bytes,
            size,
            separator,
        } => write_groups(out, bytes, *size, *separator),
        Field::Types(types) => write_spaced(out, types.clone(), |out, kind| write!(out, "{kind}")),
        Field::Params(params) => write_spaced(out, params.clone(), |out, param| param.write(out)),
        Field::Unknown(bytes) => write_unknown(out, bytes),
    }
}

fn write_spaced<W: Write, T>(
    out: &mut W,
    items: impl Iterator<Item = T>,
    write: impl Fn(&mut W, T) -> fmt::Result,
) -> fmt::Result {
    let mut is_first = true;
    for item in items {
        if !is_first {
            out.write_char(' ')?;
        }
        is_first = false;
        write(out, item)?;
    }
    Ok(())
}

fn write_groups(out: &mut impl Write, bytes: &[u8], size: usize, separator: char) -> fmt::Result {
    let mut is_first = true;
    for group in bytes.chunks(size.max(1)) {
        if !is_first {
            out.write_char(separator)?;
        }
        is_first = false;
        group
            .iter()
            .try_for_each(|byte| write!(out, "{byte:02x}"))?;
    }
    Ok(())
}

/// RFC 3597 §5.
fn write_unknown(out: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    write!(out, "\\# {}", bytes.len())?;
    if bytes.is_empty() {
        return Ok(());
    }
    out.write_char(' ')?;
    text::write_hex(out, bytes)
}

/// `YYYYMMDDHHmmSS` in UTC (RFC 4034 §3.2). The 32 bits last until 2106, then they begin anew.
fn write_time(out: &mut impl Write, seconds: u32) -> fmt::Result {
    const DAY: u32 = 86_400;
    let (year, month, day) = date_of(seconds.div_euclid(DAY));
    let left = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (left / 3600, left / 60 % 60, left % 60);
    write!(
        out,
        "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}"
    )
}

/// Year, month and day of the month of a day since 1970, in the Gregorian calendar.
fn date_of(days: u32) -> (u32, u32, u32) {
    let mut year: u32 = 1970;
    let mut left = days;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if left < length {
            break;
        }
        left = left.saturating_sub(length);
        year = year.saturating_add(1);
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month: u32 = 1;
    for length in lengths {
        if left < length {
            break;
        }
        left = left.saturating_sub(length);
        month = month.saturating_add(1);
    }
    (year, month, left.saturating_add(1))
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}
