//! How far a replay is, and how it ended.

use std::io::{self, IsTerminal, Write};

use capture::Merge;

use crate::replay::{Replay, Summary};

/// How a replay ended.
pub(super) struct End {
    summary: Summary,
    /// Messages or flows shown, by kind.
    shown: Vec<(String, u64)>,
    /// What could not be read.
    pub(super) damage: Vec<String>,
}

impl End {
    pub(super) fn new(replay: &Replay, merge: &Merge, shown: Vec<(String, u64)>) -> Self {
        Self {
            summary: replay.summary().clone(),
            shown,
            damage: merge.errors().iter().map(ToString::to_string).collect(),
        }
    }

    /// Writes the closing lines.
    pub(super) fn tell(&self) -> io::Result<()> {
        let mut err = io::stderr().lock();
        let summary = &self.summary;
        writeln!(
            err,
            "{} packets, {} bytes, {} TCP connections",
            summary.packets, summary.bytes, summary.connections
        )?;
        let shown: Vec<String> = self
            .shown
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        if !shown.is_empty() {
            writeln!(err, "{}", shown.join(", "))?;
        }
        let mut lines: Vec<(u64, String)> = vec![
            (
                summary.gaps,
                format!("gaps in streams, {} bytes", summary.gap_bytes),
            ),
            (
                summary.conflicts,
                "bytes that came twice and differ; the first copy counts".to_owned(),
            ),
            (
                summary.lost_datagrams,
                "datagrams whose fragments did not come together".to_owned(),
            ),
            (
                summary.evicted,
                "connections given up: too many at a time".to_owned(),
            ),
        ];
        for (link_type, count) in &summary.without_ip {
            lines.push((
                *count,
                format!("packets without IP (link type {link_type})"),
            ));
        }
        for (rule, count) in &summary.unreadable {
            lines.push((*count, format!("packets that cannot be read: {rule}")));
        }
        for (count, what) in lines.iter().filter(|(count, _)| *count > 0) {
            writeln!(err, "{count} {what}")?;
        }
        Ok(())
    }
}

/// How far a long replay is, on a terminal that shows nothing else.
pub(super) struct Progress {
    is_shown: bool,
    packets: u64,
}

/// Packets between two looks.
const PROGRESS_PACKETS: u64 = 1 << 16;

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            is_shown: io::stderr().is_terminal() && !io::stdout().is_terminal(),
            packets: 0,
        }
    }

    pub(super) fn show(&mut self, merge: &Merge) -> io::Result<()> {
        self.packets += 1;
        if self.is_shown && self.packets.is_multiple_of(PROGRESS_PACKETS) {
            let mut err = io::stderr().lock();
            let mebibytes = merge.offset() >> 20;
            write!(err, "\r{} packets, {mebibytes} MiB", self.packets)?;
            err.flush()?;
        }
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown && self.packets >= PROGRESS_PACKETS {
            // The line goes; a terminal that is gone needs no cleaning.
            let _gone = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}
