//! What became of the agent's world: policies, endpoints, addresses.

use std::sync::Arc;

use ipnet::IpNet;

use super::{Endpoint, IdentityNumber};
use crate::clock::Timestamp;

/// A change that the agent has made, or seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEvent {
    /// The agent is ready.
    Started {
        /// When its process began.
        at: Timestamp,
    },
    /// A policy is new, or says something else than before.
    PolicyUpdated(PolicyChange),
    /// A policy is gone.
    PolicyDeleted(PolicyChange),
    /// An endpoint of this node is new.
    EndpointCreated(Arc<Endpoint>),
    /// An endpoint of this node is gone.
    EndpointDeleted(Arc<Endpoint>),
    /// The kernel has what holds for an endpoint now.
    EndpointRegenerated {
        /// The endpoint.
        endpoint: Arc<Endpoint>,
        /// What of it the kernel could not take; empty where it has all.
        error: String,
    },
    /// An address is new, or somebody else's.
    AddressUpserted(AddressChange),
    /// Nobody is known by an address any more.
    AddressDeleted(AddressChange),
}

/// What became of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyChange {
    /// Its derived labels and those of its own, sorted.
    pub labels: Vec<String>,
    /// Revision of the policies since.
    pub revision: u64,
    /// Rules that it has, or had where it is gone.
    pub rules: usize,
}

/// What became of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressChange {
    /// Address or prefix.
    pub prefix: IpNet,
    /// Whose it is, or was where it is gone.
    pub endpoint: Arc<Endpoint>,
    /// Whose it was before, where it was somebody's.
    pub former: Option<IdentityNumber>,
}
