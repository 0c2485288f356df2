//! `l7d trace`: what became of connections.
//!
//! Flows come from a server, a file or captures ([`super::intake`]), become facts ([`fact`]) and stories
//! ([`crate::story`]); those that are meant ([`mod@choice`]) are told ([`telling`]) by
//! [`crate::print::timeline`].

pub mod args;
mod choice;
mod fact;
mod telling;

use std::io::{self, BufWriter, IsTerminal, Write};

use args::Output;
pub use args::TraceArgs;
use choice::{Choice, Who};
use telling::{Look, Telling, Told};

use jiff::Timestamp as Now;
use proto::observer::GetFlowsRequest;

use super::candidate::Names;
use super::failure::Failure;
use super::intake;
use super::observe::args::Selectors;
use super::observe::{request, values};
use crate::print::Style;
use crate::print::timeline::Width;

/// Runs the command.
pub fn run(args: &TraceArgs) -> Result<(), Failure> {
    let choice = choice(args)?;
    if args.follow && args.output == Output::Json {
        return Err(
            Failure::usage("json output is not compatible with follow mode")
                .advise("use -o jsonl: one object per line"),
        );
    }
    let is_terminal = io::stdout().is_terminal();
    let style = Style {
        color: args
            .color
            .is_on(is_terminal, |name| std::env::var(name).ok()),
        ..Style::default()
    };
    let look = Look::of(args, style, width(is_terminal));
    let mut telling = Telling::new(BufWriter::new(io::stdout().lock()), look, &choice);
    match &args.input_file {
        Some(file) => intake::file(file, &mut telling)?,
        None if !args.pcap.is_empty() => {
            let names = Names::read(&args.endpoints, &[])?;
            intake::captures(&args.pcap, &names, &mut telling)?;
        }
        None => {
            let request = request(args, &choice)?;
            super::block_on(intake::server(&args.server, request, &mut telling))?;
        }
    }
    conclude(args, &telling.finish()?)
}

fn choice(args: &TraceArgs) -> Result<Choice, Failure> {
    let who = |text: &Option<String>| text.as_deref().map(Who::parse).transpose();
    let number = args.connection.as_deref().map(values::connection_number);
    Ok(Choice {
        of: who(&args.target)?,
        to: who(&args.to)?,
        port: args.port,
        number: number.transpose().map_err(Failure::usage)?,
        failed: args.failed,
    })
}

fn request(args: &TraceArgs, choice: &Choice) -> Result<GetFlowsRequest, Failure> {
    let selectors = Selectors {
        all: args.since.is_none() && !args.follow,
        follow: args.follow,
        since: args.since.clone(),
        ..Selectors::default()
    };
    let window = request::window(&selectors, Now::now(), 0)?;
    Ok(GetFlowsRequest {
        number: window.number,
        follow: window.follow,
        since: window.since,
        whitelist: choice.filters(),
        ..GetFlowsRequest::default()
    })
}

/// Lines end where a terminal does.
fn width(is_terminal: bool) -> Width {
    let asked = || rustix::termios::tcgetwinsize(io::stdout()).ok();
    let columns = is_terminal.then(asked).flatten();
    let columns = columns.map(|size| usize::from(size.ws_col));
    Width(columns.filter(|columns| *columns > 0))
}

/// Says what the output does not show.
fn conclude(args: &TraceArgs, told: &Told) -> Result<(), Failure> {
    let mut err = io::stderr().lock();
    if told.lost > 0 {
        writeln!(
            err,
            "l7d: {} events were lost: stories may lack some of theirs",
            told.lost
        )?;
    }
    if told.connections > 0 || args.follow {
        return Ok(());
    }
    let what = if args.failed {
        "no connection failed"
    } else {
        "no connection was seen"
    };
    let lookups = match told.lookups {
        0 => String::new(),
        count => format!(", but {count} look-ups of DNS (--port 53 lists them)"),
    };
    writeln!(err, "l7d: {what} of those that are meant{lookups}")?;
    Ok(())
}
