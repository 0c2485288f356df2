//! One story per connection: everything that was told of it, by whomever, in one order.
//!
//! ```text
//!   Fact ─▶ Stories (same ends, same number, same time) ─▶ Story ─▶ events, ending, timing
//!                └─ answers of DNS ─▶ what a connection was looked up by
//! ```
//!
//! A [`Fact`] is what one flow says, wherever it comes from: an agent, a relay, another project's
//! server, a file, a capture. What is not said is not made up: without numbers connections are told
//! apart by their ends and by time, without TCP's measures by when packets were seen.
//!
//! | file | what it decides |
//! |---|---|
//! | `assembly` | which facts are of one connection |
//! | `told` | what a story keeps of its facts, and how many |
//! | `events` | the lines of its timeline: one per thing that happened, however many saw it |
//! | `ending` | what became of it |
//! | `timing` | where the time went |

mod assembly;
mod ending;
mod events;
mod lapse;
mod timing;
mod told;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use assembly::{Limits, Stories};
pub use ending::{Ending, How};
pub use events::{Event, Kind, Sight, Tone};
pub use lapse::Lapse;
pub use timing::{Exchanges, Timing};
pub use told::{Lookup, Place, Story};

use crate::clock::Timestamp;
use crate::record::{Direction, EndedBy, Network, Outcome, TcpHealth, Verdict};

/// IANA numbers of protocols.
const TCP: u8 = 6;
const UDP: u8 = 17;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// What one flow says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// When it was seen.
    pub time: Timestamp,
    /// Where; empty where nobody says.
    pub node: Arc<str>,
    /// The connection's number on that node, 0 where it has none.
    pub number: u64,
    /// IANA number of the protocol.
    pub protocol: u8,
    /// Who sent it, by its own address where a translation is told.
    pub source: Peer,
    /// Whom it was sent to; of a service, who serves, where that is told.
    pub destination: Peer,
    /// What translations made of both ends, where any did.
    pub translated: Option<Box<Translated>>,
    /// Whether it goes against the direction of the connection's first packet.
    pub is_reply: Option<bool>,
    /// What it is.
    pub what: What,
}

/// Addresses between two ends that are not their own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Translated {
    /// Both ends as this fact's packet had them, the smaller one first.
    pub seen: (SocketAddr, SocketAddr),
    /// The address of the service that the client asks.
    pub service: Option<SocketAddr>,
    /// The address by which the server knows the client.
    pub client: Option<SocketAddr>,
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Address and port; port 0 where there is none.
    pub addr: SocketAddr,
    /// `namespace/pod`, a service or a name of DNS; empty where it has none.
    pub name: Arc<str>,
}

/// What a fact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A packet, or several since the last one that was told, passed a place.
    Packet(Packet),
    /// A policy was asked.
    Verdict(Judged),
    /// A packet was dropped.
    Drop(Judged),
    /// A request, a query, or an answer.
    Message(Box<Message>),
    /// A stretch of bytes that nobody read.
    Stream(Box<Message>),
    /// The connection ended.
    End(Ended),
}

/// A packet that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where, in Hubble's words (`to-endpoint`).
    pub point: &'static str,
    /// Flag bits of TCP.
    pub flags: u8,
    /// What it is where TCP's flags do not say it.
    pub summary: String,
    /// Whether it is one that had been sent before.
    pub is_again: bool,
    /// Whether its sender's window closed.
    pub is_window_closed: bool,
    /// Packets since the last one that was told, at this point.
    pub packets: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What TCP measured.
    pub health: TcpHealth,
}

/// What a policy, or the kernel, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What became of the packet.
    pub verdict: Verdict,
    /// As the endpoint sees it.
    pub direction: Direction,
    /// Why, in words; empty where it passed.
    pub reason: String,
    /// Policies that decided, as `name (kind)`.
    pub policies: Vec<String>,
    /// What else is known of a drop: where in the kernel, which rule.
    pub detail: String,
    /// Flag bits of TCP.
    pub flags: u8,
}

/// A request, a query, or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: MessageKind,
    /// One line that says what it was.
    pub text: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Policies that decided, as `name (kind)`.
    pub policies: Vec<String>,
    /// How it went, where it did not simply succeed.
    pub outcome: Outcome,
    /// More about that.
    pub detail: String,
    /// Status of HTTP, code of DNS, 0 for none.
    pub code: u32,
    /// Status of gRPC, where it is known.
    pub grpc: Option<u32>,
    /// From the request to this answer, in nanoseconds; 0 where nobody measured.
    pub latency_ns: u64,
    /// The network's part.
    pub network: Network,
    /// Addresses in an answer of DNS.
    pub addresses: Vec<IpAddr>,
}

/// What kind of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// A question of DNS.
    Query,
    /// Its answer, or that there was none.
    Answer,
    /// A request of HTTP or another protocol.
    Request,
    /// Its answer, or that there was none.
    Response,
    /// A report of what still runs.
    Report,
    /// A stretch of bytes that nobody read.
    Bytes,
}

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub how: EndedBy,
    /// From its first packet to its last one, in microseconds.
    pub duration_us: u64,
    /// Packets, bytes and measures, from who began it and back.
    pub directions: [Total; 2],
}

/// Everything that one direction sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Total {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
    /// What TCP measured.
    pub health: TcpHealth,
}

/// Who sent something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// Who began the connection.
    ToServer,
    /// Who was asked.
    ToClient,
}

impl Fact {
    /// Flag bits of TCP, where the fact has any.
    fn flags(&self) -> u8 {
        match &self.what {
            What::Packet(packet) => packet.flags,
            What::Verdict(judged) | What::Drop(judged) => judged.flags,
            What::Message(_) | What::Stream(_) | What::End(_) => 0,
        }
    }

    /// Both ends as its packet had them, the smaller one first.
    fn seen(&self) -> (SocketAddr, SocketAddr) {
        let (from, to) = (self.source.addr, self.destination.addr);
        let own = (from.min(to), from.max(to));
        self.translated
            .as_ref()
            .map_or(own, |translated| translated.seen)
    }

    /// Whether it is the first packet of a TCP connection, or one that was sent for it again.
    fn is_syn(&self) -> bool {
        self.flags() & (SYN | ACK) == SYN
    }

    /// Whether it says itself who began the connection.
    fn client(&self) -> Option<SocketAddr> {
        match (self.is_syn(), self.is_reply) {
            (true, _) | (false, Some(false)) => Some(self.source.addr),
            (false, Some(true)) => Some(self.destination.addr),
            (false, None) => None,
        }
    }
}

impl Peer {
    /// As people know it: its name, or its address.
    pub fn shown(&self) -> String {
        match (self.name.as_ref(), self.addr.port()) {
            ("", 0) => self.addr.ip().to_string(),
            ("", _) => self.addr.to_string(),
            (name, 0) => name.to_owned(),
            (name, port) => format!("{name}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests;
