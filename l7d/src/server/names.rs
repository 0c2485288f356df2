//! The Agent service: what an agent knows beyond the Hubble API.

use std::net::IpAddr;
use std::pin::Pin;

use proto::agent::{AuditedPolicy, GetAuditsRequest, GetNamesRequest, Name, agent_server};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::Sources;
use super::audits::audited_policy;
use crate::clock::Timestamp;
use crate::flow::view::timestamp;

/// A name that DNS told somebody, and what policies make of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownName {
    /// Who asked.
    pub client: IpAddr,
    /// The pod that has this address, as `namespace/name`; may be empty.
    pub client_pod: String,
    /// For what: in lower case without the last dot.
    pub name: String,
    /// What the answer was.
    pub address: IpAddr,
    /// Until when it holds.
    pub until: Timestamp,
    /// The `toFQDNs` that mean any of the address's names.
    pub selectors: Vec<String>,
    /// Identity of the address.
    pub identity: u32,
}

pub(super) struct Agent {
    sources: Sources,
}

impl Agent {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources }
    }
}

#[tonic::async_trait]
impl agent_server::Agent for Agent {
    type GetNamesStream = Pin<Box<dyn Stream<Item = Result<Name, Status>> + Send>>;

    async fn get_names(
        &self,
        _request: Request<GetNamesRequest>,
    ) -> Result<Response<Self::GetNamesStream>, Status> {
        let names = (self.sources.names)().into_iter();
        let stream = tokio_stream::iter(names.map(|known| Ok(message(known))));
        Ok(Response::new(Box::pin(stream)))
    }

    type GetAuditsStream = Pin<Box<dyn Stream<Item = Result<AuditedPolicy, Status>> + Send>>;

    async fn get_audits(
        &self,
        _request: Request<GetAuditsRequest>,
    ) -> Result<Response<Self::GetAuditsStream>, Status> {
        let audits = (self.sources.audits)().into_iter();
        let stream = tokio_stream::iter(audits.map(|audited| Ok(audited_policy(audited))));
        Ok(Response::new(Box::pin(stream)))
    }
}

fn message(known: KnownName) -> Name {
    Name {
        client: known.client.to_string(),
        client_pod: known.client_pod,
        name: known.name,
        address: known.address.to_string(),
        until: Some(timestamp(known.until)),
        selectors: known.selectors,
        identity: known.identity,
    }
}
