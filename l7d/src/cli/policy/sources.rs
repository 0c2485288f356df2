//! Where flows come from that policies are held against: files, captures, a server.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use capture::{Merge, Reader};
use clap::Args;
use jiff::Timestamp;
use policy_l7::{Compiled, Objects};
use proto::observer::get_flows_response::ResponseTypes;
use proto::observer::{GetFlowsRequest, GetFlowsResponse};
use serde::Serialize;

use crate::cli::candidate::{self, Candidate, Names};
use crate::cli::failure::Failure;
use crate::cli::observe::args::Selectors;
use crate::cli::observe::input::Lines;
use crate::cli::observe::{request, stream};
use crate::cli::replay;
use crate::cli::server::ServerFlags;
use crate::replay::flowlog::{self, Line};
use crate::whatif::{Gather, Told};

/// Flags that say where flows come from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Flows")]
pub struct SourceFlags {
    /// Recorded flows: JSON lines of `hubble observe -o jsonpb`, of `l7d observe -o json` or of an
    /// exporter; - is standard input
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub flows: Vec<PathBuf>,
    /// Captures, as for `l7d replay`; --endpoints says who is who
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "endpoints")]
    pub pcap: Vec<PathBuf>,
    /// What a server has seen: see --server; --follow goes on until Ctrl-C
    #[arg(long)]
    pub live: bool,
    /// Who is there, where flows do not tell: files of endpoints, or Kubernetes objects as
    /// `kubectl get pods,ns -A -o yaml` prints them
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub endpoints: Vec<PathBuf>,
    /// Which of the server's flows.
    #[command(flatten)]
    pub selectors: Selectors,
    /// Which server.
    #[command(flatten)]
    pub server: ServerFlags,
}

/// What was read.
#[derive(Debug, Default, Serialize)]
pub(in crate::cli) struct ReadReport {
    /// Flows.
    flows: u64,
    /// Lines that hold something else: states of nodes, lost events.
    others: u64,
    /// Lines that are no flows.
    not_flows: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_not_flow: Option<String>,
}

impl ReadReport {
    /// One line for people.
    pub(in crate::cli) fn line(&self) -> String {
        let mut parts = vec![format!("{} flows read", self.flows)];
        if self.others > 0 {
            parts.push(format!("{} other events", self.others));
        }
        if let Some(first) = &self.first_not_flow {
            parts.push(format!("{} lines are no flows: {first}", self.not_flows));
        }
        parts.join(", ")
    }
}

/// Flows on their way into a [`Gather`].
pub(in crate::cli) struct Intake<'f> {
    pub(in crate::cli) gather: Gather,
    pub(in crate::cli) read: ReadReport,
    /// Called after each flow; hands on what was gathered when it is enough.
    after: &'f mut dyn FnMut(&mut Gather) -> Result<(), Failure>,
}

impl<'f> Intake<'f> {
    /// Nothing was read yet. Headers of these names are kept.
    pub(in crate::cli) fn new(
        flags: &SourceFlags,
        headers: impl IntoIterator<Item = String>,
        after: &'f mut dyn FnMut(&mut Gather) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let is_capture = !flags.pcap.is_empty();
        Ok(Self {
            gather: Gather::new(told(&flags.endpoints)?, headers, is_capture),
            read: ReadReport::default(),
            after,
        })
    }

    fn take(&mut self, line: &[u8], place: impl Fn() -> String) -> Result<(), Failure> {
        match flowlog::read(line) {
            Ok(Line::Flow(flow)) => {
                self.read.flows += 1;
                self.gather.take(&flow);
                (self.after)(&mut self.gather)?;
            }
            Ok(Line::Other) => self.read.others += 1,
            Err(error) => {
                self.read.not_flows += 1;
                self.read
                    .first_not_flow
                    .get_or_insert_with(|| format!("{}: {error}", place()));
            }
        }
        Ok(())
    }

    /// All flows have one form, that of `-o json`, so that they are read alike wherever they come from.
    fn take_response(&mut self, response: &GetFlowsResponse) -> Result<(), Failure> {
        let line = serde_json::to_vec(response)
            .map_err(|error| Failure::failed("a flow cannot be read", error))?;
        self.take(&line, String::new)
    }
}

impl SourceFlags {
    /// Reads all flows there are.
    pub(in crate::cli) fn feed(&self, intake: &mut Intake<'_>) -> Result<(), Failure> {
        let given = [!self.flows.is_empty(), !self.pcap.is_empty(), self.live];
        if given.iter().filter(|is_given| **is_given).count() != 1 {
            return Err(
                Failure::usage("one of --flows, --pcap and --live is needed").advise(
                    "record flows with `hubble observe --last 10000 -o jsonpb > flows.json`",
                ),
            );
        }
        if !self.live && self.selectors != Selectors::default() {
            return Err(Failure::usage(
                "--all, --first, --last, --since, --until and --follow go with --live",
            ));
        }
        if self.live {
            return crate::cli::block_on(self.ask(intake));
        }
        if !self.pcap.is_empty() {
            return self.replay(intake);
        }
        self.flows.iter().try_for_each(|file| lines(file, intake))
    }

    async fn ask(&self, intake: &mut Intake<'_>) -> Result<(), Failure> {
        let window = request::window(&self.selectors, Timestamp::now(), u64::MAX)?;
        let server = self.server.settle(|name| std::env::var(name).ok())?;
        let request = GetFlowsRequest {
            number: window.number,
            first: window.first,
            follow: window.follow,
            since: window.since,
            until: window.until,
            ..GetFlowsRequest::default()
        };
        stream::each_flow(&server, request, |response| intake.take_response(response)).await
    }

    fn replay(&self, intake: &mut Intake<'_>) -> Result<(), Failure> {
        let readers = self.pcap.iter().map(|file| Reader::open(file));
        let readers = readers
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Failure::failed("cannot read the capture", error))?;
        let names = Names::read(&self.endpoints, &[])?;
        let damage = replay::each_flow(&names, Merge::new(readers), |flow| {
            let response = GetFlowsResponse {
                response_types: Some(ResponseTypes::Flow(flow)),
                ..GetFlowsResponse::default()
            };
            intake.take_response(&response)
        })?;
        if damage.is_empty() {
            return Ok(());
        }
        Err(Failure::failed(
            "not everything could be read",
            damage.join("; "),
        ))
    }
}

fn lines(file: &PathBuf, intake: &mut Intake<'_>) -> Result<(), Failure> {
    let shown = file.display().to_string();
    let input: Box<dyn Read> = if shown == "-" {
        Box::new(io::stdin())
    } else {
        let opened = File::open(file);
        Box::new(opened.map_err(|e| Failure::failed(format!("cannot open {shown}"), e))?)
    };
    let mut lines = Lines::new(input);
    while let Some((number, line)) = lines.next(&shown)? {
        let line = line.trim_ascii();
        if !line.is_empty() {
            intake.take(line, || format!("{shown}:{number}"))?;
        }
    }
    Ok(())
}

fn told(endpoints: &[PathBuf]) -> Result<Told, Failure> {
    if endpoints.is_empty() {
        return Ok(Told::default());
    }
    let config = candidate::read_endpoints(endpoints)?;
    let known = Candidate::new(config, Objects::default())?;
    Ok(Told {
        table: Some(known.table(&Compiled::empty()).build()),
        named_ports: known.named_ports(),
    })
}
