//! The ledger as a table: what was seen at each place, and what became of it.

use std::io::{self, Write};

use anstyle::AnsiColor;

use super::status::grouped;
use super::style::{Safe, Style};
use crate::server::{AgentStatus, ClientRow, ExportRow, LedgerRow};

/// Writes the ledger, what to do about losses, and who reads flows now.
pub(super) fn write(out: &mut impl Write, style: Style, status: &AgentStatus) -> io::Result<()> {
    if !status.ledger.is_empty() {
        writeln!(
            out,
            "Ledger (seen = delivered + filtered + lost + waiting):"
        )?;
        places(out, style, &status.ledger)?;
    }
    if !status.clients.is_empty() {
        writeln!(out, "Clients:")?;
        clients(out, style, &status.clients)?;
    }
    if !status.exports.is_empty() {
        writeln!(out, "Exports:")?;
        exports(out, style, &status.exports)?;
    }
    Ok(())
}

fn places(out: &mut impl Write, style: Style, rows: &[LedgerRow]) -> io::Result<()> {
    let titles = [
        "PLACE",
        "UNIT",
        "SEEN",
        "DELIVERED",
        "FILTERED",
        "LOST",
        "WAITING",
    ];
    let lines: Vec<Line<7>> = rows
        .iter()
        .map(|row| Line {
            cells: [
                Safe(&row.place).to_string(),
                Safe(&row.unit).to_string(),
                grouped(row.seen),
                grouped(row.delivered),
                grouped(row.filtered),
                grouped(row.lost),
                grouped(row.waiting),
            ],
            is_lossy: row.lost > 0,
        })
        .collect();
    table(out, style, titles.map(str::to_owned), &lines, 2)?;
    for row in rows.iter().filter(|row| row.lost > 0) {
        let place = style.paint(AnsiColor::Red, Safe(&row.place).to_string());
        writeln!(out, "  Lost at {place}: {}", Safe(&row.advice))?;
    }
    Ok(())
}

fn clients(out: &mut impl Write, style: Style, rows: &[ClientRow]) -> io::Result<()> {
    let titles = ["CLIENT", "FOLLOWS", "SEEN", "DELIVERED", "FILTERED", "LOST"];
    let lines: Vec<Line<6>> = rows
        .iter()
        .map(|row| Line {
            cells: [
                Safe(&row.peer).to_string(),
                if row.following { "yes" } else { "no" }.to_owned(),
                grouped(row.seen),
                grouped(row.delivered),
                grouped(row.filtered),
                grouped(row.lost),
            ],
            is_lossy: row.lost > 0,
        })
        .collect();
    table(out, style, titles.map(str::to_owned), &lines, 2)
}

fn exports(out: &mut impl Write, style: Style, rows: &[ExportRow]) -> io::Result<()> {
    let titles = [
        "EXPORT",
        "TO",
        "SEEN",
        "DELIVERED",
        "FILTERED",
        "LOST",
        "BYTES",
    ];
    let lines: Vec<Line<7>> = rows
        .iter()
        .map(|row| Line {
            cells: [
                Safe(&row.name).to_string(),
                Safe(&row.target).to_string(),
                grouped(row.seen),
                grouped(row.delivered),
                grouped(row.filtered),
                grouped(row.lost),
                grouped(row.bytes),
            ],
            is_lossy: row.lost > 0 || !row.trouble.is_empty(),
        })
        .collect();
    table(out, style, titles.map(str::to_owned), &lines, 2)?;
    for row in rows {
        let name = Safe(&row.name).to_string();
        if !row.trouble.is_empty() {
            let name = style.paint(AnsiColor::Red, name);
            writeln!(out, "  {name}: {}", Safe(&row.trouble))?;
        } else if !row.active {
            writeln!(out, "  {name} has ended")?;
        }
    }
    Ok(())
}

struct Line<const N: usize> {
    cells: [String; N],
    is_lossy: bool,
}

/// Aligned columns, the first `texts` to the left and numbers to the right; what has lost is red.
fn table<const N: usize>(
    out: &mut impl Write,
    style: Style,
    titles: [String; N],
    lines: &[Line<N>],
    texts: usize,
) -> io::Result<()> {
    let titles = Line {
        cells: titles,
        is_lossy: false,
    };
    let all = || std::iter::once(&titles).chain(lines);
    let mut widths = [0; N];
    for line in all() {
        for (width, cell) in widths.iter_mut().zip(&line.cells) {
            *width = cell.chars().count().max(*width);
        }
    }
    for line in all() {
        let cells = line.cells.iter().zip(widths).enumerate();
        let cells = cells.map(|(at, (cell, width))| {
            if at < texts {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        let text = cells.collect::<Vec<_>>().join("  ");
        if line.is_lossy {
            writeln!(out, "  {}", style.paint(AnsiColor::Red, text.trim_end()))?;
        } else {
            writeln!(out, "  {}", text.trim_end())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Place, Tally};

    fn status() -> AgentStatus {
        let seen = |seen, lost| Tally {
            seen,
            delivered: seen - lost,
            lost,
            ..Tally::default()
        };
        AgentStatus {
            ledger: vec![
                LedgerRow::of(Place::KernelRing, seen(1_234_567, 67)),
                LedgerRow::of(Place::FlowRing, seen(1_234_500, 0)),
            ],
            clients: vec![ClientRow {
                peer: "pid 7\u{1b}[31m".to_owned(),
                following: true,
                seen: 10,
                delivered: 6,
                filtered: 3,
                lost: 1,
            }],
            ..AgentStatus::default()
        }
    }

    fn shown(color: bool) -> String {
        let style = Style {
            color,
            ..Style::default()
        };
        let mut out = Vec::new();
        write(&mut out, style, &status()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tells_what_was_lost_where_and_what_to_do() {
        assert_eq!(
            shown(false),
            "\
Ledger (seen = delivered + filtered + lost + waiting):
  PLACE        UNIT          SEEN  DELIVERED  FILTERED  LOST  WAITING
  kernel_ring  records  1,234,567  1,234,500         0    67        0
  flow_ring    records  1,234,500  1,234,500         0     0        0
  Lost at kernel_ring: raise `datapath.ringBytes`, or aggregate more with `flows.aggregation`
Clients:
  CLIENT       FOLLOWS  SEEN  DELIVERED  FILTERED  LOST
  pid 7^[[31m  yes        10          6         3     1
"
        );
    }

    #[test]
    fn what_has_lost_something_is_red() {
        let red = shown(true);
        assert!(red.contains("\u{1b}[31mkernel_ring  records"), "{red}");
        assert!(red.contains("\n  flow_ring"), "{red}");
    }
}
