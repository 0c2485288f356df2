use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::host::cluster::{Kind, Name, Object, PolicyObject};

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let id = std::process::id();
        let path = std::env::temp_dir().join(format!("l7d-state-{id}-{name}"));
        Self(path)
    }

    fn folder(&self) -> Folder {
        Folder::new(self.0.join("deep/cluster"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn origin() -> Origin {
    Origin {
        node: "a".to_owned(),
        cluster: "default".to_owned(),
        server: "https://10.96.0.1".to_owned(),
    }
}

fn policy(kind: Kind) -> Object {
    Object::Policy(PolicyObject {
        kind,
        name: Name::new("shop", "web"),
        uid: "u".to_owned(),
        generation: 3,
        json: "{\"spec\":\"two\\nlines\"}".to_owned(),
    })
}

fn give(scribe: &Scribe, mut piece: Piece) {
    while let Err(back) = scribe.offer(piece) {
        piece = back;
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Writes an empty file of each kind, but for policies.
fn write_all(folder: &Folder) -> Scribe {
    let mut scribe = Scribe::start(folder.clone(), origin()).expect("a thread");
    for kind in Kind::ALL {
        give(&scribe, Piece::Begin(kind));
        if crate::policy::PolicyObjects::has(kind) {
            for _ in 0..2 {
                let mut lines = Vec::new();
                write_object(policy(kind), &mut lines).expect("a line");
                give(&scribe, Piece::Lines(lines, 1));
            }
        }
        give(&scribe, Piece::End);
    }
    scribe.finish(Duration::from_mins(1));
    scribe
}

#[test]
fn what_was_written_is_read_by_its_own_node_alone() {
    let scratch = Scratch::new("written");
    let folder = scratch.folder();
    assert!(folder.read(&origin()).whole.is_none(), "there is nothing");
    let scribe = write_all(&folder);
    assert_eq!(scribe.board().counts(), (9, 0));
    assert!(scribe.board().oldest().is_some());
    let mode = |path: PathBuf| {
        let metadata = std::fs::metadata(path).expect("it is there");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode(folder.path().to_owned()), 0o700);
    let mut bytes = 0;
    for kind in Kind::ALL {
        assert_eq!(mode(folder.file(kind)), 0o600);
        bytes += std::fs::metadata(folder.file(kind))
            .expect("it is there")
            .len();
    }
    assert_eq!(scribe.board().bytes(), bytes);
    let whole = folder.read(&origin()).whole.expect("everything");
    let kinds = Kind::ALL.into_iter();
    let kinds = kinds.filter(|kind| crate::policy::PolicyObjects::has(*kind));
    let expected = kinds.flat_map(|kind| [policy(kind), policy(kind)]);
    assert_eq!(whole.objects, expected.collect::<Vec<_>>());

    let other = Origin {
        cluster: "west".to_owned(),
        ..origin()
    };
    let read = folder.read(&other);
    assert!(read.whole.is_none());
    assert_eq!(read.set_aside.len(), 9);
    assert!(
        read.set_aside[0]
            .why
            .contains("this is node a in cluster west")
    );
    let files = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(files, 8, "the ninth is forgotten");
    assert!(folder.read(&origin()).set_aside.is_empty());
}

#[test]
fn a_missing_or_broken_file_keeps_the_others_from_being_used() {
    let scratch = Scratch::new("missing");
    let folder = scratch.folder();
    write_all(&folder);
    std::fs::remove_file(folder.file(Kind::Pod)).expect("it was there");
    let read = folder.read(&origin());
    assert!(read.whole.is_none() && read.set_aside.is_empty());
    write_all(&folder);
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(folder.file(Kind::Node))
        .expect("it is there");
    let length = file.metadata().expect("a length").len();
    file.set_len(length - 1).expect("it is cut");
    let read = folder.read(&origin());
    assert!(read.whole.is_none());
    assert!(read.set_aside[0].why.contains("bytes long"), "{read:?}");
}

#[test]
fn what_cannot_be_written_is_told_until_it_can() {
    let scratch = Scratch::new("refused");
    std::fs::create_dir_all(&scratch.0).expect("a folder");
    // A file where the folder should be.
    std::fs::write(scratch.0.join("deep"), "").expect("a file");
    let folder = scratch.folder();
    let scribe = write_all(&folder);
    assert_eq!(scribe.board().counts(), (0, 9));
    assert_eq!(scribe.board().take_failed(), Kind::ALL);
    let trouble = scribe.board().trouble().expect("why");
    assert!(trouble.contains("deep/cluster"), "{trouble}");
    assert!(folder.read(&origin()).trouble.is_some());
}

#[test]
fn what_another_agent_is_writing_is_left_to_it() {
    let scratch = Scratch::new("both");
    let folder = scratch.folder();
    let mut first = Scribe::start(folder.clone(), origin()).expect("a thread");
    give(&first, Piece::Begin(Kind::Pod));
    let draft = folder.file(Kind::Pod).with_extension("new");
    while !draft.exists() {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let second = write_all(&folder);
    assert_eq!(second.board().counts(), (0, 9));
    let trouble = second.board().trouble().expect("why");
    assert!(trouble.contains("another agent writes here"), "{trouble}");
    assert!(draft.exists());
    // A file that was not ended makes room for another one.
    give(&first, Piece::Begin(Kind::Node));
    give(&first, Piece::End);
    first.finish(Duration::from_mins(1));
    assert_eq!(first.board().counts(), (1, 0));
    assert!(!draft.exists());
    assert_eq!(write_all(&folder).board().counts(), (9, 0));
}

#[test]
fn a_file_that_cannot_be_ended_leaves_nothing() {
    let scratch = Scratch::new("full");
    let folder = scratch.folder();
    // A folder where the file should be.
    std::fs::create_dir_all(folder.file(Kind::Pod)).expect("a folder");
    let scribe = write_all(&folder);
    assert_eq!(scribe.board().counts(), (8, 1));
    assert!(!folder.file(Kind::Pod).with_extension("new").exists());
}
