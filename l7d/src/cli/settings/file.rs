//! The file of settings: a flat YAML mapping.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde_json::{Map, Value};

use super::Key;
use crate::cli::failure::Failure;

/// What a file says, as it stands there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct SettingsFile(Map<String, Value>);

impl SettingsFile {
    /// Reads a file; one that is not there says nothing.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display().to_string();
        let fault = |cause: &dyn std::fmt::Display| {
            Failure::failed(format!("cannot read the settings in {shown}"), cause)
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(fault(&error)),
        };
        let documents = policy_l7::yaml::parse(&shown, &text).map_err(|error| fault(&error))?;
        let Some(document) = documents.first() else {
            return Ok(Self::default());
        };
        match serde_json::from_str(&document.root().to_json()) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            Ok(Value::Null) => Ok(Self::default()),
            Ok(_) | Err(_) => Err(fault(&"expected lines such as `server: localhost:4245`")),
        }
    }

    /// What it says of a setting, as the flag of that name would be given.
    pub(in crate::cli) fn text(&self, key: &str) -> Option<String> {
        let text = match self.0.get(key)? {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                let items = items.iter().map(|item| match item {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                items.collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        (!text.is_empty()).then_some(text)
    }

    /// The texts of a list that may hold commas.
    pub(in crate::cli) fn texts(&self, key: &str) -> Vec<String> {
        match self.0.get(key) {
            Some(Value::Array(items)) => {
                let texts = items.iter().filter_map(Value::as_str);
                texts.map(str::to_owned).collect()
            }
            Some(Value::String(text)) => vec![text.clone()],
            Some(_) | None => Vec::new(),
        }
    }

    /// Says something else of a setting, or nothing any more.
    pub(in crate::cli) fn set(&mut self, key: &Key, value: Option<Value>) {
        match value {
            Some(value) => self.0.insert(key.name.to_owned(), value),
            None => self.0.remove(key.name),
        };
    }

    /// Writes the file. It may hold a password: nobody else can read it.
    pub(in crate::cli) fn write(&self, path: &Path) -> Result<(), Failure> {
        let fault = |error: std::io::Error| {
            Failure::failed(
                format!("cannot write the settings to {}", path.display()),
                error,
            )
        };
        if let Some(folder) = path.parent() {
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(folder).map_err(fault)?;
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(path).map_err(fault)?;
        let each = self.0.iter();
        let text: String = each.map(|(key, value)| yaml(key, value)).collect();
        file.write_all(text.as_bytes()).map_err(fault)
    }
}

/// A line of YAML, or several for a list.
pub(in crate::cli) fn yaml(key: &str, value: &Value) -> String {
    match value {
        Value::Array(items) if !items.is_empty() => {
            let items = items.iter().map(|item| format!("    - {}\n", scalar(item)));
            format!("{key}:\n{}", items.collect::<String>())
        }
        other => format!("{key}: {}\n", scalar(other)),
    }
}

/// A value on one line. What could be taken for something else than text stands in quotes.
pub(in crate::cli) fn scalar(value: &Value) -> String {
    let Value::String(text) = value else {
        return value.to_string();
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || "-_./@+".contains(c);
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| is_word(c) || c == ':')
        && !text.ends_with(':')
        && !matches!(
            text.to_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    let is_duration = text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '.');
    if is_plain || is_duration {
        text.clone()
    } else {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/config.yaml");
        assert_eq!(SettingsFile::read(&path).unwrap(), SettingsFile::default());
        let mut file = SettingsFile::default();
        for (name, text) in [
            ("server", "unix:///run/l7d/l7d.sock"),
            ("tls", "true"),
            ("timeout", "10s"),
            ("tls-ca-cert-files", "/a.pem,/b c.pem"),
            ("basic-auth-password", "true"),
            ("basic-auth-username", "a \"b\": #c"),
        ] {
            let key = Key::find(name).unwrap();
            file.set(key, Some(key.value(text).unwrap()));
        }
        file.0.insert("of-another-version".to_owned(), 7.into());
        file.write(&path).unwrap();
        let read = SettingsFile::read(&path).unwrap();
        assert_eq!(
            read.text("server").as_deref(),
            Some("unix:///run/l7d/l7d.sock")
        );
        assert_eq!(read.text("tls").as_deref(), Some("true"));
        assert_eq!(read.text("timeout").as_deref(), Some("10s"));
        assert_eq!(read.texts("tls-ca-cert-files"), ["/a.pem", "/b c.pem"]);
        assert_eq!(read.text("basic-auth-password").as_deref(), Some("true"));
        assert_eq!(
            read.text("basic-auth-username").as_deref(),
            Some("a \"b\": #c")
        );
        assert_eq!(read.text("of-another-version").as_deref(), Some("7"));
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "- a\n").unwrap();
        assert!(SettingsFile::read(&path).is_err());
    }
}
