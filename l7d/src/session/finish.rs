//! The end of a connection: what is told then.

use parsers::Direction as Way;
use parsers::http1::{Connection, Reading};

use super::{RequestVerdict, Roles, Seen, Session, State, Whole, index};
use crate::record::{self, Outcome, Verdict};

impl Session {
    /// The connection has ended: every request without an answer is told, and so is what was not
    /// HTTP, and a response that broke off. The first call counts.
    pub fn finish(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_finished, true) {
            return;
        }
        self.read_undetected();
        let unanswered = match outcome {
            Outcome::Passed if self.seen == Seen::WithoutAnswers => Outcome::Unseen,
            Outcome::Passed | Outcome::NotImplemented => Outcome::NoResponse,
            other => other,
        };
        let is_broken_off =
            self.exchanges.is_empty() && !self.http.is_between_messages(Way::ToClient);
        while !self.exchanges.is_empty() {
            self.tell_response(0, unanswered, None);
        }
        self.finish_http2(unanswered);
        if let Some(dns) = &mut self.dns {
            dns.end(&self.recorder, self.ends.network());
        }
        let note = match (self.state, outcome) {
            (State::Opaque(note), _) => note,
            (State::Socks(_), _) => "socks",
            (State::Tls { .. }, _) => "tls",
            (State::Http1 | State::Http2 | State::Dns, Outcome::Passed)
                if let Some(note) = self.unread =>
            {
                note
            }
            (State::Http1, Outcome::Passed | Outcome::NoResponse) if self.has_no_whole_head() => {
                "incomplete request"
            }
            (State::Unbegun, Outcome::Passed | Outcome::NoResponse)
                if self.bytes != [0, 0] && !self.is_lone_answer() =>
            {
                "the server spoke first"
            }
            (State::Detecting(note), Outcome::Passed | Outcome::NoResponse)
                if self.bytes != [0, 0] =>
            {
                note
            }
            (_, Outcome::UpstreamRefused) => "upstream refused",
            (_, Outcome::UpstreamReset) if is_broken_off => "upstream reset",
            _ => return,
        };
        self.tell_opaque(note, outcome);
    }

    /// Whether all that came is a whole response of HTTP/1: servers send 408 to clients that ask
    /// nothing, and nothing is to be told of that.
    fn is_lone_answer(&self) -> bool {
        let mut http = Connection::new(*self.http.limits(), Reading::Lenient);
        let [_, kept] = &self.carry;
        http.step(Way::ToClient, kept)
            .is_ok_and(|step| matches!(step, parsers::Step::Event { .. }))
    }

    /// Whether the client began a request, and never ended the first head. HTTP/0.9 is such.
    fn has_no_whole_head(&self) -> bool {
        let client = index(self.turned(Way::ToServer));
        let kept = self.carry.get(client).map_or(0, Vec::len) as u64;
        kept > 0 && self.bytes.get(client) == Some(&kept)
    }

    fn tell_opaque(&mut self, note: &str, outcome: Outcome) {
        let Whole { server, judged } = self
            .whole
            .take()
            .map_or_else(Whole::default, |whole| *whole);
        let mut judged = judged.unwrap_or_else(RequestVerdict::unjudged);
        if judged.verdict != Verdict::Dropped {
            (judged.verdict, judged.outcome) = match outcome {
                Outcome::UpstreamRefused | Outcome::UpstreamReset => (Verdict::Error, outcome),
                Outcome::NotImplemented | Outcome::Limit => (Verdict::Dropped, outcome),
                _ => (judged.verdict, judged.outcome),
            };
        }
        let [mut sent, mut received] = self.bytes;
        if self.roles == Roles::Turned {
            std::mem::swap(&mut sent, &mut received);
        }
        let duration_ns = self.recorder.clock.monotonic().nanos_since(self.opened);
        self.recorder.tell_judged(&self.ends, &judged, |record| {
            let mark = record.text.mark();
            record.text.push(note.as_bytes());
            if let Some(server) = &server {
                record.text.push(b" to ");
                record.text.push(server.as_bytes());
            }
            let note = record.text.since(mark);
            record.event = record::Event::Opaque(record::Opaque {
                note,
                sent,
                received,
                duration_ns,
                outcome: judged.outcome,
                detail: record.text.push(judged.detail.as_bytes()),
                network: record::Network::default(),
            });
        });
    }
}
