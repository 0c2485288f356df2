//! Policies: what the engine says is what their words say.
//!
//! [`drawn`] makes policies, pods and requests out of bytes; [`words`] writes them as YAML, which the
//! engine reads; the [`reference`](mod@reference) reads the words themselves. Asked the same, all of
//! them must say the same: the reference, the judge, and the kernel's two look-ups among the entries.

pub mod choices;
pub mod drawn;
pub mod engine;
mod grown;
mod matching;
pub mod reference;
pub mod words;
pub mod world;

use policy_l7::Direction;

use choices::Choices;
use drawn::WIDE;
use engine::{Engine, Told, Which};
use reference::{Answer, HttpWords, Place, Policies, Question, Request, Setting};
use words::{Limits, List, Object, Specs};
use world::World;

/// Protocols and ports that are asked about.
const ASKED: [(u8, u16); 14] = [
    (6, 80),
    (6, 53),
    (6, 81),
    (6, 88),
    (6, 8080),
    (6, 9090),
    (6, 1),
    (6, 65535),
    (17, 53),
    (17, 80),
    (132, 53),
    (132, 80),
    (1, 8),
    (58, 128),
];

/// All questions about a world.
pub fn questions(world: &World) -> impl Iterator<Item = Question<'_>> {
    let here = world.pods.iter().filter(|pod| pod.is_here);
    here.flat_map(move |subject| {
        let sides = [Direction::Ingress, Direction::Egress].into_iter();
        sides.flat_map(move |direction| {
            world.ends().flat_map(move |other| {
                ASKED.into_iter().map(move |(protocol, port)| Question {
                    subject,
                    direction,
                    other,
                    protocol,
                    port,
                })
            })
        })
    })
}

/// The property of these bytes.
pub(crate) fn holds(data: &[u8]) {
    let mut choices = Choices::new(data);
    let world = drawn::world(&mut choices);
    let objects = drawn::objects(&mut choices, &WIDE);
    let setting = drawn::setting(&mut choices);
    let text = words::yaml(&objects);
    let engine = if choices.is(2) {
        grown::grown(&world, &objects, &setting, &mut choices)
    } else {
        Engine::new(&world, &text, &setting)
    };
    assert!(engine.is_ok(), "refused: {}\n{text}", refusal(&engine));
    let Ok(engine) = engine else { return };
    let asked = Asked {
        requests: (0..4).map(|_| drawn::http_request(&mut choices)).collect(),
        names: (0..3).map(|_| drawn::asked_name(&mut choices)).collect(),
    };
    for question in questions(&world) {
        let agreed = agrees(&world, &objects, &setting, &engine, &question);
        let agreed = agreed.and_then(|()| {
            let mut requests = asked.on(&question).into_iter();
            requests.try_for_each(|request| {
                agrees_on(&world, &objects, &setting, &engine, &question, request)
            })
        });
        assert_eq!(agreed, Ok(()), "{question:?}\n{setting:?}\n{text}");
    }
    obeys(&world, &objects, &setting, &mut choices);
}

/// Whether words, judge and kernel agree about a connection.
///
/// # Errors
/// How they differ.
pub fn agrees(
    world: &World,
    objects: &[Object],
    setting: &Setting,
    engine: &Engine,
    question: &Question<'_>,
) -> Result<(), String> {
    for (which, policies) in [
        (
            Which::InForce,
            Policies::in_force(objects, setting, question.subject),
        ),
        (Which::Audited, Policies::audited(objects, setting)),
    ] {
        let answer = reference::connection(world, &policies, question);
        for (who, told) in [
            ("judge", engine.connection(question, which)),
            ("kernel", engine.kernel(question, which)),
        ] {
            if !is_same(&answer, &told) {
                return Err(format!("{which:?}: {who} {told:?}, words {answer:?}"));
            }
        }
        let is_judged = which == Which::InForce && matches!(answer, Answer::Judge(_));
        if is_judged && !engine.judges(question) {
            return Err("nobody judges".to_owned());
        }
    }
    Ok(())
}

/// Whether words and judge agree about a request.
///
/// # Errors
/// How they differ.
fn agrees_on(
    world: &World,
    objects: &[Object],
    setting: &Setting,
    engine: &Engine,
    question: &Question<'_>,
    request: Request<'_>,
) -> Result<(), String> {
    let in_force = Policies::in_force(objects, setting, question.subject);
    let answer = reference::request(world, &in_force, question, request);
    let told = engine.request(question, request);
    if !is_same_of_request(&answer, &told) {
        return Err(format!("{request:?}: judge {told:?}, words {answer:?}"));
    }
    let audited = Policies::audited(objects, setting);
    let answer = reference::request(world, &audited, question, request);
    let told = match engine.would_deny(question, request) {
        Some(places) => Err(places),
        None => Ok(()),
    };
    let is_same = match (&answer, &told) {
        (Answer::Refuse(places), Err(named)) => is_named(places, named),
        (Answer::Pass(_), Ok(())) => true,
        // What holds has been asked already.
        (_, Ok(())) => !engine.audits(question),
        _ => false,
    };
    if is_same {
        Ok(())
    } else {
        Err(format!("{request:?}: audit {told:?}, words {answer:?}"))
    }
}

/// Requests to be asked about.
struct Asked {
    requests: Vec<HttpWords>,
    names: Vec<String>,
}

impl Asked {
    /// Those that may be heard on a connection.
    fn on(&self, question: &Question<'_>) -> Vec<Request<'_>> {
        match (question.protocol, question.port) {
            (6 | 17, 53) => self.names.iter().map(|name| Request::Dns(name)).collect(),
            (6, 80 | 88 | 8080 | 9090) => {
                let names = self.names.iter().take(1);
                let servers = names.map(|name| Request::Tls(Some(name)));
                let requests = self.requests.iter().map(Request::Http);
                requests
                    .chain(servers)
                    .chain([Request::Tls(None)])
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}

fn refusal(engine: &Result<Engine, String>) -> &str {
    engine.as_ref().err().map_or("", String::as_str)
}

/// The same, and by a rule that says so.
fn is_same(answer: &Answer, told: &Told) -> bool {
    match (answer, told) {
        (Answer::Pass(places), Told::Pass(place))
        | (Answer::Refuse(places), Told::Refuse(place))
        | (Answer::Judge(places), Told::Judge(place)) => is_one_of(places, place.as_ref()),
        _ => false,
    }
}

fn is_one_of(places: &[Place], place: Option<&Place>) -> bool {
    match place {
        Some(place) => places.contains(place),
        None => places.is_empty(),
    }
}

fn is_same_of_request(answer: &Answer, told: &Result<Option<Place>, Vec<Place>>) -> bool {
    match (answer, told) {
        (Answer::Pass(places), Ok(place)) => is_one_of(places, place.as_ref()),
        (Answer::Refuse(places), Err(named)) => is_named(places, named),
        _ => false,
    }
}

/// A deny rule, else what came nearest or whoever closes the side.
fn is_named(places: &[Place], named: &[Place]) -> bool {
    places.is_empty() || named.iter().all(|place| places.contains(place))
}

/// Asserts the laws: order means nothing, and who is allowed something more is denied nothing.
///
/// # Panics
/// Where one is broken.
fn obeys(world: &World, objects: &[Object], setting: &Setting, choices: &mut Choices<'_>) {
    let text = words::yaml(objects);
    let new = |objects: &[Object]| {
        let text = words::yaml(objects);
        let engine = Engine::new(world, &text, setting);
        assert!(engine.is_ok(), "refused: {}\n{text}", refusal(&engine));
        engine.ok()
    };
    let fewer = without_an_allow(objects, choices);
    let engines = (new(objects), new(&reversed(objects)), new(&fewer));
    let (Some(engine), Some(other), Some(fewer)) = engines else {
        return;
    };
    let asked = Asked {
        requests: vec![drawn::http_request(choices)],
        names: vec![drawn::asked_name(choices)],
    };
    let told = |engine: &Engine, question: &Question<'_>| {
        kind(&engine.connection(question, Which::InForce))
    };
    for question in questions(world) {
        let now = told(&engine, &question);
        assert_eq!(
            now,
            told(&other, &question),
            "backwards: {question:?}\n{text}"
        );
        assert!(
            now != "refuse" || told(&fewer, &question) == "refuse",
            "one more allow denies {question:?}\n{text}"
        );
        for request in asked.on(&question) {
            let allowed = engine.request(&question, request).is_ok();
            assert_eq!(allowed, other.request(&question, request).is_ok());
            // Where requests are read, if only to look at them, TLS is none.
            let is_other = matches!(request, Request::Tls(_)) && engine.reads_http(&question);
            assert!(
                is_other || fewer.request(&question, request).is_err() || allowed,
                "one more allow denies {request:?} of {question:?}\n{text}"
            );
        }
    }
}

fn kind(told: &Told) -> &'static str {
    match told {
        Told::Pass(_) => "pass",
        Told::Refuse(_) => "refuse",
        Told::Judge(_) => "judge",
    }
}

fn reversed(objects: &[Object]) -> Vec<Object> {
    let mut objects = objects.to_vec();
    objects.reverse();
    for object in &mut objects {
        match &mut object.specs {
            Specs::Cilium(specs) => {
                specs.reverse();
                let lists = specs.iter_mut().flat_map(|spec| &mut spec.lists);
                lists.for_each(reverse);
            }
            Specs::Kubernetes(spec) => {
                for (_, elements) in &mut spec.lists {
                    elements.reverse();
                }
            }
        }
    }
    objects
}

fn reverse(list: &mut List) {
    list.elements.reverse();
    for element in &mut list.elements {
        if let Limits::Ports(ports) = &mut element.limits {
            ports.reverse();
        }
    }
}

/// Without one element that allows; what is closed stays closed.
fn without_an_allow(objects: &[Object], choices: &mut Choices<'_>) -> Vec<Object> {
    let mut objects = objects.to_vec();
    let position = choices.below(objects.len());
    let Some(object) = objects.get_mut(position) else {
        return objects;
    };
    match &mut object.specs {
        Specs::Cilium(specs) => {
            let allows = specs.iter_mut().flat_map(|spec| &mut spec.lists);
            let list = allows
                .filter(|list| !list.is_deny && !list.elements.is_empty())
                .last();
            // Said to nobody, the element stays and goes on closing the side.
            if let Some(element) = list.and_then(|list| list.elements.first_mut()) {
                element.peers = Some(words::Peers::Endpoints(Vec::new()));
            }
        }
        Specs::Kubernetes(spec) => {
            let elements = spec.lists.iter_mut().flat_map(|(_, elements)| elements);
            if let Some(element) = elements.last() {
                let nobody = words::Selector {
                    labels: vec![("nobody".to_owned(), "nobody".to_owned())],
                    expressions: Vec::new(),
                };
                element.peers = Some(vec![words::KubernetesPeer::Pods {
                    pods: Some(nobody),
                    namespaces: None,
                }]);
            }
        }
    }
    objects
}
