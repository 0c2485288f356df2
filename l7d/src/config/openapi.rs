//! The paths that an `OpenAPI` description names, for templates: versions 2.0 (Swagger) to 3.1, in YAML
//! or JSON. Everything else in it is passed over.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use policy_l7::yaml::{self, Cursor, Extent, Map, Reader};

/// Descriptions of large APIs take some ten megabytes.
const BYTES_MAX: usize = 64 << 20;
/// Parts that name no paths.
const SKIPPED: [&str; 14] = [
    "components",
    "definitions",
    "delete",
    "get",
    "head",
    "options",
    "parameters",
    "patch",
    "post",
    "put",
    "responses",
    "security",
    "tags",
    "trace",
];

/// Why a description cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenapiError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// What is wrong in it, one fault per line.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Faults(Vec<policy_l7::Error>),
}

/// Reads the paths of a description, each behind the base paths of its servers.
///
/// # Errors
/// When it cannot be read, or is none.
pub fn read_openapi(path: &Path) -> Result<Vec<String>, OpenapiError> {
    let text = std::fs::read_to_string(path).map_err(|cause| OpenapiError::Read {
        path: path.to_owned(),
        cause,
    })?;
    routes(&path.display().to_string(), &text)
}

fn routes(file: &str, text: &str) -> Result<Vec<String>, OpenapiError> {
    let extent = Extent {
        bytes_max: BYTES_MAX,
        skipped: &SKIPPED,
    };
    let documents = yaml::parse_within(file, text, extent);
    let documents = documents.map_err(|fault| OpenapiError::Faults(vec![fault]))?;
    let mut reader = Reader::new(file);
    let mut found = BTreeSet::new();
    for document in &documents {
        read_document(&mut reader, &document.root(), &mut found);
    }
    if reader.has_errors() {
        return Err(OpenapiError::Faults(reader.into_errors()));
    }
    Ok(found.into_iter().collect())
}

fn read_document(reader: &mut Reader, at: &Cursor<'_>, found: &mut BTreeSet<String>) {
    let Some(mut map) = reader.map(at) else {
        return;
    };
    let old_base = map.get("basePath").and_then(|at| reader.text(&at));
    let bases =
        servers(reader, &mut map).unwrap_or_else(|| vec![old_base.map_or("", trimmed).to_owned()]);
    let Some(paths) = map.need(reader, "paths").and_then(|at| reader.map(&at)) else {
        return;
    };
    for (route, at) in paths.entries().filter(|(route, _)| route.starts_with('/')) {
        let own = reader
            .map(&at)
            .and_then(|mut item| servers(reader, &mut item));
        for base in own.as_ref().unwrap_or(&bases) {
            found.insert(format!("{base}{route}"));
        }
    }
}

/// Base paths of the servers that a mapping names, where it names any.
fn servers(reader: &mut Reader, map: &mut Map<'_>) -> Option<Vec<String>> {
    let servers = reader.list(&map.get("servers")?);
    let bases: Vec<String> = servers
        .iter()
        .filter_map(|server| base(reader, server))
        .collect();
    (!bases.is_empty()).then_some(bases)
}

/// The path of a server's URL; its variables have their defaults.
fn base(reader: &mut Reader, server: &Cursor<'_>) -> Option<String> {
    let mut map = reader.map(server)?;
    let at = map.need(reader, "url")?;
    let mut url = reader.text(&at)?.to_owned();
    if let Some(variables) = map.get("variables").and_then(|at| reader.map(&at)) {
        for (name, at) in variables.entries() {
            let default = reader
                .map(&at)
                .and_then(|mut variable| variable.get("default"));
            if let Some(value) = default.and_then(|at| reader.text(&at)) {
                url = url.replace(&format!("{{{name}}}"), value);
            }
        }
    }
    let path = match url.split_once("://") {
        Some((_, rest)) => rest
            .find('/')
            .and_then(|slash| rest.get(slash..))
            .unwrap_or_default(),
        None => &url,
    };
    let path = trimmed(path);
    Some(if path.is_empty() || path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    })
}

fn trimmed(base: &str) -> &str {
    base.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_behind_the_bases_of_servers() {
        let three = "openapi: 3.1.0\nservers:\n- url: https://{host}/{version}/\n  variables: { version: \
                     { default: v1 } }\n- url: /beta\npaths:\n  /pets/{petId}:\n    get: { responses: { \
                     '200': { description: x } } }\n  /health:\n    servers: [ { url: 'https://x' } ]\n  \
                     x-note: 1\n";
        let found = routes("api.yaml", three).expect("routes");
        assert_eq!(found, ["/beta/pets/{petId}", "/health", "/v1/pets/{petId}"]);
        let two = r#"{"swagger": "2.0", "basePath": "/v2", "paths": {"/pets": {"get": {}}}}"#;
        assert_eq!(routes("api.json", two).expect("routes"), ["/v2/pets"]);
        let bare = "paths: { /a: {} }";
        assert_eq!(routes("api.yaml", bare).expect("routes"), ["/a"]);
    }

    #[test]
    fn what_is_no_description_is_told() {
        let fault = routes("api.yaml", "openapi: 3.0.0\n").expect_err("no paths");
        assert!(
            fault
                .to_string()
                .contains("api.yaml:1:1: `paths` is missing"),
            "{fault}"
        );
        assert!(routes("api.yaml", "[").is_err());
    }
}
