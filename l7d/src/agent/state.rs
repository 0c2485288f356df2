//! What the cluster has told, kept on disk, and taken back where the cluster does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::apply::World;
use super::{Agent, tell};
use crate::clock::Monotonic;
use crate::host::Page;
use crate::host::cluster::{Kind, Name, Object, Update};
use crate::policy::PolicyObjects;
use crate::server::StateStatus;
use crate::state::{Folder, Origin, Piece, Remembered, Scribe, SetAside, Whole, write_object};

/// The folder of a cluster's objects, in that of the configuration.
const FOLDER: &str = "cluster";
/// Objects that are written between two looks at everything else.
const AT_ONCE: usize = 1_000;
/// A file is not written again before this time has gone by …
const REST_NS: u64 = 5_000_000_000;
/// … and not before the disk could have taken it at so many bytes in a second.
const BYTES_PER_SECOND: u64 = 256 << 10;
/// What could not be written is tried again.
const RETRY_NS: u64 = 10_000_000_000;
/// A disk that takes longer for a piece of a file does not answer.
const SILENCE: Duration = Duration::from_secs(5);
/// How long an agent that ends waits for the disk.
const END: Duration = Duration::from_secs(2);

/// Who keeps what the cluster has told.
#[derive(Default)]
pub(super) struct Keeper {
    folder: PathBuf,
    scribe: Option<Scribe>,
    /// Kinds that differ from their files.
    dirty: BTreeSet<Kind>,
    /// When they may be written again.
    rested: BTreeMap<Kind, u64>,
    /// A file that is being written: its kind, and the last name.
    walk: Option<(Kind, Option<Name>)>,
    /// What the thread has had no room for, in its order.
    held_back: Vec<Piece>,
    /// When what was found at the start was written.
    found: Option<SystemTime>,
    set_aside: Vec<SetAside>,
    trouble: Option<String>,
    /// The disk does not answer.
    is_silent: bool,
}

/// The kind that an update is about.
fn kind_of(update: &Update) -> Kind {
    match update {
        Update::ListBegins(kind) | Update::ListEnds(kind) | Update::Deleted(kind, _) => *kind,
        Update::Applied(Object::Pod(_)) => Kind::Pod,
        Update::Applied(Object::Namespace(..)) => Kind::Namespace,
        Update::Applied(Object::Node(_)) => Kind::Node,
        Update::Applied(Object::Service(_)) => Kind::Service,
        Update::Applied(Object::EndpointSlice(_)) => Kind::EndpointSlice,
        Update::Applied(Object::Policy(policy)) => policy.kind,
    }
}

impl Keeper {
    /// Something differs from what was written.
    pub(super) fn note(&mut self, update: &Update) {
        self.dirty.insert(kind_of(update));
    }

    /// When what was found at the start was written; none where nothing good was.
    pub(super) fn found(&self) -> Option<SystemTime> {
        self.found
    }

    /// Hands on what waits; whether there is room for more.
    fn hand_on(&mut self) -> bool {
        let Some(scribe) = &self.scribe else {
            return false;
        };
        let mut waiting = std::mem::take(&mut self.held_back).into_iter();
        for piece in waiting.by_ref() {
            if let Err(piece) = scribe.offer(piece) {
                self.held_back = std::iter::once(piece).chain(waiting).collect();
                return false;
            }
        }
        true
    }

    /// Begins the next file that is to be written.
    fn begin(&mut self, now: u64) -> Option<(Kind, Option<Name>)> {
        let failed = self
            .scribe
            .as_ref()
            .map(|scribe| scribe.board().take_failed());
        for kind in failed.into_iter().flatten() {
            self.dirty.insert(kind);
            self.rested.insert(kind, now + RETRY_NS);
        }
        let is_due = |kind: &&Kind| self.rested.get(*kind).is_none_or(|at| *at <= now);
        let kind = *self.dirty.iter().find(is_due)?;
        self.dirty.remove(&kind);
        self.held_back.push(Piece::Begin(kind));
        Some((kind, None))
    }

    /// Takes a page of the file that is being written.
    fn push(&mut self, kind: Kind, page: Page, now: u64) {
        let count = page.objects.len() as u64;
        let mut lines = Vec::new();
        for object in page.objects {
            if let Err(error) = write_object(object, &mut lines) {
                tracing::error!(%error, "{kind}: cannot be written");
            }
        }
        self.held_back.push(Piece::Lines(lines, count));
        if page.last.is_some() {
            self.walk = Some((kind, page.last));
            return;
        }
        self.held_back.push(Piece::End);
        let bytes = self.scribe.as_ref().map(|one| one.board().bytes_of(kind));
        let spread = bytes.unwrap_or_default().saturating_mul(1_000_000_000) / BYTES_PER_SECOND;
        self.rested.insert(kind, now + REST_NS.max(spread));
    }

    /// For how long the disk has not answered, where that is too long.
    fn silence(&self) -> Option<Duration> {
        let silence = self.scribe.as_ref().and_then(|one| one.board().silence());
        silence.filter(|silence| *silence >= SILENCE)
    }

    /// Says when the disk does not answer, and when it does again.
    fn listen(&mut self) {
        let is_silent = self.silence().is_some();
        if is_silent == self.is_silent {
            return;
        }
        self.is_silent = is_silent;
        let folder = self.folder.display();
        if is_silent {
            tracing::warn!(
                "{folder}: the disk does not answer; what is known of the cluster is not kept"
            );
        } else {
            tracing::info!("{folder}: the disk answers again");
        }
    }

    /// Why nothing is kept at present.
    fn trouble(&self) -> Option<String> {
        if let Some(silence) = self.silence() {
            let (folder, seconds) = (self.folder.display(), silence.as_secs());
            return Some(format!(
                "{folder}: the disk has not answered for {seconds} s"
            ));
        }
        let board = self.scribe.as_ref().map(Scribe::board);
        // What was wrong at the start is over once everything was written.
        let is_over = board.is_some_and(|board| board.oldest().is_some());
        let at_start = self.trouble.clone().filter(|_| !is_over);
        board.and_then(|board| board.trouble()).or(at_start)
    }

    /// How it goes.
    pub(super) fn status(&self, is_in_force: bool) -> StateStatus {
        let board = self.scribe.as_ref().map(Scribe::board);
        let (saves, failures) = board.map(|board| board.counts()).unwrap_or_default();
        let found = self.found.map(seconds);
        let written = board.and_then(|board| board.oldest()).or(found);
        let aside = self.set_aside.iter();
        StateStatus {
            folder: self.folder.display().to_string(),
            is_in_force,
            saved: written.map_or_else(String::new, rfc3339),
            age_seconds: written.map(|at| seconds(SystemTime::now()).saturating_sub(at)),
            bytes: board.map_or(0, |board| board.bytes()),
            saves,
            failures,
            unanswered_seconds: self.silence().unwrap_or_default().as_secs(),
            trouble: self.trouble().unwrap_or_default(),
            set_aside: aside
                .map(|aside| format!("{}: {}", aside.file.display(), aside.why))
                .collect(),
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

fn rfc3339(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    time.to_string()
}

impl World {
    /// Reads what was kept of the cluster at this server. It is known then, and not in force yet; what the
    /// server tells goes over it.
    pub(super) fn take_state(&mut self, server: &str) {
        let folder = Folder::new(self.config.state_dir.join(FOLDER));
        let origin = Origin {
            node: self.config.node.clone(),
            cluster: self.config.cluster.clone(),
            server: server.to_owned(),
        };
        folder.path().clone_into(&mut self.state.folder);
        let Remembered {
            whole,
            set_aside,
            trouble,
        } = if self.confinement.is_left_out(&self.config.state_dir) {
            // It has been waited for already.
            Remembered::without(format!("{}: no answer", folder.path().display()))
        } else {
            folder.read(&origin)
        };
        for SetAside { file, why } in &set_aside {
            tracing::error!(
                "{}: what was kept of the cluster is of no use and set aside: {why}",
                file.display()
            );
        }
        if let Some(trouble) = &trouble {
            tracing::warn!("what was kept of the cluster cannot be read: {trouble}");
        }
        (self.state.set_aside, self.state.trouble) = (set_aside, trouble);
        if let Some(Whole { written, objects }) = whole {
            self.state.found = Some(written);
            for object in objects {
                self.take_update(Update::Applied(object));
            }
        }
        match Scribe::start(folder, origin) {
            Ok(scribe) => self.state.scribe = Some(scribe),
            Err(error) => tracing::error!(%error, "what is known of the cluster is not kept"),
        }
    }

    /// Puts into force what was kept of the cluster, where it is good.
    pub(super) fn begin_from_state(&mut self) {
        let Some(time) = self.state.found() else {
            return;
        };
        tell(&format!(
            "the cluster does not answer yet: what was kept of it at {} is in force",
            rfc3339(seconds(time))
        ));
        self.cluster.begin_from_state(time);
        self.store.set_waiting(false);
        self.has_new_policies = true;
        self.compile();
    }

    /// Writes what differs from the disk, as much as is good for one time.
    fn write_state(&mut self, most: usize, now: u64) -> bool {
        let mut left = most;
        while self.state.hand_on() {
            let walk = self.state.walk.take();
            let Some((kind, after)) = walk.or_else(|| self.state.begin(now)) else {
                return false;
            };
            let page = if PolicyObjects::has(kind) {
                self.store.told(kind, after.as_ref(), AT_ONCE)
            } else {
                self.inventory.told(kind, after.as_ref(), AT_ONCE)
            };
            let count = page.objects.len();
            self.state.push(kind, page, now);
            if count >= left {
                return true;
            }
            left -= count;
        }
        true
    }

    /// Leaves the folder to the agent that has taken over: it knows more. A file that was not ended is given up.
    pub(super) fn leave_state(&mut self) {
        self.state.scribe = None;
    }

    /// Writes what differs, before the end.
    pub(super) fn finish_state(&mut self) {
        if self.state.scribe.is_none() || self.state.silence().is_some() {
            return;
        }
        let began = Monotonic::now();
        let left = || END.saturating_sub(Duration::from_nanos(Monotonic::now().nanos_since(began)));
        self.state.rested.clear();
        while self.cluster.is_whole() && !left().is_zero() && self.write_state(usize::MAX, began.0)
        {
            // The disk takes what it takes.
            std::thread::park_timeout(Duration::from_millis(5));
        }
        if let Some(scribe) = &mut self.state.scribe {
            scribe.finish(left());
        }
    }
}

impl Agent {
    /// Keeps what the cluster has told, once that is everything.
    pub(super) fn keep_state(&mut self) {
        self.world.state.listen();
        if self.world.cluster.is_whole() {
            let _is_more = self.world.write_state(AT_ONCE, Monotonic::now().0);
        }
    }
}
