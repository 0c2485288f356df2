//! What the given policies would have said of a capture.

use std::sync::Arc;

use parsers::dns::Message;
use policy_l7::Headers;

use crate::exchange::Asked;
use crate::policy::{Door, Live, Request};
use crate::record::{L4, Outcome, Verdict};
use crate::session::{Ends, QueryVerdict, RequestVerdict, Verdicts};

/// Judges by a policy set.
pub struct PolicyVerdicts(pub Arc<Live>);

const TCP: u8 = 6;

impl Verdicts for PolicyVerdicts {
    fn of_request(
        &self,
        ends: &Ends,
        asked: &Asked<'_>,
        headers: &dyn Headers,
    ) -> Option<RequestVerdict> {
        let of_connection = self.0.judge_connection(&ends.client, &ends.server, TCP);
        if let Some(judged) = of_connection.filter(|judged| judged.verdict == Verdict::Dropped) {
            // It would never have been sent.
            return Some(RequestVerdict {
                verdict: Verdict::Dropped,
                outcome: Outcome::PolicyDenied,
                detail: "its connection is denied".to_owned(),
                policies: judged.policies,
            });
        }
        let Door::Enforce(judge) = self.0.door(&ends.client, &ends.server, TCP) else {
            return None;
        };
        let request = Request {
            method: asked.method,
            path: asked.path,
            host: asked.authority.unwrap_or_default(),
            headers,
        };
        Some(match judge.judge_readings(&request) {
            Ok(permit) => RequestVerdict {
                verdict: Verdict::Forwarded,
                outcome: Outcome::Passed,
                detail: String::new(),
                policies: Arc::clone(permit.policies()),
            },
            Err(denial) => RequestVerdict {
                verdict: Verdict::Dropped,
                outcome: Outcome::PolicyDenied,
                detail: denial.detail,
                policies: denial.policies,
            },
        })
    }

    fn of_query(&self, ends: &Ends, l4: L4, query: &Message<'_>) -> Option<QueryVerdict> {
        let protocol = l4.protocol();
        let of_connection = self
            .0
            .judge_connection(&ends.client, &ends.server, protocol);
        if let Some(judged) = of_connection.filter(|judged| judged.verdict == Verdict::Dropped) {
            return Some(QueryVerdict {
                verdict: Verdict::Dropped,
                direction: Some(judged.direction),
                detail: "its connection is denied".to_owned(),
                policies: judged.policies,
            });
        }
        let Door::Enforce(judge) = self.0.door(&ends.client, &ends.server, protocol) else {
            return None;
        };
        Some(match judge.judge_query(query) {
            Ok(permit) => QueryVerdict::from(&permit),
            Err(denial) => denial.into(),
        })
    }
}
