//! Agents from a list, or from a file that is read again when it changes.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use policy_l7::yaml::{self, Cursor, Reader};
use tokio::sync::watch;

use super::{Known, Source};
use crate::relay::address::Address;
use crate::renewed::Renewed;
use crate::server::{Peer, Peers, tls_name};

/// A file is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// Why a list of agents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The file cannot be read.
    #[error("{}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It says something that makes no sense.
    #[error("{0}")]
    Faults(String),
}

/// A list that was given, or a file.
#[derive(Debug)]
pub enum Listed {
    /// These, for ever.
    Given(Peers),
    /// Those in a file.
    File(File),
}

/// A file of agents: a YAML list of `name`, `address` and, where it is another than Hubble's for the
/// node, `tlsServerName`.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    cluster: Option<String>,
    peers: Renewed<Peers>,
}

impl File {
    /// The file as it is now. With a `cluster` agents speak TLS.
    ///
    /// # Errors
    /// When it cannot be read, and what is wrong in it.
    pub fn new(path: PathBuf, cluster: Option<String>) -> Result<Self, ListError> {
        let make = || read(&path, cluster.as_deref());
        let peers = Renewed::new("list of agents", vec![path.clone()], make)?;
        Ok(Self {
            path,
            cluster,
            peers,
        })
    }

    fn peers(&self) -> Arc<Peers> {
        self.peers
            .current(|| read(&self.path, self.cluster.as_deref()))
    }
}

#[tonic::async_trait]
impl Source for Listed {
    async fn follow(self: Box<Self>, known: watch::Sender<Known>) {
        let tell = |peers: &Peers| {
            known.send_replace(Known {
                peers: peers.clone(),
                is_current: true,
            });
        };
        match *self {
            Self::Given(peers) => {
                tell(&peers);
                std::future::pending::<()>().await;
            }
            Self::File(file) => {
                let mut told = file.peers();
                tell(&told);
                loop {
                    tokio::time::sleep(LOOK).await;
                    let peers = file.peers();
                    if !Arc::ptr_eq(&peers, &told) {
                        tell(&peers);
                        told = peers;
                    }
                }
            }
        }
    }
}

fn read(path: &Path, cluster: Option<&str>) -> Result<Peers, ListError> {
    let text = std::fs::read_to_string(path).map_err(|cause| ListError::Read {
        path: path.to_owned(),
        cause,
    })?;
    let faults = |faults: Vec<policy_l7::Error>| {
        let mut text = String::new();
        for fault in faults {
            let _infallible = writeln!(text, "{fault}");
        }
        ListError::Faults(text.trim_end().to_owned())
    };
    let name = path.display().to_string();
    let documents = yaml::parse(&name, &text).map_err(|fault| faults(vec![fault]))?;
    let mut reader = Reader::new(&name);
    let mut peers = Peers::default();
    for document in &documents {
        for item in reader.list(&document.root()) {
            if let Some((name, peer)) = peer(&mut reader, &item, cluster) {
                peers.insert(name, peer);
            }
        }
    }
    if reader.has_errors() {
        return Err(faults(reader.into_errors()));
    }
    Ok(peers)
}

fn peer(reader: &mut Reader, at: &Cursor<'_>, cluster: Option<&str>) -> Option<(String, Peer)> {
    let mut map = reader.map(at)?;
    let name = map.need(reader, "name").and_then(|at| reader.text(&at));
    let address = map.need(reader, "address");
    if let Some(at) = &address
        && let Some(text) = reader.text(at)
        && let Err(fault) = Address::parse(text)
    {
        reader.fault(at, fault.to_string());
    }
    let told = map.get("tlsServerName").and_then(|at| reader.text(&at));
    map.end(reader);
    let name = name?;
    let node = name.rsplit('/').next().unwrap_or(name);
    let peer = Peer {
        address: reader.text(&address?)?.to_owned(),
        tls_name: told
            .map(str::to_owned)
            .or_else(|| cluster.map(|cluster| tls_name(cluster, node))),
    };
    Some((name.to_owned(), peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(text: &str, cluster: Option<&str>) -> Result<Vec<(String, Peer)>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agents.yaml");
        std::fs::write(&path, text).expect("written");
        let file = File::new(path, cluster.map(str::to_owned));
        let file = file.map_err(|error| {
            let folder = format!("{}/", folder.path().display());
            error.to_string().replace(&folder, "")
        })?;
        let peers = file.peers();
        let each = peers.iter();
        Ok(each
            .map(|(name, peer)| (name.clone(), peer.clone()))
            .collect())
    }

    #[test]
    fn a_list_says_who_is_where() {
        let text = "- { name: west/a, address: \"10.0.0.1:4244\" }\n- { name: b, address: 10.0.0.2, tlsServerName: b.example }\n";
        let plain = peers(text, None).expect("agents");
        assert_eq!(plain[1].0, "west/a");
        assert_eq!(plain[1].1.tls_name, None);
        let tls = peers(text, Some("west")).expect("agents");
        let names: Vec<_> = tls
            .iter()
            .map(|(_, peer)| peer.tls_name.as_deref())
            .collect();
        assert_eq!(
            names,
            [Some("b.example"), Some("a.west.hubble-grpc.cilium.io")]
        );
    }

    #[test]
    fn faults_name_line_and_field() {
        let fault =
            peers("- { name: a, address: nowhere }\n- { nam: b }\n", None).expect_err("faults");
        assert!(fault.contains("agents.yaml:1:"), "{fault}");
        assert!(fault.contains("`nowhere` is not an address"), "{fault}");
        assert!(fault.contains("did you mean `name`?"), "{fault}");
    }
}
