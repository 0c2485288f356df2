//! What the given policies would have said of a capture.

use std::sync::Arc;

use parsers::dns::Message;
use parsers::tls::ClientHello;
use policy_l7::Headers;

use crate::exchange::Asked;
use crate::policy::{Audit, Denial, Door, Judge, Live, Permit, Request};
use crate::record::{L4, Outcome, Verdict};
use crate::session::{Ends, RequestVerdict, Verdicts};

/// Judges by a policy set.
pub struct PolicyVerdicts(pub Arc<Live>);

const TCP: u8 = 6;

impl PolicyVerdicts {
    /// What policy says of something on a connection; none where no policy is about it.
    fn of(
        &self,
        ends: &Ends,
        protocol: u8,
        ask: impl FnOnce(&Judge) -> Result<Permit, Denial>,
    ) -> Option<RequestVerdict> {
        let of_connection = self
            .0
            .judge_connection(&ends.client, &ends.server, protocol);
        if let Some(judged) = of_connection.filter(|judged| judged.verdict == Verdict::Dropped) {
            // It would never have been sent.
            return Some(RequestVerdict::from(Denial {
                policies: judged.policies,
                direction: judged.direction,
                outcome: Outcome::PolicyDenied,
                detail: "its connection is denied".to_owned(),
            }));
        }
        let Door::Enforce(judge) = self.0.door(&ends.client, &ends.server, protocol) else {
            return Audit(Arc::clone(&self.0)).of(ends, protocol, ask);
        };
        Some(match ask(&judge) {
            Ok(permit) => RequestVerdict::from(&permit),
            Err(denial) => RequestVerdict::from(denial),
        })
    }
}

impl Verdicts for PolicyVerdicts {
    fn of_request(
        &self,
        ends: &Ends,
        asked: &Asked<'_>,
        headers: &dyn Headers,
    ) -> Option<RequestVerdict> {
        let request = Request {
            method: asked.method,
            path: asked.path,
            host: asked.authority.unwrap_or_default(),
            headers,
        };
        self.of(ends, TCP, |judge| judge.judge_readings(&request))
    }

    fn of_hello(&self, ends: &Ends, hello: &ClientHello) -> Option<RequestVerdict> {
        self.of(ends, TCP, |judge| judge.judge_hello(hello))
    }

    fn of_query(&self, ends: &Ends, l4: L4, query: &Message<'_>) -> Option<RequestVerdict> {
        self.of(ends, l4.protocol(), |judge| judge.judge_query(query))
    }
}
