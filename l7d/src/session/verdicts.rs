//! The verdicts that a policy would have given, for captures: what a live relay asks before it acts,
//! a replay asks to tell.

use std::sync::Arc;

use parsers::dns::Message;

use super::Ends;
use crate::exchange::Asked;
use crate::record::{self, Direction, L4, Outcome, PolicyRef, Verdict};

/// Judges requests that have long been answered.
pub trait Verdicts {
    /// The verdict on a request; none where no policy is about it.
    fn of_request(
        &self,
        ends: &Ends,
        asked: &Asked<'_>,
        headers: &dyn policy_l7::Headers,
    ) -> Option<RequestVerdict>;

    /// The verdict on a DNS query; none where no policy is about it.
    fn of_query(&self, ends: &Ends, l4: L4, query: &Message<'_>) -> Option<QueryVerdict>;
}

/// A verdict on a request.
#[derive(Debug, Clone)]
pub struct RequestVerdict {
    /// Forwarded or dropped.
    pub verdict: Verdict,
    /// Passed or denied by policy.
    pub outcome: Outcome,
    /// The rule that came nearest, of a denial.
    pub detail: String,
    /// The policies that decided.
    pub policies: Arc<[PolicyRef]>,
}

/// A verdict on a DNS query.
#[derive(Debug, Clone)]
pub struct QueryVerdict {
    /// Forwarded or dropped.
    pub verdict: Verdict,
    /// From whose view it was denied, where that is another than the connection's.
    pub direction: Option<Direction>,
    /// Why it was dropped: the rule that came nearest, or the rule of DNS that it breaks.
    pub detail: String,
    /// The policies that decided.
    pub policies: Arc<[PolicyRef]>,
}

impl QueryVerdict {
    /// Nobody was asked.
    pub fn unjudged() -> Self {
        Self {
            verdict: Verdict::Forwarded,
            direction: None,
            detail: String::new(),
            policies: record::no_policies(),
        }
    }
}
