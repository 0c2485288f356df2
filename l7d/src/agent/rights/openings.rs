//! Opens places for rules. A disk that does not answer must not keep the agent from its start.

use std::io::ErrorKind;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use landlock::PathFd;
use rustix::fs::{FileType, fstat};

use crate::patience::within;

/// How long each place may take. Disks that were asleep take some seconds; who is late is done without until
/// a restart.
const PATIENCE: Duration = Duration::from_secs(5);

/// What came of a place.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is there.
    Opened(Opened),
    /// It is not, or may not be opened.
    Missing,
    /// Its disk does not answer.
    Late,
}

/// A place that is there.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: PathFd,
    pub(super) is_folder: bool,
    /// Where it is, whatever links lead there.
    pub(super) real: PathBuf,
}

/// Opens places, each of which may take its time. Folders are made where that is wanted: what is not there
/// cannot be named. One that cannot be made is told by whoever needs it.
pub(super) fn open_each(places: &[PathBuf], are_made: bool) -> Vec<Answer> {
    open_each_by(places, PATIENCE, move |place| open(place, are_made))
}

fn open_each_by(
    places: &[PathBuf],
    patience: Duration,
    open: impl Fn(&Path) -> Answer + Clone + Send + 'static,
) -> Vec<Answer> {
    let answer = |place: &PathBuf| {
        let (place, open) = (place.clone(), open.clone());
        within(patience, "l7d-places", move || open(&place)).unwrap_or(Answer::Late)
    };
    places.iter().map(answer).collect()
}

fn open(place: &Path, is_made: bool) -> Answer {
    if is_made
        && let Err(error) = std::fs::create_dir_all(place)
        && error.kind() != ErrorKind::AlreadyExists
    {
        tracing::debug!(place = %place.display(), %error, "no such folder");
    }
    let Ok(file) = PathFd::new(place) else {
        return Answer::Missing;
    };
    // Whoever makes a rule of it asks the same once more: better here for the first time.
    let is_folder =
        fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    Answer::Opened(Opened {
        is_folder,
        real: std::fs::read_link(link).unwrap_or_else(|_error| place.to_owned()),
        file,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_place_that_never_answers_costs_its_own_time_and_no_other_place() {
        let scratch = tempfile::tempdir().expect("a folder");
        let real = scratch.path().canonicalize().expect("it is there");
        let link = real.join("link");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        let (never, waits) = sync_channel::<()>(0);
        let waits = std::sync::Arc::new(parking_lot::Mutex::new(waits));
        let places = [
            link,
            "/hung".into(),
            real.join("missing"),
            "/hung".into(),
            real.clone(),
        ];
        let by = move |place: &Path| {
            if place.starts_with("/hung") {
                let _gone = waits.lock().recv();
            }
            open(place, false)
        };
        let answers = open_each_by(&places, Duration::from_millis(200), by);
        drop(never);
        let told = answers.iter().map(|answer| match answer {
            Answer::Opened(opened) => opened.real.display().to_string(),
            Answer::Missing => "missing".to_owned(),
            Answer::Late => "late".to_owned(),
        });
        let real = real.display().to_string();
        let expected = [&real, "late", "missing", "late", &real];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn folders_are_made_where_that_is_wanted() {
        let scratch = tempfile::tempdir().expect("a folder");
        let deep = scratch.path().join("a/b");
        let answers = open_each(std::slice::from_ref(&deep), false);
        assert!(matches!(answers[..], [Answer::Missing]), "{answers:?}");
        let answers = open_each(std::slice::from_ref(&deep), true);
        assert!(
            matches!(&answers[..], [Answer::Opened(opened)] if opened.is_folder),
            "{answers:?}"
        );
        let file = deep.join("file");
        std::fs::write(&file, "").expect("a file");
        let answers = open_each(&[file], false);
        assert!(
            matches!(&answers[..], [Answer::Opened(opened)] if !opened.is_folder),
            "{answers:?}"
        );
    }
}
