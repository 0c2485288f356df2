//! A file of cases: policies, who is there, and what is expected.

use std::path::{Path, PathBuf};

use policy_l7::yaml::{self, At, Cursor, Map, Reader};

use crate::cli::candidate::{self, Candidate};
use crate::cli::failure::Failure;
use crate::cli::policy::answer::{Answer, Question, Said};
use crate::cli::policy::world::World;
use crate::config::{self, Config};

/// What is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Allow,
    Audit,
    Deny,
    Judge,
}

const EXPECTED: [(&str, Expected); 4] = [
    ("allow", Expected::Allow),
    ("audit", Expected::Audit),
    ("deny", Expected::Deny),
    ("judge", Expected::Judge),
];
const PROTOCOLS: [(&str, u8); 3] = [("TCP", 6), ("UDP", 17), ("SCTP", 132)];

impl Expected {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Audit => "audit",
            Self::Deny => "deny",
            Self::Judge => "judge",
        }
    }
}

/// One case.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) question: Question,
    pub(super) expected: Expected,
    /// A part of who decides.
    pub(super) by: Option<String>,
}

/// The cases of a file, and the policies in force for them.
pub(super) struct Suite {
    pub(super) file: String,
    pub(super) cases: Vec<Case>,
    world: World,
}

/// A case as it is written: who is meant is not looked up yet.
struct Written {
    name: String,
    at: At,
    from: (String, At),
    to: (String, At),
    port: u16,
    protocol: u8,
    said: Option<Said>,
    expected: Expected,
    by: Option<String>,
}

/// What a file says.
struct Document {
    policies: Vec<PathBuf>,
    endpoints: Endpoints,
    cases: Vec<Written>,
}

enum Endpoints {
    Files(Vec<PathBuf>),
    Inline(Box<Config>),
}

impl Suite {
    /// Reads a file of cases, and what it names.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::failed(format!("{file} cannot be read"), error))?;
        let document = Document::read(&file, &text).map_err(|errors| unusable(&errors))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let beside = |paths: &[PathBuf]| -> Vec<PathBuf> {
            paths.iter().map(|path| folder.join(path)).collect()
        };
        let config = match document.endpoints {
            Endpoints::Files(files) => candidate::read_endpoints(&beside(&files))?,
            Endpoints::Inline(config) => *config,
        };
        let objects = candidate::read_objects(&beside(&document.policies))?;
        let candidate = Candidate::new(config, objects)?;
        Self::new(file, &candidate, document.cases).map_err(|errors| unusable(&errors))
    }

    fn new(
        file: String,
        candidate: &Candidate,
        written: Vec<Written>,
    ) -> Result<Self, Vec<policy_l7::Error>> {
        let texts: Vec<&str> = written
            .iter()
            .flat_map(|case| [case.from.0.as_str(), case.to.0.as_str()])
            .collect();
        let (world, ends) = World::new(candidate, &texts);
        let mut ends = ends.into_iter();
        let (mut cases, mut errors) = (Vec::new(), Vec::new());
        for case in written {
            let mut found = Vec::new();
            for at in [case.from.1, case.to.1] {
                match ends.next() {
                    Some(Ok(end)) => found.push(end),
                    Some(Err(unknown)) => errors.push(policy_l7::Error {
                        file: file.clone(),
                        line: at.line,
                        column: at.column,
                        field: String::new(),
                        message: format!("{}: {}", unknown.message, unknown.hint),
                        suggestion: None,
                    }),
                    None => {}
                }
            }
            let mut found = found.into_iter();
            let (Some(from), Some(to)) = (found.next(), found.next()) else {
                continue;
            };
            cases.push(Case {
                name: case.name,
                line: case.at.line,
                question: Question {
                    from,
                    to,
                    port: case.port,
                    protocol: case.protocol,
                    said: case.said,
                },
                expected: case.expected,
                by: case.by,
            });
        }
        if errors.is_empty() {
            Ok(Self { file, cases, world })
        } else {
            Err(errors)
        }
    }

    /// What the policies make of each case.
    pub(super) fn answers(&self) -> Vec<Answer> {
        let cases = self.cases.iter();
        cases
            .map(|case| self.world.answer(&case.question))
            .collect()
    }
}

fn unusable(errors: &[policy_l7::Error]) -> Failure {
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Failure::failed("the cases cannot be used", errors.join("\n"))
}

impl Document {
    fn read(file: &str, text: &str) -> Result<Self, Vec<policy_l7::Error>> {
        let nodes = yaml::parse(file, text).map_err(|error| vec![error])?;
        let mut reader = Reader::new(file);
        let document = match nodes.as_slice() {
            [node] => Self::of(&mut reader, &node.root()),
            [] => None,
            [_, second, ..] => {
                reader.fault(&second.root(), "cases are one document");
                None
            }
        };
        match document {
            Some(document) if !reader.has_errors() => Ok(document),
            None if !reader.has_errors() => Err(vec![policy_l7::Error {
                file: file.to_owned(),
                line: 1,
                column: 1,
                field: String::new(),
                message: "no cases".to_owned(),
                suggestion: None,
            }]),
            Some(_) | None => Err(reader.into_errors()),
        }
    }

    fn of(reader: &mut Reader, at: &Cursor<'_>) -> Option<Self> {
        let mut map = reader.map(at)?;
        let policies = map
            .need(reader, "policies")
            .map(|at| paths(reader, &at))
            .unwrap_or_default();
        let listed = map.need(reader, "endpoints")?;
        let is_path =
            listed.is_scalar() || reader.list(&listed).first().is_some_and(Cursor::is_scalar);
        let endpoints = if is_path {
            Endpoints::Files(paths(reader, &listed))
        } else {
            Endpoints::Inline(Box::new(config::read_inline(reader, &mut map)))
        };
        let mut cases = Vec::new();
        let listed = map.need(reader, "cases");
        for item in listed.map(|at| reader.list(&at)).unwrap_or_default() {
            cases.extend(case(reader, &item));
        }
        map.end(reader);
        Some(Self {
            policies,
            endpoints,
            cases,
        })
    }
}

/// One path, or several.
fn paths(reader: &mut Reader, at: &Cursor<'_>) -> Vec<PathBuf> {
    let items = if at.is_scalar() {
        vec![at.clone()]
    } else {
        reader.list(at)
    };
    items
        .iter()
        .filter_map(|item| reader.text(item))
        .map(PathBuf::from)
        .collect()
}

fn case(reader: &mut Reader, at: &Cursor<'_>) -> Option<Written> {
    let mut map = reader.map(at)?;
    let name = text(reader, &mut map, "name");
    let from = text(reader, &mut map, "from");
    let to = text(reader, &mut map, "to");
    let port = map.need(reader, "port");
    let port = port.and_then(|at| reader.parse::<u16>(&at, "a port"));
    let protocol = map.get("protocol");
    let protocol = protocol.and_then(|at| reader.choice(&at, &PROTOCOLS));
    let said = said(reader, &mut map);
    let expected = map
        .need(reader, "expect")
        .and_then(|at| reader.choice(&at, &EXPECTED));
    let by = map.get("by").and_then(|at| reader.text(&at));
    map.end(reader);
    let usual = if let Some(Said::Query(_)) = said {
        17
    } else {
        6
    };
    Some(Written {
        name: name?.0,
        at: at.place(),
        from: from?,
        to: to?,
        port: port?,
        protocol: protocol.unwrap_or(usual),
        said,
        expected: expected?,
        by: by.map(str::to_owned),
    })
}

fn text(reader: &mut Reader, map: &mut Map<'_>, name: &'static str) -> Option<(String, At)> {
    let at = map.need(reader, name)?;
    Some((reader.text(&at)?.to_owned(), at.place()))
}

fn said(reader: &mut Reader, map: &mut Map<'_>) -> Option<Said> {
    let forms = ["dns", "http", "sni"].map(|name| map.get(name));
    let [dns, http, sni] = &forms;
    if let [_, second, ..] = forms.iter().flatten().collect::<Vec<_>>().as_slice() {
        reader.fault(second, "a case has one of `dns`, `http` and `sni`");
    }
    if let Some(at) = dns {
        return Some(Said::Query(reader.text(at)?.to_owned()));
    }
    if let Some(at) = sni {
        return Some(Said::ServerName(reader.text(at)?.to_owned()));
    }
    request(reader, http.as_ref()?)
}

fn request(reader: &mut Reader, at: &Cursor<'_>) -> Option<Said> {
    let mut map = reader.map(at)?;
    let method = map.get("method").and_then(|at| reader.text(&at));
    let path = map.need(reader, "path").and_then(|at| reader.text(&at));
    let host = map.get("host").and_then(|at| reader.text(&at));
    let fields = map.get("headers").and_then(|at| reader.map(&at));
    let fields: Vec<(&str, Cursor<'_>)> = fields.iter().flat_map(Map::entries).collect();
    let headers = fields.into_iter().filter_map(|(name, at)| {
        let value = reader.text(&at)?;
        Some((name.to_owned(), value.to_owned()))
    });
    let headers = headers.collect();
    map.end(reader);
    Some(Said::Http {
        method: method.unwrap_or("GET").to_owned(),
        path: path?.to_owned(),
        host: host.map(str::to_owned),
        headers,
    })
}
