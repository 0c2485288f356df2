//! Files that were set aside: their names, and which of them stay.
//!
//! `flows.jsonl` becomes `flows-20261121T171000.123456789Z.jsonl`, and compressed
//! `flows-20261121T171000.123456789Z.jsonl.gz`. Names rise, whatever the clock does: sorted by name they
//! are in the order of their lines.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;

use jiff::tz::TimeZone;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir};

use super::open;
use crate::clock::Timestamp;
use crate::config::ExportFile;

const COMPRESSED: &str = ".gz";
/// A file that is being made.
const PARTIAL: &str = ".gz.part";
/// `20261121T171000.123456789Z`
const TIME: &str = "%Y%m%dT%H%M%S%.9fZ";

/// What names of the past look like.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    before: String,
    after: String,
}

/// What a file of the past is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// As it was written.
    Plain,
    Compressed,
    /// What a compression that was cut off has left.
    Partial,
}

impl Shape {
    /// Of the predecessors of a file.
    pub(super) fn of(name: &OsStr) -> Self {
        let name = name.to_string_lossy();
        let (stem, extension) = match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
            Some(_) | None => (&*name, String::new()),
        };
        Self {
            before: format!("{stem}-"),
            after: extension,
        }
    }

    fn name(&self, time: Timestamp) -> OsString {
        let (seconds, nanos) = time.to_parts();
        let time = jiff::Timestamp::new(seconds, nanos).unwrap_or_default();
        let time = time.to_zoned(TimeZone::UTC).strftime(TIME);
        format!("{}{time}{}", self.before, self.after).into()
    }

    /// The time and the kind that a name tells; `None` where it is none of these.
    pub(super) fn read(&self, name: &OsStr) -> Option<(Timestamp, Kind)> {
        let name = name.to_str()?.strip_prefix(&self.before)?;
        let kinds = [
            (PARTIAL, Kind::Partial),
            (COMPRESSED, Kind::Compressed),
            ("", Kind::Plain),
        ];
        kinds.into_iter().find_map(|(suffix, kind)| {
            let time = name.strip_suffix(suffix)?.strip_suffix(&self.after)?;
            let parsed = jiff::civil::DateTime::strptime(TIME, time).ok()?;
            let parsed = parsed.to_zoned(TimeZone::UTC).ok()?.timestamp();
            let nanos = u64::try_from(parsed.as_nanosecond()).ok()?;
            // Other spellings of the same time are somebody else's.
            let own = self.name(Timestamp(nanos));
            let is_own = own
                .to_str()?
                .strip_prefix(&self.before)?
                .strip_suffix(&self.after)
                == Some(time);
            is_own.then_some((Timestamp(nanos), kind))
        })
    }
}

/// The name of a file when it is compressed, and while it is being.
pub(super) fn compressed(name: &OsStr) -> (OsString, OsString) {
    let with = |suffix: &str| {
        let mut name = name.to_owned();
        name.push(suffix);
        name
    };
    (with(COMPRESSED), with(PARTIAL))
}

/// Lists the files of the past, oldest first.
pub(super) fn list(
    folder: &OwnedFd,
    shape: &Shape,
) -> io::Result<Vec<(OsString, Timestamp, Kind)>> {
    let mut files = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::new(entry.file_name().to_str().unwrap_or_default()).to_owned();
        if let Some((time, kind)) = shape.read(&name) {
            files.push((name, time, kind));
        }
    }
    files.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    Ok(files)
}

/// The files of the past.
#[derive(Debug)]
pub(super) struct Past {
    shape: Shape,
    keep: usize,
    keep_bytes: u64,
    keep_ns: u64,
    /// By their times: names as they were set aside, and their bytes.
    files: BTreeMap<Timestamp, (OsString, u64)>,
    /// The newest name ever given.
    newest: Timestamp,
}

impl Past {
    pub(super) fn new(name: &OsStr, settings: &ExportFile) -> Self {
        let age = settings.keep_age.map(|age| age.as_nanos());
        Self {
            shape: Shape::of(name),
            keep: settings.keep,
            keep_bytes: settings.keep_bytes.unwrap_or(u64::MAX),
            keep_ns: age.map_or(u64::MAX, |age| u64::try_from(age).unwrap_or(u64::MAX)),
            files: BTreeMap::new(),
            newest: Timestamp::default(),
        }
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Finds what former agents have left.
    pub(super) fn look(&mut self, folder: &OwnedFd) -> io::Result<()> {
        self.files.clear();
        for (name, time, kind) in list(folder, &self.shape)? {
            if kind == Kind::Partial {
                remove(folder, &name);
                continue;
            }
            let stat = open::stat(folder, &name);
            let bytes = stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or_default());
            self.newest = self.newest.max(time);
            self.files.insert(time, (plain(&name), bytes));
        }
        Ok(())
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The name for what is set aside now.
    pub(super) fn next_name(&mut self, now: Timestamp) -> OsString {
        let time = now.max(Timestamp(self.newest.0.saturating_add(1)));
        self.newest = time;
        self.shape.name(time)
    }

    /// Notes a file that was set aside by the name that was given last.
    pub(super) fn add(&mut self, name: OsString, bytes: u64) {
        self.files.insert(self.newest, (name, bytes));
    }

    /// Removes what is too much or too old, oldest first.
    pub(super) fn prune(&mut self, folder: &OwnedFd, now: Timestamp) {
        if self.keep_bytes != u64::MAX {
            self.weigh(folder);
        }
        let mut bytes: u64 = self.files.values().map(|(_, bytes)| bytes).sum();
        while let Some((time, (_, oldest_bytes))) = self.files.first_key_value() {
            let is_old = now.0.saturating_sub(time.0) > self.keep_ns;
            if self.files.len() <= self.keep && bytes <= self.keep_bytes && !is_old {
                return;
            }
            bytes = bytes.saturating_sub(*oldest_bytes);
            if let Some((_, (name, _))) = self.files.pop_first() {
                remove(folder, &name);
                remove(folder, &compressed(&name).0);
            }
        }
    }

    /// Files become smaller when they are compressed.
    fn weigh(&mut self, folder: &OwnedFd) {
        for (name, bytes) in self.files.values_mut() {
            if let Ok(stat) = open::stat(folder, &compressed(name).0) {
                *bytes = u64::try_from(stat.st_size).unwrap_or_default();
            }
        }
    }

    /// When the oldest file is too old.
    pub(super) fn due(&self) -> Option<Timestamp> {
        let (oldest, _) = self.files.first_key_value()?;
        let due = oldest.0.checked_add(self.keep_ns)?;
        Some(Timestamp(due.saturating_add(1)))
    }
}

/// The name that a file had before it was compressed.
fn plain(name: &OsStr) -> OsString {
    let plain = name.to_str().and_then(|name| name.strip_suffix(COMPRESSED));
    plain.map_or_else(|| name.to_owned(), OsString::from)
}

pub(super) fn remove(folder: &OwnedFd, name: &OsStr) {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => tracing::warn!(%error, file = %name.display(), "it is not removed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_times_and_nothing_else_is_taken_for_one() {
        for name in ["flows.jsonl", "flows", "a.b.log", ".hidden"] {
            let shape = Shape::of(name.as_ref());
            let time = Timestamp(1_795_281_000_123_456_789);
            let aside = shape.name(time);
            assert_eq!(shape.read(&aside), Some((time, Kind::Plain)), "{name}");
            let (small, partial) = compressed(&aside);
            assert_eq!(shape.read(&small), Some((time, Kind::Compressed)));
            assert_eq!(shape.read(&partial), Some((time, Kind::Partial)));
            assert_eq!(shape.read(name.as_ref()), None);
            assert_eq!(plain(&small), aside);
        }
        let shape = Shape::of("flows.jsonl".as_ref());
        let name = shape.name(Timestamp(1_795_281_000_123_456_789));
        assert_eq!(name, "flows-20261121T171000.123456789Z.jsonl");
        for other in [
            "flows-old.jsonl",
            "flows-20261121T171000.123Z.jsonl",
            "flows-20261121T171000.123456789Z.jsonl.bz2",
            "flows-2-20261121T171000.123456789Z.jsonl",
            "flows-20261321T171000.123456789Z.jsonl",
        ] {
            assert_eq!(shape.read(other.as_ref()), None, "{other}");
        }
    }

    #[test]
    fn names_rise_also_when_the_clock_is_set_back() {
        let settings = ExportFile::new("/a.log".into());
        let mut past = Past::new("a.log".as_ref(), &settings);
        let names = [5, 5, 3, 9].map(|time| past.next_name(Timestamp(time)));
        assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    }
}
