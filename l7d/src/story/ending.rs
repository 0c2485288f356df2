//! What became of a connection, in a word and in a sentence.

use super::events::{of_message, side, why};
use super::{FIN, Fact, Judged, Lapse, Message, MessageKind, RST, Story, TCP, UDP, Way, What};
use crate::clock::Timestamp;
use crate::record::{EndedBy, Outcome, TcpEvent, Verdict};

/// What became of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// In a word.
    pub how: How,
    /// In a sentence.
    pub text: String,
}

/// What became of a connection. The names are stable: they appear in the JSON form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum How {
    /// All that was asked was answered.
    Answered,
    /// It ended as it should.
    Closed,
    /// A policy, or the proxy, refused something that was asked.
    Denied,
    /// Its packets were dropped.
    Dropped,
    /// The server answered that something went wrong.
    Failed,
    /// Nothing came any more.
    Idle,
    /// Nobody answered.
    NoAnswer,
    /// It goes on, as far as anybody says.
    Open,
    /// The server refused it.
    Refused,
    /// The client reset it.
    ResetByClient,
    /// The server reset it.
    ResetByServer,
    /// It ended with something that was asked and not answered.
    Unanswered,
}

impl How {
    /// Stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Closed => "closed",
            Self::Denied => "denied",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
            Self::Idle => "idle",
            Self::NoAnswer => "no_answer",
            Self::Open => "open",
            Self::Refused => "refused",
            Self::ResetByClient => "reset_by_client",
            Self::ResetByServer => "reset_by_server",
            Self::Unanswered => "unanswered",
        }
    }

    /// Whether something did not get through.
    pub fn is_failed(self) -> bool {
        match self {
            Self::Denied
            | Self::Dropped
            | Self::Failed
            | Self::NoAnswer
            | Self::Refused
            | Self::ResetByServer
            | Self::Unanswered => true,
            Self::Answered | Self::Closed | Self::Idle | Self::Open | Self::ResetByClient => false,
        }
    }
}

/// A SYN that has waited so long is taken for one that nobody answers.
const PATIENCE_NS: u64 = 900_000_000;

impl Story {
    /// What became of it, as it is known at `now`.
    pub fn ending(&self, now: Timestamp) -> Ending {
        let facts = self.facts();
        let (how, text) = self
            .dropped(&facts)
            .or_else(|| self.never_began(&facts, now))
            .or_else(|| self.broken_message(&facts))
            .or_else(|| self.reset(&facts))
            .unwrap_or_else(|| self.well(&facts, now));
        Ending { how, text }
    }

    /// Its last packets were dropped: nothing came back since.
    fn dropped(&self, facts: &[&Fact]) -> Option<(How, String)> {
        let (last_fact, last) = facts.iter().rev().find_map(|fact| match &fact.what {
            What::Drop(judged) => Some((*fact, judged)),
            _ => None,
        })?;
        // What comes after the end says nothing of it, and the kernel drops the SYN that it refuses.
        let is_refused = !self.is_established() && self.first_with(Way::ToClient, RST).is_some();
        if is_refused || self.over_at.is_some_and(|over| over < last_fact.time) {
            return None;
        }
        let is_heard_since = facts.iter().any(|fact| {
            !matches!(fact.what, What::Drop(_) | What::Verdict(_) | What::End(_))
                && self.way(fact) == Way::ToClient
                && fact.time > last_fact.time
        });
        if is_heard_since {
            return None;
        }
        let of_what = match self.attempts() {
            Some((count, from, to)) if count > 1 && !self.is_answered() => {
                let within = Lapse(to.0 - from.0);
                format!("; {count} SYNs in {within}")
            }
            _ => String::new(),
        };
        let began = if self.is_answered() {
            "cut after it had begun, dropped"
        } else {
            "dropped"
        };
        let who = self.of_whom(last);
        Some((How::Dropped, format!("{began}{}{who}{of_what}", why(last))))
    }

    /// Whose policy it was, where that is not told by the reason.
    fn of_whom(&self, judged: &Judged) -> String {
        use crate::record::Direction;
        let whom = match judged.direction {
            Direction::Egress => &self.client,
            Direction::Ingress => &self.server,
            Direction::Unknown => return String::new(),
        };
        if side(judged.direction).is_empty() || whom.name.is_empty() {
            return String::new();
        }
        format!(" of {}", whom.name)
    }

    fn never_began(&self, facts: &[&Fact], now: Timestamp) -> Option<(How, String)> {
        if self.protocol != TCP || self.is_established() {
            return None;
        }
        let server = self.server.shown();
        let told = facts.iter().find_map(|fact| match &fact.what {
            What::End(ended) => Some(ended.how),
            _ => None,
        });
        let reset = self.first_with(Way::ToClient, RST);
        let (count, first, last) = self.attempts()?;
        if reset.is_some() || told == Some(EndedBy::Refused) {
            let after = reset.map_or_else(String::new, |at| {
                format!(" after {}", Lapse(at.0.saturating_sub(last.0)))
            });
            let whose = if self.is_proxied() {
                "the proxy's SYN"
            } else {
                "the SYN"
            };
            let text = format!(
                "refused: {server} answered {whose} with a reset{after}; nobody listens there"
            );
            return Some((How::Refused, text));
        }
        if self.is_answered() {
            return None;
        }
        let waited = now.0.max(self.last.0).saturating_sub(first.0);
        let is_given_up = told == Some(EndedBy::NoAnswer) || count > 1 || waited >= PATIENCE_NS;
        let far = self.farthest(facts);
        if is_given_up {
            let times = if count == 1 {
                "one SYN".to_owned()
            } else {
                format!("{count} SYNs in {}", Lapse(last.0 - first.0))
            };
            return Some((
                How::NoAnswer,
                format!("no answer: {times}, and nothing came back{far}"),
            ));
        }
        Some((
            How::Open,
            format!("a SYN was sent, nothing came back yet{far}"),
        ))
    }

    /// How far its packets were seen to get.
    fn farthest(&self, facts: &[&Fact]) -> String {
        let points = facts.iter().filter_map(|fact| match &fact.what {
            What::Packet(packet) if self.way(fact) == Way::ToServer => Some(packet.point),
            _ => None,
        });
        let points: Vec<&str> = points.collect();
        let has = |point| points.contains(&point);
        let server = self.server.shown();
        if has("to-endpoint") {
            format!("; it was delivered to {server}")
        } else if has("to-host") {
            "; it was delivered to the node".to_owned()
        } else if has("to-network") {
            "; it left the node".to_owned()
        } else if has("to-proxy") {
            "; it was handed to the proxy".to_owned()
        } else if has("to-stack") || has("from-endpoint") {
            "; it left the pod".to_owned()
        } else {
            String::new()
        }
    }

    /// The last message that tells that something did not get through, unless later ones did.
    fn broken_message(&self, facts: &[&Fact]) -> Option<(How, String)> {
        let messages = facts.iter().filter_map(|fact| match &fact.what {
            What::Message(message) | What::Stream(message) => Some((*fact, message.as_ref())),
            _ => None,
        });
        let messages: Vec<(&Fact, &Message)> = messages.collect();
        let (_, message) = messages
            .iter()
            .rev()
            .find(|(_, message)| message.is_failed())?;
        let how = match (message.outcome, message.verdict) {
            (Outcome::UpstreamRefused, _) => {
                if message.network.event == Some(TcpEvent::NoAnswer) {
                    How::NoAnswer
                } else {
                    How::Refused
                }
            }
            (Outcome::UpstreamReset, _) => How::ResetByServer,
            (Outcome::NoResponse, _) if message.kind == MessageKind::Answer => How::NoAnswer,
            (Outcome::NoResponse, _) => How::Unanswered,
            (_, Verdict::Dropped) => How::Denied,
            _ => How::Failed,
        };
        let failed = self.totals.failed;
        let count = if self.totals.answers > 1 {
            format!(
                "; {failed} of {} answers are like that",
                self.totals.answers
            )
        } else {
            String::new()
        };
        Some((how, format!("{}{count}", self.sentence(message, &messages))))
    }

    fn sentence(&self, message: &Message, messages: &[(&Fact, &Message)]) -> String {
        let by_proxy = if self.is_proxied() {
            " by the proxy"
        } else {
            ""
        };
        let server = self.server.shown();
        let asked = || {
            messages
                .iter()
                .rev()
                .find(|(_, one)| one.kind == MessageKind::Request)
        };
        let event = message.network.event.map(TcpEvent::as_str);
        let event = event.map_or_else(String::new, |event| {
            format!(": {}", event.replace('_', " "))
        });
        let policies = if message.policies.is_empty() {
            String::new()
        } else {
            format!(" by {}", message.policies.join(", "))
        };
        let detail = if message.detail.is_empty() {
            String::new()
        } else {
            format!(" ({})", message.detail)
        };
        let text = &message.text;
        match message.outcome {
            Outcome::UpstreamRefused => format!("{server} was not reached{by_proxy}{event}"),
            Outcome::UpstreamReset | Outcome::NoResponse if message.kind != MessageKind::Answer => {
                let request = asked().map_or(text, |(_, request)| &request.text);
                format!("not answered: {request}{event}")
            }
            Outcome::PolicyDenied
            | Outcome::AmbiguousPath
            | Outcome::ParseError
            | Outcome::Limit
            | Outcome::NotImplemented => {
                format!("refused: {text}{policies}{detail}")
            }
            _ if message.verdict == Verdict::Dropped => format!("denied: {text}{policies}{detail}"),
            _ => of_message(message),
        }
    }

    fn reset(&self, facts: &[&Fact]) -> Option<(How, String)> {
        let told = facts.iter().find_map(|fact| match &fact.what {
            What::End(ended) => Some(ended.how),
            _ => None,
        });
        let by_server = self.first_with(Way::ToClient, RST);
        let by_client = self.first_with(Way::ToServer, RST);
        let way = match (by_server, by_client, told) {
            (_, _, Some(EndedBy::ResetByServer)) => Way::ToClient,
            (_, _, Some(EndedBy::ResetByClient)) => Way::ToServer,
            (None, None, _) => return None,
            (Some(server), client, _) if client.is_none_or(|client| server <= client) => {
                Way::ToClient
            }
            (_, _, _) => Way::ToServer,
        };
        // Who resets what the other side has closed has only stopped listening.
        let (how, who, other) = match way {
            Way::ToClient => (How::ResetByServer, "server", Way::ToServer),
            Way::ToServer => (How::ResetByClient, "client", Way::ToClient),
        };
        if self.first_with(other, FIN).is_some() && self.totals.requests <= self.totals.answers {
            return None;
        }
        let after = Lapse(self.last.0 - self.first.0);
        Some((
            how,
            format!("reset by the {who} after {after}{}", Self::volume(facts)),
        ))
    }

    /// Nothing went wrong.
    fn well(&self, facts: &[&Fact], now: Timestamp) -> (How, String) {
        let lasted = Lapse(self.last.0 - self.first.0);
        let volume = Self::volume(facts);
        if !matches!(self.protocol, TCP | UDP) {
            let last = facts.iter().rev().find_map(|fact| match &fact.what {
                What::Packet(packet) => Some(packet.summary.as_str()),
                _ => None,
            });
            let last = last.unwrap_or("no packet told");
            return (How::Open, format!("{last}, seen for {lasted}{volume}"));
        }
        if self.protocol != TCP {
            let answers = self.totals.answers;
            if answers > 0 && answers >= self.totals.requests {
                return (How::Answered, format!("answered after {lasted}{volume}"));
            }
            let is_idle = now.0.saturating_sub(self.last.0) >= PATIENCE_NS;
            return match (is_idle, self.is_answered()) {
                (true, false) => (
                    How::Idle,
                    format!("nothing came back{}{volume}", self.farthest(facts)),
                ),
                (true, true) => (How::Idle, format!("quiet after {lasted}{volume}")),
                (false, _) => (How::Open, format!("open for {lasted}{volume}")),
            };
        }
        let closed = [
            (self.first_with(Way::ToServer, FIN), "client"),
            (self.first_with(Way::ToClient, FIN), "server"),
        ];
        let first = closed
            .iter()
            .filter_map(|(at, who)| Some((*at.as_ref()?, *who)))
            .min();
        match (self.is_over(), first) {
            (true, Some((_, who))) => (
                How::Closed,
                format!("closed by the {who} after {lasted}{volume}"),
            ),
            (true, None) => (How::Closed, format!("closed after {lasted}{volume}")),
            (false, Some((_, who))) => (
                How::Open,
                format!("half closed by the {who}, seen for {lasted}{volume}"),
            ),
            (false, None) => {
                let quiet = Lapse(now.0.saturating_sub(self.last.0));
                (
                    How::Open,
                    format!("open, seen for {lasted}, quiet since {quiet}{volume}"),
                )
            }
        }
    }

    /// How much went which way, where its end tells.
    fn volume(facts: &[&Fact]) -> String {
        let end = facts.iter().rev().find_map(|fact| match &fact.what {
            What::End(ended) => Some(ended),
            _ => None,
        });
        end.map_or_else(String::new, |ended| {
            let [sent, received] = ended.directions;
            format!(
                ": {} packets, {} bytes sent; {} packets, {} bytes received",
                sent.packets, sent.bytes, received.packets, received.bytes
            )
        })
    }
}
