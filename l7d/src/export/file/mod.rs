//! Lines in files: the one that is written to, and those that were set aside before it became too
//! large or too old.
//!
//! A line is never torn: what the system takes only a part of is taken back, and given again later.

mod compress;
mod open;
mod past;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use rustix::fd::OwnedFd;
use rustix::fs::RenameFlags;

use super::output::{Output, OutputError};
use crate::clock::Timestamp;
use crate::config::ExportFile;

use compress::Compressor;
pub(crate) use open::OpenError;
use past::Past;

/// How often it is looked whether somebody has moved the file away.
const LOOK_NS: u64 = 1_000_000_000;

/// A file with its predecessors.
pub(super) struct Rotating {
    settings: ExportFile,
    open: Option<Open>,
    past: Past,
    compressor: Option<Compressor>,
    looked: Timestamp,
}

/// The file that is written to.
struct Open {
    folder: OwnedFd,
    file: File,
    bytes: u64,
    inode: u64,
    since: Timestamp,
}

impl Rotating {
    /// Nothing is opened before the first line comes.
    pub(super) fn new(settings: ExportFile) -> Self {
        let name = settings.path.file_name().unwrap_or_default().to_owned();
        Self {
            past: Past::new(&name, &settings),
            compressor: None,
            settings,
            open: None,
            looked: Timestamp::default(),
        }
    }

    fn name(&self) -> &OsStr {
        self.settings.path.file_name().unwrap_or_default()
    }

    fn open(&mut self, now: Timestamp) -> Result<&mut Open, OutputError> {
        let open = if let Some(open) = self.open.take() {
            open
        } else {
            let folder = self.settings.path.parent().map(PathBuf::from);
            let folder = open::open_folder(&folder.unwrap_or_default())?;
            let open = Open::new(folder, self.name(), now)?;
            self.past.look(&open.folder)?;
            self.tidy(&open.folder);
            open
        };
        Ok(self.open.insert(open))
    }

    /// Removes what is too much, and has the others compressed.
    fn tidy(&mut self, folder: &OwnedFd) {
        self.past.prune(folder, Timestamp::now());
        if !self.settings.compress || self.past.is_empty() {
            return;
        }
        let compressor = self.compressor.get_or_insert_with(Compressor::start);
        match folder.try_clone() {
            Ok(folder) => compressor.ask(folder, self.past.shape().clone()),
            Err(error) => tracing::warn!(%error, "former files stay uncompressed"),
        }
    }

    /// Sets the file aside.
    fn rotate(&mut self, now: Timestamp) -> Result<(), OutputError> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        if open.bytes == 0 {
            self.open = Some(open);
            return Ok(());
        }
        let aside = self.past.next_name(now);
        let name = self.name().to_owned();
        match set_aside(&open.folder, &name, &aside) {
            Ok(()) => {}
            Err(error) => {
                self.open = Some(open);
                return Err(error.into());
            }
        }
        self.past.add(aside, open.bytes);
        self.tidy(&open.folder);
        Ok(())
    }

    /// Whether the file has the name no longer: somebody has moved or removed it, and waits for a new
    /// one.
    fn is_moved(&mut self, now: Timestamp) -> bool {
        let Some(open) = &self.open else {
            return false;
        };
        if now.0.saturating_sub(self.looked.0) < LOOK_NS {
            return false;
        }
        self.looked = now;
        let stat = open::stat(&open.folder, self.name());
        !stat.is_ok_and(|stat| stat.st_ino == open.inode)
    }

    fn is_too_old(&self, now: Timestamp) -> bool {
        let due = self.open.as_ref().and_then(|open| self.due(open));
        due.is_some_and(|due| now >= due)
    }

    /// When the file is to be set aside.
    fn due(&self, open: &Open) -> Option<Timestamp> {
        let age = self.settings.max_age.filter(|_| open.bytes > 0)?;
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        Some(Timestamp(open.since.0.saturating_add(age)))
    }

    /// Writes as many lines as go into one file.
    fn write_some(&mut self, lines: &[u8], now: Timestamp) -> Result<usize, OutputError> {
        if self.is_moved(now) {
            self.open = None;
        }
        if self.is_too_old(now) {
            self.rotate(now)?;
        }
        let most = self.settings.max_bytes;
        let open = self.open(now)?;
        let room = usize::try_from(most.saturating_sub(open.bytes)).unwrap_or(usize::MAX);
        let is_end = |byte: &u8| *byte == b'\n';
        let fitting = lines.get(..room).unwrap_or(lines);
        let end = match fitting.iter().rposition(is_end) {
            Some(last) => last + 1,
            // A line that is longer than a file gets one of its own.
            None if open.bytes == 0 => lines.iter().position(is_end).map_or(0, |first| first + 1),
            None => {
                self.rotate(now)?;
                return Ok(0);
            }
        };
        open.append(lines.get(..end).unwrap_or_default(), now)?;
        Ok(end)
    }
}

impl Output for Rotating {
    fn write(&mut self, lines: &[u8]) -> (usize, Result<(), OutputError>) {
        let mut written = 0;
        while let Some(left) = lines.get(written..).filter(|left| !left.is_empty()) {
            match self.write_some(left, Timestamp::now()) {
                Ok(bytes) => written += bytes,
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    fn tick(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.is_too_old(now)
            && let Err(error) = self.rotate(now)
        {
            tracing::warn!(%error, file = %self.settings.path.display(), "it is not set aside");
            return None;
        }
        if let Some(open) = &self.open
            && self.past.due().is_some_and(|due| now >= due)
        {
            self.past.prune(&open.folder, now);
        }
        let due = self.open.as_ref().and_then(|open| self.due(open));
        [due, self.past.due()].into_iter().flatten().min()
    }
}

impl From<OpenError> for OutputError {
    fn from(error: OpenError) -> Self {
        Self::Later(error.to_string())
    }
}

fn set_aside(folder: &OwnedFd, name: &OsStr, aside: &OsString) -> io::Result<()> {
    let flags = RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(folder, name, folder, aside, flags) {
        // Somebody has moved it away already.
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        // File systems that know no such flag: names of the past are never given twice.
        Err(rustix::io::Errno::INVAL) => Ok(rustix::fs::renameat(folder, name, folder, aside)?),
        Err(error) => Err(error.into()),
    }
}

impl Open {
    fn new(folder: OwnedFd, name: &OsStr, now: Timestamp) -> Result<Self, OutputError> {
        let (mut file, stat) = open::open_file(&folder, name)?;
        let bytes = u64::try_from(stat.st_size).unwrap_or_default();
        let made = file.metadata().and_then(|metadata| metadata.created());
        let made = made
            .ok()
            .and_then(|made| made.duration_since(std::time::UNIX_EPOCH).ok());
        let made = made.and_then(|made| u64::try_from(made.as_nanos()).ok());
        let is_torn = bytes > 0 && last_byte(&mut file)? != b'\n';
        let mut open = Self {
            folder,
            file,
            bytes,
            inode: stat.st_ino,
            since: made.filter(|_| bytes > 0).map_or(now, Timestamp),
        };
        if is_torn {
            // A machine that lost its power has left a part of a line.
            open.append(b"\n", now)?;
        }
        Ok(open)
    }

    /// Adds all of it, or nothing.
    fn append(&mut self, lines: &[u8], now: Timestamp) -> io::Result<()> {
        if self.bytes == 0 {
            self.since = now;
        }
        match io::Write::write_all(&mut self.file, lines) {
            Ok(()) => {
                self.bytes = self.bytes.saturating_add(lines.len() as u64);
                Ok(())
            }
            Err(error) => {
                self.file.set_len(self.bytes)?;
                Err(error)
            }
        }
    }
}

fn last_byte(file: &mut File) -> io::Result<u8> {
    let mut byte = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut byte)?;
    Ok(byte[0])
}

#[cfg(test)]
mod tests;
