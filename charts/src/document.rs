//! Objects as helm writes them: documents of YAML, each with the template that it comes from.

use anyhow::Context as _;
use serde_json::Value;

/// An object.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The template's path.
    pub source: String,
    /// Everything in it.
    pub value: Value,
}

impl Document {
    /// All of what helm wrote; nothing for templates that made none.
    ///
    /// # Errors
    /// What is not YAML, and what is no object.
    pub fn read_all(text: &str) -> anyhow::Result<Vec<Self>> {
        let mut documents = Vec::new();
        let mut source = String::new();
        for part in text.split("\n---\n") {
            let body = part.trim_start_matches("---\n");
            if let Some(named) = body
                .lines()
                .find_map(|line| line.strip_prefix("# Source: "))
            {
                named.clone_into(&mut source);
            }
            let value: Option<Value> = serde_saphyr::from_str(body)
                .with_context(|| format!("{source} is no YAML:\n{part}"))?;
            if let Some(value) = value.filter(|value| !value.is_null()) {
                let source = source.clone();
                documents.push(Self { source, value });
            }
        }
        Ok(documents)
    }

    /// Its kind; empty where it has none.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// Its name; empty where it has none.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// The text at a place (RFC 6901); empty where there is none.
    pub fn text(&self, pointer: &str) -> &str {
        let value = self.value.pointer(pointer);
        value.and_then(Value::as_str).unwrap_or_default()
    }

    /// The value at a place (RFC 6901); null where there is none.
    pub fn at(&self, pointer: &str) -> &Value {
        self.value.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The pod that it is, or makes: its metadata and its spec.
    pub fn pod(&self) -> Option<(&Value, &Value)> {
        match self.kind() {
            "Pod" => Some((self.at("/metadata"), self.at("/spec"))),
            "DaemonSet" | "Deployment" => Some((
                self.at("/spec/template/metadata"),
                self.at("/spec/template/spec"),
            )),
            _ => None,
        }
    }
}
