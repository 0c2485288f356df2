//! Looks at the machine. What cannot be looked at is told with the right that it takes; nothing is
//! changed.

mod agent;
mod clock;
mod kernel;
mod machine;
mod network;
mod nftables;
mod rights;

use std::io;
use std::path::{Path, PathBuf};

use super::facts::{Configured, Facts, Look};
use crate::config::{self, Config};

/// Where the packages put it.
const USUAL: &str = "/etc/l7d/l7d.yaml";

/// Everything; the agent and the API server are asked.
pub(super) async fn gather(file: Option<&Path>, node: Option<&str>) -> Facts {
    let configured = configured(file, node);
    let config = &configured.config;
    Facts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: kernel::gather(config),
        rights: rights::gather(),
        network: network::gather(config),
        machine: machine::gather(config),
        agent: agent::gather(config).await,
        cluster: match &config.kubernetes {
            Some(access) => Some(crate::kube::version(access).await),
            None => None,
        },
        configured,
    }
}

fn configured(file: Option<&Path>, node: Option<&str>) -> Configured {
    let usual = Path::new(USUAL);
    let file: Option<PathBuf> = file
        .or_else(|| usual.exists().then_some(usual))
        .map(Path::to_owned);
    let read = file.as_deref().map(config::read_config_file);
    let (config, trouble) = match read {
        None => (Config::default(), None),
        Some(Ok(config)) => (config, None),
        Some(Err(error)) => (Config::default(), Some(error.to_string())),
    };
    let node = node.map_or_else(|| config.node.clone(), str::to_owned);
    Configured {
        file,
        trouble,
        config: Config { node, ..config },
    }
}

/// What was read, or who may read it.
fn look<T>(read: io::Result<T>, right: &str) -> io::Result<Look<T>> {
    match read {
        Ok(read) => Ok(Look::Seen(read)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Ok(Look::Hidden(right.to_owned()))
        }
        Err(error) => Err(error),
    }
}

/// A file's text without the line's end; none where it cannot be read.
fn text(path: impl AsRef<Path>) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim_end().to_owned())
}

/// The value of a line `NAME: VALUE`, as `/proc` has them.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = text.lines();
    lines
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}
