//! The Peer service: which agents there are, and every change of that.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream;
use proto::peer::peer_server;
use proto::peer::{ChangeNotification, NotifyRequest};
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::Sources;
use super::peers::Peers;

pub(super) struct Peer {
    peers: watch::Receiver<Arc<Peers>>,
}

impl Peer {
    pub(super) fn new(sources: &Sources) -> Self {
        Self {
            peers: sources.peers.clone(),
        }
    }
}

#[tonic::async_trait]
impl peer_server::Peer for Peer {
    type NotifyStream = Pin<Box<dyn Stream<Item = Result<ChangeNotification, Status>> + Send>>;

    /// Everybody who is known, then changes for ever, since a relay takes the end for a failure. Who
    /// reads slowly is told the difference to what it knows, so that nothing queues up for it.
    async fn notify(
        &self,
        _request: Request<NotifyRequest>,
    ) -> Result<Response<Self::NotifyStream>, Status> {
        let mut peers = self.peers.clone();
        peers.mark_changed();
        let state = Subscriber {
            peers,
            known: Arc::default(),
            untold: VecDeque::new(),
        };
        let changes = stream::unfold(state, |mut state| async {
            let change = state.next().await;
            Some((Ok(change), state))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}

/// Somebody who is told of changes.
struct Subscriber {
    peers: watch::Receiver<Arc<Peers>>,
    /// Peers, when `untold` is told.
    known: Arc<Peers>,
    untold: VecDeque<ChangeNotification>,
}

impl Subscriber {
    async fn next(&mut self) -> ChangeNotification {
        loop {
            if let Some(change) = self.untold.pop_front() {
                return change;
            }
            if self.peers.changed().await.is_err() {
                // Nothing will change any more.
                std::future::pending::<()>().await;
            }
            let peers = Arc::clone(&self.peers.borrow_and_update());
            self.untold.extend(peers.changes_from(&self.known));
            self.known = peers;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::StreamExt as _;
    use proto::peer::peer_server::Peer as _;

    use super::super::peers::Peer as Address;
    use super::*;

    #[tokio::test]
    async fn everybody_is_told_first_and_then_what_changes() {
        let peer = |address: &str| Address {
            address: address.to_owned(),
            tls_name: None,
        };
        let mut known = Peers::only("a", peer("1:1"));
        known.insert("b".to_owned(), peer("2:1"));
        let (teller, peers) = watch::channel(Arc::new(known.clone()));
        let service = Peer { peers };
        let response = service.notify(Request::new(NotifyRequest {})).await;
        let mut stream = response.expect("a stream").into_inner();
        let mut told = || {
            let change = stream
                .next()
                .now_or_never()?
                .expect("no end")
                .expect("a change");
            Some(format!(
                "{} {} {}",
                change.r#type().as_str_name(),
                change.name,
                change.address
            ))
        };
        assert_eq!(told().as_deref(), Some("PEER_ADDED a 1:1"));
        assert_eq!(told().as_deref(), Some("PEER_ADDED b 2:1"));
        assert_eq!(told(), None);
        known.insert("b".to_owned(), peer("2:2"));
        teller.send_replace(Arc::new(known.clone()));
        known.retain(|name| name == "b");
        teller.send_replace(Arc::new(known));
        assert_eq!(told().as_deref(), Some("PEER_DELETED a 1:1"));
        assert_eq!(told().as_deref(), Some("PEER_UPDATED b 2:2"));
        drop(teller);
        assert_eq!(told(), None, "the stream stays open");
    }
}
