//! Files by landlock: what is not in [`Places`] cannot be opened, made or removed, not even by a process
//! that has the rights of root. It holds for the thread that asks for it and for whatever this one starts,
//! threads and programs.

use std::fmt;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, LandlockStatus, PathBeneath, RestrictionStatus, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError,
};

use super::Places;
use super::openings::{Answer, Opened, open_each};

/// The version of the kernel's interface whose rights are given up where it knows them. The fifth (Linux
/// 6.10) is the last with one for files.
const KNOWN: ABI = ABI::V5;

/// Whether files are confined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Files {
    /// By this version of landlock; what earlier versions than [`KNOWN`] do not know stays open.
    Confined(u32),
    /// The configuration says not to.
    #[default]
    Open,
    /// The kernel does not, and why.
    Refused(String),
}

impl Files {
    /// Whether there is a wall.
    pub(super) fn are_confined(&self) -> bool {
        matches!(self, Self::Confined(_))
    }

    /// What is not as it should be.
    pub(super) fn limitation(&self) -> Option<String> {
        match self {
            Self::Refused(cause) => Some(format!(
                "the agent's files are not confined: {cause}; its capabilities bound what it can reach"
            )),
            Self::Confined(_) | Self::Open => None,
        }
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confined(version) => write!(f, "its own (landlock {version})"),
            Self::Open => f.write_str("all (rights.landlock: false)"),
            Self::Refused(_) => f.write_str("all"),
        }
    }
}

/// What may be reached: real paths, no links.
#[derive(Debug, Default)]
pub(super) struct Reach {
    pub(super) read: Vec<PathBuf>,
    pub(super) written: Vec<PathBuf>,
    /// Places whose disk has not answered: they are left out.
    pub(super) late: Vec<PathBuf>,
}

/// Gives up everything but these places, for this thread and what it starts.
pub(super) fn confine(places: &Places) -> (Files, Reach) {
    let mut reach = Reach::default();
    let mut open = |places: &[PathBuf], are_made| {
        let answers = open_each(places, are_made).into_iter().zip(places);
        let opened = answers.filter_map(|(answer, place)| match answer {
            Answer::Opened(opened) => Some(opened),
            Answer::Missing => None,
            Answer::Late => {
                reach.late.push(place.clone());
                None
            }
        });
        opened.collect::<Vec<Opened>>()
    };
    let written = open(&places.written, true);
    let read = open(&places.read, false);
    let (run, set) = (open(&places.run, false), open(&places.set, false));
    let paths = |opened: &[Opened]| opened.iter().map(|of| of.real.clone()).collect();
    (reach.read, reach.written) = (paths(&read), paths(&written));
    let files = files_of(try_confine([read, run, set, written]));
    (files, reach)
}

fn files_of(outcome: Result<RestrictionStatus, RulesetError>) -> Files {
    match outcome {
        Ok(RestrictionStatus { landlock, .. }) => match landlock {
            LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            } => {
                let newer = kernel_abi.and_then(|version| u32::try_from(version).ok());
                // A version is called by its number.
                Files::Confined(newer.unwrap_or(effective_abi as u32))
            }
            LandlockStatus::NotEnabled => {
                Files::Refused("landlock is not among the kernel's modules (lsm=)".to_owned())
            }
            LandlockStatus::NotImplemented => {
                Files::Refused("this kernel has no landlock (5.13)".to_owned())
            }
        },
        Err(error) => Files::Refused(error.to_string()),
    }
}

/// Places that are read, run, set, and written.
fn try_confine(places: [Vec<Opened>; 4]) -> Result<RestrictionStatus, RulesetError> {
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let running = reading | AccessFs::Execute;
    let setting = reading | AccessFs::WriteFile | AccessFs::Truncate;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .create()?;
    for (places, access) in places
        .into_iter()
        .zip([reading, running, setting, reading | making()])
    {
        for Opened {
            file, is_folder, ..
        } in places
        {
            let of_files = AccessFs::from_file(KNOWN);
            let access = if is_folder { access } else { access & of_files };
            rules = rules.add_rule(PathBeneath::new(file, access))?;
        }
    }
    rules.restrict_self()
}

/// Everything that makes, changes or removes plain files, folders and sockets; no devices, no links.
fn making() -> BitFlags<AccessFs> {
    AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::MakeSock
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer
}

/// The kernel's version of landlock.
///
/// # Errors
/// Why there is none.
pub(crate) fn landlock_version() -> Result<u32, String> {
    // The only question that the library answers; the thread that asks does nothing else.
    let asking = std::thread::spawn(|| {
        let rules = Ruleset::default().handle_access(AccessFs::Execute)?;
        rules.create()?.restrict_self()
    });
    match asking.join() {
        Ok(outcome) => match files_of(outcome) {
            Files::Confined(version) => Ok(version),
            Files::Open => Err("not asked for".to_owned()),
            Files::Refused(cause) => Err(cause),
        },
        Err(_panic) => Err("landlock cannot be asked for".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::PathBuf;

    use super::*;

    /// Of a thread that has given up everything but these: the wall goes with the thread.
    fn confined<T: Send + 'static>(
        places: Places,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> (Files, T) {
        let thread = std::thread::spawn(move || (confine(&places).0, act()));
        thread.join().expect("it ends")
    }

    #[test]
    fn nothing_is_made_or_removed_elsewhere() {
        let scratch = tempfile::tempdir().expect("a folder");
        let place = |name: &str| scratch.path().join(name);
        let (own, elsewhere, read) = (place("own/run"), place("elsewhere"), place("read"));
        for folder in [&elsewhere, &read] {
            std::fs::create_dir(folder).expect("a folder");
            std::fs::write(folder.join("there"), "x").expect("a file");
        }
        let places = Places {
            read: vec![read.clone()],
            written: vec![own.clone()],
            ..Places::default()
        };
        let (files, refused) = confined(places, move || {
            std::fs::write(own.join("new"), "x").expect("its own folder");
            std::fs::create_dir(own.join("deep")).expect("its own folder");
            std::fs::rename(own.join("new"), own.join("deep/old")).expect("its own folder");
            std::fs::remove_file(own.join("deep/old")).expect("its own folder");
            assert_eq!(std::fs::read(read.join("there")).expect("read"), b"x");
            let refusals = [
                std::fs::write(read.join("there"), "y"),
                std::fs::remove_file(read.join("there")),
                std::fs::read(elsewhere.join("there")).map(drop),
                std::fs::read_dir(&elsewhere).map(drop),
                std::fs::create_dir(elsewhere.join("new")),
                std::fs::rename(own.join("deep"), elsewhere.join("deep")),
            ];
            refusals.map(|done| done.expect_err("refused").kind())
        });
        assert!(files.are_confined(), "{files:?}");
        let moved = ErrorKind::CrossesDevices;
        let denied = ErrorKind::PermissionDenied;
        for (at, kind) in refused.into_iter().enumerate() {
            assert!(
                kind == denied || (at == 5 && kind == moved),
                "{at}: {kind:?}"
            );
        }
    }

    #[test]
    fn what_may_be_written_is_not_run() {
        let scratch = tempfile::tempdir().expect("a folder");
        let own = scratch.path().to_owned();
        let program = own.join("true");
        std::fs::copy("/bin/true", &program).expect("a copy");
        let mut places = Places::of(&crate::config::Config::default(), None);
        places.written = vec![own];
        let (_, outcomes) = confined(places, move || {
            [PathBuf::from("/bin/true"), program].map(|program| {
                let ended = std::process::Command::new(program).status();
                ended
                    .map(|status| status.success())
                    .map_err(|error| error.kind())
            })
        });
        assert_eq!(outcomes, [Ok(true), Err(ErrorKind::PermissionDenied)]);
    }

    #[test]
    fn the_kernel_says_which_version_it_has() {
        assert_eq!(landlock_version().map(|version| version > 0), Ok(true));
    }
}
