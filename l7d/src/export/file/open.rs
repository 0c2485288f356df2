//! Opening what lines are written to, so that nobody else chooses where they go.
//!
//! The agent may write anywhere. Whoever could put a symbolic link, or another name of a file of
//! somebody else's, into its way would have it write there: so links are followed only where they are
//! root's or the agent's own, and a file is written to only if it is a plain one of theirs with one name.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use rustix::fd::OwnedFd;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};

/// As the kernel has it.
const LINKS_MAX: usize = 40;

/// Of files: their group may read them.
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o750);

/// Why something is not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The system does not let us.
    #[error("{name}: {cause}")]
    System {
        /// The part of the path.
        name: String,
        /// Why.
        cause: io::Error,
    },
    /// A link of somebody else's.
    #[error("{name} is a symbolic link of user {owner}")]
    ForeignLink {
        /// The part of the path.
        name: String,
        /// Whose it is.
        owner: u32,
    },
    /// Too many links.
    #[error("{name}: too many symbolic links")]
    TooManyLinks {
        /// The part of the path.
        name: String,
    },
    /// The file is a device, a link or the like.
    #[error("{name} is no plain file")]
    NotPlain {
        /// The file.
        name: String,
    },
    /// The file is somebody else's.
    #[error("{name} belongs to user {owner}")]
    Foreign {
        /// The file.
        name: String,
        /// Whose it is.
        owner: u32,
    },
    /// The file may be known elsewhere by another name.
    #[error("{name} has {links} names")]
    Linked {
        /// The file.
        name: String,
        /// How many.
        links: u64,
    },
}

fn system(name: &OsStr) -> impl FnOnce(rustix::io::Errno) -> OpenError + use<'_> {
    move |cause| OpenError::System {
        name: name.display().to_string(),
        cause: cause.into(),
    }
}

fn is_trusted(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw()
}

/// Opens a folder, for files to be opened in it. What of it is missing is made.
pub(super) fn open_folder(path: &Path) -> Result<OwnedFd, OpenError> {
    let root = || fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let mut left = parts(path);
    let mut links = 0;
    let mut folder = root().map_err(system(OsStr::new("/")))?;
    while let Some(name) = left.pop() {
        let next = enter(&folder, &name)?;
        let stat = fs::fstat(&next).map_err(system(&name))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            folder = next;
            continue;
        }
        links += 1;
        let shown = name.display().to_string();
        if links > LINKS_MAX {
            return Err(OpenError::TooManyLinks { name: shown });
        }
        if !is_trusted(&stat) {
            let owner = stat.st_uid;
            return Err(OpenError::ForeignLink { name: shown, owner });
        }
        let target = fs::readlinkat(&next, "", Vec::new()).map_err(system(&name))?;
        let target = Path::new(OsStr::from_bytes(target.as_bytes()));
        if target.is_absolute() {
            folder = root().map_err(system(OsStr::new("/")))?;
        }
        left.extend(parts(target));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = fs::openat(&folder, ".", flags, Mode::empty());
    opened.map_err(system(path.as_os_str()))
}

/// The parts of a path, last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let mut parts: Vec<OsString> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect();
    parts.reverse();
    parts
}

fn enter(folder: &OwnedFd, name: &OsStr) -> Result<OwnedFd, OpenError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || fs::openat(folder, name, flags, Mode::empty());
    match open() {
        Err(rustix::io::Errno::NOENT) => {
            match fs::mkdirat(folder, name, FOLDER_MODE) {
                // Somebody else was quicker.
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(cause) => return Err(system(name)(cause)),
            }
            open().map_err(system(name))
        }
        opened => opened.map_err(system(name)),
    }
}

/// Opens a file of a folder for lines to be added.
pub(super) fn open_file(folder: &OwnedFd, name: &OsStr) -> Result<(File, Stat), OpenError> {
    // Not to wait for a reader where somebody has put a pipe there.
    let flags = OFlags::RDWR
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::CLOEXEC;
    let shown = || name.display().to_string();
    let file = match fs::openat(folder, name, flags, FILE_MODE) {
        Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO | rustix::io::Errno::ISDIR) => {
            return Err(OpenError::NotPlain { name: shown() });
        }
        opened => opened.map_err(system(name))?,
    };
    let stat = fs::fstat(&file).map_err(system(name))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(OpenError::NotPlain { name: shown() });
    }
    if !is_trusted(&stat) {
        let (name, owner) = (shown(), stat.st_uid);
        return Err(OpenError::Foreign { name, owner });
    }
    if stat.st_nlink != 1 {
        #[expect(clippy::useless_conversion, reason = "its type is the platform's")]
        let links = stat.st_nlink.into();
        return Err(OpenError::Linked {
            name: shown(),
            links,
        });
    }
    if Mode::from_raw_mode(stat.st_mode) != FILE_MODE {
        fs::fchmod(&file, FILE_MODE).map_err(system(name))?;
    }
    Ok((File::from(file), stat))
}

/// Makes a file that is not there yet.
pub(super) fn make_file(folder: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(folder, name, flags, FILE_MODE)?;
    fs::fchmod(&file, FILE_MODE)?;
    Ok(File::from(file))
}

/// Opens a file of our own to read it.
pub(super) fn read_file(folder: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = fs::openat(folder, name, flags, Mode::empty())?;
    let stat = fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || !is_trusted(&stat) {
        return Err(io::Error::other("no plain file of ours"));
    }
    Ok(File::from(file))
}

/// What is known of a file of a folder.
pub(super) fn stat(folder: &OwnedFd, name: &OsStr) -> rustix::io::Result<Stat> {
    fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    use super::*;

    fn folder() -> (tempfile::TempDir, OwnedFd) {
        let folder = tempfile::tempdir().expect("a folder");
        let opened = open_folder(folder.path()).expect("it opens");
        (folder, opened)
    }

    fn refusal(folder: &OwnedFd, name: &str) -> String {
        let error = open_file(folder, name.as_ref()).expect_err("it is refused");
        error.to_string()
    }

    /// Only root can give files away.
    fn is_root() -> bool {
        rustix::process::geteuid().is_root()
    }

    #[test]
    fn a_file_is_its_groups_to_read_whatever_it_was() {
        let (path, folder) = folder();
        let mode = |name: &str| {
            let metadata = path.path().join(name).metadata().expect("a file");
            metadata.permissions().mode() & 0o7777
        };
        open_file(&folder, "new".as_ref()).expect("it opens");
        assert_eq!(mode("new"), 0o640);
        std::fs::write(path.path().join("old"), "x").expect("a file");
        std::fs::set_permissions(
            path.path().join("old"),
            std::fs::Permissions::from_mode(0o666),
        )
        .expect("a mode");
        let (_, stat) = open_file(&folder, "old".as_ref()).expect("it opens");
        assert_eq!((mode("old"), stat.st_size), (0o640, 1));
        drop(make_file(&folder, "other".as_ref()).expect("it is made"));
        assert_eq!(mode("other"), 0o640);
        assert!(make_file(&folder, "other".as_ref()).is_err());
    }

    #[test]
    fn what_is_no_plain_file_is_not_written_to() {
        let (path, folder) = folder();
        let target = path.path().join("target");
        std::fs::write(&target, "").expect("a file");
        symlink(&target, path.path().join("link")).expect("a link");
        std::fs::create_dir(path.path().join("folder")).expect("a folder");
        fs::mknodat(&folder, "pipe", FileType::Fifo, FILE_MODE, 0).expect("a pipe");
        for name in ["link", "folder", "pipe"] {
            assert_eq!(refusal(&folder, name), format!("{name} is no plain file"));
        }
        std::fs::hard_link(&target, path.path().join("second")).expect("a name");
        assert_eq!(refusal(&folder, "second"), "second has 2 names");
    }

    #[test]
    fn nobody_else_chooses_where_lines_go() {
        if !is_root() {
            eprintln!("only root can give files away: not looked at");
            return;
        }
        let (path, folder) = folder();
        std::fs::write(path.path().join("theirs"), "").expect("a file");
        chown(path.path().join("theirs"), Some(1234), None).expect("an owner");
        assert_eq!(refusal(&folder, "theirs"), "theirs belongs to user 1234");
        let link = path.path().join("link");
        symlink(path.path(), &link).expect("a link");
        lchown(&link, Some(1234), None).expect("an owner");
        let error = open_folder(&link.join("below")).expect_err("it is refused");
        assert_eq!(error.to_string(), "link is a symbolic link of user 1234");
    }

    #[test]
    fn links_of_our_own_are_followed_and_folders_are_made() {
        let (path, _) = folder();
        std::fs::create_dir(path.path().join("real")).expect("a folder");
        symlink("real/../real", path.path().join("here")).expect("a link");
        symlink(path.path().join("here"), path.path().join("there")).expect("a link");
        let folder = open_folder(&path.path().join("there/new/./deep")).expect("it opens");
        open_file(&folder, "a".as_ref()).expect("it opens");
        assert!(path.path().join("real/new/deep/a").is_file());
        symlink("round", path.path().join("round")).expect("a link");
        let error = open_folder(&path.path().join("round")).expect_err("it is refused");
        assert_eq!(error.to_string(), "round: too many symbolic links");
    }
}
