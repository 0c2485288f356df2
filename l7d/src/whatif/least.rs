//! What was asked → what [`policy_l7::suggest`] needs to know of it: workloads by the labels that say
//! most, paths by their templates.

use std::collections::{BTreeMap, BTreeSet};

use parsers::target;
use parsers::template::{self, Learner, Part, Templates};
use policy_l7::suggest::{Form, PathPart, Peer, Request, Seen, Standing, Workload};
use policy_l7::{Direction, Labels, labels};

use super::ask::{Ask, HttpAsk};
use super::ends::{EndId, NAMESPACE, TELLING, Who};
use super::gather::{Asked, Gather, Passed};

/// Labels that tell parts of an application, or copies of it, apart.
const PARTS: [&str; 3] = [
    "app.kubernetes.io/component",
    "app.kubernetes.io/instance",
    "component",
];
/// Reserved labels that are entities, the one that says most first.
const ENTITIES: [&str; 7] = [
    "kube-apiserver",
    "host",
    "remote-node",
    "health",
    "ingress",
    "init",
    "unmanaged",
];

/// For which workloads, and in which directions, policies are suggested.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Of this namespace only.
    pub namespace: Option<String>,
    /// Those of this name or with such a pod (`NAME` or `NAMESPACE/NAME`), or with these labels
    /// (`a=b,c=d`).
    pub subject: Option<String>,
    /// Not what comes in.
    pub without_ingress: bool,
    /// Not what goes out.
    pub without_egress: bool,
}

/// What was seen of the workloads in scope.
#[derive(Debug, Default)]
pub struct Sightings {
    /// From the view of each end that is in scope.
    pub seen: Vec<Seen>,
    /// For each of them, the place of what was asked.
    of: Vec<usize>,
}

impl Sightings {
    /// Of what was asked; these templates of paths come before those that are found.
    pub fn new(
        gather: &Gather,
        asked: &[Asked],
        scope: &Scope,
        form: Form,
        templates: &Templates,
    ) -> Self {
        let mut paths = Paths::new(templates);
        for one in asked {
            paths.learn(one);
        }
        let mut sightings = Self::default();
        for (at, one) in asked.iter().enumerate() {
            let requests = paths.requests(one);
            for direction in [Direction::Egress, Direction::Ingress] {
                let (own, other) = match direction {
                    Direction::Egress => (one.source, one.destination),
                    Direction::Ingress => (one.destination, one.source),
                };
                let Some(workload) = scope.workload(gather, own, direction) else {
                    continue;
                };
                let Some(peer) = peer(gather, other, direction, form) else {
                    continue;
                };
                for (request, is_ambiguous) in &requests {
                    sightings.seen.push(Seen {
                        workload: workload.clone(),
                        direction,
                        peer: peer.clone(),
                        protocol: one.protocol,
                        port: one.port,
                        request: request.clone(),
                        standing: match (one.passed, is_ambiguous) {
                            (Passed::No, _) => Standing::Dropped,
                            (Passed::Yes, true) => Standing::Ambiguous,
                            (Passed::Yes, false) => Standing::Passed,
                        },
                        count: one.count,
                    });
                    sightings.of.push(at);
                }
            }
        }
        sightings
    }

    /// Places of what was asked that the suggestion covers in every view, and of what it leaves out in
    /// some view; what is in neither is of no workload in scope.
    pub fn covered(&self, is_allowed: &[bool]) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let pairs = self.of.iter().zip(is_allowed);
        let left_out: BTreeSet<usize> = pairs
            .filter(|(_, is_allowed)| !**is_allowed)
            .map(|(at, _)| *at)
            .collect();
        let covered = self.of.iter().filter(|at| !left_out.contains(at));
        (covered.copied().collect(), left_out)
    }
}

impl Scope {
    /// The workload at an end, if policies for it are wanted.
    fn workload(&self, gather: &Gather, id: EndId, direction: Direction) -> Option<Workload> {
        let is_unwanted = match direction {
            Direction::Egress => self.without_egress,
            Direction::Ingress => self.without_ingress,
        };
        let Who::Pod(labels) = gather.ends.who(id) else {
            return None;
        };
        let workload = workload(labels)?;
        let is_of_namespace = self
            .namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == workload.namespace);
        let is_subject = self.subject.as_ref().is_none_or(|subject| {
            if subject.contains('=') {
                has_all(labels, subject)
            } else {
                let name = gather.ends.name(id);
                let is_it = |name: &String| {
                    name == subject || name.split_once('/').is_some_and(|(_, own)| own == subject)
                };
                let mut pods = gather.ends.end(id).into_iter().flat_map(|end| &end.pods);
                is_it(&name) || pods.any(is_it)
            }
        });
        (!is_unwanted && is_of_namespace && is_subject).then_some(workload)
    }
}

fn has_all(labels: &Labels, wanted: &str) -> bool {
    wanted.split(',').all(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        labels
            .iter()
            .any(|label| label.key == key && label.value == value)
    })
}

/// The labels that say most about pods; where none does, all that make their identity.
fn workload(labels: &Labels) -> Option<Workload> {
    let own: BTreeMap<String, String> = labels
        .iter()
        .filter(|label| label.source == "k8s" && labels::counts_for_identity(&label.key))
        .map(|label| (label.key, label.value))
        .collect();
    let namespace = own.get(NAMESPACE)?.clone();
    let name = TELLING.iter().find(|key| own.contains_key(**key));
    let is_telling = |key: &str| match name {
        Some(name) => key == *name || PARTS.contains(&key),
        None => !key.starts_with("io."),
    };
    Some(Workload {
        namespace,
        labels: own.into_iter().filter(|(key, _)| is_telling(key)).collect(),
    })
}

/// Who is at the other end; `None` of whom policies cannot speak.
fn peer(gather: &Gather, id: EndId, direction: Direction, form: Form) -> Option<Peer> {
    match gather.ends.who(id) {
        Who::Pod(labels) => workload(labels).map(Peer::Workload),
        Who::Reserved(labels) => {
            let name = ENTITIES.iter().find(|name| labels.has("reserved", name))?;
            Some(Peer::Entity((*name).to_owned()))
        }
        Who::Outside { .. } if direction == Direction::Ingress => {
            Some(Peer::Entity("world".to_owned()))
        }
        Who::Outside { address, names } => {
            let learnt = address.map(|address| gather.names_of(address));
            let all: BTreeSet<&String> = names.iter().chain(learnt.into_iter().flatten()).collect();
            match (all.first(), address) {
                (Some(name), _) if form == Form::Cilium => {
                    Some(Peer::Name(name.trim_end_matches('.').to_owned()))
                }
                (_, Some(address)) => Some(Peer::Address(*address)),
                (_, None) => Some(Peer::Entity("world".to_owned())),
            }
        }
        Who::Numbered(_) | Who::Service | Who::Unknown => None,
    }
}

/// Paths of servers.
pub struct Paths<'t> {
    templates: &'t Templates,
    /// By who serves and on which port.
    servers: BTreeMap<(EndId, u16), Learner>,
}

impl<'t> Paths<'t> {
    /// None yet; these templates come before those that are found.
    pub fn new(templates: &'t Templates) -> Self {
        Self {
            templates,
            servers: BTreeMap::new(),
        }
    }

    /// Takes the path of a request that was answered.
    pub fn learn(&mut self, asked: &Asked) {
        let (Ask::Http(http), Passed::Yes) = (&asked.ask, asked.passed) else {
            return;
        };
        let server = (asked.destination, asked.port);
        let server = self.servers.entry(server).or_default();
        for path in readings(http).0 {
            server.learn(self.templates.parts(&path));
        }
    }

    /// The template of a request's path as sent, as it is known now.
    pub fn template(&self, asked: &Asked, http: &HttpAsk) -> String {
        template::text(self.parts(asked, http.path_alone()).into_iter())
    }

    fn parts<'p>(&'p self, asked: &Asked, path: &'p str) -> Vec<Part<'p>> {
        let parts = self.templates.parts(path);
        match self.servers.get(&(asked.destination, asked.port)) {
            Some(server) if asked.passed == Passed::Yes => server.parts(parts),
            Some(_) | None => parts.collect(),
        }
    }

    /// What was asked, in every reading of its path, all of which have to be allowed; and whether
    /// there may be further ones.
    fn requests(&self, asked: &Asked) -> Vec<(Option<Request>, bool)> {
        let http = match &asked.ask {
            Ask::Connection => return vec![(None, false)],
            Ask::Dns(name) => {
                let name = name.trim_end_matches('.').to_owned();
                return vec![(Some(Request::Dns(name)), false)];
            }
            Ask::Http(http) => http,
        };
        let (paths, is_ambiguous) = readings(http);
        let request = |path: String| {
            let known = self.parts(asked, &path);
            let request = Request::Http {
                method: http.method.clone(),
                shown: template::text(known.iter().copied()),
                path: pieces(&known),
                has_query: http.path.contains('?'),
            };
            (Some(request), is_ambiguous)
        };
        paths.into_iter().map(request).collect()
    }
}

/// The path without its query as sent, and as normalised where that differs; and whether servers may
/// read yet another.
fn readings(http: &HttpAsk) -> (Vec<String>, bool) {
    let path = http.path_alone();
    let normal = target::normalise(path.as_bytes());
    let mut paths = vec![path.to_owned()];
    if *normal.path != *path.as_bytes() {
        // Escapes of what is no character stay escapes, so this is text.
        paths.extend(String::from_utf8(normal.path.into_owned()));
    }
    (paths, normal.is_ambiguous)
}

fn pieces(parts: &[Part<'_>]) -> Vec<PathPart> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    for (position, part) in parts.iter().enumerate() {
        if position > 0 {
            text.push('/');
        }
        let pattern = match part {
            Part::Word(word) | Part::Name(word) => {
                text.push_str(word);
                continue;
            }
            Part::Given(segment) => segment.pattern(),
            Part::Id { kind, .. } => kind.pattern().to_owned(),
            Part::Rest => "[^?]*".to_owned(),
        };
        if !text.is_empty() {
            pieces.push(PathPart::Text(std::mem::take(&mut text)));
        }
        pieces.push(PathPart::Pattern(pattern));
        if let Part::Id { suffix, .. } = part {
            text.push_str(suffix);
        }
    }
    if !text.is_empty() {
        pieces.push(PathPart::Text(text));
    }
    pieces
}
