//! Agents that an agent tells of (`Peer.Notify`).

use std::sync::Arc;
use std::time::Duration;

use proto::peer::peer_client::PeerClient;
use proto::peer::{ChangeNotification, NotifyRequest};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Status, Streaming};

use super::{FIRST_RETRY, Known, Source};
use crate::backoff::Backoff;
use crate::relay::connection::{ConnectError, Connection, Connector};
use crate::server::{Peer, Peers};

/// Nobody says when all agents were told of. Who was not told of again so long after a new stream began
/// has gone meanwhile.
const RETELLING: Duration = Duration::from_secs(5);

/// An agent that is asked.
#[derive(Debug)]
pub struct Notified {
    /// Where it is, and the name in its certificate.
    pub service: Peer,
    /// Connects to it.
    pub connector: Arc<Connector>,
    /// The longest pause between attempts.
    pub retry: Duration,
}

/// Why a stream of changes ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{}", .0.message())]
    Status(#[from] Status),
    #[error("it has ended the stream")]
    Stream,
}

#[tonic::async_trait]
impl Source for Notified {
    async fn follow(self: Box<Self>, known: watch::Sender<Known>) {
        let mut backoff = Backoff::new(FIRST_RETRY.min(self.retry), self.retry);
        loop {
            let error = match self.ask().await {
                Ok((stream, _connection)) => {
                    backoff.reset();
                    listen(stream, &known).await
                }
                Err(error) => error,
            };
            known.send_modify(|known| known.is_current = false);
            let pause = backoff.pause();
            let service = &self.service.address;
            tracing::warn!(%service, %error, "the peer service is not there, next attempt in {pause:.1?}");
            tokio::time::sleep(pause).await;
        }
    }
}

impl Notified {
    /// The stream of changes, and what it comes by.
    async fn ask(&self) -> Result<(Streaming<ChangeNotification>, Connection), Ended> {
        let connection = self.connector.connect(&self.service).await?;
        let mut client = PeerClient::with_origin(connection.clone(), Connection::origin());
        let stream = client.notify(NotifyRequest {}).await?.into_inner();
        Ok((stream, connection))
    }
}

/// Follows changes until they end.
async fn listen(mut stream: Streaming<ChangeNotification>, known: &watch::Sender<Known>) -> Ended {
    let mut told = Peers::default();
    let retelling = Instant::now() + RETELLING;
    let mut has_retold = false;
    loop {
        let change = tokio::select! {
            change = stream.message() => change,
            () = tokio::time::sleep_until(retelling), if !has_retold => {
                has_retold = true;
                known.send_if_modified(|known| {
                    let has_changed = known.peers != told;
                    known.peers.retain(|name| told.get(name).is_some());
                    has_changed
                });
                continue;
            }
        };
        match change {
            Ok(Some(change)) => {
                let change_again = change.clone();
                if told.apply(change).is_none() {
                    tracing::debug!("a change of peers of a kind that is not known");
                }
                known.send_modify(|known| {
                    known.peers.apply(change_again);
                    known.is_current = true;
                });
            }
            Ok(None) => return Ended::Stream,
            Err(status) => return status.into(),
        }
    }
}
