//! Who says which agents there are.

mod kubernetes;
mod listed;
mod notified;

use std::time::Duration;

use tokio::sync::watch;

use crate::server::Peers;

pub use kubernetes::Kubernetes;
pub use listed::{File, ListError, Listed};
pub use notified::Notified;

/// Agents, as far as they are known.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Those that there are.
    pub peers: Peers,
    /// Whether somebody would tell of a change.
    pub is_current: bool,
}

/// Says which agents there are.
#[tonic::async_trait]
pub trait Source: Send {
    /// Keeps `known` true for ever; it is dropped when nobody wants to know any more.
    async fn follow(self: Box<Self>, known: watch::Sender<Known>);
}

/// A first attempt to ask again comes after this time.
const FIRST_RETRY: Duration = Duration::from_millis(250);
