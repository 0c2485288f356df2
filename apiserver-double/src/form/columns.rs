//! Columns of tables.

use serde_json::{Value, json};

use super::{age, path};
use crate::kinds::Resource;
use crate::place;

/// A column, and what it shows of an object.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) form: String,
    pub(super) priority: i64,
    shows: Shows,
}

enum Shows {
    By(fn(&Value) -> Value),
    /// A path of a definition.
    Path(String),
}

impl Column {
    pub(super) fn cell(&self, object: &Value) -> Value {
        match &self.shows {
            Shows::By(shows) => shows(object),
            Shows::Path(path) => at(object, path, &self.form),
        }
    }
}

fn at(object: &Value, path: &str, form: &str) -> Value {
    let found = path::find(object, path);
    let [first, ..] = found.as_slice() else {
        return Value::Null;
    };
    match (form, first) {
        ("date", Value::String(moment)) => json!(age::since(moment)),
        ("string", Value::String(_)) | ("integer" | "number" | "boolean", _) => (*first).clone(),
        _ => json!(first.to_string()),
    }
}

/// Name, priority, and what it shows.
type BuiltIn = (&'static str, i64, fn(&Value) -> Value);

/// The columns of a kind.
pub(super) fn of(resource: &Resource, version: &str) -> Vec<Column> {
    let by = |name: &str, priority, shows| Column {
        name: name.to_owned(),
        form: "string".to_owned(),
        priority,
        shows: Shows::By(shows),
    };
    let mut columns = vec![by("Name", 0, |object| {
        json!(place::text(object, "/metadata/name"))
    })];
    if resource.is_custom {
        let defined = resource
            .version(version)
            .into_iter()
            .flat_map(|version| &version.columns);
        columns.extend(defined.map(|column| Column {
            name: column.name.clone(),
            form: column.form.clone(),
            priority: column.priority,
            shows: Shows::Path(column.path.clone()),
        }));
    } else {
        let own: &[BuiltIn] = match resource.kind.as_str() {
            "Pod" => &[
                ("Ready", 0, ready),
                ("Status", 0, phase),
                ("Restarts", 0, restarts),
            ],
            "Namespace" => &[("Status", 0, phase)],
            "Node" => &[("Status", 0, node_status), ("Version", 0, node_version)],
            "Service" => &[
                ("Type", 0, |object| json!(place::text(object, "/spec/type"))),
                ("Cluster-IP", 0, |object| {
                    json!(place::text(object, "/spec/clusterIP"))
                }),
                ("Port(s)", 0, ports),
            ],
            "ConfigMap" | "Secret" => &[("Data", 0, data)],
            "Event" => &[
                ("Type", 0, |object| json!(place::text(object, "/type"))),
                ("Reason", 0, |object| json!(place::text(object, "/reason"))),
                ("Object", 0, about),
                ("Message", 0, message),
            ],
            "CustomResourceDefinition" => &[("Created At", 0, |object| {
                json!(place::text(object, "/metadata/creationTimestamp"))
            })],
            _ => &[],
        };
        columns.extend(
            own.iter()
                .map(|(name, priority, shows)| by(name, *priority, *shows)),
        );
    }
    if resource.kind != "CustomResourceDefinition"
        && !columns.iter().any(|column| column.name == "Age")
    {
        columns.push(by("Age", 0, |object| {
            json!(age::since(place::text(
                object,
                "/metadata/creationTimestamp"
            )))
        }));
    }
    if !resource.is_custom && resource.kind == "Pod" {
        columns.push(by("IP", 1, |object| {
            or_none(place::text(object, "/status/podIP"))
        }));
        columns.push(by("Node", 1, |object| {
            or_none(place::text(object, "/spec/nodeName"))
        }));
    }
    columns
}

fn or_none(text: &str) -> Value {
    json!(if text.is_empty() { "<none>" } else { text })
}

fn phase(object: &Value) -> Value {
    let is_going = !place::text(object, "/metadata/deletionTimestamp").is_empty();
    json!(if is_going {
        "Terminating"
    } else {
        place::text(object, "/status/phase")
    })
}

fn ready(object: &Value) -> Value {
    let statuses = place::items(object, "/status/containerStatuses");
    let ready = statuses
        .iter()
        .filter(|status| status.get("ready") == Some(&Value::Bool(true)));
    json!(format!(
        "{}/{}",
        ready.count(),
        place::items(object, "/spec/containers").len()
    ))
}

fn restarts(object: &Value) -> Value {
    let statuses = place::items(object, "/status/containerStatuses").iter();
    let restarts: i64 = statuses
        .filter_map(|status| status.get("restartCount")?.as_i64())
        .sum();
    json!(restarts.to_string())
}

fn node_status(object: &Value) -> Value {
    let conditions = place::items(object, "/status/conditions");
    let mut ready = conditions
        .iter()
        .filter(|condition| place::text(condition, "/type") == "Ready");
    json!(match ready
        .next()
        .map(|condition| place::text(condition, "/status"))
    {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    })
}

fn node_version(object: &Value) -> Value {
    json!(place::text(object, "/status/nodeInfo/kubeletVersion"))
}

fn ports(object: &Value) -> Value {
    let ports = place::items(object, "/spec/ports").iter();
    let ports = ports.map(|port| {
        let number = port.get("port").and_then(Value::as_i64).unwrap_or(0);
        format!("{number}/{}", place::text(port, "/protocol"))
    });
    or_none(&ports.collect::<Vec<_>>().join(","))
}

fn data(object: &Value) -> Value {
    let count = ["data", "binaryData"]
        .iter()
        .filter_map(|member| object.get(member)?.as_object());
    json!(count.map(serde_json::Map::len).sum::<usize>())
}

fn about(object: &Value) -> Value {
    let of = |older: &str, newer: &str| {
        let text = place::text(object, older);
        if text.is_empty() {
            place::text(object, newer).to_owned()
        } else {
            text.to_owned()
        }
    };
    let kind = of("/involvedObject/kind", "/regarding/kind").to_lowercase();
    json!(format!(
        "{kind}/{}",
        of("/involvedObject/name", "/regarding/name")
    ))
}

fn message(object: &Value) -> Value {
    let message = place::text(object, "/message");
    json!(if message.is_empty() {
        place::text(object, "/note")
    } else {
        message
    })
}
