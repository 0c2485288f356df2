use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// The files in a folder, those of the past first, each with its bytes.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name");
            let bytes = std::fs::read(entry.path()).expect("a file");
            match name.strip_suffix(".gz") {
                None => (name, bytes),
                Some(plain) => {
                    let mut text = Vec::new();
                    let mut decoder = flate2::read::GzDecoder::new(bytes.as_slice());
                    decoder.read_to_end(&mut text).expect("a compressed file");
                    (plain.to_owned(), text)
                }
            }
        })
        .collect();
    // `-` sorts before `.`.
    files.sort();
    files
}

fn written(output: &mut Rotating, lines: &[u8]) {
    let (bytes, result) = output.write(lines);
    result.expect("it is written");
    assert_eq!(bytes, lines.len());
}

fn settings(folder: &Path) -> ExportFile {
    ExportFile {
        max_bytes: 20,
        keep: 1000,
        ..ExportFile::new(folder.join("flows.log"))
    }
}

proptest! {
    #[test]
    fn every_line_is_in_some_file_in_order_and_no_file_is_too_large(
        lengths in prop::collection::vec(0_usize..60, 1..60),
        max_bytes in 1_u64..120,
        chunk in 1_usize..8,
        restarts in prop::collection::vec(any::<bool>(), 60),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = ExportFile { max_bytes, ..settings(folder.path()) };
        let line = |(at, length): (usize, &usize)| format!("{at}:{}\n", "x".repeat(*length));
        let lines: Vec<String> = lengths.iter().enumerate().map(line).collect();
        let mut output = Rotating::new(settings.clone());
        for (chunk, restart) in lines.chunks(chunk).zip(restarts) {
            if restart {
                output = Rotating::new(settings.clone());
            }
            written(&mut output, chunk.concat().as_bytes());
        }
        let files = files(folder.path());
        let all: Vec<u8> = files.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        prop_assert_eq!(String::from_utf8(all).expect("text"), lines.concat());
        for (name, bytes) in files {
            prop_assert!(bytes.ends_with(b"\n"), "{}", name);
            let is_one = bytes.split_inclusive(|byte| *byte == b'\n').count() == 1;
            prop_assert!(bytes.len() as u64 <= max_bytes || is_one, "{}: {:?}", name, bytes);
        }
    }

    #[test]
    fn of_what_is_kept_only_the_oldest_goes(
        count in 1_usize..40,
        keep in 0_usize..6,
        keep_bytes in prop::option::of(0_u64..100),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = ExportFile { keep, keep_bytes, ..settings(folder.path()) };
        let mut output = Rotating::new(settings);
        let lines: Vec<String> = (0..count).map(|number| format!("line {number:>10}\n")).collect();
        for line in &lines {
            written(&mut output, line.as_bytes());
        }
        let files = files(folder.path());
        let past = files.len() - 1;
        let bytes: usize = files.iter().take(past).map(|(_, bytes)| bytes.len()).sum();
        prop_assert!(past <= keep && bytes as u64 <= keep_bytes.unwrap_or(u64::MAX));
        let left: Vec<u8> = files.into_iter().flat_map(|(_, bytes)| bytes).collect();
        let all = lines.concat();
        prop_assert!(all.as_bytes().ends_with(&left));
        let fitting = keep_bytes.map_or(usize::MAX, |bytes| usize::try_from(bytes / 16).expect("few"));
        prop_assert_eq!(past, keep.min(fitting).min(count - 1));
    }
}

#[test]
fn a_file_is_set_aside_when_it_is_old() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut output = Rotating::new(ExportFile {
        max_bytes: 1000,
        max_age: Some(Duration::from_mins(1)),
        ..settings(folder.path())
    });
    assert_eq!(output.tick(Timestamp::now()), None);
    written(&mut output, b"one\n");
    let due = output.tick(Timestamp::now()).expect("a time");
    assert_eq!(files(folder.path()).len(), 1);
    output.tick(due);
    let past = files(folder.path());
    assert_eq!((past.len(), past[0].1.as_slice()), (1, b"one\n".as_slice()));
    assert_ne!(past[0].0, "flows.log");
    written(&mut output, b"two\n");
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn what_is_too_old_goes_without_anything_being_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut output = Rotating::new(ExportFile {
        keep_age: Some(Duration::from_hours(1)),
        ..settings(folder.path())
    });
    written(&mut output, b"one, which is long\n");
    written(&mut output, b"two\n");
    assert_eq!(files(folder.path()).len(), 2);
    let due = output.tick(Timestamp::now()).expect("a time");
    assert_eq!(output.tick(due), None);
    assert_eq!(
        files(folder.path()),
        [("flows.log".to_owned(), b"two\n".to_vec())]
    );
}

#[test]
fn a_torn_line_of_a_former_agent_stays_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("flows.log"), "{\"flo").expect("a file");
    let settings = ExportFile {
        max_bytes: 1000,
        ..settings(folder.path())
    };
    written(&mut Rotating::new(settings), b"{}\n");
    assert_eq!(files(folder.path())[0].1, b"{\"flo\n{}\n");
}

#[test]
fn a_file_that_somebody_moves_away_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut output = Rotating::new(ExportFile {
        max_bytes: 1000,
        ..settings(folder.path())
    });
    written(&mut output, b"one\n");
    let path = folder.path().join("flows.log");
    std::fs::rename(&path, folder.path().join("moved")).expect("it is moved");
    output.looked = Timestamp::default();
    written(&mut output, b"two\n");
    assert_eq!(std::fs::read(&path).expect("a file"), b"two\n");
}

#[test]
fn former_files_are_compressed_and_what_was_cut_off_is_done_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut output = Rotating::new(settings(folder.path()));
    for line in [
        b"one, a long line\n",
        b"two, a long line\n",
        b"thr, a long line\n",
    ] {
        written(&mut output, line);
    }
    let before = files(folder.path());
    let opened = open::open_folder(folder.path()).expect("it opens");
    let shape = output.past.shape().clone();
    let partial = format!("{}.gz.part", before[0].0);
    std::fs::write(folder.path().join(partial), "x").expect("a file");
    compress::compress_all(&opened, &shape).expect("compressed");
    assert_eq!(files(folder.path()), before);
    let names = past::list(&opened, &shape).expect("a list");
    let kinds: Vec<past::Kind> = names.iter().map(|(_, _, kind)| *kind).collect();
    assert_eq!(kinds, [past::Kind::Compressed; 2]);
}

#[test]
fn a_compressed_file_counts_and_goes_like_any_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = ExportFile {
        keep: 1,
        ..settings(folder.path())
    };
    let mut output = Rotating::new(settings.clone());
    written(&mut output, b"one, a long line\n");
    written(&mut output, b"two, a long line\n");
    let opened = open::open_folder(folder.path()).expect("it opens");
    let shape = output.past.shape().clone();
    compress::compress_all(&opened, &shape).expect("compressed");
    // As a later agent.
    let mut output = Rotating::new(settings);
    written(&mut output, b"thr, a long line\n");
    let lines: Vec<Vec<u8>> = files(folder.path())
        .into_iter()
        .map(|(_, bytes)| bytes)
        .collect();
    assert_eq!(lines, [b"two, a long line\n", b"thr, a long line\n"]);
}
