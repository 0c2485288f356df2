//! A policy set, compiled for whoever was seen, and what it says of what was asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use ahash::AHashMap;
use policy_l7::{Labels, Needs, Policy};

use super::ask::{Ask, Assumed, HttpAsk};
use super::ends::{EndId, Who};
use super::gather::{Asked, Gather};
use super::known::{Builder, Parties};
use crate::policy::{Denial, Door, Live, Permit, Request};
use crate::record::{Direction, PolicyRef, Verdict};

/// What policies say of something that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It passes.
    Allowed {
        /// The rules that allow it; none where nothing is denied by default.
        by: Vec<String>,
    },
    /// It does not.
    Denied {
        /// Whose policies: of who asked (egress), or of who was asked.
        side: Direction,
        /// The policies that would have had to allow it, or the deny rule.
        by: Vec<String>,
        /// The rule that came nearest and what differed; may be empty.
        detail: String,
    },
    /// The flow does not tell enough.
    Unsaid(Unsaid),
}

/// What a flow does not tell, and policies ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unsaid {
    /// The address outside.
    Address,
    /// The labels of who asked or was asked.
    Labels,
    /// Header fields, or their values.
    Headers,
    /// Which port is called by a name.
    NamedPorts,
    /// The DNS names of an address outside.
    Names,
    /// What was asked on the connection, which rules want to judge.
    Request,
    /// Who serves behind the address of a service.
    Service,
}

impl Unsaid {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "the flow has no address, and rules are about addresses",
            Self::Labels => "the labels of one side are not told",
            Self::Headers => "rules depend on headers that the flow does not tell",
            Self::NamedPorts => "rules name ports; --endpoints can say which they are",
            Self::Names => "no DNS name of the address is known, and rules are about names",
            Self::Request => "rules judge requests, and the flow tells none",
            Self::Service => "the address is a service's; who serves is not told",
        }
    }
}

/// Whose policies are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sides {
    /// Both ends'.
    Both,
    /// Only those of who asked.
    Source,
}

/// A policy set, compiled for whoever was seen.
pub struct World {
    live: Arc<Live>,
    /// The same, every named port being any port that was seen; where it is not told which they are.
    any_port: Option<Arc<Live>>,
    parties: AHashMap<EndId, Parties>,
    headers: Vec<String>,
    asks_addresses: bool,
}

/// What is assumed of what a flow does not tell.
#[derive(Debug, Clone, Copy, Default)]
struct Assumptions {
    headers_fit: bool,
    names_fit: bool,
    ports_fit: bool,
}

/// What the judge says under some assumptions.
enum Judged {
    Allowed(Vec<String>),
    Denied(Direction, Vec<String>, String),
    /// It depends on the request, which is not told.
    Open,
}

impl Judged {
    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl World {
    /// Compiles policies for the ends of what was asked.
    pub fn new(policies: &[Policy], gather: &Gather, asked: &[Asked]) -> Self {
        let needs = Needs::of(policies);
        let builder = Builder::new(gather, policies);
        let served = ports_of(asked);
        let told = |labels: &Labels| gather.ends.told().ports_of(labels);
        let has_untold =
            !needs.ports.is_empty() && builder.pods.keys().any(|labels| told(labels).is_none());
        let compiled = builder.compile(policies, |labels| {
            let is_asked = !needs.ports.is_empty();
            is_asked.then(|| told(labels)).flatten().unwrap_or_default()
        });
        let any_port = has_untold.then(|| {
            let all: Vec<(String, u16)> = needs
                .ports
                .iter()
                .flat_map(|name| served.iter().map(move |port| (name.clone(), *port)))
                .collect();
            let named_ports = |labels: &Labels| told(labels).unwrap_or_else(|| all.clone());
            Arc::new(Live::new(builder.compile(policies, named_ports)))
        });
        let parties = builder.parties(&compiled);
        Self {
            live: Arc::new(Live::new(compiled)),
            any_port,
            parties,
            headers: gather.headers().to_vec(),
            asks_addresses: needs.addresses,
        }
    }

    /// What the policies say. A connection whose requests are `told` elsewhere passes where they are
    /// judged.
    pub(super) fn outcome(
        &self,
        gather: &Gather,
        asked: &Asked,
        sides: Sides,
        is_told: bool,
    ) -> Outcome {
        for id in [asked.source, asked.destination] {
            match gather.ends.who(id) {
                Who::Numbered(_) | Who::Unknown => return Outcome::Unsaid(Unsaid::Labels),
                Who::Service => return Outcome::Unsaid(Unsaid::Service),
                Who::Outside { .. } | Who::Pod(_) | Who::Reserved(_) => {}
            }
        }
        let ends = self
            .parties
            .get(&asked.source)
            .zip(self.parties.get(&asked.destination));
        let Some((source, destination)) = ends else {
            return Outcome::Unsaid(Unsaid::Labels);
        };
        if self.asks_addresses && !(source.has_address && destination.has_address) {
            return Outcome::Unsaid(Unsaid::Address);
        }
        let judge = |assumptions| self.judge(asked, (source, destination), sides, assumptions);
        let judged = judge(Assumptions::default());
        for (unsaid, assumptions) in self.doubts(asked, destination) {
            if !judge(assumptions).is_like(&judged) {
                return Outcome::Unsaid(unsaid);
            }
        }
        match judged {
            Judged::Allowed(by) => Outcome::Allowed { by },
            Judged::Denied(side, by, detail) => Outcome::Denied { side, by, detail },
            Judged::Open if is_told => Outcome::Allowed { by: Vec::new() },
            Judged::Open => Outcome::Unsaid(Unsaid::Request),
        }
    }

    /// What is not told, with the other assumption about it; the last one has all of them.
    fn doubts(&self, asked: &Asked, destination: &Parties) -> Vec<(Unsaid, Assumptions)> {
        let none = Assumptions::default();
        let mut doubts = Vec::new();
        let mut all = none;
        if matches!(&asked.ask, Ask::Http(http) if http.hides(&self.headers)) {
            all.headers_fit = true;
            doubts.push((
                Unsaid::Headers,
                Assumptions {
                    headers_fit: true,
                    ..none
                },
            ));
        }
        if destination.if_named.is_some() {
            all.names_fit = true;
            doubts.push((
                Unsaid::Names,
                Assumptions {
                    names_fit: true,
                    ..none
                },
            ));
        }
        if self.any_port.is_some() {
            all.ports_fit = true;
            doubts.push((
                Unsaid::NamedPorts,
                Assumptions {
                    ports_fit: true,
                    ..none
                },
            ));
        }
        if let [(first, _), _, ..] = doubts.as_slice() {
            doubts.push((*first, all));
        }
        doubts
    }

    fn judge(
        &self,
        asked: &Asked,
        (source, destination): (&Parties, &Parties),
        sides: Sides,
        assumptions: Assumptions,
    ) -> Judged {
        let live = self
            .any_port
            .as_ref()
            .filter(|_| assumptions.ports_fit)
            .unwrap_or(&self.live);
        let of = |parties: &Parties| {
            let named = parties.if_named.as_ref().filter(|_| assumptions.names_fit);
            named.unwrap_or(&parties.party).clone()
        };
        let is_host = source.is_host;
        let (source, mut destination) = (of(source), of(destination));
        destination.addr.set_port(asked.port);
        if sides == Sides::Source {
            destination.endpoint = None;
        }
        let judged = live.judge_connection(&source, &destination, asked.protocol);
        if let Some(denied) = judged
            .as_ref()
            .filter(|judged| judged.verdict == Verdict::Dropped)
        {
            let detail = if denied.policies.iter().any(|policy| !policy.rule.is_empty()) {
                "a deny rule"
            } else {
                "no rule is about this peer and port"
            };
            if is_host && denied.direction == Direction::Ingress {
                // The kernel programs let a node's own processes reach its pods: probes depend on it.
                return Judged::Allowed(Vec::new());
            }
            return Judged::Denied(denied.direction, names(&denied.policies), detail.to_owned());
        }
        let Door::Enforce(judge) = live.door(&source, &destination, asked.protocol) else {
            let by = judged.map(|judged| names(&judged.policies));
            return Judged::Allowed(by.unwrap_or_default());
        };
        match &asked.ask {
            Ask::Connection => Judged::Open,
            Ask::Dns(name) => said(judge.judge_name(name.as_bytes())),
            Ask::Http(http) => {
                let fields = Assumed {
                    ask: http,
                    is_met: assumptions.headers_fit,
                };
                said(judge.judge_readings(&request(http, &fields)))
            }
        }
    }
}

fn request<'r>(http: &'r HttpAsk, fields: &'r Assumed<'r>) -> Request<'r> {
    Request {
        method: http.method.as_bytes(),
        path: http.path.as_bytes(),
        host: http.host.as_bytes(),
        headers: fields,
    }
}

fn said(judged: Result<Permit, Denial>) -> Judged {
    match judged {
        Ok(permit) => Judged::Allowed(names(permit.policies())),
        Err(denial) => Judged::Denied(denial.direction, names(&denial.policies), denial.detail),
    }
}

fn names(policies: &[PolicyRef]) -> Vec<String> {
    policies.iter().map(ToString::to_string).collect()
}

/// Ports that were asked for.
fn ports_of(asked: &[Asked]) -> BTreeSet<u16> {
    asked.iter().map(|asked| asked.port).collect()
}
