//! `l7d paths`: which templates paths of requests have.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use parsers::template::{Templates, path_of};
use serde::Serialize;

use super::failure::Failure;
use super::policy::SourceFlags;
use super::policy::sources::Intake;
use crate::config::read_openapi;
use crate::print::table::Table;
use crate::whatif::{Ask, Asked, Gather, Paths};

const EXAMPLES: &str = "\
Examples:
  Which template has this path?
    l7d paths /users/4711/orders
  What would a template make of it?
    l7d paths --path-template '/users/{user}/orders' /users/ada/orders
  Which templates have the requests that an agent or relay has seen?
    l7d paths --live
  The same, to be put into the agent's configuration and edited there:
    l7d paths --live -o yaml

Numbers, UUIDs, digests, tokens, dates and e-mail addresses are ids by their looks. Where a server has
very many different words in one place, they are ids as well: {value}. Names of gRPC methods stay.
Metrics, the service map, exports and `policy suggest` use the same templates.";

/// Flags that give templates of paths.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Templates of paths")]
pub struct PathFlags {
    /// A template such as /users/{user} or /static/{file...}; the first that fits wins
    #[arg(long, value_name = "TEMPLATE")]
    pub path_template: Vec<String>,
    /// A description of an API (`OpenAPI`), whose paths come next
    #[arg(long, value_name = "FILE")]
    pub openapi: Vec<PathBuf>,
}

impl PathFlags {
    /// The templates.
    pub(super) fn templates(&self) -> Result<Templates, Failure> {
        let mut templates = Templates::new(&self.path_template)
            .map_err(|error| Failure::usage(format!("--path-template: {error}")))?;
        for file in &self.openapi {
            let routes = read_openapi(file)
                .map_err(|error| Failure::failed("cannot use --openapi", error))?;
            templates.add_routes(routes).map_err(|error| {
                Failure::failed(format!("cannot use {}", file.display()), error)
            })?;
        }
        Ok(templates)
    }
}

/// Arguments of `l7d paths`.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = "More with --help: examples.")]
pub struct PathsArgs {
    /// Paths or URLs whose templates are shown; without any, those of flows
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Templates that come first.
    #[command(flatten)]
    pub templates: PathFlags,
    /// Form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "table")]
    pub output: Form,
    /// Where flows come from.
    #[command(flatten)]
    pub sources: SourceFlags,
}

/// Forms of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A JSON array
    Json,
    /// Aligned columns
    Table,
    /// The templates, as the agent's configuration has them
    Yaml,
}

/// How a template came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Origin {
    Given,
    Found,
    Learnt,
    AsSent,
}

/// A template, and what has it.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(skip_serializing_if = "String::is_empty")]
    server: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    method: String,
    template: String,
    origin: Origin,
    requests: u64,
    example: String,
}

/// Server with its port, method, template and origin of requests.
type Key = (String, String, String, Origin);

/// Runs the command.
pub fn run(args: &PathsArgs) -> Result<(), Failure> {
    let templates = args.templates.templates()?;
    let rows = if args.paths.is_empty() {
        seen(args, &templates)?
    } else {
        given(&args.paths, &templates)
    };
    let mut out = BufWriter::new(io::stdout().lock());
    match args.output {
        Form::Json => {
            serde_json::to_writer_pretty(&mut out, &rows).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Form::Table => write_table(&mut out, &rows)?,
        Form::Yaml => write_yaml(&mut out, &rows)?,
    }
    out.flush()?;
    Ok(())
}

fn given(paths: &[String], templates: &Templates) -> Vec<Row> {
    let row = |url: &String| {
        let path = path_of(url);
        let template = templates.fold(path).into_owned();
        Row {
            server: String::new(),
            method: String::new(),
            origin: origin(templates, path, &template),
            template,
            requests: 1,
            example: url.clone(),
        }
    };
    paths.iter().map(row).collect()
}

/// The templates of flows, by server and by how often they were seen.
fn seen(args: &PathsArgs, templates: &Templates) -> Result<Vec<Row>, Failure> {
    let mut go_on = |_: &mut Gather| Ok(());
    let mut intake = Intake::new(&args.sources, Vec::new(), &mut go_on)?;
    args.sources.feed(&mut intake)?;
    let mut gather = intake.gather;
    let asked = gather.take_asked();
    let mut paths = Paths::new(templates);
    for one in &asked {
        paths.learn(one);
    }
    let mut found: BTreeMap<Key, (u64, String)> = BTreeMap::new();
    for one in &asked {
        let Ask::Http(http) = &one.ask else { continue };
        let path = http.path_alone();
        let template = paths.template(one, http);
        let origin = origin(templates, path, &template);
        let key = (server(&gather, one), http.method.clone(), template, origin);
        let (requests, _) = found.entry(key).or_insert_with(|| (0, path.to_owned()));
        *requests += one.count;
    }
    let row = |((server, method, template, origin), (requests, example))| Row {
        server,
        method,
        template,
        origin,
        requests,
        example,
    };
    let mut rows: Vec<Row> = found.into_iter().map(row).collect();
    rows.sort_by(|a, b| (&a.server, b.requests).cmp(&(&b.server, a.requests)));
    Ok(rows)
}

fn server(gather: &Gather, asked: &Asked) -> String {
    format!("{}:{}", gather.ends.name(asked.destination), asked.port)
}

fn origin(templates: &Templates, path: &str, template: &str) -> Origin {
    if templates.knows(path) {
        Origin::Given
    } else if template.contains("{value}") || template.ends_with("{rest}") {
        Origin::Learnt
    } else if template == path.split(['?', '#']).next().unwrap_or_default() {
        Origin::AsSent
    } else {
        Origin::Found
    }
}

fn write_table(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let mut table = Table::new();
    let header = ["SERVER", "METHOD", "TEMPLATE", "BY", "REQUESTS", "EXAMPLE"];
    for row in rows {
        let by = match row.origin {
            Origin::Given => "given",
            Origin::Found => "looks",
            Origin::Learnt => "number",
            Origin::AsSent => "-",
        };
        let cells = [
            or_dash(&row.server),
            or_dash(&row.method),
            &row.template,
            by,
            &row.requests.to_string(),
            &row.example,
        ]
        .map(|cell| cell.replace(|c: char| c.is_control(), "\u{fffd}"));
        table.row(&header, &cells);
    }
    table.write(out)
}

fn or_dash(cell: &str) -> &str {
    if cell.is_empty() { "-" } else { cell }
}

/// What stands for many, as the configuration has it; words are the same without.
fn write_yaml(out: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let wanted = rows.iter().filter(|row| row.origin != Origin::AsSent);
    let texts = wanted.map(|row| match row.template.strip_suffix("{rest}") {
        Some(before) => format!("{before}{{rest...}}"),
        None => row.template.clone(),
    });
    let mut routes: Vec<String> = texts
        .filter(|text| Templates::new([text]).is_ok())
        .collect();
    routes.sort();
    routes.dedup();
    let mut ordered = Templates::default();
    ordered
        .add_routes(&routes)
        .map_err(|error| io::Error::other(error.to_string()))?;
    writeln!(out, "metrics:\n  paths:\n    templates:")?;
    for template in ordered.iter() {
        writeln!(out, "    - {}", serde_json::Value::from(template))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_as_configuration_reads_back() {
        let templates = Templates::new(["/shops/{shop}"]).expect("a template");
        let paths = [
            "/shops/a",
            "/users/7/x",
            "/users/me",
            "http://web/day/2026-11-21?x",
        ];
        let rows = given(&paths.map(str::to_owned), &templates);
        let origins: Vec<Origin> = rows.iter().map(|row| row.origin).collect();
        let expected = [Origin::Given, Origin::Found, Origin::AsSent, Origin::Found];
        assert_eq!(origins, expected);
        let mut yaml = Vec::new();
        write_yaml(&mut yaml, &rows).expect("text");
        let text = String::from_utf8(yaml).expect("text");
        let config = crate::config::read_config("l7d.yaml", &text).expect("a configuration");
        let read: Vec<&str> = config.metrics.paths.iter().collect();
        assert_eq!(read, ["/day/{date}", "/shops/{shop}", "/users/{id}/x"]);
    }
}
