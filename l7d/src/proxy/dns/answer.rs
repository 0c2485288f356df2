//! What is done with answers, over UDP and TCP alike: made here to refuse, or learnt from.

use std::sync::atomic::Ordering;
use std::time::Duration;

use parsers::dns::{ExtendedError, Message, Refusal, refuse};
use tokio::sync::oneshot;

use crate::proxy::worker::Worker;
use crate::proxy::{Directory, Learnt};
use crate::session::{Answered, addresses_told};

/// How long an answer waits for policies to learn its addresses, at most.
const LEARNING: Duration = Duration::from_millis(100);

/// Room for a refusal: header, the longest question, OPT with a cookie and a reason.
const REFUSAL_BYTES: usize = 512;

/// Refuses a query: the answer, or nothing where there can be none (it is no message, or a response).
pub(in crate::proxy) fn refuse_query(worker: &Worker, query: &[u8]) -> Option<Box<[u8]>> {
    worker.stats.refused.fetch_add(1, Ordering::Relaxed);
    let refusal = Refusal {
        rcode: worker.settings.dns_refusal,
        reason: Some(ExtendedError {
            info: ExtendedError::PROHIBITED,
            text: "denied by network policy",
        }),
    };
    let mut room = [0; REFUSAL_BYTES];
    let length = refuse(query, &refusal, &mut room).ok()?;
    room.get(..length).map(Box::from)
}

/// Learns the addresses of the name that was asked for: from answers to what was asked through here,
/// and from nothing else. Gives what the answer has to wait for, if for anything.
pub(in crate::proxy) fn learn_from(
    directory: &dyn Directory,
    answered: &Answered,
    message: &Message<'_>,
) -> Option<oneshot::Receiver<()>> {
    let client = &answered.ends.client;
    let learnt = addresses_told(message, |name, answers| {
        directory.learn(client, name, answers)
    });
    match learnt {
        Some(Learnt::Pending(learning)) => Some(learning),
        Some(Learnt::Known) | None => None,
    }
}

/// Waits until policies know the addresses of an answer, but not for long: an agent that is busy must
/// not keep a client without its answer.
pub(in crate::proxy) async fn wait_until_learnt(learning: oneshot::Receiver<()>) {
    if tokio::time::timeout(LEARNING, learning).await.is_err() {
        tracing::warn!("an answer goes on before policies know its addresses");
    }
}
