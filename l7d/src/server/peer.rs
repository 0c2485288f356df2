//! The Peer service: an agent knows of itself.

use std::pin::Pin;

use proto::peer::peer_server;
use proto::peer::{ChangeNotification, ChangeNotificationType, NotifyRequest};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::Sources;

pub(super) struct Peer {
    sources: Sources,
}

impl Peer {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources }
    }
}

#[tonic::async_trait]
impl peer_server::Peer for Peer {
    type NotifyStream = Pin<Box<dyn Stream<Item = Result<ChangeNotification, Status>> + Send>>;

    /// One notification about this node; then the stream stays open, since a relay takes its end
    /// for a failure.
    async fn notify(
        &self,
        _request: Request<NotifyRequest>,
    ) -> Result<Response<Self::NotifyStream>, Status> {
        let own = ChangeNotification {
            name: self.sources.node.name.clone(),
            address: self.sources.address.clone(),
            r#type: ChangeNotificationType::PeerAdded.into(),
            tls: None,
        };
        let stream = tokio_stream::once(Ok(own)).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(stream)))
    }
}
