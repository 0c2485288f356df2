//! Learnt names over a restart: a list of lines, each with its checksum.
//!
//! The whole list is written now and then; in between, a line is added for every address that a policy
//! waits for, before the client is told of it. A process that dies leaves at most one broken line, the
//! last.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Known;
use crate::clock::{Monotonic, Timestamp, WallOffset};

/// First line: what it is, and the version of its form.
const HEADER: &str = "l7d-names 1";

/// The file, open to be added to.
#[derive(Debug)]
pub struct NamesFile {
    path: PathBuf,
    file: Option<File>,
    offset: WallOffset,
}

/// What was found in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Lines that were taken.
    pub known: usize,
    /// Lines that were broken.
    pub broken: usize,
    /// Where a file was put that is of another form, or cannot be read.
    pub set_aside: Option<PathBuf>,
}

impl NamesFile {
    /// Reads what is there. A file that cannot be used is set aside, and the next list begins anew.
    pub(super) fn open(path: &Path) -> (Self, Vec<Known>, Loaded) {
        let offset = WallOffset::measure();
        let mut loaded = Loaded::default();
        let mut known = Vec::new();
        match std::fs::read(path) {
            Ok(bytes) => match read(&bytes, offset, &mut loaded) {
                Some(read) => known = read,
                None => loaded.set_aside = set_aside(path),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "learnt names cannot be read");
            }
        }
        loaded.known = known.len();
        let file = Self {
            path: path.to_owned(),
            file: None,
            offset,
        };
        (file, known, loaded)
    }

    /// Writes the whole list: beside the former one first, then in its place.
    ///
    /// # Errors
    /// When the folder cannot be written to; the former list stays.
    pub fn write(&mut self, all: &[Known]) -> io::Result<()> {
        self.offset = WallOffset::measure();
        let fresh = self.path.with_extension("new");
        let mut file = private().truncate(true).open(&fresh)?;
        let mut text = format!("{HEADER}\n");
        for known in all {
            push_line(&mut text, known, self.offset);
        }
        file.write_all(text.as_bytes())?;
        std::fs::rename(&fresh, &self.path)?;
        self.file = Some(file);
        Ok(())
    }

    /// Adds to the list.
    ///
    /// # Errors
    /// When the file cannot be written to.
    pub fn add(&mut self, known: &[Known]) -> io::Result<()> {
        let mut text = String::new();
        if self.file.is_none() && !self.path.exists() {
            text.push_str(HEADER);
            text.push('\n');
        }
        for known in known {
            push_line(&mut text, known, self.offset);
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(private().append(true).open(&self.path)?),
        };
        // One call: lines of two calls could be torn apart.
        file.write_all(text.as_bytes())
    }
}

/// Who asked for what is nobody else's business.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).write(true).mode(0o600);
    options
}

fn push_line(text: &mut String, known: &Known, offset: WallOffset) {
    use std::fmt::Write as _;
    let Known {
        client,
        name,
        address,
        until,
    } = known;
    let Timestamp(until) = offset.to_wall(*until);
    let fields = format!("{until} {client} {address} {name}");
    let sum = crc32fast::hash(fields.as_bytes());
    // Writing to memory does not fail.
    let _infallible = writeln!(text, "{sum:08x} {fields}");
}

/// `None` where it is no list of ours.
fn read(bytes: &[u8], offset: WallOffset, loaded: &mut Loaded) -> Option<Vec<Known>> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    if lines.next() != Some(HEADER.as_bytes()) {
        return None;
    }
    let mut all = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        match read_line(line, offset) {
            Some(known) => all.push(known),
            None => loaded.broken += 1,
        }
    }
    Some(all)
}

fn read_line(line: &[u8], offset: WallOffset) -> Option<Known> {
    let line = std::str::from_utf8(line).ok()?;
    let (sum, fields) = line.split_once(' ')?;
    if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(fields.as_bytes()) {
        return None;
    }
    let mut fields = fields.splitn(4, ' ');
    let until: u64 = fields.next()?.parse().ok()?;
    let client: IpAddr = fields.next()?.parse().ok()?;
    let address: IpAddr = fields.next()?.parse().ok()?;
    let name: Arc<str> = fields.next()?.into();
    let since_boot = until.saturating_sub(offset.to_wall(Monotonic(0)).0);
    Some(Known {
        client,
        name,
        address,
        until: Monotonic(since_boot),
    })
}

fn set_aside(path: &Path) -> Option<PathBuf> {
    let aside = path.with_extension("broken");
    match std::fs::rename(path, &aside) {
        Ok(()) => Some(aside),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot be set aside");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let id = std::process::id();
            let folder = std::env::temp_dir().join(format!("l7d-names-{id}-{name}"));
            std::fs::create_dir_all(&folder).expect("a folder");
            Self(folder.join("names"))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            if let Some(folder) = self.0.parent() {
                let _gone = std::fs::remove_dir_all(folder);
            }
        }
    }

    fn known(name: &str) -> Known {
        Known {
            client: "10.0.0.1".parse().expect("an address"),
            name: name.into(),
            address: "2001:db8::1".parse().expect("an address"),
            until: Monotonic(Monotonic::now().0 + 1_000_000_000),
        }
    }

    fn names(all: &[Known]) -> Vec<&str> {
        all.iter().map(|known| &*known.name).collect()
    }

    #[test]
    fn what_was_written_and_added_is_read_again() {
        let scratch = Scratch::new("again");
        let (mut file, none, _) = NamesFile::open(&scratch.0);
        assert!(none.is_empty());
        file.add(&[known("first.test")]).expect("added");
        file.write(&[known("a.test"), known("b\\032c.test")])
            .expect("written");
        file.add(&[known("d.test")]).expect("added");
        let (_, all, loaded) = NamesFile::open(&scratch.0);
        assert_eq!(names(&all), ["a.test", "b\\032c.test", "d.test"]);
        assert_eq!((loaded.broken, loaded.set_aside), (0, None));
        let left = all[0].until.0.saturating_sub(Monotonic::now().0);
        assert!(left <= 1_100_000_000, "{left}");
    }

    #[test]
    fn a_process_that_dies_leaves_at_most_one_broken_line() {
        let scratch = Scratch::new("torn");
        let (mut file, _, _) = NamesFile::open(&scratch.0);
        file.write(&[known("a.test"), known("b.test")])
            .expect("written");
        let whole = std::fs::read(&scratch.0).expect("bytes");
        for length in HEADER.len() + 1..whole.len() {
            std::fs::write(&scratch.0, &whole[..length]).expect("torn");
            let (_, all, loaded) = NamesFile::open(&scratch.0);
            assert!(loaded.broken <= 1, "{length}");
            assert!(
                names(&all)
                    .iter()
                    .all(|name| ["a.test", "b.test"].contains(name))
            );
        }
    }

    #[test]
    fn any_changed_byte_is_found() {
        let scratch = Scratch::new("changed");
        let (mut file, _, _) = NamesFile::open(&scratch.0);
        file.write(&[known("a.test")]).expect("written");
        let whole = std::fs::read(&scratch.0).expect("bytes");
        for at in HEADER.len() + 1..whole.len() - 1 {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x11;
            std::fs::write(&scratch.0, &bytes).expect("changed");
            let (_, all, _) = NamesFile::open(&scratch.0);
            assert!(all.is_empty(), "byte {at}");
        }
    }

    #[test]
    fn a_file_of_another_form_is_set_aside() {
        let scratch = Scratch::new("other");
        std::fs::write(&scratch.0, "l7d-names 2\n").expect("written");
        let (_, all, loaded) = NamesFile::open(&scratch.0);
        assert!(all.is_empty());
        let aside = loaded.set_aside.expect("set aside");
        assert_eq!(std::fs::read(aside).expect("kept"), b"l7d-names 2\n");
    }
}
