//! One agent's part of an answer.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::Stream as _;
use prost::Message as _;
use prost::bytes::Bytes;
use proto::observer::GetFlowsRequest;
use tonic::codegen::http::HeaderName;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status, Streaming};

use super::{AGAIN, AGAIN_AFTER_REFUSAL, Answer, Asked, AskedState};
use crate::clock::Timestamp;
use crate::relay::connection::Connection;
use crate::relay::merge::{Moment, Pace, StreamId};
use crate::relay::raw::{self, Raw};
use crate::relay::{GET_FLOWS, MESSAGE_BYTES};

/// Headers of a connection of its own.
const OWN_HEADERS: [&str; 3] = ["content-type", "te", "user-agent"];
/// Items of a stream that are taken at a time.
const BATCH: usize = 64;

/// What a client wants.
pub(in crate::relay) struct Wanted {
    /// As it was asked.
    bytes: Bytes,
    /// What came with it, for agents that want credentials.
    metadata: MetadataMap,
    request: GetFlowsRequest,
}

impl Wanted {
    /// Reads a request.
    pub(in crate::relay) fn read(request: Request<Bytes>) -> Result<Self, Status> {
        let (metadata, _, bytes) = request.into_parts();
        let metadata = passing_on(metadata);
        let request = GetFlowsRequest::decode(bytes.clone())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        if request.first && request.follow {
            return Err(Status::invalid_argument(
                "first cannot be specified with follow",
            ));
        }
        Ok(Self {
            bytes,
            metadata,
            request,
        })
    }

    pub(super) fn is_following(&self) -> bool {
        self.request.follow
    }

    pub(super) fn has_until(&self) -> bool {
        self.request.until.is_some()
    }

    pub(super) fn pace(&self) -> Pace {
        if self.request.follow {
            Pace::Live {
                has_history: self.request.number > 0 || self.request.since.is_some(),
            }
        } else {
            Pace::Finite
        }
    }

    /// The request to an agent, and to one that has answered up to `last`.
    fn request(&self, last: Option<Timestamp>) -> Request<Bytes> {
        let bytes = last.map_or_else(
            || self.bytes.clone(),
            |last| raw::resumed(&self.bytes, last),
        );
        let mut request = Request::new(bytes);
        *request.metadata_mut() = self.metadata.clone();
        request
    }
}

/// What is for agents as well: not what client and relay have agreed on about their own connection.
fn passing_on(metadata: MetadataMap) -> MetadataMap {
    let mut headers = metadata.into_headers();
    let names: Vec<HeaderName> = headers.keys().cloned().collect();
    for name in names {
        let is_own = name.as_str().starts_with("grpc-") || OWN_HEADERS.contains(&name.as_str());
        if is_own {
            headers.remove(name);
        }
    }
    MetadataMap::from_headers(headers)
}

/// What has happened with an agent.
pub(super) enum Happened {
    /// It begins to answer.
    Opened(NodeStream),
    /// It does not.
    Refused {
        node: String,
        id: StreamId,
        status: Status,
    },
    /// It has said something, and perhaps all.
    Read {
        stream: NodeStream,
        items: Vec<(Option<Timestamp>, Bytes)>,
        end: Option<End>,
    },
    /// It broke off, and may be asked again.
    TimeToAsk(String),
}

/// How a stream ends.
pub(super) enum End {
    /// Everything was said.
    Done,
    /// An error: the agent's, or the connection's.
    Failed(Status),
}

/// An agent's answer.
pub(super) struct NodeStream {
    pub(super) node: String,
    pub(super) id: StreamId,
    streaming: Streaming<Bytes>,
}

impl NodeStream {
    /// Waits for something, and takes what came with it.
    pub(super) async fn read(mut self) -> Happened {
        let first = self.streaming.message().await;
        let mut items = Vec::new();
        let mut end = take(first, &mut items);
        // Nobody is to be woken: whoever waits next looks first.
        let mut context = Context::from_waker(Waker::noop());
        while end.is_none() && items.len() < BATCH {
            match Pin::new(&mut self.streaming).poll_next(&mut context) {
                Poll::Ready(next) => end = take(next.transpose(), &mut items),
                Poll::Pending => break,
            }
        }
        Happened::Read {
            stream: self,
            items,
            end,
        }
    }
}

/// Adds an item; what there is instead at the end.
fn take(
    message: Result<Option<Bytes>, Status>,
    items: &mut Vec<(Option<Timestamp>, Bytes)>,
) -> Option<End> {
    match message {
        Ok(Some(item)) => {
            items.push((raw::time(&item), item));
            None
        }
        Ok(None) => Some(End::Done),
        Err(status) => Some(End::Failed(status)),
    }
}

async fn open(
    node: String,
    id: StreamId,
    connection: Connection,
    request: Request<Bytes>,
) -> Happened {
    let mut client = tonic::client::Grpc::with_origin(connection, Connection::origin())
        .max_decoding_message_size(MESSAGE_BYTES);
    let path = PathAndQuery::from_static(GET_FLOWS);
    let opened = async {
        let ready = client.ready().await;
        ready.map_err(|error| Status::from_error(Box::new(error)))?;
        client.server_streaming(request, path, Raw).await
    };
    match opened.await {
        Ok(response) => Happened::Opened(NodeStream {
            node,
            id,
            streaming: response.into_inner(),
        }),
        Err(status) => Happened::Refused { node, id, status },
    }
}

impl Answer {
    /// Asks an agent for the first time, or for what came after what it has said.
    pub(super) fn ask(&mut self, node: String, connection: Connection) {
        let former = self.asked.get(&node);
        let last = former.and_then(|asked| asked.last);
        let id = match former {
            None => self.merge.join(Moment::now()),
            Some(_) => self.merge.rejoin(Moment::now()),
        };
        let asked = Asked {
            connection: connection.number(),
            state: AskedState::Open,
            last,
        };
        self.asked.insert(node.clone(), asked);
        let request = self.wanted.request(last);
        self.work
            .push(Box::pin(open(node, id, connection, request)));
    }

    /// A stream has ended: for good, or the agent is asked again.
    pub(super) fn note_end(&mut self, node: &str, id: StreamId, end: End) {
        self.merge.handle_end(id);
        let is_following = self.wanted.is_following();
        let again = match end {
            End::Done => (is_following && !self.wanted.has_until()).then_some(AGAIN),
            // A connection that broke is told of as a node that is not there.
            End::Failed(status) if is_transport(&status) && is_following => Some(AGAIN),
            End::Failed(status) => {
                self.telling.error(node, status.message());
                (is_following && is_passing(status.code())).then_some(AGAIN_AFTER_REFUSAL)
            }
        };
        if let Some(asked) = self.asked.get_mut(node) {
            asked.state = match again {
                Some(_) => AskedState::Broken,
                None => AskedState::Over,
            };
        }
        if let Some(pause) = again {
            let node = node.to_owned();
            self.work.push(Box::pin(async move {
                tokio::time::sleep(pause).await;
                Happened::TimeToAsk(node)
            }));
        }
    }
}

/// Whether it was not the agent that said so.
fn is_transport(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// Whether the same request may succeed later.
fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Aborted
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Internal
            | Code::ResourceExhausted
            | Code::Unavailable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_passed_on_and_what_is_of_the_connection_is_not() {
        let mut request = Request::new(Bytes::new());
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("grpc-accept-encoding", "gzip"),
            ("user-agent", "cli"),
        ] {
            request
                .metadata_mut()
                .insert(name, value.parse().expect("a value"));
        }
        let wanted = Wanted::read(request).expect("a request");
        let passed = wanted.request(None).into_parts().0.into_headers();
        assert_eq!(passed.len(), 1);
        assert_eq!(passed["authorization"], "Bearer x");
    }

    #[test]
    fn first_and_follow_contradict_each_other() {
        let request = GetFlowsRequest {
            first: true,
            follow: true,
            ..GetFlowsRequest::default()
        };
        let refused = Wanted::read(Request::new(request.encode_to_vec().into()));
        let status = refused.err().expect("refused");
        assert_eq!(status.message(), "first cannot be specified with follow");
    }
}
