//! Flows as JSON, looked into.

use serde_json::Value;

use crate::node::Node;

/// A flow.
#[derive(Debug)]
pub(crate) struct Flow(Value);

impl Flow {
    /// The text at a path, or none.
    pub(crate) fn text(&self, path: &str) -> String {
        let found = self.0.pointer(path).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    }

    pub(crate) fn extension(&self, name: &str) -> String {
        self.text(&format!("/extensions/value/{name}"))
    }

    /// The service of an end, with its namespace.
    pub(crate) fn service(&self, end: &str) -> String {
        let part = |part| self.text(&format!("/{end}_service/{part}"));
        let (namespace, name) = (part("namespace"), part("name"));
        if name.is_empty() {
            name
        } else {
            format!("{namespace}/{name}")
        }
    }

    pub(crate) fn source_port(&self) -> u16 {
        let layers = self.0.get("l4").and_then(Value::as_object);
        let port = layers
            .into_iter()
            .flat_map(|layers| layers.values())
            .find_map(|layer| layer.get("source_port")?.as_u64());
        port.and_then(|port| port.try_into().ok()).unwrap_or(0)
    }

    pub(crate) fn is_reply(&self) -> bool {
        self.0.get("is_reply").and_then(Value::as_bool) == Some(true)
    }

    /// A connection's first packet, as a trace tells it.
    pub(crate) fn is_first(&self) -> bool {
        self.text("/trace_reason") == "NEW"
    }
}

/// Looks at all flows that these filters let through until they are as they should be.
pub(crate) fn until(
    node: &Node,
    filters: &[&str],
    are_there: impl Fn(&[Flow]) -> bool,
) -> anyhow::Result<Vec<Flow>> {
    let arguments = [&["--all", "-o", "jsonpb"], filters].concat();
    let mut looks = 0;
    loop {
        let text = node.observe(&arguments)?;
        let flows = text
            .lines()
            .map(|line| {
                let mut response: Value = serde_json::from_str(line)?;
                let flow = response.get_mut("flow").map(Value::take);
                Ok(Flow(flow.unwrap_or_default()))
            })
            .collect::<anyhow::Result<Vec<Flow>>>()?;
        if are_there(&flows) {
            return Ok(flows);
        }
        looks += 1;
        anyhow::ensure!(looks < 200, "these are not all:\n{text}");
    }
}
