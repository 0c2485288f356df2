//! Flows → stories → output: while they come where that is asked for, else when all have come.

use std::collections::VecDeque;
use std::io::Write;

use proto::flow::Flow;

use super::args::{Output, TraceArgs};
use super::choice::Choice;
use super::fact;
use crate::cli::failure::Failure;
use crate::cli::intake::Taker;
use crate::clock::Timestamp;
use crate::print::Style;
use crate::print::timeline::{self, Listed, Width, json};
use crate::story::{Limits, Stories, Story};

/// A connection that is over is told so long after its last sign: what else is said of it is there by
/// then, and a SYN that was dropped has not come again yet.
const QUIET_NS: u64 = 800_000_000;

/// How stories are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) style: Style,
    pub(super) width: Width,
    pub(super) output: Output,
    pub(super) is_full: bool,
    pub(super) is_live: bool,
    /// A server was asked: what it does not tell has not happened yet.
    pub(super) is_current: bool,
    /// How many of each kind a list has.
    pub(super) last: usize,
}

/// Takes flows, and tells stories to `out`.
pub(super) struct Telling<'c, W: Write> {
    out: W,
    look: Look,
    choice: &'c Choice,
    stories: Stories,
    kept: Kept,
    /// The latest time that any flow tells.
    latest: Timestamp,
    lost: u64,
    told: u64,
}

/// What a list will have.
#[derive(Debug, Default)]
struct Kept {
    failed: VecDeque<Story>,
    well: VecDeque<Story>,
    listed: Listed,
}

impl Look {
    pub(super) fn of(args: &TraceArgs, style: Style, width: Width) -> Self {
        Self {
            style,
            width,
            output: args.output,
            is_full: args.full,
            is_live: args.follow,
            is_current: args.input_file.is_none() && args.pcap.is_empty(),
            last: args.last,
        }
    }
}

impl<W: Write> Taker for Telling<'_, W> {
    fn take(&mut self, flow: &Flow) -> Result<(), Failure> {
        let Some(fact) = fact::of(flow) else {
            return Ok(());
        };
        self.latest = self.latest.max(fact.time);
        let mut out = Vec::new();
        self.stories.take(fact, |story| out.push(story));
        self.hand_out(out)
    }

    fn lose(&mut self, count: u64) {
        self.lost += count;
    }

    fn tick(&mut self) -> Result<(), Failure> {
        if self.look.is_live {
            let mut out = Vec::new();
            let now = Timestamp::now();
            self.stories.sweep(now, QUIET_NS, |story| out.push(story));
            self.hand_out(out)?;
            self.out.flush()?;
        }
        Ok(())
    }
}

impl<'c, W: Write> Telling<'c, W> {
    pub(super) fn new(out: W, look: Look, choice: &'c Choice) -> Self {
        Self {
            out,
            look,
            choice,
            stories: Stories::new(Limits::default()),
            kept: Kept::default(),
            latest: Timestamp::default(),
            lost: 0,
            told: 0,
        }
    }

    /// A recording is as old as the last that it tells.
    fn now(&self) -> Timestamp {
        if self.look.is_current {
            Timestamp::now()
        } else {
            self.latest
        }
    }

    fn hand_out(&mut self, stories: Vec<Story>) -> Result<(), Failure> {
        let now = self.now();
        for story in stories {
            if !self.choice.has(&story) {
                continue;
            }
            let is_failed = story.ending(now).how.is_failed();
            if self.choice.failed && !is_failed {
                continue;
            }
            // Every connection has look-ups before it; it tells of them itself.
            if !is_failed && story.is_lookup() && !self.choice.wants_lookups() {
                self.kept.listed.lookups += 1;
                continue;
            }
            if self.look.is_live {
                let is_full = self.look.is_full || self.choice.is_single();
                self.show(&story, is_full, now)?;
            } else {
                self.kept.keep(story, is_failed, self.look.last);
            }
        }
        Ok(())
    }

    /// Shows one, in full or in a line.
    fn show(&mut self, story: &Story, is_full: bool, now: Timestamp) -> Result<(), Failure> {
        let Look {
            style,
            width,
            output,
            ..
        } = self.look;
        self.told += 1;
        match output {
            Output::Text if is_full => {
                if self.told > 1 {
                    writeln!(self.out, "\n")?;
                }
                timeline::story(&mut self.out, style, width, story, now)?;
            }
            Output::Text => timeline::listed_line(&mut self.out, style, width, story, now)?,
            Output::Json | Output::Jsonl => self.line(story, now)?,
        }
        Ok(())
    }

    fn line(&mut self, story: &Story, now: Timestamp) -> Result<(), Failure> {
        let line = serde_json::to_string(&json::connection(story, now))
            .map_err(|error| Failure::failed("a connection cannot be written", error))?;
        writeln!(self.out, "{line}")?;
        Ok(())
    }

    /// Tells what is left; how many were told, and how many events were lost on the way.
    pub(super) fn finish(mut self) -> Result<Told, Failure> {
        let mut out = Vec::new();
        std::mem::take(&mut self.stories).finish(|story| out.push(story));
        self.hand_out(out)?;
        if !self.look.is_live {
            self.finish_kept()?;
        }
        self.out.flush()?;
        Ok(Told {
            connections: self.told,
            lookups: self.kept.listed.lookups,
            lost: self.lost,
        })
    }

    fn finish_kept(&mut self) -> Result<(), Failure> {
        let now = self.now();
        let Kept {
            failed,
            well,
            listed,
        } = std::mem::take(&mut self.kept);
        let (failed, well) = (Vec::from(failed), Vec::from(well));
        let count = failed.len() + well.len();
        let Look {
            style,
            width,
            output,
            is_full,
            ..
        } = self.look;
        match output {
            Output::Text if is_full || count == 1 || self.choice.is_single() => {
                let mut all = failed.iter().chain(&well);
                all.try_for_each(|story| self.show(story, true, now))?;
            }
            Output::Text => {
                let stories = (failed.as_slice(), well.as_slice());
                timeline::list(&mut self.out, style, width, stories, &listed, now)?;
            }
            Output::Jsonl => {
                failed
                    .iter()
                    .chain(&well)
                    .try_for_each(|story| self.line(story, now))?;
            }
            Output::Json => {
                let all = failed.iter().chain(&well);
                let all: Vec<_> = all.map(|story| json::connection(story, now)).collect();
                serde_json::to_writer_pretty(&mut self.out, &all)
                    .map_err(|error| Failure::failed("connections cannot be written", error))?;
                writeln!(self.out)?;
            }
        }
        self.told = count as u64;
        self.kept.listed = listed;
        Ok(())
    }
}

/// What was told in the end.
pub(super) struct Told {
    pub(super) connections: u64,
    pub(super) lookups: u64,
    pub(super) lost: u64,
}

impl Kept {
    fn keep(&mut self, story: Story, is_failed: bool, most: usize) {
        let (list, count) = if is_failed {
            (&mut self.failed, &mut self.listed.failed)
        } else {
            (&mut self.well, &mut self.listed.well)
        };
        *count += 1;
        // They come in the order in which they began, but for some that were long quiet.
        let at = list.partition_point(|one| one.first <= story.first);
        list.insert(at, story);
        if list.len() > most {
            list.pop_front();
        }
    }
}
