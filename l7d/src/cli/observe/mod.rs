//! `l7d observe`: flows and events, from a server or a file.
//!
//! Arguments become a request in pure functions ([`request`], [`filters`], [`time`]); the request
//! goes to a server ([`stream`]) or is carried out here over a file ([`input`]); what comes back
//! is printed by [`crate::print`].

pub mod args;
pub mod filters;
pub mod flags;
pub mod input;
pub mod raw;
pub mod request;
pub mod stream;
pub mod time;
mod values;

use std::io::{self, BufWriter, IsTerminal, Write};

use jiff::Timestamp;

pub use args::{EventsArgs, FlowsArgs, Observe, ObserveEvents, Selectors};

use super::failure::Failure;
use crate::print::{Form, Printer, Style};

/// Standard output, and standard error or nothing.
type Output = Printer<BufWriter<io::StdoutLock<'static>>, Box<dyn Write>>;

/// Runs the command.
pub async fn run(observe: &Observe, debug: bool) -> Result<(), Failure> {
    match &observe.events {
        None => flows(&observe.flows, debug).await,
        Some(ObserveEvents::Flows(args)) => flows(args, debug).await,
        Some(ObserveEvents::AgentEvents(args)) => agent_events(args).await,
        Some(ObserveEvents::DebugEvents(args)) => debug_events(args).await,
    }
}

async fn flows(args: &FlowsArgs, debug: bool) -> Result<(), Failure> {
    if args.print_raw_filters {
        raw::write(&mut io::stdout().lock(), &request::filters(args)?)?;
        return Ok(());
    }
    let request = request::flows(args, Timestamp::now())?;
    check_follow(args.formatting.form(), request.follow)?;
    let style = args.style(io::stdout().is_terminal(), |name| std::env::var(name).ok());
    let mut printer = output(
        Style {
            connected_nodes: debug,
            ..style
        },
        args.silent_errors,
    );
    tracing::debug!(?request, "asking for flows");
    if let Some(file) = &args.input_file {
        input::print(file, &request, args.silent_errors, &mut printer)?;
    } else {
        let server = args.server.settle(|name| std::env::var(name).ok())?;
        stream::flows(&server, request, &mut printer).await?;
    }
    printer.finish()?;
    Ok(())
}

async fn agent_events(args: &EventsArgs) -> Result<(), Failure> {
    let request = request::agent_events(&args.selectors, Timestamp::now())?;
    check_follow(args.formatting.form(), request.follow)?;
    let mut printer = output(args.formatting.style(), args.silent_errors);
    let server = args.server.settle(|name| std::env::var(name).ok())?;
    stream::agent_events(&server, request, &mut printer).await?;
    printer.finish()?;
    Ok(())
}

async fn debug_events(args: &EventsArgs) -> Result<(), Failure> {
    let request = request::debug_events(&args.selectors, Timestamp::now())?;
    check_follow(args.formatting.form(), request.follow)?;
    let mut printer = output(args.formatting.style(), args.silent_errors);
    let server = args.server.settle(|name| std::env::var(name).ok())?;
    stream::debug_events(&server, request, &mut printer).await?;
    printer.finish()?;
    Ok(())
}

/// A table is written when its last row is known, which never comes.
fn check_follow(form: Form, follow: bool) -> Result<(), Failure> {
    if form == Form::Table && follow {
        return Err(
            Failure::usage("table output format is not compatible with follow mode")
                .advise("use -o compact or -o dict"),
        );
    }
    Ok(())
}

fn output(style: Style, silent: bool) -> Output {
    let err: Box<dyn Write> = if silent {
        Box::new(io::sink())
    } else {
        Box::new(io::stderr())
    };
    Printer::new(BufWriter::new(io::stdout().lock()), err, style)
}

#[cfg(test)]
mod tests;
