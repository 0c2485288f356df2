//! Flows from a file of JSON lines, as `-o json` and exporters write them: the request that would
//! go to a server is carried out here.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

use proto::flow::Flow;
use proto::observer::get_flows_response::ResponseTypes;
use proto::observer::{GetFlowsRequest, GetFlowsResponse};

use crate::cli::failure::Failure;
use crate::cli::matcher::Matcher;
use crate::print::Printer;

/// The longest line that is read. A flow has about a thousand bytes; headers can make it more.
const LINE_BYTES: u64 = 4 << 20;
/// How much is read at once.
const READ_BYTES: usize = 1 << 18;
/// The most flows that `--last` keeps in memory.
const MAX_LAST: u64 = 1_000_000;

/// Prints what the request selects from a file; `-` is standard input. Lines that are no flows are
/// told of on standard error and skipped.
pub(super) fn print<W: Write, E: Write>(
    file: &str,
    request: &GetFlowsRequest,
    silent: bool,
    printer: &mut Printer<W, E>,
) -> Result<(), Failure> {
    if request.follow {
        return Err(Failure::usage("cannot use --follow with --input-file")
            .advise("a file ends; without --follow all of it is read"));
    }
    let limited = !request.first && request.number != u64::MAX;
    if limited && request.number > MAX_LAST {
        return Err(Failure::usage(format!(
            "--last must be <= 1_000_000, got {}",
            request.number
        )));
    }
    let matcher = Matcher::new(&request.whitelist, &request.blacklist).map_err(Failure::usage)?;
    let input = open(file)?;
    if matcher.wants_to_learn() && file != "-" {
        learn(file, &matcher)?;
    }
    let mut lines = Lines::new(input);
    let mut selection = Selection::new(request, &matcher);
    while let Some((number, line)) = lines.next(file)? {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match parse(line) {
            Ok(response) => {
                if selection.take(response, printer)? {
                    return Ok(());
                }
            }
            Err(error) if !silent => {
                let mut err = io::stderr().lock();
                writeln!(err, "l7d: {file}:{number}: not a flow, skipped: {error}")?;
            }
            Err(_) => {}
        }
    }
    selection.finish(printer)
}

/// Opens a file; `-` is standard input.
pub(in crate::cli) fn open(file: &str) -> Result<Box<dyn Read>, Failure> {
    if file == "-" {
        return Ok(Box::new(io::stdin()));
    }
    let opened = File::open(file);
    let opened = opened.map_err(|e| Failure::failed(format!("cannot open {file}"), e))?;
    Ok(Box::new(opened))
}

/// Shows the matcher all flows of a file; what is wrong with its lines is told when they are printed.
fn learn(file: &str, matcher: &Matcher) -> Result<(), Failure> {
    let mut lines = Lines::new(open(file)?);
    while let Some((_, line)) = lines.next(file)? {
        if let Ok(GetFlowsResponse {
            response_types: Some(ResponseTypes::Flow(flow)),
            ..
        }) = parse(line.trim_ascii())
        {
            matcher.learn(&flow);
        }
    }
    Ok(())
}

/// Lines of a file, of bounded length.
pub(in crate::cli) struct Lines<R> {
    input: BufReader<R>,
    number: u64,
    line: Vec<u8>,
}

impl<R: Read> Lines<R> {
    pub(in crate::cli) fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(READ_BYTES, input),
            number: 0,
            line: Vec::new(),
        }
    }

    /// The next line and its number.
    pub(in crate::cli) fn next(&mut self, file: &str) -> Result<Option<(u64, &[u8])>, Failure> {
        self.line.clear();
        let failed = |error| Failure::failed(format!("cannot read {file}"), error);
        let mut bounded = (&mut self.input).take(LINE_BYTES);
        let read = bounded.read_until(b'\n', &mut self.line).map_err(failed)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if bounded.limit() == 0 && !self.line.ends_with(b"\n") {
            return Err(Failure::failed(
                format!("cannot read {file}"),
                format!("line {} is longer than {LINE_BYTES} bytes", self.number),
            )
            .advise("is this a file of JSON lines, one flow each?"));
        }
        Ok(Some((self.number, &self.line)))
    }
}

/// Reads a response, or a flow without the response around it.
pub(in crate::cli) fn parse(line: &[u8]) -> Result<GetFlowsResponse, serde_json::Error> {
    let response: Result<GetFlowsResponse, _> = serde_json::from_slice(line);
    match response {
        Ok(response) if response.response_types.is_some() => Ok(response),
        other => match serde_json::from_slice::<Flow>(line) {
            Ok(flow) if flow.verdict != 0 || flow.ip.is_some() || flow.event_type.is_some() => {
                Ok(GetFlowsResponse {
                    node_name: flow.node_name.clone(),
                    time: flow.time,
                    response_types: Some(ResponseTypes::Flow(flow)),
                })
            }
            _ => other,
        },
    }
}

/// What of the file is printed: everything that passes, the first, or the last of it.
pub(in crate::cli) struct Selection<'r> {
    request: &'r GetFlowsRequest,
    matcher: &'r Matcher,
    seen: u64,
    /// The last flows, and what came between them.
    kept: VecDeque<GetFlowsResponse>,
}

impl<'r> Selection<'r> {
    pub(in crate::cli) fn new(request: &'r GetFlowsRequest, matcher: &'r Matcher) -> Self {
        Self {
            request,
            matcher,
            seen: 0,
            kept: VecDeque::new(),
        }
    }

    /// Takes a response; true if no further one can be selected.
    pub(in crate::cli) fn take<W: Write, E: Write>(
        &mut self,
        response: GetFlowsResponse,
        printer: &mut Printer<W, E>,
    ) -> Result<bool, Failure> {
        let is_flow = matches!(response.response_types, Some(ResponseTypes::Flow(_)));
        if !self.passes(&response) {
            return Ok(false);
        }
        let number = self.request.number;
        // From a point in time on, a number counts forward, as on a server.
        let forward = self.request.first || self.request.since.is_some();
        if number == 0 || number == u64::MAX || forward {
            printer.flows(&response)?;
            self.seen += u64::from(is_flow);
            return Ok(forward && number != 0 && self.seen >= number);
        }
        self.kept.push_back(response);
        self.seen += u64::from(is_flow);
        while self.seen > number {
            let oldest = self.kept.pop_front();
            let flow =
                oldest.is_some_and(|r| matches!(r.response_types, Some(ResponseTypes::Flow(_))));
            self.seen -= u64::from(flow);
        }
        Ok(false)
    }

    fn passes(&self, response: &GetFlowsResponse) -> bool {
        let key = |time: &proto::Timestamp| (time.seconds, time.nanos);
        let since = self.request.since.as_ref().map(key);
        let until = self.request.until.as_ref().map(key);
        let within = |time: Option<_>| {
            since.is_none_or(|since| time >= Some(since))
                && until.is_none_or(|until| time <= Some(until))
        };
        match &response.response_types {
            Some(ResponseTypes::Flow(flow)) => {
                within(flow.time.as_ref().map(key)) && self.matcher.passes(flow)
            }
            // How much was lost says nothing about the flows that match.
            _ => within(response.time.as_ref().map(key)) && !self.matcher.is_selective(),
        }
    }

    pub(in crate::cli) fn finish<W: Write, E: Write>(
        self,
        printer: &mut Printer<W, E>,
    ) -> Result<(), Failure> {
        for response in &self.kept {
            printer.flows(response)?;
        }
        Ok(())
    }
}
