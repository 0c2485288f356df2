//! A map that follows what happens.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::{Duration, Instant};

use proto::flow::Flow;

use super::args::{MapArgs, Output};
use super::{chosen, only_failing, room, style};
use crate::cli::failure::Failure;
use crate::cli::intake::Taker;
use crate::clock::Timestamp;
use crate::map::overview::Overview;
use crate::map::{Reader, Timeline};
use crate::print::service_map;

/// How often it is shown.
const EVERY: Duration = Duration::from_secs(1);
/// The longest window, which is what a timeline keeps.
const WINDOW_MOST: Duration = Duration::from_mins(15);

/// Takes flows, and shows the map of the latest.
pub(super) struct Live<'a> {
    args: &'a MapArgs,
    reader: Reader,
    timeline: Timeline,
    lost: u64,
    shown: Option<Instant>,
    /// Whether the terminal's other screen is used.
    is_screen: bool,
}

impl<'a> Live<'a> {
    pub(super) fn new(args: &'a MapArgs, reader: Reader) -> Result<Self, Failure> {
        let is_terminal = io::stdout().is_terminal();
        match args.output {
            Output::Json => {}
            Output::Text if is_terminal => {}
            Output::Text => {
                return Err(Failure::usage("--follow needs a terminal, or -o json")
                    .advise("-o json writes an object per line, one a second"));
            }
            Output::Dot | Output::Mermaid | Output::Svg => {
                return Err(Failure::usage("a picture has no --follow")
                    .advise("`l7d ui` shows a picture that goes on, in a browser"));
            }
        }
        if args.window > WINDOW_MOST {
            return Err(Failure::usage("--window: at most 15m are kept"));
        }
        let mut live = Self {
            args,
            reader,
            timeline: Timeline::latest(),
            lost: 0,
            shown: None,
            is_screen: args.output == Output::Text,
        };
        if live.is_screen {
            // The other screen, without a cursor; what was there comes back in the end.
            write("\x1b[?1049h\x1b[?25l")?;
        }
        live.show()?;
        Ok(live)
    }

    fn map(&self) -> Overview {
        let (start, seconds) = self
            .timeline
            .window(Timestamp::now(), Some(self.args.window));
        let graph = chosen(&self.timeline.since(start), self.args);
        let mut map = Overview::new(&graph, Some(seconds));
        map.lost = self.lost;
        only_failing(&mut map, self.args);
        map
    }

    fn show(&mut self) -> Result<(), Failure> {
        self.shown = Some(Instant::now());
        let map = self.map();
        let mut out = BufWriter::new(io::stdout().lock());
        if self.is_screen {
            let mut lines = Vec::new();
            service_map::write(&mut lines, style(self.args), room(), &map)?;
            // Each line is written over the former one, so that nothing flickers.
            out.write_all(b"\x1b[H")?;
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                out.write_all(line.strip_suffix(b"\n").unwrap_or(line))?;
                out.write_all(b"\x1b[K\r\n")?;
            }
            out.write_all(b"\x1b[J")?;
        } else {
            serde_json::to_writer(&mut out, &map)
                .map_err(|error| Failure::failed("the map cannot be written", error))?;
            writeln!(out)?;
        }
        out.flush()?;
        Ok(())
    }

    /// Leaves the last map where it can be scrolled.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let map = self.map();
        let is_text = self.is_screen;
        self.leave();
        if is_text {
            let room = service_map::Room {
                lines: None,
                ..room()
            };
            service_map::write(&mut io::stdout().lock(), style(self.args), room, &map)?;
        }
        Ok(())
    }

    fn leave(&mut self) {
        if std::mem::take(&mut self.is_screen) {
            // A terminal that is gone needs no restoring.
            let _gone = write("\x1b[?25h\x1b[?1049l");
        }
    }
}

fn write(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Taker for Live<'_> {
    fn take(&mut self, flow: &Flow) -> Result<(), Failure> {
        if let Some(seen) = self.reader.read(flow) {
            self.timeline.add(&seen);
        }
        Ok(())
    }

    fn lose(&mut self, count: u64) {
        self.lost += count;
    }

    fn tick(&mut self) -> Result<(), Failure> {
        if self.shown.is_none_or(|shown| shown.elapsed() >= EVERY) {
            self.show()?;
        }
        Ok(())
    }
}
