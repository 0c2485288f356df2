//! Exports, as configured.

use std::sync::Arc;

use super::{Agent, Error, flows};
use crate::config::Config;
use crate::export::{Exports, Spec};
use crate::flow::FlowRing;
use crate::flow::view::NodeView;

/// What is configured, with its filters and fields read.
pub(super) fn specs(config: &Config, node: &Arc<NodeView>) -> Result<Vec<Spec>, Error> {
    let exports = config.exports.iter().enumerate();
    let read = exports.map(|(at, export)| {
        let section = format!("exports[{at}]");
        let fields = [("allow", export.allow.as_slice()), ("deny", &export.deny)];
        let filters = flows::filters(&section, fields, node)?;
        let fault = |error| Error::Flows(format!("{section}: {error}"));
        Spec::new(export.clone(), filters).map_err(fault)
    });
    read.collect()
}

/// Starts what is configured.
pub(super) fn start(
    config: &Config,
    ring: &Arc<FlowRing>,
    node: &Arc<NodeView>,
) -> Result<Exports, Error> {
    let templates = config.metrics.paths.clone();
    let mut exports = Exports::new(Arc::clone(ring), Arc::clone(node), templates);
    exports.apply(specs(config, node)?);
    Ok(exports)
}

impl Agent {
    /// Makes the exports what is configured now.
    pub(super) fn apply_exports(&mut self) -> Result<(), Error> {
        let config = self.world.config();
        let specs = specs(config, &self.node)?;
        self.exports.tell_paths_by(config.metrics.paths.clone());
        self.exports.apply(specs);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_in_an_export_is_told_with_its_place() {
        let read = |yaml: &str| {
            let config = crate::config::read_config("test", yaml).expect("a configuration");
            let node = Arc::new(flows::node_view(&config));
            specs(&config, &node).map(|specs| specs.len())
        };
        let fault = |yaml: &str| read(yaml).expect_err("a fault").to_string();
        let one = "exports: [ { name: a, stdout: true, ";
        assert_eq!(read(&format!("{one} fields: [time] }} ]")).ok(), Some(1));
        let told = fault(&format!("{one} deny: [ {{ source_pot: [x] }} ] }} ]"));
        assert!(told.contains("exports[0].deny[0]: "), "{told}");
        let told = fault(&format!("{one} allow: [ {{ http_path: [\"(\"] }} ] }} ]"));
        assert!(told.contains("exports[0]: "), "{told}");
        let told = fault(&format!("{one} fields: [source.pot_name] }} ]"));
        assert!(
            told.contains("exports[0]: ") && told.contains("pod_name"),
            "{told}"
        );
    }
}
