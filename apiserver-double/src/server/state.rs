//! What all connections share: the cluster, who is known, what was asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::access::{MASTERS, Permission};
use crate::asked::Verb;
use crate::faults::Faults;
use crate::given::Given;
use crate::store::Store;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    /// As bindings name it.
    pub name: String,
    /// Beside those that its name implies.
    pub groups: Vec<String>,
}

impl User {
    /// Who may do everything; whoever comes without a token.
    pub fn admin() -> Self {
        Self {
            name: "kubernetes-admin".to_owned(),
            groups: vec![MASTERS.to_owned()],
        }
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: Vec::new(),
        }
    }

    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }

    pub(crate) fn all_groups(&self) -> impl Iterator<Item = String> {
        let account = self.name.strip_prefix("system:serviceaccount:");
        let namespace = account.and_then(|account| account.split(':').next());
        let implied = namespace.map(|namespace| {
            [
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
            ]
        });
        let own = self.groups.iter().cloned();
        own.chain(implied.into_iter().flatten())
            .chain(["system:authenticated".to_owned()])
    }
}

/// A request that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// None where it is about no object.
    pub verb: Option<Verb>,
    /// Without the query.
    pub path: String,
    /// As it was written.
    pub query: String,
    /// The kind in the plural; empty where it is about no object.
    pub resource: String,
    /// Who asked.
    pub user: String,
    /// `User-Agent`.
    pub agent: String,
}

/// So many requests are remembered.
const REMEMBERED: usize = 20_000;
/// What all connections share.
pub(crate) struct Shared {
    pub(super) store: Mutex<Store>,
    /// Moves on with every write and request, and when something begins to go wrong.
    pub(super) changed: watch::Sender<()>,
    pub(crate) faults: Faults,
    pub(super) asked: Mutex<VecDeque<Asked>>,
    pub(super) users: Mutex<BTreeMap<String, User>>,
    pub(super) used: Mutex<BTreeMap<String, BTreeSet<Permission>>>,
    bookmarks: Duration,
    /// Whose cluster it is, where it is not this one's.
    pub(crate) given: Option<Arc<Given>>,
}

impl Shared {
    pub(super) fn new(bookmarks: Duration, given: Option<Arc<Given>>) -> Self {
        Self {
            given,
            store: Mutex::new(Store::new()),
            changed: watch::Sender::new(()),
            faults: Faults::default(),
            asked: Mutex::default(),
            users: Mutex::default(),
            used: Mutex::default(),
            bookmarks,
        }
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock()
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) -> T {
        let made = change(&mut self.store.lock());
        self.changed.send_replace(());
        made
    }

    pub(crate) fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(crate) const fn bookmarks(&self) -> Duration {
        self.bookmarks
    }

    pub(crate) fn note_asked(&self, asked: Asked) {
        let mut log = self.asked.lock();
        if log.len() == REMEMBERED {
            log.pop_front();
        }
        log.push_back(asked);
        drop(log);
        self.changed.send_replace(());
    }

    pub(crate) fn user(&self, token: &str) -> Option<User> {
        self.users.lock().get(token).cloned()
    }

    pub(crate) fn note_use(&self, user: &User, permission: Permission) {
        if !user.is_master() {
            self.used
                .lock()
                .entry(user.name.clone())
                .or_default()
                .insert(permission);
        }
    }
}
