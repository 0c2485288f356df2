//! What policies make of a connection or request.

use std::io::{self, Write};

use super::style::Safe;
use super::table::Table;

/// Writes who was asked, what they said, by which policy and why, and the verdict of all.
pub fn explanation(
    out: &mut impl Write,
    rows: impl Iterator<Item = [String; 4]>,
    verdict: &str,
) -> io::Result<()> {
    let header = ["ASKED", "VERDICT", "BY", "WHY"];
    let mut table = Table::new();
    for row in rows {
        table.row(&header, &row.map(|cell| Safe(&cell).to_string()));
    }
    table.write(out)?;
    let hint = if verdict == "JUDGED" {
        ": it depends on the request; name it by --method and --path, or by --dns"
    } else {
        ""
    };
    writeln!(out, "\n{verdict}{hint}")
}
