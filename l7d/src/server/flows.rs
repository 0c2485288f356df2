//! The answer to `GetFlows`: what a reader finds, and what is lost meanwhile.
//!
//! There is no queue between the ring and the client's connection: the client's own pace moves its
//! reader, which falls behind alone. What is lost is told now and then, and before the answer ends.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream};
use prost::Message as _;
use proto::encoded::Encoded;
use proto::flow::LostEventSource;
use proto::observer::GetFlowsResponse;
use proto::observer::get_flows_response::ResponseTypes;
use tonic::Status;

use super::encoding::Form;
use super::{Sources, Untold};
use crate::clock::Timestamp;
use crate::flow::reader::{Next, Reader};
use crate::flow::view::timestamp;
use crate::record::Place;

/// A reader that has just found much waits so long for more, instead of being woken for each record.
const GATHER: Duration = Duration::from_millis(2);
/// So many records since it last waited are much.
const MUCH: u32 = 8;

/// The state of an answer.
pub(super) struct Answer {
    sources: Sources,
    form: Arc<Form>,
    reader: Reader,
    untold: Untold,
    /// Records since it last waited.
    found: u32,
}

impl Answer {
    /// What `reader` finds, in this form; who follows is told of losses on the way to the ring as well.
    pub(super) fn new(
        sources: Sources,
        form: Arc<Form>,
        reader: Reader,
        is_following: bool,
    ) -> Self {
        let losses = is_following.then(|| sources.ring.losses().follow());
        Self {
            sources,
            form,
            reader,
            untold: Untold::new(losses),
            found: 0,
        }
    }

    /// As a stream of responses.
    pub(super) fn stream(self) -> impl Stream<Item = Result<Encoded, Status>> + Send {
        stream::unfold(self, |mut answer| async move {
            let response = answer.next().await?;
            Some((Ok(response), answer))
        })
    }

    async fn next(&mut self) -> Option<Encoded> {
        loop {
            if self.untold.due().is_some_and(|due| due.is_zero())
                && let Some(response) = self.tell()
            {
                return Some(response);
            }
            match self.reader.next(&self.sources.ring) {
                Next::Record(record) => {
                    self.found += 1;
                    let position = self.reader.position() - 1;
                    return Some(self.form.response(position, &record));
                }
                Next::Lost(count) => self.untold.note_overtaken(count),
                Next::Pause => tokio::task::yield_now().await,
                Next::Wait => self.wait().await,
                Next::End => return self.tell(),
            }
        }
    }

    /// Waits for records, for losses, or for the time to tell of some.
    async fn wait(&mut self) {
        let was_busy = std::mem::take(&mut self.found) >= MUCH;
        if was_busy {
            tokio::time::sleep(GATHER).await;
            return;
        }
        let records = self.sources.ring.wait_for(self.reader.position());
        let due = self.untold.due();
        let is_news = tokio::select! {
            () = records => false,
            () = self.untold.changed() => true,
            () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => false,
        };
        if is_news {
            self.untold.look();
        }
    }

    /// The next loss that was not told.
    fn tell(&mut self) -> Option<Encoded> {
        let event = self.untold.tell()?;
        let response = GetFlowsResponse {
            response_types: Some(ResponseTypes::LostEvents(event)),
            node_name: self.sources.node.name.clone(),
            time: Some(timestamp(Timestamp::now())),
        };
        Some(Encoded(response.encode_to_vec().into()))
    }
}

/// What Hubble calls a place: its ring of perf events is where the kernel's records come from, its queue
/// is what stands between that and the flows.
pub(crate) fn source(place: Place) -> LostEventSource {
    match place {
        Place::KernelRing | Place::TapRing => LostEventSource::PerfEventRingBuffer,
        Place::Clients => LostEventSource::HubbleRingBuffer,
        Place::Conntrack
        | Place::Datagrams
        | Place::Decode
        | Place::Drops
        | Place::Exports
        | Place::FlowRing
        | Place::Series
        | Place::TapBytes
        | Place::TapConnections => LostEventSource::ObserverEventsQueue,
    }
}
