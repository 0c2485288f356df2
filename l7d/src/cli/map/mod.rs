//! `l7d map`: who talks to whom, how much, how fast, and what fails.
//!
//! Flows come from a server, a file or captures ([`super::intake`]), are counted by [`crate::map`], and
//! written in the end, or, with `--follow`, while they come ([`live`]).

pub mod args;
mod live;

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use jiff::Timestamp as Now;
use proto::flow::Flow;
use proto::observer::GetFlowsRequest;

pub use args::MapArgs;
use args::Output;
use live::Live;

use super::candidate::Names;
use super::failure::Failure;
use super::intake::{self, Taker};
use super::observe::args::Selectors;
use super::observe::request;
use crate::map::diff::{self, Difference};
use crate::map::form::drawing::{Changes, Labels};
use crate::map::form::{Drawing, dot, mermaid, svg};
use crate::map::overview::{FORMAT, Overview, State};
use crate::map::{Graph, Node, Reader};
use crate::print::{Style, service_map};

/// Runs the command.
pub fn run(args: &MapArgs) -> Result<(), Failure> {
    let reader = Reader::new(args.by.by(), args.templates.templates()?);
    if args.follow {
        let mut live = Live::new(args, reader)?;
        let request = request(args)?;
        super::block_on(intake::server(&args.server, request, &mut live))?;
        return live.finish();
    }
    let before = args.diff.as_deref().map(read).transpose()?;
    let mut counting = Counting {
        reader,
        graph: Graph::new(),
        lost: 0,
    };
    match &args.input_file {
        Some(file) => intake::file(file, &mut counting)?,
        None if !args.pcap.is_empty() => {
            let names = Names::read(&args.endpoints, &args.policy)?;
            intake::captures(&args.pcap, &names, &mut counting)?;
        }
        None => super::block_on(intake::server(&args.server, request(args)?, &mut counting))?,
    }
    let map = counting.overview(args);
    let mut out = BufWriter::new(io::stdout().lock());
    match &before {
        Some(before) => write_differences(&mut out, args, before, &map)?,
        None => write(&mut out, args, &map)?,
    }
    out.flush()?;
    if map.edges.is_empty() && before.is_none() {
        writeln!(
            io::stderr().lock(),
            "l7d: no flow was seen of those that are meant"
        )?;
    }
    Ok(())
}

/// Counts flows until all have come.
struct Counting {
    reader: Reader,
    graph: Graph,
    lost: u64,
}

impl Taker for Counting {
    fn take(&mut self, flow: &Flow) -> Result<(), Failure> {
        if let Some(seen) = self.reader.read(flow) {
            self.graph.add(&seen);
        }
        Ok(())
    }

    fn lose(&mut self, count: u64) {
        self.lost += count;
    }

    fn tick(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

impl Counting {
    fn overview(&self, args: &MapArgs) -> Overview {
        let mut map = Overview::new(&chosen(&self.graph, args), None);
        map.lost = self.lost;
        only_failing(&mut map, args);
        map
    }
}

/// The nodes that are meant, and whom they talk to.
fn chosen(graph: &Graph, args: &MapArgs) -> Graph {
    let is_within = |node: &Node| {
        let namespace = args.namespace.as_deref();
        namespace.is_none_or(|wanted| node.namespace == wanted || node.name == wanted)
    };
    let is_named = |node: &Node| match args.of.as_deref() {
        None => true,
        Some(wanted) if wanted.contains('/') => node.shown().starts_with(wanted),
        Some(wanted) => node.name.starts_with(wanted),
    };
    if args.namespace.is_none() && args.of.is_none() {
        return graph.clone();
    }
    let is_meant = |node: &Node| is_within(node) && is_named(node);
    graph.regrouped(|client, server| {
        (is_meant(client) || is_meant(server)).then(|| (client.clone(), server.clone()))
    })
}

fn only_failing(map: &mut Overview, args: &MapArgs) {
    if !args.failed {
        return;
    }
    map.edges.retain(|edge| edge.state == State::Failing);
    let edges = std::mem::take(&mut map.edges);
    let is_used = |id: &str| {
        edges
            .iter()
            .any(|edge| edge.client == id || edge.server == id)
    };
    map.nodes.retain(|node| is_used(&node.id));
    map.edges = edges;
}

fn request(args: &MapArgs) -> Result<GetFlowsRequest, Failure> {
    let since = args.follow.then(|| format!("{}s", args.window.as_secs()));
    let selectors = Selectors {
        all: args.since.is_none() && !args.follow,
        follow: args.follow,
        since: since.or_else(|| args.since.clone()),
        ..Selectors::default()
    };
    let window = request::window(&selectors, Now::now(), 0)?;
    Ok(GetFlowsRequest {
        number: window.number,
        follow: window.follow,
        since: window.since,
        ..GetFlowsRequest::default()
    })
}

/// Reads a map that was written before.
fn read(file: &Path) -> Result<Overview, Failure> {
    let what = || format!("cannot read the map {}", file.display());
    let text = std::fs::read(file).map_err(|error| Failure::failed(what(), error))?;
    let map: Overview = serde_json::from_slice(&text).map_err(|error| {
        Failure::failed(what(), error).advise("it must be what `l7d map -o json` has written")
    })?;
    if map.l7d_map != FORMAT {
        let version = map.l7d_map;
        let cause = format!("its form has version {version}, this program reads {FORMAT}");
        return Err(Failure::failed(what(), cause));
    }
    Ok(map)
}

fn style(args: &MapArgs) -> Style {
    let is_terminal = io::stdout().is_terminal();
    Style {
        color: args
            .color
            .is_on(is_terminal, |name| std::env::var(name).ok()),
        ..Style::default()
    }
}

/// Lines end where a terminal does.
fn room() -> service_map::Room {
    let is_terminal = io::stdout().is_terminal();
    let size = is_terminal.then(|| rustix::termios::tcgetwinsize(io::stdout()).ok());
    let size = size.flatten().filter(|size| size.ws_col > 0);
    service_map::Room {
        columns: size.map(|size| usize::from(size.ws_col)),
        lines: size.map(|size| usize::from(size.ws_row)),
    }
}

const TITLE: &str = "Service map by l7d";

fn write(out: &mut impl Write, args: &MapArgs, map: &Overview) -> Result<(), Failure> {
    match args.output {
        Output::Text => {
            // What is printed once can be scrolled.
            let room = service_map::Room {
                lines: None,
                ..room()
            };
            service_map::write(out, style(args), room, map)?;
        }
        Output::Json => json(out, map)?,
        Output::Dot => dot::write(out, map)?,
        Output::Mermaid => mermaid::write(out, map)?,
        Output::Svg => svg::write(
            out,
            &Drawing::new(map, &Changes::new(), Labels::Full),
            TITLE,
        )?,
    }
    Ok(())
}

fn write_differences(
    out: &mut impl Write,
    args: &MapArgs,
    before: &Overview,
    after: &Overview,
) -> Result<(), Failure> {
    let differences = diff::differences(before, after);
    let union = || diff::union(before, after, &differences);
    match args.output {
        Output::Text => {
            service_map::write_differences(out, style(args), (before, after), &differences)?;
        }
        Output::Json => json(
            out,
            &Differences {
                differences: &differences,
            },
        )?,
        Output::Dot => dot::write(out, &union().0)?,
        Output::Mermaid => mermaid::write(out, &union().0)?,
        Output::Svg => {
            let (map, changes) = union();
            svg::write(out, &Drawing::new(&map, &changes, Labels::Full), TITLE)?;
        }
    }
    Ok(())
}

#[derive(serde::Serialize)]
struct Differences<'d> {
    differences: &'d [Difference],
}

fn json(out: &mut impl Write, value: &impl serde::Serialize) -> Result<(), Failure> {
    serde_json::to_writer_pretty(&mut *out, value)
        .map_err(|error| Failure::failed("the map cannot be written", error))?;
    writeln!(out)?;
    Ok(())
}
