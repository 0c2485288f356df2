//! What policies that are only audited would have said.

use std::sync::Arc;

use parsers::dns::Message;
use parsers::tls::ClientHello;
use policy_l7::Headers;

use super::judge::{Denial, Judge, Permit};
use super::live::Live;
use super::readings::Request;
use crate::exchange::Asked;
use crate::record::L4;
use crate::session::{Ends, RequestVerdict, Verdicts};

const TCP: u8 = 6;

/// Tells of what has gone on what audited policies would have denied. It has no way to keep anything
/// from going on.
pub struct Audit(pub Arc<Live>);

impl Audit {
    /// What is told of something on a connection that no policy in force judges.
    pub fn of(
        &self,
        ends: &Ends,
        protocol: u8,
        ask: impl FnOnce(&Judge) -> Result<Permit, Denial>,
    ) -> Option<RequestVerdict> {
        if !self.0.audits() {
            return None;
        }
        let judge = Judge::new(&self.0, &ends.client, &ends.server, protocol);
        // What is in force would have had it judged, if it denied anything here.
        let permit = ask(&judge).ok()?;
        permit.audited().map(|_| RequestVerdict::from(&permit))
    }
}

impl Verdicts for Audit {
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
