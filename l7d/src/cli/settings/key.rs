//! Which settings there are: as the flags of the same names.

use serde_json::Value;

use crate::cli::observe::time;

/// A setting.
#[derive(Debug)]
pub(in crate::cli) struct Key {
    /// Its name, that of the flag.
    pub(in crate::cli) name: &'static str,
    /// What it holds.
    pub(in crate::cli) kind: Kind,
    /// Its value where nobody says any.
    pub(in crate::cli) default: &'static str,
}

/// What settings hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Kind {
    /// `true` or `false`
    Bool,
    /// `5s`
    Duration,
    /// Texts with commas between them.
    List,
    /// A number of a port.
    Port,
    /// A text.
    Text,
}

const fn key(name: &'static str, kind: Kind, default: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
    }
}

/// All settings, by name.
pub(in crate::cli) const KEYS: [Key; 18] = [
    key("basic-auth-password", Kind::Text, ""),
    key("basic-auth-username", Kind::Text, ""),
    key("config", Kind::Text, ""),
    key("debug", Kind::Bool, "false"),
    key("kube-context", Kind::Text, ""),
    key("kube-namespace", Kind::Text, "kube-system"),
    key("kubeconfig", Kind::Text, ""),
    key("port-forward", Kind::Bool, "false"),
    key("port-forward-port", Kind::Port, "4245"),
    key("request-timeout", Kind::Duration, "12s"),
    key("server", Kind::Text, ""),
    key("timeout", Kind::Duration, "5s"),
    key("tls", Kind::Bool, "false"),
    key("tls-allow-insecure", Kind::Bool, "false"),
    key("tls-ca-cert-files", Kind::List, ""),
    key("tls-client-cert-file", Kind::Text, ""),
    key("tls-client-key-file", Kind::Text, ""),
    key("tls-server-name", Kind::Text, ""),
];

impl Key {
    /// The setting of that name.
    pub(in crate::cli) fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// A value as it stands in the file.
    ///
    /// # Errors
    /// What else should stand there.
    pub(in crate::cli) fn value(&self, text: &str) -> Result<Value, String> {
        match self.kind {
            Kind::Bool => match text {
                "true" | "1" => Ok(Value::Bool(true)),
                "false" | "0" => Ok(Value::Bool(false)),
                _ => Err("expected true or false".to_owned()),
            },
            Kind::Duration => {
                time::parse_duration(text)?;
                Ok(Value::from(text))
            }
            Kind::List => {
                let inner = text
                    .strip_prefix('[')
                    .and_then(|text| text.strip_suffix(']'));
                let items = inner.unwrap_or(text).split(',').map(str::trim);
                Ok(items.filter(|item| !item.is_empty()).collect())
            }
            Kind::Port => {
                let port: Result<u16, _> = text.parse();
                port.map(Value::from)
                    .map_err(|_error| "expected a port, 0 to 65535".to_owned())
            }
            Kind::Text => Ok(Value::from(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_their_defaults_are_values() {
        assert!(KEYS.is_sorted_by_key(|key| key.name));
        for key in &KEYS {
            assert!(key.value(key.default).is_ok(), "{}", key.name);
        }
    }

    #[test]
    fn a_value_is_of_its_kind() {
        let value = |name, text| Key::find(name).unwrap().value(text);
        assert_eq!(value("tls", "1"), Ok(true.into()));
        assert_eq!(
            value("tls-ca-cert-files", "[a, b]"),
            Ok(vec!["a", "b"].into())
        );
        assert_eq!(value("tls-ca-cert-files", "a,b"), Ok(vec!["a", "b"].into()));
        for (name, text) in [
            ("tls", "yes"),
            ("timeout", "soon"),
            ("port-forward-port", "-1"),
        ] {
            assert!(value(name, text).is_err(), "{name}");
        }
    }
}
