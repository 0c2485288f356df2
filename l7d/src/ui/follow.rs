//! Flows as they come, and again after the server was away.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proto::observer::get_flows_response::ResponseTypes;
use proto::observer::observer_client::ObserverClient;
use proto::observer::{GetFlowsRequest, GetFlowsResponse, ServerStatusRequest};
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::Source;
use super::model::Model;
use crate::clock::Timestamp;

/// The largest answer a server may send.
const MESSAGE_BYTES: usize = 64 << 20;
/// Flows of the past that are asked for first.
const BACKLOG: u64 = 100_000;
/// How long to wait before the server is asked again, at first and at most.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MOST: Duration = Duration::from_secs(10);
/// How often its status is asked for.
const STATUS: Duration = Duration::from_secs(5);

/// Follows the server's flows until `stop` tells to end.
pub(super) async fn follow(
    source: Source,
    model: Arc<Mutex<Model>>,
    mut stop: watch::Receiver<bool>,
) {
    let work = async {
        tokio::join!(flows(&source, &model), statuses(&source, &model));
    };
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

fn client(source: &Source) -> ObserverClient<Channel> {
    ObserverClient::new(source.channel.clone()).max_decoding_message_size(MESSAGE_BYTES)
}

fn request<T>(source: &Source, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(value) = &source.authorization {
        request
            .metadata_mut()
            .insert("authorization", value.clone());
    }
    request
}

async fn flows(source: &Source, model: &Mutex<Model>) {
    let mut pause = PAUSE;
    let mut latest: Option<Timestamp> = None;
    loop {
        let before = latest;
        let error = stream(source, model, &mut latest).await;
        let text = error.map_or_else(
            |status| format!("{}: {}", status.code(), status.message()),
            |()| "the server has ended the stream".to_owned(),
        );
        model.lock().disconnected(text);
        pause = if latest == before {
            (pause * 2).min(PAUSE_MOST)
        } else {
            PAUSE
        };
        tokio::time::sleep(pause).await;
    }
}

/// Takes flows until the stream ends.
async fn stream(
    source: &Source,
    model: &Mutex<Model>,
    latest: &mut Option<Timestamp>,
) -> Result<(), Status> {
    // What has been told is not told again.
    let since = latest.map(|time| crate::flow::view::timestamp(Timestamp(time.0 + 1)));
    let asked = GetFlowsRequest {
        number: if since.is_none() { BACKLOG } else { 0 },
        follow: true,
        since,
        ..GetFlowsRequest::default()
    };
    let answer = client(source).get_flows(request(source, asked)).await?;
    let mut flows = answer.into_inner();
    model.lock().connected();
    while let Some(response) = flows.message().await? {
        take(response, model, latest);
    }
    Ok(())
}

fn take(response: GetFlowsResponse, model: &Mutex<Model>, latest: &mut Option<Timestamp>) {
    match response.response_types {
        Some(ResponseTypes::Flow(flow)) => {
            let time = model.lock().take(&flow);
            *latest = (*latest).max(Some(time));
        }
        Some(ResponseTypes::LostEvents(lost)) => model.lock().lose(lost.num_events_lost),
        Some(ResponseTypes::NodeStatus(status)) => model.lock().nodes(&status),
        None => {}
    }
}

async fn statuses(source: &Source, model: &Mutex<Model>) {
    loop {
        let asked = request(source, ServerStatusRequest::default());
        let asked =
            tokio::time::timeout(STATUS, async { client(source).server_status(asked).await });
        if let Ok(Ok(status)) = asked.await {
            model.lock().status(&status.into_inner());
        }
        tokio::time::sleep(STATUS).await;
    }
}
