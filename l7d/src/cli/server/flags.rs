//! The flags that say which server to ask, and what the environment and defaults add to them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::{AGENT_SOCKET, RELAY, Server, Target, Tls};
use crate::cli::failure::Failure;
use crate::cli::observe::time;
use crate::cli::settings::{Place, of_environment};
use crate::tls;

/// Flags that say which server to ask.
#[expect(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "comments are what --help shows"
)]
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerFlags {
    /// Server to ask: HOST:PORT, tls://HOST:PORT or unix://PATH. Without it, the agent's socket
    /// /run/l7d/l7d.sock if there is one, else localhost:4245 [env: HUBBLE_SERVER, L7D_SERVER]
    #[arg(long, value_name = "ADDRESS")]
    pub server: Option<String>,
    /// File of settings, instead of the usual one (see `l7d config`) [env: HUBBLE_CONFIG, L7D_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How long connecting may take [default: 5s] [env: HUBBLE_TIMEOUT]
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    pub timeout: Option<Duration>,
    /// How long an answer may take (status, list) [default: 12s] [env: HUBBLE_REQUEST_TIMEOUT]
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    pub request_timeout: Option<Duration>,
    /// Use TLS; implied by a tls:// address [env: HUBBLE_TLS]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub tls: Option<bool>,
    /// Trust whatever certificate the server shows: what is said can be read and changed on the way [env:
    /// HUBBLE_TLS_ALLOW_INSECURE]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub tls_allow_insecure: Option<bool>,
    /// Authorities to trust instead of the usual ones, PEM [env: HUBBLE_TLS_CA_CERT_FILES]
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub tls_ca_cert_files: Vec<String>,
    /// Certificate to show to the server, PEM [env: HUBBLE_TLS_CLIENT_CERT_FILE]
    #[arg(long, value_name = "FILE")]
    pub tls_client_cert_file: Option<String>,
    /// Key of that certificate, PEM [env: HUBBLE_TLS_CLIENT_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    pub tls_client_key_file: Option<String>,
    /// Name the server's certificate must have [env: HUBBLE_TLS_SERVER_NAME]
    #[arg(long, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// User name for basic authentication, over TLS only [env: HUBBLE_BASIC_AUTH_USERNAME]
    #[arg(long, value_name = "NAME")]
    pub basic_auth_username: Option<String>,
    /// Password for basic authentication [env: HUBBLE_BASIC_AUTH_PASSWORD]
    #[arg(long, value_name = "PASSWORD")]
    pub basic_auth_password: Option<String>,
    /// Forward a port of the cluster's relay to this machine first; not available in this build: the
    /// message names the command to run instead
    #[arg(short = 'P', long)]
    pub port_forward: bool,
    /// Local port to forward, 0 for any [default: 4245]
    #[arg(long, value_name = "PORT")]
    pub port_forward_port: Option<u16>,
    /// Context of the Kubernetes configuration, with --port-forward
    #[arg(long, value_name = "NAME")]
    pub kube_context: Option<String>,
    /// Namespace of the relay, with --port-forward [default: kube-system]
    #[arg(long, value_name = "NAME")]
    pub kube_namespace: Option<String>,
    /// Kubernetes configuration, with --port-forward
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<String>,
}

impl ServerFlags {
    /// Settles what the flags leave open: from the environment (`env` gives a variable's value),
    /// else by default.
    pub fn settle(&self, env: impl Fn(&str) -> Option<String>) -> Result<Server, Failure> {
        let file = Place::find(self.config.as_deref(), &env).load()?;
        let named = |name: &str| {
            let key = name.to_lowercase().replace('_', "-");
            of_environment(&env, &key).or_else(|| file.text(&key))
        };
        let text = |flag: &Option<String>, name: &str| flag.clone().or_else(|| named(name));
        let switch = |flag: Option<bool>, name: &str| {
            flag.unwrap_or_else(|| named(name).is_some_and(|v| v == "true" || v == "1"))
        };
        let time = |flag: Option<Duration>, name: &str, default| match (flag, named(name)) {
            (Some(given), _) => Ok(given),
            (None, Some(value)) => time::parse_duration(&value)
                .map_err(|error| Failure::usage(format!("HUBBLE_{name}={value}: {error}"))),
            (None, None) => Ok(Duration::from_secs(default)),
        };
        self.refuse_what_is_missing()?;
        let is_insecure = switch(self.tls_allow_insecure, "TLS_ALLOW_INSECURE");
        let shown = text(&self.server, "SERVER").unwrap_or_else(default_server);
        let (target, tls_target) = target(&shown);
        let wants_tls = tls_target || switch(self.tls, "TLS");
        let identity = match (
            text(&self.tls_client_cert_file, "TLS_CLIENT_CERT_FILE"),
            text(&self.tls_client_key_file, "TLS_CLIENT_KEY_FILE"),
        ) {
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            (None, None) => None,
            _ => {
                return Err(Failure::usage(
                    "invalid flag(s): certificate and private key are both required, but only \
                     one was provided",
                ));
            }
        };
        let mut authorities: Vec<PathBuf> =
            self.tls_ca_cert_files.iter().map(PathBuf::from).collect();
        if let (true, Some(files)) = (authorities.is_empty(), named("TLS_CA_CERT_FILES")) {
            authorities.extend(files.split(',').map(PathBuf::from));
        }
        let trust = if is_insecure {
            tls::Trust::Anybody
        } else {
            tls::Trust::Authorities(authorities)
        };
        let server_name = text(&self.tls_server_name, "TLS_SERVER_NAME");
        let authorization = text(&self.basic_auth_username, "BASIC_AUTH_USERNAME").map(|user| {
            let password = text(&self.basic_auth_password, "BASIC_AUTH_PASSWORD");
            format!(
                "Basic {}",
                base64(&format!("{user}:{}", password.unwrap_or_default()))
            )
        });
        if !wants_tls && (identity.is_some() || authorization.is_some()) {
            return Err(Failure::usage("transport layer security required")
                .advise("add --tls, or give the server as tls://HOST:PORT"));
        }
        Ok(Server {
            target,
            timeout: time(self.timeout, "TIMEOUT", 5)?,
            request_timeout: time(self.request_timeout, "REQUEST_TIMEOUT", 12)?,
            tls: wants_tls.then_some(Tls {
                files: tls::ClientFiles { trust, identity },
                server_name,
            }),
            authorization,
            shown,
        })
    }

    /// What was given for a setting.
    pub(in crate::cli) fn given(&self, key: &str) -> Option<String> {
        let switch = |flag: Option<bool>| flag.map(|flag| flag.to_string());
        let time = |flag: Option<Duration>| flag.map(|flag| format!("{}s", flag.as_secs_f64()));
        match key {
            "basic-auth-password" => self.basic_auth_password.clone(),
            "basic-auth-username" => self.basic_auth_username.clone(),
            "kube-context" => self.kube_context.clone(),
            "kube-namespace" => self.kube_namespace.clone(),
            "kubeconfig" => self.kubeconfig.clone(),
            "port-forward" => self.port_forward.then(|| true.to_string()),
            "port-forward-port" => self.port_forward_port.map(|port| port.to_string()),
            "request-timeout" => time(self.request_timeout),
            "server" => self.server.clone(),
            "timeout" => time(self.timeout),
            "tls" => switch(self.tls),
            "tls-allow-insecure" => switch(self.tls_allow_insecure),
            "tls-ca-cert-files" => {
                let files = &self.tls_ca_cert_files;
                (!files.is_empty()).then(|| files.join(","))
            }
            "tls-client-cert-file" => self.tls_client_cert_file.clone(),
            "tls-client-key-file" => self.tls_client_key_file.clone(),
            "tls-server-name" => self.tls_server_name.clone(),
            _ => None,
        }
    }

    fn refuse_what_is_missing(&self) -> Result<(), Failure> {
        if self.port_forward {
            let namespace = self.kube_namespace.as_deref().unwrap_or("kube-system");
            let port = self.port_forward_port.unwrap_or(4245);
            return Err(
                Failure::usage("--port-forward is not available in this build").advise(format!(
                    "run `kubectl -n {namespace} port-forward service/hubble-relay {port}:80` \
                     beside it, and use --server localhost:{port}"
                )),
            );
        }
        Ok(())
    }
}

/// Where is asked when nobody says where.
pub(in crate::cli) fn default_server() -> String {
    if Path::new(AGENT_SOCKET).exists() {
        format!("unix://{AGENT_SOCKET}")
    } else {
        RELAY.to_owned()
    }
}

/// The target of an address, and whether it asks for TLS.
fn target(address: &str) -> (Target, bool) {
    if let Some(path) = address.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return (Target::Unix(path.to_owned()), false);
    }
    if let Some(host) = address.strip_prefix("tls://") {
        return (Target::Tcp(host.to_owned()), true);
    }
    let host = address
        .strip_prefix("tcp://")
        .or_else(|| address.strip_prefix("dns:///"));
    (Target::Tcp(host.unwrap_or(address).to_owned()), false)
}

/// RFC 4648 §4, with padding.
fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * position) & 63).unwrap_or_default();
            match ALPHABET.get(index) {
                Some(letter) if position <= chunk.len() => encoded.push(char::from(*letter)),
                _ => encoded.push('='),
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(flags: &ServerFlags, env: &[(&str, &str)]) -> Result<Server, String> {
        flags
            .settle(|name| {
                env.iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, v)| (*v).to_owned())
            })
            .map_err(|failure| failure.to_string())
    }

    fn flags(server: &str) -> ServerFlags {
        ServerFlags {
            server: Some(server.to_owned()),
            ..ServerFlags::default()
        }
    }

    #[test]
    fn reads_addresses() {
        assert_eq!(
            target("unix:///run/x.sock"),
            (Target::Unix("/run/x.sock".to_owned()), false)
        );
        assert_eq!(
            target("unix:/run/x.sock"),
            (Target::Unix("/run/x.sock".to_owned()), false)
        );
        assert_eq!(
            target("tls://a:443"),
            (Target::Tcp("a:443".to_owned()), true)
        );
        assert_eq!(
            target("[::1]:4245"),
            (Target::Tcp("[::1]:4245".to_owned()), false)
        );
    }

    #[test]
    fn prefers_flags_to_environment() {
        let env = [
            ("HUBBLE_SERVER", "b:1"),
            ("L7D_SERVER", "c:1"),
            ("HUBBLE_TIMEOUT", "7s"),
        ];
        let server = settle(&flags("a:1"), &env).unwrap();
        assert_eq!(
            (server.shown.as_str(), server.timeout.as_secs()),
            ("a:1", 7)
        );
        assert_eq!(settle(&ServerFlags::default(), &env).unwrap().shown, "c:1");
        assert_eq!(
            settle(&ServerFlags::default(), &env[..1]).unwrap().shown,
            "b:1"
        );
    }

    #[test]
    fn wants_tls_for_credentials() {
        let user = ServerFlags {
            basic_auth_username: Some("u".to_owned()),
            ..flags("a:1")
        };
        assert_eq!(
            settle(&user, &[]).unwrap_err(),
            "transport layer security required"
        );
        let user = ServerFlags {
            server: Some("tls://a:1".to_owned()),
            ..user
        };
        assert_eq!(
            settle(&user, &[]).unwrap().authorization.unwrap(),
            "Basic dTo="
        );
    }

    #[test]
    fn wants_certificate_and_key_together() {
        let half = ServerFlags {
            tls_client_cert_file: Some("a".to_owned()),
            ..flags("tls://a:1")
        };
        assert!(settle(&half, &[]).unwrap_err().contains("both required"));
    }

    #[test]
    fn encodes_base64() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(plain), encoded);
        }
    }
}
