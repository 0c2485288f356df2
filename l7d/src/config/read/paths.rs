//! Templates of paths.

use std::path::Path;

use parsers::template::Templates;
use policy_l7::yaml::{Map, Reader};

use super::values::{items, texts};
use crate::config::{Metrics, read_openapi};

/// Templates one by one, and those of descriptions behind them.
pub(super) fn templates(reader: &mut Reader, map: &mut Map<'_>, metrics: &mut Metrics) {
    let at = map.get("templates");
    let given = texts(reader, map, "templates").unwrap_or_default();
    match (Templates::new(given), at) {
        (Ok(read), _) => metrics.paths = read,
        (Err(error), Some(at)) => reader.fault(&at, error.to_string()),
        (Err(_), None) => {}
    }
    for item in items(reader, map, "openapi") {
        let Some(file) = reader.text(&item) else {
            continue;
        };
        metrics.openapi.push(file.into());
        let routes = match read_openapi(Path::new(file)) {
            Ok(routes) => routes,
            Err(error) => {
                reader.fault(&item, error.to_string());
                continue;
            }
        };
        if let Err(error) = metrics.paths.add_routes(routes) {
            reader.fault(&item, format!("{file}: {error}"));
        }
    }
}
