//! What was seen, by workload, direction, peer and port.

use std::collections::{BTreeMap, BTreeSet};

use super::talk::{Asked, Key, Said, Side, TCP, Talk, UDP, line};
use super::{
    Element, Form, Heading, PathPart, Peer, Rules, Seen, Selectors, Standing, Suggested, Workload,
};
use crate::rule::Direction;

const ICMP: [u8; 2] = [1, 58];
const DNS_PORT: u16 = 53;

/// Everything that was seen.
pub(super) struct Gathered<'s> {
    talks: BTreeMap<Side<'s>, BTreeMap<Talk<'s>, Said<'s>>>,
    form: Form,
    min_count: u64,
}

impl<'s> Gathered<'s> {
    pub(super) fn new(seen: &'s [Seen], form: Form, min_count: u64) -> Self {
        let mut talks: BTreeMap<Side<'s>, BTreeMap<Talk<'s>, Said<'s>>> = BTreeMap::new();
        for one in seen {
            let said = talks
                .entry(Side::of(one))
                .or_default()
                .entry(Talk::of(one))
                .or_default();
            said.take(one);
        }
        Self {
            talks,
            form,
            min_count,
        }
    }

    /// Whether the suggested policies of its workload allow it.
    pub(super) fn allows(&self, seen: &Seen) -> bool {
        let side = Side::of(seen);
        let talk = Talk::of(seen);
        let Some(said) = self.talks.get(&side).and_then(|talks| talks.get(&talk)) else {
            return false;
        };
        if seen.standing != Standing::Passed || !self.allows_talk(side, talk, said) {
            return false;
        }
        match &seen.request {
            Some(request) if self.judges(side, talk, said) => {
                let asked = said.requests.get(&Key::of(request));
                asked.is_some_and(|asked| self.allows_request(asked))
            }
            _ => true,
        }
    }

    fn allows_request(&self, asked: &Asked) -> bool {
        asked.passed >= self.min_count
    }

    /// Whether there is a rule for this peer and port.
    fn allows_talk(&self, side: Side<'_>, talk: Talk<'_>, said: &Said<'_>) -> bool {
        if !self.is_expressible(talk) {
            return false;
        }
        if self.judges(side, talk, said) {
            return said
                .requests
                .values()
                .any(|asked| self.allows_request(asked));
        }
        said.count >= self.min_count
    }

    /// Whether rules here are about requests: not where the server's own are.
    fn judges(&self, side: Side<'_>, talk: Talk<'_>, said: &Said<'_>) -> bool {
        let is_dns = |key: &Key<'_>| matches!(key, Key::Dns(_));
        let has_dns = said.requests.keys().any(is_dns);
        if self.form == Form::Kubernetes || said.requests.is_empty() {
            return false;
        }
        match side.direction {
            // Names are judged where they are asked for.
            Direction::Egress if has_dns => matches!(talk.protocol, TCP | UDP),
            Direction::Ingress if has_dns => false,
            Direction::Ingress => talk.protocol == TCP,
            Direction::Egress => {
                let is_told_there = match talk.peer {
                    Peer::Workload(workload) => self.talks.contains_key(&Side {
                        workload,
                        direction: Direction::Ingress,
                    }),
                    Peer::Address(_) | Peer::Entity(_) | Peer::Name(_) => false,
                };
                talk.protocol == TCP && !is_told_there
            }
        }
    }

    fn is_expressible(&self, talk: Talk<'_>) -> bool {
        if self.form == Form::Cilium {
            return true;
        }
        let is_sayable = match talk.peer {
            Peer::Address(_) | Peer::Workload(_) => true,
            Peer::Entity(entity) => entity == "world",
            Peer::Name(_) => false,
        };
        is_sayable && !ICMP.contains(&talk.protocol)
    }

    /// The policy of a workload; its name is still to be given.
    pub(super) fn policy(&self, workload: &Workload) -> Suggested {
        let mut listed: BTreeMap<Heading, BTreeSet<String>> = BTreeMap::new();
        let mut elements = |direction| {
            let side = Side {
                workload,
                direction,
            };
            let Some(talks) = self.talks.get(&side) else {
                let what = match direction {
                    Direction::Egress => "egress",
                    Direction::Ingress => "ingress",
                };
                listed
                    .entry(Heading::Open)
                    .or_default()
                    .insert(what.to_owned());
                return None;
            };
            for (talk, said) in talks {
                self.list(side, *talk, said, &mut listed);
            }
            Some(self.elements(side, talks))
        };
        let ingress = elements(Direction::Ingress);
        let egress = elements(Direction::Egress);
        Suggested {
            name: String::new(),
            workload: workload.clone(),
            ingress,
            egress,
            listed,
            without: Selectors::new(),
        }
    }

    fn list(
        &self,
        side: Side<'_>,
        talk: Talk<'_>,
        said: &Said<'_>,
        listed: &mut BTreeMap<Heading, BTreeSet<String>>,
    ) {
        let mut add = |heading: Heading, what: Option<&Key<'_>>| {
            let line = line(side.direction, talk, what);
            listed.entry(heading).or_default().insert(line);
        };
        if !self.is_expressible(talk) && said.count > 0 {
            add(Heading::Inexpressible, None);
            return;
        }
        let judges = self.judges(side, talk, said);
        for (key, asked) in &said.requests {
            if asked.is_dropped && asked.passed == 0 {
                add(Heading::Dropped, Some(key));
            }
            if judges && asked.is_ambiguous && asked.passed == 0 {
                add(Heading::Ambiguous, Some(key));
            }
            if judges && asked.passed > 0 && !self.allows_request(asked) {
                add(Heading::Rare, Some(key));
            }
        }
        if said.is_dropped && said.count == 0 {
            add(Heading::Dropped, None);
        }
        if !judges && said.count > 0 && said.count < self.min_count {
            add(Heading::Rare, None);
        }
    }

    /// Peers of one kind with the same ports and rules share an element.
    fn elements(&self, side: Side<'_>, talks: &BTreeMap<Talk<'_>, Said<'_>>) -> Vec<Element> {
        let names: BTreeSet<String> = talks
            .iter()
            .filter(|(talk, said)| self.allows_talk(side, **talk, said))
            .filter_map(|(talk, _)| match talk.peer {
                Peer::Name(name) => Some(name.clone()),
                Peer::Address(_) | Peer::Entity(_) | Peer::Workload(_) => None,
            })
            .collect();
        let mut of_peers: BTreeMap<&Peer, Ports> = BTreeMap::new();
        for (talk, said) in talks {
            if !self.allows_talk(side, *talk, said) {
                continue;
            }
            let ports = of_peers.entry(talk.peer).or_default();
            let port = (talk.protocol, talk.port);
            match self.rules(side, *talk, said, &names) {
                Some(rules) => {
                    ports.judged.insert(port, rules);
                }
                None => {
                    ports.plain.insert(port);
                }
            }
        }
        let mut shared: BTreeMap<(u8, Ports), Vec<Peer>> = BTreeMap::new();
        for (peer, ports) in of_peers {
            for ports in ports.split_icmp() {
                shared
                    .entry((kind(peer), ports))
                    .or_default()
                    .push(peer.clone());
            }
        }
        let mut elements: Vec<Element> = shared
            .into_iter()
            .map(|((_, ports), peers)| Element {
                peers,
                plain: ports.plain,
                judged: ports.judged,
            })
            .collect();
        elements.sort_by(|a, b| a.peers.cmp(&b.peers));
        elements
    }

    fn rules(
        &self,
        side: Side<'_>,
        talk: Talk<'_>,
        said: &Said<'_>,
        names: &BTreeSet<String>,
    ) -> Option<Rules> {
        let is_resolver = side.direction == Direction::Egress
            && talk.port == DNS_PORT
            && matches!(talk.protocol, TCP | UDP);
        if !self.judges(side, talk, said) {
            // Rules for names need to see the answers.
            let must_see = is_resolver && !names.is_empty() && self.form == Form::Cilium;
            return must_see.then(|| Rules::Dns(BTreeSet::new()));
        }
        let allowed = said
            .requests
            .iter()
            .filter(|(_, asked)| self.allows_request(asked));
        let mut asked_names = BTreeSet::new();
        let mut requests = BTreeSet::new();
        for (key, asked) in allowed {
            match key {
                Key::Dns(name) => {
                    asked_names.insert((*name).to_owned());
                }
                Key::Http(method, path, _) => {
                    requests.insert((
                        regex_syntax::escape(method),
                        expression(path, asked.has_query),
                    ));
                }
            }
        }
        Some(if asked_names.is_empty() {
            Rules::Http(requests)
        } else {
            asked_names.extend(names.iter().cloned());
            Rules::Dns(asked_names)
        })
    }
}

#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
struct Ports {
    plain: BTreeSet<(u8, u16)>,
    judged: BTreeMap<(u8, u16), Rules>,
}

impl Ports {
    /// Types of ICMP stand in elements of their own.
    fn split_icmp(self) -> Vec<Self> {
        let (icmp, plain): (BTreeSet<_>, BTreeSet<_>) = self
            .plain
            .into_iter()
            .partition(|(protocol, _)| ICMP.contains(protocol));
        let of_icmp = Self {
            plain: icmp,
            ..Self::default()
        };
        let of_ports = Self {
            plain,
            judged: self.judged,
        };
        [of_ports, of_icmp]
            .into_iter()
            .filter(|ports| !(ports.plain.is_empty() && ports.judged.is_empty()))
            .collect()
    }
}

/// Kinds of peers cannot stand in one element.
fn kind(peer: &Peer) -> u8 {
    match peer {
        Peer::Workload(_) => 0,
        Peer::Entity(_) => 1,
        Peer::Name(_) => 2,
        Peer::Address(_) => 3,
    }
}

/// Rules match path and query.
fn expression(path: &[PathPart], has_query: bool) -> String {
    let mut text = String::new();
    for part in path {
        match part {
            PathPart::Text(literal) => text.push_str(&regex_syntax::escape(literal)),
            PathPart::Pattern(pattern) => text.push_str(pattern),
        }
    }
    if has_query {
        text.push_str("(\\?.*)?");
    }
    text
}
