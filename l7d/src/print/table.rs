//! Aligned columns. A column is as wide as its widest cell plus three blanks; a cell that holds a
//! line feed ends the block of lines that are aligned together, as in the layout followed here.

use std::io::{self, Write};

use proto::flow::{Flow, LostEvent};
use proto::observer::GetFlowsResponse;

use super::style::{Safe, Style};
use super::text;

const MIN_WIDTH: usize = 2;
const PADDING: usize = 3;

/// Rows that wait for the last one, because every row can widen a column.
#[derive(Debug, Default)]
pub struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    /// An empty table: nothing is written for it, not even a header.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a row; the first one is preceded by `header`.
    pub fn row<H: AsRef<str>, C: AsRef<str>>(&mut self, header: &[H], cells: &[C]) {
        if self.lines.is_empty() {
            self.push(header);
        }
        self.push(cells);
    }

    fn push<C: AsRef<str>>(&mut self, cells: &[C]) {
        let joined = cells
            .iter()
            .map(AsRef::as_ref)
            .collect::<Vec<_>>()
            .join("\t");
        for line in joined.split('\n') {
            self.lines
                .push(line.split('\t').map(str::to_owned).collect());
        }
    }

    /// Adds a flow.
    pub(super) fn flow(&mut self, style: Style, flow: &Flow) {
        // Escape sequences would count as width.
        let style = Style {
            color: false,
            ..style
        };
        let (source, destination) = text::hosts(style, flow);
        let mut cells = vec![style.timestamp(flow.time.as_ref())];
        if style.node_name {
            cells.push(Safe(&flow.node_name).to_string());
        }
        cells.extend([
            source.to_string(),
            destination.to_string(),
            text::flow_type(flow),
            text::verdict(style, flow),
            text::summary(style, flow),
        ]);
        self.row(&header(style), &cells);
    }

    /// Adds a number of lost events.
    pub(super) fn lost(&mut self, style: Style, response: &GetFlowsResponse, lost: &LostEvent) {
        let mut cells = vec![style.timestamp(response.time.as_ref())];
        if style.node_name {
            cells.push(Safe(&response.node_name).to_string());
        }
        cells.extend([
            text::lost_source(lost),
            "-".to_owned(),
            "EVENTS LOST".to_owned(),
            "-".to_owned(),
            text::lost_summary(style, lost),
        ]);
        self.row(&header(style), &cells);
    }

    /// Writes everything, and empties the table.
    pub fn write(&mut self, out: &mut impl Write) -> io::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        let widths = widths(&lines);
        for (line, widths) in lines.iter().zip(&widths) {
            for (cell, width) in line.iter().zip(widths) {
                write!(out, "{cell:<width$}")?;
            }
            if let Some(last) = line.last() {
                out.write_all(last.as_bytes())?;
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

fn header(style: Style) -> Vec<&'static str> {
    let mut header = vec!["TIMESTAMP"];
    if style.node_name {
        header.push("NODE");
    }
    header.extend(["SOURCE", "DESTINATION", "TYPE", "VERDICT", "SUMMARY"]);
    header
}

/// The width of every cell but the last of each line: that of the widest cell in the same column
/// of the adjacent lines that have that column.
fn widths(lines: &[Vec<String>]) -> Vec<Vec<usize>> {
    let mut widths: Vec<Vec<usize>> = lines
        .iter()
        .map(|line| vec![0; line.len().saturating_sub(1)])
        .collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut block = Vec::new();
        let mut widest = 0;
        for index in 0..=lines.len() {
            let cell = lines
                .get(index)
                .filter(|l| column + 1 < l.len())
                .and_then(|l| l.get(column));
            if let Some(cell) = cell {
                widest = widest.max(cell.chars().count() + PADDING).max(MIN_WIDTH);
                block.push(index);
                continue;
            }
            for line in block.drain(..) {
                if let Some(width) = widths.get_mut(line).and_then(|w| w.get_mut(column)) {
                    *width = widest;
                }
            }
            widest = 0;
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_blocks_of_adjacent_lines() {
        let mut table = Table::new();
        table.row(&["A", "BB", "C"], &["long cell", "b", "c\nrest"]);
        table.row(&["A", "BB", "C"], &["x", "", ""]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "A           BB   C\nlong cell   b    c\nrest\nx      \n"
        );
    }
}
