//! The verdicts that a policy would have given: what an enforcing relay asks before it acts, a relay
//! that only looks and a replay ask to tell.

use std::sync::Arc;

use parsers::dns::Message;
use parsers::tls::ClientHello;

use super::Ends;
use crate::exchange::Asked;
use crate::record::{self, Direction, L4, Outcome, PolicyRef, Verdict};

/// Judges requests that have gone on already.
pub trait Verdicts {
    /// The verdict on a request; none where no policy is about it.
    fn of_request(
        &self,
        ends: &Ends,
        asked: &Asked<'_>,
        headers: &dyn policy_l7::Headers,
    ) -> Option<RequestVerdict>;

    /// The verdict on a TLS connection, by the name in its `ClientHello`; none where no policy is
    /// about it.
    fn of_hello(&self, ends: &Ends, hello: &ClientHello) -> Option<RequestVerdict>;

    /// The verdict on a DNS query; none where no policy is about it.
    fn of_query(&self, ends: &Ends, l4: L4, query: &Message<'_>) -> Option<RequestVerdict>;
}

/// A verdict on a request, a query, or a connection by the name that it asks for.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct RequestVerdict {
    /// Forwarded, dropped or audit.
    pub verdict: Verdict,
    /// Passed, or why not.
    pub outcome: Outcome,
    /// From whose view it was judged, where that is another than the connection's.
    pub direction: Option<Direction>,
    /// The rule that came nearest, of a denial; what was changed, of what passed.
    pub detail: String,
    /// The policies that decided.
    pub policies: Arc<[PolicyRef]>,
}

impl RequestVerdict {
    /// Nobody was asked.
    pub fn unjudged() -> Self {
        Self {
            verdict: Verdict::Forwarded,
            outcome: Outcome::Passed,
            direction: None,
            detail: String::new(),
            policies: record::no_policies(),
        }
    }

    /// It does not go on, for a reason that is not policy's.
    pub fn refused(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Dropped,
            outcome,
            detail: detail.into(),
            ..Self::unjudged()
        }
    }
}
