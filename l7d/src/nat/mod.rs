//! What netfilter makes of connections: asked for by netlink, connection by connection.
//!
//! ```text
//!   record ─▶ Interest ─▶ Table ──known──▶ record with its translation ─▶ Sink
//!                           │                              ▲
//!                           └─not known─▶ Asker ◀─bytes─▶ Socket   (a thread of its own)
//! ```
//!
//! Where a service is reached through netfilter (kube-proxy in its iptables and nftables modes, and
//! in its IPVS mode, which has netfilter track what it translates), our hooks see two connections:
//! the client's to the service's address, and another one at the backend. Netfilter alone knows that
//! they are one.
//!
//! A record of a connection of which nothing is known yet waits while netfilter is asked, with the
//! later records of the same connection, so that their order stays; nobody else waits. That takes
//! tens of microseconds. (Netfilter's events would tell of every connection of the node, also of those
//! that no pod has, at twice the cost of a question each.) A packet may be told of before netfilter has seen it: then it is asked again
//! for 20 ms. Nothing is lost on the way: what finds no room is told as it is, and counted.

mod asker;
mod pending;
mod question;
mod socket;
mod table;
mod telling;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

pub use telling::Clients;

use crate::clock::Monotonic;
use crate::identity::Identities;
use crate::record::{Record, Sink};
use asker::Asker;
use pending::Pending;
use question::{Interest, Question};
use socket::Socket;
use table::{Found, Table};
use telling::Waiting;

/// Records on their way to the thread.
const QUEUE: usize = 4096;

/// Counters.
#[derive(Debug, Default)]
pub struct Counters {
    asked: AtomicU64,
    translated: AtomicU64,
    untranslated: AtomicU64,
    unknown: AtomicU64,
}

/// One reading of [`Counters`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions to netfilter.
    pub asked: u64,
    /// Connections found to be translated.
    pub translated: u64,
    /// Connections found to be as they are.
    pub untranslated: u64,
    /// Connections that netfilter should have known of and did not in time, and records for which
    /// nobody had time to ask.
    pub unknown: u64,
}

impl Counters {
    fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    fn answer(&self, is_translated: bool) {
        let counter = if is_translated {
            &self.translated
        } else {
            &self.untranslated
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads them.
    pub fn read(&self) -> Counts {
        Counts {
            asked: self.asked.load(Ordering::Relaxed),
            translated: self.translated.load(Ordering::Relaxed),
            untranslated: self.untranslated.load(Ordering::Relaxed),
            unknown: self.unknown.load(Ordering::Relaxed),
        }
    }
}

/// A question, and the record that waits for its answer.
struct Asked {
    question: Question,
    record: Option<Waiting>,
}

/// Puts translations into records. The default one asks nobody.
#[derive(Default)]
pub struct Translations {
    table: Arc<Table>,
    counters: Arc<Counters>,
    pending: Arc<Pending>,
    /// `None` where netfilter cannot be asked.
    questions: Option<SyncSender<Asked>>,
}

impl std::fmt::Debug for Translations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Translations")
            .field("counters", &self.counters.read())
            .finish_non_exhaustive()
    }
}

/// Whether netfilter can be asked about connections, with the privileges of this process.
pub fn probe() -> io::Result<()> {
    Socket::open().map(drop)
}

/// Whether netfilter knows what IPVS translates: it does where IPVS is not used, and where it is told
/// to, as kube-proxy does.
pub fn sees_ipvs() -> bool {
    let told = std::fs::read_to_string("/proc/sys/net/ipv4/vs/conntrack");
    told.map_or(true, |told| told.trim() == "1")
}

impl Translations {
    /// Starts the thread that asks netfilter. Where that cannot be asked, records are told as they
    /// are.
    pub fn start(identities: Identities) -> Self {
        let table = Arc::new(Table::default());
        let counters = Arc::new(Counters::default());
        let asker = Asker::new(Arc::clone(&table), Arc::clone(&counters), identities);
        let questions = Socket::open().and_then(|socket| {
            let (questions, received) = sync_channel(QUEUE);
            std::thread::Builder::new()
                .name("nat".to_owned())
                .spawn(move || socket::run(&socket, asker, &received))?;
            Ok(questions)
        });
        let questions = questions
            .inspect_err(|error| tracing::info!(%error, "netfilter's connections are not read"));
        Self {
            table,
            counters,
            pending: Arc::default(),
            questions: questions.ok(),
        }
    }

    /// What was asked, and what was found.
    pub fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// Hands a record on with its translation: at once where that is known, or there is none; else as
    /// soon as netfilter has been asked.
    pub fn tell(&self, record: &mut Record, clients: Clients, sink: &Arc<dyn Sink>) {
        let Some(questions) = &self.questions else {
            return sink.record(record);
        };
        let question = match Interest::of(record) {
            Interest::None => return sink.record(record),
            Interest::Direct(question) => {
                self.know_direct(&question);
                return sink.record(record);
            }
            Interest::Ask(question) => question,
        };
        let now = Monotonic::recent();
        match self.table.look_up(&question.key, question.connection, now) {
            // What waits of the same connection goes first.
            Found::Known(_) if self.pending.waits(&question.key) => {}
            Found::Known(translation) => {
                if let Some(translation) = translation {
                    telling::write(record, translation, clients);
                }
                return sink.record(record);
            }
            Found::Nothing => self.table.ask(&question.key, question.connection, now),
            Found::Asked => {}
        }
        let waiting = Waiting {
            record: Box::new(record.clone()),
            clients,
            sink: Arc::clone(sink),
            _ticket: self.pending.enter(&question.key),
        };
        let asked = Asked {
            question,
            record: Some(waiting),
        };
        match questions.try_send(asked) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.counters.unknown();
                sink.record(record);
            }
        }
    }

    /// Who sees it arrive need not ask.
    fn know_direct(&self, question: &Question) {
        let arriving = table::Key {
            side: table::Side::Behind,
            ..question.key
        };
        let now = Monotonic::recent();
        if matches!(
            self.table.look_up(&arriving, question.connection, now),
            Found::Nothing
        ) {
            self.table.know(&arriving, question.connection, now, None);
        }
    }
}

#[cfg(test)]
mod tests;
