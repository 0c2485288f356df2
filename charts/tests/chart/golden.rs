//! The default rendering, as it is reviewed.

use std::fmt::Write as _;

use charts::Document;
use serde_json::{Value, json};

use crate::rendering::rendered;

/// Objects as text, without what is made by chance.
fn shown(documents: &[Document]) -> String {
    let mut text = String::new();
    for document in documents {
        let mut value = document.value.clone();
        if document.kind() == "Secret" {
            for (_, entry) in value["data"].as_object_mut().expect("entries") {
                *entry = json!("(made by helm)");
            }
            if let Some(time) = value.pointer_mut("/metadata/annotations/l7d.io~1renew-after") {
                *time = json!("(made by helm)");
            }
        }
        writeln!(text, "--- {}", document.source).expect("text");
        write_value(&mut text, &value, 0);
    }
    text
}

/// A mapping or a list, a line for each value.
fn write_value(text: &mut String, value: &Value, depth: usize) {
    let pad = "  ".repeat(depth);
    let mut entry = |name: &str, value: &Value| match value {
        Value::Object(of) if !of.is_empty() => {
            writeln!(text, "{pad}{name}").expect("text");
            write_value(text, value, depth + 1);
        }
        Value::Array(of) if of.iter().any(|item| item.is_object() || item.is_array()) => {
            writeln!(text, "{pad}{name}").expect("text");
            write_value(text, value, depth + 1);
        }
        Value::String(lines) if lines.contains('\n') => {
            writeln!(text, "{pad}{name}").expect("text");
            for line in lines.lines() {
                writeln!(text, "{pad}  | {line}").expect("text");
            }
        }
        value => writeln!(text, "{pad}{name} {value}").expect("text"),
    };
    match value {
        Value::Object(entries) => entries.iter().for_each(|(name, value)| {
            entry(&format!("{name}:"), value);
        }),
        Value::Array(items) => items.iter().for_each(|item| entry("-", item)),
        _ => {}
    }
}

/// `L7D_BLESS=1 cargo test -p charts golden` writes it anew, to be reviewed as a difference.
#[test]
fn the_default_rendering_is_the_reviewed_one() {
    let text = shown(&rendered(&json!({})));
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chart/default.txt");
    if std::env::var_os("L7D_BLESS").is_some() {
        std::fs::write(&file, &text).expect("written");
    }
    let reviewed = std::fs::read_to_string(&file).expect("the reviewed rendering");
    let lines = text.lines().zip(reviewed.lines()).enumerate();
    for (at, (now, then)) in lines {
        assert_eq!(now, then, "line {} of {}", at + 1, file.display());
    }
    assert_eq!(text.lines().count(), reviewed.lines().count());
}
