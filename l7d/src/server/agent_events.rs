//! The answer to `GetAgentEvents`.

use futures_util::stream::{self, Stream};
use proto::observer::GetAgentEventsResponse;
use tonic::Status;

use crate::flow::agent_events::AgentEventReader;
use crate::flow::view::{agent_event, timestamp};

/// What a reader finds, as responses of this node.
pub(super) fn answer(
    reader: AgentEventReader,
    node_name: String,
) -> impl Stream<Item = Result<GetAgentEventsResponse, Status>> + Send {
    stream::unfold((reader, node_name), |(mut reader, node_name)| async move {
        let (time, event) = reader.next().await?;
        let response = GetAgentEventsResponse {
            agent_event: Some(agent_event(&event)),
            node_name: node_name.clone(),
            time: Some(timestamp(time)),
        };
        Some((Ok(response), (reader, node_name)))
    })
}
