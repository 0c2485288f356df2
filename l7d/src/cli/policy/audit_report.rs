//! `l7d policy audit-report`: which audited policies have had nothing to deny, and what the others
//! would have denied.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write as _};

use clap::Args;
use proto::agent::agent_client::AgentClient;
use proto::agent::{AuditedPolicy, GetAuditsRequest};
use proto::flow::{Endpoint, Flow, Verdict, layer4};
use tokio_stream::StreamExt as _;

use crate::cli::failure::Failure;
use crate::cli::list::{ListOutput, json};
use crate::cli::observe::input::{Lines, parse};
use crate::cli::server::ServerFlags;
use crate::clock::Timestamp;
use crate::policy::{self, Peer, PolicyName, Tally};
use crate::print::audit;
use crate::server::audited_policy;

const EXAMPLES: &str = "\
Examples:
  l7d policy audit-report                       the agent of this node
  l7d policy audit-report -o wide               with who would have been denied what
  l7d policy audit-report --flows flows.json    recorded flows (l7d observe -o jsonpb --verdict AUDIT)

A policy is audited with the annotation `policy.l7d.io/mode: audit`, or by `policies.audit` in the
agent's configuration. One that has had nothing to deny for long enough is safe to enforce.";

/// Arguments of `l7d policy audit-report`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AuditReportArgs {
    /// Count recorded flows with verdict AUDIT instead of asking an agent; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub flows: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "table")]
    #[arg(help_heading = "Formatting")]
    pub output: ListOutput,
    /// Which server.
    #[command(flatten)]
    pub server: ServerFlags,
}

pub(super) async fn run(args: &AuditReportArgs) -> Result<(), Failure> {
    let policies = match &args.flows {
        Some(file) => of_flows(file)?,
        None => of_agent(args).await?,
    };
    let mut out = io::stdout().lock();
    match args.output {
        ListOutput::Json => json(&mut out, &policies)?,
        form => audit::report(&mut out, form.columns(), &policies)?,
    }
    Ok(())
}

async fn of_agent(args: &AuditReportArgs) -> Result<Vec<AuditedPolicy>, Failure> {
    let server = args.server.settle(|name| std::env::var(name).ok())?;
    let refused = |status| server.refused("the request for audited policies", &status);
    let channel = server.connect().await?;
    let mut client = AgentClient::with_interceptor(channel, server.credentials()?);
    let mut request = tonic::Request::new(GetAuditsRequest {});
    request.set_timeout(server.request_timeout());
    let response = client.get_audits(request).await.map_err(refused)?;
    let mut stream = response.into_inner();
    let mut policies = Vec::new();
    while let Some(policy) = stream.next().await {
        policies.push(policy.map_err(refused)?);
    }
    Ok(policies)
}

/// Counts the flows of a file. Since when a policy is audited is not in them.
fn of_flows(file: &str) -> Result<Vec<AuditedPolicy>, Failure> {
    let input: Box<dyn Read> = if file == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(file).map_err(|e| Failure::failed(format!("cannot open {file}"), e))?)
    };
    let mut lines = Lines::new(input);
    let mut tallies: BTreeMap<PolicyName, Tally> = BTreeMap::new();
    while let Some((number, line)) = lines.next(file)? {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match parse(line) {
            Ok(response) => {
                if let Some(proto::observer::get_flows_response::ResponseTypes::Flow(flow)) =
                    response.response_types
                {
                    note(&mut tallies, &flow);
                }
            }
            Err(error) => {
                let mut err = io::stderr().lock();
                writeln!(err, "l7d: {file}:{number}: not a flow, skipped: {error}")?;
            }
        }
    }
    let audited = tallies.into_iter();
    Ok(audited
        .map(|(policy, tally)| {
            audited_policy(policy::AuditedPolicy {
                policy,
                since: None,
                tally,
            })
        })
        .collect())
}

fn note(tallies: &mut BTreeMap<PolicyName, Tally>, flow: &Flow) {
    if flow.verdict() != Verdict::Audit {
        return;
    }
    let rule = flow.extensions.as_ref().and_then(|more| more.text("rule"));
    let rule = rule.unwrap_or_default();
    for by in flow.ingress_denied_by.iter().chain(&flow.egress_denied_by) {
        let name = PolicyName {
            kind: by.kind.clone(),
            namespace: by.namespace.clone(),
            name: by.name.clone(),
        };
        let tally = tallies.entry(name).or_default();
        tally.note(&rule, time(flow), peer(flow));
    }
}

fn time(flow: &Flow) -> Timestamp {
    let time = flow.time.as_ref();
    let nanos = time.map_or(0, |time| {
        i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
    });
    Timestamp(u64::try_from(nanos).unwrap_or(0))
}

fn peer(flow: &Flow) -> Peer {
    let (source, destination) = flow
        .ip
        .as_ref()
        .map(|ip| (ip.source.clone(), ip.destination.clone()))
        .unwrap_or_default();
    let name = |endpoint: &Option<Endpoint>, address| match endpoint {
        Some(end) if !end.pod_name.is_empty() => format!("{}/{}", end.namespace, end.pod_name),
        Some(_) | None => address,
    };
    let port = match flow.l4.as_ref().and_then(|l4| l4.protocol.as_ref()) {
        Some(layer4::Protocol::Tcp(tcp)) => tcp.destination_port,
        Some(layer4::Protocol::Udp(udp)) => udp.destination_port,
        Some(layer4::Protocol::Sctp(sctp)) => sctp.destination_port,
        _ => 0,
    };
    Peer {
        source: name(&flow.source, source),
        destination: name(&flow.destination, destination),
        port: u16::try_from(port).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_flows_are_counted_by_policy_and_rule() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("flows.json");
        let flow = |verdict: &str, port: u16| {
            format!(
                r#"{{"flow":{{"time":"2026-01-02T03:04:05Z","verdict":"{verdict}","IP":{{"source":"10.0.0.1","destination":"10.0.0.2"}},"l4":{{"TCP":{{"source_port":9,"destination_port":{port}}}}},"source":{{"namespace":"shop","pod_name":"web"}},"ingress_denied_by":[{{"name":"api","namespace":"shop","kind":"CiliumNetworkPolicy"}}]}}}}"#
            )
        };
        let lines = [
            flow("AUDIT", 80),
            flow("AUDIT", 80),
            flow("AUDIT", 81),
            flow("DROPPED", 80),
        ];
        std::fs::write(&file, lines.join("\n")).expect("written");
        let policies = of_flows(&file.display().to_string()).expect("read");
        assert_eq!(policies.len(), 1);
        assert_eq!(
            (policies[0].name.as_str(), policies[0].would_deny),
            ("api", 3)
        );
        let peers = &policies[0].rules[0].peers;
        assert_eq!(
            (peers[0].source.as_str(), peers[0].port, peers[0].would_deny),
            ("shop/web", 80, 2)
        );
    }
}
