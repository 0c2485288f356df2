//! Which tuples are asked about, what was told of them, and which records wait for it. No socket, no
//! tool, no clock.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use parsers::netlink::nftrace::{By, Step};

use super::nft::TABLE;
use crate::clock::Monotonic;
use crate::record::{Event, KernelDrop, L4, Record};

/// Tuples asked about at once.
pub(super) const SELECTED_MAX: usize = 16;
/// How long each is, and how long what was told of it holds.
pub(super) const HELD_SECONDS: u64 = 10;
/// How long a record waits for what nftables tells of its packet.
const PATIENCE_NS: u64 = 300_000_000;
/// Records that wait at once.
const WAITING_MAX: usize = 64;
/// Packets followed at once.
const PACKETS_MAX: usize = 64;
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// Addresses and ports of a packet; ports are 0 where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tuple {
    pub(super) protocol: u8,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

impl Tuple {
    fn new(protocol: u8, source: SocketAddr, destination: SocketAddr) -> Self {
        let mut tuple = Self {
            protocol,
            source,
            destination,
        };
        if !tuple.has_ports() {
            tuple.source.set_port(0);
            tuple.destination.set_port(0);
        }
        tuple
    }

    fn of(record: &Record) -> Self {
        let (source, destination) = (record.source.addr, record.destination.addr);
        Self::new(record.l4.protocol(), source, destination)
    }

    /// Of the headers that nftables shows.
    fn read(network: &[u8], transport: &[u8]) -> Option<Self> {
        let (protocol, source, destination): (u8, IpAddr, IpAddr) = match network.first()? >> 4 {
            // RFC 791 §3.1
            4 => {
                let ends = network.get(12..20)?;
                let (source, destination) = ends.split_first_chunk::<4>()?;
                let destination: [u8; 4] = destination.try_into().ok()?;
                (
                    *network.get(9)?,
                    Ipv4Addr::from(*source).into(),
                    Ipv4Addr::from(destination).into(),
                )
            }
            // RFC 8200 §3
            6 => {
                let ends = network.get(8..40)?;
                let (source, destination) = ends.split_first_chunk::<16>()?;
                let destination: [u8; 16] = destination.try_into().ok()?;
                (
                    *network.get(6)?,
                    Ipv6Addr::from(*source).into(),
                    Ipv6Addr::from(destination).into(),
                )
            }
            _ => return None,
        };
        let port = |at: usize| {
            let bytes = transport.get(at..)?.first_chunk()?;
            Some(u16::from_be_bytes(*bytes))
        };
        let (from, to) = (port(0).unwrap_or(0), port(2).unwrap_or(0));
        let source = SocketAddr::new(source, from);
        Some(Self::new(
            protocol,
            source,
            SocketAddr::new(destination, to),
        ))
    }

    pub(super) fn has_ports(&self) -> bool {
        matches!(self.protocol, TCP | UDP | SCTP)
    }

    /// What rules mostly go by: the port that a client happens to have says nothing.
    fn without_source_port(mut self) -> Self {
        self.source.set_port(0);
        self
    }
}

/// What to do with a record.
#[derive(Debug)]
pub(super) enum Action {
    /// Tell it, and ask about its tuple.
    Ask(Box<Record>, Tuple),
    /// It waits.
    Hold,
    /// Tell it.
    Tell(Box<Record>),
}

/// A tuple that is asked about.
#[derive(Debug)]
struct Selected {
    since: Monotonic,
    /// The hook that its last packet came to, by our own chains.
    hook: Option<Arc<str>>,
}

/// What is known of the packets of a kind.
#[derive(Debug)]
struct Known {
    since: Monotonic,
    rule: Arc<str>,
}

/// The TCP flags count: rules often let answers pass.
type Kind = (Tuple, u8);

/// Everything that is being asked.
#[derive(Debug, Default)]
pub(super) struct Watch {
    selected: HashMap<Tuple, Selected>,
    known: HashMap<Kind, Known>,
    /// Tuples of packets that are on their way, by nftables' number of the packet.
    packets: HashMap<u32, Tuple>,
    /// Rules that were found, and were not looked for yet.
    found: Vec<(Tuple, Arc<str>)>,
    waiting: Vec<(Monotonic, Tuple, Record)>,
}

impl Watch {
    /// Takes the record of a dropped packet.
    pub(super) fn take(&mut self, mut record: Record, now: Monotonic) -> Action {
        let tuple = Tuple::of(&record);
        if let Some(rule) = self.rule_of(&record, &tuple) {
            set_rule(&mut record, &rule);
            return Action::Tell(Box::new(record));
        }
        if self.selected.contains_key(&tuple) {
            if self.waiting.len() < WAITING_MAX {
                self.waiting.push((now, tuple, record));
                return Action::Hold;
            }
            return Action::Tell(Box::new(record));
        }
        if self.selected.len() >= SELECTED_MAX {
            return Action::Tell(Box::new(record));
        }
        let selected = Selected {
            since: now,
            hook: None,
        };
        self.selected.insert(tuple, selected);
        Action::Ask(Box::new(record), tuple)
    }

    /// Nftables was not told of a tuple.
    pub(super) fn forget(&mut self, tuple: &Tuple) {
        self.selected.remove(tuple);
    }

    /// Follows a packet by a step; `text` gives the text of a rule by family, table, chain and handle.
    pub(super) fn follow(
        &mut self,
        step: &Step<'_>,
        text: impl Fn(&str, &str, &str, u64) -> Option<String>,
    ) {
        if let Some(network) = step.network
            && let Some(tuple) = Tuple::read(network, step.transport.unwrap_or_default())
        {
            if self.packets.len() >= PACKETS_MAX {
                self.packets.clear();
            }
            self.packets.insert(step.packet, tuple);
        }
        let Some(tuple) = self.packets.get(&step.packet).copied() else {
            return;
        };
        if step.table == TABLE {
            let selected = self.selected.get_mut(&tuple);
            if let Some(selected) = selected.filter(|_| step.by == By::Policy) {
                selected.hook = Some(Arc::from(step.chain));
            }
            return;
        }
        if !step.is_drop {
            return;
        }
        self.packets.remove(&step.packet);
        let family = family(step.family);
        let place = format!("{family} {} {}", step.table, step.chain);
        let rule = match step.by {
            By::Rule(handle) => match text(family, step.table, step.chain, handle) {
                Some(rule) => format!("{place} handle {handle}: {rule}"),
                None => format!("{place} handle {handle}"),
            },
            By::Policy | By::Return => format!("{place}: policy drop"),
        };
        self.found.push((tuple, Arc::from(rule)));
    }

    /// Tells what nftables has told enough of, or nothing for too long, and forgets what is old.
    pub(super) fn settle(&mut self, now: Monotonic, mut tell: impl FnMut(&Record)) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain_mut(|(since, tuple, record)| {
            let found = self.found.iter().find(|(of, _)| of == tuple);
            if let Some((_, rule)) = found {
                set_rule(record, rule);
                let kind = (tuple.without_source_port(), flags(record));
                let rule = Arc::clone(rule);
                self.known.insert(kind, Known { since: now, rule });
            } else if now.nanos_since(*since) < PATIENCE_NS {
                return true;
            } else if let Some(hook) = self.hook(tuple) {
                let text = format!(
                    "hook {hook}: no rule of nftables (iptables-legacy, or another module)"
                );
                set_rule(record, &Arc::from(text));
            }
            tell(record);
            false
        });
        self.waiting = waiting;
        // What was found before its record came is kept for it.
        if self.found.len() > SELECTED_MAX {
            self.found.clear();
        }
        let is_fresh = |since: Monotonic| now.nanos_since(since) < HELD_SECONDS * 1_000_000_000;
        self.selected.retain(|_, selected| is_fresh(selected.since));
        self.known.retain(|_, known| is_fresh(known.since));
        let selected = &self.selected;
        self.found.retain(|(tuple, _)| selected.contains_key(tuple));
    }

    /// Tells everything that waits.
    pub(super) fn release(&mut self, mut tell: impl FnMut(&Record)) {
        for (_, _, record) in self.waiting.drain(..) {
            tell(&record);
        }
    }

    /// Whether nothing is asked.
    pub(super) fn is_idle(&self) -> bool {
        self.selected.is_empty() && self.waiting.is_empty()
    }

    fn hook(&self, tuple: &Tuple) -> Option<&str> {
        self.selected.get(tuple)?.hook.as_deref()
    }

    fn rule_of(&self, record: &Record, tuple: &Tuple) -> Option<Arc<str>> {
        let kind = (tuple.without_source_port(), flags(record));
        let known = self.known.get(&kind);
        known.map(|known| Arc::clone(&known.rule))
    }
}

fn flags(record: &Record) -> u8 {
    match record.l4 {
        L4::Tcp { flags } => flags,
        L4::Udp | L4::Sctp | L4::Icmp4 { .. } | L4::Icmp6 { .. } | L4::Other(_) => 0,
    }
}

/// Families, as `nft` writes them (`linux/netfilter.h`).
fn family(number: u8) -> &'static str {
    match number {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "unknown",
    }
}

fn set_rule(record: &mut Record, rule: &Arc<str>) {
    if let Event::Drop {
        kernel: Some(said), ..
    } = &mut record.event
    {
        let said: &mut KernelDrop = Arc::make_mut(said);
        said.netfilter = Some(Arc::clone(rule));
    }
}

#[cfg(test)]
mod tests;
