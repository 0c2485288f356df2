//! Before and after: which flows would change their verdict.

use std::collections::{BTreeMap, BTreeSet};

use parsers::template::Templates;
use serde::Serialize;

use super::ask::Ask;
use super::ends::EndId;
use super::gather::{Asked, Gather, Passed, Sample};
use super::judge::{Outcome, Sides, Unsaid, World};
use crate::record::Direction;

/// Most groups that are told apart; flows of further ones are only counted.
const GROUPS_MAX: usize = 10_000;
/// Samples of a group.
const SAMPLES_MAX: usize = 3;

/// What would happen to flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Allowed before, denied after.
    AllowToDeny,
    /// Denied before, allowed after.
    DenyToAllow,
    /// What the flow does not tell decides.
    Undecidable,
}

/// What was decided, and by what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Decision {
    /// `allowed`, `denied`, or `undecidable`.
    pub verdict: &'static str,
    /// `recorded`, or the rules.
    pub by: Vec<String>,
    /// Whose policies denied: `egress` of the source or `ingress` of the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub side: Option<&'static str>,
    /// The rule that came nearest and what differed, or what is not told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// Flows that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Group {
    /// What would happen to them.
    pub change: Change,
    /// How many there are.
    pub flows: u64,
    /// Workload or labels, or name or address outside.
    pub source: String,
    /// The same.
    pub destination: String,
    /// `80/TCP`, or the type of ICMP.
    pub port: String,
    /// Method and path template, or the name asked for; empty for connections.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub request: String,
    /// Before.
    pub before: Decision,
    /// After.
    pub after: Decision,
    /// The earliest.
    pub samples: Vec<Sample>,
}

/// How many flows stay as they are, and how many change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Allowed before, denied after.
    pub allow_to_deny: u64,
    /// Denied before, allowed after.
    pub deny_to_allow: u64,
    /// It cannot be said.
    pub undecidable: u64,
    /// Allowed as before.
    pub still_allowed: u64,
    /// Denied as before.
    pub still_denied: u64,
    /// Flows of groups beyond those that are told apart, included above.
    pub of_further_groups: u64,
}

/// What would change.
#[derive(Debug, Default)]
pub struct Comparison {
    templates: Templates,
    groups: BTreeMap<GroupKey, (u64, Vec<Sample>)>,
    totals: Totals,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    change: Change,
    source: String,
    destination: String,
    protocol: u8,
    port: u16,
    request: String,
    before: Decision,
    after: Decision,
}

/// What was asked of whom, where it was seen or not.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Matter<'a>(EndId, EndId, u8, u16, &'a Ask);

impl<'a> Matter<'a> {
    fn of(asked: &'a Asked) -> Self {
        Self(
            asked.source,
            asked.destination,
            asked.protocol,
            asked.port,
            &asked.ask,
        )
    }
}

impl Comparison {
    /// Nothing was compared yet; these templates of paths come before those that are found.
    pub fn new(templates: Templates) -> Self {
        Self {
            templates,
            ..Self::default()
        }
    }

    /// Judges what was asked, by `before` or, without it, by what was recorded, and by `after`.
    pub fn add(&mut self, gather: &Gather, asked: &[Asked], before: Option<&World>, after: &World) {
        self.add_where(gather, asked, before, after, |_| true);
    }

    /// The same for those of these places.
    pub fn add_where(
        &mut self,
        gather: &Gather,
        asked: &[Asked],
        before: Option<&World>,
        after: &World,
        is_meant: impl Fn(usize) -> bool,
    ) {
        let context = Context::of(asked);
        let meant = asked.iter().enumerate().filter(|(at, _)| is_meant(*at));
        for (_, one) in meant {
            let (old, new) = context.judged(gather, one, before, after);
            self.count(gather, one, old, new);
        }
    }

    fn count(&mut self, gather: &Gather, asked: &Asked, old: Decision, new: Decision) {
        let totals = &mut self.totals;
        let (total, change) = match (old.verdict, new.verdict) {
            (ALLOWED, DENIED) => (&mut totals.allow_to_deny, Change::AllowToDeny),
            (DENIED, ALLOWED) => (&mut totals.deny_to_allow, Change::DenyToAllow),
            (ALLOWED, ALLOWED) => {
                totals.still_allowed += asked.count;
                return;
            }
            (DENIED, DENIED) => {
                totals.still_denied += asked.count;
                return;
            }
            _ => (&mut totals.undecidable, Change::Undecidable),
        };
        *total += asked.count;
        let key = GroupKey {
            change,
            source: gather.ends.name(asked.source),
            destination: gather.ends.name(asked.destination),
            protocol: asked.protocol,
            port: asked.port,
            request: request(&asked.ask, &self.templates),
            before: old,
            after: new,
        };
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&key) {
            self.totals.of_further_groups += asked.count;
            return;
        }
        let (flows, samples) = self.groups.entry(key).or_default();
        *flows += asked.count;
        samples.extend(asked.samples.iter().cloned());
        samples.sort();
        samples.truncate(SAMPLES_MAX);
    }

    /// How many flows change.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// All groups: those that would be denied first, then by size.
    pub fn into_groups(self) -> Vec<Group> {
        let groups = self
            .groups
            .into_iter()
            .map(|(key, (flows, samples))| Group {
                change: key.change,
                flows,
                source: key.source,
                destination: key.destination,
                port: port(key.protocol, key.port),
                request: key.request,
                before: key.before,
                after: key.after,
                samples,
            });
        let mut groups: Vec<Group> = groups.collect();
        groups.sort_by_key(|group| (group.change, std::cmp::Reverse(group.flows)));
        groups
    }
}

/// What other flows tell of one.
pub(super) struct Context<'a> {
    /// Ends and ports whose requests were seen.
    with_requests: BTreeSet<(EndId, EndId, u16)>,
    /// What was dropped at who was asked: that it left who asked says nothing about the whole way.
    dropped_at_destination: BTreeSet<Matter<'a>>,
}

impl<'a> Context<'a> {
    pub(super) fn of(asked: &'a [Asked]) -> Self {
        let with_requests = asked.iter().filter(|asked| asked.ask != Ask::Connection);
        let dropped = asked
            .iter()
            .filter(|asked| asked.direction == Direction::Ingress && asked.passed == Passed::No);
        Self {
            with_requests: with_requests
                .map(|asked| (asked.source, asked.destination, asked.port))
                .collect(),
            dropped_at_destination: dropped.map(Matter::of).collect(),
        }
    }

    fn judged(
        &self,
        gather: &Gather,
        asked: &Asked,
        before: Option<&World>,
        after: &World,
    ) -> (Decision, Decision) {
        let is_told = self.tells_requests(asked);
        let is_half_way = before.is_none()
            && asked.direction == Direction::Egress
            && asked.passed == Passed::Yes
            && self.dropped_at_destination.contains(&Matter::of(asked));
        let sides = if is_half_way {
            Sides::Source
        } else {
            Sides::Both
        };
        let old = match before {
            Some(before) => decision(before.outcome(gather, asked, sides, is_told)),
            None => recorded(asked.passed),
        };
        let new = decision(after.outcome(gather, asked, sides, is_told));
        (old, new)
    }

    /// Whether the requests of a connection between these ends are told by other flows.
    pub(super) fn tells_requests(&self, asked: &Asked) -> bool {
        let between = (asked.source, asked.destination, asked.port);
        self.with_requests.contains(&between)
    }
}

const ALLOWED: &str = "allowed";
const DENIED: &str = "denied";

fn recorded(passed: Passed) -> Decision {
    Decision {
        verdict: match passed {
            Passed::No => DENIED,
            Passed::Yes => ALLOWED,
        },
        by: vec!["recorded".to_owned()],
        side: None,
        detail: String::new(),
    }
}

fn decision(outcome: Outcome) -> Decision {
    match outcome {
        Outcome::Allowed { by } => Decision {
            verdict: ALLOWED,
            by,
            side: None,
            detail: String::new(),
        },
        Outcome::Denied { side, by, detail } => Decision {
            verdict: DENIED,
            by,
            side: match side {
                Direction::Egress => Some("egress"),
                Direction::Ingress => Some("ingress"),
                Direction::Unknown => None,
            },
            detail,
        },
        Outcome::Unsaid(unsaid) => unsaid_decision(unsaid),
    }
}

fn unsaid_decision(unsaid: Unsaid) -> Decision {
    Decision {
        verdict: "undecidable",
        by: Vec::new(),
        side: None,
        detail: unsaid.as_str().to_owned(),
    }
}

/// What was asked for, ids folded.
fn request(ask: &Ask, templates: &Templates) -> String {
    match ask {
        Ask::Connection => String::new(),
        Ask::Dns(name) => format!("DNS {}", name.trim_end_matches('.')),
        Ask::Http(http) => format!("{} {}", http.method, templates.fold(&http.path)),
    }
}

/// `80/TCP`, or the type of ICMP.
pub(super) fn port(protocol: u8, port: u16) -> String {
    match protocol {
        1 => format!("ICMPv4 type {port}"),
        6 => format!("{port}/TCP"),
        17 => format!("{port}/UDP"),
        58 => format!("ICMPv6 type {port}"),
        132 => format!("{port}/SCTP"),
        other => format!("{port}/{other}"),
    }
}
