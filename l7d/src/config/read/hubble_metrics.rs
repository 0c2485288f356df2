//! Hubble's metrics, as its flag has them or as its file of metrics has them.

use policy_l7::yaml::{Cursor, Map, Reader};

use super::values::items;
use crate::config::HubbleMetric;

/// `hubble` of the section of metrics: a text, or a list of texts and mappings.
pub(super) fn hubble(reader: &mut Reader, map: &mut Map<'_>, metrics: &mut Vec<HubbleMetric>) {
    let Some(at) = map.get("hubble") else { return };
    let mut read = Vec::new();
    if at.is_scalar() {
        let words = reader.text(&at).unwrap_or_default().split_whitespace();
        for word in words.collect::<Vec<_>>() {
            read.extend(parsed(reader, &at, word));
        }
    } else {
        for item in reader.list(&at) {
            if item.is_scalar() {
                let text = reader.text(&item).unwrap_or_default();
                read.extend(parsed(reader, &item, text));
            } else {
                read.extend(metric(reader, &item));
            }
        }
    }
    match HubbleMetric::check_all(&read) {
        Ok(()) => *metrics = read,
        Err(error) => reader.fault(&at, error.to_string()),
    }
}

fn parsed(reader: &mut Reader, at: &Cursor<'_>, text: &str) -> Option<HubbleMetric> {
    match HubbleMetric::parse(text) {
        Ok(metric) => Some(metric),
        Err(error) => {
            reader.fault(at, error.to_string());
            None
        }
    }
}

/// `name`, `contextOptions`, `includeFilters` and `excludeFilters`.
fn metric(reader: &mut Reader, at: &Cursor<'_>) -> Option<HubbleMetric> {
    let mut map = reader.map(at)?;
    let name_at = map.need(reader, "name");
    let name = name_at.as_ref().and_then(|at| reader.text(at));
    let options = items(reader, &mut map, "contextOptions");
    let filters = |items: Vec<Cursor<'_>>| items.iter().map(Cursor::to_json).collect();
    let include = filters(items(reader, &mut map, "includeFilters"));
    let exclude = filters(items(reader, &mut map, "excludeFilters"));
    map.end(reader);
    let mut metric = match HubbleMetric::named(name?) {
        Ok(metric) => metric,
        Err(error) => {
            reader.fault(&name_at?, error.to_string());
            return None;
        }
    };
    for option in &options {
        add_option(reader, option, &mut metric);
    }
    Some(HubbleMetric {
        include,
        exclude,
        ..metric
    })
}

fn add_option(reader: &mut Reader, at: &Cursor<'_>, metric: &mut HubbleMetric) {
    let Some(mut map) = reader.map(at) else {
        return;
    };
    let name = map.need(reader, "name").and_then(|at| reader.text(&at));
    let values = items(reader, &mut map, "values");
    let values: Vec<&str> = values.iter().filter_map(|at| reader.text(at)).collect();
    map.end(reader);
    let Some(name) = name else { return };
    if let Err(error) = metric.add_option(name, &values) {
        reader.fault(at, error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{ConfigError, HubblePlugin, Identifier, read_config};

    #[test]
    fn both_of_hubbles_forms_are_read() {
        let flag = read_config("l7d.yaml", "metrics: { hubble: 'dns:query tcp' }").expect("a flag");
        let plugins: Vec<_> = flag
            .metrics
            .hubble
            .iter()
            .map(|metric| metric.plugin)
            .collect();
        assert_eq!(plugins, [HubblePlugin::Dns, HubblePlugin::Tcp]);
        let file = "metrics:\n  hubble:\n  - drop\n  - name: flow\n    contextOptions:\n    - name: \
                    destinationContext\n      values: [dns, ip]\n    includeFilters:\n    - source_pod: \
                    [allow/src_pod]\n";
        let file = read_config("l7d.yaml", file).expect("a file");
        let flow = file.metrics.hubble.get(1).expect("a metric");
        let expected = [Identifier::Dns, Identifier::Ip];
        assert_eq!(flow.contexts.destination.as_deref(), Some(&expected[..]));
        assert_eq!(flow.include, [r#"{"source_pod":["allow/src_pod"]}"#]);
        let none = read_config("l7d.yaml", "metrics: { hubble: [] }").expect("none");
        assert!(none.metrics.hubble.is_empty());
    }

    #[test]
    fn faults_name_their_line() {
        let fault = |text: &str| match read_config("l7d.yaml", text) {
            Err(ConfigError::Faults { faults }) => faults[0].to_string(),
            other => panic!("{other:?}"),
        };
        let text =
            "metrics:\n  hubble:\n  - dns\n  - name: flow\n    contextOptions: [{name: x}]\n";
        let told = fault(text);
        assert!(
            told.starts_with("l7d.yaml:5:22: metrics.hubble[1].contextOptions[0]: `flow`"),
            "{told}"
        );
        let told = fault("metrics: { hubble: 'http httpV2' }");
        assert!(told.contains("one of them"), "{told}");
    }
}
