//! The files of a folder: one for each kind of objects.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::form::{self, Fault, Head, Origin};
use super::{FILE_BYTES_MAX, read_object};
use crate::host::cluster::{Kind, Object};
use crate::patience::within;

/// Between a file's name and the time at which it was set aside.
const ASIDE: &str = ".set-aside-";
/// So many files that were set aside are kept, the latest ones.
const ASIDE_MAX: usize = 8;
/// A disk that takes longer is as good as none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder(PathBuf);

/// A file that was of no use, and is kept for whoever wants to know why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// What it was called.
    pub file: PathBuf,
    /// Why it was of no use.
    pub why: String,
}

/// All objects of a cluster.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    /// When the oldest of their files was written.
    pub written: SystemTime,
    /// Of all kinds.
    pub objects: Vec<Object>,
}

/// What a folder had.
#[derive(Debug, Default)]
pub struct Remembered {
    /// What is known of the cluster; none where any file is missing or of no use: policies without pods, or pods without policies, would decide wrongly.
    pub whole: Option<Whole>,
    /// Files that were set aside.
    pub set_aside: Vec<SetAside>,
    /// What else is wrong with the folder.
    pub trouble: Option<String>,
}

impl Folder {
    /// A folder, which need not be there.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file of a kind.
    pub fn file(&self, kind: Kind) -> PathBuf {
        self.0.join(kind.name())
    }

    /// Reads everything, and sets aside what is of no use. A disk that does not answer is not waited for.
    pub fn read(&self, wanted: &Origin) -> Remembered {
        let (folder, wanted) = (self.clone(), wanted.clone());
        let reading = move || folder.read_now(&wanted);
        within(PATIENCE, "l7d-state", reading)
            .unwrap_or_else(|error| Remembered::without(format!("{}: {error}", self.0.display())))
    }

    fn read_now(&self, wanted: &Origin) -> Remembered {
        let mut remembered = Remembered::default();
        let mut oldest: Option<SystemTime> = None;
        let mut all = Vec::new();
        let mut kinds = 0;
        for kind in Kind::ALL {
            match self.read_kind(kind, wanted) {
                Ok(None) => {}
                Ok(Some((head, objects))) => {
                    let time = head.time();
                    oldest = Some(oldest.map_or(time, |oldest| oldest.min(time)));
                    kinds += 1;
                    all.extend(objects);
                }
                Err(Fault::Io(error)) => {
                    let file = self.file(kind);
                    remembered.trouble = Some(format!("{}: {error}", file.display()));
                }
                Err(fault) => remembered.set_aside.push(self.set_aside(kind, &fault)),
            }
        }
        let is_whole = kinds == Kind::ALL.len();
        remembered.whole = oldest.filter(|_| is_whole).map(|written| Whole {
            written,
            objects: all,
        });
        remembered
    }

    fn read_kind(&self, kind: Kind, wanted: &Origin) -> Result<Option<(Head, Vec<Object>)>, Fault> {
        let file = match File::open(self.file(kind)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let length = file.metadata()?.len();
        if length > FILE_BYTES_MAX {
            return Err(Fault::TooLarge(length));
        }
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        let (lines, head) = form::read(&bytes)?;
        form::check(&head, kind, wanted)?;
        let mut objects = Vec::new();
        for line in lines.split(|byte| *byte == b'\n') {
            if !line.is_empty() {
                let object = read_object(kind, line);
                objects.push(object.map_err(|error| Fault::Content(error.to_string()))?);
            }
        }
        if objects.len() as u64 != head.objects {
            let says = head.objects;
            let is = objects.len();
            return Err(Fault::Content(format!("{is} objects where it says {says}")));
        }
        Ok(Some((head, objects)))
    }

    /// Puts a file aside, under a name that says when, and forgets the oldest of those.
    fn set_aside(&self, kind: Kind, fault: &Fault) -> SetAside {
        let file = self.file(kind);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.unwrap_or_default().as_secs();
        let name = format!("{}{ASIDE}{seconds}", kind.name());
        let mut why = fault.to_string();
        if let Err(error) = fs::rename(&file, self.0.join(name)) {
            why = format!("{why}; it cannot be renamed: {error}");
        }
        self.forget_oldest();
        SetAside { file, why }
    }

    fn forget_oldest(&self) {
        let Ok(entries) = fs::read_dir(&self.0) else {
            return;
        };
        let mut aside: Vec<(u64, PathBuf)> = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let seconds = name.to_str().and_then(|name| name.split_once(ASIDE));
            if let Some(seconds) = seconds.and_then(|(_, seconds)| seconds.parse().ok()) {
                aside.push((seconds, entry.path()));
            }
        }
        aside.sort();
        let surplus = aside.len().saturating_sub(ASIDE_MAX);
        for (_, file) in aside.into_iter().take(surplus) {
            if let Err(error) = fs::remove_file(&file) {
                tracing::warn!(file = %file.display(), %error, "cannot be removed");
            }
        }
    }
}

impl Remembered {
    /// Nothing, and why.
    pub fn without(trouble: String) -> Self {
        Self {
            trouble: Some(trouble),
            ..Self::default()
        }
    }
}
