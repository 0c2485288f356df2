//! Names that DNS told → what policies know of addresses, in the kernel before the client hears of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use policy_l7::{Compiled, Named};
use tokio::sync::{mpsc, oneshot};

use super::apply::World;
use super::{Agent, Error};
use crate::clock::{Monotonic, WallOffset};
use crate::config::Config;
use crate::identity::{Identities, Known, Names, NamesFile, TableBuilder};
use crate::policy::Live;
use crate::record::Endpoint;
use crate::server::KnownName;

/// Answers that wait at a time; more go on before policies know their addresses.
pub(super) const LEARNINGS: usize = 1024;
/// How often is looked for names that have aged, and the file is written anew, in nanoseconds.
const AGING_NS: u64 = 5_000_000_000;
/// The file in the folder of state.
const FILE: &str = "names";

/// An answer that waits until policies know its addresses.
pub(super) struct Learning {
    /// What was told.
    pub(super) known: Vec<Known>,
    /// Lets it go.
    pub(super) done: oneshot::Sender<()>,
}

/// What DNS has told, and the file that keeps it.
pub(super) struct LearntNames {
    pub(super) names: Arc<Names>,
    file: NamesFile,
    /// Up to when the table of addresses knows them.
    moment: u64,
    looked_at: Monotonic,
}

impl LearntNames {
    /// Takes back what a former process knew.
    pub(super) fn new(config: &Config) -> Self {
        let names = Arc::new(Names::new(config.dns));
        let path = config.runtime_dir.join(FILE);
        let (file, loaded) = names.open(&path);
        if loaded.known > 0 {
            tracing::info!(names = loaded.known, "names of addresses taken back");
        }
        if let Some(aside) = loaded.set_aside {
            tracing::warn!(path = %aside.display(), "no list of names of this version: set aside");
        }
        let mut learnt = Self {
            names,
            file,
            moment: 0,
            looked_at: Monotonic::now(),
        };
        if loaded.broken > 0 {
            tracing::warn!(lines = loaded.broken, path = %path.display(), "broken lines were left out");
            // What is added must not stand behind half a line.
            learnt.save();
        }
        learnt
    }

    /// Learns what a former process has learnt since this one began, which it has written down.
    pub(super) fn catch_up(&mut self, config: &Config) {
        let (file, _loaded) = self.names.open(&config.runtime_dir.join(FILE));
        self.file = file;
    }

    /// What the addresses that have names are to a policy set.
    pub(super) fn named(&self, compiled: &Compiled) -> BTreeSet<Named> {
        let mut all = BTreeSet::new();
        if !compiled.name_selectors().is_empty() {
            let _moment = self.names.each_address(|address, names| {
                all.extend(compiled.named(address, names.map(with_dot)));
            });
        }
        all
    }

    /// Gives every address whose names a policy speaks of the identity that it has by them.
    pub(super) fn name_addresses(&mut self, compiled: &Compiled, table: &mut TableBuilder) {
        if compiled.name_selectors().is_empty() {
            return;
        }
        let mut endpoints: BTreeMap<u32, Arc<Endpoint>> = BTreeMap::new();
        self.moment = self.names.each_address(|address, names| {
            let named = compiled.named(address, names.map(with_dot));
            let identity = named.and_then(|named| compiled.identity_of(&named));
            if let Some(identity) = identity {
                let endpoint = endpoints
                    .entry(identity.number)
                    .or_insert_with(|| Arc::new(crate::host::of_identity(identity)));
                table.address(address, Arc::clone(endpoint));
            }
        });
    }

    /// Notes that the kernel knows what the table of addresses knows.
    pub(super) fn set_applied(&self) {
        self.names.set_applied(self.moment);
    }

    /// Writes the whole list.
    pub(super) fn save(&mut self) {
        if self.names.take_changed()
            && let Err(error) = self.file.write(&self.names.list())
        {
            tracing::warn!(%error, "learnt names cannot be kept for the next start");
        }
    }

    fn add(&mut self, known: &[Known]) {
        if let Err(error) = self.file.add(known) {
            tracing::warn!(%error, "a learnt name cannot be kept for the next start");
        }
    }
}

/// Lists what DNS has told, with what policies make of it.
pub(super) struct NameLister {
    names: Arc<Names>,
    identities: Identities,
    live: Arc<Live>,
}

impl World {
    pub(super) fn name_lister(&self) -> NameLister {
        NameLister {
            names: Arc::clone(self.names()),
            identities: self.identities().clone(),
            live: Arc::clone(self.live()),
        }
    }
}

impl NameLister {
    pub(super) fn list(&self) -> Vec<KnownName> {
        let table = self.identities.load();
        let compiled = Arc::clone(&self.live.load().compiled);
        let mut selectors: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
        let _moment = self.names.each_address(|address, names| {
            let named = compiled.named(address, names.map(with_dot));
            let found = named.into_iter().flat_map(|named| named.selectors);
            selectors.insert(address, found.collect());
        });
        let offset = WallOffset::measure();
        let entry = |known: Known| {
            let client = table.endpoint(known.client);
            let is_pod = !client.namespace.is_empty();
            KnownName {
                client: known.client,
                client_pod: if is_pod {
                    format!("{}/{}", client.namespace, client.name)
                } else {
                    String::new()
                },
                name: known.name.to_string(),
                address: known.address,
                until: offset.to_wall(known.until),
                selectors: selectors.get(&known.address).cloned().unwrap_or_default(),
                identity: table.endpoint(known.address).identity.0,
            }
        };
        self.names.list().into_iter().map(entry).collect()
    }
}

/// Policies compare names with their last dot.
fn with_dot(name: &str) -> String {
    if name == "." {
        name.to_owned()
    } else {
        format!("{name}.")
    }
}

impl Agent {
    /// Makes policies know what was told, all answers that wait at once, and lets these go.
    pub(super) fn learn(
        &mut self,
        first: Learning,
        more: &mut mpsc::Receiver<Learning>,
    ) -> Result<(), Error> {
        let mut learnings = vec![first];
        while let Ok(learning) = more.try_recv() {
            learnings.push(learning);
        }
        for learning in &learnings {
            self.world.learnt.add(&learning.known);
        }
        self.apply_names()?;
        for learning in learnings {
            // Who has waited too long is no longer there.
            let _gone = learning.done.send(());
        }
        Ok(())
    }

    /// Addresses of a kind that policies know already only need their entries.
    fn apply_names(&mut self) -> Result<(), Error> {
        let compiled = Arc::clone(&self.world.live().load().compiled);
        let named = self.world.learnt.named(&compiled);
        if named
            .iter()
            .all(|named| compiled.identity_of(named).is_some())
        {
            self.world.name_addresses(&compiled);
            self.apply_addresses()?;
        } else {
            self.world.compile_names(named);
            self.apply_world()?;
        }
        Ok(())
    }

    /// Forgets names that have aged, and keeps the others for the next start.
    pub(super) fn forget_aged_names(&mut self) -> Result<(), Error> {
        let now = Monotonic::now();
        let learnt = &mut self.world.learnt;
        if now.nanos_since(learnt.looked_at) < AGING_NS {
            return Ok(());
        }
        learnt.looked_at = now;
        let has_aged = learnt.names.expire(now);
        learnt.save();
        if has_aged {
            self.apply_names()?;
        }
        Ok(())
    }
}
