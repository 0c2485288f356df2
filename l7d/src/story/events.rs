//! The lines of a timeline: one per thing that happened, however many places saw it.

use std::sync::Arc;

use super::{
    ACK, FIN, Fact, Judged, Message, MessageKind, Packet, RST, SYN, Story, TCP, Way, What,
};
use crate::clock::Timestamp;
use crate::record::{Direction, EndedBy, Outcome, Verdict};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When it was first seen.
    pub time: Timestamp,
    /// Who sent it; none where it is about both.
    pub way: Option<Way>,
    /// What kind of thing.
    pub kind: Kind,
    /// What happened, in a line.
    pub text: String,
    /// Whether it is as it should be.
    pub tone: Tone,
    /// Who saw it, and when, first to last.
    pub seen: Vec<Sight>,
    /// From the request to this answer, in nanoseconds, as it was first seen; 0 where it is none.
    pub latency_ns: u64,
    /// What tells it from others of its kind.
    mark: u16,
}

/// What kind of thing happened. The names are stable: they appear in the JSON form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A packet.
    Packet,
    /// A policy was asked.
    Verdict,
    /// A packet was dropped.
    Drop,
    /// A message of a protocol.
    Message(MessageKind),
    /// The end.
    End,
}

/// Whether something is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tone {
    /// A policy allows it, or it succeeded.
    Good,
    /// Nothing to say.
    Plain,
    /// It costs time: sent again, a closed window, a policy that would have denied it.
    Odd,
    /// It is why something did not get through.
    Bad,
}

/// Who saw something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The node; empty where nobody says.
    pub node: Arc<str>,
    /// Where on it, in Hubble's words; empty where that says nothing.
    pub point: &'static str,
    /// When.
    pub time: Timestamp,
}

/// What is further apart is not the same thing seen twice.
const SAME_NS: u64 = 100_000_000;
/// The same, seen by two nodes, whose clocks differ.
const SAME_ELSEWHERE_NS: u64 = 2_000_000_000;
/// The records of one drop.
const DROP_NS: u64 = 5_000_000;

impl Kind {
    /// Stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Verdict => "verdict",
            Self::Drop => "drop",
            Self::Message(MessageKind::Query) => "query",
            Self::Message(MessageKind::Answer) => "answer",
            Self::Message(MessageKind::Request) => "request",
            Self::Message(MessageKind::Response) => "response",
            Self::Message(MessageKind::Report) => "report",
            Self::Message(MessageKind::Bytes) => "bytes",
            Self::End => "end",
        }
    }
}

impl Story {
    /// What happened, in order.
    pub fn events(&self) -> Vec<Event> {
        let facts = self.facts();
        let mut events: Vec<Event> = Vec::new();
        for fact in &facts {
            if is_told_as_drop(fact, &facts) {
                continue;
            }
            let event = event(self, fact);
            match events
                .iter_mut()
                .rev()
                .find(|earlier| earlier.is_same(&event))
            {
                Some(earlier) => earlier.seen.extend(event.seen),
                None => events.push(event),
            }
        }
        events
    }
}

impl Event {
    /// Whether `later` is the same thing, seen at another place.
    fn is_same(&self, later: &Self) -> bool {
        let alike = (self.way, self.kind, self.mark) == (later.way, later.kind, later.mark)
            && (self.kind == Kind::Packet || self.text == later.text);
        let Some(sight) = later.seen.first() else {
            return false;
        };
        let is_here = self.seen.iter().any(|seen| seen.node == sight.node);
        let is_new = |seen: &Sight| (&seen.node, seen.point) != (&sight.node, sight.point);
        let within = if is_here { SAME_NS } else { SAME_ELSEWHERE_NS };
        let is_once = matches!(self.kind, Kind::Verdict | Kind::End) && is_here;
        alike
            && !is_once
            && self.seen.iter().all(is_new)
            && later.time.0.saturating_sub(self.time.0) <= within
    }
}

/// A denial is told twice, as a verdict and as a drop: the drop is enough.
fn is_told_as_drop(fact: &Fact, facts: &[&Fact]) -> bool {
    let What::Verdict(judged) = &fact.what else {
        return false;
    };
    let is_it = |other: &&Fact| {
        matches!(&other.what, What::Drop(drop) if drop.direction == judged.direction)
            && other.node == fact.node
            && other.source.addr == fact.source.addr
            && other.time.0.abs_diff(fact.time.0) <= DROP_NS
    };
    judged.verdict == Verdict::Dropped && facts.iter().any(is_it)
}

fn event(story: &Story, fact: &Fact) -> Event {
    let (kind, mark, tone, text, point) = match &fact.what {
        What::Packet(packet) => {
            let (tone, text) = of_packet(story.protocol, packet);
            (Kind::Packet, mark(packet), tone, text, packet.point)
        }
        What::Verdict(judged) => (
            Kind::Verdict,
            0,
            tone(judged.verdict),
            of_verdict(judged),
            "",
        ),
        What::Drop(judged) => (
            Kind::Drop,
            0,
            Tone::Bad,
            of_drop(story.protocol, judged),
            "",
        ),
        What::Message(message) => {
            let kind = Kind::Message(message.kind);
            (kind, 0, message.tone(), of_message(message), "")
        }
        What::Stream(message) => {
            let kind = Kind::Message(MessageKind::Bytes);
            (kind, 0, message.tone(), of_message(message), "")
        }
        What::End(ended) => {
            let tone = match ended.how {
                EndedBy::Refused | EndedBy::NoAnswer | EndedBy::ResetByServer => Tone::Bad,
                EndedBy::ResetByClient | EndedBy::Replaced => Tone::Odd,
                EndedBy::Closed | EndedBy::Idle => Tone::Plain,
            };
            let how = ended.how.as_str().replace('_', " ");
            (
                Kind::End,
                0,
                tone,
                format!("the connection is over: {how}"),
                "",
            )
        }
    };
    let latency_ns = match &fact.what {
        What::Message(message) => message.latency_ns,
        _ => 0,
    };
    Event {
        time: fact.time,
        way: has_sender(kind).then(|| story.way(fact)),
        kind,
        text,
        tone,
        seen: vec![Sight {
            node: fact.node.clone(),
            point,
            time: fact.time,
        }],
        latency_ns,
        mark,
    }
}

fn grpc_name(code: u32) -> String {
    let message = Vec::new().into();
    let status = parsers::grpc::Status { code, message };
    status
        .name()
        .map_or_else(|| code.to_string(), str::to_owned)
}

/// Whether something was sent by one side.
fn has_sender(kind: Kind) -> bool {
    !matches!(kind, Kind::End | Kind::Message(MessageKind::Bytes))
}

/// What tells a packet from another one of the same direction.
fn mark(packet: &Packet) -> u16 {
    let telling = packet.flags & (SYN | FIN | RST | ACK);
    u16::from(telling) | u16::from(packet.is_again) << 8 | u16::from(packet.is_window_closed) << 9
}

fn of_packet(protocol: u8, packet: &Packet) -> (Tone, String) {
    let mut text = if protocol == TCP {
        flags(packet.flags)
    } else {
        packet.summary.clone()
    };
    let mut tone = Tone::Plain;
    if packet.flags & RST != 0 {
        tone = Tone::Odd;
    }
    if packet.is_again {
        text.push_str(" again: nobody answered the one before");
        tone = Tone::Odd;
    }
    if packet.is_window_closed {
        text.push_str(", window closed: its reader is behind");
        tone = Tone::Odd;
    }
    if packet.packets > 1 {
        text = format!("{text}, {} packets, {} bytes", packet.packets, packet.bytes);
    }
    if packet.health.retransmits > 0 {
        text = format!("{text}, {} sent again so far", packet.health.retransmits);
        tone = Tone::Odd;
    }
    (tone, text)
}

fn flags(bits: u8) -> String {
    let names = [(SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (ACK, "ACK")];
    let set = names.iter().filter(|(bit, _)| bits & bit != 0);
    let set: Vec<&str> = set.map(|(_, name)| *name).collect();
    if set.is_empty() {
        "data".to_owned()
    } else {
        set.join(" ")
    }
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Forwarded | Verdict::Redirected => Tone::Good,
        Verdict::Audit => Tone::Odd,
        Verdict::Dropped | Verdict::Error => Tone::Bad,
    }
}

/// As an endpoint's policy speaks of it.
pub(super) fn side(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => " at ingress",
        Direction::Egress => " at egress",
        Direction::Unknown => "",
    }
}

fn by(policies: &[String]) -> String {
    if policies.is_empty() {
        String::new()
    } else {
        format!(" by {}", policies.join(", "))
    }
}

fn of_verdict(judged: &Judged) -> String {
    let what = match judged.verdict {
        Verdict::Forwarded => "allowed",
        Verdict::Redirected => "to be judged by the proxy",
        Verdict::Audit => "would be denied",
        Verdict::Dropped | Verdict::Error => "denied",
    };
    format!("{what}{}{}", side(judged.direction), by(&judged.policies))
}

fn of_drop(protocol: u8, judged: &Judged) -> String {
    let packet = if protocol == TCP && judged.flags != 0 {
        format!("{} ", flags(judged.flags))
    } else {
        String::new()
    };
    format!("{packet}dropped{}", why(judged))
}

/// Where, why, and by whom something was dropped.
pub(super) fn why(judged: &Judged) -> String {
    let detail = if judged.detail.is_empty() {
        String::new()
    } else {
        format!(" ({})", judged.detail)
    };
    let reason = &judged.reason;
    format!(
        "{}: {reason}{}{detail}",
        side(judged.direction),
        by(&judged.policies)
    )
}

pub(super) fn of_message(message: &Message) -> String {
    let mut text = message.text.clone();
    if matches!(message.verdict, Verdict::Dropped | Verdict::Audit) {
        let what = if message.verdict == Verdict::Audit {
            "would be denied"
        } else {
            "denied"
        };
        text = format!("{text}: {what}{}", by(&message.policies));
    }
    if let Some(status) = message.grpc.filter(|status| *status != 0) {
        text = format!("{text}: gRPC {}", grpc_name(status));
    }
    if let Some(event) = message.network.event {
        text = format!("{text}: {}", event.as_str().replace('_', " "));
    }
    if !message.detail.is_empty() && !text.contains(&message.detail) {
        text = format!("{text} ({})", message.detail);
    }
    text
}

impl Message {
    /// Whether it tells that something did not get through.
    pub(super) fn is_failed(&self) -> bool {
        const SERVFAIL: u32 = 2;
        const REFUSED: u32 = 5;
        let is_broken = match self.kind {
            MessageKind::Answer => matches!(self.code, SERVFAIL | REFUSED),
            MessageKind::Response => self.code >= 500 || self.grpc.is_some_and(|code| code != 0),
            MessageKind::Query
            | MessageKind::Request
            | MessageKind::Report
            | MessageKind::Bytes => false,
        };
        let is_cut = !matches!(self.outcome, Outcome::Passed | Outcome::Unseen);
        is_broken || is_cut || matches!(self.verdict, Verdict::Dropped | Verdict::Error)
    }

    fn tone(&self) -> Tone {
        match self.kind {
            _ if self.is_failed() => Tone::Bad,
            _ if self.verdict == Verdict::Audit => Tone::Odd,
            MessageKind::Response if self.code >= 400 => Tone::Odd,
            MessageKind::Response | MessageKind::Answer => Tone::Good,
            MessageKind::Query
            | MessageKind::Request
            | MessageKind::Report
            | MessageKind::Bytes => Tone::Plain,
        }
    }
}
