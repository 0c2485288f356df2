//! The current policy, as a live pointer.
//!
//! [`Live`] holds the compiled policy set of this moment. A proxied connection asks it once which
//! [`Door`] it takes, and then, if enforced, asks its [`Judge`] for every request: each call reads
//! the pointer anew, so a keep-alive connection follows a policy change at its next request.
//!
//! An allowed request comes back as a [`Permit`]: it has private fields, cannot be cloned, and is
//! the only thing the enforcing relay accepts as a reason to move a request's bytes.

mod audit;
mod connection;
mod hello;
mod judge;
mod live;
mod objects;
mod query;
mod readings;
mod store;
mod tally;

pub use audit::Audit;
pub use connection::ConnectionJudged;
pub use judge::{Denial, Door, Expected, Judge, Permit};
pub use live::{Live, State};
pub use objects::PolicyObjects;
pub use readings::Request;
pub use store::{LoadReport, PolicyStore};
pub use tally::{AuditedPolicy, Peer, PolicyName, RuleTally, Tally, WouldDeny};
