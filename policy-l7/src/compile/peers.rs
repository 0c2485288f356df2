//! Who peers are: for each distinct list of peers, the identities that it means.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use ipnet::IpNet;

use crate::identity::Identity;
use crate::selector::{Entity, Operator, Peers, Selector};

/// Above so many changes at once, lists are made anew instead of being changed one by one.
const FEW_CHANGES: usize = 64;

/// Place of a list of peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PeersId(usize);

/// The identities of all lists, by their places; each sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members(Vec<Arc<Vec<u32>>>);

impl Members {
    /// Whether a list means an identity.
    pub(crate) fn has(&self, peers: PeersId, identity: u32) -> bool {
        self.of(peers).binary_search(&identity).is_ok()
    }

    /// The identities that a list means, sorted.
    pub(crate) fn of(&self, peers: PeersId) -> &[u32] {
        self.0
            .get(peers.0)
            .map_or(&[], |members| members.as_slice())
    }
}

/// What selectors are asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    identity: Identity,
    /// Of an identity that stands for addresses outside.
    prefix: Option<IpNet>,
}

struct List {
    peers: Arc<Peers>,
    users: usize,
}

/// All distinct lists of peers, and all identities.
#[derive(Default)]
pub(super) struct PeerSets {
    lists: Vec<Option<List>>,
    places: HashMap<Arc<Peers>, PeersId>,
    members: Members,
    known: BTreeMap<u32, Known>,
    /// Identities by the keys and values of their labels, whatever the source.
    by_label: HashMap<(String, String), BTreeSet<u32>>,
    /// Identities that have come, gone or changed since this was last asked.
    touched: BTreeSet<u32>,
}

/// An identity that comes (with the prefix that it stands for, if any) or goes.
pub(super) enum Change {
    Come(Identity, Option<IpNet>),
    Gone(u32),
}

impl PeerSets {
    pub(super) fn members(&self) -> &Members {
        &self.members
    }

    /// Identities that have come or gone since the last call, sorted.
    pub(super) fn take_touched(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.touched).into_iter().collect()
    }

    /// All distinct lists in use.
    pub(super) fn lists(&self) -> impl Iterator<Item = &Peers> {
        let lists = self.lists.iter().flatten();
        lists.map(|list| list.peers.as_ref())
    }

    /// The place of a list, for one more user.
    pub(super) fn acquire(&mut self, peers: &Peers) -> PeersId {
        if let Some(place) = self.places.get(peers).copied() {
            if let Some(Some(list)) = self.lists.get_mut(place.0) {
                list.users += 1;
            }
            return place;
        }
        let peers = Arc::new(peers.clone());
        let members = Arc::new(self.meant(&peers));
        let list = List {
            peers: Arc::clone(&peers),
            users: 1,
        };
        let free = self.lists.iter().position(Option::is_none);
        let place = free.unwrap_or(self.lists.len());
        self.lists
            .resize_with(self.lists.len().max(place + 1), || None);
        self.members.0.resize(self.lists.len(), Arc::default());
        self.set(place, Some(list), members);
        self.places.insert(peers, PeersId(place));
        PeersId(place)
    }

    /// One user less; without any, the list goes.
    pub(super) fn release(&mut self, place: PeersId) {
        let Some(Some(list)) = self.lists.get_mut(place.0) else {
            return;
        };
        list.users -= 1;
        if list.users == 0 {
            self.places.remove(&list.peers);
            self.set(place.0, None, Arc::default());
        }
    }

    fn set(&mut self, place: usize, list: Option<List>, members: Arc<Vec<u32>>) {
        if let Some(slot) = self.lists.get_mut(place) {
            *slot = list;
        }
        if let Some(slot) = self.members.0.get_mut(place) {
            *slot = members;
        }
    }

    /// Whether it is known just so.
    pub(super) fn knows(&self, identity: &Identity) -> bool {
        let known = self.known.get(&identity.number);
        known.is_some_and(|known| known.identity == *identity)
    }

    /// Identities come and go.
    pub(super) fn change(&mut self, changes: Vec<Change>) {
        let is_few = changes.len() <= FEW_CHANGES;
        for change in changes {
            let number = match &change {
                Change::Come(identity, _) => identity.number,
                Change::Gone(number) => *number,
            };
            self.forget(number);
            let known = match change {
                Change::Come(identity, prefix) => Some(Known { identity, prefix }),
                Change::Gone(_) => None,
            };
            self.touched.insert(number);
            if is_few {
                self.place(number, known.as_ref());
            }
            if let Some(known) = known {
                for label in known.identity.labels.iter() {
                    let entry = self.by_label.entry((label.key, label.value));
                    entry.or_default().insert(number);
                }
                self.known.insert(number, known);
            }
        }
        if !is_few {
            let lists = self.lists.iter();
            let all = lists.map(|list| match list {
                Some(list) => Arc::new(self.meant(&list.peers)),
                None => Arc::default(),
            });
            self.members = Members(all.collect());
        }
    }

    fn forget(&mut self, number: u32) {
        let Some(known) = self.known.remove(&number) else {
            return;
        };
        for label in known.identity.labels.iter() {
            let at = (label.key, label.value);
            if let Some(numbers) = self.by_label.get_mut(&at) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.by_label.remove(&at);
                }
            }
        }
    }

    /// Puts an identity into the lists that mean it, and takes it out of all others.
    fn place(&mut self, number: u32, known: Option<&Known>) {
        for (list, members) in self.lists.iter().zip(&mut self.members.0) {
            let Some(list) = list else { continue };
            let is_meant = known.is_some_and(|known| known.is_meant(&list.peers));
            match (members.binary_search(&number), is_meant) {
                (Ok(at), false) => {
                    Arc::make_mut(members).remove(at);
                }
                (Err(at), true) => Arc::make_mut(members).insert(at, number),
                (Ok(_), true) | (Err(_), false) => {}
            }
        }
    }

    /// The identities that a list means, sorted.
    fn meant(&self, peers: &Peers) -> Vec<u32> {
        let is_meant = |known: &&Known| known.is_meant(peers);
        let numbers = |known: &Known| known.identity.number;
        match self.candidates(peers) {
            Some(candidates) => {
                let known = candidates
                    .iter()
                    .filter_map(|number| self.known.get(number));
                known.filter(is_meant).map(numbers).collect()
            }
            None => self.known.values().filter(is_meant).map(numbers).collect(),
        }
    }

    /// All that a list may mean, where labels tell; nothing where everybody has to be asked.
    fn candidates(&self, peers: &Peers) -> Option<BTreeSet<u32>> {
        let each: Option<Vec<BTreeSet<u32>>> = match peers {
            Peers::Endpoints(selectors) | Peers::Nodes(selectors) => {
                selectors.iter().map(|one| self.selected(one)).collect()
            }
            Peers::Entities(entities) => entities
                .iter()
                .map(|entity| match entity {
                    Entity::Reserved(name) => Some(self.labelled(name, [""])),
                    _ => None,
                })
                .collect(),
            Peers::Fqdns(names) => Some(
                names
                    .iter()
                    .map(|name| self.labelled(&name.source, [""]))
                    .collect(),
            ),
            // Whoever refers to something unknown means nobody.
            Peers::CidrSets(_) | Peers::Services(_) => Some(Vec::new()),
            Peers::Any | Peers::Cidrs(_) => None,
        };
        Some(each?.into_iter().flatten().collect())
    }

    /// What the requirement with the fewest candidates leaves of everybody.
    fn selected(&self, selector: &Selector) -> Option<BTreeSet<u32>> {
        let lists = selector.0.iter().filter_map(|requirement| {
            let Operator::In(values) = &requirement.operator else {
                return None;
            };
            Some(self.labelled(&requirement.key, values))
        });
        lists.min_by_key(BTreeSet::len)
    }

    fn labelled<V: AsRef<str>>(
        &self,
        key: &str,
        values: impl IntoIterator<Item = V>,
    ) -> BTreeSet<u32> {
        let found = values.into_iter().filter_map(|value| {
            self.by_label
                .get(&(key.to_owned(), value.as_ref().to_owned()))
        });
        found.flatten().copied().collect()
    }
}

impl Known {
    fn is_meant(&self, peers: &Peers) -> bool {
        peers.matches(&self.identity, self.prefix.as_ref())
    }
}
