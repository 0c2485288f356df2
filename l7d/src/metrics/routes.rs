//! Which templates of paths a server has.
//!
//! Words stay in templates, so whoever asks for one made-up path after another would make a series each
//! time. A template counts once the server has served it; requests that it knows nothing of count
//! together until then, and so do those beyond a number that no server of people's making has.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::key::{Key, OTHERS};
use super::table::{Series, Table};
use crate::record::{Http, Outcome};

/// What paths are called that their server has not served.
const UNKNOWN: &str = "(unknown)";
/// Most templates of a server that were not given.
const TEMPLATES_MAX: usize = 300;
/// Most templates of all servers.
const ALL_MAX: usize = 1 << 16;
/// `UNIMPLEMENTED`: the server has no such method.
const NO_METHOD: u32 = 12;

/// Templates of all servers.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// By namespace and name of the server, and template.
    known: Table<()>,
    /// How many each server has.
    counts: Mutex<HashMap<[String; 2], usize, ahash::RandomState>>,
}

impl Routes {
    /// What the path of an answered request counts as: its template (the last value of the key), while it
    /// is one that the server has.
    pub(super) fn admit<'k>(
        &self,
        route: &'k Key,
        now: u64,
        answer: &Http,
        is_given: impl FnOnce() -> bool,
    ) -> &'k str {
        let template = route.values().last().unwrap_or_default();
        let hash = self.known.hash(route);
        if let Some(shard) = self.known.shard(hash)
            && let Some(series) = shard.find(hash, route)
        {
            series.touch(now);
            return template;
        }
        let is_given = is_given();
        if !is_given && !is_served(answer) {
            return UNKNOWN;
        }
        let mut counts = self.counts.lock();
        let count = counts.entry(server(route)).or_default();
        if self.known.len() >= ALL_MAX || (!is_given && *count >= TEMPLATES_MAX) {
            return OTHERS;
        }
        let is_new = self
            .known
            .shard(hash)
            .is_some_and(|shard| shard.find(hash, route).is_none());
        if is_new {
            *count += 1;
            self.known
                .insert(hash, Arc::new(Series::new(route, (), now)));
        }
        template
    }

    /// Forgets templates of which nothing was heard since that moment.
    pub(super) fn sweep(&self, before: u64) {
        let mut counts = self.counts.lock();
        if self.known.remove_idle(before) == 0 {
            return;
        }
        counts.clear();
        for route in self.known.all() {
            *counts.entry(server(&route.key)).or_default() += 1;
        }
    }
}

fn server(route: &Key) -> [String; 2] {
    let mut values = route.values().map(str::to_owned);
    [(); 2].map(|()| values.next().unwrap_or_default())
}

/// Whether the server knows what it was asked for.
fn is_served(answer: &Http) -> bool {
    let is_from_server = answer.outcome == Outcome::Passed;
    let has_method = answer.grpc.and_then(|grpc| grpc.status) != Some(NO_METHOD);
    is_from_server && has_method && !matches!(answer.code, 0 | 400 | 404 | 405 | 414 | 501)
}
