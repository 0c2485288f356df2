//! The same questions to the engine that is shipped.

mod known;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy_l7::identity::{HOST, WORLD};
use policy_l7::{
    Action, Compiled, ConnectionVerdict, Endpoint, Entry, Headers, HttpRequest, Inputs,
    JudgedProtocol, Named, Policy, Provenance, RuleId, SideMode, Subject, compile, identity,
    read_objects,
};

use super::reference::{HttpWords, Place, Question, Request, Setting};
use super::world::{End, RESERVED, World};
use known::{FIRST_ENDPOINT, FIRST_NODE};

pub(super) use known::{Known, Referred, port_names};

/// What the engine says, and the rule that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Pass.
    Pass(Option<Place>),
    /// Refuse.
    Refuse(Option<Place>),
    /// Judge the requests.
    Judge(Option<Place>),
}

/// Which of the policies of an endpoint are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// What would hold if nothing were only audited.
    Audited,
    /// What holds.
    InForce,
}

/// A compiled policy set, and who is who in it.
#[derive(Debug)]
pub struct Engine {
    compiled: Arc<Compiled>,
    /// Endpoint and identity of each pod, by its name.
    pods: BTreeMap<String, (u16, u32)>,
    /// Identity of each node, by its name.
    nodes: BTreeMap<String, u32>,
    /// Entries of each set, by its number.
    entries: BTreeMap<u32, Vec<Entry>>,
}

/// All objects of a text.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(text: &str) -> Result<Vec<Policy>, String> {
    let objects = read_objects("policy.yaml", text).map_err(|errors| {
        let errors = errors.iter().map(ToString::to_string);
        errors.collect::<Vec<_>>().join("\n")
    })?;
    Ok(objects.policies)
}

/// What the policies know of the names of everybody outside.
pub(super) fn named(compiled: &Compiled, world: &World) -> BTreeSet<Named> {
    let named = world.outside.iter().filter_map(|outside| {
        let names = outside.names.iter().map(String::as_bytes);
        compiled.named(outside.address, names)
    });
    named.collect()
}

impl Engine {
    /// Reads and compiles at once.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn new(world: &World, text: &str, setting: &Setting) -> Result<Self, String> {
        let policies = read(text)?;
        let known = Known::of(world);
        let identities = [identity::reserved(), known.identities].concat();
        let port_names = port_names(world, &known.numbers, |_| true);
        let endpoints: Vec<Endpoint> = known.endpoints.into_iter().flatten().collect();
        let referred = Referred::of(world);
        let build = |named: &BTreeSet<Named>| {
            compile(&Inputs {
                policies: &policies,
                surroundings: referred.surroundings(),
                identities: &identities,
                endpoints: &endpoints,
                port_names: &port_names,
                named,
                enforcement: setting.enforcement,
                audit: &setting.audit,
                revision: 1,
            })
        };
        // As the agent does it: what names are asked about is known from a first compilation.
        let before = build(&BTreeSet::new());
        let compiled = build(&named(&before, world));
        Ok(Self::of(world, Arc::new(compiled)))
    }

    /// What was compiled in another way, for the same pods.
    pub(super) fn of(world: &World, compiled: Arc<Compiled>) -> Self {
        let known = Known::of(world);
        let numbers = known.identities.iter().map(|identity| identity.number);
        let pods = world.pods.iter().zip(FIRST_ENDPOINT..).zip(numbers);
        let pods = pods.map(|((pod, id), number)| (pod.name.clone(), (id, number)));
        let nodes = world.nodes.iter().zip(FIRST_NODE..);
        let nodes = nodes.map(|(node, number)| (node.name.clone(), number));
        let sets = compiled.sets();
        let entries = sets.iter();
        let entries = entries.map(|set| (set.number(), compiled.entries(set)));
        Self {
            pods: pods.collect(),
            nodes: nodes.collect(),
            entries: entries.collect(),
            compiled,
        }
    }

    /// Identity of an end, found as the kernel finds it: by name and the longest prefix.
    pub fn identity(&self, end: End<'_>) -> u32 {
        match end {
            End::Node(node) => self.nodes.get(&node.name).copied().unwrap_or(0),
            End::Pod(pod) => self.pods.get(&pod.name).map_or(0, |(_, number)| *number),
            End::Reserved(name) => RESERVED
                .iter()
                .find(|(known, _)| *known == name)
                .map_or(HOST, |(_, number)| *number),
            End::Outside(outside) => {
                let names = outside.names.iter().map(String::as_bytes);
                if let Some(named) = self.compiled.named(outside.address, names) {
                    let identity = self.compiled.identity_of(&named);
                    return identity.map_or(0, |identity| identity.number);
                }
                let prefixes = self.compiled.prefixes().iter();
                prefixes
                    .filter(|(prefix, _)| prefix.contains(&outside.address))
                    .max_by_key(|(prefix, _)| prefix.prefix_len())
                    .map_or(WORLD, |(_, identity)| identity.number)
            }
        }
    }

    fn subject(&self, question: &Question<'_>) -> Subject {
        let own = self.pods.get(&question.subject.name);
        Subject {
            endpoint: own.map_or(0, |(id, _)| *id),
            direction: question.direction,
            remote: self.identity(question.other),
            protocol: question.protocol,
            port: question.port,
        }
    }

    fn place(&self, rule: RuleId) -> Option<Place> {
        self.compiled.rule(rule).map(place)
    }

    /// What the judge says of a connection.
    pub fn connection(&self, question: &Question<'_>, which: Which) -> Told {
        let subject = self.subject(question);
        let in_force = || {
            self.compiled.judge_connection(
                subject.endpoint,
                subject.direction,
                subject.remote,
                subject.protocol,
                subject.port,
            )
        };
        let verdict = match which {
            Which::InForce => in_force(),
            // Where nothing is audited, what holds is all there is.
            Which::Audited => self
                .compiled
                .audit_connection(&subject)
                .unwrap_or_else(in_force),
        };
        match verdict {
            ConnectionVerdict::Allow { rule } => Told::Pass(rule.and_then(|id| self.place(id))),
            ConnectionVerdict::Deny { rule } => Told::Refuse(rule.and_then(|id| self.place(id))),
            ConnectionVerdict::Redirect { rule } => Told::Judge(self.place(rule)),
        }
    }

    /// What the kernel would say: two look-ups among the entries, each for the longest prefix.
    pub fn kernel(&self, question: &Question<'_>, which: Which) -> Told {
        let subject = self.subject(question);
        let Some(policy) = self.compiled.endpoint(subject.endpoint) else {
            return Told::Pass(None);
        };
        let set = match (which, &policy.audited) {
            (Which::Audited, Some(audited)) => audited,
            (Which::Audited, None) | (Which::InForce, _) => &policy.in_force,
        };
        let entries = self.entries.get(&set.number());
        let entries = entries.map_or(&[][..], Vec::as_slice);
        let own = look_up(entries, &subject, subject.remote);
        let any = look_up(entries, &subject, 0);
        // The stricter one counts.
        let entry = own.into_iter().chain(any).max_by_key(|entry| entry.action);
        match entry.map(|entry| (entry.action, self.place(entry.rule))) {
            Some((Action::Allow, place)) => Told::Pass(place),
            Some((Action::Redirect, place)) => Told::Judge(place),
            Some((Action::Deny, place)) => Told::Refuse(place),
            None if set.mode(subject.direction) == SideMode::Open => Told::Pass(None),
            None => Told::Refuse(None),
        }
    }

    /// What the judge says of a request; of a refusal, everything that it names.
    ///
    /// # Errors
    /// The places that a denial names.
    pub fn request(
        &self,
        question: &Question<'_>,
        request: Request<'_>,
    ) -> Result<Option<Place>, Vec<Place>> {
        let subject = self.subject(question);
        let verdict = match request {
            Request::Dns(name) => self.compiled.judge_dns(&subject, name.as_bytes()),
            Request::Http(words) => {
                let paths = paths(words);
                self.compiled.judge_http(&subject, &http(words, &paths))
            }
            Request::Tls(name) => {
                let name = name.map(str::as_bytes);
                self.compiled.judge_server_name(&subject, name)
            }
        };
        match verdict {
            Ok(permit) => Ok(permit.rule().and_then(|rule| self.place(rule))),
            Err(denial) => Err(denial.policies().iter().map(place).collect()),
        }
    }

    /// Whether a request would be denied if nothing were only audited, and by what.
    pub fn would_deny(&self, question: &Question<'_>, request: Request<'_>) -> Option<Vec<Place>> {
        let subject = self.subject(question);
        let denial = match request {
            Request::Dns(name) => self
                .compiled
                .connection(&subject)
                .audit_dns(name.as_bytes()),
            Request::Http(words) => {
                let paths = paths(words);
                self.compiled
                    .connection(&subject)
                    .audit_http(&http(words, &paths))
            }
            Request::Tls(name) => {
                let connection = self.compiled.connection(&subject);
                connection.audit_server_name(name.map(str::as_bytes))
            }
        };
        denial.map(|denial| denial.policies().iter().map(place).collect())
    }

    /// Whether an endpoint has policies that are only audited.
    pub fn audits(&self, question: &Question<'_>) -> bool {
        let policy = self.compiled.endpoint(self.subject(question).endpoint);
        policy.is_some_and(|policy| policy.audited.is_some())
    }

    /// Whether requests of HTTP are judged on a connection, or only looked at.
    pub fn reads_http(&self, question: &Question<'_>) -> bool {
        let subject = self.subject(question);
        self.compiled.judges_in(&subject, JudgedProtocol::Http)
    }

    /// Whether requests of a connection are judged at all.
    pub fn judges(&self, question: &Question<'_>) -> bool {
        let subject = self.subject(question);
        let mut protocols = JudgedProtocol::ALL.into_iter();
        protocols.any(|protocol| self.compiled.judges_in(&subject, protocol))
    }
}

fn paths(words: &HttpWords) -> Vec<&[u8]> {
    words.paths.iter().map(String::as_bytes).collect()
}

fn http<'w>(words: &'w HttpWords, paths: &'w [&'w [u8]]) -> HttpRequest<'w> {
    HttpRequest {
        method: words.method.as_bytes(),
        paths,
        host: words.host.as_bytes(),
        headers: words,
    }
}

fn place(provenance: &Provenance) -> Place {
    (provenance.name.clone(), provenance.rule.clone())
}

/// Direction and identity must be equal; of protocol and port, as many bits as the entry has.
fn look_up<'e>(entries: &'e [Entry], subject: &Subject, identity: u32) -> Option<&'e Entry> {
    let asked = (u32::from(subject.protocol) << 16) | u32::from(subject.port);
    let length = |entry: &Entry| match entry.key.protocol {
        0 => 0,
        _ => 8 + u32::from(entry.key.port_bits),
    };
    let is_found = |entry: &&Entry| {
        let have = (u32::from(entry.key.protocol) << 16) | u32::from(entry.key.port);
        let differing = (asked ^ have) << 8;
        entry.key.direction == subject.direction
            && entry.key.identity == identity
            && differing.leading_zeros() >= length(entry)
    };
    entries
        .iter()
        .filter(is_found)
        .max_by_key(|entry| length(entry))
}

impl Headers for HttpWords {
    fn each(&self, visit: &mut dyn FnMut(&[u8], &[u8])) {
        for (name, value) in &self.fields {
            visit(name.as_bytes(), value.as_bytes());
        }
    }
}
