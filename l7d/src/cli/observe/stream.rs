//! Asking a server, and printing what it sends until it ends or the user does.

use std::io::Write;
use std::pin::pin;

use futures_util::FutureExt;
use proto::observer::{
    GetAgentEventsRequest, GetDebugEventsRequest, GetFlowsRequest, GetFlowsResponse,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tonic::{Code, Response, Status, Streaming};

use super::connection::Rest;
use crate::cli::failure::Failure;
use crate::cli::server::Server;
use crate::print::Printer;

/// Prints flows; how many there were.
pub(super) async fn flows<W: Write, E: Write>(
    server: &Server,
    mut request: GetFlowsRequest,
    printer: &mut Printer<W, E>,
) -> Result<u64, Failure> {
    let rest = Rest::of(&mut request)?;
    let mut observer = server.observer().await?;
    let answer = observer.get_flows(request).await;
    let mut shown = 0;
    print(
        server,
        "the request for flows",
        answer,
        printer,
        |printer, response: &GetFlowsResponse| {
            if rest.passes(response.response_types.as_ref()) {
                shown += 1;
                printer.flows(response)?;
            }
            Ok(())
        },
    )
    .await?;
    Ok(shown)
}

/// Hands out flows, one by one, until they end or the user does not want more.
pub(in crate::cli) async fn each_flow(
    server: &Server,
    mut request: GetFlowsRequest,
    mut take: impl FnMut(&GetFlowsResponse) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let refused = |status: Status| server.refused("the request for flows", &status);
    let rest = Rest::of(&mut request)?;
    let mut observer = server.observer().await?;
    let answer = observer.get_flows(request).await.map_err(refused)?;
    let mut stream = answer.into_inner();
    let mut interrupts = interrupts()?;
    loop {
        let next = tokio::select! {
            next = stream.message() => next,
            _interrupt = interrupts.recv() => return Ok(()),
        };
        match next {
            Ok(Some(response)) if rest.passes(response.response_types.as_ref()) => {
                take(&response)?;
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(status) if status.code() == Code::Cancelled => return Ok(()),
            Err(status) => return Err(refused(status)),
        }
    }
}

/// Prints agent events.
pub(super) async fn agent_events<W: Write, E: Write>(
    server: &Server,
    request: GetAgentEventsRequest,
    printer: &mut Printer<W, E>,
) -> Result<(), Failure> {
    let mut observer = server.observer().await?;
    let answer = observer.get_agent_events(request).await;
    print(
        server,
        "the request for agent events",
        answer,
        printer,
        Printer::agent_event,
    )
    .await
}

/// Prints debug events.
pub(super) async fn debug_events<W: Write, E: Write>(
    server: &Server,
    request: GetDebugEventsRequest,
    printer: &mut Printer<W, E>,
) -> Result<(), Failure> {
    let mut observer = server.observer().await?;
    let answer = observer.get_debug_events(request).await;
    print(
        server,
        "the request for debug events",
        answer,
        printer,
        Printer::debug_event,
    )
    .await
}

async fn print<T, W: Write, E: Write>(
    server: &Server,
    what: &str,
    answer: Result<Response<Streaming<T>>, Status>,
    printer: &mut Printer<W, E>,
    mut show: impl FnMut(&mut Printer<W, E>, &T) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let refused = |status: Status| server.refused(what, &status);
    let mut stream = answer.map_err(refused)?.into_inner();
    // From the first line on, an interrupt is the way to end a stream.
    let mut interrupts = interrupts()?;
    loop {
        let mut message = pin!(stream.message());
        // Only a pause in the stream is worth a write: a burst goes out in large pieces.
        let next = if let Some(next) = message.as_mut().now_or_never() {
            next
        } else {
            printer.flush()?;
            tokio::select! {
                next = message => next,
                _interrupt = interrupts.recv() => return Ok(()),
            }
        };
        match next {
            Ok(Some(response)) => show(printer, &response)?,
            Ok(None) => return Ok(()),
            Err(status) if status.code() == Code::Cancelled => return Ok(()),
            Err(status) => {
                printer.flush()?;
                return Err(refused(status));
            }
        }
    }
}

/// Interrupts of the user, who no longer ends the process with them.
pub(in crate::cli) fn interrupts() -> Result<Signal, Failure> {
    signal(SignalKind::interrupt()).map_err(|error| Failure::failed("cannot await Ctrl-C", error))
}
