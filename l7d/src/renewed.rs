//! What is made of files, and made again when they change.

use std::fmt::Display;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;

/// What tells one state of a file from another. Links are followed: mounted files change by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    inode: u64,
}

impl Stamp {
    /// Of the file that is there now.
    pub fn of(file: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(file).ok()?;
        Some(Self {
            modified: metadata.modified().ok(),
            bytes: metadata.len(),
            inode: metadata.ino(),
        })
    }
}

/// The last thing that could be made of its files.
#[derive(Debug)]
pub struct Renewed<T> {
    /// What it is, for messages.
    what: &'static str,
    files: Vec<PathBuf>,
    /// State of the files when it was last made, or tried to, and the thing.
    last: Mutex<(Vec<Option<Stamp>>, Arc<T>)>,
}

impl<T> Renewed<T> {
    /// The first time it must be possible.
    ///
    /// # Errors
    /// What `make` says.
    pub fn new<E>(
        what: &'static str,
        files: Vec<PathBuf>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Self, E> {
        // Before they are read: what changes in between is seen as a change.
        let stamps = stamps(&files);
        let last = Mutex::new((stamps, Arc::new(make()?)));
        Ok(Self { what, files, last })
    }

    /// What the files hold now, or held when that could last be used.
    pub fn current<E: Display>(&self, make: impl FnOnce() -> Result<T, E>) -> Arc<T> {
        let mut last = self.last.lock();
        let stamps = stamps(&self.files);
        if stamps != last.0 {
            last.0 = stamps;
            match make() {
                Ok(fresh) => {
                    tracing::info!(files = ?self.files, "{} renewed", self.what);
                    last.1 = Arc::new(fresh);
                }
                Err(error) => {
                    tracing::warn!(%error, "{} refused, the former ones stay", self.what);
                }
            }
        }
        Arc::clone(&last.1)
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    files.iter().map(|file| Stamp::of(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("number");
        let write = |text: &str| {
            let fresh = folder.path().join("fresh");
            std::fs::write(&fresh, text).expect("written");
            std::fs::rename(&fresh, &file).expect("renamed");
        };
        let read = || {
            let text = std::fs::read_to_string(&file).expect("a file");
            text.parse::<u32>().map_err(|_none| "no number")
        };
        write("1");
        let renewed = Renewed::new("numbers", vec![file.clone()], read).expect("a number");
        assert_eq!(*renewed.current::<&str>(|| panic!("nothing changed")), 1);
        write("2");
        assert_eq!(*renewed.current(read), 2);
        write("none");
        assert_eq!(*renewed.current(read), 2);
        assert_eq!(*renewed.current::<&str>(|| panic!("it was tried")), 2);
        write("3");
        assert_eq!(*renewed.current(read), 3);
        std::fs::remove_file(&file).expect("removed");
        assert_eq!(*renewed.current(|| Err("no number")), 3);
    }
}
