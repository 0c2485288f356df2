//! Flows → who asked whom for what, and how often. A file of any length becomes as many things asked
//! as are different.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;

use ahash::{AHashMap, AHashSet};

use super::ask::{Ask, HttpAsk};
use super::ends::{self, EndId, Ends, Told};
use crate::record::Direction;
use crate::replay::flowlog::{self, Flow};

/// Hubble's event types.
const DROP: i32 = 1;
const TRACE: i32 = 4;
const POLICY_VERDICT: i32 = 5;
const L7: i32 = 129;
/// Points of traces that a packet passes before a policy was asked: from an endpoint, the proxy, the
/// host, the stack, an overlay, the network, and decryption.
const BEFORE_POLICY: [i32; 7] = [5, 6, 7, 8, 9, 10, 12];
/// Different things that are kept until they are taken.
const ASKED_MAX: usize = 1 << 20;
/// Samples of one thing asked.
const SAMPLES_MAX: usize = 3;
/// Connections that are remembered as seen; at least half as many are at any moment.
const CONNECTIONS_MAX: usize = 1 << 20;
/// Addresses whose names are remembered, and names of each.
const ADDRESSES_MAX: usize = 1 << 18;
const NAMES_MAX: usize = 32;

/// What was recorded about a flow's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Passed {
    /// It was dropped by a policy.
    No,
    /// It went on.
    Yes,
}

/// One thing that somebody asked somebody for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who asked.
    pub source: EndId,
    /// Who was asked.
    pub destination: EndId,
    /// IP protocol.
    pub protocol: u8,
    /// Port of who was asked; the type of an ICMP message.
    pub port: u16,
    /// What for.
    pub ask: Ask,
    /// Where it was seen: at who asked (egress), or at who was asked.
    pub direction: Direction,
    /// What was recorded.
    pub passed: Passed,
    /// How often.
    pub count: u64,
    /// The first few.
    pub samples: Vec<Sample>,
}

/// A flow, for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Sample {
    /// As it was written.
    pub time: String,
    /// Pod, or address.
    pub source: String,
    /// Pod, or address.
    pub destination: String,
    /// Method and URL, or the name asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request: String,
}

/// Flows that say nothing about a policy, by why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// Packets of who was asked, answers of servers.
    pub replies: u64,
    /// Further events of a connection.
    pub repeated: u64,
    /// Seen where no policy was asked yet.
    pub before_policy: u64,
    /// Dropped for another reason than a policy.
    pub other_drops: u64,
    /// Which side asked is not told.
    pub unknown_sides: u64,
    /// Errors, captures, sockets: no verdict; or no transport.
    pub without_verdict: u64,
    /// More different things than are kept.
    pub beyond: u64,
}

/// What flows have told so far.
#[derive(Debug)]
pub struct Gather {
    /// Who was seen.
    pub ends: Ends,
    /// Flows that say nothing about a policy.
    pub skipped: Skipped,
    asked: AHashMap<Key, (u64, Vec<Sample>)>,
    /// Names of addresses, from answers.
    names: BTreeMap<IpAddr, BTreeSet<String>>,
    connections: [AHashSet<u64>; 2],
    hasher: RandomState,
    /// Names of headers that policies ask about, in lower case.
    headers: Vec<String>,
    is_capture: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    source: EndId,
    destination: EndId,
    protocol: u8,
    port: u16,
    ask: Ask,
    direction: Way,
    passed: Passed,
}

/// Where it was seen, in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Way {
    Egress,
    Ingress,
    Unknown,
}

struct Transport {
    protocol: u8,
    source_port: u16,
    port: u16,
    flags: Option<flowlog::Flags>,
}

impl Gather {
    /// Nothing seen yet. Of headers only those with these names are kept. A capture's packets were
    /// seen wherever they were captured.
    pub fn new(told: Told, headers: impl IntoIterator<Item = String>, is_capture: bool) -> Self {
        Self {
            ends: Ends::new(told),
            skipped: Skipped::default(),
            asked: AHashMap::new(),
            names: BTreeMap::new(),
            connections: Default::default(),
            hasher: RandomState::new(),
            headers: headers.into_iter().collect(),
            is_capture,
        }
    }

    /// How many different things were asked.
    pub fn len(&self) -> usize {
        self.asked.len()
    }

    /// Whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// Names of headers that are kept.
    pub(super) fn headers(&self) -> &[String] {
        &self.headers
    }

    /// Names that answers gave an address.
    pub fn names_of(&self, address: IpAddr) -> impl Iterator<Item = &String> {
        self.names.get(&address).into_iter().flatten()
    }

    /// Hands out what was asked since the last time, in an order that does not depend on that of the
    /// flows but for the numbers of ends.
    pub fn take_asked(&mut self) -> Vec<Asked> {
        let mut all: Vec<_> = std::mem::take(&mut self.asked).into_iter().collect();
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let asked = all.into_iter().map(|(key, (count, samples))| Asked {
            source: key.source,
            destination: key.destination,
            protocol: key.protocol,
            port: key.port,
            ask: key.ask,
            direction: match key.direction {
                Way::Egress => Direction::Egress,
                Way::Ingress => Direction::Ingress,
                Way::Unknown => Direction::Unknown,
            },
            passed: key.passed,
            count,
            samples,
        });
        asked.collect()
    }

    /// Takes a flow.
    pub fn take(&mut self, flow: &Flow<'_>) {
        if let Some(dns) = flow.l7.as_ref().and_then(|l7| l7.dns.as_ref()) {
            self.learn(dns);
        }
        let Some(transport) = transport(flow) else {
            self.skipped.without_verdict += 1;
            return;
        };
        let Some(passed) = self.passed(flow) else {
            return;
        };
        if !self.is_from_who_asks(flow, &transport) {
            return;
        }
        let Some(ask) = self.ask(flow) else {
            self.skipped.without_verdict += 1;
            return;
        };
        if ask == Ask::Connection && !self.is_new(flow, &transport, passed) {
            self.skipped.repeated += 1;
            return;
        }
        self.count(flow, &transport, ask, passed);
    }

    fn count(&mut self, flow: &Flow<'_>, transport: &Transport, ask: Ask, passed: Passed) {
        let ip = flow.ip.as_ref();
        let from = ip.and_then(|ip| ends::address(&ip.source));
        let to = ip.and_then(|ip| ends::address(&ip.destination));
        let source = flow.source.as_ref();
        let destination = flow.destination.as_ref();
        let is_service = flow.destination_service.is_some();
        let key = Key {
            source: self.ends.see(source, from, &flow.source_names, false),
            destination: self
                .ends
                .see(destination, to, &flow.destination_names, is_service),
            protocol: transport.protocol,
            port: transport.port,
            ask,
            direction: match &*flow.traffic_direction {
                "INGRESS" => Way::Ingress,
                "EGRESS" => Way::Egress,
                _ => Way::Unknown,
            },
            passed,
        };
        if self.asked.len() >= ASKED_MAX && !self.asked.contains_key(&key) {
            self.skipped.beyond += 1;
            return;
        }
        let (count, samples) = self.asked.entry(key).or_default();
        *count += 1;
        // The earliest ones, whatever the order of the lines.
        let is_earlier = |last: &Sample| *flow.time < *last.time;
        if samples.len() < SAMPLES_MAX || samples.last().is_some_and(is_earlier) {
            samples.push(sample(flow));
            samples.sort();
            samples.truncate(SAMPLES_MAX);
        }
    }

    /// What was recorded; flows that say nothing are counted by why.
    fn passed(&mut self, flow: &Flow<'_>) -> Option<Passed> {
        let event = flow.event_type.unwrap_or_default();
        let is_l7 = flow.l7.is_some() || event.kind == L7;
        if is_l7
            && flow
                .l7
                .as_ref()
                .is_some_and(|l7| l7.kind == "RESPONSE" || l7.kind == "SAMPLE")
        {
            self.skipped.replies += 1;
            return None;
        }
        match &*flow.verdict {
            "DROPPED" => {
                let reason = &*flow.drop_reason_desc;
                let is_policy = matches!(
                    reason,
                    "POLICY_DENIED" | "POLICY_DENY" | "DROP_REASON_UNKNOWN" | ""
                );
                if !is_policy {
                    self.skipped.other_drops += 1;
                }
                is_policy.then_some(Passed::No)
            }
            "FORWARDED" | "REDIRECTED" | "AUDIT" => {
                let is_before = event.kind == TRACE && BEFORE_POLICY.contains(&event.sub_type);
                if is_before && !self.is_capture && !is_l7 {
                    self.skipped.before_policy += 1;
                    return None;
                }
                Some(Passed::Yes)
            }
            _ => {
                self.skipped.without_verdict += 1;
                None
            }
        }
    }

    fn is_from_who_asks(&mut self, flow: &Flow<'_>, transport: &Transport) -> bool {
        let event = flow.event_type.unwrap_or_default().kind;
        let is_reply = flow.is_reply.or_else(|| match transport.flags {
            Some(flags) if flags.syn => Some(flags.ack),
            // What is not told of a drop is taken for the first packet, as Hubble does.
            None if event == DROP || &*flow.verdict == "DROPPED" => Some(false),
            _ if event == POLICY_VERDICT || flow.l7.is_some() => Some(false),
            _ => None,
        });
        match is_reply {
            Some(true) => self.skipped.replies += 1,
            None => self.skipped.unknown_sides += 1,
            Some(false) => {}
        }
        is_reply == Some(false)
    }

    /// What was asked; `None` of messages that are neither requests nor queries.
    fn ask(&self, flow: &Flow<'_>) -> Option<Ask> {
        let Some(l7) = &flow.l7 else {
            return Some(Ask::Connection);
        };
        if let Some(http) = &l7.http {
            return Some(Ask::Http(HttpAsk::new(http, &self.headers)));
        }
        let dns = l7.dns.as_ref()?;
        Some(Ask::Dns(ends::canonical_name(&dns.query)))
    }

    /// Whether nothing of this connection was counted yet.
    fn is_new(&mut self, flow: &Flow<'_>, transport: &Transport, passed: Passed) -> bool {
        if transport.source_port == 0 {
            return true;
        }
        let mut hasher = self.hasher.build_hasher();
        let ip = flow.ip.as_ref();
        ip.map(|ip| (&ip.source, &ip.destination)).hash(&mut hasher);
        (transport.protocol, transport.source_port, transport.port).hash(&mut hasher);
        passed.hash(&mut hasher);
        let connection = hasher.finish();
        let [young, old] = &mut self.connections;
        let is_known = old.contains(&connection) || !young.insert(connection);
        if young.len() >= CONNECTIONS_MAX / 2 {
            *old = std::mem::take(young);
        }
        !is_known
    }

    fn learn(&mut self, dns: &flowlog::Dns<'_>) {
        if dns.ips.is_empty() || dns.query.is_empty() {
            return;
        }
        let name = ends::canonical_name(&dns.query);
        for address in dns.ips.iter().filter_map(|text| ends::address(&text.0)) {
            let has_room = self.names.len() < ADDRESSES_MAX;
            if let Some(names) = self.names.get_mut(&address) {
                if names.len() < NAMES_MAX {
                    names.insert(name.clone());
                }
            } else if has_room {
                self.names.insert(address, [name.clone()].into());
            }
        }
    }
}

fn transport(flow: &Flow<'_>) -> Option<Transport> {
    let l4 = flow.l4.as_ref()?;
    let with_ports = [(6, &l4.tcp), (17, &l4.udp), (132, &l4.sctp)];
    for (protocol, ports) in with_ports {
        if let Some(ports) = ports {
            return Some(Transport {
                protocol,
                source_port: ports.source_port,
                port: ports.destination_port,
                flags: ports.flags,
            });
        }
    }
    let of_icmp = [(1, &l4.icmp_v4), (58, &l4.icmp_v6)];
    let (protocol, icmp) = of_icmp
        .into_iter()
        .find_map(|(protocol, icmp)| Some((protocol, icmp.as_ref()?)))?;
    Some(Transport {
        protocol,
        source_port: 0,
        port: icmp.kind.into(),
        flags: None,
    })
}

fn sample(flow: &Flow<'_>) -> Sample {
    let end = |endpoint: Option<&flowlog::Endpoint<'_>>, address: Option<&str>| match endpoint {
        Some(endpoint) if !endpoint.pod_name.is_empty() => {
            format!("{}/{}", endpoint.namespace, endpoint.pod_name)
        }
        _ => address.unwrap_or("unknown").to_owned(),
    };
    let ip = flow.ip.as_ref();
    let l7 = flow.l7.as_ref();
    let http = l7.and_then(|l7| l7.http.as_ref());
    let dns = l7.and_then(|l7| l7.dns.as_ref());
    Sample {
        time: flow.time.to_string(),
        source: end(flow.source.as_ref(), ip.map(|ip| &*ip.source)),
        destination: end(flow.destination.as_ref(), ip.map(|ip| &*ip.destination)),
        request: match (http, dns) {
            (Some(http), _) => format!("{} {}", http.method, http.url),
            (None, Some(dns)) => dns.query.to_string(),
            (None, None) => String::new(),
        },
    }
}
