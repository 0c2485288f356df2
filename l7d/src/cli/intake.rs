//! Where flows come from for commands that make something of all of them: a server, a file, captures.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use capture::{Merge, Reader};
use proto::flow::Flow;
use proto::observer::get_flows_response::ResponseTypes;
use proto::observer::{GetFlowsRequest, GetFlowsResponse};
use tokio::time::{MissedTickBehavior, interval};
use tonic::{Code, Status};

use super::candidate::Names;
use super::failure::Failure;
use super::observe::connection::Rest;
use super::observe::input::{self, Lines};
use super::observe::stream;
use super::replay;
use super::server::{Server, ServerFlags};

/// How often somebody looks at the time while flows come.
const TICK: Duration = Duration::from_millis(250);

/// Who takes what comes.
pub(super) trait Taker {
    /// A flow.
    fn take(&mut self, flow: &Flow) -> Result<(), Failure>;
    /// So many events were lost on the way.
    fn lose(&mut self, count: u64);
    /// Some time has gone by.
    fn tick(&mut self) -> Result<(), Failure>;
}

/// Reads flows from captures.
pub(super) fn captures(
    files: &[PathBuf],
    names: &Names,
    taker: &mut impl Taker,
) -> Result<(), Failure> {
    let readers = files.iter().map(|file| Reader::open(file));
    let readers = readers
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::failed("cannot read the capture", error))?;
    let damage = replay::each_flow(names, Merge::new(readers), |flow| taker.take(&flow))?;
    let mut err = io::stderr().lock();
    for fault in damage {
        writeln!(err, "l7d: not everything could be read: {fault}")?;
    }
    Ok(())
}

/// Reads flows from a file of JSON lines.
pub(super) fn file(file: &str, taker: &mut impl Taker) -> Result<(), Failure> {
    let mut lines = Lines::new(input::open(file)?);
    while let Some((number, line)) = lines.next(file)? {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match input::parse(line) {
            Ok(response) => hand_on(response, taker)?,
            Err(error) => {
                let mut err = io::stderr().lock();
                writeln!(err, "l7d: {file}:{number}: not a flow, skipped: {error}")?;
            }
        }
    }
    Ok(())
}

fn hand_on(response: GetFlowsResponse, taker: &mut impl Taker) -> Result<(), Failure> {
    match response.response_types {
        Some(ResponseTypes::Flow(flow)) => taker.take(&flow),
        Some(ResponseTypes::LostEvents(lost)) => {
            taker.lose(lost.num_events_lost);
            Ok(())
        }
        Some(ResponseTypes::NodeStatus(_)) | None => Ok(()),
    }
}

/// Asks a server, until it has told all or the user does not want more.
pub(super) async fn server(
    flags: &ServerFlags,
    mut request: GetFlowsRequest,
    taker: &mut impl Taker,
) -> Result<(), Failure> {
    let server = flags.settle(|name| std::env::var(name).ok())?;
    let rest = Rest::of(&mut request)?;
    let refused =
        |server: &Server, status: Status| server.refused("the request for flows", &status);
    let mut observer = server.observer().await?;
    let answer = observer.get_flows(request).await;
    let mut flows = answer
        .map_err(|status| refused(&server, status))?
        .into_inner();
    let mut interrupts = stream::interrupts()?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let next = tokio::select! {
            next = flows.message() => next,
            _tick = ticks.tick() => {
                taker.tick()?;
                continue;
            }
            _interrupt = interrupts.recv() => return Ok(()),
        };
        match next {
            Ok(Some(response)) if rest.passes(response.response_types.as_ref()) => {
                hand_on(response, taker)?;
            }
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(status) if status.code() == Code::Cancelled => return Ok(()),
            Err(status) => return Err(refused(&server, status)),
        }
    }
}
