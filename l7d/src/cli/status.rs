//! `l7d status`: whether a server is well, and what it holds.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use proto::observer::ServerStatusRequest;
use tonic::metadata::MetadataValue;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::agent_status;
use super::failure::Failure;
use super::observe::args::{Color, Output};
use super::server::{Server, ServerFlags};
use crate::print::status::{self, Status};
use crate::print::style::Style;
use crate::server::{AgentStatus, STATUS_HEADER};

/// The name under which servers of the Hubble API say how they are.
const HEALTH_NAME: &str = "hubble.server.Observer";

/// Arguments of `l7d status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  l7d status                                   the agent of this node
  l7d status --server localhost:4245           a relay
  l7d status -o json | jq .num_flows           for scripts

Exit code 0 says that the server is well, 1 that it is not or cannot be reached.")]
pub struct StatusArgs {
    /// Form of the output
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        default_value = "compact"
    )]
    #[arg(help_heading = "Formatting")]
    pub output: Output,
    /// Colours (of losses)
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    #[arg(help_heading = "Formatting")]
    pub color: Color,
    /// Which server.
    #[command(flatten)]
    pub server: ServerFlags,
}

/// Runs the command.
pub async fn run(args: &StatusArgs) -> Result<(), Failure> {
    let server = args.server.settle(|name| std::env::var(name).ok())?;
    let (status, result) = ask(&server).await?;
    let terminal = io::stdout().is_terminal();
    let style = Style {
        form: args.output.form(),
        color: args.color.is_on(terminal, |name| std::env::var(name).ok()),
        ..Style::default()
    };
    status::write(&mut io::stdout().lock(), style, &status)?;
    result
}

/// A server's version, and what it tells of itself if it is an l7d agent.
pub(super) async fn told(server: &Server) -> Result<(String, Option<AgentStatus>), Failure> {
    let (status, result) = ask(server).await?;
    result?;
    let version = status.response.map(|response| response.version);
    Ok((version.unwrap_or_default(), status.agent))
}

async fn ask(server: &Server) -> Result<(Status, Result<(), Failure>), Failure> {
    let timeout = server.request_timeout();
    let mut status = Status {
        server: server.shown.clone(),
        ..Status::default()
    };
    let health = health(server, timeout).await?;
    if health != ServingStatus::Serving {
        let name = match health {
            ServingStatus::NotServing => "NOT_SERVING",
            ServingStatus::ServiceUnknown => "SERVICE_UNKNOWN",
            ServingStatus::Unknown | ServingStatus::Serving => "UNKNOWN",
        };
        status.health = format!("Unavailable: {name}");
        let failure = Failure::failed(format!("the server at {}", server.shown), "not healthy")
            .advise("a relay is healthy while it reaches an agent; see its log");
        return Ok((status, Err(failure)));
    }
    "Ok".clone_into(&mut status.health);
    let mut observer = server.observer().await?;
    let mut request = tonic::Request::new(ServerStatusRequest {});
    request.set_timeout(timeout);
    let wanted = MetadataValue::from_static("wanted");
    request.metadata_mut().insert(STATUS_HEADER, wanted);
    let response = observer.server_status(request).await;
    let response = response.map_err(|status| server.refused("the request for the status", &status));
    match response {
        Ok(response) => {
            let header = response.metadata().get(STATUS_HEADER);
            status.agent = agent_status::read(header.and_then(|value| value.to_str().ok()));
            status.sections = status
                .agent
                .as_ref()
                .map_or_else(Vec::new, agent_status::sections);
            status.response = Some(response.into_inner());
            Ok((status, Ok(())))
        }
        Err(failure) => Ok((status, Err(failure))),
    }
}

async fn health(server: &Server, timeout: Duration) -> Result<ServingStatus, Failure> {
    let channel = server.connect().await?;
    let mut client = HealthClient::with_interceptor(channel, server.credentials()?);
    let mut request = tonic::Request::new(HealthCheckRequest {
        service: HEALTH_NAME.to_owned(),
    });
    request.set_timeout(timeout);
    let response = client.check(request).await;
    let response = response.map_err(|status| server.refused("the health check", &status))?;
    Ok(response.into_inner().status())
}
