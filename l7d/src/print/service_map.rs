//! A service map for a terminal: what fails and why, then who talks to whom.

use std::io::{self, Write};

use anstyle::AnsiColor;

use super::style::{Safe, Style};
use crate::map::diff::{Change, Difference};
use crate::map::form::words;
use crate::map::overview::{EdgeFigures, NodeFigures, Overview, State, Unit};

/// How wide lines may be, and how many there may be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Room {
    /// Columns; none where nobody cuts.
    pub columns: Option<usize>,
    /// Lines; none where nobody scrolls.
    pub lines: Option<usize>,
}

/// Reasons that are told of one edge.
const REASONS: usize = 3;

/// Titles of columns.
const CLIENT: &str = "CLIENT";
const SERVER: &str = "SERVER";
const HEADER: [&str; 5] = ["PROTOCOL", "RATE", "FAIL", "P50", "P99"];
/// The column that tells of failures.
const FAIL: usize = 2;
/// Less of a sentence tells nothing.
const TROUBLE_LEAST: usize = 16;

/// A line of the table.
struct Row {
    client: String,
    server: String,
    cells: [String; 5],
    state: State,
    trouble: String,
}

/// Writes a map.
pub fn write(out: &mut impl Write, style: Style, room: Room, map: &Overview) -> io::Result<()> {
    let mut lines = Lines {
        style,
        room,
        written: 0,
    };
    lines.title(out, map)?;
    let failing = map.failing();
    if !failing.is_empty() {
        writeln!(out)?;
        lines.written += 1;
        for edge in &failing {
            lines.failing(out, map, edge)?;
        }
    }
    lines.table(out, map)
}

/// Writes differences.
pub fn write_differences(
    out: &mut impl Write,
    style: Style,
    (before, after): (&Overview, &Overview),
    differences: &[Difference],
) -> io::Result<()> {
    if differences.is_empty() {
        return writeln!(
            out,
            "no difference: {} pairs of nodes talk to each other as before",
            after.edges.len()
        );
    }
    let name = |id: &str| {
        let node = after.node(id).or_else(|| before.node(id));
        node.map_or_else(|| id.to_owned(), NodeFigures::shown)
    };
    for one in differences {
        let (word, color) = match one.change {
            Change::Worse => ("worse ", Some(AnsiColor::Red)),
            Change::Added => ("new   ", Some(AnsiColor::Green)),
            Change::Gone => ("gone  ", Some(AnsiColor::Yellow)),
            Change::Better => ("better", Some(AnsiColor::Green)),
        };
        writeln!(
            out,
            "{}  {} → {}  {}",
            tint(style, color, word),
            Safe(&name(&one.client)),
            Safe(&name(&one.server)),
            Safe(&one.notes.join("; "))
        )?;
    }
    Ok(())
}

struct Lines {
    style: Style,
    room: Room,
    written: usize,
}

impl Lines {
    fn title(&mut self, out: &mut impl Write, map: &Overview) -> io::Result<()> {
        self.written += 1;
        if map.flows == 0 {
            return writeln!(out, "no flows in {}", words::span(map.seconds));
        }
        let time = i64::try_from(map.last).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_nanosecond(time.into()).ok();
        let until = time.map_or_else(String::new, |time| {
            format!(" to {}", time.strftime("%b %e %H:%M:%S UTC"))
        });
        let failing = map.failing().len();
        let failing = match failing {
            0 => tint(
                self.style,
                Some(AnsiColor::Green),
                "nothing fails".to_owned(),
            ),
            1 => tint(
                self.style,
                Some(AnsiColor::Red),
                "1 of them fails".to_owned(),
            ),
            count => tint(
                self.style,
                Some(AnsiColor::Red),
                format!("{count} of them fail"),
            ),
        };
        writeln!(
            out,
            "{} nodes, {} talk, {failing}; {} in {}{until}",
            map.nodes.len(),
            match map.edges.len() {
                1 => "1 pair of them".to_owned(),
                count => format!("{count} pairs"),
            },
            words::counted(map.flows, Unit::Flows),
            words::span(map.seconds)
        )?;
        if map.lost > 0 {
            self.written += 1;
            let lost = words::whole(map.lost);
            writeln!(
                out,
                "{lost} events were lost: figures may lack some of theirs"
            )?;
        }
        if map.folded > 0 {
            self.written += 1;
            let folded = words::whole(map.folded);
            writeln!(
                out,
                "{folded} flows are of nodes beyond the bound, shown as others"
            )?;
        }
        Ok(())
    }

    fn failing(
        &mut self,
        out: &mut impl Write,
        map: &Overview,
        edge: &EdgeFigures,
    ) -> io::Result<()> {
        let name = |id: &str| {
            let node = map.node(id);
            node.map_or_else(|| id.to_owned(), NodeFigures::shown)
        };
        if !self.has_room(2) {
            return Ok(());
        }
        let told = if edge.is_cut {
            "nothing gets through".to_owned()
        } else {
            format!("{} fail", words::percent(edge.failed_percent))
        };
        writeln!(
            out,
            "{} {} → {}  {}",
            tint(
                self.style,
                Some(AnsiColor::Red),
                if edge.is_cut { "✕" } else { "!" }
            ),
            Safe(&name(&edge.client)),
            Safe(&name(&edge.server)),
            tint(self.style, Some(AnsiColor::Red), told)
        )?;
        self.written += 1;
        for reason in edge.reasons.iter().take(REASONS) {
            if !self.has_room(1) {
                return Ok(());
            }
            let by = match reason.by.as_str() {
                "" => String::new(),
                by => format!(" by {by}"),
            };
            let text = format!("{} × {}{by}", words::whole(reason.count), reason.text);
            writeln!(out, "    {}", Safe(&self.cut(&text, 4)))?;
            self.written += 1;
        }
        Ok(())
    }

    fn has_room(&self, lines: usize) -> bool {
        self.room
            .lines
            .is_none_or(|most| self.written + lines < most)
    }

    fn cut(&self, text: &str, used: usize) -> String {
        match self.room.columns {
            Some(columns) => words::cut(text, columns.saturating_sub(used).max(16)),
            None => text.to_owned(),
        }
    }

    fn table(&mut self, out: &mut impl Write, map: &Overview) -> io::Result<()> {
        let rows: Vec<Row> = rows(map);
        if rows.is_empty() {
            return Ok(());
        }
        let columns = Columns::of(&rows, self.room.columns);
        writeln!(out, "\n{}", self.soft(&columns.header()))?;
        self.written += 2;
        let mut former = "";
        for (number, row) in rows.iter().enumerate() {
            if !self.has_room(2) {
                let more = rows.len() - number;
                return writeln!(out, "{}", self.soft(&format!("… {more} more")));
            }
            // The same client's further lines need no name.
            let is_same = former == row.client;
            former = &row.client;
            self.row(out, &columns, row, is_same)?;
        }
        Ok(())
    }

    fn soft(&self, text: &str) -> String {
        tint(self.style, Some(AnsiColor::BrightBlack), text)
    }

    fn row(
        &mut self,
        out: &mut impl Write,
        columns: &Columns,
        row: &Row,
        is_same: bool,
    ) -> io::Result<()> {
        let (clients, servers) = (columns.clients, columns.servers);
        let client = if is_same { "" } else { row.client.as_str() };
        let client = words::cut(client, clients);
        let server = words::cut(&row.server, servers);
        let color = match row.state {
            State::Good => None,
            State::Notable => Some(AnsiColor::Yellow),
            State::Failing => Some(AnsiColor::Red),
        };
        let arrow = tint(self.style, color.or(Some(AnsiColor::BrightBlack)), "→");
        write!(
            out,
            "{:clients$}  {arrow} {:servers$}",
            Shown(&client),
            Shown(&server)
        )?;
        for (number, (cell, width)) in row.cells.iter().zip(columns.widths).enumerate() {
            let color = color.filter(|_| number == FAIL);
            write!(
                out,
                "  {}",
                tint(self.style, color, format!("{cell:>width$}"))
            )?;
        }
        let left = columns.left;
        if !row.trouble.is_empty() && left.is_none_or(|left| left >= TROUBLE_LEAST) {
            let cut = |left| words::cut_end(&row.trouble, left);
            let trouble = left.map_or_else(|| row.trouble.clone(), cut);
            write!(out, "  {}", self.soft(&Safe(&trouble).to_string()))?;
        }
        self.written += 1;
        writeln!(out)
    }
}

/// How wide the columns are.
struct Columns {
    clients: usize,
    servers: usize,
    widths: [usize; 5],
    /// What is left behind them.
    left: Option<usize>,
}

impl Columns {
    fn of(rows: &[Row], columns: Option<usize>) -> Self {
        let width = |text: &str| text.chars().count();
        let widest = |of: fn(&Row) -> &String| {
            let widths = rows.iter().map(|row| width(of(row)));
            widths.max().unwrap_or(0).max(CLIENT.len())
        };
        let mut widths = HEADER.map(str::len);
        for row in rows {
            for (held, cell) in widths.iter_mut().zip(&row.cells) {
                *held = (*held).max(width(cell));
            }
        }
        let fixed = 5 + widths.iter().map(|width| width + 2).sum::<usize>();
        // Names give way where the terminal is narrow, each to its half.
        let room = columns.map_or(usize::MAX, |columns| columns.saturating_sub(fixed));
        let (clients, servers) = shared(widest(|row| &row.client), widest(|row| &row.server), room);
        Self {
            clients,
            servers,
            widths,
            left: columns.map(|columns| columns.saturating_sub(fixed + clients + servers + 2)),
        }
    }

    fn header(&self) -> String {
        let (clients, servers) = (self.clients, self.servers);
        let mut line = format!("{CLIENT:clients$}    {SERVER:servers$}");
        for (name, width) in HEADER.iter().zip(self.widths) {
            line.push_str("  ");
            line.push_str(&" ".repeat(width - name.len()));
            line.push_str(name);
        }
        line
    }
}

/// Text in a colour, where there are any.
fn tint(style: Style, color: Option<AnsiColor>, text: impl std::fmt::Display) -> String {
    match color {
        Some(color) => style.paint(color, text).to_string(),
        None => text.to_string(),
    }
}

/// Two columns in a room: the longer one gives way first.
fn shared(one: usize, other: usize, room: usize) -> (usize, usize) {
    if one + other <= room {
        return (one, other);
    }
    let half = (room / 2).max(12);
    match (one <= half, other <= half) {
        (true, _) => (one, room.saturating_sub(one).max(12)),
        (_, true) => (room.saturating_sub(other).max(12), other),
        _ => (half, half),
    }
}

/// Text that is padded after it has been made harmless.
struct Shown<'t>(&'t str);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&Safe(self.0).to_string())
    }
}

fn rows(map: &Overview) -> Vec<Row> {
    let name = |id: &str| {
        let node = map.node(id);
        node.map_or_else(|| id.to_owned(), NodeFigures::shown)
    };
    let lapse = |time: Option<u64>| time.map_or_else(|| "-".to_owned(), words::lapse);
    let row = |edge: &EdgeFigures| Row {
        client: name(&edge.client),
        server: name(&edge.server),
        cells: [
            edge.protocol(),
            words::pace(&edge.load, map.seconds),
            match edge.load.failed {
                0 => "-".to_owned(),
                _ => words::percent(edge.failed_percent),
            },
            lapse(edge.p50_us),
            lapse(edge.p99_us),
        ],
        state: edge.state,
        // Failing ones have been told above.
        trouble: match edge.state {
            State::Failing => String::new(),
            State::Good | State::Notable => words::trouble(edge),
        },
    };
    let mut rows: Vec<Row> = map.edges.iter().map(row).collect();
    rows.sort_by(|a, b| (&a.client, &a.server).cmp(&(&b.client, &b.server)));
    rows
}
