//! The verdicts that a policy would have given, for captures: what a live relay asks before it acts,
//! a replay asks to tell.

use std::sync::Arc;

use super::Ends;
use crate::exchange::Asked;
use crate::record::{Outcome, PolicyRef, Verdict};

/// Judges requests that have long been answered.
pub trait Verdicts {
    /// The verdict on a request; none where no policy is about it.
    fn of_request(
        &self,
        ends: &Ends,
        asked: &Asked<'_>,
        headers: &dyn policy_l7::Headers,
    ) -> Option<RequestVerdict>;
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
