//! Names of addresses, as DNS told them to the endpoints of this node.
//!
//! ```text
//!   answer ─▶ learn ─▶ clients: client ─▶ name ─▶ address, until when
//!                      addresses: address ─▶ names, whoever asked  ─▶ toFQDNs
//!                      seen: client, address ─▶ names              ─▶ flows
//! ```
//!
//! Flows show a client's traffic under the names that this client asked for; policies count every
//! name. Everything is bounded by client, and ages: an answer's time to live, but no less than a floor,
//! and then a time of grace for connections that stay open.

mod file;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ahash::AHashMap;
use parking_lot::RwLock;

pub use file::{Loaded, NamesFile};

use crate::clock::Monotonic;
use crate::config;
use crate::record::{DnsNames, IdentityNumber, Party, Record};

/// What DNS has said.
#[derive(Debug)]
pub struct Names {
    limits: config::Dns,
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    clients: AHashMap<IpAddr, AHashMap<Arc<str>, Vec<Address>>>,
    addresses: AHashMap<IpAddr, Bearer>,
    seen: AHashMap<(IpAddr, IpAddr), Arc<DnsNames>>,
    /// Counts addresses that got a name, and how many of these changes policies know.
    named: u64,
    applied: u64,
    /// Names that gave way to others.
    evicted: u64,
    has_changed: bool,
}

/// An address of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address {
    ip: IpAddr,
    until: Monotonic,
}

/// An address that has names.
#[derive(Debug, Default)]
struct Bearer {
    /// With how many clients know it by that name.
    names: AHashMap<Arc<str>, u32>,
    /// The change that gave it the latest of them.
    named: u64,
}

/// One thing that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Who asked.
    pub client: IpAddr,
    /// For what: in lower case without the last dot.
    pub name: Arc<str>,
    /// What the answer was.
    pub address: IpAddr,
    /// Until when it holds; grace comes on top.
    pub until: Monotonic,
}

impl Names {
    /// Nothing learnt yet.
    pub fn new(limits: config::Dns) -> Self {
        Self {
            limits,
            state: RwLock::default(),
        }
    }

    /// Takes the addresses that a client was told for a name, in lower case, with their times to live in
    /// seconds. True where a policy speaks of the name (`matters`), and policies do not know one of the
    /// addresses by all its names yet.
    pub fn learn(
        &self,
        client: IpAddr,
        (name, matters): (&str, bool),
        answers: &mut dyn Iterator<Item = (IpAddr, u32)>,
        now: Monotonic,
    ) -> bool {
        let client = client.to_canonical();
        let told: Vec<Address> = answers.map(|answer| self.address(answer, now)).collect();
        let has_news =
            |state: &State| matters && told.iter().any(|told| state.is_unapplied(told.ip));
        {
            let state = self.state.read();
            if state.knows(client, bare(name), &told, now) {
                return has_news(&state);
            }
        }
        let mut state = self.state.write();
        for known in &told {
            state.learn(&self.limits, client, bare(name), *known);
        }
        has_news(&state)
    }

    fn address(&self, (ip, ttl): (IpAddr, u32), now: Monotonic) -> Address {
        let floor = u64::try_from(self.limits.min_ttl.as_nanos()).unwrap_or(u64::MAX);
        let life = (u64::from(ttl) * 1_000_000_000).max(floor);
        Address {
            ip: ip.to_canonical(),
            until: Monotonic(now.0.saturating_add(life)),
        }
    }

    /// What a client knows by a name, in lower case.
    pub fn known(&self, client: IpAddr, name: &str) -> Vec<Known> {
        let state = self.state.read();
        let names = state.clients.get(&client.to_canonical());
        let Some((name, addresses)) = names.and_then(|names| names.get_key_value(bare(name)))
        else {
            return Vec::new();
        };
        let known = addresses.iter().map(|at| Known {
            client,
            name: Arc::clone(name),
            address: at.ip,
            until: at.until,
        });
        known.collect()
    }

    /// Names that an address has for a client.
    pub fn of(&self, client: IpAddr, address: IpAddr) -> Option<Arc<DnsNames>> {
        let state = self.state.read();
        if state.seen.is_empty() {
            return None;
        }
        state.seen.get(&(client, address)).map(Arc::clone)
    }

    /// Notes on a record the names of an end that is outside, as the other one knows it.
    pub fn name(&self, record: &mut Record) {
        let named = |of: &Party, viewer: &Party| {
            let is_outside = of.identity == IdentityNumber::WORLD || of.identity.0 >= 1 << 24;
            is_outside
                .then(|| self.of(viewer.addr.ip(), of.addr.ip()))
                .flatten()
        };
        record.source_names = named(&record.source, &record.destination);
        record.destination_names = named(&record.destination, &record.source);
    }

    /// Calls `each` with every address that has names, and the names; gives a number for this moment.
    pub fn each_address(
        &self,
        mut each: impl FnMut(IpAddr, &mut dyn Iterator<Item = &str>),
    ) -> u64 {
        let state = self.state.read();
        for (address, bearer) in &state.addresses {
            each(*address, &mut bearer.names.keys().map(|name| &**name));
        }
        state.named
    }

    /// Notes that policies know what was known at that moment.
    pub fn set_applied(&self, moment: u64) {
        self.state.write().applied = moment;
    }

    /// Forgets what has aged; true where an address has lost a name.
    pub fn expire(&self, now: Monotonic) -> bool {
        let grace = u64::try_from(self.limits.grace.as_nanos()).unwrap_or(u64::MAX);
        let oldest = Monotonic(now.0.saturating_sub(grace));
        let mut state = self.state.write();
        let aged: Vec<(IpAddr, Arc<str>, IpAddr)> = state
            .known()
            .filter(|known| known.until < oldest)
            .map(|known| (known.client, known.name, known.address))
            .collect();
        for (client, name, address) in &aged {
            state.forget(*client, name, *address);
        }
        !aged.is_empty()
    }

    /// Everything that is known, in an order that is always the same.
    pub fn list(&self) -> Vec<Known> {
        let mut all: Vec<Known> = self.state.read().known().collect();
        all.sort_by(|a, b| (a.client, &a.name, a.address).cmp(&(b.client, &b.name, b.address)));
        all
    }

    /// Takes back what a former process knew.
    fn restore(&self, known: impl Iterator<Item = Known>) {
        let mut state = self.state.write();
        for Known {
            client,
            name,
            address,
            until,
        } in known
        {
            let address = Address { ip: address, until };
            state.learn(&self.limits, client, &name, address);
        }
    }

    /// Whether something has changed since this was last asked.
    pub fn take_changed(&self) -> bool {
        std::mem::take(&mut self.state.write().has_changed)
    }

    /// How many names there are, over all clients.
    pub fn count(&self) -> usize {
        let state = self.state.read();
        state.clients.values().map(|names| names.len()).sum()
    }

    /// How many names gave way to others, because a client had too many.
    pub fn evicted(&self) -> u64 {
        self.state.read().evicted
    }

    /// Opens the file that keeps them over a restart, and takes back what is in it.
    pub fn open(&self, path: &Path) -> (NamesFile, Loaded) {
        let (file, known, loaded) = NamesFile::open(path);
        self.restore(known.into_iter());
        (file, loaded)
    }
}

/// Without the last dot; the root is left as it is.
fn bare(name: &str) -> &str {
    match name.strip_suffix('.') {
        Some("") | None => name,
        Some(bare) => bare,
    }
}

impl State {
    /// Whether policies do not know an address by all its names yet.
    fn is_unapplied(&self, ip: IpAddr) -> bool {
        let bearer = self.addresses.get(&ip);
        bearer.is_some_and(|bearer| bearer.named > self.applied)
    }

    /// Whether a client knows all this already, and nearly as long. Most answers are of this kind, and
    /// keep nobody from reading.
    fn knows(&self, client: IpAddr, name: &str, told: &[Address], now: Monotonic) -> bool {
        let names = self.clients.get(&client);
        let Some(addresses) = names.and_then(|names| names.get(name)) else {
            return false;
        };
        told.iter().all(|told| {
            let known = addresses.iter().find(|at| at.ip == told.ip);
            known.is_some_and(|known| {
                let missing = told.until.0.saturating_sub(known.until.0);
                missing <= told.until.0.saturating_sub(now.0) / 16
            })
        })
    }

    fn learn(&mut self, limits: &config::Dns, client: IpAddr, name: &str, known: Address) {
        self.has_changed = true;
        self.make_room(limits, client, name, known);
        let names = self.clients.entry(client).or_default();
        let shared = match names.get_key_value(name) {
            Some((shared, _)) => Arc::clone(shared),
            None => Arc::from(name),
        };
        let addresses = names.entry(Arc::clone(&shared)).or_default();
        if let Some(same) = addresses.iter_mut().find(|at| at.ip == known.ip) {
            same.until = same.until.max(known.until);
            return;
        }
        addresses.push(known);
        let bearer = self.addresses.entry(known.ip).or_default();
        let clients = bearer.names.entry(Arc::clone(&shared)).or_default();
        if *clients == 0 {
            self.named += 1;
            bearer.named = self.named;
        }
        *clients += 1;
        let seen = self.seen.entry((client, known.ip)).or_default();
        Arc::make_mut(seen).0.push(shared);
    }

    /// What ends soonest goes for something new.
    fn make_room(&mut self, limits: &config::Dns, client: IpAddr, name: &str, known: Address) {
        /// So many names are compared: a client that asks for ever new ones must not cost more.
        const COMPARED: usize = 64;
        let Some(names) = self.clients.get(&client) else {
            return;
        };
        let leaving: Vec<(Arc<str>, IpAddr)> = match names.get_key_value(name) {
            None if names.len() >= limits.names_per_endpoint => {
                self.evicted += 1;
                let last = |addresses: &[Address]| addresses.iter().map(|at| at.until).max();
                let soonest = names
                    .iter()
                    .take(COMPARED)
                    .min_by_key(|(_, addresses)| last(addresses));
                let of_name = soonest.into_iter().flat_map(|(name, addresses)| {
                    addresses.iter().map(|at| (Arc::clone(name), at.ip))
                });
                of_name.collect()
            }
            Some((name, addresses))
                if addresses.len() >= limits.addresses_per_name
                    && addresses.iter().all(|at| at.ip != known.ip) =>
            {
                let soonest = addresses.iter().min_by_key(|at| at.until);
                soonest
                    .map(|at| (Arc::clone(name), at.ip))
                    .into_iter()
                    .collect()
            }
            None | Some(_) => Vec::new(),
        };
        for (name, ip) in leaving {
            self.forget(client, &name, ip);
        }
    }

    fn forget(&mut self, client: IpAddr, name: &Arc<str>, ip: IpAddr) {
        self.has_changed = true;
        if let Some(names) = self.clients.get_mut(&client) {
            if let Some(addresses) = names.get_mut(name) {
                addresses.retain(|at| at.ip != ip);
                if addresses.is_empty() {
                    names.remove(name);
                }
            }
            if names.is_empty() {
                self.clients.remove(&client);
            }
        }
        if let Some(bearer) = self.addresses.get_mut(&ip) {
            if let Some(clients) = bearer.names.get_mut(name) {
                *clients -= 1;
                if *clients == 0 {
                    bearer.names.remove(name);
                }
            }
            if bearer.names.is_empty() {
                self.addresses.remove(&ip);
            }
        }
        if let Some(seen) = self.seen.get_mut(&(client, ip)) {
            let seen = Arc::make_mut(seen);
            seen.0.retain(|of| of != name);
            if seen.0.is_empty() {
                self.seen.remove(&(client, ip));
            }
        }
    }

    fn known(&self) -> impl Iterator<Item = Known> {
        self.clients.iter().flat_map(|(client, names)| {
            names.iter().flat_map(|(name, addresses)| {
                addresses.iter().map(|at| Known {
                    client: *client,
                    name: Arc::clone(name),
                    address: at.ip,
                    until: at.until,
                })
            })
        })
    }
}

#[cfg(test)]
mod tests;
