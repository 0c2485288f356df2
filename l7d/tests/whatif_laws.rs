//! For any flows: what is suggested allows what passed at least twice, and nothing that was never seen.

#![expect(
    clippy::expect_used,
    reason = "a fixture that cannot be made fails the test"
)]

use l7d::replay::flowlog::{self, Line};
use l7d::whatif::{Comparison, Gather, Scope, Sightings, Told, Totals, World};
use parsers::template::Templates;
use policy_l7::read_objects;
use policy_l7::suggest::{Form, suggest};
use proptest::prelude::*;

const HTTP: u16 = 80;
const DATABASE: u16 = 5432;

/// A flow of a recording.
#[derive(Debug, Clone)]
struct Drawn {
    source: usize,
    destination: usize,
    what: What,
    has_passed: bool,
    count: usize,
}

#[derive(Debug, Clone)]
enum What {
    Connection,
    Request(&'static str, String),
}

impl Drawn {
    /// As the stock CLI writes it.
    fn line(&self, number: usize) -> String {
        let verdict = if self.has_passed {
            "FORWARDED"
        } else {
            "DROPPED"
        };
        let end = |pod: usize| {
            // The last two share a name, and only one of them is a part.
            let part = if pod == 4 {
                r#","k8s:component=part""#
            } else {
                ""
            };
            let app = if pod == 4 { 3 } else { pod };
            let namespace = if pod == 1 { "b" } else { "a" };
            format!(
                r#"{{"identity":{},"namespace":"{namespace}","labels":["k8s:app=app-{app}","k8s:io.kubernetes.pod.namespace={namespace}","k8s:pod-template-hash=x{number}"{part}]}}"#,
                1000 + pod
            )
        };
        let (port, l7, event) = match &self.what {
            What::Connection => (DATABASE, String::new(), 5),
            What::Request(method, path) => {
                let url = serde_json::to_string(&format!("http://server{path}")).expect("text");
                let http = format!(r#""http":{{"method":"{method}","url":{url}}}"#);
                (HTTP, format!(r#""l7":{{"type":"REQUEST",{http}}},"#), 129)
            }
        };
        format!(
            r#"{{"flow":{{"time":"2026-11-20T09:00:00Z","verdict":"{verdict}","IP":{{"source":"10.0.0.{}","destination":"10.0.0.{}"}},"l4":{{"TCP":{{"source_port":{},"destination_port":{port}}}}},"source":{},"destination":{},{l7}"event_type":{{"type":{event}}},"traffic_direction":"INGRESS","is_reply":false}}}}"#,
            self.source,
            self.destination,
            1024 + number,
            end(self.source),
            end(self.destination),
        )
    }
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![
        "/users/[0-9]{1,4}(/orders)?(\\?q=[a-z]{1,3})?",
        "/(items|a.b|x\\+y|\\(z)/[a-f0-9]{24}",
        "/static/[a-z]{1,2}(\\.js)?",
        "/shop\\.v1\\.Cart/(Add|List)",
        "/[a-z]{1,3}(//|/\\./|/%41|/%2f|/)[a-z]{1,2}",
        "/\\PC{0,6}",
    ]
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let what = prop_oneof![
        Just(What::Connection),
        (
            prop_oneof![Just("GET"), Just("POST"), Just("M-SEARCH")],
            path()
        )
            .prop_map(|(method, path)| What::Request(method, path)),
    ];
    (
        0..5_usize,
        0..5_usize,
        what,
        prop::bool::weighted(0.9),
        1..4_usize,
    )
        .prop_filter("two ends", |(source, destination, ..)| {
            source != destination
        })
        .prop_map(|(source, destination, what, has_passed, count)| Drawn {
            source,
            destination,
            what,
            has_passed,
            count,
        })
}

fn gathered(flows: &[Drawn]) -> Gather {
    let mut gather = Gather::new(Told::default(), Vec::new(), false);
    let each = flows
        .iter()
        .flat_map(|drawn| std::iter::repeat_n(drawn, drawn.count));
    for (number, drawn) in each.enumerate() {
        let line = drawn.line(number);
        let read = flowlog::read(line.as_bytes()).expect("a flow");
        assert!(matches!(read, Line::Flow(_)), "{line}");
        if let Line::Flow(flow) = read {
            gather.take(&flow);
        }
    }
    gather
}

fn replayed(yaml: &str, flows: &[Drawn]) -> Totals {
    let mut gather = gathered(flows);
    let asked = gather.take_asked();
    let policies = read_objects("suggested.yaml", yaml)
        .expect("policies")
        .policies;
    let world = World::new(&policies, &gather, &asked);
    let mut comparison = Comparison::default();
    comparison.add(&gather, &asked, None, &world);
    comparison.totals()
}

/// Whether servers may read several paths: such requests are listed, not allowed.
fn is_ambiguous(drawn: &Drawn) -> bool {
    let What::Request(_, path) = &drawn.what else {
        return false;
    };
    let path = path.split('?').next().unwrap_or_default();
    parsers::target::normalise(path.as_bytes()).is_ambiguous
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_passed_twice_is_allowed_and_what_was_never_seen_is_not(
        flows in prop::collection::vec(drawn(), 1..30),
        form in prop_oneof![Just(Form::Cilium), Just(Form::Kubernetes)],
    ) {
        let mut gather = gathered(&flows);
        let asked = gather.take_asked();
        let sightings = Sightings::new(&gather, &asked, &Scope::default(), form, &Templates::default());
        let yaml = suggest(&sightings.seen, form, 2).to_yaml();

        let mut often: Vec<Drawn> = flows
            .iter()
            .filter(|drawn| drawn.has_passed && drawn.count > 1 && !is_ambiguous(drawn))
            .cloned()
            .collect();
        let totals = replayed(&yaml, &often);
        prop_assert_eq!(totals.allow_to_deny, 0, "{}", yaml);
        prop_assert_eq!(totals.undecidable, 0, "{}", yaml);

        // Every server was asked for something, so its ingress is closed.
        let stranger = |drawn: &Drawn| {
            let is_known = flows.iter().any(|other| {
                (other.source, other.destination) == (drawn.destination, drawn.source)
            });
            (!is_known).then(|| Drawn {
                source: drawn.destination,
                destination: drawn.source,
                ..drawn.clone()
            })
        };
        let closed = |drawn: &Drawn| flows.iter().any(|other| other.destination == drawn.destination);
        let mut never: Vec<Drawn> = flows.iter().filter_map(stranger).filter(closed).collect();
        for drawn in &flows {
            let only_databases = !flows.iter().any(|other| {
                other.destination == drawn.destination && matches!(other.what, What::Request(..))
            });
            let is_judged = form == Form::Cilium
                && flows.iter().any(|other| {
                    (other.source, other.destination) == (drawn.source, drawn.destination)
                        && matches!(other.what, What::Request(..))
                });
            if only_databases || is_judged {
                never.push(Drawn {
                    what: What::Request("GET", "/never/seen/by/anybody".to_owned()),
                    ..drawn.clone()
                });
            }
        }
        for drawn in &mut never {
            drawn.has_passed = true;
        }
        let totals = replayed(&yaml, &never);
        prop_assert_eq!(totals.still_allowed, 0, "{}", yaml);

        // The same flows, the same bytes.
        often = flows.clone();
        often.reverse();
        let mut gather = gathered(&often);
        let asked = gather.take_asked();
        let sightings = Sightings::new(&gather, &asked, &Scope::default(), form, &Templates::default());
        prop_assert_eq!(yaml, suggest(&sightings.seen, form, 2).to_yaml());
    }
}
