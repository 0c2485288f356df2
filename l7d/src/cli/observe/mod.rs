//! `l7d observe`: flows and events, from a server or a file.
//!
//! Arguments become a request in pure functions ([`request`], [`filters`], [`time`]); the request
//! goes to a server ([`stream`]) or is carried out here over a file ([`input`]); what comes back
//! is printed by [`crate::print`].

pub mod args;
pub(in crate::cli) mod connection;
pub mod filters;
pub mod flags;
pub mod input;
pub mod raw;
pub mod request;
pub mod stream;
pub mod time;
mod unseen;
pub(in crate::cli) mod values;

use std::io::{self, BufWriter, IsTerminal, Write};

use jiff::Timestamp;
use proto::observer::GetFlowsRequest;

pub use args::{EventsArgs, FlowsArgs, Observe, ObserveEvents, Selectors};

use super::failure::Failure;
use super::server::Server;
use super::settings::Place;
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

/// Filters that are settled for all commands count where none are given.
fn with_settled_filters(args: &FlowsArgs) -> Result<FlowsArgs, Failure> {
    let mut args = args.clone();
    let named = args.server.config.as_deref();
    let file = Place::find(named, |name| std::env::var(name).ok()).load()?;
    for (key, filters) in [
        ("allowlist", &mut args.allowlist),
        ("denylist", &mut args.denylist),
    ] {
        if filters.is_empty() {
            *filters = file.texts(key);
        }
    }
    Ok(args)
}

async fn flows(args: &FlowsArgs, debug: bool) -> Result<(), Failure> {
    let args = &with_settled_filters(args)?;
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
        let tell = !args.silent_errors;
        if tell && request.follow {
            tell_unseen(&server, &request).await?;
        }
        let asked = request.clone();
        let shown = stream::flows(&server, request, &mut printer).await?;
        if tell && shown == 0 && !asked.follow {
            tell_unseen(&server, &asked).await?;
        }
    }
    printer.finish()?;
    Ok(())
}

/// Says which names in filters nobody has been seen by. That is no failure: somebody may yet come.
async fn tell_unseen(server: &Server, request: &GetFlowsRequest) -> Result<(), Failure> {
    for hint in unseen::hints(server, request).await {
        writeln!(io::stderr().lock(), "l7d: {hint}")?;
    }
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
