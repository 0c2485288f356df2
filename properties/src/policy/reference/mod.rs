//! What policies say, read from their words each time anew: every object, every spec, every element,
//! every peer and every port is looked at. Slow, and without any step in which something could be
//! lost; written from the documents of Cilium and Kubernetes, and not from the engine.

mod asked;
mod labels;
mod peers;
mod ports;
mod requests;
mod sayings;

use policy_l7::Enforcement;

use super::words::{Object, Rules};
use super::world::{Pod, World};
use labels::{NAMESPACE, is_value};
use requests::{allowing_http, allowing_name, allowing_server};
use sayings::sayings;

pub use asked::{HttpWords, Question, Request, Setting};

/// The policies that are asked.
#[derive(Debug, Clone)]
pub struct Policies<'o> {
    objects: Vec<&'o Object>,
    /// Pods are closed whether or not a policy is for them.
    closes_always: bool,
}

impl<'o> Policies<'o> {
    /// What holds for a pod.
    pub fn in_force(objects: &'o [Object], setting: &Setting, subject: &Pod) -> Self {
        let is_audited = setting.audit.node
            || setting
                .audit
                .namespaces
                .iter()
                .any(|namespace| is_value(&subject.labels, NAMESPACE, namespace));
        let mut all = Self::audited(objects, setting);
        all.objects
            .retain(|object| !is_audited && !object.is_audited);
        all.closes_always &= !is_audited;
        all
    }

    /// What would hold if nothing were only audited.
    pub fn audited(objects: &'o [Object], setting: &Setting) -> Self {
        match setting.enforcement {
            Enforcement::Never => Self {
                objects: Vec::new(),
                closes_always: false,
            },
            of => Self {
                objects: objects.iter().collect(),
                closes_always: of == Enforcement::Always,
            },
        }
    }
}

/// Name of an object, and where in it.
pub type Place = (String, String);

/// What becomes of a connection or a request, and every rule that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It passes: by any of these, or because nothing closes this side.
    Pass(Vec<Place>),
    /// It is refused: by any of these, or because no rule allows it.
    Refuse(Vec<Place>),
    /// Its requests are judged, by these.
    Judge(Vec<Place>),
}

/// A rule that is about a connection.
#[derive(Debug)]
struct Said<'o> {
    place: Place,
    is_deny: bool,
    rules: &'o Rules,
    /// It is of a spec that does not close this side: its rules only look.
    is_looking: bool,
}

impl Said<'_> {
    fn judges(&self) -> bool {
        match self.rules {
            Rules::Absent => false,
            Rules::Dns(rules) => !rules.is_empty(),
            Rules::Http(rules) => !rules.is_empty(),
            // What is no TLS, or names no server, passes where rules only look: nothing is left to judge.
            Rules::ServerNames(names) => !names.is_empty() && !self.is_looking,
        }
    }
}

/// What objects say of one connection.
#[derive(Debug, Default)]
struct Sayings<'o> {
    said: Vec<Said<'o>>,
    /// What nothing allows is refused.
    is_closed: bool,
}

/// What becomes of a connection.
pub fn connection(world: &World, policies: &Policies<'_>, question: &Question<'_>) -> Answer {
    let all = sayings(world, policies, question);
    let places = |which: &dyn Fn(&Said<'_>) -> bool| -> Vec<Place> {
        let said = all.said.iter().filter(|said| which(said));
        said.map(|said| said.place.clone()).collect()
    };
    let denying = places(&|said| said.is_deny);
    let judging = places(&|said| !said.is_deny && said.judges());
    let allowing = places(&|said| !said.is_deny && !said.judges());
    if !denying.is_empty() {
        Answer::Refuse(denying)
    } else if !judging.is_empty() {
        Answer::Judge(judging)
    } else if !allowing.is_empty() || !all.is_closed {
        Answer::Pass(allowing)
    } else {
        Answer::Refuse(Vec::new())
    }
}

/// What becomes of a request on a connection.
pub fn request(
    world: &World,
    policies: &Policies<'_>,
    question: &Question<'_>,
    request: Request<'_>,
) -> Answer {
    let all = sayings(world, policies, question);
    let denying: Vec<Place> = all
        .said
        .iter()
        .filter(|said| said.is_deny)
        .map(|said| said.place.clone())
        .collect();
    if !denying.is_empty() {
        return Answer::Refuse(denying);
    }
    let readings = match request {
        Request::Dns(name) => vec![allowing_name(&all, name)],
        Request::Http(words) => {
            let paths = words.paths.iter();
            paths.map(|path| allowing_http(&all, words, path)).collect()
        }
        Request::Tls(name) => vec![allowing_server(&all, name)],
    };
    let is_open = all.said.is_empty() && !all.is_closed;
    if readings.is_empty() || (!is_open && readings.iter().any(Vec::is_empty)) {
        return Answer::Refuse(Vec::new());
    }
    // Any rule that allows the first reading may be named.
    Answer::Pass(readings.into_iter().next().unwrap_or_default())
}
