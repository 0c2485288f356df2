//! What the agent may do: at its start it gives up what it has no use for, for itself and for the
//! programs that it starts. `docs/rights.md` tells what each right is used for.
//!
//! Three walls, each for itself: capabilities ([`capabilities`]), files ([`files`], by landlock), system
//! calls ([`system_calls`], by seccomp).

mod capabilities;
mod files;
mod openings;
mod places;
mod seccomp;
mod system_calls;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use files::landlock_version;
use files::{Files, Reach};
use places::Places;

use crate::config::{Config, ConfigError};

/// What came of the walls.
#[derive(Debug, Default)]
pub(super) struct Confinement {
    places: Places,
    files: Files,
    reach: Reach,
    system_calls: Mutex<Option<SystemCalls>>,
}

/// Whether system calls are filtered.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SystemCalls {
    /// They are: so many are allowed.
    Filtered(usize),
    /// The configuration says not to.
    Unfiltered,
    /// The kernel does not.
    Refused(String),
}

/// Before there are other threads: gives up capabilities and files. `file` is the configuration's.
pub(super) fn lessen(config: &Config, file: Option<&Path>) -> Arc<Confinement> {
    capabilities::lessen();
    let places = Places::of(config, file);
    let (files, reach) = if config.rights.landlock {
        files::confine(&places)
    } else {
        (Files::Open, Reach::default())
    };
    let confinement = Confinement {
        places,
        files,
        reach,
        system_calls: Mutex::new(None),
    };
    for limitation in confinement.limitations() {
        tracing::warn!("{limitation}");
    }
    Arc::new(confinement)
}

impl Confinement {
    /// When everything has started: gives up system calls, for all threads.
    pub(super) fn filter_system_calls(&self, config: &Config) {
        let outcome = if config.rights.seccomp {
            let allowed = system_calls::allowed();
            for group in &system_calls::GROUPS {
                tracing::debug!(calls = group.calls.len(), "allowed: {}", group.purpose);
            }
            match seccomp::install(&allowed, seccomp::Threads::All) {
                Ok(()) => SystemCalls::Filtered(allowed.len()),
                Err(error) => {
                    tracing::warn!("system calls are not filtered: {error}");
                    SystemCalls::Refused(error.to_string())
                }
            }
        } else {
            SystemCalls::Unfiltered
        };
        *self.system_calls.lock() = Some(outcome);
    }

    /// One line for `l7d status`.
    pub(super) fn summary(&self) -> String {
        let calls = match &*self.system_calls.lock() {
            None => "not filtered yet".to_owned(),
            Some(SystemCalls::Filtered(allowed)) => format!("{allowed} allowed (seccomp)"),
            Some(SystemCalls::Unfiltered) => "all (rights.seccomp: false)".to_owned(),
            Some(SystemCalls::Refused(_)) => "all".to_owned(),
        };
        format!("system calls: {calls}; files: {}", self.files)
    }

    /// Whether the disk of this place has not answered at the start, so that it is done without.
    pub(super) fn is_left_out(&self, place: &Path) -> bool {
        self.files.are_confined() && self.reach.late.iter().any(|late| late == place)
    }

    /// What is not as it should be.
    pub(super) fn limitations(&self) -> Vec<String> {
        let calls = match &*self.system_calls.lock() {
            Some(SystemCalls::Refused(cause)) => {
                Some(format!("system calls are not filtered: {cause}"))
            }
            Some(SystemCalls::Filtered(_) | SystemCalls::Unfiltered) | None => None,
        };
        let late = self.reach.late.iter().filter(|_| self.files.are_confined());
        let late = late.map(|place| {
            format!(
                "{}: the disk did not answer when the agent started, which does without it: restart it \
                 when the disk answers",
                place.display()
            )
        });
        calls
            .into_iter()
            .chain(self.files.limitation())
            .chain(late)
            .collect()
    }

    /// What to do where a file cannot be read any more that could be read at the start.
    pub(super) fn advice(&self, error: &ConfigError) -> Option<String> {
        let denied = std::io::Error::from(rustix::io::Errno::ACCESS).to_string();
        let is_wall = self.files.are_confined() && error.to_string().contains(&denied);
        is_wall.then(|| {
            "this agent reads what was in its configuration when it started: restart it for new files"
                .to_owned()
        })
    }

    /// What a changed configuration would have the agent read or write that it cannot reach any more: a
    /// restart is what helps.
    pub(super) fn out_of_reach(&self, config: &Config) -> Vec<String> {
        if !self.files.are_confined() {
            return Vec::new();
        }
        // What waits for a restart anyway is not used before.
        let fresh = Places::followed(config);
        let (places, reach) = (&self.places, &self.reach);
        let is_written =
            |path: &PathBuf| places.written.contains(path) || places::covers(&reach.written, path);
        let is_read = |path: &PathBuf| {
            places.read.contains(path) || is_written(path) || places::covers(&reach.read, path)
        };
        let written = fresh.written.into_iter().filter(|path| !is_written(path));
        let read = fresh.read.into_iter().filter(|path| !is_read(path));
        let written = written.into_iter().map(|path| ("write to", path));
        let read = read.into_iter().map(|path| ("read", path));
        written
            .chain(read)
            .map(|(what, path)| {
                format!(
                    "this agent may not {what} {}, which was not in its configuration when it started: \
                     restart it",
                    path.display()
                )
            })
            .collect()
    }
}
